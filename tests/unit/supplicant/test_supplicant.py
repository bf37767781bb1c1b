"""The supplicant against a driver of bytes: the protocol, its threads, and requests nobody should send."""

import errno
import struct
import threading
import time

import pytest
from fake_supp import META, TIMEOUT, FakeSupp
from hypothesis import given
from hypothesis import strategies as st

from optemu.abi import gp, optee_rpc_cmd
from optemu.errors import TeeError
from optemu.normal_world.device import EmulatedDevice, Pin
from optemu.normal_world.supplicant import ROWS, Supplicant
from optemu.normal_world.supplicant import supplicant as room
from optemu.normal_world.supplicant.params import BLOCK_SIZE, REQUEST_SIZE, Param, Request
from optemu.trace import Tracer

LOAD_TA, SHM_ALLOC, SHM_FREE = 0, 6, 7
UUID = bytes.fromhex("8aaaf200245011e4abe20002a5d5c51b")
NAME = "8aaaf200-2450-11e4-abe2-0002a5d5c51b.ta"
UUID_PARAM = (1, *struct.unpack("<QQ", UUID), 0)
NO_SHM = (1 << 64) - 1
IMAGE = bytes(range(256)) * 20
BAD = gp.TEE_ERROR_BAD_PARAMETERS


@pytest.fixture(params=[1, 5], ids=["allocated", "registered"])
def driver(request):
    return FakeSupp(gen_caps=request.param)


@pytest.fixture
def supplicant(driver, tmp_path):
    supp = Supplicant(lambda: EmulatedDevice(driver, "/dev/teepriv0"), [tmp_path / "a", tmp_path / "b"])
    supp.start()
    yield supp
    supp.stop()
    assert driver.live() == []


def memref(size, shm_id=NO_SHM, offset=0, attr=6):
    return (attr, offset, size, shm_id)


def put_image(tmp_path, directory="b", content=IMAGE):
    (tmp_path / directory).mkdir(exist_ok=True)
    (tmp_path / directory / NAME).write_bytes(content)


def alloc(driver, size):
    ret, [(_, _, _, shm_id)] = driver.call(SHM_ALLOC, (3, 0, size, 0), meta=1)
    assert ret == 0
    return shm_id


def test_load_ta_in_two_steps(driver, supplicant, tmp_path):
    put_image(tmp_path)
    assert driver.call(LOAD_TA, UUID_PARAM, memref(0), meta=5) == (0, [UUID_PARAM, memref(len(IMAGE))])
    shm = alloc(driver, len(IMAGE) + 100)
    answer = driver.call(LOAD_TA, UUID_PARAM, memref(len(IMAGE), shm, 100), meta=6)
    assert answer == (0, [UUID_PARAM, memref(len(IMAGE), shm, 100)])
    assert driver.read(shm, 0, len(IMAGE) + 100) == bytes(100) + IMAGE
    assert driver.call(SHM_FREE, (3, 0, shm, 0), meta=7)[0] == 0
    assert driver.live() == []


def test_load_ta_into_a_short_buffer_says_what_is_needed(driver, supplicant, tmp_path):
    put_image(tmp_path)
    shm = alloc(driver, 4096)
    for size in (0, 100):
        ret, params = driver.call(LOAD_TA, UUID_PARAM, memref(size, shm))
        assert (ret, params[1][2]) == (gp.TEE_ERROR_SHORT_BUFFER, len(IMAGE))
    assert driver.read(shm, 0, 4096) == bytes(4096)


def test_ta_that_is_nowhere(driver, supplicant, tmp_path, caplog):
    assert supplicant.last_failed_search is None
    (tmp_path / "b" / NAME).mkdir(parents=True)
    assert driver.call(LOAD_TA, UUID_PARAM, memref(0))[0] == gp.TEE_ERROR_ITEM_NOT_FOUND
    search = supplicant.last_failed_search
    assert search.uuid == UUID
    assert search.tried == (
        (str(tmp_path / "a" / NAME), "No such file or directory"),
        (str(tmp_path / "b" / NAME), "is not a regular file"),
    )
    assert str(search) in caplog.text
    assert str(tmp_path / "a" / NAME) in caplog.text


@pytest.mark.parametrize(
    ("func", "params"),
    [
        (LOAD_TA, []),
        (LOAD_TA, [UUID_PARAM]),
        (LOAD_TA, [UUID_PARAM, memref(0), memref(0)]),
        (LOAD_TA, [memref(0), memref(0)]),
        (LOAD_TA, [UUID_PARAM, UUID_PARAM]),
        (LOAD_TA, [UUID_PARAM, memref(0, attr=5)]),
        (LOAD_TA, [UUID_PARAM, memref(0, attr=0xFF)]),
        (SHM_ALLOC, []),
        (SHM_ALLOC, [memref(4)]),
        (SHM_FREE, [(3, 0, 99, 0)]),
        (SHM_FREE, [(3, 0, NO_SHM, 0)]),
        (SHM_FREE, []),
    ],
)
def test_malformed_requests_are_bad_parameters(driver, supplicant, func, params):
    assert driver.call(func, *params) == (BAD, params)


def test_reference_outside_its_memory(driver, supplicant, tmp_path):
    put_image(tmp_path)
    shm = alloc(driver, 100)
    for offset, size in [(0, 101), (101, 0), (100, 1), (NO_SHM, 2), (2, NO_SHM)]:
        assert driver.call(LOAD_TA, UUID_PARAM, memref(size, shm, offset))[0] == BAD
    assert driver.call(LOAD_TA, UUID_PARAM, memref(0, shm, 100))[0] == gp.TEE_ERROR_SHORT_BUFFER


@pytest.mark.parametrize("size", [0, 1 << 40, 1 << 63, (1 << 64) - 1])
def test_memory_that_cannot_be(driver, supplicant, size):
    params = [(3, 0, size, 0)]
    assert driver.call(SHM_ALLOC, *params) == (gp.TEE_ERROR_OUT_OF_MEMORY, params)
    assert driver.live() == []


def test_memory_is_freed_once(driver, supplicant):
    shm = alloc(driver, 64)
    assert driver.call(SHM_FREE, (1, 0, shm, 0))[0] == 0
    assert driver.call(SHM_FREE, (1, 0, shm, 0))[0] == BAD
    assert driver.shms[shm].released_count == 1


def test_stop_frees_what_was_allocated(driver, supplicant):
    for _ in range(3):
        alloc(driver, 64)
    assert len(driver.live()) == 3
    supplicant.stop()
    assert driver.closed
    assert driver.live() == []


@pytest.mark.parametrize("func", [3, 4, 5, 8, 99, 0xFFFFFFFF, *[row.cmd for row in ROWS if row.handler is None]])
def test_other_commands_are_not_supported(driver, supplicant, func):
    assert driver.call(func, (3, 1, 2, 3)) == (gp.TEE_ERROR_NOT_SUPPORTED, [(3, 1, 2, 3)])


def test_table_has_the_names_of_the_abi():
    assert len({row.cmd for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert getattr(optee_rpc_cmd, row.name) == row.cmd


def test_one_thread_always_receives(driver, supplicant, monkeypatch):
    """Requests that block do not keep others waiting, if the driver can tell them apart."""
    go, inside = threading.Event(), threading.Semaphore(0)

    def block(services, params):
        inside.release()
        go.wait(TIMEOUT)
        return params[0].a

    patched = {90: room.BY_CMD[LOAD_TA].__class__(90, "block", block, "")}
    monkeypatch.setattr(room, "BY_CMD", room.BY_CMD | patched)
    for n in range(3):
        driver.post(90, (META | 3, n, 0, 0), (1, n, 0, 0))
        assert inside.acquire(timeout=TIMEOUT)
    shm = alloc(driver, 16)
    go.set()
    answers = sorted(driver.answers.get(timeout=TIMEOUT) for _ in range(3))
    assert [(ret, params[0][1]) for ret, params in answers] == [(0, 0), (1, 1), (2, 2)]
    assert driver.call(SHM_FREE, (3, 0, shm, 0), meta=9)[0] == 0
    assert len(supplicant._threads) == 4 + 1


def test_without_meta_parameters_one_thread_does_it_all(driver, supplicant):
    for _ in range(3):
        driver.call(99, (3, 0, 0, 0))
    assert len(supplicant._threads) == 1


def test_impossible_requests_are_answered_and_survived(driver, supplicant):
    five = [(0, 0, 0, 0)] * 5
    driver.requests.put(struct.pack("<II", LOAD_TA, 0xFFFFFFFF))
    assert driver.answers.get(timeout=TIMEOUT)[0] == BAD
    late_meta = [(3, 0, 0, 0), (META | 3, 0, 0, 0)]
    assert driver.call(LOAD_TA, *late_meta) == (BAD, late_meta)
    assert driver.call(99, *five)[0] == gp.TEE_ERROR_NOT_SUPPORTED


def test_defect_in_a_handler_ends_one_request(driver, supplicant, monkeypatch, caplog):
    def broken(services, params):
        raise RuntimeError("oops")

    monkeypatch.setattr(room, "BY_CMD", {0: room.BY_CMD[0].__class__(0, "broken", broken, "")})
    assert driver.call(0)[0] == gp.TEE_ERROR_GENERIC
    assert "oops" in caplog.text
    assert driver.call(1)[0] == gp.TEE_ERROR_NOT_SUPPORTED


def test_failing_ioctls(driver, supplicant, caplog):
    driver.requests.put(errno.EINTR)
    driver.fail_send = errno.ENOENT
    assert driver.call(99)[0] == gp.TEE_ERROR_NOT_SUPPORTED
    driver.fail_send = 0
    assert driver.call(99)[0] == gp.TEE_ERROR_NOT_SUPPORTED
    assert "TEE_IOC_SUPPL_SEND" in caplog.text
    driver.requests.put(errno.ENOMEM)
    supplicant._threads[0].join(TIMEOUT)
    assert not supplicant._threads[0].is_alive()
    assert "TEE_IOC_SUPPL_RECV" in caplog.text


def test_start_needs_an_optee_device():
    other = FakeSupp(impl_id=2)
    with pytest.raises(OSError, match="not to OP-TEE"):
        Supplicant(lambda: EmulatedDevice(other, "/dev/teepriv0")).start()
    assert other.closed
    with pytest.raises(FileNotFoundError):
        Supplicant(lambda: EmulatedDevice(FakeSupp(), "/dev/tee3")).start()


class Recorder(Tracer):
    def __init__(self):
        super().__init__()
        self.seen = []

    def enter(self, point, *args):
        self.seen.append(("enter", point.layer, point.name, point.args, *args))

    def exit(self, point, *args):
        self.seen.append(("exit", point.layer, point.name, *args))


def test_trace_shows_each_request(driver):
    tracer = Recorder()
    supplicant = Supplicant(lambda: EmulatedDevice(driver, "/dev/teepriv0"), [], tracer=tracer)
    supplicant.start()
    driver.call(LOAD_TA, UUID_PARAM, memref(7))
    assert tracer.seen == []
    tracer.on = True
    driver.call(LOAD_TA, UUID_PARAM, memref(7))
    driver.call(SHM_FREE)
    driver.call(99, (3, 1, 2, 3))
    supplicant.stop()
    assert tracer.seen == [
        ("enter", "supplicant", "OPTEE_RPC_CMD_LOAD_TA", "uuid:uuid size:u64", UUID, 7),
        ("exit", "supplicant", "OPTEE_RPC_CMD_LOAD_TA", gp.TEE_ERROR_ITEM_NOT_FOUND),
        ("enter", "supplicant", "OPTEE_RPC_CMD_SHM_FREE", "shm:u64", 0),
        ("exit", "supplicant", "OPTEE_RPC_CMD_SHM_FREE", BAD),
        ("enter", "supplicant", "OPTEE_RPC_CMD_99", "a:u64 b:u64 c:u64", 1, 2, 3),
        ("exit", "supplicant", "OPTEE_RPC_CMD_99", gp.TEE_ERROR_NOT_SUPPORTED),
    ]


def request_of(raw):
    pin = Pin(bytearray(BLOCK_SIZE))
    request = Request(pin)
    pin.view[:] = request.room
    pin.view[16 : 16 + len(raw)] = raw
    return request, pin.view


def test_room_is_for_any_request():
    """As supp_check_recv_params() wants it."""
    request, view = request_of(b"")
    pointer, size, func, count = struct.unpack_from("<QQII", view)
    assert (pointer, size, func, count) == (request.pin.address + 16, REQUEST_SIZE, 0, 5)
    assert list(struct.iter_unpack("<QQQQ", view[24:])) == [(META, 0, 0, 0), *[(0, 0, 0, 0)] * 4]


@given(st.binary(min_size=REQUEST_SIZE, max_size=REQUEST_SIZE), st.integers(0, 6))
def test_decoding_is_total(raw, claimed):
    raw = raw[:4] + struct.pack("<I", claimed) + raw[8:]
    request, view = request_of(raw)
    try:
        func, meta, params = request.decode()
    except TeeError:
        count = min(claimed, 5)
    else:
        count = meta + len(params)
        assert (func, count) == struct.unpack_from("<II", raw)
    assert struct.unpack_from("<QQ", view) == (request.pin.address + 16, 8 + 32 * count)
    assert struct.unpack_from("<I", view, 20)[0] == count
    assert view[24:] == raw[8:], "parameters go back as they came"


word = st.sampled_from([0, 1, 2, 100, 4096, 1 << 31, 1 << 32, 1 << 63, NO_SHM])
attr = st.sampled_from([0, 1, 2, 3, 5, 6, 7, META, META | 3, 0x1FF, NO_SHM])


@given(
    st.lists(st.tuples(st.sampled_from([0, 6, 7, 8, 1 << 31]), st.lists(st.tuples(attr, word, word, word), max_size=6)))
)
def test_no_request_brings_it_down(requests):
    """Any requests, any parameters: each has its answer, with its own parameters' types and number."""
    driver = FakeSupp(gen_caps=1)
    supplicant = Supplicant(lambda: EmulatedDevice(driver, "/dev/teepriv0"), [])
    supplicant.start()
    try:
        for func, params in requests:
            raw = struct.pack("<II", func, len(params)) + b"".join(struct.pack("<QQQQ", *p) for p in params[:5])
            driver.requests.put(raw)
            ret, answer = driver.answers.get(timeout=TIMEOUT)
            assert [p[0] for p in answer] == [p[0] for p in params[:5]]
            assert ret != gp.TEE_ERROR_GENERIC
    finally:
        supplicant.stop()
    assert driver.live() == []


def test_negative_ids_wrap():
    assert bytes(Param(3, 0, 0, -1)) == struct.pack("<QQQQ", 3, 0, 0, NO_SHM)


def test_clock_is_the_callers(driver, tmp_path):
    put_image(tmp_path, "a")
    supp = Supplicant(
        lambda: EmulatedDevice(driver, "/dev/teepriv0"), [tmp_path / "a"], lambda: time.time_ns() + 10**10
    )
    assert supp.ta_dirs.load(UUID) is supp.ta_dirs.load(UUID)
