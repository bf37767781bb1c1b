"""The RPMB file system: its format, its operations against a dictionary, the power going, and a hostile device."""

import contextlib
import hashlib
import hmac
import itertools
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_files import HUK, OTHER_TA, TA
from memory_rpmb import CID, COUNTER, READ, WRITE, MemoryRpmb, PowerCut, RpmbStore, frame

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.storage.rpmb_fat import Pool
from optemu.secure_world.storage.tee_fs import Pobj

NOT_FOUND, SECURITY, GENERIC = gp.TEE_ERROR_ITEM_NOT_FOUND, gp.TEE_ERROR_SECURITY, gp.TEE_ERROR_GENERIC
COMMUNICATION, NO_SPACE = gp.TEE_ERROR_COMMUNICATION, gp.TEE_ERROR_STORAGE_NO_SPACE
CONFLICT, NOT_AVAILABLE = gp.TEE_ERROR_ACCESS_CONFLICT, gp.TEE_ERROR_STORAGE_NOT_AVAILABLE


@pytest.fixture
def store():
    return RpmbStore()


def code(call, *args, **kwargs):
    with pytest.raises(TeeError) as caught:
        call(*args, **kwargs)
    return caught.value.code


def entries(device):
    """The table as C has it: (start, size, flags, fek, name)."""
    for at in range(512, len(device.content), 256):
        start, size, flags, unused, fek, name = struct.unpack_from("<4I16s224s", device.content, at)
        assert unused == 0
        yield start, size, flags, fek, name.rstrip(b"\0")
        if flags & 2:
            return


# --- format -----------------------------------------------------------------------------------------------------


def test_the_key_of_the_device(store):
    """HMAC-SHA-256 over the CID without product revision and checksum, keyed with the hardware unique key."""
    store.put(b"x", b"y")
    known = CID[:9] + b"\0" + CID[10:15] + b"\0"
    assert store.rpmb.key == hmac.new(HUK, known, hashlib.sha256).digest()


def test_layout(store):
    store.put(b"\x01\xab", b"z" * 300)
    store.put(b"", b"short")
    content = store.rpmb.content
    assert struct.unpack_from("<4I112s", content) == (0x52504D42, 2, 0, 512, bytes(112))
    one, two, last = entries(store.rpmb)
    uuid = gp.uuid_to_memory(TA).hex().upper().encode()
    # The device's last block is never used; files lie as high as they fit.
    assert (one[:3], one[4]) == ((509 * 256, 300, 1), b"/%s/01AB" % uuid)
    assert (two[:3], two[4]) == ((508 * 256, 5, 1), b"/%s/" % uuid)
    assert last == (0, 0, 2, bytes(16), b"")
    assert b"zzzzzzzz" not in content
    assert content[509 * 256 : 510 * 256] != content[510 * 256 : 511 * 256], "each block for itself"


def test_the_board_writes_when_it_starts(store):
    """So that a write which was held back is not worth anything any more."""
    store.put(b"x", b"y")
    before = store.rpmb.counter
    again = RpmbStore(store.rpmb.copy())
    assert again.get(b"x") == b"y"
    assert again.rpmb.counter == before + 1


def test_another_version_is_left_alone(store):
    store.put(b"x", b"y")
    device = store.rpmb.copy()
    struct.pack_into("<I", device.content, 4, 3)
    assert code(RpmbStore(device).get, b"x") == gp.TEE_ERROR_ACCESS_DENIED
    assert struct.unpack_from("<II", device.content) == (0x52504D42, 3)


def test_room_is_given_from_above():
    pool = Pool(100)
    pool.take(0, 10 * 256)
    pool.take(90 * 256, 5 * 256)
    assert pool.alloc(5 * 256) == 95 * 256
    assert pool.alloc(5 * 256 + 1) == 84 * 256
    pool.take(95 * 256, 1)
    assert pool.alloc(4 * 256) == 96 * 256
    assert pool.alloc(80 * 256) == 10 * 256
    assert pool.alloc(80 * 256 + 1) is None
    for address, size in ((9 * 256, 512), (89 * 256, 512), (91 * 256, 1), (99 * 256, 512), (100 * 256, 1)):
        with pytest.raises(TeeError):
            pool.take(address, size)
    assert pool.allocated == 16


# --- operations -------------------------------------------------------------------------------------------------


def test_what_is_not_there_and_what_is(store):
    assert code(store.get, b"x") == NOT_FOUND
    assert code(store.fs.remove, store, store.pobj(b"x")) == NOT_FOUND
    assert code(store.fs.rename, store, store.pobj(b"x"), b"y") == NOT_FOUND
    store.put(b"x", b"1")
    store.put(b"y", b"2")
    assert code(store.put, b"x", b"3", overwrite=False) == CONFLICT
    assert code(store.fs.rename, store, store.pobj(b"x"), b"y") == CONFLICT
    assert code(store.fs.rename, store, store.pobj(b"x"), b"x") == CONFLICT
    assert store.all() == {b"x": b"1", b"y": b"2"}
    store.put(b"x", b"other", OTHER_TA)
    assert (store.all(), store.all(OTHER_TA)) == ({b"x": b"1", b"y": b"2"}, {b"x": b"other"})
    store.fs.rename(store, store.pobj(b"x"), b"z")
    assert store.all() == {b"z": b"1", b"y": b"2"}


def test_an_open_object_outlives_its_name(store):
    store.put(b"x", b"1")
    _, fh = store.fs.open(store, store.pobj(b"x"))
    store.fs.rename(store, store.pobj(b"x"), b"y")
    store.fs.write(store, fh, 1, b"2")
    assert store.get(b"y") == b"12"
    store.fs.remove(store, store.pobj(b"y"))
    store.put(b"z", b"in the same entry")
    assert code(store.fs.read, store, fh, 0, 1) == NOT_FOUND


def test_a_change_within_a_block_is_one_write(store):
    store.put(b"x", b"a" * 600)
    _, fh = store.fs.open(store, store.pobj(b"x"))
    place, before = next(entries(store.rpmb)), store.rpmb.counter
    store.fs.write(store, fh, 300, b"b" * 100)
    assert (next(entries(store.rpmb)), store.rpmb.counter) == (place, before + 1)
    store.fs.write(store, fh, 500, b"c" * 50)
    assert next(entries(store.rpmb))[0] != place[0]
    assert store.get(b"x") == b"a" * 300 + b"b" * 100 + b"a" * 100 + b"c" * 50 + b"a" * 50


def test_no_room(store):
    store.put(b"small", b"1")
    assert code(store.put, b"x", bytes(509 * 256)) == NO_SPACE
    store.put(b"x", bytes(400 * 256))
    assert code(store.put, b"x", bytes(200 * 256)) == NO_SPACE, "both must have room"
    _, fh = store.fs.open(store, store.pobj(b"small"))
    assert code(store.fs.write, store, fh, 1 << 30, b"1") == NO_SPACE
    assert code(store.fs.truncate, store, fh, 200 * 256) == gp.TEE_ERROR_OUT_OF_MEMORY
    assert code(store.fs.truncate, store, fh, 1 << 31) == gp.TEE_ERROR_BAD_PARAMETERS
    assert store.all() == {b"small": b"1", b"x": bytes(400 * 256)}
    assert sum(1 for e in entries(store.rpmb) if e[2] & 1) == 2, "nothing that was begun is left"


def test_the_table_and_the_files_meet(store):
    names = [str(n).encode() for n in range(300)]
    made = []
    for name in names:
        try:
            store.put(name, name)
        except TeeError as error:
            assert error.code in (NO_SPACE, gp.TEE_ERROR_OUT_OF_MEMORY)
            break
        made.append(name)
    assert 250 < len(made) < 256
    assert store.all() == {name: name for name in made}
    for name in made[::2]:
        store.fs.remove(store, store.pobj(name))
    store.put(b"more", b"x")
    assert len(store.all()) == len(made) // 2 + 1


def test_figures(store):
    assert store.fs.mem_stats(store) == (0, 511 * 256)
    store.put(b"x", bytes(257))
    store.put(b"y", b"")
    assert store.fs.mem_stats(store) == (512, 511 * 256)


def test_against_a_dictionary():
    """Random operations; what the file system says is what a dictionary says, also after a start."""
    for seed in range(8):
        rnd = random.Random(seed)
        store, model = RpmbStore(), {}
        for _ in range(60):
            name, data = (
                rnd.choice([b"", b"a", b"b", bytes(64)]),
                rnd.randbytes(rnd.choice([0, 1, 100, 256, 257, 1500])),
            )
            match rnd.choice(["put", "write", "truncate", "rename", "remove", "start"]):
                case "put":
                    store.put(name, data)
                    model[name] = data
                case "write" if name in model:
                    pos = rnd.randrange(2000)
                    _, fh = store.fs.open(store, store.pobj(name))
                    store.fs.write(store, fh, pos, data)
                    old = model[name]
                    if data:
                        model[name] = old[:pos].ljust(pos, b"\0") + data + old[pos + len(data) :]
                case "truncate" if name in model:
                    size = rnd.randrange(1000)
                    _, fh = store.fs.open(store, store.pobj(name))
                    store.fs.truncate(store, fh, size)
                    model[name] = model[name][:size].ljust(size, b"\0")
                case "rename" if name in model and b"new" not in model:
                    store.fs.rename(store, store.pobj(name), b"new")
                    model[b"new"] = model.pop(name)
                case "remove" if name in model:
                    store.fs.remove(store, store.pobj(name))
                    del model[name]
                case "start":
                    store = RpmbStore(store.rpmb.copy())
            assert store.all() == model


# --- the power goes ---------------------------------------------------------------------------------------------

WORK = {
    "create": lambda s: s.put(b"new", b"n" * 700),
    "replace": lambda s: s.put(b"old", b"n" * 700),
    "write": lambda s: s.fs.write(s, s.fs.open(s, s.pobj(b"old"))[1], 100, b"w" * 500),
    "write in place": lambda s: s.fs.write(s, s.fs.open(s, s.pobj(b"old"))[1], 10, b"w" * 20),
    "grow": lambda s: s.fs.truncate(s, s.fs.open(s, s.pobj(b"old"))[1], 900),
    "shrink": lambda s: s.fs.truncate(s, s.fs.open(s, s.pobj(b"old"))[1], 5),
    "rename": lambda s: s.fs.rename(s, s.pobj(b"old"), b"new"),
    "remove": lambda s: s.fs.remove(s, s.pobj(b"old")),
}


@pytest.mark.parametrize("work", WORK)
def test_the_power_goes_at_any_request(work):
    """Before and after each request to the device: the next start finds the state before or after, and no more."""
    first = RpmbStore()
    first.put(b"old", b"o" * 600)
    first.put(b"other", b"x" * 100)
    before = first.all()
    done = RpmbStore(first.rpmb.copy())
    WORK[work](done)
    after, free = done.all(), {first.fs.mem_stats(first), done.fs.mem_stats(done)}
    for when, number in itertools.product(("stop_before", "stop_after"), range(100)):
        store = RpmbStore(first.rpmb.copy())
        setattr(store.rpmb, when, number)
        try:
            WORK[work](store)
        except PowerCut:
            pass
        else:
            assert number > 3
            break
        again = RpmbStore(store.rpmb.copy())
        found = again.all()
        assert found in (before, after)
        assert again.fs.mem_stats(again) in free, "no blocks are lost"
        assert sum(e[2] & 1 for e in entries(again.rpmb)) == len(found)


def test_the_power_goes_while_the_file_system_is_made():
    for when, number in itertools.product(("stop_before", "stop_after"), range(20)):
        store = RpmbStore()
        setattr(store.rpmb, when, number)
        with contextlib.suppress(PowerCut):
            store.fs.mem_stats(store)
        again = RpmbStore(store.rpmb.copy())
        again.put(b"x", b"y")
        assert again.all() == {b"x": b"y"}


# --- a hostile normal world -------------------------------------------------------------------------------------


def ready(**tamper):
    store = RpmbStore()
    store.put(b"x", b"y" * 1000)
    _, fh = store.fs.open(store, store.pobj(b"x"))
    return store, fh


def test_every_octet_of_an_answer_counts():
    store, fh = ready()
    real = store.rpmb

    def flip(at):
        def tamper(kind, answer):
            spoilt = bytearray(answer)
            spoilt[at % len(spoilt)] ^= 0x40
            return bytes(spoilt)

        return tamper

    for at in [*range(196, 512), *range(512 + 228, 1024, 37), -1, -100, -512 + 200]:
        real.tamper = flip(at)
        try:
            data = store.fs.read(store, fh, 0, 1000)
        except TeeError as error:
            assert error.code in (SECURITY, GENERIC, NOT_FOUND)
        else:
            pytest.fail(f"octet {at} does not count: {data[:10]!r}")
    real.tamper = None
    assert store.fs.read(store, fh, 0, 1000) == b"y" * 1000


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (lambda kind, answer: b"", GENERIC),
        (lambda kind, answer: answer[:-1], GENERIC),
        (lambda kind, answer: answer + answer, GENERIC),
        (lambda kind, answer: bytes(len(answer)), GENERIC),
        (lambda kind, answer: b"\xff" * len(answer), GENERIC),
    ],
)
def test_answers_that_are_none(what, expected, caplog):
    store, fh = ready()
    store.rpmb.tamper = what
    assert code(store.fs.read, store, fh, 0, 1) == expected
    assert code(store.fs.write, store, fh, 0, b"1") == expected, "it begins with reading"


def test_an_old_answer_again():
    store, fh = ready()
    old = []
    store.rpmb.tamper = lambda kind, answer: old.append(answer) or answer
    store.fs.read(store, fh, 0, 1000)
    replay = iter(old)
    store.rpmb.tamper = lambda kind, answer: next(replay)
    assert code(store.fs.read, store, fh, 0, 1000) == SECURITY, "another nonce"


def test_a_block_from_elsewhere():
    store, fh = ready()
    device = store.rpmb
    real = device._answer

    def elsewhere(request, count):
        moved = request[:504] + (int.from_bytes(request[504:506], "big") + 1).to_bytes(2, "big") + request[506:]
        return real(moved, count)

    device._answer = elsewhere
    assert code(store.fs.read, store, fh, 0, 10) == GENERIC


def test_a_write_whose_answer_never_comes(caplog):
    """Ten times the same request; then nobody knows, and nothing works until the next start."""
    store, fh = ready()
    store.rpmb.tamper = lambda kind, answer: bytes(len(answer)) if kind == WRITE else answer
    store.rpmb.seen.clear()
    assert code(store.fs.write, store, fh, 0, b"1") == COMMUNICATION
    writes = [raw for raw in store.rpmb.seen if raw[511] == WRITE]
    assert len(writes) == 10
    assert len(set(writes)) == 1, "no second request that could be used later"
    store.rpmb.tamper = None
    assert code(store.fs.read, store, fh, 0, 1) == COMMUNICATION
    assert "try 10" in caplog.text
    assert RpmbStore(store.rpmb.copy()).get(b"x") in (b"1" + b"y" * 999, b"y" * 1000)


def test_a_write_that_is_done_at_the_second_try():
    store, fh = ready()
    lost = iter([True, False])
    real = store.rpmb._answer

    def sometimes(request, count):
        if request[511] == WRITE and next(lost, False):
            return bytes(512)
        return real(request, count)

    store.rpmb._answer = sometimes
    store.fs.write(store, fh, 0, b"1")
    assert store.get(b"x")[:2] == b"1y"


def test_a_wrong_counter_in_a_signed_answer():
    store, fh = ready()
    device = store.rpmb

    def ahead(kind, answer):
        if kind != WRITE:
            return answer
        return device._signed(
            [frame(0x300, 0, b"", b"", device.counter + 1, int.from_bytes(answer[504:506], "big"), 0)]
        )

    device.tamper = ahead
    assert code(store.fs.write, store, fh, 0, b"1") == COMMUNICATION


def test_a_device_of_another_board(store, caplog):
    store.put(b"x", b"y")
    other = RpmbStore(store.rpmb.copy(), huk=bytes(16))
    assert code(other.get, b"x") == SECURITY
    assert "another board" in caplog.text
    assert code(other.put, b"x", b"z") == SECURITY


def test_the_key_is_programmed_only_if_it_may_be():
    store = RpmbStore(write_key=False)
    assert code(store.get, b"x") == NOT_AVAILABLE
    assert store.rpmb.key is None
    assert all(raw[511] == COUNTER for raw in store.rpmb.seen)


def test_by_the_kernel():
    first = RpmbStore()
    first.put(b"x", b"y")
    device = first.rpmb.copy()
    device.kernel = True
    store = RpmbStore(device, write_key=False)
    assert store.get(b"x") == b"y"
    fresh = RpmbStore(MemoryRpmb(kernel=True), write_key=False)
    assert code(fresh.get, b"x") == NOT_FOUND, "no device with our key"


@pytest.mark.parametrize("info", [b"", bytes(19), bytes(18), CID + b"\1\1\1", CID + b"\xff\1\0", CID + b"\0\1\0"])
def test_device_information_that_cannot_be(info):
    store = RpmbStore()
    store.rpmb.dev_info = lambda: info
    assert code(store.get, b"x") in (GENERIC, gp.TEE_ERROR_BAD_PARAMETERS)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_the_normal_world_answers(data):
    """TeeError, or what is right."""
    store, fh = ready()

    def any_answer(kind, answer):
        spoil = data.draw(
            st.one_of(st.none(), st.binary(max_size=600), st.tuples(st.integers(0), st.binary(max_size=20)))
        )
        if spoil is None:
            return answer
        if isinstance(spoil, bytes):
            return spoil
        at, octets = spoil
        at %= len(answer)
        return (answer[:at] + octets + answer[at + len(octets) :])[: len(answer)]

    store.rpmb.tamper = any_answer
    try:
        assert store.fs.read(store, fh, 0, 1000) == b"y" * 1000
        store.fs.write(store, fh, 0, b"1")
        assert store.get(b"x") == b"1" + b"y" * 999
    except TeeError:
        pass


@settings(max_examples=150, deadline=None)
@given(st.binary(min_size=2048, max_size=2048), st.booleans())
def test_any_table(raw, headed):
    """Whatever is in the blocks, from a board with our key."""
    store, _ = ready()
    device = store.rpmb.copy()
    begin = 512 if headed else 0
    device.content[begin : begin + len(raw)] = raw
    again = RpmbStore(device)
    for call in (lambda: again.all(), lambda: again.put(b"n", b"x" * 600), lambda: again.fs.mem_stats(again)):
        with contextlib.suppress(TeeError):
            call()


def test_pobj_is_complete_after_create(store):
    po = Pobj(store.fs, TA, b"x")
    po.temporary = True
    fh = store.fs.create(store, po, False, b"head", b"attr", b"data")
    assert not po.temporary
    assert store.fs.read(store, fh, 4, 100) == b"attrdata"


def test_reads_are_one_request(store):
    store.put(b"x", bytes(2560))
    _, fh = store.fs.open(store, store.pobj(b"x"))
    store.rpmb.seen.clear()
    store.fs.read(store, fh, 0, 2560)
    assert [raw[511] for raw in store.rpmb.seen] == [READ, READ]
