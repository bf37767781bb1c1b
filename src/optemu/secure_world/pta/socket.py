"""TCP and UDP for TAs, through tee-supplicant. Mirrors core/tee/socket.c.

Each command is one RPC. The supplicant keeps sockets by TA instance, so that no TA reaches another's.
"""

from collections.abc import Callable

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
from optemu.secure_world.core.param import Value, param_types
from optemu.secure_world.core.pseudo_ta import PTA_DEFAULT_FLAGS, PseudoTa, PtaMemref, PtaParam
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


class SocketPta(PseudoTa):
    """socket: for user TAs only. A session is the number of the TA's instance."""

    uuid = gp.uuid_octets("3b996a7d-2c2b-4a49-a896-e1fb5766d2f4")
    name = "socket"
    flags = PTA_DEFAULT_FLAGS | TA_FLAG_CONCURRENT

    def open_session(self, thread: Thread, client: Identity, types: int, params: list[PtaParam]) -> int:
        return calling_user_ta(thread, self.name).instance_id

    def close_session(self, thread: Thread, session: object) -> None:
        if isinstance(session, int):
            thread.rpc_cmd(rpc.OPTEE_RPC_CMD_SOCKET, [_request(rpc.OPTEE_RPC_SOCKET_CLOSE_ALL, session)])

    def invoke_command(
        self, thread: Thread, session: object, cmd: int, types: int, params: list[PtaParam]
    ) -> int | None:
        assert isinstance(session, int)
        command = _COMMANDS.get(cmd)
        if command is None:
            return gp.TEE_ERROR_NOT_IMPLEMENTED
        wanted, handler = command
        return handler(thread, session, params) if types == wanted else gp.TEE_ERROR_BAD_PARAMETERS


def _request(op: int, instance: int, handle: int = 0) -> RpcParam:
    return RpcParam(OPTEE_MSG_ATTR_TYPE_VALUE_INPUT, op, instance, handle)


def _shared(thread: Thread, data: bytes) -> Mobj:
    mobj = thread.rpc_shm_cache_alloc(ShmCacheUser.SOCKET, len(data))
    mobj.write(0, data)
    return mobj


def _open(thread: Thread, instance: int, params: list[PtaParam]) -> int:
    """[in] value: IP version, port; memref: server's name with its terminator; value: protocol. [out] value: handle."""
    where, server, protocol, handle = params
    assert isinstance(where, Value)
    assert isinstance(server, PtaMemref)
    assert isinstance(protocol, Value)
    assert isinstance(handle, Value)
    name = RpcParam(OPTEE_MSG_ATTR_TYPE_RMEM_INPUT, 0, server.size, mobj=_shared(thread, server.read()))
    address = RpcParam(OPTEE_MSG_ATTR_TYPE_VALUE_INPUT, where.b, protocol.a, where.a)
    out = RpcParam(OPTEE_MSG_ATTR_TYPE_VALUE_OUTPUT)
    ret = thread.rpc_cmd(rpc.OPTEE_RPC_CMD_SOCKET, [_request(rpc.OPTEE_RPC_SOCKET_OPEN, instance), address, name, out])
    if ret == gp.TEE_SUCCESS:
        handle.a = out.a & 0xFFFFFFFF
    return ret


def _close(thread: Thread, instance: int, params: list[PtaParam]) -> int:
    """[in] value: handle."""
    assert isinstance(params[0], Value)
    request = _request(rpc.OPTEE_RPC_SOCKET_CLOSE, instance, params[0].a)
    return thread.rpc_cmd(rpc.OPTEE_RPC_CMD_SOCKET, [request])


def _send(thread: Thread, instance: int, params: list[PtaParam]) -> int:
    """[in] value: handle, milliseconds; memref: bytes. [out] value: how many were sent."""
    request, data, sent = params[:3]
    assert isinstance(request, Value)
    assert isinstance(data, PtaMemref)
    assert isinstance(sent, Value)
    source = RpcParam(OPTEE_MSG_ATTR_TYPE_RMEM_INPUT, 0, data.size, mobj=_shared(thread, data.read()))
    limit = RpcParam(OPTEE_MSG_ATTR_TYPE_VALUE_INOUT, request.b)
    ret = thread.rpc_cmd(
        rpc.OPTEE_RPC_CMD_SOCKET, [_request(rpc.OPTEE_RPC_SOCKET_SEND, instance, request.a), source, limit]
    )
    sent.a = limit.b & 0xFFFFFFFF
    return ret


def _recv(thread: Thread, instance: int, params: list[PtaParam]) -> int:
    """[in] value: handle, milliseconds. [out] memref: bytes; its size may tell of more than there was room for."""
    request, target = params[:2]
    assert isinstance(request, Value)
    assert isinstance(target, PtaMemref)
    room = target.size
    mobj = thread.rpc_shm_cache_alloc(ShmCacheUser.SOCKET, room) if room else None
    out = RpcParam(OPTEE_MSG_ATTR_TYPE_RMEM_OUTPUT, 0, room, mobj=mobj)
    limit = RpcParam(OPTEE_MSG_ATTR_TYPE_VALUE_INPUT, request.b)
    ret = thread.rpc_cmd(
        rpc.OPTEE_RPC_CMD_SOCKET, [_request(rpc.OPTEE_RPC_SOCKET_RECV, instance, request.a), out, limit]
    )
    if ret == gp.TEE_SUCCESS and mobj is not None and target.buffer is not None:
        got = min(room, out.b)
        target.buffer[:got] = mobj.read(0, got)
    target.size = out.b & 0xFFFFFFFF
    return ret


def _ioctl(thread: Thread, instance: int, params: list[PtaParam]) -> int:
    """[in] value: handle, command. [inout] memref: its argument."""
    request, argument = params[:2]
    assert isinstance(request, Value)
    assert isinstance(argument, PtaMemref)
    room = argument.size
    mobj = _shared(thread, argument.read())
    inout = RpcParam(OPTEE_MSG_ATTR_TYPE_RMEM_INOUT, 0, room, mobj=mobj)
    command = RpcParam(OPTEE_MSG_ATTR_TYPE_VALUE_INPUT, request.b)
    ret = thread.rpc_cmd(
        rpc.OPTEE_RPC_CMD_SOCKET, [_request(rpc.OPTEE_RPC_SOCKET_IOCTL, instance, request.a), inout, command]
    )
    if inout.b <= room and argument.buffer is not None:
        argument.buffer[: inout.b] = mobj.read(0, inout.b)
    argument.size = inout.b & 0xFFFFFFFF
    return ret


_COMMANDS: dict[int, tuple[int, Callable[[Thread, int, list[PtaParam]], int]]] = {
    PTA_SOCKET_OPEN: (param_types(_IN, _MEM_IN, _IN, _OUT), _open),
    PTA_SOCKET_CLOSE: (param_types(_IN), _close),
    PTA_SOCKET_SEND: (param_types(_IN, _MEM_IN, _OUT), _send),
    PTA_SOCKET_RECV: (param_types(_IN, _MEM_OUT), _recv),
    PTA_SOCKET_IOCTL: (param_types(_IN, _MEM_INOUT), _ioctl),
}
