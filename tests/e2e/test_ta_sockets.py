"""The TEE Sockets API of the sdk's runtime, in a TA that talks to servers on this host."""

import socket
import threading
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from tas.constants import SOCK, SOCK_ARM_UUID, SOCK_UUID

from optemu.abi import gp, isocket
from optemu.normal_world.libteec import Context, Parameter, Session, TeecError, TempMemref, Value

TCP, UDP = isocket.TEE_ISOCKET_PROTOCOLID_TCP, isocket.TEE_ISOCKET_PROTOCOLID_UDP
FOREVER = gp.TEE_TIMEOUT_INFINITE
OK = gp.TEE_SUCCESS
PATIENCE = 20
"""Seconds after which a server takes it that nobody comes."""


class TaSocket:
    """One socket of the TA's, by the functions of TEE_iSocket: (TEE_Result, what they give)."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def _call(self, name: str, *params: Parameter) -> int:
        try:
            self._session.invoke(SOCK[f"SOCK_CMD_{name}"], *params)
        except TeecError as e:
            return e.code
        return OK

    def open(self, protocol: int, server: str, port: int, version: int = isocket.TEE_IP_VERSION_DC) -> tuple[int, int]:
        where = Value(port, 0)
        name = TempMemref.input(server.encode() + b"\0")
        return self._call("OPEN", Value.input(protocol, version), name, where), where.a

    def send(self, data: bytes, timeout: int = FOREVER) -> tuple[int, int]:
        sent = Value(timeout, 0)
        return self._call("SEND", TempMemref.input(data), sent), sent.a

    def recv(self, room: int, timeout: int = FOREVER) -> tuple[int, bytes]:
        out = TempMemref.output(room)
        ret = self._call("RECV", out, Value.input(timeout))
        return ret, bytes(out.data[: out.size]) if ret == OK else b""

    def ioctl(self, cmd: int, argument: bytes) -> int:
        return self._call("IOCTL", Value.input(cmd), TempMemref.inout(bytearray(argument)))

    def error(self) -> tuple[int, int, int]:
        """What the last call came to, version of the API, protocolID."""
        a, b = Value.output(), Value.output()
        assert self._call("ERROR", a, b) == OK
        return a.a, a.b, b.a

    def close(self) -> int:
        return self._call("CLOSE")


@pytest.fixture(params=[SOCK_UUID, SOCK_ARM_UUID], ids=["aarch64", "arm"])
def sock(request: pytest.FixtureRequest, context: Context) -> Iterator[TaSocket]:
    with context.OpenSession(UUID(request.param)) as session:
        yield TaSocket(session)


def serving(server: socket.socket, serve: Callable[[socket.socket], None]) -> threading.Thread:
    server.settimeout(PATIENCE)
    thread = threading.Thread(target=serve, args=(server,), daemon=True)
    thread.start()
    return thread


def echo_tcp(server: socket.socket) -> None:
    peer, _ = server.accept()
    with peer:
        peer.settimeout(PATIENCE)
        while data := peer.recv(4096):
            peer.sendall(data)


def echo_udp(server: socket.socket) -> None:
    while True:
        data, peer = server.recvfrom(4096)
        if not data:
            return
        server.sendto(data[::-1], peer)


@pytest.fixture
def tcp() -> Iterator[int]:
    """Port of a server that sends back what it gets from one client."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = serving(server, echo_tcp)
        yield server.getsockname()[1]
        thread.join(PATIENCE)


def udp_server() -> socket.socket:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    return server


@pytest.fixture
def udp() -> Iterator[int]:
    """Port of a server that sends back what it gets, the last byte first, until that is nothing."""
    with udp_server() as server:
        thread = serving(server, echo_udp)
        port = server.getsockname()[1]
        yield port
        with udp_server() as last:
            last.sendto(b"", ("127.0.0.1", port))
        thread.join(PATIENCE)


def test_tcp(sock: TaSocket, tcp: int) -> None:
    assert sock.open(TCP, "127.0.0.1", tcp, isocket.TEE_IP_VERSION_4) == (OK, 0)
    for size in (1, 17, 4000):
        data = bytes(n & 0xFF for n in range(size))
        assert sock.send(data) == (OK, size)
        got = b""
        while len(got) < size:
            ret, more = sock.recv(size - len(got))
            assert ret == OK
            got += more
        assert got == data
    assert sock.recv(8, 1) == (isocket.TEE_ISOCKET_ERROR_TIMEOUT, b"")
    assert sock.error() == (isocket.TEE_ISOCKET_ERROR_TIMEOUT, 0x01000000, TCP)
    assert sock.ioctl(isocket.TEE_TCP_SET_SENDBUF, (8192).to_bytes(4, "little")) == OK
    assert sock.ioctl(1, b"") == OK  # of no protocol
    assert sock.error()[0] == OK
    assert sock.close() == OK
    assert sock.close() == OK


def test_a_server_that_hangs_up(sock: TaSocket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = serving(server, lambda s: s.accept()[0].close())
        assert sock.open(TCP, "localhost", server.getsockname()[1], isocket.TEE_IP_VERSION_4)[0] == OK
        thread.join(PATIENCE)
        assert sock.recv(8) == (OK, b"")
        assert sock.close() == OK


def test_udp(sock: TaSocket, udp: int) -> None:
    assert sock.open(UDP, "127.0.0.1", udp) == (OK, 0)
    assert sock.send(b"a datagram") == (OK, 10)
    assert sock.recv(100) == (OK, b"margatad a")
    with udp_server() as other:
        thread = serving(other, echo_udp)
        port = other.getsockname()[1]
        assert sock.ioctl(isocket.TEE_UDP_CHANGEPORT, port.to_bytes(2, "little")) == OK
        assert sock.send(b"elsewhere") == (OK, 9)
        assert sock.recv(100) == (OK, b"erehwesle")
        assert sock.ioctl(isocket.TEE_UDP_CHANGEADDR, b"127.0.0.1\0") == OK
        assert sock.send(b"again") == (OK, 5)
        assert sock.recv(100) == (OK, b"niaga")
        with udp_server() as last:
            last.sendto(b"", ("127.0.0.1", port))
        thread.join(PATIENCE)
    assert sock.error() == (OK, 0x01000000, UDP)
    assert sock.close() == OK


def test_ipv6(sock: TaSocket) -> None:
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this host has no ::1")
    with server:
        thread = serving(server, echo_tcp)
        assert sock.open(TCP, "::1", server.getsockname()[1], isocket.TEE_IP_VERSION_6) == (OK, 0)
        assert sock.send(b"six") == (OK, 3)
        assert sock.recv(3) == (OK, b"six")
        assert sock.close() == OK
        thread.join(PATIENCE)


def test_who_cannot_be_reached(sock: TaSocket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    ret, protocol_error = sock.open(TCP, "127.0.0.1", port)
    assert (ret != OK, protocol_error) == (True, 0)
    hostname = isocket.TEE_ISOCKET_ERROR_HOSTNAME
    assert sock.open(TCP, "no such host", port) == (isocket.TEE_ISOCKET_ERROR_PROTOCOL, hostname)
    assert sock.open(UDP, "127.0.0.1", port, 3) == (gp.TEE_ERROR_BAD_PARAMETERS, 0)


@pytest.mark.parametrize(
    ("protocol", "cmd"), [(TCP, isocket.TEE_UDP_CHANGEPORT), (UDP, isocket.TEE_TCP_SET_RECVBUF), (UDP, 0x67000000)]
)
def test_commands_of_others_are_programming_errors(sock: TaSocket, protocol: int, cmd: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert sock.open(protocol, "127.0.0.1", server.getsockname()[1])[0] == OK
        assert sock.ioctl(cmd, bytes(4)) == gp.TEE_ERROR_TARGET_DEAD


def test_without_a_socket_there_is_nothing_to_send_by(sock: TaSocket) -> None:
    assert sock.open(TCP, "127.0.0.1", 1)[0] != OK
    assert sock.send(b"x")[0] == gp.TEE_ERROR_TARGET_DEAD
