"""What the secure world asks of the driver in the middle of a call. Mirrors drivers/tee/optee/rpc.c and smc_abi.c."""

import contextlib
import errno
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optemu.abi import gp, optee_msg
from optemu.abi import optee_rpc_cmd as rpc_abi
from optemu.abi import optee_smc as smc_abi
from optemu.abi import tee_ioctl as ioc
from optemu.abi.rpmb import RPMB_FRAME_SIZE
from optemu.board.memory import PAGE_SIZE, Region
from optemu.errors import explain
from optemu.normal_world.driver import points
from optemu.normal_world.driver.params import VALUES, from_msg_memref, from_msg_params
from optemu.normal_world.driver.supp import Request
from optemu.normal_world.driver.tee_shm import TeeShm
from optemu.normal_world.emmc.access import exchange, may_route, split

if TYPE_CHECKING:
    from optemu.normal_world.driver.optee import Optee
    from optemu.normal_world.driver.tee_core import TeeContext

log = logging.getLogger("optemu.driver")
_MAX_RPC_PARAMS = 16
_HEAD_SIZE, _PARAM_SIZE = optee_msg.MSG_ARG.size, optee_msg.MSG_PARAM.size
_VALUE_IN = optee_msg.OPTEE_MSG_ATTR_TYPE_VALUE_INPUT
_VALUE_OUT = optee_msg.OPTEE_MSG_ATTR_TYPE_VALUE_OUTPUT
_MEM_IN = optee_msg.OPTEE_MSG_ATTR_TYPE_RMEM_INPUT
_MEM_OUT = optee_msg.OPTEE_MSG_ATTR_TYPE_RMEM_OUTPUT
SLEEP_SLICE_SECONDS = 0.1


class CallContext:
    """struct optee_call_ctx: what one call keeps from RPC to RPC."""

    __slots__ = ("ctx", "optee", "page_list", "rpc_arg")

    def __init__(self, optee: "Optee", ctx: "TeeContext | None", rpc_arg: memoryview | None) -> None:
        self.optee = optee
        self.ctx = ctx
        self.rpc_arg = rpc_arg
        self.page_list: tuple[Region, int] | None = None

    def finish(self) -> None:
        """optee_rpc_finalize_call."""
        if self.page_list is not None:
            self.optee.pool.give_page_list(self.page_list)
            self.page_list = None

    def gone(self) -> bool:
        return self.optee.caller_is_gone(self.ctx)


class RpcArg:
    """The RPC's message: command and parameters, copied; answers go to ``view``."""

    __slots__ = ("cmd", "params", "view")

    def __init__(self, view: memoryview) -> None:
        self.view = view
        if len(view) < _HEAD_SIZE:
            raise OSError(errno.EINVAL, f"an RPC in {len(view)} bytes of memory")
        head = optee_msg.MSG_ARG.unpack_from(view, 0)
        self.cmd = head[0]
        count = head[7]
        end = optee_msg.msg_arg_size(count)
        if count > _MAX_RPC_PARAMS or end > len(view):
            raise OSError(errno.EINVAL, f"an RPC with {count} parameters")
        self.params = list(optee_msg.MSG_PARAM.iter_unpack(view[_HEAD_SIZE:end]))
        """Attribute, a, b and c of each."""

    def set_param(self, n: int, attr: int, a: int, b: int, c: int) -> None:
        optee_msg.MSG_PARAM.pack_into(self.view, _HEAD_SIZE + n * _PARAM_SIZE, attr, a, b, c)

    def answer(self, ret: int) -> None:
        optee_msg.MSG_ARG_RET.pack_into(self.view, optee_msg.MSG_ARG_RET_OFFSET, ret, gp.TEE_ORIGIN_COMMS)

    def types(self) -> tuple[int, ...]:
        """The parameters' types; registered and temporary memory are the same."""
        kinds = [attr & optee_msg.OPTEE_MSG_ATTR_TYPE_MASK for attr, _, _, _ in self.params]
        tmem = optee_msg.OPTEE_MSG_ATTR_TYPE_TMEM_INPUT
        return tuple(k - tmem + optee_msg.OPTEE_MSG_ATTR_TYPE_RMEM_INPUT if k >= tmem else k for k in kinds)

    def single(self, attr: int) -> tuple[int, int, int] | None:
        """(a, b, c) of the only parameter when it has that attribute."""
        if len(self.params) != 1 or self.params[0][0] & optee_msg.OPTEE_MSG_ATTR_TYPE_MASK != attr:
            return None
        _, a, b, c = self.params[0]
        return a, b, c


def handle_rpc(call: CallContext, r0: int, r1: int, r2: int, r3: int) -> tuple[int, int, int, int, int, int]:
    """optee_handle_rpc: serve it; a0 to a5 of the SMC that resumes the secure thread."""
    optee = call.optee
    trace = optee.trace
    if trace.on:
        trace.enter(points.HANDLE_RPC, r0)
    a1 = a2 = a4 = a5 = 0
    if r0 == smc_abi.OPTEE_SMC_RETURN_RPC_CMD:
        _rpc_cmd(call, r1 << 32 | r2)
    elif r0 == smc_abi.OPTEE_SMC_RETURN_RPC_FOREIGN_INTR:
        pass  # the interrupt itself is the kernel's to serve
    elif r0 == smc_abi.OPTEE_SMC_RETURN_RPC_ALLOC:
        with contextlib.suppress(MemoryError):
            if r1 <= PAGE_SIZE:
                shm = _kernel_buffer(optee, PAGE_SIZE)
                pa = shm.region.base
                a1, a2 = pa >> 32, pa & 0xFFFFFFFF
                a4, a5 = shm.cookie >> 32, shm.cookie & 0xFFFFFFFF
    elif r0 == smc_abi.OPTEE_SMC_RETURN_RPC_FREE:
        _free_kernel_buffer(optee, r1 << 32 | r2)
    else:
        log.warning("Unknown RPC func 0x%x", r0 & 0xFFFF)
    if trace.on:
        trace.exit(points.HANDLE_RPC)
    return smc_abi.OPTEE_SMC_CALL_RETURN_FROM_RPC, a1, a2, r3, a4, a5


def _kernel_buffer(optee: "Optee", size: int) -> TeeShm:
    """tee_shm_alloc_priv_buf."""
    shm = TeeShm(optee.board.memory.allocate(size, secure=False), size, lambda shm: None)
    optee.by_cookie[shm.cookie] = shm
    return shm


def _free_kernel_buffer(optee: "Optee", cookie: int) -> None:
    shm = optee.by_cookie.pop(cookie, None)
    if shm is not None:
        optee.board.memory.free(shm.region)


def _rpc_cmd(call: CallContext, cookie: int) -> None:
    """handle_rpc_func_cmd: the message is behind the call's own, or in memory named by ``cookie``."""
    view = call.rpc_arg
    if view is None:
        shm = call.optee.by_cookie.get(cookie)
        if shm is None:
            log.warning("RPC with an argument in unknown memory 0x%x", cookie)
            return
        view = shm.view
    try:
        arg = RpcArg(view)
    except OSError as e:
        log.warning("RPC refused: %s", explain(e))
        return
    row = RPC_COMMANDS.get(arg.cmd)
    try:
        ret = (row.handler if row else _to_supplicant)(call, arg)
    except MemoryError:
        ret = gp.TEE_ERROR_OUT_OF_MEMORY
    except Exception:
        # The secure thread waits for an answer, whatever has happened to us.
        log.exception("RPC %d failed inside the driver: this is a bug of optemu", arg.cmd)
        ret = gp.TEE_ERROR_GENERIC
    arg.answer(ret)


def _get_time(call: CallContext, arg: RpcArg) -> int:
    if arg.single(_VALUE_OUT) is None:
        return gp.TEE_ERROR_BAD_PARAMETERS
    seconds, nanos = divmod(call.optee.board.clock.wall_ns(), 1_000_000_000)
    arg.set_param(0, _VALUE_OUT, seconds, nanos, 0)
    return gp.TEE_SUCCESS


def _notification(call: CallContext, arg: RpcArg) -> int:
    """handle_rpc_func_cmd_wq: a secure thread sleeps here, or wakes another."""
    value = arg.single(_VALUE_IN)
    if value is None:
        return gp.TEE_ERROR_BAD_PARAMETERS
    what, key, timeout_ms = value
    if key > call.optee.max_notification:
        return gp.TEE_ERROR_BAD_PARAMETERS
    with call.optee.lock:
        event = call.optee.notifications.setdefault(key, threading.Event())
    if what == rpc_abi.OPTEE_RPC_NOTIFICATION_WAIT:
        notified = event.wait(min(timeout_ms, 0xFFFFFFFF) / 1000 if timeout_ms else None)
        event.clear()
        # The kernel has no better word for a time that is over either.
        return gp.TEE_SUCCESS if notified else gp.TEE_ERROR_BAD_PARAMETERS
    if what == rpc_abi.OPTEE_RPC_NOTIFICATION_SEND:
        event.set()
        return gp.TEE_SUCCESS
    return gp.TEE_ERROR_BAD_PARAMETERS


def _suspend(call: CallContext, arg: RpcArg) -> int:
    """handle_rpc_func_cmd_wait: an interruptible sleep."""
    value = arg.single(_VALUE_IN)
    if value is None:
        return gp.TEE_ERROR_BAD_PARAMETERS
    until = time.monotonic() + min(value[0], 0xFFFFFFFF) / 1000
    while (left := until - time.monotonic()) > 0:
        if call.gone():
            break
        time.sleep(min(left, SLEEP_SLICE_SECONDS))
    return gp.TEE_SUCCESS


def _shm_alloc(call: CallContext, arg: RpcArg) -> int:
    value = arg.single(_VALUE_IN)
    if value is None:
        return gp.TEE_ERROR_BAD_PARAMETERS
    kind, size, _ = value
    if kind == rpc_abi.OPTEE_RPC_SHM_TYPE_APPL:
        shm = _alloc_suppl(call, size)
    elif kind == rpc_abi.OPTEE_RPC_SHM_TYPE_KERNEL and 0 < size <= 1 << 24:
        shm = _kernel_buffer(call.optee, size)
    else:
        return gp.TEE_ERROR_BAD_PARAMETERS
    if shm is None:
        return gp.TEE_ERROR_OUT_OF_MEMORY
    call.finish()
    region, at = call.page_list = call.optee.pool.take_page_list(shm.region)
    attr = optee_msg.OPTEE_MSG_ATTR_TYPE_TMEM_OUTPUT | optee_msg.OPTEE_MSG_ATTR_NONCONTIG
    arg.set_param(0, attr, region.base + at, shm.size, shm.cookie)
    return gp.TEE_SUCCESS


def _alloc_suppl(call: CallContext, size: int) -> TeeShm | None:
    """optee_rpc_cmd_alloc_suppl: memory that the supplicant allocates and maps."""
    supp = call.optee.supp
    request = _shm_request(rpc_abi.OPTEE_RPC_CMD_SHM_ALLOC, size)
    if supp.thrd_req(request, call.gone):
        return None
    ctx = supp.ctx
    shm = ctx.shm_get(request.params[3]) if ctx is not None else None
    if shm is not None:
        call.optee.by_cookie[shm.cookie] = shm
    return shm


def _shm_request(cmd: int, size_or_id: int) -> Request:
    value = [ioc.TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_INOUT, rpc_abi.OPTEE_RPC_SHM_TYPE_APPL, size_or_id, 0]
    return Request(cmd, value, [0], [])


def _shm_free(call: CallContext, arg: RpcArg) -> int:
    value = arg.single(_VALUE_IN)
    if value is None:
        return gp.TEE_ERROR_BAD_PARAMETERS
    kind, cookie, _ = value
    optee = call.optee
    if kind == rpc_abi.OPTEE_RPC_SHM_TYPE_KERNEL:
        _free_kernel_buffer(optee, cookie)
    elif kind == rpc_abi.OPTEE_RPC_SHM_TYPE_APPL:
        shm = optee.by_cookie.pop(cookie, None)
        if shm is None or shm.ctx is None:
            return gp.TEE_ERROR_BAD_PARAMETERS
        number = shm.id
        shm.ctx.shm_put(shm)
        optee.supp.thrd_req(_shm_request(rpc_abi.OPTEE_RPC_CMD_SHM_FREE, number), call.gone)
    else:
        return gp.TEE_ERROR_BAD_PARAMETERS
    return gp.TEE_SUCCESS


def _rpmb_probe_reset(call: CallContext, arg: RpcArg) -> int:
    """handle_rpc_func_rpmb_probe_reset: the kind of memory that frames go in."""
    if arg.single(_VALUE_OUT) is None:
        return gp.TEE_ERROR_BAD_PARAMETERS
    call.optee.rpmb_probed = None
    arg.set_param(0, _VALUE_OUT, rpc_abi.OPTEE_RPC_SHM_TYPE_KERNEL, 0, 0)
    return gp.TEE_SUCCESS


def _rpmb_probe_next(call: CallContext, arg: RpcArg) -> int:
    """handle_rpc_func_rpmb_probe_next: the next device, of which there is one at most."""
    optee = call.optee
    if arg.types() != (_VALUE_OUT, _MEM_OUT) or (room := _memory(call, arg, 1)) is None:
        return gp.TEE_ERROR_BAD_PARAMETERS
    device = optee.rpmb if optee.rpmb_probed is None else None
    optee.rpmb_probed = device
    if device is None:
        return gp.TEE_ERROR_ITEM_NOT_FOUND
    if len(room) < len(device.cid):
        return gp.TEE_ERROR_SHORT_BUFFER
    room[: len(device.cid)] = device.cid
    attr, offset, _, cookie = arg.params[1]
    arg.set_param(0, _VALUE_OUT, rpc_abi.OPTEE_RPC_RPMB_EMMC, device.size_mult, device.rel_wr_sec_c)
    arg.set_param(1, attr, offset, len(device.cid), cookie)
    return gp.TEE_SUCCESS


def _rpmb_frames(call: CallContext, arg: RpcArg) -> int:
    """handle_rpc_func_rpmb_frames, and mmc_route_rpmb_frames behind it."""
    if arg.types() != (_MEM_IN, _MEM_OUT):
        return gp.TEE_ERROR_BAD_PARAMETERS
    device = call.optee.rpmb_probed
    if device is None:
        return gp.TEE_ERROR_ITEM_NOT_FOUND
    request, response = _memory(call, arg, 0), _memory(call, arg, 1)
    if request is None or response is None:
        return gp.TEE_ERROR_BAD_PARAMETERS
    # Copied once: the secure world still holds the memory.
    raw, room = bytes(request), len(response)
    if not may_route(raw, room):
        log.warning("RPMB frames refused: %d bytes that ask for %d", len(raw), room)
        return gp.TEE_ERROR_BAD_PARAMETERS
    response[:] = exchange(device, split(raw), room // RPMB_FRAME_SIZE)
    return gp.TEE_SUCCESS


def _memory(call: CallContext, arg: RpcArg, n: int) -> memoryview | None:
    """tee_shm_get_va: the memory that parameter ``n`` refers to."""
    try:
        attr, a, size, c = arg.params[n]
        kind = attr & optee_msg.OPTEE_MSG_ATTR_TYPE_MASK
        offset, shm = from_msg_memref(kind, a, size, c, call.optee.by_cookie)
    except OSError as e:
        log.warning("RPMB: %s", explain(e))
        return None
    return shm.view[offset : offset + size] if shm is not None else None


def _to_supplicant(call: CallContext, arg: RpcArg) -> int:
    """handle_rpc_supp_cmd: everything else is the supplicant's."""
    optee = call.optee
    trace = optee.trace
    try:
        request = Request(arg.cmd, *from_msg_params(arg.params, optee.by_cookie))
    except OSError as e:
        log.warning("RPC %s refused: %s", rpc_abi.RPC_CMD_NAMES.get(arg.cmd, arg.cmd), explain(e))
        return gp.TEE_ERROR_BAD_PARAMETERS
    if trace.on:
        trace.enter(points.SUPP_REQ, arg.cmd)
    ret = optee.supp.thrd_req(request, call.gone)
    if trace.on:
        trace.exit(points.SUPP_REQ, ret)
    for at in request.outputs:
        attr, offset, _, cookie = arg.params[at >> 2]
        kind, a, b, c = request.params[at : at + 4]
        if kind in VALUES:
            arg.set_param(at >> 2, attr, a, b, c)
        else:
            arg.set_param(at >> 2, attr, offset, b, cookie)
    return ret


@dataclass(frozen=True, slots=True)
class RpcCommand:
    """One row of the table of RPCs that the driver serves itself."""

    number: int
    name: str
    handler: Callable[[CallContext, RpcArg], int]


RPC_COMMANDS = {
    row.number: row
    for row in (
        RpcCommand(rpc_abi.OPTEE_RPC_CMD_GET_TIME, "GET_TIME", _get_time),
        RpcCommand(rpc_abi.OPTEE_RPC_CMD_NOTIFICATION, "NOTIFICATION", _notification),
        RpcCommand(rpc_abi.OPTEE_RPC_CMD_SUSPEND, "SUSPEND", _suspend),
        RpcCommand(rpc_abi.OPTEE_RPC_CMD_SHM_ALLOC, "SHM_ALLOC", _shm_alloc),
        RpcCommand(rpc_abi.OPTEE_RPC_CMD_SHM_FREE, "SHM_FREE", _shm_free),
        RpcCommand(rpc_abi.OPTEE_RPC_CMD_RPMB_PROBE_RESET, "RPMB_PROBE_RESET", _rpmb_probe_reset),
        RpcCommand(rpc_abi.OPTEE_RPC_CMD_RPMB_PROBE_NEXT, "RPMB_PROBE_NEXT", _rpmb_probe_next),
        RpcCommand(rpc_abi.OPTEE_RPC_CMD_RPMB_FRAMES, "RPMB_FRAMES", _rpmb_frames),
        RpcCommand(rpc_abi.OPTEE_RPC_CMD_I2C_TRANSFER, "I2C_TRANSFER", lambda call, arg: gp.TEE_ERROR_NOT_SUPPORTED),
    )
}
