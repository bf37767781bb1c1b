"""Standard calls: the messages of the normal world. Mirrors core/tee/entry_std.c.

A message is unpacked once, into Python numbers, and only those are checked and used: what the normal world
writes into shared memory meanwhile is never seen.
"""

import logging
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optemu.abi import gp, optee_msg
from optemu.abi.optee_msg import (
    MSG_ARG_RET,
    MSG_ARG_RET_OFFSET,
    OPTEE_MSG_ATTR_META,
    OPTEE_MSG_ATTR_NONCONTIG,
    OPTEE_MSG_ATTR_TYPE_MASK,
    OPTEE_MSG_ATTR_TYPE_TMEM_OUTPUT,
    OPTEE_MSG_ATTR_TYPE_VALUE_INPUT,
)
from optemu.errors import TeeError
from optemu.secure_world.core import points
from optemu.secure_world.core.param import Memref, TaParams, Value
from optemu.secure_world.core.session import NSAPP_IDENTITY, Identity
from optemu.secure_world.core.thread import Thread

if TYPE_CHECKING:
    from optemu.secure_world.core.tee import Tee

log = logging.getLogger("optemu.core")

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_U64_PAIR = struct.Struct("<QQ")
_ARGS = [struct.Struct(f"<8I{4 * n}Q") for n in range(optee_msg.OPTEE_MSG_MAX_NUM_PARAMS + 1)]
_PARAM_AT = [optee_msg.MSG_ARG.size + optee_msg.MSG_PARAM.size * n for n in range(optee_msg.OPTEE_MSG_MAX_NUM_PARAMS)]
_META_VALUE = OPTEE_MSG_ATTR_META | OPTEE_MSG_ATTR_TYPE_VALUE_INPUT
_USER_LOGINS = frozenset(
    (
        gp.TEE_LOGIN_USER,
        gp.TEE_LOGIN_GROUP,
        gp.TEE_LOGIN_APPLICATION,
        gp.TEE_LOGIN_APPLICATION_USER,
        gp.TEE_LOGIN_APPLICATION_GROUP,
    )
)
# attr type -> (GP parameter type, is a value, is registered memory)
_KINDS = {
    1: (gp.TEE_PARAM_TYPE_VALUE_INPUT, True, False),
    2: (gp.TEE_PARAM_TYPE_VALUE_OUTPUT, True, False),
    3: (gp.TEE_PARAM_TYPE_VALUE_INOUT, True, False),
    5: (gp.TEE_PARAM_TYPE_MEMREF_INPUT, False, True),
    6: (gp.TEE_PARAM_TYPE_MEMREF_OUTPUT, False, True),
    7: (gp.TEE_PARAM_TYPE_MEMREF_INOUT, False, True),
    9: (gp.TEE_PARAM_TYPE_MEMREF_INPUT, False, False),
    10: (gp.TEE_PARAM_TYPE_MEMREF_OUTPUT, False, False),
    11: (gp.TEE_PARAM_TYPE_MEMREF_INOUT, False, False),
}


class Message:
    """One optee_msg_arg: ``args`` as it was unpacked, ``view`` and ``at`` where the answer goes."""

    __slots__ = ("args", "at", "num_params", "thread", "view")

    def __init__(self, thread: Thread, view: memoryview, at: int, num_params: int) -> None:
        self.thread = thread
        self.view = view
        self.at = at
        self.num_params = num_params
        self.args: tuple[int, ...] = _ARGS[num_params].unpack_from(view, at)

    def answer(self, ret: int, origin: int = gp.TEE_ORIGIN_TEE) -> None:
        MSG_ARG_RET.pack_into(self.view, self.at + MSG_ARG_RET_OFFSET, ret, origin)


@dataclass(frozen=True, slots=True)
class StdCall:
    """One row of the table of messages."""

    number: int
    name: str
    handler: Callable[["Tee", Message], None]
    note: str = ""


def copy_in_params(tee: "Tee", message: Message, skip: int) -> TaParams:
    """The parameters after the ``skip`` first, checked; TeeError(TEE_ERROR_BAD_PARAMETERS or _SECURITY)."""
    count = message.num_params - skip
    if count > gp.TEE_NUM_PARAMS:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"{count} parameters; there can be four")
    params = TaParams()
    args = message.args
    at = 8 + 4 * skip
    for n in range(count):
        attr = args[at]
        if attr & OPTEE_MSG_ATTR_TYPE_MASK or attr & OPTEE_MSG_ATTR_META:
            kind = _KINDS.get(attr & OPTEE_MSG_ATTR_TYPE_MASK)
            if kind is None or attr & OPTEE_MSG_ATTR_META:
                raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"parameter {n} has the attribute 0x{attr:x}")
            gp_type, is_value, registered = kind
            params.types |= gp_type << (4 * n)
            if is_value:
                params.u[n] = Value(args[at + 1], args[at + 2])
            elif registered:
                params.u[n] = _rmem(tee, n, args[at + 1], args[at + 2], args[at + 3])
            else:
                params.u[n] = _tmem(tee, n, attr, args[at + 1], args[at + 2], args[at + 3])
        at += 4
    return params


def _rmem(tee: "Tee", n: int, offs: int, size: int, shm_ref: int) -> Memref:
    """set_rmem_param: a part of memory that was registered before."""
    mobj = tee.shm.get_by_cookie(shm_ref)
    if mobj is None:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"parameter {n}: no registered memory 0x{shm_ref:x}")
    if offs + size > mobj.size:
        raise TeeError(
            gp.TEE_ERROR_SECURITY, f"parameter {n}: 0x{offs:x}+0x{size:x} exceeds memory of 0x{mobj.size:x} bytes"
        )
    return Memref(mobj, offs, size)


def _tmem(tee: "Tee", n: int, attr: int, buf_ptr: int, size: int, shm_ref: int) -> Memref:
    """set_tmem_param: NULL, or memory whose page list comes with the message."""
    if not buf_ptr:
        return Memref(None, 0, 0)
    mobj = None
    if attr & OPTEE_MSG_ATTR_NONCONTIG:
        mobj = tee.shm.from_noncontig(buf_ptr, size, shm_ref)
    if mobj is None:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"parameter {n}: no shared memory at 0x{buf_ptr:x}")
    return Memref(mobj, 0, size)


def copy_out_params(message: Message, skip: int, params: TaParams) -> None:
    """Values and sizes of the output parameters, back into the message."""
    types = params.types
    for n in range(message.num_params - skip):
        kind = types >> (4 * n) & 0xF
        if kind & 2:  # OUTPUT or INOUT, of either sort
            p = params.u[n]
            at = message.at + _PARAM_AT[skip + n] + 8
            if type(p) is Value:
                _U64_PAIR.pack_into(message.view, at, p.a & 0xFFFFFFFFFFFFFFFF, p.b & 0xFFFFFFFFFFFFFFFF)
            elif type(p) is Memref:
                _U64.pack_into(message.view, at + 8, p.size & 0xFFFFFFFFFFFFFFFF)


def _open_session_meta(message: Message) -> tuple[bytes, Identity]:
    """get_open_session_meta: the TA's UUID and who asks, from the two meta parameters."""
    args = message.args
    if message.num_params < 2 or args[8] != _META_VALUE or args[12] != _META_VALUE:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, "OPEN_SESSION without its two meta parameters")
    uuid = _U64_PAIR.pack(args[9], args[10])
    login = args[15] & 0xFFFFFFFF
    if login in (gp.TEE_LOGIN_PUBLIC, gp.TEE_LOGIN_REE_KERNEL):
        return uuid, Identity(login, gp.NIL_UUID)
    if login in _USER_LOGINS:
        return uuid, Identity(login, _U64_PAIR.pack(args[13], args[14]))
    raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"login method 0x{login:x}")


def entry_open_session(tee: "Tee", message: Message) -> None:
    trace = tee.trace
    ret, origin, session = gp.TEE_SUCCESS, gp.TEE_ORIGIN_TEE, 0
    try:
        uuid, client = _open_session_meta(message)
        if trace.on:
            trace.enter(points.ENTRY_OPEN, uuid, client.login)
        params = copy_in_params(tee, message, 2)
        ret, origin, session = tee.manager.open_session(
            message.thread, tee.open_sessions, uuid, client, gp.TEE_TIMEOUT_INFINITE, params
        )
        copy_out_params(message, 2, params)
    except TeeError as e:
        log.error("OPEN_SESSION refused: %s", e)
        ret = e.code
    _U32.pack_into(message.view, message.at + optee_msg.MSG_ARG_SESSION_OFFSET, session)
    message.answer(ret, origin)
    if trace.on:
        trace.exit(points.ENTRY_OPEN, ret, origin, session)


def entry_invoke_command(tee: "Tee", message: Message) -> None:
    trace = tee.trace
    _, func, session_id, *_ = message.args
    ret, origin = gp.TEE_ERROR_BAD_PARAMETERS, gp.TEE_ORIGIN_TEE
    try:
        params = copy_in_params(tee, message, 0)
        if trace.on:
            trace.enter(points.ENTRY_INVOKE, session_id, func, params.types)
        session = tee.manager.get_session(message.thread, session_id, tee.open_sessions)
        if session is None:
            log.error("INVOKE_COMMAND refused: no session %d", session_id)
        else:
            try:
                ret, origin = tee.manager.invoke_command(
                    message.thread, session, NSAPP_IDENTITY, gp.TEE_TIMEOUT_INFINITE, func, params
                )
            finally:
                tee.manager.put_session(message.thread, session)
            copy_out_params(message, 0, params)
    except TeeError as e:
        log.error("INVOKE_COMMAND refused: %s", e)
        ret = e.code
    message.answer(ret, origin)
    if trace.on:
        trace.exit(points.ENTRY_INVOKE, ret, origin)


def entry_close_session(tee: "Tee", message: Message) -> None:
    trace = tee.trace
    session_id = message.args[2]
    if trace.on:
        trace.enter(points.ENTRY_CLOSE, session_id)
    if message.num_params:
        ret = gp.TEE_ERROR_BAD_PARAMETERS
    else:
        ret = tee.manager.close_session(message.thread, session_id, tee.open_sessions, NSAPP_IDENTITY)
    message.answer(ret)
    if trace.on:
        trace.exit(points.ENTRY_CLOSE, ret)


def entry_cancel(tee: "Tee", message: Message) -> None:
    trace = tee.trace
    session_id = message.args[2]
    if trace.on:
        trace.enter(points.ENTRY_CANCEL, session_id)
    ret = gp.TEE_ERROR_BAD_PARAMETERS
    if not message.num_params:
        session = tee.manager.get_session(message.thread, session_id, tee.open_sessions, exclusive=False)
        if session is not None:
            if trace.on:
                trace.mark(points.TA_CANCEL, session_id)
            ret = tee.manager.cancel_command(session, NSAPP_IDENTITY)
            tee.manager.put_session(message.thread, session)
    message.answer(ret)
    if trace.on:
        trace.exit(points.ENTRY_CANCEL, ret)


def register_shm(tee: "Tee", message: Message) -> None:
    trace = tee.trace
    ret = gp.TEE_ERROR_BAD_PARAMETERS
    if message.num_params == 1 and message.args[8] == OPTEE_MSG_ATTR_TYPE_TMEM_OUTPUT | OPTEE_MSG_ATTR_NONCONTIG:
        _, buf_ptr, size, cookie = message.args[8:12]
        if trace.on:
            trace.enter(points.ENTRY_REGISTER_SHM, cookie, size)
        mobj = tee.shm.from_noncontig(buf_ptr, size, cookie)
        if mobj is not None and tee.shm.register(mobj):
            ret = gp.TEE_SUCCESS
        else:
            log.error("REGISTER_SHM refused: 0x%x bytes at page list 0x%x, cookie 0x%x", size, buf_ptr, cookie)
        if trace.on:
            trace.exit(points.ENTRY_REGISTER_SHM, ret)
    message.answer(ret)


def unregister_shm(tee: "Tee", message: Message) -> None:
    trace = tee.trace
    ret = gp.TEE_ERROR_BAD_PARAMETERS
    if message.num_params == 1:
        cookie = message.args[11]
        if trace.on:
            trace.enter(points.ENTRY_UNREGISTER_SHM, cookie)
        if tee.shm.release_by_cookie(cookie):
            ret = gp.TEE_SUCCESS
        else:
            log.error("Can't find mapping with cookie 0x%x", cookie)
            ret = gp.TEE_ERROR_BAD_PARAMETERS
        if trace.on:
            trace.exit(points.ENTRY_UNREGISTER_SHM, ret)
    message.answer(ret)


def _notification(tee: "Tee", message: Message) -> None:
    """notif_deliver_event: no driver of ours has a bottom half, so there is nobody to tell."""
    message.answer(gp.TEE_SUCCESS)


STD_CALLS = {
    row.number: row
    for row in (
        StdCall(optee_msg.OPTEE_MSG_CMD_OPEN_SESSION, "OPEN_SESSION", entry_open_session),
        StdCall(optee_msg.OPTEE_MSG_CMD_INVOKE_COMMAND, "INVOKE_COMMAND", entry_invoke_command),
        StdCall(optee_msg.OPTEE_MSG_CMD_CLOSE_SESSION, "CLOSE_SESSION", entry_close_session),
        StdCall(optee_msg.OPTEE_MSG_CMD_CANCEL, "CANCEL", entry_cancel),
        StdCall(optee_msg.OPTEE_MSG_CMD_REGISTER_SHM, "REGISTER_SHM", register_shm),
        StdCall(optee_msg.OPTEE_MSG_CMD_UNREGISTER_SHM, "UNREGISTER_SHM", unregister_shm),
        StdCall(optee_msg.OPTEE_MSG_CMD_DO_BOTTOM_HALF, "DO_BOTTOM_HALF", _notification),
        StdCall(optee_msg.OPTEE_MSG_CMD_STOP_ASYNC_NOTIF, "STOP_ASYNC_NOTIF", _notification),
    )
}


def tee_entry_std(tee: "Tee", thread: Thread, view: memoryview, at: int, num_params: int) -> int:
    """Serve the message at ``at``; TEE_ERROR_NOT_IMPLEMENTED for commands outside the table."""
    message = Message(thread, view, at, num_params)
    trace = tee.trace
    if trace.on:
        trace.enter(points.ENTRY_STD, thread.id, message.args[0])
    row = STD_CALLS.get(message.args[0])
    if row is None:
        log.error("Unknown cmd 0x%x", message.args[0])
        ret = gp.TEE_ERROR_NOT_IMPLEMENTED
    else:
        ret = gp.TEE_SUCCESS
        try:
            row.handler(tee, message)
        except Exception:
            log.exception("%s failed inside the core: this is a bug of optemu", row.name)
            message.answer(gp.TEE_ERROR_GENERIC)
    if trace.on:
        trace.exit(points.ENTRY_STD)
    return ret
