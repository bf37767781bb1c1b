"""Static TAs that serve user TAs only, called by a real TA: sockets, profiles, keys, entropy, plugins."""

import contextlib
import hmac
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from plugin_sources import UUID as PLUGIN
from plugin_sources import compile_plugin
from tas.constants import RELAY_UUID

from optemu.abi import gp, isocket
from optemu.board.config import Config
from optemu.machine import Machine
from optemu.normal_world.gate import Gate
from optemu.normal_world.libteec import Context, Session, TeecError, TempMemref, Value
from optemu.secure_world.pta.gprof import GprofPta
from optemu.secure_world.pta.hwrng import HwrngPta
from optemu.secure_world.pta.invoke_tests import InvokeTestsPta
from optemu.secure_world.pta.socket import SocketPta
from optemu.secure_world.pta.system import SystemPta

CALL = struct.Struct("<4I8I")
IN, OUT, INOUT, MEM_IN, MEM_OUT, MEM_INOUT = 1, 2, 3, 5, 6, 7
OK, BAD, SHORT = gp.TEE_SUCCESS, gp.TEE_ERROR_BAD_PARAMETERS, gp.TEE_ERROR_SHORT_BUFFER
NOT_SUPPORTED = gp.TEE_ERROR_NOT_SUPPORTED
TIMEOUT = isocket.TEE_ISOCKET_ERROR_TIMEOUT
FOREVER = 0xFFFFFFFF
HUK = bytes(range(16))
Param = tuple[int, int, int] | tuple[int, bytes] | tuple[int, bytes, bool]


class Relay:
    """A session of the relay TA, holding a session to ``uuid``."""

    def __init__(self, context: Context, uuid: bytes) -> None:
        self.session: Session = context.OpenSession(UUID(RELAY_UUID))
        self.session.invoke(0, TempMemref.input(uuid), Value.output())

    def call(self, cmd: int, *params: Param) -> tuple[int, list[tuple[int, int] | tuple[int, bytes]]]:
        """(TEE_Result, (a, b) or (size, memory) of each). Parameters: (type, a, b) or (type, bytes[, private])."""
        types, values, refs = 0, [0] * 8, []
        for n, p in enumerate(params):
            types |= p[0] << 4 * n
            if p[0] < MEM_IN:
                values[2 * n : 2 * n + 2] = p[1:]
            else:
                values[2 * n] = len(p) == 3
                refs.append(TempMemref.inout(bytearray(p[1]) if p[1] else None))
        block = TempMemref.inout(bytearray(CALL.pack(cmd, types, 0, 0, *values)))
        ret = OK
        try:
            self.session.invoke(1, block, *refs)
        except TeecError as e:
            ret = e.code
        values = CALL.unpack(block.data)[4:]
        memory = iter(refs)
        out = []
        for n, p in enumerate(params):
            if p[0] < MEM_IN:
                out.append((values[2 * n], values[2 * n + 1]))
            else:
                ref = next(memory)
                out.append((ref.size, ref.data))
        return ret, out

    def close(self) -> None:
        self.session.invoke(2)
        self.session.CloseSession()

    def die(self) -> None:
        """The client closes its session; the TA, whose last one it is, goes and leaves its own open."""
        self.session.CloseSession()


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("plugins")
    compile_plugin("test", directory / f"{PLUGIN}.plugin")
    return directory


@pytest.fixture
def config(tmp_path: Path, plugins: Path) -> Config:
    return Config(state=tmp_path / "state", plugin_dir=plugins, huk=HUK, log_level="none")


@pytest.fixture
def machine(built: Path, config: Config) -> Iterator[Machine]:
    with Machine(config, ta_dirs=[built]) as m:
        yield m


@pytest.fixture
def relay(context: Context) -> Callable[[bytes], Relay]:
    return lambda uuid: Relay(context, uuid)


@pytest.mark.parametrize("pta", [SocketPta, GprofPta, SystemPta])
def test_clients_are_turned_away(context: Context, pta: type) -> None:
    with pytest.raises(TeecError) as caught:
        context.OpenSession(UUID(bytes=pta.uuid))
    assert caught.value.code == gp.TEE_ERROR_ACCESS_DENIED


# --- system.pta -----------------------------------------------------------------------------------------------


def test_a_key_of_this_device_and_this_ta(relay: Callable[[bytes], Relay]) -> None:
    system = relay(SystemPta.uuid)
    data = struct.pack("<I", 3) + UUID(RELAY_UUID).bytes_le
    for extra, size in ((b"", 16), (b"extra", 32), (bytes(1024), 24)):
        ret, out = system.call(1, (MEM_IN, extra), (MEM_OUT, bytes(size), True))
        assert (ret, out[1]) == (OK, (size, hmac.digest(HUK, data + extra, "sha256")[:size]))


def test_keys_that_are_not_given(relay: Callable[[bytes], Relay]) -> None:
    system = relay(SystemPta.uuid)
    for extra, size in ((b"", 15), (b"", 33), (bytes(1025), 16)):
        assert system.call(1, (MEM_IN, extra), (MEM_OUT, bytes(size), True))[0] == BAD
    assert system.call(1, (MEM_IN, b""), (MEM_OUT, bytes(16)))[0] == gp.TEE_ERROR_SECURITY
    assert system.call(1, (MEM_OUT, bytes(16), True))[0] == BAD


def test_entropy_is_mixed_in(built: Path, tmp_path: Path) -> None:
    """With a seed, what comes out depends on what a TA put in, and on nothing else."""

    def numbers(*inputs: bytes) -> bytes:
        with Machine(Config(seed=1, state=tmp_path), ta_dirs=[built]) as machine, machine.connect() as context:
            system = Relay(context, SystemPta.uuid)
            for data in inputs:
                assert system.call(0, (MEM_IN, data))[0] == OK
            return machine.board.entropy.read(16)

    assert numbers(b"a") == numbers(b"a")
    assert len({numbers(), numbers(b"a"), numbers(b"b"), numbers(b"a", b"b")}) == 4


def test_no_entropy_is_an_error(relay: Callable[[bytes], Relay]) -> None:
    system = relay(SystemPta.uuid)
    assert system.call(0, (MEM_IN, b""))[0] == BAD
    assert system.call(0, (IN, 1, 2))[0] == BAD
    assert system.call(4)[0] == gp.TEE_ERROR_NOT_IMPLEMENTED


def test_event_log(built: Path, config: Config, tmp_path: Path) -> None:
    for content in (None, b"what was measured" * 100):
        if content is not None:
            config.tpm_event_log = tmp_path / "log"
            config.tpm_event_log.write_bytes(content)
        with Machine(config, ta_dirs=[built]) as machine, machine.connect() as context:
            system = Relay(context, SystemPta.uuid)
            ret, [(size, data)] = system.call(12, (MEM_OUT, bytes(4096)))
            if content is None:
                assert ret == NOT_SUPPORTED
                continue
            assert (ret, size, data) == (OK, 1700, content)
            ret, [(size, _)] = system.call(12, (MEM_OUT, bytes(10)))
            assert (ret, size) == (SHORT, 1700)
            assert system.call(12, (MEM_IN, bytes(10)))[0] == BAD


def test_plugins_of_the_supplicant(relay: Callable[[bytes], Relay]) -> None:
    """What xtest 1033 does with its plugin."""
    system = relay(SystemPta.uuid)
    uuid = UUID(PLUGIN).bytes_le

    def plugin(cmd: int, sub_cmd: int, data: bytes, who: bytes = uuid) -> tuple[int, int, bytes]:
        ret, out = system.call(13, (MEM_IN, who), (IN, cmd, sub_cmd), (MEM_INOUT, data), (OUT, 0, 0))
        return ret, out[3][0], out[2][1]

    assert plugin(0, 0, b"")[:2] == (OK, 0)
    assert plugin(1, ord("+"), struct.pack("<II", 20, 22)) == (OK, 4, struct.pack("<II", 42, 22))
    assert plugin(2, 0, bytes(range(6))) == (OK, 1, b"\x0f\1\2\3\4\5")
    assert plugin(3, 0, bytes(64)) == (OK, 18, b"Array from plugin".ljust(64, b"\0"))
    assert plugin(4, 0xFFFF000D, b"x")[0] == gp.TEE_ERROR_BUSY
    assert plugin(5, 0xFFFFFFFF, b"xy") == (OK, 0xFFFFFFFF, b"xy")
    assert plugin(0, 0, b"x", UUID(int=1).bytes_le)[0] == gp.TEE_ERROR_ITEM_NOT_FOUND
    assert plugin(0, 0, b"x", b"short")[0] == BAD
    assert system.call(13, (MEM_IN, uuid), (IN, 0, 0), (MEM_INOUT, b"x"))[0] == BAD


# --- gprof -------------------------------------------------------------------------------------------------------


def test_profiles_are_written(relay: Callable[[bytes], Relay], config: Config) -> None:
    gprof = relay(GprofPta.uuid)
    ret, [(file, _), _] = gprof.call(0, (INOUT, 0, 0), (MEM_IN, b"gmon", True))
    assert (ret, file) == (OK, 1)
    assert gprof.call(0, (INOUT, file, 0), (MEM_IN, b" more"))[0] == OK
    assert gprof.call(0, (INOUT, 0, 0), (MEM_IN, b"second"))[1][0][0] == 2
    written = {p.name: p.read_bytes() for p in (config.state_dir() / "tmp").iterdir()}
    assert written == {f"gmon-{RELAY_UUID}.out": b"gmon more", f"gmon-{RELAY_UUID}.1.out": b"second"}
    assert gprof.call(0, (INOUT, 101, 0), (MEM_IN, b"x"))[0] == BAD
    for cmd in (0, 1, 2):
        assert gprof.call(cmd)[0] == BAD
    assert gprof.call(3)[0] == gp.TEE_ERROR_NOT_IMPLEMENTED


def test_samples_show_where_a_ta_executes(context: Context, relay: Callable[[bytes], Relay]) -> None:
    """A loop of a few instructions that runs for many ticks: its addresses are counted, and hardly any other."""
    gprof = relay(GprofPta.uuid)
    counters, rate = TempMemref.inout(bytearray(64)), Value.output()
    gprof.session.invoke(3, Value.input(20_000_000), counters, rate)
    seen = struct.unpack("<32H", counters.data)
    assert rate.a == 100
    assert sum(seen) >= 1
    assert not any(seen[20:])
    assert gprof.call(2, (OUT, 0, 0))[0] == gp.TEE_ERROR_BAD_STATE
    assert gprof.call(1, (MEM_INOUT, bytes(64)), (IN, 0, 0))[0] == OK
    assert gprof.call(1, (MEM_INOUT, bytes(64)), (IN, 0, 0))[0] == gp.TEE_ERROR_BAD_STATE
    assert gprof.call(2, (OUT, 7, 7)) == (OK, [(0, 0)])


# --- socket -------------------------------------------------------------------------------------------------------


def open_socket(ta: Relay, server: socket.socket, protocol: int) -> tuple[int, int]:
    host, port = server.getsockname()[:2]
    version = isocket.TEE_IP_VERSION_6 if ":" in host else isocket.TEE_IP_VERSION_4
    ret, out = ta.call(1, (IN, version, port), (MEM_IN, host.encode() + b"\0"), (IN, protocol, 0), (OUT, 0, 0))
    return ret, out[3][0]


def send(ta: Relay, handle: int, data: bytes, timeout: int = FOREVER) -> tuple[int, int]:
    ret, out = ta.call(3, (IN, handle, timeout), (MEM_IN, data), (OUT, 0, 0))
    return ret, out[2][0]


def receive(ta: Relay, handle: int, room: int, timeout: int = FOREVER) -> tuple[int, int, bytes]:
    ret, out = ta.call(4, (IN, handle, timeout), (MEM_OUT, bytes(room)))
    size, data = out[1]
    return ret, size, data[: min(room, size)]


def tcp_server(host: str = "127.0.0.1") -> socket.socket:
    """A server that does not wait for ever for a client that does not come."""
    server = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    server.settimeout(20)
    return server


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_tcp(relay: Callable[[bytes], Relay], host: str) -> None:
    try:
        server = tcp_server(host)
    except OSError:
        pytest.skip(f"this host has no {host}")
    ta = relay(SocketPta.uuid)
    with server:
        ret, handle = open_socket(ta, server, isocket.TEE_ISOCKET_PROTOCOLID_TCP)
        assert ret == OK
        peer, _ = server.accept()
        with peer:
            assert send(ta, handle, bytes(range(64))) == (OK, 64)
            assert peer.recv(100) == bytes(range(64))
            assert receive(ta, handle, 100, 5)[:2] == (TIMEOUT, 100)
            peer.sendall(b"answer")
            assert receive(ta, handle, 100) == (OK, 6, b"answer")
            argument = (4096).to_bytes(4, "little")
            assert ta.call(5, (IN, handle, isocket.TEE_TCP_SET_SENDBUF), (MEM_INOUT, argument))[0] == OK
            assert ta.call(5, (IN, handle, 0x65F00099), (MEM_INOUT, argument))[0] == NOT_SUPPORTED
            assert ta.call(2, (IN, handle, 0))[0] == OK
            assert peer.recv(1) == b""
    assert ta.call(2, (IN, handle, 0))[0] == BAD
    assert ta.call(6)[0] == gp.TEE_ERROR_NOT_IMPLEMENTED
    for cmd in range(1, 6):
        assert ta.call(cmd)[0] == BAD


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_udp(relay: Callable[[bytes], Relay], host: str) -> None:
    server = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        server.bind((host, 0))
    except OSError:
        pytest.skip(f"this host has no {host}")
    ta = relay(SocketPta.uuid)
    with server:
        server.settimeout(10)
        ret, handle = open_socket(ta, server, isocket.TEE_ISOCKET_PROTOCOLID_UDP)
        assert ret == OK
        assert receive(ta, handle, 0)[:2] == (OK, 0)
        assert send(ta, handle, b"ping") == (OK, 4)
        data, address = server.recvfrom(10)
        assert data == b"ping"
        server.sendto(bytes(range(64)), address)
        assert receive(ta, handle, 32) == (OK, 64, bytes(range(32)))


def test_servers_that_are_not_there(relay: Callable[[bytes], Relay]) -> None:
    ta = relay(SocketPta.uuid)
    with tcp_server() as server:
        closed = server.getsockname()[1]
    where = (IN, isocket.TEE_IP_VERSION_4, closed)
    tcp, out = (IN, isocket.TEE_ISOCKET_PROTOCOLID_TCP, 0), (OUT, 0, 0)
    assert ta.call(1, where, (MEM_IN, b"127.0.0.1\0"), tcp, out)[0] == gp.TEE_ERROR_COMMUNICATION
    assert ta.call(1, where, (MEM_IN, b"no host\0"), tcp, out)[0] == isocket.TEE_ISOCKET_ERROR_HOSTNAME
    assert ta.call(1, where, (MEM_IN, b"127.0.0.1"), tcp, out)[0] == isocket.TEE_ISOCKET_ERROR_HOSTNAME
    assert ta.call(1, where, (MEM_IN, b""), tcp, out)[0] == gp.TEE_ERROR_OUT_OF_MEMORY


@pytest.mark.parametrize("end", [Relay.close, Relay.die])
def test_sockets_end_with_their_session(relay: Callable[[bytes], Relay], machine: Machine, end) -> None:
    ta, other = relay(SocketPta.uuid), relay(SocketPta.uuid)
    with tcp_server() as server:
        for _ in range(3):
            assert open_socket(ta, server, isocket.TEE_ISOCKET_PROTOCOLID_TCP)[0] == OK
        _, theirs = open_socket(other, server, isocket.TEE_ISOCKET_PROTOCOLID_TCP)
        end(ta)
        assert len(machine.supplicant._services.sockets) == 1
        assert send(other, theirs, b"x") == (OK, 1)


def test_waiting_for_data_keeps_nobody_else_waiting(machine: Machine) -> None:
    """Three TAs wait for data that does not come; other RPCs, and other TAs, go on meanwhile."""
    got, threads = [], []
    with tcp_server() as server, machine.connect() as context:
        peers = []
        for _ in range(3):
            ta = Relay(context, SocketPta.uuid)
            _, handle = open_socket(ta, server, isocket.TEE_ISOCKET_PROTOCOLID_TCP)
            peers.append(server.accept()[0])
            threads.append(threading.Thread(target=lambda ta=ta, h=handle: got.append(receive(ta, h, 10))))
            threads[-1].start()
        free = Relay(context, SystemPta.uuid)
        for _ in range(20):
            assert free.call(13, (MEM_IN, UUID(PLUGIN).bytes_le), (IN, 0, 0), (MEM_INOUT, b""), (OUT, 0, 0))[0] == OK
        assert got == []
        for peer in peers:
            peer.sendall(b"now")
        for thread in threads:
            thread.join(10)
        assert got == [(OK, 3, b"now")] * 3
        for peer in peers:
            peer.close()


def test_a_client_that_dies_while_its_ta_waits_for_data(machine: Machine) -> None:
    """Its call ends, its sockets are closed, and the secure thread is free again."""
    with tcp_server() as server:
        context = machine.connect()
        ta = Relay(context, SocketPta.uuid)
        _, handle = open_socket(ta, server, isocket.TEE_ISOCKET_PROTOCOLID_TCP)
        peer, _ = server.accept()
        peer.settimeout(20)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(receive(ta, handle, 10)))
        thread.start()
        while not machine.optee.supp._taken:
            threading.Event().wait(0.001)
        file = next(f for f in machine.device.contexts if f.sessions)
        file.close()
        thread.join(20)
        assert not thread.is_alive()
        assert peer.recv(1) == b""
        peer.close()
        while machine.tee.threads.busy:
            threading.Event().wait(0.001)
        assert len(machine.supplicant._services.sockets) == 0


def test_a_process_that_is_killed_while_its_ta_waits_for_data(built: Path, config: Config) -> None:
    """The same with a process of its own, behind the gate, and SIGKILL."""
    with tcp_server() as server, Machine(config, ta_dirs=[built]) as machine, Gate(machine.device) as gate:
        code = f"""
import sys; sys.path[:] = {[*sys.path]!r}
from optemu.normal_world.device import KernelDevice
from optemu.normal_world.libteec import Context
from test_tas_and_ptas import *
import os, socket
ta = Relay(Context(KernelDevice("/dev/tee0")), SocketPta.uuid)
port = (IN, isocket.TEE_IP_VERSION_4, {server.getsockname()[1]})
handle = ta.call(1, port, (MEM_IN, b"127.0.0.1\\0"), (IN, isocket.TEE_ISOCKET_PROTOCOLID_TCP, 0), (OUT, 0, 0))[1][3][0]
send(ta, handle, str(os.getpid()).encode())
receive(ta, handle, 10)
"""
        killed = []

        def kill() -> None:
            peer, _ = server.accept()
            pid = int(peer.recv(20))
            while not machine.optee.supp._taken:
                threading.Event().wait(0.001)
            os.kill(pid, signal.SIGKILL)
            peer.settimeout(60)
            killed.append(peer.recv(1))
            peer.close()

        server.settimeout(None)  # however long a busy machine takes to start the process
        killer = threading.Thread(target=kill)
        killer.start()
        status = gate.run([sys.executable, "-c", code])
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)  # if it has ended without a word, nobody comes
        killer.join()
        assert status == -signal.SIGKILL
        assert killed == [b""]
        while machine.tee.threads.busy:
            threading.Event().wait(0.001)
        assert len(machine.supplicant._services.sockets) == 0


# --- the ones that anybody may open --------------------------------------------------------------------------------


def test_parameters_from_a_ta(relay: Callable[[bytes], Relay]) -> None:
    """invoke_tests.pta sees private memory of the calling TA, as xtest's TAs give it."""
    pta = relay(InvokeTestsPta.uuid)
    for private in ((), (True,)):
        ret, out = pta.call(1, (MEM_INOUT, bytes(range(100)), *private))
        assert (ret, out[0][1][0]) == (OK, sum(range(100)) & 0xFF)
    assert pta.call(1, (INOUT, 5, 6))[1] == [(11, 6)]
    assert pta.call(10, (MEM_INOUT, b""))[0] == OK
    assert relay(HwrngPta.uuid).call(0, (MEM_INOUT, bytes(32), True))[1][0][1] != bytes(32)
