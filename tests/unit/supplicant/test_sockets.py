"""OPTEE_RPC_CMD_SOCKET at byte level, against servers on this host."""

import socket
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optemu.abi import gp, isocket
from optemu.abi import optee_rpc_cmd as rpc

SOCKET = rpc.OPTEE_RPC_CMD_SOCKET
OPEN, CLOSE, CLOSE_ALL, SEND, RECV, IOCTL = range(6)
IN, OUT, INOUT, MEM_IN, MEM_OUT, MEM_INOUT = 1, 2, 3, 5, 6, 7
NO_SHM = (1 << 64) - 1
TCP, UDP = isocket.TEE_ISOCKET_PROTOCOLID_TCP, isocket.TEE_ISOCKET_PROTOCOLID_UDP
FOREVER = 0xFFFFFFFF
OK, BAD = gp.TEE_SUCCESS, gp.TEE_ERROR_BAD_PARAMETERS
TIMEOUT = isocket.TEE_ISOCKET_ERROR_TIMEOUT


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
    except OSError:
        return False
    return True


FAMILIES = [
    pytest.param("127.0.0.1", isocket.TEE_IP_VERSION_4, id="ipv4"),
    pytest.param("::1", isocket.TEE_IP_VERSION_6, id="ipv6", marks=pytest.mark.skipif(not has_ipv6(), reason="no ::1")),
    pytest.param("127.0.0.1", isocket.TEE_IP_VERSION_DC, id="any"),
]


class Ta:
    """Instance ``id`` of a TA, as the secure world speaks for it."""

    def __init__(self, driver, instance=1):
        self.driver, self.id = driver, instance

    def call(self, op, handle, *rest):
        ids, params = [], []
        for p in rest:
            if len(p) == 2:
                ids.append(self.driver.shm(p[1]))
                p = (p[0], 0, len(p[1]), ids[-1])
            params.append(p)
        ret, answer = self.driver.call(SOCKET, (IN, op, self.id, handle), *params, meta=77)
        after = [self.driver.read(shm, 0, 65536) for shm in ids]
        for shm in ids:
            self.driver.free(shm)
        return ret, answer[1:], after

    def open(self, host, port, protocol=TCP, version=0):
        name = host.encode() + b"\0"
        ret, params, _ = self.call(OPEN, 0, (IN, port, protocol, version), (MEM_IN, name), (OUT, 0, 0, 0))
        return ret, params[2][1]

    def send(self, handle, data, timeout=FOREVER):
        ret, params, _ = self.call(SEND, handle, (MEM_IN, data), (INOUT, timeout, 0, 0))
        return ret, params[1][2]

    def recv(self, handle, room, timeout=FOREVER):
        """(ret, size told, bytes)."""
        memory = (MEM_OUT, bytes(room)) if room else (MEM_OUT, 0, 0, NO_SHM)
        ret, params, after = self.call(RECV, handle, memory, (IN, timeout, 0, 0))
        size = params[0][2]
        return ret, size, after[0][: min(size, room)] if room and ret == OK else b""

    def ioctl(self, handle, command, data):
        return self.call(IOCTL, handle, (MEM_INOUT, data), (IN, command, 0, 0))[0]

    def close(self, handle):
        return self.call(CLOSE, handle)[0]

    def close_all(self):
        return self.call(CLOSE_ALL, 0)[0]


@pytest.fixture
def ta(supp):
    return Ta(supp)


def family(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


@pytest.fixture
def tcp_server():
    """``listen(host)``: a socket that accepts, and a port."""
    servers = []

    def listen(host="127.0.0.1"):
        server = socket.socket(family(host), socket.SOCK_STREAM)
        server.bind((host, 0))
        server.listen()
        server.settimeout(10)
        servers.append(server)
        return server, server.getsockname()[1]

    yield listen
    for server in servers:
        server.close()


@pytest.fixture
def udp_server():
    """``bind(host)``: a socket, and its port."""
    servers = []

    def bind(host="127.0.0.1"):
        server = socket.socket(family(host), socket.SOCK_DGRAM)
        server.bind((host, 0))
        server.settimeout(10)
        servers.append(server)
        return server, server.getsockname()[1]

    yield bind
    for server in servers:
        server.close()


@pytest.mark.parametrize(("host", "version"), FAMILIES)
def test_tcp_both_ways(ta, tcp_server, host, version):
    server, port = tcp_server(host)
    ret, handle = ta.open(host, port, TCP, version)
    assert ret == OK
    peer, _ = server.accept()
    with peer:
        assert ta.send(handle, b"hello") == (OK, 5)
        assert peer.recv(10) == b"hello"
        peer.sendall(b"answer")
        assert ta.recv(handle, 3) == (OK, 3, b"ans")
        assert ta.recv(handle, 10, 1000) == (OK, 3, b"wer")
    assert ta.recv(handle, 10) == (OK, 0, b"")
    assert ta.close(handle) == OK
    assert ta.close(handle) == BAD
    assert ta.send(handle, b"x")[0] == BAD


@pytest.mark.parametrize(("host", "version"), FAMILIES)
def test_udp_both_ways(ta, udp_server, host, version):
    server, port = udp_server(host)
    ret, handle = ta.open(host, port, UDP, version)
    assert ret == OK
    assert ta.recv(handle, 0) == (OK, 0, b"")
    assert ta.send(handle, bytes(64)) == (OK, 64)
    data, address = server.recvfrom(100)
    assert data == bytes(64)
    server.sendto(bytes(range(64)), address)
    assert ta.recv(handle, 64) == (OK, 64, bytes(range(64)))


def test_a_datagram_that_is_cut_tells_its_size(ta, udp_server):
    server, port = udp_server()
    _, handle = ta.open("127.0.0.1", port, UDP)
    ta.send(handle, b"x")
    _, address = server.recvfrom(10)
    for size, room, told in [(64, 32, 64), (5000, 100, 4097), (5000, 4096, 4097), (10, 10, 10)]:
        server.sendto(bytes(range(256)) * 20 if size == 5000 else bytes(range(size)), address)
        ret, got, data = ta.recv(handle, room, 5000)
        assert (ret, len(data)) == (OK, min(size, room))
        assert got == told or (size == 5000 and got == 4097)
    server.sendto(bytes(70), address)
    while not ta.recv(handle, 0)[1]:
        pass
    assert ta.recv(handle, 0) == (OK, 70, b"")
    assert ta.recv(handle, 70) == (OK, 70, bytes(70))


def test_time_limits(ta, tcp_server):
    server, port = tcp_server()
    _, handle = ta.open("127.0.0.1", port)
    peer, _ = server.accept()
    with peer:
        assert ta.recv(handle, 10, 0) == (TIMEOUT, 10, b"")
        assert ta.recv(handle, 10, 10) == (TIMEOUT, 10, b"")
        assert ta.ioctl(handle, isocket.TEE_TCP_SET_SENDBUF, (4096).to_bytes(4, "little")) == OK
        assert ta.ioctl(handle, isocket.TEE_TCP_SET_RECVBUF, (4096).to_bytes(4, "little")) == OK
        while (answer := ta.send(handle, bytes(16384), 10))[0] == OK:
            assert answer[1] > 0
        assert answer == (TIMEOUT, 0)


def test_servers_that_cannot_be_reached(ta, tcp_server, supp):
    server, port = tcp_server()
    server.close()
    assert ta.open("127.0.0.1", port)[0] == gp.TEE_ERROR_COMMUNICATION
    for host in ("no such host", "256.1.1.1", "ümlaut", "a" * 300):
        assert ta.open(host, port)[0] == isocket.TEE_ISOCKET_ERROR_HOSTNAME
    no_end = supp.shm(b"127.0.0.1")
    for memory in ((MEM_IN, 0, 9, no_end), (MEM_IN, 0, 0, no_end)):
        ret = ta.call(OPEN, 0, (IN, port, TCP, 0), memory, (OUT, 0, 0, 0))[0]
        assert ret == isocket.TEE_ISOCKET_ERROR_HOSTNAME
    assert ta.open("127.0.0.1", port, 0x32)[0] == BAD
    assert ta.open("127.0.0.1", port, TCP, 3)[0] == BAD
    assert ta.open("::1", port, TCP, isocket.TEE_IP_VERSION_4)[0] == isocket.TEE_ISOCKET_ERROR_HOSTNAME


def test_instances_do_not_see_each_others_sockets(supp, tcp_server):
    one, two = Ta(supp, 1), Ta(supp, 2)
    _, port = tcp_server()
    assert [one.open("127.0.0.1", port) for _ in range(3)] == [(OK, 0), (OK, 1), (OK, 2)]
    assert two.open("127.0.0.1", port) == (OK, 0)
    assert two.close(1) == BAD
    assert one.close(1) == OK
    assert one.open("127.0.0.1", port) == (OK, 1)
    assert one.close_all() == OK
    assert one.close(0) == BAD
    assert one.close_all() == OK
    assert two.send(0, b"x") == (OK, 1)
    assert len(supp.supplicant._services.sockets) == 1


@pytest.mark.parametrize("how", ["close", "close_all", "stop"])
def test_whoever_waits_is_woken_by_the_end(supp, ta, tcp_server, how):
    server, port = tcp_server()
    _, handle = ta.open("127.0.0.1", port)
    shm = supp.shm(size=10)
    supp.post(SOCKET, (0x103, 5, 0, 0), (IN, RECV, 1, handle), (MEM_OUT, 0, 10, shm), (IN, FOREVER, 0, 0))
    threading.Event().wait(0.05)
    assert supp.answers.empty()
    if how == "stop":
        threads = list(supp.supplicant._threads)
        supp.supplicant.stop()
        assert not any(t.is_alive() for t in threads)
    else:
        params = [(IN, CLOSE, 1, handle)] if how == "close" else [(IN, CLOSE_ALL, 1, 0)]
        supp.post(SOCKET, (0x103, 6, 0, 0), *params)
        answers = {p[0][1]: ret for ret, p in (supp.answers.get(timeout=10) for _ in range(2))}
        assert answers[6] == OK
        assert answers[5] in (OK, BAD)


def test_udp_changes_of_address(ta, udp_server):
    (_, port1), (second, port2) = udp_server(), udp_server()
    _, handle = ta.open("127.0.0.1", port1, UDP)
    assert ta.ioctl(handle, isocket.TEE_UDP_CHANGEPORT, port2.to_bytes(2, "little")) == OK
    assert ta.ioctl(handle, isocket.TEE_UDP_CHANGEADDR, b"localhost\0") in (OK, isocket.TEE_ISOCKET_ERROR_HOSTNAME)
    assert ta.ioctl(handle, isocket.TEE_UDP_CHANGEADDR, b"127.0.0.1\0") == OK
    assert ta.send(handle, b"there") == (OK, 5)
    assert second.recv(10) == b"there"
    assert ta.ioctl(handle, isocket.TEE_UDP_CHANGEADDR, b"127.0.0.1") == isocket.TEE_ISOCKET_ERROR_HOSTNAME
    assert ta.ioctl(handle, isocket.TEE_UDP_CHANGEPORT, b"123") == BAD
    assert ta.ioctl(handle, isocket.TEE_TCP_SET_RECVBUF, bytes(4)) == gp.TEE_ERROR_NOT_SUPPORTED


def test_ioctls_of_tcp(ta, tcp_server):
    _, port = tcp_server()
    _, handle = ta.open("127.0.0.1", port)
    assert ta.ioctl(handle, isocket.TEE_UDP_CHANGEPORT, bytes(2)) == gp.TEE_ERROR_NOT_SUPPORTED
    assert ta.ioctl(handle, isocket.TEE_TCP_SET_SENDBUF, b"12") == BAD
    assert ta.ioctl(99, isocket.TEE_TCP_SET_SENDBUF, bytes(4)) == BAD


@pytest.mark.parametrize(
    "params",
    [
        [],
        [(MEM_IN, 0, 0, NO_SHM)],
        [(IN, 6, 0, 0)],
        [(IN, OPEN, 0, 0)],
        [(IN, OPEN, 0, 0), (IN, 1, TCP, 0), (MEM_OUT, 0, 4, NO_SHM), (OUT, 0, 0, 0)],
        [(IN, OPEN, 0, 0), (IN, 1, TCP, 0), (MEM_IN, 0, 4, NO_SHM), (OUT, 0, 0, 0)],
        [(IN, CLOSE, 0, 0), (IN, 0, 0, 0)],
        [(IN, CLOSE, 0, 0)],
        [(OUT, CLOSE_ALL, 0, 0)],
        [(IN, SEND, 0, 0), (MEM_IN, 0, 0, NO_SHM), (IN, 0, 0, 0)],
        [(IN, RECV, 0, 0), (MEM_OUT, 0, 4, NO_SHM), (IN, 0, 0, 0)],
        [(IN, IOCTL, 0, 0), (MEM_IN, 0, 4, NO_SHM), (IN, 0, 0, 0)],
    ],
)
def test_malformed_requests(supp, params):
    assert supp.call(SOCKET, *params) == (BAD, params)


word = st.sampled_from([0, 1, 2, TCP, UDP, 100, 1 << 31, 1 << 32, 1 << 63, NO_SHM])
param = st.tuples(st.sampled_from([0, 1, 2, 3, 5, 6, 7]), word, word, word)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.integers(0, 7), word, st.lists(param, max_size=3), st.binary(max_size=20))
def test_no_request_brings_it_down(ta, op, handle, params, data):
    """Names are numeric or impossible here, so that nobody is asked for them."""
    rest = [(attr, b"\xff" + data) if attr > 3 and b == 100 else (attr, a, b, c) for attr, a, b, c in params]
    ret, answer, _ = ta.call(op, handle, *rest)
    assert [p[0] for p in answer] == [p[0] for p in params]
    assert ret in (OK, BAD, isocket.TEE_ISOCKET_ERROR_HOSTNAME)
