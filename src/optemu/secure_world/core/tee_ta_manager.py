"""Opening, invoking and closing sessions, whoever asks. Mirrors core/kernel/tee_ta_manager.c."""

import logging
import threading
from collections.abc import Callable

from optemu.abi import gp
from optemu.abi.ta_head import (
    TA_FLAG_CONCURRENT,
    TA_FLAG_INSTANCE_KEEP_ALIVE,
    TA_FLAG_INSTANCE_KEEP_CRASHED,
    TA_FLAG_MULTI_SESSION,
    TA_FLAG_SINGLE_INSTANCE,
)
from optemu.board.clock import Clock
from optemu.errors import TeeError
from optemu.secure_world.core import points
from optemu.secure_world.core.param import TaParams
from optemu.secure_world.core.session import KERN_IDENTITY, NEVER, NSAPP_IDENTITY, Identity, Session, SessionList, TaCtx
from optemu.secure_world.core.sync import Condvar, Sleeper, wake
from optemu.secure_world.core.thread import Thread
from optemu.trace import Tracer

log = logging.getLogger("optemu.core")


class InitSession:
    """How a kind of TA comes to be: ``find`` under the lock (a new context or None), ``complete`` without it."""

    def find(self, uuid: bytes) -> TaCtx | None:
        raise NotImplementedError

    def complete(self, thread: Thread, ctx: TaCtx) -> None:
        """Finish what may take RPCs; TeeError when the TA cannot be loaded."""


class TaManager:
    """All contexts (tee_ctxes). ``kinds`` are asked in order for a TA that no context serves yet."""

    def __init__(self, kinds: list[InitSession], clock: Clock, trace: Tracer) -> None:
        self.contexts: list[TaCtx] = []
        self._kinds = kinds
        self._clock = clock
        self._trace = trace
        self._lock = threading.Lock()
        self._init_cv = Condvar()
        self._single_cv = Condvar()
        self._single_thread: Thread | None = None
        self._single_count = 0

    # --- one call at a time in an instance ----------------------------------------------------------------

    def _try_set_busy(self, thread: Thread, ctx: TaCtx) -> bool:
        """tee_ta_try_set_busy: wait for the TA, but not where waiting could only dead-lock."""
        if ctx.flags & TA_FLAG_CONCURRENT:
            return True
        with self._lock:
            if ctx.flags & TA_FLAG_SINGLE_INSTANCE:
                self._lock_single_instance(thread)
            if self._single_thread is thread:
                if ctx.busy:
                    if ctx.flags & TA_FLAG_SINGLE_INSTANCE:
                        self._single_count -= 1
                        assert self._single_count, "the outer call still holds the lock"
                    return False
            else:
                while ctx.busy:
                    ctx.busy_cv.wait(thread, self._lock)
            ctx.busy = True
        return True

    def _lock_single_instance(self, thread: Thread) -> None:
        if self._single_thread is not thread:
            while self._single_thread is not None:
                self._single_cv.wait(thread, self._lock)
            self._single_thread = thread
        self._single_count += 1

    def _clear_busy(self, thread: Thread, ctx: TaCtx) -> None:
        if ctx.flags & TA_FLAG_CONCURRENT:
            return
        with self._lock:
            ctx.busy = False
            woken = ctx.busy_cv.take()
            if ctx.flags & TA_FLAG_SINGLE_INSTANCE:
                self._single_count -= 1
                if not self._single_count:
                    self._single_thread = None
                    woken += self._single_cv.take()
        if woken:
            wake(thread, woken)

    # --- sessions ---------------------------------------------------------------------------------------------

    def get_session(
        self, thread: Thread, session_id: int, sessions: SessionList, *, exclusive: bool = True
    ) -> Session | None:
        """tee_ta_get_session: hold a session, alone when ``exclusive``; None when there is none (any more)."""
        with self._lock:
            s = sessions.get(session_id)
            if s is None or s.unlink:
                return None
            s.ref_count += 1
            if not exclusive:
                return s
            while s.lock_thread is not None and not s.unlink:
                s.lock_cv.wait(thread, self._lock)
            if not s.unlink:
                s.lock_thread = thread
                return s
            woken = self._drop_reference(s)
        wake(thread, woken)
        return None

    def put_session(self, thread: Thread, s: Session) -> None:
        """tee_ta_put_session."""
        with self._lock:
            woken: list[Sleeper] = []
            if s.lock_thread is thread:
                s.lock_thread = None
                woken = s.lock_cv.take()
            woken += self._drop_reference(s)
        if woken:
            wake(thread, woken)

    @staticmethod
    def _drop_reference(s: Session) -> list[Sleeper]:
        s.ref_count -= 1
        return s.refc_cv.take() if s.ref_count == 1 else []

    def _destroy_session(self, thread: Thread, s: Session, sessions: SessionList) -> None:
        """tee_ta_unlink_session: turn the waiters away, then leave the list."""
        with self._lock:
            s.unlink = True
            woken = s.lock_cv.take(everyone=True)
        wake(thread, woken)
        with self._lock:
            while s.ref_count != 1:
                s.refc_cv.wait(thread, self._lock)
            del sessions[s.id]

    def _close_session(self, thread: Thread, s: Session, sessions: SessionList) -> None:
        ctx = s.ctx
        if ctx is None:
            self._destroy_session(thread, s, sessions)
            return
        try:
            if ctx.panicked:
                self._destroy_session(thread, s, sessions)
            elif self._try_set_busy(thread, ctx):
                try:
                    s.cancel_time = NEVER
                    ctx.enter_close_session(thread, s)
                finally:
                    self._destroy_session(thread, s, sessions)
                    self._clear_busy(thread, ctx)
            else:
                # Upstream panics the whole core here: a TA on our own call chain is closed by somebody it called.
                log.error("TA %s cannot be told that a session closes: it waits for us", gp.uuid_str(ctx.uuid))
                self._destroy_session(thread, s, sessions)
        finally:
            self._release_context(thread, ctx)

    def _release_context(self, thread: Thread, ctx: TaCtx) -> None:
        keep_alive = ctx.flags & TA_FLAG_SINGLE_INSTANCE and ctx.flags & TA_FLAG_INSTANCE_KEEP_ALIVE
        keep_crashed = keep_alive and ctx.flags & TA_FLAG_INSTANCE_KEEP_CRASHED
        with self._lock:
            ctx.ref_count -= 1
            if ctx.ref_count or (keep_alive and not (ctx.panicked and not keep_crashed)):
                return
            if not ctx.is_releasing:
                self.contexts.remove(ctx)
                ctx.is_releasing = True
        ctx.destroy(thread)

    def close_session(self, thread: Thread, session_id: int, sessions: SessionList, client: Identity) -> int:
        """tee_ta_close_session."""
        trace = self._trace
        if trace.on:
            trace.enter(points.TA_CLOSE, session_id)
        ret = self._checked_close(thread, session_id, sessions, client)
        if trace.on:
            trace.exit(points.TA_CLOSE, ret)
        return ret

    def _checked_close(self, thread: Thread, session_id: int, sessions: SessionList, client: Identity) -> int:
        s = self.get_session(thread, session_id, sessions)
        if s is None:
            log.error("session id %d to be removed is not found", session_id)
            return gp.TEE_ERROR_ITEM_NOT_FOUND
        if not _is_client(s, client):
            self.put_session(thread, s)
            return gp.TEE_ERROR_BAD_PARAMETERS
        self._close_session(thread, s, sessions)
        return gp.TEE_SUCCESS

    def close_all(self, thread: Thread, sessions: SessionList) -> None:
        """Close whatever a TA left open when it went."""
        while sessions:
            self.close_session(thread, next(iter(sessions)), sessions, KERN_IDENTITY)

    # --- open --------------------------------------------------------------------------------------------------

    def _find_context(self, thread: Thread, uuid: bytes) -> TaCtx | None:
        """tee_ta_init_session_with_context, under the lock: a context that takes one session more."""
        while True:
            ctx = next((c for c in self.contexts if c.uuid == uuid), None)
            if ctx is None or not ctx.is_initializing:
                break
            self._init_cv.wait(thread, self._lock)
        if ctx is None or not ctx.flags & TA_FLAG_SINGLE_INSTANCE:
            return None
        if ctx.ref_count and not ctx.flags & TA_FLAG_MULTI_SESSION:
            raise TeeError(gp.TEE_ERROR_BUSY, f"TA {gp.uuid_str(uuid)} has a session and takes no second one")
        ctx.ref_count += 1
        return ctx

    def _init_session(self, thread: Thread, uuid: bytes, sessions: SessionList) -> Session:
        """tee_ta_init_session: a context already there, then static TAs, then dynamic ones."""
        woken: list[Sleeper] = []
        try:
            with self._lock:
                s = Session(sessions.new_id(), thread)
                sessions[s.id] = s
                try:
                    s.ctx = self._find_context(thread, uuid)
                    if s.ctx is not None:
                        return s
                    kind, ctx = self._new_context(uuid)
                except BaseException:
                    woken = self._forget(s, sessions)
                    raise
                s.ctx = ctx
                self.contexts.append(ctx)
        finally:
            wake(thread, woken)
        if ctx.is_initializing:
            self._complete(thread, kind, ctx, s, sessions)
        return s

    @staticmethod
    def _forget(s: Session, sessions: SessionList) -> list[Sleeper]:
        """A session that comes to nothing leaves the list: who waits for it there already is to be turned away."""
        s.unlink = True
        del sessions[s.id]
        return s.lock_cv.take(everyone=True)

    def _new_context(self, uuid: bytes) -> tuple[InitSession, TaCtx]:
        for kind in self._kinds:
            ctx = kind.find(uuid)
            if ctx is not None:
                return kind, ctx
        raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND)

    def _complete(self, thread: Thread, kind: InitSession, ctx: TaCtx, s: Session, sessions: SessionList) -> None:
        done = False
        try:
            kind.complete(thread, ctx)
            done = True
        finally:
            with self._lock:
                ctx.is_initializing = False
                woken = self._init_cv.take(everyone=True)
                if not done:
                    self.contexts.remove(ctx)
                    woken += self._forget(s, sessions)
            wake(thread, woken)
            if not done:
                ctx.destroy(thread)

    def open_session(
        self,
        thread: Thread,
        sessions: SessionList,
        uuid: bytes,
        client: Identity,
        timeout_ms: int,
        param: TaParams,
    ) -> tuple[int, int, int]:
        """tee_ta_open_session: (TEE_Result, origin, session id)."""
        trace = self._trace
        if trace.on:
            trace.enter(points.TA_OPEN, uuid)
        try:
            s = self._init_session(thread, uuid, sessions)
        except TeeError as e:
            log.error(
                "Failed for TA %s: %s (%s)", gp.uuid_str(uuid), e.message or "cannot open", gp.result_name(e.code)
            )
            if trace.on:
                trace.exit(points.TA_OPEN, e.code, 0)
            return e.code, gp.TEE_ORIGIN_TEE, 0
        assert s.ctx is not None
        ctx = s.ctx

        def enter() -> int:
            s.clnt_id = client
            return ctx.enter_open_session(thread, s)

        try:
            ret, origin = self._enter(thread, s, ctx, timeout_ms, param, enter)
        except Exception:
            self._close_session(thread, s, sessions)
            raise
        session_id = s.id
        if ret:
            log.info("Failed for TA %s. Return error 0x%x", gp.uuid_str(uuid), ret)
            self._close_session(thread, s, sessions)
            session_id = 0
        else:
            self.put_session(thread, s)
        if trace.on:
            trace.exit(points.TA_OPEN, ret, session_id)
        return ret, origin, session_id

    # --- invoke -------------------------------------------------------------------------------------------------

    def invoke_command(
        self, thread: Thread, s: Session, client: Identity, timeout_ms: int, cmd: int, param: TaParams
    ) -> tuple[int, int]:
        """tee_ta_invoke_command on a session that is held: (TEE_Result, origin)."""
        trace = self._trace
        if trace.on:
            trace.enter(points.TA_INVOKE, s.id, cmd)
        if not _is_client(s, client):
            result = gp.TEE_ERROR_BAD_PARAMETERS, gp.TEE_ORIGIN_TEE
        else:
            assert s.ctx is not None
            ctx = s.ctx
            result = self._enter(thread, s, ctx, timeout_ms, param, lambda: ctx.enter_invoke_cmd(thread, s, cmd))
        if trace.on:
            trace.exit(points.TA_INVOKE, result[0])
        return result

    def dump_mem_stats(self, thread: Thread, s: Session, param: TaParams) -> int:
        """dump_ta_memstats on a session that is held."""
        assert s.ctx is not None
        ctx = s.ctx
        if ctx.is_initializing:
            return gp.TEE_ERROR_BAD_STATE
        timeout = gp.TEE_TIMEOUT_INFINITE
        return self._enter(thread, s, ctx, timeout, param, lambda: ctx.dump_mem_stats(thread, s))[0]

    def _enter(
        self, thread: Thread, s: Session, ctx: TaCtx, timeout_ms: int, param: TaParams, enter: Callable[[], int]
    ) -> tuple[int, int]:
        """Enter the TA when it is free and alive: (TEE_Result, origin)."""
        if not self._try_set_busy(thread, ctx):
            return gp.TEE_ERROR_BUSY, gp.TEE_ORIGIN_TEE
        try:
            if not ctx.panicked:
                s.param = param
                s.cancel_time = (
                    NEVER
                    if timeout_ms == gp.TEE_TIMEOUT_INFINITE
                    else self._clock.counter_ns() + timeout_ms * 1_000_000
                )
                ret = enter()
                s.param = None
            if ctx.panicked:
                self._maybe_release(thread, ctx)
                return gp.TEE_ERROR_TARGET_DEAD, gp.TEE_ORIGIN_TEE
        finally:
            self._clear_busy(thread, ctx)
        return ret, s.err_origin

    def _maybe_release(self, thread: Thread, ctx: TaCtx) -> None:
        """maybe_release_ta_ctx: a dead context makes room for a new one, unless it asked to stay dead."""
        keep = TA_FLAG_SINGLE_INSTANCE | TA_FLAG_INSTANCE_KEEP_ALIVE | TA_FLAG_INSTANCE_KEEP_CRASHED
        if ctx.flags & keep == keep:
            return
        with self._lock:
            if ctx.is_releasing:
                return
            ctx.is_releasing = True
            self.contexts.remove(ctx)
        ctx.release_state(thread)

    # --- cancel ---------------------------------------------------------------------------------------------------

    def cancel_command(self, s: Session, client: Identity) -> int:
        """tee_ta_cancel_command."""
        if not _is_client(s, client):
            return gp.TEE_ERROR_BAD_PARAMETERS
        s.cancel = True
        return gp.TEE_SUCCESS


def _is_client(s: Session, client: Identity) -> bool:
    """check_client: does ``client`` own the session?"""
    if client is KERN_IDENTITY:
        return True
    if client is NSAPP_IDENTITY:
        return s.clnt_id.login != gp.TEE_LOGIN_TRUSTED_APP
    return s.clnt_id == client
