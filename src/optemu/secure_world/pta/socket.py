"""TCP and UDP for TAs, through tee-supplicant. Mirrors core/tee/socket.c.

Each command is one RPC. The supplicant keeps sockets by TA instance, so that no TA reaches another's.
"""

from optemu.abi import gp
from optemu.abi import optee_rpc_cmd as rpc
from optemu.abi.optee_msg import (
    OPTEE_MSG_ATTR_TYPE_RMEM_INOUT,
    OPTEE_MSG_ATTR_TYPE_RMEM_INPUT,
    OPTEE_MSG_ATTR_TYPE_RMEM_OUTPUT,
    OPTEE_MSG_ATTR_TYPE_VALUE_INOUT,
    OPTEE_MSG_ATTR_TYPE_VALUE_INPUT,
    OPTEE_MSG_ATTR_TYPE_VALUE_OUTPUT,
)
from optemu.abi.ta_head import TA_FLAG_CONCURRENT
from optemu.secure_world.core.mobj import Mobj
from optemu.secure_world.core.param import param_types
from optemu.secure_world.core.pseudo_ta import PTA_DEFAULT_FLAGS, PseudoTa, PtaCall, PtaCommand, PtaParam
from optemu.secure_world.core.session import Identity
from optemu.secure_world.core.thread import RpcParam, ShmCacheUser, Thread
from optemu.secure_world.pta.caller import calling_user_ta

PTA_SOCKET_OPEN = 1
PTA_SOCKET_CLOSE = 2
PTA_SOCKET_SEND = 3
PTA_SOCKET_RECV = 4
PTA_SOCKET_IOCTL = 5

_IN, _OUT = gp.TEE_PARAM_TYPE_VALUE_INPUT, gp.TEE_PARAM_TYPE_VALUE_OUTPUT
_MEM_IN, _MEM_OUT = gp.TEE_PARAM_TYPE_MEMREF_INPUT, gp.TEE_PARAM_TYPE_MEMREF_OUTPUT
_MEM_INOUT = gp.TEE_PARAM_TYPE_MEMREF_INOUT


def _rpc(thread: Thread, instance: int, op: int, handle: int, *rest: RpcParam) -> int:
    request = RpcParam(OPTEE_MSG_ATTR_TYPE_VALUE_INPUT, op, instance, handle)
    return thread.rpc_cmd(rpc.OPTEE_RPC_CMD_SOCKET, [request, *rest])


def _shared(thread: Thread, data: bytes) -> Mobj:
    mobj = thread.rpc_shm_cache_alloc(ShmCacheUser.SOCKET, len(data))
    mobj.write(0, data)
    return mobj


def _open(pta: PseudoTa, call: PtaCall) -> int:
    """[in] value: IP version, port; memref: server's name with its terminator; value: protocol. [out] value: handle."""
    where, server, protocol, handle = call.params
    name = RpcParam(OPTEE_MSG_ATTR_TYPE_RMEM_INPUT, 0, server.size, mobj=_shared(call.thread, server.read()))
    address = RpcParam(OPTEE_MSG_ATTR_TYPE_VALUE_INPUT, where.b, protocol.a, where.a)
    out = RpcParam(OPTEE_MSG_ATTR_TYPE_VALUE_OUTPUT)
    ret = _rpc(call.thread, call.session, rpc.OPTEE_RPC_SOCKET_OPEN, 0, address, name, out)
    if ret == gp.TEE_SUCCESS:
        handle.a = out.a & 0xFFFFFFFF
    return ret


def _close(pta: PseudoTa, call: PtaCall) -> int:
    """[in] value: handle."""
    return _rpc(call.thread, call.session, rpc.OPTEE_RPC_SOCKET_CLOSE, call.params[0].a)


def _send(pta: PseudoTa, call: PtaCall) -> int:
    """[in] value: handle, milliseconds; memref: bytes. [out] value: how many were sent."""
    request, data, sent, _ = call.params
    source = RpcParam(OPTEE_MSG_ATTR_TYPE_RMEM_INPUT, 0, data.size, mobj=_shared(call.thread, data.read()))
    limit = RpcParam(OPTEE_MSG_ATTR_TYPE_VALUE_INOUT, request.b)
    ret = _rpc(call.thread, call.session, rpc.OPTEE_RPC_SOCKET_SEND, request.a, source, limit)
    sent.a = limit.b & 0xFFFFFFFF
    return ret


def _recv(pta: PseudoTa, call: PtaCall) -> int:
    """[in] value: handle, milliseconds. [out] memref: bytes; its size may tell of more than there was room for."""
    request, target, *_ = call.params
    room = target.size
    mobj = call.thread.rpc_shm_cache_alloc(ShmCacheUser.SOCKET, room) if room else None
    out = RpcParam(OPTEE_MSG_ATTR_TYPE_RMEM_OUTPUT, 0, room, mobj=mobj)
    limit = RpcParam(OPTEE_MSG_ATTR_TYPE_VALUE_INPUT, request.b)
    ret = _rpc(call.thread, call.session, rpc.OPTEE_RPC_SOCKET_RECV, request.a, out, limit)
    if ret == gp.TEE_SUCCESS and mobj is not None and target.buffer is not None:
        got = min(room, out.b)
        target.buffer[:got] = mobj.read(0, got)
    target.size = out.b & 0xFFFFFFFF
    return ret


def _ioctl(pta: PseudoTa, call: PtaCall) -> int:
    """[in] value: handle, command. [inout] memref: its argument."""
    request, argument, *_ = call.params
    room = argument.size
    mobj = _shared(call.thread, argument.read())
    inout = RpcParam(OPTEE_MSG_ATTR_TYPE_RMEM_INOUT, 0, room, mobj=mobj)
    command = RpcParam(OPTEE_MSG_ATTR_TYPE_VALUE_INPUT, request.b)
    ret = _rpc(call.thread, call.session, rpc.OPTEE_RPC_SOCKET_IOCTL, request.a, inout, command)
    if inout.b <= room and argument.buffer is not None:
        argument.buffer[: inout.b] = mobj.read(0, inout.b)
    argument.size = inout.b & 0xFFFFFFFF
    return ret


class SocketPta(PseudoTa):
    """socket: for user TAs only. A session is the number of the TA's instance."""

    uuid = gp.uuid_octets("3b996a7d-2c2b-4a49-a896-e1fb5766d2f4")
    name = "socket"
    flags = PTA_DEFAULT_FLAGS | TA_FLAG_CONCURRENT
    commands = (
        PtaCommand(PTA_SOCKET_OPEN, "OPEN", param_types(_IN, _MEM_IN, _IN, _OUT), _open),
        PtaCommand(PTA_SOCKET_CLOSE, "CLOSE", param_types(_IN), _close),
        PtaCommand(PTA_SOCKET_SEND, "SEND", param_types(_IN, _MEM_IN, _OUT), _send),
        PtaCommand(PTA_SOCKET_RECV, "RECV", param_types(_IN, _MEM_OUT), _recv),
        PtaCommand(PTA_SOCKET_IOCTL, "IOCTL", param_types(_IN, _MEM_INOUT), _ioctl),
    )

    def open_session(self, thread: Thread, client: Identity, types: int, params: list[PtaParam]) -> int:
        return calling_user_ta(thread, self.name).instance_id

    def close_session(self, thread: Thread, session: object) -> None:
        if isinstance(session, int):
            _rpc(thread, session, rpc.OPTEE_RPC_SOCKET_CLOSE_ALL, 0)
