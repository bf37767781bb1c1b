"""The database of installed TAs, and the versions that are not to be fallen behind."""

import random
import struct

import pytest
from core_objects_fakes import DictFs, DictRee
from hypothesis import given
from hypothesis import strategies as st

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.storage.tadb import TaDb
from optemu.secure_world.storage.ver_db import TA_VER_DB, VersionDb, parse_versions

ONE, TWO = bytes(range(16)), bytes(range(16, 32))
TA_DB = gp.NIL_UUID, b"ta.db\0"
IMAGE = random.Random(1).randbytes(150_000)


class Seeded:
    repeatable = True

    def __init__(self) -> None:
        self._random = random.Random(2)

    def read(self, size: int) -> bytes:
        return self._random.randbytes(size)


@pytest.fixture
def fs():
    return DictFs()


@pytest.fixture
def ree():
    return DictRee()


def database(fs):
    return TaDb(fs, Seeded())


def fails(code, call, *args):
    with pytest.raises(TeeError) as failure:
        call(*args)
    assert failure.value.code == code
    return failure.value


def test_what_is_installed_is_found_again_by_this_core_and_by_the_next(fs, ree):
    db = database(fs)
    db.install(ree, ONE, 3, IMAGE)
    db.install(ree, TWO, 0, b"two")
    for reader in (db, database(fs)):
        assert reader.open(ree, ONE).payload == IMAGE
        assert reader.version(ree, ONE) == 3
        assert reader.open(ree, TWO).payload == b"two"
    assert not ree.files.opened
    assert not fs.open_handles


def test_looking_makes_nothing(fs, ree):
    fails(gp.TEE_ERROR_ITEM_NOT_FOUND, database(fs).open, ree, ONE)
    assert not fs.content


def test_entries_have_upstreams_layout(fs, ree):
    database(fs).install(ree, ONE, 7, IMAGE)
    entry = fs.content[TA_DB]
    assert len(entry) == 16 + 4 * 4 + 16 + 16 + 32
    assert struct.unpack_from("<IHH", entry) == struct.unpack(">IHH", ONE[:8])
    assert struct.unpack_from("<4I", entry, 16) == (7, 0, len(IMAGE), 0)
    assert len(ree.files.content[b"0.ta"]) == len(IMAGE)
    assert IMAGE[:64] not in ree.files.content[b"0.ta"]


def test_a_newer_one_takes_the_place_of_the_older(fs, ree):
    db = database(fs)
    db.install(ree, ONE, 1, b"old")
    db.install(ree, ONE, 2, b"new")
    assert db.open(ree, ONE).payload == b"new"
    assert len(fs.content[TA_DB]) == 96
    assert set(ree.files.content) == {b"1.ta"}


def test_entries_and_numbers_are_used_again(fs, ree):
    db = database(fs)
    db.install(ree, ONE, 1, b"one")
    db.install(ree, TWO, 1, b"two")
    db.delete(ree, ONE)
    fails(gp.TEE_ERROR_ITEM_NOT_FOUND, db.delete, ree, ONE)
    assert set(ree.files.content) == {b"1.ta"}
    db.install(ree, bytes([9] * 16), 1, b"three")
    assert set(ree.files.content) == {b"0.ta", b"1.ta"}
    assert len(fs.content[TA_DB]) == 2 * 96


def test_an_installation_that_fails_leaves_what_was_there(fs, ree):
    db = database(fs)
    db.install(ree, ONE, 1, b"old")
    fs.failing = gp.TEE_ERROR_STORAGE_NO_SPACE
    fails(gp.TEE_ERROR_STORAGE_NO_SPACE, db.install, ree, ONE, 2, b"new")
    assert set(ree.files.content) == {b"0.ta", b"1.ta"}, "for all that is known, the entry was written"
    for reader in (db, database(fs)):
        assert reader.open(ree, ONE).payload == b"old"


def test_of_two_entries_with_one_file_the_first_keeps_it(fs, ree):
    db = database(fs)
    db.install(ree, ONE, 1, b"one")
    double = bytearray(fs.content[TA_DB])
    double[:16] = gp.uuid_to_memory(TWO)
    fs.content[TA_DB] += double
    fresh = database(fs)
    fails(gp.TEE_ERROR_ITEM_NOT_FOUND, fresh.open, ree, TWO)
    assert fresh.open(ree, ONE).payload == b"one"
    assert fs.content[TA_DB][96:] == bytes(96)


@given(at=st.integers(0, len(IMAGE) - 1), bit=st.integers(0, 7))
def test_a_changed_file_is_not_given_out(at, bit):
    fs, ree = DictFs(), DictRee()
    db = database(fs)
    db.install(ree, ONE, 1, IMAGE)
    ree.files.content[b"0.ta"][at] ^= 1 << bit
    assert "install it again" in str(fails(gp.TEE_ERROR_MAC_INVALID, db.open, ree, ONE))


def test_a_short_file_is_not_given_out(fs, ree):
    db = database(fs)
    db.install(ree, ONE, 1, IMAGE)
    del ree.files.content[b"0.ta"][-1:]
    fails(gp.TEE_ERROR_MAC_INVALID, db.open, ree, ONE)


def test_no_uuid_is_no_ta(fs, ree):
    fails(gp.TEE_ERROR_GENERIC, database(fs).install, ree, gp.NIL_UUID, 0, b"x")


# --- versions ---------------------------------------------------------------------------------------------------


def test_versions_rise_and_never_fall(fs, ree):
    versions = VersionDb(fs, TA_VER_DB)
    for version in (0, 1, 1, 5):
        versions.check_update(ree, ONE, version)
    versions.check_update(ree, TWO, 2)
    for reader in (versions, VersionDb(fs, TA_VER_DB)):
        assert "version 5 was seen" in str(fails(gp.TEE_ERROR_ACCESS_CONFLICT, reader.check_update, ree, ONE, 4))
        fails(gp.TEE_ERROR_ACCESS_CONFLICT, reader.check_update, ree, TWO, 0)
        reader.check_update(ree, ONE, 5)
    assert not fs.open_handles


def test_versions_have_upstreams_layout(fs, ree):
    versions = VersionDb(fs, TA_VER_DB)
    versions.check_update(ree, ONE, 1)
    versions.check_update(ree, TWO, 2)
    versions.check_update(ree, ONE, 3)
    assert fs.content[gp.NIL_UUID, TA_VER_DB] == struct.pack("<II16sI16sI", 0, 2, ONE, 3, TWO, 2)


def test_version_0_and_a_version_already_known_commit_nothing(fs, ree):
    versions = VersionDb(fs, TA_VER_DB)
    versions.check_update(ree, ONE, 0)
    assert not fs.commits
    versions.check_update(ree, ONE, 1)
    commits = fs.commits
    versions.check_update(ree, ONE, 1)
    assert fs.commits == commits


@pytest.mark.parametrize("commit", [0, 1, 2])
def test_a_power_cut_while_a_version_is_entered_is_made_good(fs, ree, commit):
    class Cut(DictFs):
        def _commit(self):
            if self.commits == commit:
                raise TeeError(gp.TEE_ERROR_COMMUNICATION)
            super()._commit()

    cut = Cut()
    fails(gp.TEE_ERROR_COMMUNICATION, VersionDb(cut, TA_VER_DB).check_update, ree, ONE, 4)
    fs.content = cut.content
    VersionDb(fs, TA_VER_DB).check_update(ree, ONE, 4)
    fails(gp.TEE_ERROR_ACCESS_CONFLICT, VersionDb(fs, TA_VER_DB).check_update, ree, ONE, 3)


@pytest.mark.parametrize("raw", [b"\0", bytes(7), struct.pack("<II", 0, 1), struct.pack("<II", 0, 0xFFFFFFFF)])
def test_a_database_cut_short_is_refused(fs, ree, raw):
    fs.content[gp.NIL_UUID, TA_VER_DB] = bytearray(raw)
    fails(gp.TEE_ERROR_BAD_STATE, VersionDb(fs, TA_VER_DB).check_update, ree, ONE, 1)


@given(
    entries=st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.integers(0, 0xFFFFFFFF)), max_size=8),
    behind=st.binary(max_size=40),
)
def test_what_is_entered_is_read_and_what_is_not_counted_is_not(entries, behind):
    raw = struct.pack("<II", 0, len(entries)) + b"".join(struct.pack("<16sI", *entry) for entry in entries)
    count, floor = parse_versions(raw + behind, "x")
    assert count == len(entries)
    assert {uuid: version for uuid, (_, version) in floor.items()} == dict(reversed(entries))
    assert all(entries[place] == (uuid, version) for uuid, (place, version) in floor.items())


@given(st.binary(max_size=100), st.sampled_from([b"", b"\0\0\0\0\2\0\0\0", b"\0\0\0\0\xff\xff\xff\xff"]))
def test_any_octets_are_a_database_or_are_refused(behind, head):
    raw = head + behind
    try:
        count, floor = parse_versions(raw, "x.db")
    except TeeError as e:
        assert e.code == gp.TEE_ERROR_BAD_STATE
        assert str(e).startswith("x.db ends ")
        assert len(raw) < 8 or len(raw) < 8 + 20 * int.from_bytes(raw[4:8], "little")
    else:
        assert len(raw) >= 8 + 20 * count or (raw, count) == (b"", 0)
        assert len(floor) <= count


def test_an_empty_database_is_one_the_power_was_cut_on(fs, ree):
    fs.content[gp.NIL_UUID, TA_VER_DB] = bytearray()
    VersionDb(fs, TA_VER_DB).check_update(ree, ONE, 1)
    fails(gp.TEE_ERROR_ACCESS_CONFLICT, VersionDb(fs, TA_VER_DB).check_update, ree, ONE, 0)
