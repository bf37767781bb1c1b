"""The server of the preload library against clients that do not keep to the protocol, and those in odd states."""

import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from gate_fakes import BLOCK, IDENTITY, PEEK, AttachedGate, FakeDriver, PreloadGate, client, wait_until
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optemu.abi import tee_ioctl as tee
from optemu.normal_world.gate.workers import MAX_WORKERS
from optemu.normal_world.preload import Server, wire


@pytest.fixture
def preload(driver: FakeDriver) -> Iterator[PreloadGate]:
    gate = PreloadGate(driver)
    yield gate
    gate.stop()
    assert wait_until(lambda: not driver.files and not driver.memories)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("optemu-")]


@pytest.fixture
def server(preload: PreloadGate) -> Server:
    assert preload.server is not None
    return preload.server


class Raw:
    """A client that says what it likes."""

    def __init__(self, server: Server) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(5)
        self.sock.connect(str(server.path))
        self.device = -1

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()
        if self.device >= 0:
            os.close(self.device)

    def say(self, kind: int, cmd: int = 0, inode: int = 0, arg: int = 0, fd: int = -1, head: bytes = b"") -> None:
        self.sock.send(wire.TO_SERVER.pack(kind, cmd, inode, arg, fd, len(head)) + head)

    def hear(self) -> tuple[int, int, int, int]:
        return wire.TO_CLIENT.unpack_from(self.sock.recv(70000))  # type: ignore[return-value]

    def open(self) -> None:
        self.say(wire.OPEN)
        packet, fds, _, _ = socket.recv_fds(self.sock, 100, 1)
        assert wire.TO_CLIENT.unpack(packet)[0] == wire.DONE
        (self.device,) = fds

    @property
    def inode(self) -> int:
        return os.fstat(self.device).st_ino

    def prove(self) -> None:
        kind, _, fd, _ = self.hear()
        assert (kind, fd) == (wire.FETCH, self.device)
        socket.send_fds(self.sock, [wire.TO_SERVER.pack(wire.DESCRIPTOR, 0, 0, 0, 0, 0)], [self.device])

    def ioctl(self, cmd: int, arg: int = 0, head: bytes = b"") -> None:
        self.say(wire.IOCTL, cmd, self.inode, arg, self.device, head)

    def is_closed(self) -> bool:
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True


def test_the_protocol_by_hand(server: Server) -> None:
    with Raw(server) as raw:
        raw.say(wire.HELLO, wire.VERSION)
        assert raw.hear() == (wire.DONE, 0, 0, 0)
        raw.say(wire.HELLO, wire.VERSION + 1)
        assert raw.hear()[1] < 0
        raw.open()
        raw.ioctl(tee.TEE_IOC_VERSION, 0x1000, bytes(12))
        raw.prove()
        answer = raw.sock.recv(100)
        assert wire.TO_CLIENT.unpack_from(answer) == (wire.DONE, 0, 0, 12)
        assert struct.unpack("<III", answer[wire.TO_CLIENT.size :]) == (1, 1, 0xD)


def test_an_inode_is_no_proof(server: Server) -> None:
    """Whoever knows another's number still has no device."""
    with Raw(server) as owner, Raw(server) as thief:
        owner.open()
        thief.say(wire.IOCTL, tee.TEE_IOC_VERSION, owner.inode, 0, 5, bytes(12))
        assert thief.hear()[0] == wire.FETCH
        thief.say(wire.FAULT, 9)
        assert thief.hear()[0] == wire.PASS
        thief.open()
        thief.say(wire.IOCTL, tee.TEE_IOC_VERSION, owner.inode, 0, thief.device, bytes(12))
        thief.prove()
        assert thief.hear()[0] == wire.PASS


def test_nobody_else_can_connect(server: Server) -> None:
    assert os.stat(server.path).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("answer", [b"", b"short", wire.TO_SERVER.pack(wire.HELLO, 1, 0, 0, 0, 0), None])
def test_nonsense_for_an_answer(server: Server, driver: FakeDriver, answer: bytes | None) -> None:
    """PEEK asks for memory; the client answers with nonsense or goes."""
    with Raw(server) as raw:
        raw.open()
        raw.ioctl(PEEK, 0x1000, struct.pack("<QQ", 0x5000, 64))
        raw.prove()
        assert raw.hear() == (wire.READ, 0, 0x5000, 64)
        if answer is not None:
            raw.sock.send(answer)
            assert raw.hear()[1] < 0  # the call ends with EFAULT first
            assert raw.is_closed()
    assert wait_until(lambda: not driver.files)


def test_death_inside_a_call(server: Server, driver: FakeDriver) -> None:
    with Raw(server) as raw:
        raw.open()
        raw.ioctl(BLOCK)
        raw.prove()
        assert wait_until(lambda: driver.waiting)
    assert wait_until(lambda: len(driver.interrupted) == 1)
    assert wait_until(lambda: not driver.files)


packets = st.one_of(
    st.binary(max_size=120),
    st.builds(
        lambda kind, cmd, inode, arg, fd, size, tail: wire.TO_SERVER.pack(kind, cmd, inode, arg, fd, size) + tail,
        st.integers(0, 8),
        st.sampled_from([0, 1, *tee.IOCTL_NAMES, IDENTITY, PEEK]),
        st.just(0),
        st.integers(0, 2**64 - 1),
        st.integers(-1, 2**31 - 1),
        st.sampled_from([0, 12, 16, 24, 2**32 - 1]),
        st.binary(max_size=48),
    ),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(packets, st.booleans()), max_size=8))
def test_hostile_clients(server: Server, driver: FakeDriver, script: list[tuple[bytes, bool]]) -> None:
    """Any packets, with a device or not, in any order: the next client is served, and nothing is left."""
    with Raw(server) as raw:
        raw.sock.settimeout(0.02)
        for packet, real in script:
            try:
                if real and raw.device < 0:
                    raw.open()
                if real and len(packet) >= wire.TO_SERVER.size:
                    packet = packet[:8] + struct.pack("<Q", raw.inode) + packet[16:]
                raw.sock.send(packet)
                while (answer := raw.sock.recv(200)) and wire.TO_CLIENT.unpack_from(answer)[0] == wire.FETCH and real:
                    socket.send_fds(raw.sock, [wire.TO_SERVER.pack(wire.DESCRIPTOR, 0, 0, 0, 0, 0)], [raw.device])
            except (OSError, struct.error):
                continue
    with Raw(server) as raw:
        raw.open()
    assert wait_until(lambda: not driver.files)


@pytest.mark.parametrize("size", [10, 8 * MAX_WORKERS])
def test_who_attaches_gives_what_is_no_listener(driver: FakeDriver, size: int) -> None:
    attached = AttachedGate(driver)
    assert attached.server is not None
    memory = os.memfd_create("calls")
    os.ftruncate(memory, size)
    with Raw(attached.server) as raw:
        raw.say(wire.ATTACH)
        for which in (wire.LISTENER, wire.CALLS):
            assert raw.hear()[::2] == (wire.FETCH, which)
            socket.send_fds(raw.sock, [wire.TO_SERVER.pack(wire.DESCRIPTOR, 0, 0, 0, 0, 0)], [memory])
        assert raw.is_closed() if size < 8 * MAX_WORKERS else raw.hear()[0] == wire.DONE
    os.close(memory)
    assert wait_until(lambda: not attached.server or not attached.server._connections)
    attached.stop()


def test_too_many_connections(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optemu.normal_world.preload.server._MOST_CONNECTIONS", 3)
    raws = [Raw(server) for _ in range(3)]
    for raw in raws:
        raw.open()
    with Raw(server) as one_more:
        assert one_more.is_closed()
    for raw in raws:
        raw.__exit__()
    assert wait_until(lambda: not server._connections)
    with Raw(server) as raw:
        raw.open()


def test_a_socket_in_use_and_one_left_behind(server: Server, driver: FakeDriver, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot listen at"):
        Server(driver, server.path).start()
    left = tmp_path / "left"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(str(left))
    with Server(driver, left) as second, Raw(second) as raw:
        raw.open()
    assert not left.exists()


# -- the library in programs in odd states


def test_identity_is_the_one_of_the_moment(preload: PreloadGate, driver: FakeDriver) -> None:
    """Of opening a session, which is what it is for."""
    seen: list[tuple[int, ...]] = []

    def open_session(file: object, arg: int, task: object) -> int:
        seen.append((task.pid, task.euid, task.egid, *task.groups))  # type: ignore[attr-defined]
        return 0

    driver.handlers[tee.TEE_IOC_OPEN_SESSION] = open_session
    body = """
        fd = tee()
        call(fd, 0x8010A402, bytes(16))
        if os.getuid() == 0:
            os.setgroups([10, 20]); os.setresgid(7, 8, 9)
            call(fd, 0x8010A402, bytes(16))
            os.setresuid(0, 65534, 0)
            assert errno_of(call, fd, 0x8010A402, bytes(16)) == errno.ENODEV  # the server is not for other users
    """
    assert preload.run(client(body)) == 0
    assert seen[0][1:3] == (os.geteuid(), os.getegid())
    if os.getuid() == 0:
        assert seen[1][1:] == (0, 8, 10, 20)


def test_a_handler_may_call_during_a_call(preload: PreloadGate) -> None:
    body = """
        fd = tee()
        def handler(*_): seen.append(version(fd)[1])
        seen = []
        libc = ctypes.CDLL(None)
        HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)
        out = (ctypes.c_uint * 3)()
        @HANDLER
        def direct(number): libc.ioctl(fd, ctypes.c_ulong(VERSION), out)
        libc.signal(signal.SIGUSR1, direct)
        waiter = threading.Thread(target=lambda: call(fd, BLOCK, 0))
        waiter.start()
        until(fd, WAITING, 1)
        signal.pthread_kill(waiter.ident, signal.SIGUSR1)
        while not out[1]: time.sleep(0.001)
        call(fd, UNBLOCK, 1)
        waiter.join()
        assert out[1] == 1 and version(fd)[1] == 1
    """
    assert preload.run(client(body)) == 0


def test_descriptors_closed_and_replaced_behind_our_back(preload: PreloadGate) -> None:
    body = """
        fd = tee()
        null = os.open("/dev/null", os.O_RDONLY)
        ours = [int(n) for n in os.listdir("/proc/self/fd") if int(n) > 400]
        assert len(ours) == 1, ours
        os.close(ours[0])
        assert version(fd)[1] == 1
        os.dup2(null, ours[0])
        assert version(fd)[1] == 1 and os.path.samestat(os.fstat(ours[0]), os.fstat(null))
    """
    assert preload.run(client(body)) == 0


def test_a_child_takes_no_connection_along(preload: PreloadGate, server: Server) -> None:
    """So that the server sees the parent go, though the child lives and still holds the device."""
    body = """
        fd = tee()
        go = threading.Event()
        threads = [threading.Thread(target=lambda: (version(fd), go.wait()), daemon=True) for _ in range(5)]
        for thread in threads: thread.start()
        before = {n: os.readlink("/proc/self/fd/" + n) for n in os.listdir("/proc/self/fd") if int(n) > 400}
        assert len(before) >= 1
        if os.fork() == 0:
            assert not [n for n in os.listdir("/proc/self/fd") if int(n) > 400]
            assert version(fd)[1] == 1
            os._exit(0)
        assert os.wait()[1] == 0
        go.set()
        for thread in threads: thread.join()
        time.sleep(0.01)
        assert len([n for n in os.listdir("/proc/self/fd") if int(n) > 400]) == 1
    """
    assert preload.run(client(body)) == 0
    assert wait_until(lambda: not server._connections)


@pytest.mark.parametrize("name", ["open", "open64", "__open_2", "__open64_2"])
def test_every_name_of_open(preload: PreloadGate, name: str) -> None:
    body = f"""
        libc = ctypes.CDLL(None)
        assert version(libc[{name!r}](b"/dev/tee0", os.O_RDWR)) == (1, 1, 0xD)
        assert version(libc[{name.replace("open", "openat")!r}](-100, b"/dev/tee0", os.O_RDWR)) == (1, 2, 0xD)
        fd = libc.open(b"/tmp/optemu-%d" % os.getpid(), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
        assert os.fstat(fd).st_mode & 0o777 == 0o640 & ~os.umask(0)
        os.unlink("/tmp/optemu-%d" % os.getpid())
    """
    assert preload.run(client(body)) == 0


def test_without_a_server(preload: PreloadGate) -> None:
    """As on a machine without a TEE."""
    env = {**os.environ, "OPTEMU_SOCKET": "/nowhere"}
    body = """
        os.environ["OPTEMU_SOCKET"] = "/nowhere"
        assert errno_of(tee) == errno.ENOENT
    """
    assert preload.run(client(body), env) == 0
