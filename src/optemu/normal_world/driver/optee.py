"""The OP-TEE driver: calls into the secure world. Mirrors drivers/tee/optee/call.c and smc_abi.c."""

import contextlib
import ctypes
import errno
import logging
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from optemu.abi import gp, optee_msg
from optemu.abi import optee_smc as smc_abi
from optemu.board.board import Board
from optemu.board.memory import PAGE_SIZE, Region
from optemu.normal_world.driver import points
from optemu.normal_world.driver.client_uuid import client_uuid
from optemu.normal_world.driver.interface import Task
from optemu.normal_world.driver.rpc import CallContext, handle_rpc
from optemu.normal_world.driver.supp import Supp
from optemu.normal_world.driver.tee_shm import ShmPool, TeeShm
from optemu.normal_world.emmc import RpmbDevice

if TYPE_CHECKING:
    from optemu.normal_world.driver.tee_core import TeeContext

log = logging.getLogger("optemu.driver")

Registers = tuple[int, int, int, int, int, int, int, int]
InvokeFn = Callable[..., Registers]

MAX_ARG_PARAM_COUNT = 6
SHM_ENTRY_SIZE = 512
OPTEE_DEFAULT_MAX_NOTIF_VALUE = 255
_U64_PAIR = struct.Struct("<QQ")
_META_VALUE = optee_msg.OPTEE_MSG_ATTR_TYPE_VALUE_INPUT | optee_msg.OPTEE_MSG_ATTR_META
ABANDON_AFTER_SECONDS = 0.5
ABANDON_INTERVAL_SECONDS = 0.02


class MsgArg:
    """Room for one message and the RPC argument behind it (an entry of optee_shm_arg_cache)."""

    __slots__ = ("call", "offset", "view")

    def __init__(self, view: memoryview, call: tuple[int, int, int, int], offset: int) -> None:
        self.view = view
        self.call = call
        """a0 to a3 of the SMC that hands the message over."""
        self.offset = offset


class CallQueue:
    """struct optee_call_queue: callers that found no thread free wait here for one that returns."""

    def __init__(self) -> None:
        self._cond = threading.Condition()
        self._waiting = 0
        self.completed = 0

    def wait(self, seen: int) -> None:
        """Until a call has completed since ``completed`` was ``seen``."""
        with self._cond:
            self._waiting += 1
            while self.completed == seen:
                self._cond.wait()
            self._waiting -= 1

    def complete(self) -> None:
        self.completed += 1
        if self._waiting:
            with self._cond:
                self._cond.notify()


class Optee:
    """struct optee: one secure world behind ``invoke_fn``."""

    def __init__(self, board: Board, invoke_fn: InvokeFn, rpmb: RpmbDevice | None = None) -> None:
        self.board = board
        self.rpmb = rpmb
        """The RPMB device that the kernel knows."""
        self.rpmb_probed: RpmbDevice | None = None
        """The one that the secure world was told of last (rpmb_dev)."""
        self.trace = board.trace
        self.invoke_fn = invoke_fn
        self.supp = Supp()
        self.pool = ShmPool(board.memory)
        self.by_cookie: dict[int, TeeShm] = {}
        self.notifications: dict[int, threading.Event] = {}
        self.lock = threading.Lock()
        self.powering_off = False
        self._queue = CallQueue()
        self._entries: list[MsgArg] = []
        self._arg_pages: list[TeeShm] = []
        self._probe()

    # --- probing ------------------------------------------------------------------------------------------

    def _probe(self) -> None:
        """optee_probe: is it OP-TEE, of which version, and what can it do?"""
        smc = self.invoke_fn
        if smc(smc_abi.OPTEE_SMC_CALLS_UID)[:4] != optee_msg.OPTEE_MSG_UID:
            raise OSError(errno.ENODEV, "the secure world does not have OP-TEE's API UID")
        major, minor = smc(smc_abi.OPTEE_SMC_CALLS_REVISION)[:2]
        if (major, minor) < optee_msg.OPTEE_MSG_REVISION:
            raise OSError(errno.ENODEV, f"API revision {major}.{minor} is too old")
        self.os_revision = smc(smc_abi.OPTEE_SMC_CALL_GET_OS_REVISION)[:3]
        status, self.sec_caps, notif_max, rpc_params, *_ = smc(smc_abi.OPTEE_SMC_EXCHANGE_CAPABILITIES, 0)
        if status or not self.sec_caps & smc_abi.OPTEE_SMC_SEC_CAP_DYNAMIC_SHM:
            raise OSError(errno.ENODEV, "the secure world takes no dynamic shared memory")
        has_notif = self.sec_caps & smc_abi.OPTEE_SMC_SEC_CAP_ASYNC_NOTIF
        self.max_notification = notif_max if has_notif else OPTEE_DEFAULT_MAX_NOTIF_VALUE
        self.thread_count = smc(smc_abi.OPTEE_SMC_GET_THREAD_COUNT)[1]
        self.rpc_param_count = rpc_params & 0xFF if self.sec_caps & smc_abi.OPTEE_SMC_SEC_CAP_RPC_ARG else 0
        smc(smc_abi.OPTEE_SMC_ENABLE_SHM_CACHE)

    # --- messages -------------------------------------------------------------------------------------------

    def _get_msg_arg(self) -> MsgArg:
        """optee_get_msg_arg: an entry in memory that is shared with the secure world already."""
        try:
            return self._entries.pop()
        except IndexError:
            self._add_arg_page()
            return self._get_msg_arg()

    def _add_arg_page(self) -> None:
        region, at = self.pool.take_page()
        page = TeeShm(region, PAGE_SIZE, lambda shm: None)
        page.page_offset = at
        self._register_pages(page, (region.base + at,))
        self._arg_pages.append(page)
        high, low = page.cookie >> 32, page.cookie & 0xFFFFFFFF
        for offset in range(0, PAGE_SIZE, SHM_ENTRY_SIZE):
            call = (smc_abi.OPTEE_SMC_CALL_WITH_REGD_ARG, high, low, offset)
            start = at + offset
            self._entries.append(MsgArg(region.view[start : start + SHM_ENTRY_SIZE], call, offset))

    def _private_arg(self, page: tuple[Region, int]) -> MsgArg:
        """A message in a page the secure world does not know yet, given by its physical address."""
        region, at = page
        pa = region.base + at
        call = (smc_abi.OPTEE_SMC_CALL_WITH_RPC_ARG, pa >> 32, pa & 0xFFFFFFFF, 0)
        return MsgArg(region.view[at : at + PAGE_SIZE], call, 0)

    # --- the call ---------------------------------------------------------------------------------------------

    def do_call_with_arg(self, arg: MsgArg, num_params: int, ctx: "TeeContext | None" = None) -> int:
        """optee_smc_do_call_with_arg: hand the message over, serve RPCs until it is answered; 0 or SMC error."""
        trace = self.trace
        if trace.on:
            trace.enter(points.DO_CALL, arg.view[:4].cast("I")[0])
        queue = self._queue
        a0, a1, a2, a3 = arg.call
        a4 = a5 = 0
        rpc_at = optee_msg.msg_arg_size(num_params)
        call: CallContext | None = None
        smc = self.invoke_fn
        if ctx is not None:
            ctx.calls.add(arg)
        while True:
            seen = queue.completed
            r0, r1, r2, r3, _, _, _, _ = smc(a0, a1, a2, a3, a4, a5, 0, 0)
            if r0 == smc_abi.OPTEE_SMC_RETURN_OK:
                break
            if r0 == smc_abi.OPTEE_SMC_RETURN_ETHREAD_LIMIT:
                queue.wait(seen)
            elif smc_abi.is_rpc(r0):
                if call is None:
                    rpc_arg = arg.view[rpc_at:] if self.rpc_param_count else None
                    call = CallContext(self, ctx, rpc_arg)
                a0, a1, a2, a3, a4, a5 = handle_rpc(call, r0, r1, r2, r3)
            else:
                break
        if ctx is not None:
            ctx.calls.discard(arg)
        if call is not None:
            call.finish()
        queue.complete()
        if trace.on:
            trace.exit(points.DO_CALL, r0)
        return r0

    # --- sessions ------------------------------------------------------------------------------------------------

    def open_session(
        self,
        ctx: "TeeContext",
        task: Task,
        uuid: bytes,
        login: int,
        connection_data: bytes,
        cancel_id: int,
        params: Sequence[int],
    ) -> tuple[int, int, int, Sequence[int]]:
        """optee_open_session: (session, TEE_Result, origin, parameters as they come back).

        ``params`` are the numbers of message parameters, four each.
        """
        trace = self.trace
        if trace.on:
            trace.enter(points.OPEN_SESSION, uuid, login)
        client = client_uuid(login, connection_data, task)
        meta = (_META_VALUE, *_U64_PAIR.unpack(uuid), 0, _META_VALUE, *_U64_PAIR.unpack(client), login)
        arg = self._get_msg_arg()
        try:
            self._write(arg, optee_msg.OPTEE_MSG_CMD_OPEN_SESSION, 0, 0, cancel_id, (*meta, *params))
            session, ret, origin, answer = self._call(ctx, arg, len(params) // 4 + 2)
            if ret == gp.TEE_SUCCESS:
                ctx.sessions.add(session)
        finally:
            self._entries.append(arg)
        if trace.on:
            trace.exit(points.OPEN_SESSION, ret, origin, session)
        return session, ret, origin, answer[8:] if answer else params

    def invoke_func(
        self, ctx: "TeeContext", func: int, session: int, cancel_id: int, params: Sequence[int]
    ) -> tuple[int, int, Sequence[int]]:
        """optee_invoke_func: (TEE_Result, origin, parameters). OSError(EINVAL): the session is not the context's."""
        trace = self.trace
        if trace.on:
            trace.enter(points.INVOKE_FUNC, session, func)
        if session not in ctx.sessions:
            raise OSError(errno.EINVAL, f"session {session} is not this client's")
        arg = self._get_msg_arg()
        try:
            self._write(arg, optee_msg.OPTEE_MSG_CMD_INVOKE_COMMAND, func, session, cancel_id, params)
            _, ret, origin, answer = self._call(ctx, arg, len(params) >> 2)
        finally:
            self._entries.append(arg)
        if trace.on:
            trace.exit(points.INVOKE_FUNC, ret, origin)
        return ret, origin, answer or params

    def close_session(self, ctx: "TeeContext", session: int) -> None:
        """optee_close_session. OSError(EINVAL) when the session is not the context's."""
        trace = self.trace
        if trace.on:
            trace.enter(points.CLOSE_SESSION, session)
        try:
            ctx.sessions.remove(session)
        except KeyError:
            raise OSError(errno.EINVAL, f"session {session} is not this client's") from None
        self._simple(ctx, optee_msg.OPTEE_MSG_CMD_CLOSE_SESSION, session, 0)
        if trace.on:
            trace.exit(points.CLOSE_SESSION)

    def cancel_req(self, ctx: "TeeContext", cancel_id: int, session: int) -> None:
        """optee_cancel_req. OSError(EINVAL) when the session is not the context's."""
        trace = self.trace
        if trace.on:
            trace.enter(points.CANCEL_REQ, session, cancel_id)
        if session not in ctx.sessions:
            raise OSError(errno.EINVAL, f"session {session} is not this client's")
        self._simple(ctx, optee_msg.OPTEE_MSG_CMD_CANCEL, session, cancel_id)
        if trace.on:
            trace.exit(points.CANCEL_REQ)

    def _simple(self, ctx: "TeeContext", cmd: int, session: int, cancel_id: int) -> None:
        arg = self._get_msg_arg()
        try:
            self._write(arg, cmd, 0, session, cancel_id, ())
            self.do_call_with_arg(arg, 0, ctx)
        finally:
            self._entries.append(arg)

    @staticmethod
    def _write(arg: MsgArg, cmd: int, func: int, session: int, cancel_id: int, params: Sequence[int]) -> None:
        count = len(params) >> 2
        if count > MAX_ARG_PARAM_COUNT:
            raise OSError(errno.EINVAL, f"{count} parameters")
        optee_msg.MSG_ARGS[count].pack_into(arg.view, 0, cmd, func, session, cancel_id, 0, 0, 0, count, *params)

    def _call(self, ctx: "TeeContext", arg: MsgArg, count: int) -> tuple[int, int, int, tuple[int, ...]]:
        """The call and its answer: (session, TEE_Result, origin, the message's parameters)."""
        if self.do_call_with_arg(arg, count, ctx):
            return 0, gp.TEE_ERROR_COMMUNICATION, gp.TEE_ORIGIN_COMMS, ()
        answer = optee_msg.MSG_ARGS[count].unpack_from(arg.view, 0)
        return answer[2], answer[5], answer[6], answer[8:]

    # --- shared memory ---------------------------------------------------------------------------------------------

    def shm_register(self, shm: TeeShm) -> None:
        """optee_shm_register: OSError(EINVAL) when the secure world refuses."""
        region, at = page_list = self.pool.take_page_list(shm.region)
        try:
            self._register_list(shm, region.base + at)
        finally:
            self.pool.give_page_list(page_list)
        self.by_cookie[shm.cookie] = shm

    def _register_pages(self, shm: TeeShm, pages: tuple[int, ...]) -> None:
        page = self.pool.take_page()
        try:
            struct.pack_into(f"<{len(pages)}Q", page[0].view, page[1], *pages)
            self._register_list(shm, page[0].base + page[1], offset=0)
        finally:
            self.pool.give_page(page)

    def _register_list(self, shm: TeeShm, list_pa: int, offset: int | None = None) -> None:
        attr = optee_msg.OPTEE_MSG_ATTR_TYPE_TMEM_OUTPUT | optee_msg.OPTEE_MSG_ATTR_NONCONTIG
        offset = shm.page_offset if offset is None else offset
        param = (attr, list_pa | offset, shm.size, shm.cookie)
        if self._shm_call(optee_msg.OPTEE_MSG_CMD_REGISTER_SHM, param):
            raise OSError(errno.EINVAL, "the secure world does not take the memory")

    def shm_unregister(self, shm: TeeShm) -> None:
        """optee_shm_unregister."""
        if self.by_cookie.pop(shm.cookie, None) is not None:
            param = (optee_msg.OPTEE_MSG_ATTR_TYPE_RMEM_INPUT, 0, 0, shm.cookie)
            self._shm_call(optee_msg.OPTEE_MSG_CMD_UNREGISTER_SHM, param)

    def _shm_call(self, cmd: int, param: tuple[int, int, int, int]) -> int:
        page = self.pool.take_page()
        try:
            arg = self._private_arg(page)
            self._write(arg, cmd, 0, 0, 0, param)
            ret = self.do_call_with_arg(arg, 1)
            return ret or int(optee_msg.MSG_ARGS[1].unpack_from(arg.view, 0)[5])
        finally:
            region, at = page
            ctypes.memset(region.host + at, 0, PAGE_SIZE)
            self.pool.give_page(page)

    # --- the end of a caller ------------------------------------------------------------------------------------

    def caller_is_gone(self, ctx: "TeeContext | None") -> bool:
        """Nobody waits for the call any more: its process died, or the machine goes off."""
        return self.powering_off or (ctx is not None and ctx.gone_since > 0)

    def end_calls(self, ctx: "TeeContext") -> None:
        """Nobody waits for the calls of ``ctx`` any more: ask their TAs to end, and end those that do not."""
        for session in list(ctx.sessions):
            with contextlib.suppress(OSError):
                self.cancel_req(ctx, 0, session)
        patience = time.monotonic() + ABANDON_AFTER_SECONDS
        while ctx.calls and self.caller_is_gone(ctx):
            if self.powering_off or time.monotonic() > patience:
                for arg in list(ctx.calls):
                    self.invoke_fn(smc_abi.OPTEMU_SMC_ABANDON, *arg.call[1:])
            time.sleep(ABANDON_INTERVAL_SECONDS)
