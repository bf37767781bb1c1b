"""invoke_tests.pta: what xtest 1001, 1002, 1003, 1020, 1025 and its SDP cases ask of it."""

import threading
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from pta_kit import result

from optemu.abi import gp
from optemu.machine import Machine
from optemu.normal_world.libteec import RegisteredMemref, TempMemref, Value
from optemu.secure_world.pta import self_tests
from optemu.secure_world.pta.invoke_tests import InvokeTestsPta

TRACE, PARAMS, SELF_TESTS, NSEC_TO_SEC, MODIFY_SEC, SEC_TO_NSEC, FS_HTREE, MUTEX = range(8)
LOCKDEP, AES_PERF, MEMREF_NULL, DT_DRIVER, TRANSFER_LIST = range(8, 13)
BAD, NOT_SUPPORTED = gp.TEE_ERROR_BAD_PARAMETERS, gp.TEE_ERROR_NOT_SUPPORTED


@pytest.fixture
def pta(session):
    return session(InvokeTestsPta.uuid)


def test_uuid_and_flags():
    assert gp.uuid_str(InvokeTestsPta.uuid) == "d96a5b40-c3e5-21e3-8794-1002a5d5c61b"
    assert InvokeTestsPta.flags == 4 | 8 | 16 | 32 | 256 | 512


def test_trace_says_hello(pta, caplog):
    caplog.set_level("INFO")
    pta.invoke(TRACE)
    assert 'pseudo TA "invoke_tests.pta" says "Hello world !"' in caplog.text


@pytest.mark.parametrize("at", range(4))
def test_values(pta, at):
    params = [None] * 4
    params[at] = value = Value.inout(0xFFFFFFFF, 3)
    pta.invoke(PARAMS, *params)
    assert (value.a, value.b) == (2, 3)
    params = [Value.input(n, 10 * n) for n in range(4)]
    params[at] = Value.output()
    pta.invoke(PARAMS, *params)
    assert (params[at].a, params[at].b) == (6 - at, 60 - 10 * at)


@pytest.mark.parametrize("at", range(4))
def test_memory(pta, at):
    data = bytearray(n + 1 & 0xFF for n in range(16 * 1024))
    params = [None] * 4
    params[at] = ref = TempMemref.inout(data)
    pta.invoke(PARAMS, *params)
    assert ref.data[0] == sum((n + 1) & 0xFF for n in range(16 * 1024)) & 0xFF
    assert ref.data[1:] == data[1:]


def test_part_of_shared_memory(context, pta):
    with context.AllocateSharedMemory(3 * 4096) as shm:
        shm.buffer[4090:4100] = bytes(range(10))
        pta.invoke(PARAMS, RegisteredMemref.inout(shm, 4090, 10))
        assert bytes(shm.buffer[4089:4100]) == b"\0\x2d" + bytes(range(1, 10))


@pytest.mark.parametrize(
    "params",
    [
        [],
        [Value.input(1)],
        [Value.inout(1), Value.inout(1)],
        [Value.input(1), Value.input(1), Value.input(1)],
        [TempMemref.input(b"12")],
        [TempMemref.inout(None)],
        [TempMemref.inout(bytearray(2)), Value.inout(1)],
    ],
)
def test_other_parameters(pta, params):
    assert result(pta.invoke, PARAMS, *params) == BAD


def test_null_reference(pta):
    pta.invoke(MEMREF_NULL, TempMemref.inout(None))
    for params in ([TempMemref.inout(bytearray(4))], [TempMemref.input(None)], [], [Value.inout(0)]):
        assert result(pta.invoke, MEMREF_NULL, *params) == BAD


def test_secure_data_path_memory_is_never_given(pta):
    source, target = TempMemref.input(bytes(8)), TempMemref.output(8)
    for cmd in (NSEC_TO_SEC, SEC_TO_NSEC):
        assert result(pta.invoke, cmd, source, target) == BAD
        assert result(pta.invoke, cmd, source) == BAD
        short = TempMemref.output(4)
        assert result(pta.invoke, cmd, source, short) == gp.TEE_ERROR_SHORT_BUFFER
        assert short.size == 8
    assert result(pta.invoke, MODIFY_SEC, TempMemref.inout(bytearray(8))) == BAD


def test_self_tests(pta, machine):
    before = machine.board.memory.count(secure=True), machine.board.memory.count(secure=False)
    pta.invoke(SELF_TESTS)
    assert (machine.board.memory.count(secure=True), machine.board.memory.count(secure=False)) == before
    pta.invoke(DT_DRIVER)
    for cmd in (LOCKDEP, TRANSFER_LIST):
        assert result(pta.invoke, cmd) == NOT_SUPPORTED
    assert result(pta.invoke, 99) == BAD


def _library_aes(bits: int, mode: modes.Mode, data: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES(bytes(range(bits // 8))), mode).encryptor()
    return encryptor.update(data)


@pytest.mark.parametrize("bits", [128, 256])
def test_aes_perf_encrypts(pta, bits):
    """Two rounds, in units that do not divide the data: the modes that chain go on where they were."""
    data, iv = bytes(range(112)), bytes(range(0xA0, 0xB0))
    for number, mode in (0, modes.ECB()), (1, modes.CBC(iv)), (2, modes.CTR(iv)), (4, modes.GCM(iv)):
        out = TempMemref.inout(bytearray(120))
        # GCM was told the length of the payload, and takes no second round.
        rounds = 1 if number == 4 else 2
        pta.invoke(AES_PERF, Value.input(bits, number), Value.input(rounds, 32), TempMemref.inout(bytearray(data)), out)
        assert out.data[:112] == _library_aes(bits, mode, data * rounds)[-112:]
        assert out.data[112:] == bytes(8)


def test_aes_perf_decrypts(pta):
    data = bytes(range(64))
    for number in (0, 1, 2, 3):
        sealed, plain = TempMemref.inout(bytearray(64)), TempMemref.inout(bytearray(64))
        for decrypt, src, dst in (0, TempMemref.inout(bytearray(data)), sealed), (1, sealed, plain):
            pta.invoke(AES_PERF, Value.input(128 | decrypt << 16, number), Value.input(1, 64), src, dst)
        assert sealed.data != data
        assert plain.data == data


@pytest.mark.parametrize(
    ("what", "how", "room"),
    [((129, 0), (1, 16), 16), ((512, 0), (1, 16), 16), ((128, 5), (1, 16), 16), ((128, 0), (1, 16), 15)],
)
def test_aes_perf_refuses(pta, what, how, room):
    src, dst = TempMemref.inout(bytearray(16)), TempMemref.inout(bytearray(room))
    assert result(pta.invoke, AES_PERF, Value.input(*what), Value.input(*how), src, dst) == BAD


def test_aes_perf_with_nothing_at_once(pta):
    """Upstream divides by it."""
    src, dst = TempMemref.inout(bytearray(16)), TempMemref.inout(bytearray(16))
    assert result(pta.invoke, AES_PERF, Value.input(128, 0), Value.input(1, 0), src, dst) == BAD


@pytest.mark.parametrize("test", self_tests.SELF_TESTS, ids=lambda test: test.__name__)
def test_each_self_test_can_fail(machine: Machine, test, monkeypatch, pta, caplog):
    """Break what it tests: it must notice, and the PTA must say which one did."""
    memory = machine.board.memory
    if test is self_tests.self_test_add_overflow:
        monkeypatch.setattr(
            self_tests.Mobj, "get_va", lambda self, offset, size: memoryview(bytes(max(size & 0xFFFF, 0)))
        )
    elif test is self_tests.self_test_mul_overflow:
        monkeypatch.setattr(self_tests.ShmRegistry, "from_noncontig", lambda *args: object())
    elif test is self_tests.self_test_division:
        monkeypatch.setattr(self_tests, "round_up", lambda size: size // 4096 * 4096)
    elif test is self_tests.self_test_message:
        monkeypatch.setattr(self_tests.optee_msg, "msg_arg_size", lambda n: 0)
    elif test is self_tests.self_test_malloc:
        region = memory.allocate(3 * 4096, secure=True)
        monkeypatch.setattr(type(memory), "allocate", lambda self, size, secure: region)
    else:
        monkeypatch.setattr(type(memory), "find", lambda self, pa, secure: None)
    assert not test(memory)
    if test is not self_tests.self_test_malloc and test is not self_tests.self_test_va2pa:
        assert result(pta.invoke, SELF_TESTS) == gp.TEE_ERROR_GENERIC
        assert f"{test.__name__} failed" in caplog.text


def test_mutex_parameters(pta):
    seen = Value.output()
    pta.invoke(MUTEX, Value.input(0, 10), seen)
    assert (seen.a, seen.b) == (1, 1)
    pta.invoke(MUTEX, Value.input(1, 10), seen)
    assert (seen.a, seen.b) == (1, 1)
    assert result(pta.invoke, MUTEX, Value.input(2, 10), seen) == BAD
    assert result(pta.invoke, MUTEX, Value.input(0, 10)) == BAD


def test_readers_share_and_writers_do_not(machine: Machine):
    """xtest 1003: six clients on four secure threads, the lock really contended."""
    problems, readers = [], []

    def client(kind):
        with machine.connect() as context, context.OpenSession(UUID(bytes=InvokeTestsPta.uuid)) as pta:
            for _ in range(15):
                seen = Value.output()
                code = result(pta.invoke, MUTEX, Value.input(kind, 20_000), seen)
                if code or (kind == 0 and seen.b != 1):
                    problems.append((kind, code, seen.b))
                if kind == 1:
                    readers.append((seen.a, seen.b))

    threads = [threading.Thread(target=client, args=(1 if n % 3 else 0,)) for n in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert not any(t.is_alive() for t in threads)
    assert problems == []
    assert len(readers) == 60
    test = machine.tee.pseudo_tas._by_uuid[InvokeTestsPta.uuid].mutex_test
    assert (test._before, test._during, test._val0) == ([0, 0], [0, 0], 30 * 20_000)


def test_a_writer_waits_for_the_reader_inside(machine: Machine):
    """Held by this test as by a reader: a client's writer sleeps in the normal world until it is let in."""
    test = machine.tee.pseudo_tas._by_uuid[InvokeTestsPta.uuid].mutex_test
    woken = []

    class Thread:
        def wake(self, other):
            woken.append(other)

    me = Thread()
    test._mutex.read_lock(me)
    seen = Value.output()

    def client():
        with machine.connect() as context, context.OpenSession(UUID(bytes=InvokeTestsPta.uuid)) as pta:
            pta.invoke(MUTEX, Value.input(0, 5), seen)

    thread = threading.Thread(target=client)
    thread.start()
    while not machine.optee.notifications:
        threading.Event().wait(0.001)
    test._mutex.read_unlock(me)
    assert [other.id for other in woken] == [next(iter(machine.optee.notifications)) - 64]
    assert seen.b == 0
    machine.optee.notifications[64 + woken[0].id].set()
    thread.join(10)
    assert not thread.is_alive()
    assert (seen.a, seen.b) == (1, 1)
