"""TCP and UDP for TAs, OPTEE_RPC_CMD_SOCKET. Mirrors tee-supplicant/src/tee_socket.c."""

import contextlib
import errno
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

from optemu.abi import gp, isocket
from optemu.abi import optee_rpc_cmd as rpc
from optemu.abi import tee_ioctl as ioc
from optemu.errors import TeeError, explain
from optemu.normal_world.supplicant.params import Param, bad_parameters, expect, value
from optemu.normal_world.supplicant.shm import SharedMemory

_VALUE_IN: Final = ioc.TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_INPUT
_VALUE_OUT: Final = ioc.TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_OUTPUT
_VALUE_INOUT: Final = ioc.TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_INOUT
_MEM_IN: Final = ioc.TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_INPUT
_MEM_OUT: Final = ioc.TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_OUTPUT
_MEM_INOUT: Final = ioc.TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_INOUT

_FAMILIES: Final = {
    isocket.TEE_IP_VERSION_DC: socket.AF_UNSPEC,
    isocket.TEE_IP_VERSION_4: socket.AF_INET,
    isocket.TEE_IP_VERSION_6: socket.AF_INET6,
}
_TYPES: Final = {
    isocket.TEE_ISOCKET_PROTOCOLID_TCP: socket.SOCK_STREAM,
    isocket.TEE_ISOCKET_PROTOCOLID_UDP: socket.SOCK_DGRAM,
}
SUPP_MAX_PEEK_LEN: Final = 4096
"""How far a waiting datagram is measured; larger ones are told as one byte more."""
_U32: Final = 0xFFFFFFFF
_Address = tuple[str, int] | tuple[str, int, int, int]


class Sockets:
    """Open sockets, by TA instance and by handle within it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._instances: dict[int, dict[int, socket.socket]] = {}

    def process(self, shm: SharedMemory, params: list[Param]) -> int:
        """tee_socket_process."""
        operation = _OPERATIONS.get(value(params, 0).a)
        if operation is None:
            raise bad_parameters(f"socket operation {params[0].a}")
        operation(self, shm, params)
        return gp.TEE_SUCCESS

    def __len__(self) -> int:
        return sum(len(handles) for handles in self._instances.values())

    def close(self) -> None:
        """End them all, and with them whoever waits for one."""
        for instance in list(self._instances):
            self._end_instance(instance)

    def _end_instance(self, instance: int) -> None:
        with self._lock:
            socks = list(self._instances.pop(instance, {}).values())
        for sock in socks:
            _end(sock)

    def _add(self, instance: int, sock: socket.socket) -> int:
        with self._lock:
            handles = self._instances.setdefault(instance, {})
            handle = next(n for n in range(len(handles) + 1) if n not in handles)
            handles[handle] = sock
        return handle

    def _find(self, request: Param) -> socket.socket:
        sock = self._instances.get(request.b & _U32, {}).get(request.c & _U32)
        if sock is None:
            raise bad_parameters(f"TA instance {request.b} has no socket {request.c}")
        return sock

    # --- operations -------------------------------------------------------------------------------------------

    def open(self, shm: SharedMemory, params: list[Param]) -> None:
        """[in] value 0.b: instance; value 1: a port, b protocol, c IP version; memref 2: server, with its terminator.

        [out] value 3.a: handle.
        """
        expect(params, _VALUE_IN, _VALUE_IN, _MEM_IN, _VALUE_OUT)
        server = _host(bytes(shm.view(params[2]) or b""))
        family, kind = _FAMILIES.get(params[1].c & _U32), _TYPES.get(params[1].b & _U32)
        if family is None or kind is None:
            raise bad_parameters(f"IP version {params[1].c}, protocol 0x{params[1].b:x}")
        params[3].a = self._add(params[0].b & _U32, _connect(server, params[1].a & 0xFFFF, family, kind))

    def close_one(self, shm: SharedMemory, params: list[Param]) -> None:
        """[in] value 0: b instance, c handle."""
        expect(params, _VALUE_IN)
        self._find(params[0])
        with self._lock:
            sock = self._instances.get(params[0].b & _U32, {}).pop(params[0].c & _U32, None)
        if sock is not None:
            _end(sock)

    def close_all(self, shm: SharedMemory, params: list[Param]) -> None:
        """[in] value 0.b: instance."""
        expect(params, _VALUE_IN)
        self._end_instance(params[0].b & _U32)

    def send(self, shm: SharedMemory, params: list[Param]) -> None:
        """[in] value 0: b instance, c handle; memref 1: bytes; value 2.a: milliseconds. [out] value 2.b: bytes sent."""
        expect(params, _VALUE_IN, _MEM_IN, _VALUE_INOUT)
        sock = self._find(params[0])
        data = shm.view(params[1]) or b""
        _poll(sock, select.POLLOUT, params[2].a & _U32)
        try:
            params[2].b = sock.send(data)
        except (BlockingIOError, InterruptedError):
            raise TeeError(isocket.TEE_ISOCKET_ERROR_TIMEOUT, "the socket takes no data") from None
        except OSError as error:
            raise bad_parameters(f"sending: {error.strerror}") from error

    def recv(self, shm: SharedMemory, params: list[Param]) -> None:
        """[in] value 0: b instance, c handle; value 2.a: milliseconds. [out] memref 1: bytes, its size as many.

        With no room, the size of what waits. A datagram that was cut has the size it had, as far as measured.
        """
        expect(params, _VALUE_IN, _MEM_OUT, _VALUE_IN)
        sock = self._find(params[0])
        buffer = shm.view(params[1]) if params[1].b else memoryview(bytearray())
        if buffer is None:
            raise bad_parameters("no shared memory to receive in")
        params[1].b = _receive(sock, buffer, params[2].a & _U32)

    def ioctl(self, shm: SharedMemory, params: list[Param]) -> None:
        """[in] value 0: b instance, c handle; value 2.a: command. [inout] memref 1: its argument."""
        expect(params, _VALUE_IN, _MEM_INOUT, _VALUE_IN)
        sock = self._find(params[0])
        argument = bytes(shm.view(params[1]) or b"")
        ioctls = _TCP_IOCTLS if sock.type == socket.SOCK_STREAM else _UDP_IOCTLS
        ioctl = ioctls.get(params[2].a & _U32)
        if ioctl is None:
            raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, f"socket ioctl 0x{params[2].a:x}")
        try:
            ioctl(sock, argument)
        except OSError as error:
            raise bad_parameters(f"socket ioctl 0x{params[2].a:x}: {error.strerror}") from error


_OPERATIONS: Final[dict[int, Callable[[Sockets, SharedMemory, list[Param]], None]]] = {
    rpc.OPTEE_RPC_SOCKET_OPEN: Sockets.open,
    rpc.OPTEE_RPC_SOCKET_CLOSE: Sockets.close_one,
    rpc.OPTEE_RPC_SOCKET_CLOSE_ALL: Sockets.close_all,
    rpc.OPTEE_RPC_SOCKET_SEND: Sockets.send,
    rpc.OPTEE_RPC_SOCKET_RECV: Sockets.recv,
    rpc.OPTEE_RPC_SOCKET_IOCTL: Sockets.ioctl,
}


def _end(sock: socket.socket) -> None:
    """Close; shutting down first wakes a thread that waits for the socket, which closing alone would not."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


def _host(raw: bytes) -> str:
    """A host name as it lies in memory: text with a terminator."""
    if raw[-1:] != b"\0":
        raise TeeError(isocket.TEE_ISOCKET_ERROR_HOSTNAME, "a server name without end")
    try:
        return raw.split(b"\0")[0].decode("ascii")
    except UnicodeDecodeError:
        raise TeeError(isocket.TEE_ISOCKET_ERROR_HOSTNAME, f"the server name {raw!r}") from None


def _addresses(server: str, port: int, family: int, kind: int) -> list[tuple[int, int, int, _Address]]:
    """getaddrinfo: (family, type, protocol, address) of each."""
    try:
        found = socket.getaddrinfo(server or None, port, family, kind)
    except (OSError, UnicodeError) as error:
        raise TeeError(isocket.TEE_ISOCKET_ERROR_HOSTNAME, f"the server {server!r}: {explain(error)}") from error
    return [(af, st, proto, address) for af, st, proto, _, address in found]  # type: ignore[misc]


def _connect(server: str, port: int, family: int, kind: int) -> socket.socket:
    """sock_connect: the first address of ``server`` that answers."""
    failure = TeeError(gp.TEE_ERROR_GENERIC, f"{server!r} has no address")
    for af, st, proto, address in _addresses(server, port, family, kind):
        try:
            sock = socket.socket(af, st, proto)
        except OSError as error:
            code = isocket.TEE_ISOCKET_ERROR_OUT_OF_RESOURCES
            code = code if error.errno in (errno.ENOMEM, errno.ENOBUFS) else gp.TEE_ERROR_GENERIC
            failure = TeeError(code, f"no socket for {address}: {error.strerror}")
            continue
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = _not_connected(address, error)
            continue
        sock.setblocking(False)
        return sock
    raise failure


def _not_connected(address: _Address, error: OSError) -> TeeError:
    timed_out = error.errno == errno.ETIMEDOUT
    code = isocket.TEE_ISOCKET_ERROR_TIMEOUT if timed_out else gp.TEE_ERROR_COMMUNICATION
    return TeeError(code, f"connecting to {address}: {error.strerror}")


def _poll(sock: socket.socket, events: int, millis: int) -> None:
    """poll_with_timeout: until the socket is ready; TeeError(TEE_ISOCKET_ERROR_TIMEOUT)."""
    poll = select.poll()
    try:
        poll.register(sock, events)
    except ValueError:
        raise bad_parameters("the socket was closed meanwhile") from None
    if millis == rpc.OPTEE_RPC_SOCKET_TIMEOUT_BLOCKING:
        poll.poll()
        return
    until = time.monotonic() + millis / 1000
    while not poll.poll(min(max(0, (until - time.monotonic()) * 1000), 0x7FFFFFFF)):
        if time.monotonic() >= until:
            raise TeeError(isocket.TEE_ISOCKET_ERROR_TIMEOUT, f"nothing in {millis} ms")


def _receive(sock: socket.socket, buffer: memoryview, millis: int) -> int:
    """read_with_timeout: the size to tell."""
    room = len(buffer)
    datagrams = sock.type == socket.SOCK_DGRAM
    if room:
        _poll(sock, select.POLLIN, millis)
    try:
        waiting = 0
        if not room or (datagrams and room < SUPP_MAX_PEEK_LEN):
            waiting = _peek(sock)
        if not room:
            return waiting
        got, _, flags, _ = sock.recvmsg_into([buffer], 0, socket.MSG_DONTWAIT)
    except BlockingIOError:
        if not room:
            return 0
        raise TeeError(isocket.TEE_ISOCKET_ERROR_TIMEOUT, "nothing to receive") from None
    except OSError as error:
        raise bad_parameters(f"receiving: {error.strerror}") from error
    if datagrams and flags & socket.MSG_TRUNC:
        return max(waiting, got + 1)
    return got


def _peek(sock: socket.socket) -> int:
    data, _, flags, _ = sock.recvmsg(SUPP_MAX_PEEK_LEN, 0, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    return len(data) + bool(flags & socket.MSG_TRUNC)


def _set_buffer(option: int) -> Callable[[socket.socket, bytes], None]:
    return lambda sock, argument: sock.setsockopt(socket.SOL_SOCKET, option, argument)


def _change_address(sock: socket.socket, argument: bytes) -> None:
    """udp_changeaddr: another server, the same port."""
    port = sock.getpeername()[1]
    server = _host(argument)
    failure = TeeError(isocket.TEE_ISOCKET_ERROR_HOSTNAME, f"{server!r} has no address")
    for _, _, _, address in _addresses(server, port, sock.family, socket.SOCK_DGRAM):
        try:
            sock.connect(address)
            return
        except OSError as error:
            failure = _not_connected(address, error)
    raise failure


def _change_port(sock: socket.socket, argument: bytes) -> None:
    """The same server, another port: 16 bits in the TA's order."""
    if len(argument) != 2:
        raise bad_parameters(f"a port of {len(argument)} bytes")
    server, _, *scope = sock.getpeername()
    try:
        sock.connect((server, int.from_bytes(argument, "little"), *scope))
    except OSError as error:
        raise TeeError(gp.TEE_ERROR_GENERIC, f"changing the port: {error.strerror}") from error


_Ioctl = Callable[[socket.socket, bytes], None]
_TCP_IOCTLS: Final[dict[int, _Ioctl]] = {
    isocket.TEE_TCP_SET_RECVBUF: _set_buffer(socket.SO_RCVBUF),
    isocket.TEE_TCP_SET_SENDBUF: _set_buffer(socket.SO_SNDBUF),
}
_UDP_IOCTLS: Final[dict[int, _Ioctl]] = {
    isocket.TEE_UDP_CHANGEADDR: _change_address,
    isocket.TEE_UDP_CHANGEPORT: _change_port,
}
