"""System calls on persistent objects over a file system in memory: order of checks, results, what is left behind."""

import struct
from collections.abc import Iterator

import pytest
from core_fakes import A, B, FakeThread, TaRoom, fake_engines
from storage_fakes import (
    ALL,
    BUF,
    CODE,
    DATA,
    ID,
    LEN,
    META,
    OUT,
    OVERWRITE,
    PRIVATE,
    READ,
    REE,
    RPMB,
    SHARE_READ,
    SHARE_WRITE,
    WRITE,
    MemoryFs,
    StorageTa,
    storage_room,
)

from optemu.abi import cryp, gp
from optemu.abi import obj as abi
from optemu.abi.ta_head import TA_FLAG_DONT_CLOSE_HANDLE_ON_CORRUPT_OBJECT
from optemu.secure_world.core.tee_obj import TeeObj
from optemu.secure_world.syscalls.storage_data import OBJECT_DATA_MAX
from optemu.secure_world.syscalls.storage_enum import STORAGE_ENUMS_MAX

BAD, STATE, NOT_FOUND = gp.TEE_ERROR_BAD_PARAMETERS, gp.TEE_ERROR_BAD_STATE, gp.TEE_ERROR_ITEM_NOT_FOUND
CONFLICT, CORRUPT, DENIED = gp.TEE_ERROR_ACCESS_CONFLICT, gp.TEE_ERROR_CORRUPT_OBJECT, gp.TEE_ERROR_ACCESS_DENIED
OVERFLOW, NO_SPACE, GENERIC = gp.TEE_ERROR_OVERFLOW, gp.TEE_ERROR_STORAGE_NO_SPACE, gp.TEE_ERROR_GENERIC
UNMAPPED = 0x1000
HEAD = struct.Struct("<6I")


@pytest.fixture
def fs() -> MemoryFs:
    return MemoryFs()


@pytest.fixture
def room(fs: MemoryFs) -> Iterator[TaRoom]:
    with fake_engines():
        room = storage_room(TaRoom(), fs)
        yield room
        for ctx in room.tas.made:
            if ctx.instance is not None:
                ctx.release_state(FakeThread(room.threads))  # type: ignore[arg-type]
        assert not room.tee.storage.pobjs, "an object stays open"
        assert not fs.open_files, "a file stays open"
        assert not fs.open_directories, "a directory stays open"


@pytest.fixture
def ta(room: TaRoom) -> StorageTa:
    return StorageTa(room, A)


def head(*fields: int) -> bytes:
    return HEAD.pack(*fields)


# --- create and open ----------------------------------------------------------------------------------------------


def test_what_is_created_is_read_back(ta: StorageTa, fs: MemoryFs) -> None:
    ret, handle = ta.create(b"id", b"contents")
    assert ret == 0
    assert fs.files == {(A, b"id"): head(0, 0, 0, 0xFFFFFFFF, cryp.TEE_TYPE_DATA, 0) + b"contents"}
    assert ta.read(handle, 100) == b"contents"
    ta.close(handle)
    ret, handle = ta.open()
    assert ret == 0
    o = ta.ctx.objs[handle]
    assert (o.object_type, o.data_size, o.ds_pos) == (cryp.TEE_TYPE_DATA, 8, 0)
    assert o.handle_flags == ALL | abi.TEE_HANDLE_FLAG_PERSISTENT | abi.TEE_HANDLE_FLAG_INITIALIZED
    assert ta.read(handle, 4) == b"cont"
    assert ta.read(handle, 100) == b"ents"
    assert ta.read(handle, 100) == b""


@pytest.mark.parametrize("size", [0, 1, 64])
def test_identifiers_of_every_length(ta: StorageTa, size: int) -> None:
    obj_id = bytes(range(size))
    ret, handle = ta.create(obj_id, b"x")
    assert ret == 0
    ta.close(handle)
    assert ta.open(obj_id)[0] == 0


def test_the_order_of_checks_at_open(ta: StorageTa) -> None:
    wrong = (0x99, UNMAPPED, 65, 1 << 40, UNMAPPED)
    assert ta("storage_obj_open", *wrong) == BAD, "flags"
    assert ta("storage_obj_open", *wrong[:3], OVERWRITE, UNMAPPED) == BAD, "flags"
    assert ta("storage_obj_open", *wrong[:3], READ, UNMAPPED) == NOT_FOUND, "storage"
    assert ta("storage_obj_open", PRIVATE, UNMAPPED, 65, READ, UNMAPPED) == BAD, "length"
    assert ta("storage_obj_open", PRIVATE, UNMAPPED, 64, READ, UNMAPPED) == DENIED, "identifier"
    assert ta("storage_obj_open", PRIVATE, ta.put(ID, b"id"), 2, READ, UNMAPPED) == NOT_FOUND, "object"
    ta.close(ta.create()[1])
    assert ta("storage_obj_open", PRIVATE, ID, 2, READ, CODE) == DENIED, "handle"


def test_the_order_of_checks_at_creation(ta: StorageTa, fs: MemoryFs) -> None:
    bad_handle = 0xBAD
    wrong = (0x99, UNMAPPED, 65, 1 << 40, bad_handle, 0, 1, UNMAPPED)
    assert ta("storage_obj_create", *wrong) == BAD, "flags"
    assert ta("storage_obj_create", *wrong[:3], ALL | OVERWRITE, *wrong[4:]) == NOT_FOUND, "storage"
    assert ta("storage_obj_create", PRIVATE, UNMAPPED, 65, ALL, *wrong[4:]) == BAD, "length"
    assert ta("storage_obj_create", PRIVATE, UNMAPPED, 64, ALL, *wrong[4:]) == BAD, "data"
    assert ta("storage_obj_create", PRIVATE, UNMAPPED, 64, ALL, bad_handle, BUF, 1, UNMAPPED) == DENIED, "identifier"
    at = ta.put(ID, b"id")
    assert ta("storage_obj_create", PRIVATE, at, 2, ALL, bad_handle, BUF, 1, UNMAPPED) == STATE, "attributes"
    assert ta("storage_obj_create", PRIVATE, at, 2, ALL, 0, UNMAPPED, 1, UNMAPPED) == DENIED, "contents"
    assert not fs.files
    assert ta("storage_obj_create", PRIVATE, at, 2, ALL, 0, BUF, 1, CODE) == DENIED, "handle"
    assert not ta.ctx.objs


def test_storage_ids(room: TaRoom) -> None:
    ree, rpmb = MemoryFs(), MemoryFs()
    storage_room(room, ree, rpmb)
    ta = StorageTa(room, A)
    for storage in (PRIVATE, REE, RPMB, REE | 1 << 32):
        assert ta.create(str(storage).encode(), storage=storage)[0] == 0
    assert [obj_id for _, obj_id in ree.files] == [str(s).encode() for s in (PRIVATE, REE, REE | 1 << 32)]
    assert [obj_id for _, obj_id in rpmb.files] == [str(RPMB).encode()]
    storage_room(room, None, rpmb)
    assert ta.create(storage=PRIVATE)[0] == 0, "the only one there is"
    assert ta.create(storage=REE)[0] == NOT_FOUND
    ta.room.tee.storage = storage_room(room, MemoryFs()).tee.storage
    assert ta.create(storage=RPMB)[0] == NOT_FOUND
    ta.ctx.objs.clear()


def test_two_tas_have_each_their_own(room: TaRoom) -> None:
    a, b = StorageTa(room, A), StorageTa(room, B)
    assert a.create(b"id", b"a")[0] == 0
    assert b.open()[0] == NOT_FOUND
    assert b.create(b"id", b"b")[0] == 0


def test_creating_over_another(ta: StorageTa) -> None:
    ret, handle = ta.create(b"id", b"first")
    assert ta.create(b"id", b"second")[0] == CONFLICT, "open"
    assert ta.create(b"id", b"second", ALL | OVERWRITE)[0] == CONFLICT, "open, with access to its metadata"
    ta.close(handle)
    assert ta.create(b"id", b"second")[0] == CONFLICT, "not open, but there"
    ret, handle = ta.create(b"id", b"second", ALL | OVERWRITE)
    assert ret == 0
    assert ta.read(handle, 10) == b"second"


def test_creating_over_one_that_is_open_and_shared(ta: StorageTa) -> None:
    flags = READ | SHARE_READ
    _, old = ta.create(b"id", b"first", flags)
    ret, new = ta.create(b"id", b"second", flags | OVERWRITE)
    assert ret == 0
    assert ta.read(new, 10) == b"second"
    assert ta.ctx.objs[old].pobj is ta.ctx.objs[new].pobj


def test_without_a_place_for_the_handle_the_object_is_closed(ta: StorageTa) -> None:
    at = ta.put(ID, b"id")
    assert ta("storage_obj_create", PRIVATE, at, 2, ALL, 0, 0, 0, 0) == 0
    assert not ta.ctx.objs
    assert ta.open()[0] == 0


def test_a_creation_that_fails_leaves_nothing(ta: StorageTa, fs: MemoryFs) -> None:
    for code, told in ((NO_SPACE, NO_SPACE), (gp.TEE_ERROR_BAD_FORMAT, CORRUPT), (gp.TEE_ERROR_NO_DATA, CORRUPT)):
        fs.fails = {"create": code}
        assert ta.create()[0] == told
    fs.fails = {}
    assert not ta.ctx.objs
    assert not ta.tee.storage.pobjs
    assert ta.create()[0] == 0


# --- attributes of another object -----------------------------------------------------------------------------------


def transient(ta: StorageTa, initialized: bool = True) -> TeeObj:
    o = TeeObj(cryp.TEE_TYPE_DATA)
    o.usage = cryp.TEE_USAGE_SIGN
    o.handle_flags = abi.TEE_HANDLE_FLAG_INITIALIZED if initialized else 0
    ta.ctx.objs.add(o.handle, o)
    return o


def test_a_transient_object_lends_its_attributes(ta: StorageTa, fs: MemoryFs) -> None:
    o = transient(ta)
    ret, handle = ta.create(attr=o.handle, data=b"d")
    assert ret == 0
    assert fs.files[A, b"id"] == head(0, 0, 0, cryp.TEE_USAGE_SIGN, cryp.TEE_TYPE_DATA, 0) + b"d"
    assert ta.ctx.objs[handle] is not o
    assert not o.handle_flags & abi.TEE_HANDLE_FLAG_PERSISTENT
    ta.close(handle)
    ta.open()
    assert next(iter(ta.tee.storage.pobjs._open.values())).usage == cryp.TEE_USAGE_SIGN


def test_a_transient_object_becomes_a_persistent_one(ta: StorageTa, fs: MemoryFs) -> None:
    o = transient(ta)
    at = ta.put(ID, b"id")
    assert ta("storage_obj_create", PRIVATE, at, 2, READ | SHARE_READ, o.handle, ta.put(BUF, b"data"), 4, 0) == 0
    assert ta.ctx.objs == {o.handle: o}
    assert ta.read(o.handle, 10) == b"data"
    assert o.usage == 0
    assert o.pobj is not None
    assert o.pobj.usage == cryp.TEE_USAGE_SIGN
    assert ta.open(b"id", READ | SHARE_READ)[0] == CONFLICT, "as upstream: created, as far as others go, at its close"


def test_a_transient_object_stays_one_when_that_fails(ta: StorageTa, fs: MemoryFs) -> None:
    o = transient(ta)
    fs.fails = {"create": NO_SPACE}
    assert ta("storage_obj_create", PRIVATE, ta.put(ID, b"id"), 2, ALL, o.handle, 0, 0, 0) == NO_SPACE
    assert (o.pobj, o.handle_flags, o.usage) == (None, abi.TEE_HANDLE_FLAG_INITIALIZED, cryp.TEE_USAGE_SIGN)
    assert ta.create(attr=transient(ta, initialized=False).handle)[0] == BAD


# --- sharing -------------------------------------------------------------------------------------------------------


R, W, RW = READ | SHARE_READ, WRITE | SHARE_WRITE, READ | WRITE | SHARE_READ | SHARE_WRITE


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        (R, R, 0),
        (W, W, 0),
        (RW, RW, 0),
        (SHARE_READ, R, 0),
        (0, 0, 0),
        (READ, READ, CONFLICT),
        (R, READ, CONFLICT),
        (WRITE, WRITE, CONFLICT),
        (R, W, CONFLICT),
        (R, RW, CONFLICT),
        (SHARE_READ, RW, CONFLICT),
        (0, READ, CONFLICT),
        (0, SHARE_READ, CONFLICT),
        (META, 0, CONFLICT),
        (META | R, META | R, CONFLICT),
    ],
)
def test_sharing(room: TaRoom, first: int, second: int, result: int) -> None:
    ta, other = StorageTa(room, A), StorageTa(room, A)
    ta.close(ta.create()[1])
    assert ta.open(b"id", first)[0] == 0
    assert other.open(b"id", second)[0] == result
    assert other.open(b"id", second)[0] == result, "again"


def test_others_cannot_open_what_is_being_created(room: TaRoom, fs: MemoryFs) -> None:
    ta, other = StorageTa(room, A), StorageTa(room, A)
    results = []

    def meanwhile(ree: object) -> None:
        fs.pause = lambda ree: None
        results.append(other.open(b"id", R)[0])

    fs.pause = meanwhile
    assert ta.create(b"id", b"", R)[0] == 0
    assert results == [CONFLICT]
    assert other.open(b"id", R)[0] == 0


# --- the data stream -----------------------------------------------------------------------------------------------


def test_writing_beyond_the_end_fills_with_zeros(ta: StorageTa, fs: MemoryFs) -> None:
    _, handle = ta.create(b"id", b"ab")
    assert ta.seek(handle, 4) == 0
    assert ta.write(handle, b"cd") == 0
    assert ta.seek(handle, 0) == 0
    assert ta.read(handle, 100) == b"ab\0\0cd"
    assert ta.ctx.objs[handle].data_size == 6
    assert ta("storage_obj_write", handle, 0, 3) == 0, "no address: zeros"
    assert fs.files[A, b"id"][24:] == b"ab\0\0cd\0\0\0"


def test_truncation(ta: StorageTa, fs: MemoryFs) -> None:
    _, handle = ta.create(b"id", b"abcdef")
    assert ta("storage_obj_trunc", handle, 2) == 0
    assert fs.files[A, b"id"][24:] == b"ab"
    assert ta("storage_obj_trunc", handle, 4) == 0
    assert ta.read(handle, 10) == b"ab\0\0"
    assert ta("storage_obj_trunc", handle, (1 << 64) - 1) == OVERFLOW
    assert ta("storage_obj_trunc", handle, (1 << 64) - 100) == GENERIC
    assert ta("storage_obj_trunc", handle, OBJECT_DATA_MAX + 1) == GENERIC, "what upstream makes of a full disk"
    fs.fails = {"truncate": NO_SPACE}
    assert ta("storage_obj_trunc", handle, 1) == GENERIC
    assert ta.ctx.objs[handle].data_size == 4


SET, CUR, END = abi.TEE_DATA_SEEK_SET, abi.TEE_DATA_SEEK_CUR, abi.TEE_DATA_SEEK_END


@pytest.mark.parametrize(
    ("start", "offset", "whence", "result", "position"),
    [
        (0, 5, SET, 0, 5),
        (0, 500, SET, 0, 500),
        (5, -5, SET, 0, 0),
        (5, 3, CUR, 0, 8),
        (5, -3, CUR, 0, 2),
        (5, -8, CUR, 0, 0),
        (0, 0, END, 0, 10),
        (0, -4, END, 0, 6),
        (0, 4, END, 0, 14),
        (0, -0x80000000, END, 0, 0),
        (0, 0x7FFFFFFF, SET, 0, 0x7FFFFFFF),
        (5, 0, 3, BAD, 5),
        (0x7FFFFFFF, 0x7FFFFFFF, CUR, 0, 0xFFFFFFFE),
        (0xFFFFFFFE, 1, CUR, 0, 0xFFFFFFFF),
        (0xFFFFFFFF, 1, CUR, BAD, 0xFFFFFFFF),
        (0xFFFFFFFE, 2, CUR, BAD, 0xFFFFFFFE),
    ],
)
def test_seeking(ta: StorageTa, start: int, offset: int, whence: int, result: int, position: int) -> None:
    _, handle = ta.create(b"id", bytes(10))
    o = ta.ctx.objs[handle]
    o.ds_pos = start
    assert ta.seek(handle, offset, whence) == result
    assert o.ds_pos == position


def test_far_beyond_the_end(ta: StorageTa) -> None:
    _, handle = ta.create(b"id", b"ab")
    o = ta.ctx.objs[handle]
    o.ds_pos = 0xFFFFFFFF
    assert ta.read(handle, 10) == b""
    assert ta.write(handle, b"x") == NO_SPACE
    assert ta.write(handle, b"") == 0
    assert ta("storage_obj_write", handle, BUF, (1 << 64) - 1) == OVERFLOW
    assert ta("storage_obj_read", handle, BUF, (1 << 64) - 1, LEN) == OVERFLOW
    o.ds_pos = 0
    assert ta("storage_obj_read", handle, BUF, (1 << 64) - 1, LEN) == 0, "there are two"
    assert ta.number(LEN, 8) == 2
    assert ta("storage_obj_write", handle, BUF, (1 << 64) - 100) == NO_SPACE
    assert ta("storage_obj_write", handle, BUF, 1 << 20) == DENIED


def test_memory_that_is_not_the_tas(ta: StorageTa) -> None:
    _, handle = ta.create(b"id", b"abcd")
    assert ta("storage_obj_read", handle, UNMAPPED, 2, LEN) == DENIED
    assert ta("storage_obj_read", handle, CODE, 2, LEN) == DENIED
    assert ta.ctx.objs[handle].ds_pos == 0
    assert ta("storage_obj_read", handle, BUF, 2, UNMAPPED) == DENIED
    assert ta.ctx.objs[handle].ds_pos == 2, "as upstream"
    assert ta("storage_obj_read", handle, 0, 1, LEN) == 0, "read, and put nowhere"
    assert ta("storage_obj_write", handle, UNMAPPED, 2) == DENIED


@pytest.mark.parametrize("call", ["storage_obj_read", "storage_obj_write", "storage_obj_trunc", "storage_obj_seek"])
def test_a_data_stream_is_a_persistent_objects(ta: StorageTa, call: str) -> None:
    assert ta(call, transient(ta).handle, BUF, 0, LEN) == STATE
    assert ta(call, 0xBAD, BUF, 0, LEN) == STATE


def test_access(ta: StorageTa) -> None:
    _, handle = ta.create(b"id", b"ab", META)
    assert ta("storage_obj_read", handle, BUF, 1, LEN) == CONFLICT
    assert ta("storage_obj_write", handle, BUF, 1) == CONFLICT
    assert ta("storage_obj_trunc", handle, 0) == CONFLICT
    ta.close(handle)
    _, handle = ta.open(b"id", READ | WRITE)
    assert ta("storage_obj_del", handle) == CONFLICT
    assert ta("storage_obj_rename", handle, ID, 2) == STATE


# --- delete, rename ------------------------------------------------------------------------------------------------


def test_delete(ta: StorageTa, fs: MemoryFs) -> None:
    _, handle = ta.create()
    assert ta("storage_obj_del", handle) == 0
    assert not fs.files
    assert ta("storage_obj_del", handle) == STATE, "closed"
    _, handle = ta.create()
    fs.fails = {"remove": NO_SPACE}
    assert ta("storage_obj_del", handle) == NO_SPACE
    assert not ta.ctx.objs, "closed all the same"
    o = transient(ta)
    assert ta("storage_obj_del", o.handle) == CONFLICT


def test_rename(ta: StorageTa, fs: MemoryFs) -> None:
    _, handle = ta.create(b"id", b"x")
    ta.close(ta.create(b"other")[1])
    assert ta("storage_obj_rename", handle, UNMAPPED, 65) == BAD
    assert ta("storage_obj_rename", 0xBAD, UNMAPPED, 2) == STATE
    assert ta("storage_obj_rename", handle, UNMAPPED, 2) == DENIED
    assert ta("storage_obj_rename", handle, ta.put(ID, b"other"), 5) == CONFLICT, "there"
    assert ta("storage_obj_rename", handle, ta.put(ID, b"id"), 2) == CONFLICT, "its own"
    assert ta("storage_obj_rename", handle, ta.put(ID, b"new"), 3) == 0
    assert set(fs.files) == {(A, b"new"), (A, b"other")}
    assert ta.open(b"new")[0] == CONFLICT, "it is open by its new name"
    assert ta.open(b"id")[0] == NOT_FOUND
    assert ta("storage_obj_rename", handle, ta.put(ID, b"id"), 2) == 0
    assert ta.open(b"new")[0] == NOT_FOUND


# --- damage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "octets",
    [b"", b"short", head(1, 0, 0, 0, cryp.TEE_TYPE_DATA, 0), head(0xFFFFFFFF, 0, 0, 0, cryp.TEE_TYPE_DATA, 0) + b"x"],
)
def test_a_file_that_is_no_object_is_removed(ta: StorageTa, fs: MemoryFs, octets: bytes) -> None:
    fs.files[A, b"id"] = bytearray(octets)
    assert ta.open()[0] == CORRUPT
    assert not fs.files
    assert not ta.ctx.objs


def test_a_file_of_an_unknown_type_is_kept(ta: StorageTa, fs: MemoryFs) -> None:
    fs.files[A, b"id"] = bytearray(head(0, 0, 0, 0, 0x12345678, 0))
    assert ta.open()[0] == gp.TEE_ERROR_NOT_SUPPORTED
    assert fs.files
    assert not ta.ctx.objs


@pytest.mark.parametrize("told", [gp.TEE_ERROR_NO_DATA, gp.TEE_ERROR_BAD_FORMAT])
def test_a_file_that_cannot_be_read_is_reported_and_kept(ta: StorageTa, fs: MemoryFs, told: int) -> None:
    ta.close(ta.create()[1])
    fs.fails = {"read": told}
    assert ta.open()[0] == CORRUPT
    assert fs.files


@pytest.mark.parametrize("call", ["read", "write", "truncate"])
@pytest.mark.parametrize("keep", [False, True])
def test_damage_that_shows_later(room: TaRoom, fs: MemoryFs, call: str, keep: bool) -> None:
    ta = StorageTa(room, A, TA_FLAG_DONT_CLOSE_HANDLE_ON_CORRUPT_OBJECT if keep else 0)
    _, handle = ta.create(b"id", b"abcd")
    fs.fails = {call: CORRUPT}
    calls = {
        "read": lambda: ta("storage_obj_read", handle, BUF, 4, LEN),
        "write": lambda: ta("storage_obj_write", handle, BUF, 4),
        "truncate": lambda: ta("storage_obj_trunc", handle, 0),
    }
    assert calls[call]() == CORRUPT
    assert not fs.files, "removed"
    assert (handle in ta.ctx.objs) is keep


# --- enumerators ---------------------------------------------------------------------------------------------------


def allocate(ta: StorageTa) -> int:
    assert ta("storage_alloc_enum", OUT) == 0
    return ta.number(OUT)


def names(ta: StorageTa, enum: int) -> list[bytes]:
    found = []
    while (ret := ta("storage_next_enum", enum, BUF, ID, LEN)) == 0:
        found.append(ta.peek(ID, ta.number(LEN, 8)))
    assert ret == NOT_FOUND
    return found


def test_enumerating(ta: StorageTa, room: TaRoom) -> None:
    other = StorageTa(room, B)
    other.create(b"not this one")
    ids = [b"first", b"", b"\0" * 64]
    for n, obj_id in enumerate(ids):
        ta.close(ta.create(obj_id, bytes(n))[1])
    enum = allocate(ta)
    assert ta("storage_next_enum", enum, BUF, ID, LEN) == NOT_FOUND, "not started"
    assert ta("storage_start_enum", enum, PRIVATE) == 0
    assert names(ta, enum) == ids
    assert names(ta, enum) == []
    assert ta("storage_start_enum", enum, PRIVATE) == 0
    assert ta("storage_next_enum", enum, BUF, ID, LEN) == 0
    assert ta("storage_reset_enum", enum) == 0
    assert ta("storage_next_enum", enum, BUF, ID, LEN) == NOT_FOUND
    assert ta("storage_start_enum", enum, PRIVATE) == 0
    assert names(ta, enum) == ids
    assert ta("storage_free_enum", enum) == 0
    assert ta("storage_next_enum", enum, BUF, ID, LEN) == BAD


def test_what_an_enumerator_tells(ta: StorageTa) -> None:
    _, handle = ta.create(b"id", b"abc", READ | SHARE_READ)
    ta.read(handle, 2)
    enum = allocate(ta)
    ta("storage_start_enum", enum, PRIVATE)
    assert ta("storage_next_enum", enum, BUF, ID, LEN) == 0
    flags = READ | SHARE_READ | abi.TEE_HANDLE_FLAG_PERSISTENT | abi.TEE_HANDLE_FLAG_INITIALIZED
    told = struct.unpack("<7I", ta.peek(BUF, 28))
    assert told == (cryp.TEE_TYPE_DATA, 0, 0, 0xFFFFFFFF, 3, 0, flags)
    assert ta.read(handle, 2) == b"c", "the one that is open is as it was"


def test_enumerating_nothing(ta: StorageTa) -> None:
    enum = allocate(ta)
    assert ta("storage_start_enum", enum, PRIVATE) == NOT_FOUND
    assert ta("storage_next_enum", enum, BUF, ID, LEN) == NOT_FOUND
    assert ta("storage_start_enum", enum, RPMB) == NOT_FOUND
    for call in ("free", "reset", "start", "next"):
        assert ta(f"storage_{call}_enum", 0xBAD, BUF, ID, LEN) == BAD


def test_what_goes_while_it_is_enumerated_is_left_out(ta: StorageTa) -> None:
    handles = [ta.create(bytes([n]))[1] for n in range(4)]
    enum = allocate(ta)
    ta("storage_start_enum", enum, PRIVATE)
    for n in (0, 2):
        ta("storage_obj_del", handles[n])
    assert names(ta, enum) == [b"\1", b"\3"]


def test_memory_for_what_an_enumerator_tells(ta: StorageTa) -> None:
    ta.create()
    enum = allocate(ta)
    ta("storage_start_enum", enum, PRIVATE)
    assert ta("storage_alloc_enum", 0) == BAD
    assert ta("storage_alloc_enum", CODE) == DENIED
    assert ta("storage_next_enum", enum, UNMAPPED, ID, LEN) == DENIED
    assert ta("storage_next_enum", enum, BUF, DATA + 0x1000 - 63, LEN) == DENIED, "room for the longest"
    assert ta("storage_next_enum", enum, BUF, ID, LEN) == 0, "nothing was taken by those"


def test_a_damaged_object_is_told_of_and_the_next_comes(ta: StorageTa, fs: MemoryFs) -> None:
    ta.close(ta.create(b"sound")[1])
    fs.files = {(A, b"broken"): bytearray(b"x"), **fs.files}
    enum = allocate(ta)
    ta("storage_start_enum", enum, PRIVATE)
    assert ta("storage_next_enum", enum, BUF, ID, LEN) == CORRUPT
    assert names(ta, enum) == [b"sound"]
    assert (A, b"broken") in fs.files


def test_enumerators_are_bounded_and_go_with_the_ta(ta: StorageTa) -> None:
    ta.create()
    for _ in range(STORAGE_ENUMS_MAX):
        assert ta("storage_start_enum", allocate(ta), PRIVATE) == 0
    assert ta("storage_alloc_enum", OUT) == gp.TEE_ERROR_OUT_OF_MEMORY
    ta.ctx.release_state(ta.thread)  # type: ignore[arg-type]
    assert not ta.ctx.storage_enums
    assert not ta.tee.storage.pobjs


def test_a_directory_is_open_as_long_as_it_is_listed(ta: StorageTa, fs: MemoryFs) -> None:
    """Until the end, or until the enumerator is reset, started again, freed, or its TA gone."""
    for n in range(2):
        ta.close(ta.create(bytes([n]))[1])
    enum, other = allocate(ta), allocate(ta)
    ends = {
        "end": lambda: names(ta, enum),
        "reset": lambda: ta("storage_reset_enum", enum),
        "again": lambda: ta("storage_start_enum", enum, RPMB),
        "free": lambda: ta("storage_free_enum", enum),
        "gone": lambda: ta.ctx.release_state(ta.thread),  # type: ignore[arg-type]
    }
    for how, end in ends.items():
        enum = allocate(ta)
        for _ in range(2):
            assert ta("storage_start_enum", enum, PRIVATE) == 0
            assert fs.open_directories == 1
        assert ta("storage_next_enum", enum, BUF, ID, LEN) == 0
        assert fs.open_directories == 1
        if how == "gone":
            assert ta("storage_start_enum", other, PRIVATE) == 0
            assert fs.open_directories == 2
        end()
        assert not fs.open_directories, how


def test_an_error_while_objects_are_listed_ends_nothing(ta: StorageTa, fs: MemoryFs) -> None:
    for n in range(2):
        ta.close(ta.create(bytes([n]))[1])
    enum = allocate(ta)
    assert ta("storage_start_enum", enum, PRIVATE) == 0
    for call in ("readdir", "open", "read"):
        fs.fails = {call: GENERIC}
        assert ta("storage_next_enum", enum, BUF, ID, LEN) == GENERIC
        fs.fails = {}
        assert (fs.open_directories, fs.open_files) == (1, 0), call
    assert names(ta, enum) == []
    fs.fails = {"opendir": GENERIC}
    assert ta("storage_start_enum", enum, PRIVATE) == GENERIC
    assert ta("storage_next_enum", enum, BUF, ID, LEN) == NOT_FOUND


# --- several secure threads ----------------------------------------------------------------------------------------


def test_one_thread_at_a_time_is_in_the_file_system(room: TaRoom, fs: MemoryFs) -> None:
    tas = [StorageTa(room, uuid) for uuid in (A, B)]
    fs.pause = lambda ree: ree.thread.pause()
    results = []

    def work(thread: FakeThread, ta: StorageTa) -> None:
        ta.ctx.thread = thread  # type: ignore[assignment]
        ret, handle = ta.create(b"id", b"x")
        results.append(ret)

    threads = [room.threads.start(work, ta) for ta in tas]
    assert fs.inside == 1, "the second waits for the first"
    while not all(thread.done for thread in threads):
        for thread in threads:
            if not thread.done and fs.inside:
                thread.go_on()
    fs.pause = lambda ree: None
    assert results == [0, 0]
