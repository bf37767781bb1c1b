"""Dynamic TAs: Arm code at EL0. Mirrors core/kernel/user_ta.c and thread_enter_user_mode."""

import itertools
import logging
from typing import TYPE_CHECKING

from optemu.abi import gp
from optemu.abi.syscalls import TEE_SCN_PANIC, TEE_SCN_RETURN
from optemu.abi.utee import (
    UTEE_ENTRY_FUNC_CLOSE_SESSION,
    UTEE_ENTRY_FUNC_DUMP_MEMSTATS,
    UTEE_ENTRY_FUNC_INVOKE_COMMAND,
    UTEE_ENTRY_FUNC_OPEN_SESSION,
    UTEE_PARAMS,
)
from optemu.errors import TaPanic, TeeError
from optemu.secure_world.core import points
from optemu.secure_world.core.abort import report_abort, report_panic
from optemu.secure_world.core.ftrace import FtraceBuf
from optemu.secure_world.core.param import Memref, TaParams, Value
from optemu.secure_world.core.session import Session, SessionList, TaCtx
from optemu.secure_world.core.ta_image import TaInstance
from optemu.secure_world.core.tee_cryp_state import CRYP_STATES_MAX, TeeCrypState
from optemu.secure_world.core.tee_obj import Handles, TeeObjs, tee_obj_close_all
from optemu.secure_world.core.thread import Thread
from optemu.secure_world.cpu import Stop
from optemu.secure_world.syscalls.storage_enum import STORAGE_ENUMS_MAX, StorageEnum, close_all_enum
from optemu.trace import Point

if TYPE_CHECKING:
    from optemu.secure_world.core.tee import Tee

log = logging.getLogger("optemu.core")

CFG_CORE_MAX_SYSCALL_RECURSION = 4
CFG_TA_ASLR_MAX_OFFSET_PAGES = 128
ABORT_PANIC_CODE = 0xDEADBEEF
_NO_PARAMS = bytes(UTEE_PARAMS.size)
_SVC, _STOPPED = Stop.SVC, Stop.STOPPED
_stretches = itertools.count(1)
_instance_ids = itertools.count(1)


class UserTaCtx(TaCtx):
    """A user TA (struct user_ta_ctx): its instance, and what it holds in the core."""

    def __init__(self, tee: "Tee", uuid: bytes) -> None:
        super().__init__(uuid, 0)
        self.tee = tee
        self.is_initializing = True
        self.instance_id = next(_instance_ids)
        """get_instance_id: unlike the UUID it tells the instances of one TA apart."""
        self.instance: TaInstance | None = None
        self.open_sessions = SessionList()
        """Sessions this TA has opened to other TAs."""
        self.objs = TeeObjs()
        self.cryp_states: Handles[TeeCrypState] = Handles(CRYP_STATES_MAX, "operation")
        self.storage_enums: Handles[StorageEnum] = Handles(STORAGE_ENUMS_MAX, "enumerator")
        self.session: Session | None = None
        """The session being served; None between calls."""
        self.thread: Thread | None = None
        self.stretch = 0
        """Changes at each entry to EL0 and is 0 outside: the timer looks at it."""
        self.ftrace: FtraceBuf | None = None

    @property
    def space(self):  # type: ignore[no-untyped-def]
        assert self.instance is not None
        return self.instance.space

    # --- entry points -------------------------------------------------------------------------------------

    def enter_open_session(self, thread: Thread, session: Session) -> int:
        return self._traced(thread, session, points.UTA_OPEN, UTEE_ENTRY_FUNC_OPEN_SESSION)

    def enter_invoke_cmd(self, thread: Thread, session: Session, cmd: int) -> int:
        trace = self.tee.trace
        if not trace.on:
            return self._enter(thread, session, UTEE_ENTRY_FUNC_INVOKE_COMMAND, cmd)
        trace.enter(points.UTA_INVOKE, self.uuid, cmd)
        ret = self._enter(thread, session, UTEE_ENTRY_FUNC_INVOKE_COMMAND, cmd)
        trace.exit(points.UTA_INVOKE, ret)
        return ret

    def enter_close_session(self, thread: Thread, session: Session) -> None:
        session.param = None
        self._traced(thread, session, points.UTA_CLOSE, UTEE_ENTRY_FUNC_CLOSE_SESSION)

    def dump_mem_stats(self, thread: Thread, session: Session) -> int:
        return self._traced(thread, session, points.UTA_MEMSTATS, UTEE_ENTRY_FUNC_DUMP_MEMSTATS)

    def _traced(self, thread: Thread, session: Session, point: Point, func: int) -> int:
        trace = self.tee.trace
        if trace.on:
            trace.enter(point, self.uuid)
        ret = self._enter(thread, session, func, 0)
        if trace.on:
            trace.exit(point, ret)
        return ret

    def _enter(self, thread: Thread, session: Session, func: int, cmd: int) -> int:
        """user_ta_enter: parameters in, run at EL0 until it returns, parameters out."""
        instance = self.instance
        assert instance is not None
        try:
            if thread.syscall_recursion >= CFG_CORE_MAX_SYSCALL_RECURSION:
                log.error("TA %s: calls between TAs are nested too deeply", gp.uuid_str(self.uuid))
                return gp.TEE_ERROR_OUT_OF_MEMORY
            params = session.param
            sp, at = instance.sp, instance.params_at
            try:
                self._push_params(instance, params, at)
            except TeeError as e:
                log.error("TA %s: %s", gp.uuid_str(self.uuid), e)
                return e.code
            outer = thread.session
            thread.session = session
            thread.syscall_recursion += 1
            self.session, self.thread = session, thread
            try:
                ret = self._run(thread, session, instance, (func, session.uref, sp, cmd), sp)
            finally:
                self.session = self.thread = None
                thread.syscall_recursion -= 1
                thread.session = outer
            if not self.panicked:
                session.err_origin = gp.TEE_ORIGIN_TRUSTED_APP
                if params is not None:
                    self._pop_params(instance, params, at)
            if self.ftrace is not None:
                self.ftrace.dump(thread)
            return ret
        finally:
            session.cancel = False
            session.cancel_mask = True

    @staticmethod
    def _push_params(instance: TaInstance, params: TaParams | None, at: int) -> None:
        """init_utee_param: struct utee_params at the top of the stack."""
        if params is None:
            instance.region.view[at : at + UTEE_PARAMS.size] = _NO_PARAMS
            return
        vals = [0, 0, 0, 0, 0, 0, 0, 0]
        vas = instance.space.map_param(params)
        n = 0
        for p in params.u:
            if type(p) is Value:
                vals[n], vals[n + 1] = p.a, p.b
            elif type(p) is Memref:
                vals[n], vals[n + 1] = vas[n >> 1], p.size
            n += 2
        UTEE_PARAMS.pack_into(instance.region.view, at, params.types, *vals)

    @staticmethod
    def _pop_params(instance: TaInstance, params: TaParams, at: int) -> None:
        """update_from_utee_param: what the TA wrote there, for the output parameters."""
        vals = UTEE_PARAMS.unpack_from(instance.region.view, at)
        types = params.types
        for n in range(4):
            if types >> (4 * n) & 2:  # OUTPUT or INOUT, of either sort
                p = params.u[n]
                if type(p) is Value:
                    p.a, p.b = vals[1 + 2 * n] & 0xFFFFFFFF, vals[2 + 2 * n] & 0xFFFFFFFF
                elif type(p) is Memref:
                    p.size = vals[2 + 2 * n]

    # --- user mode -------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """From any core: interrupt the execution at EL0."""
        instance = self.instance
        if instance is not None:
            instance.cpu.request_stop()

    def _run(
        self, thread: Thread, session: Session, instance: TaInstance, args: tuple[int, int, int, int], sp: int
    ) -> int:
        """thread_enter_user_mode: TEE_Result of the entry point, or TARGET_DEAD with ``panicked`` set."""
        tee = self.tee
        trace = tee.trace
        entry = instance.image.elf.entry
        if trace.on:
            trace.enter(points.USER_MODE, entry, sp)
            trace.enter(points.TA_ENTRY, args[0], session.id, args[2], args[3])
        left_by = "SYS_RETURN"
        try:
            stop = self._serve(thread, instance, entry, sp, args)
            ret = instance.cpu.args[0] & 0xFFFFFFFF
            if stop is not _SVC:
                ret, left_by = gp.TEE_ERROR_TARGET_DEAD, stop.name.lower()
                self.panicked, self.panic_code = True, ABORT_PANIC_CODE
                report_abort(self, stop)
        except TaPanic as panic:
            ret, left_by = gp.TEE_ERROR_TARGET_DEAD, "panic"
            self.panicked, self.panic_code = True, panic.code
            report_panic(self, panic)
        finally:
            self.stretch = 0
        if trace.on:
            trace.exit(points.TA_ENTRY, left_by)
            trace.mark(points.UNWIND, ret, self.panicked)
            trace.exit(points.USER_MODE, ret)
        return ret

    def _serve(
        self, thread: Thread, instance: TaInstance, entry: int, sp: int, args: tuple[int, int, int, int]
    ) -> Stop:
        """Run, and serve each exception from EL0 until SYS_RETURN or an abort ends the call; TaPanic."""
        cpu = instance.cpu
        call = self.tee.syscalls.call
        timer = self.tee.board.timer
        self.stretch = next(_stretches)
        if timer.asleep:  # looked at after the line above, or it could fall asleep in between
            timer.wake()
        stop = cpu.enter(entry, sp, *args)
        while True:
            self.stretch = 0
            if stop is _SVC:
                number = cpu.number
                if number == TEE_SCN_RETURN:
                    return stop
                if number == TEE_SCN_PANIC:
                    raise TaPanic(cpu.args[0] & 0xFFFFFFFF)
                ret = call(self, number, cpu)
                self.stretch = next(_stretches)
                stop = cpu.resume(ret & 0xFFFFFFFF)
            elif stop is _STOPPED:
                cpu.clear_stop()
                if self.session is not None and self.session.sbuf is not None:
                    self.session.sbuf.sample(cpu.pc & ~1)
                self._interrupted(thread)
                self.stretch = next(_stretches)
                stop = cpu.continue_()
            else:
                return stop

    def _interrupted(self, thread: Thread) -> None:
        """The time slice is over; a function that is traced does not take the time meanwhile."""
        if self.ftrace is None:
            thread.foreign_interrupt()
            return
        self.ftrace.suspend()
        thread.foreign_interrupt()
        self.ftrace.resume()

    # --- the end ------------------------------------------------------------------------------------------------

    def release_state(self, thread: Thread) -> None:
        """release_utc_state: close what the TA opened and take its memory back."""
        self.tee.manager.close_all(thread, self.open_sessions)
        self.cryp_states.clear()  # their keys are among the objects
        tee_obj_close_all(self, thread)
        close_all_enum(self.storage_enums, thread)
        instance, self.instance = self.instance, None
        self.ftrace = None
        if instance is not None:
            self.tee.board.timer.detach(self)
            instance.image.give_back(instance)

    def destroy(self, thread: Thread) -> None:
        self.release_state(thread)
