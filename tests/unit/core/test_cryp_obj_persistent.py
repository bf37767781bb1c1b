"""System calls about objects that are in storage: usage that all handles share, copies, closing, and the end of a TA."""

import pytest
from core_fakes import A, FakeThread, Threads
from obj_kit import ATTRS, BAD, NOT_FOUND, OK, OUT, STATE, VALUES, ObjRoom
from storage_fakes import ALL, PRIVATE, READ, SHARE_READ, MemoryFs

from optemu.abi import cryp, gp
from optemu.abi import syscalls as scn
from optemu.abi.obj import TEE_HANDLE_FLAG_INITIALIZED, TEE_HANDLE_FLAG_PERSISTENT, TEE_SVC_STORAGE_HEAD
from optemu.secure_world.core.storage import Storage

KEY = bytes(range(16))
FULL = gp.TEE_ERROR_STORAGE_NO_SPACE


class Room(ObjRoom):
    """A TA with storage in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.fs = MemoryFs()
        self.tee.storage = Storage(self.fs, None)

    def _named(self, call: int, flags: int, *args: int) -> int:
        assert self.call(call, PRIVATE, self.put(VALUES, b"id"), 2, flags, *args, OUT) == OK
        return int.from_bytes(self.get(OUT, 4), "little")

    def create(self, attr: int, flags: int = ALL) -> int:
        return self._named(scn.TEE_SCN_STORAGE_OBJ_CREATE, flags, attr, self.put(ATTRS, b"data"), 4)

    def open(self, flags: int = ALL) -> int:
        return self._named(scn.TEE_SCN_STORAGE_OBJ_OPEN, flags)

    def restrict(self, handle: int, usage: int) -> int:
        return self.call(scn.TEE_SCN_CRYP_OBJ_RESTRICT_USAGE, handle, usage)

    def stored_usage(self) -> int:
        usage: int = TEE_SVC_STORAGE_HEAD.unpack_from(self.fs.files[A, b"id"])[3]
        return usage


@pytest.fixture
def room() -> Room:
    return Room()


def test_a_key_comes_back_from_storage(room: Room) -> None:
    transient = room.aes(KEY)
    handle = room.create(transient)
    room.close(handle)
    handle = room.open()
    flags = TEE_HANDLE_FLAG_PERSISTENT | TEE_HANDLE_FLAG_INITIALIZED | ALL
    assert room.info(handle) == (cryp.TEE_TYPE_AES, 128, 256, 0xFFFFFFFF, 4, 0, flags)
    assert room.attr(handle, cryp.TEE_ATTR_SECRET_VALUE) == KEY


def test_usage_is_one_for_all_handles_and_lasts(room: Room) -> None:
    room.close(room.create(room.aes()))
    share = READ | SHARE_READ
    one, other = room.open(share), room.open(share)
    assert room.restrict(one, ~cryp.TEE_USAGE_EXTRACTABLE & 0xFFFFFFFF_FFFFFFFF) == OK
    assert room.info(other).usage == room.stored_usage() == 0xFFFFFFFE
    assert room.get_attr(other, cryp.TEE_ATTR_SECRET_VALUE)[0] == BAD
    room.close(one)
    room.close(other)
    assert room.info(room.open()).usage == 0xFFFFFFFE


def test_usage_that_cannot_be_stored_stays(room: Room) -> None:
    handle = room.create(room.aes())
    room.fs.fails = {"write": FULL}
    assert room.restrict(handle, 0) == FULL
    assert room.info(handle).usage == room.stored_usage() == 0xFFFFFFFF


def test_what_a_persistent_object_does_not_take(room: Room) -> None:
    handle = room.create(room.aes())
    assert room.call(scn.TEE_SCN_CRYP_OBJ_RESET, handle) == BAD
    assert room.populate(handle, {cryp.TEE_ATTR_SECRET_VALUE: KEY}) == BAD
    assert room.generate(handle, 128) == STATE
    assert room.call(scn.TEE_SCN_CRYP_OBJ_COPY, handle, room.aes()) == BAD


def test_a_transient_copy_has_the_usage_of_the_stored_key(room: Room) -> None:
    handle = room.create(room.aes(KEY))
    room.restrict(handle, cryp.TEE_USAGE_EXTRACTABLE | cryp.TEE_USAGE_MAC)
    copy = room.alloc(cryp.TEE_TYPE_AES, 128)
    assert room.call(scn.TEE_SCN_CRYP_OBJ_COPY, copy, handle) == OK
    assert room.info(copy) == (cryp.TEE_TYPE_AES, 128, 128, 9, 0, 0, TEE_HANDLE_FLAG_INITIALIZED)
    assert room.attr(copy, cryp.TEE_ATTR_SECRET_VALUE) == KEY
    assert room.call(scn.TEE_SCN_CRYP_OBJ_COPY, room.alloc(cryp.TEE_TYPE_SM4, 128), handle) == BAD


def test_pure_data_has_no_attributes(room: Room) -> None:
    handle = room.create(0)
    assert room.info(handle)[:3] == (cryp.TEE_TYPE_DATA, 0, 0)
    assert room.get_attr(handle, cryp.TEE_ATTR_SECRET_VALUE)[0] == STATE
    copy = room.alloc(cryp.TEE_TYPE_DATA, 0)
    assert room.call(scn.TEE_SCN_CRYP_OBJ_COPY, copy, handle) == OK


def test_a_damaged_head_tells_of_attributes_that_are_not_there(room: Room) -> None:
    room.close(room.create(room.aes()))
    raw = room.fs.files[A, b"id"]
    raw[20:24] = bytes(4)
    assert room.get_attr(room.open(READ | SHARE_READ), cryp.TEE_ATTR_SECRET_VALUE)[0] == NOT_FOUND
    raw[20:24] = b"\xff" * 4
    assert room.attr(room.open(READ | SHARE_READ), cryp.TEE_ATTR_SECRET_VALUE) == KEY


def test_closing_closes_the_file_even_when_that_fails(room: Room) -> None:
    handle = room.create(room.aes())
    key = room.obj(handle).attrs[cryp.TEE_ATTR_SECRET_VALUE]
    room.fs.fails = {"close": gp.TEE_ERROR_GENERIC}
    assert room.close(handle) == gp.TEE_ERROR_GENERIC
    assert key == bytes(16)
    assert room.close(handle) == STATE
    assert not len(room.tee.storage.pobjs)


@pytest.mark.parametrize("fails", [{}, {"close": gp.TEE_ERROR_COMMUNICATION}])
def test_a_ta_that_is_gone_closes_all(room: Room, fails: dict[str, int]) -> None:
    room.aes()
    room.create(room.aes(), READ | SHARE_READ)
    handle = room.open(READ | SHARE_READ)
    key = room.obj(handle).attrs[cryp.TEE_ATTR_SECRET_VALUE]
    room.fs.fails = fails
    room.ta.instance = None
    room.ta.release_state(FakeThread(Threads()))  # type: ignore[arg-type]
    assert not room.ta.objs
    assert key == bytes(16)
    assert not len(room.tee.storage.pobjs)
    assert room.fs.open_files == (2 if fails else 0)
