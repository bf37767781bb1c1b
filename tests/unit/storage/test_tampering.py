"""The normal world does what it likes with the files: it is noticed, and wrong data are never given."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_files import OTHER_TA, TA, MemoryFiles, Store

from optemu.abi import gp
from optemu.errors import TeeError

NOTICED = {gp.TEE_ERROR_CORRUPT_OBJECT, gp.TEE_ERROR_SECURITY}
BIG, SMALL = bytes(range(256)) * 600, b"small"


@dataclass
class MemoryRoot:
    """What RPMB would remember."""

    hash: bytes | None = None
    counters: list[int] = field(default_factory=list)

    def read(self, ree: object) -> bytes | None:
        return self.hash

    def commit(self, ree: object, root_hash: bytes, counter: int) -> None:
        self.hash = root_hash
        self.counters.append(counter)


def filled(root: MemoryRoot | None = None) -> Store:
    """Files 0 (45 blocks), 1 and 2, each of them changed once."""
    store = Store(root=root)
    for name, uuid in ((b"big", TA), (b"small", TA), (b"small", OTHER_TA)):
        fh = store.create(b"before" + bytes(2 * len(BIG) if name == b"big" else 0), name, uuid)
        store.truncate(fh, 0)
        store.write(fh, 0, BIG if name == b"big" else SMALL)
        store.close(fh)
    assert set(store.files.content) == {b"dirf.db", b"0", b"1", b"2"}
    return store


FILLED = filled().files.snapshot()
OBJECTS = {(TA, b"big"): BIG, (TA, b"small"): SMALL, (OTHER_TA, b"small"): SMALL}


def looked_at(content: dict[bytes, bytes], root: MemoryRoot | None = None) -> dict[tuple[bytes, bytes], object]:
    """What each object reads as: its data, or the TEE_Result."""
    store, found = Store(MemoryFiles(content), root=root), {}
    for uuid, name in OBJECTS:
        try:
            found[uuid, name] = store.get(name, uuid)
        except TeeError as e:
            found[uuid, name] = e.code
    assert not store.files.open_files
    return found


def right_or_noticed(found: dict[tuple[bytes, bytes], object]) -> None:
    assert all(value == OBJECTS[key] or value in NOTICED for key, value in found.items())


def test_nothing_is_wrong():
    assert looked_at(FILLED) == OBJECTS


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(FILLED)), st.data())
def test_any_byte(name, data):
    """In a copy that nobody needs it does no harm; anywhere else it is noticed, in the object that has it."""
    # Half of them where it matters most: heads and the first nodes.
    end = st.sampled_from([136, 4096 + 132, len(FILLED[name])])
    at = data.draw(end.flatmap(lambda e: st.integers(0, e - 1)))
    content = bytearray(FILLED[name])
    content[at] ^= data.draw(st.integers(1, 255))
    found = looked_at({**FILLED, name: bytes(content)})
    right_or_noticed(found)
    if name != b"dirf.db":
        assert [value == OBJECTS[key] for key, value in found.items()].count(False) <= 1


@pytest.mark.parametrize("name", sorted(FILLED))
def test_every_byte_of_heads_and_first_nodes(name):
    harmless = 0
    for at in [*range(136), *range(4096, 4096 + 132)]:
        content = bytearray(FILLED[name])
        content[at] ^= 0x55
        found = looked_at({**FILLED, name: bytes(content)})
        right_or_noticed(found)
        harmless += found == OBJECTS
    assert harmless <= 68 + 66, "one copy of each, the one that is not committed"


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(FILLED)), st.data())
def test_truncated(name, data):
    size = data.draw(st.integers(1, len(FILLED[name]) - 1))
    found = looked_at({**FILLED, name: FILLED[name][:size]})
    right_or_noticed(found)


@pytest.mark.parametrize("number", [b"0", b"1", b"2"])
def test_object_deleted(number):
    found = looked_at({name: data for name, data in FILLED.items() if name != number})
    assert sorted(map(str, found.values())).count(str(gp.TEE_ERROR_CORRUPT_OBJECT)) == 1
    right_or_noticed(found)


@pytest.mark.parametrize(("one", "other"), [(b"0", b"1"), (b"1", b"2"), (b"0", b"dirf.db")])
def test_swapped(one, other):
    found = looked_at({**FILLED, one: FILLED[other], other: FILLED[one]})
    right_or_noticed(found)
    assert list(found.values()).count(gp.TEE_ERROR_CORRUPT_OBJECT) >= 2


@pytest.mark.parametrize("number", [b"0", b"1", b"2"])
def test_an_older_copy_of_an_object(number):
    store = Store(MemoryFiles(FILLED))
    for uuid, name in OBJECTS:
        for more in (b"newer", b"newest"):
            fh = store.open(name, uuid)
            store.write(fh, 0, more)
            store.close(fh)
    now = store.files.snapshot()
    found = looked_at({**now, number: FILLED[number]})
    newest = {key: b"newest" + data[6:] for key, data in OBJECTS.items()}
    wrong = {key: value for key, value in found.items() if value != newest[key]}
    assert list(wrong.values()) == [gp.TEE_ERROR_CORRUPT_OBJECT]


def test_a_lost_database_is_not_what_upstream_makes_of_it():
    """A damaged database stays, for somebody to repair. Where it is missing there are no objects: it may come back
    as long as nobody makes one."""
    broken = {**FILLED, b"dirf.db": bytes(5000)}
    store = Store(MemoryFiles(broken))
    for _ in range(2):
        with pytest.raises(TeeError):
            store.objects()
    assert store.files.snapshot() == broken
    store = Store(MemoryFiles({name: data for name, data in FILLED.items() if name != b"dirf.db"}))
    assert store.objects() == []
    assert set(store.files.content) == set(FILLED) - {b"dirf.db"}
    store.put(b"data", b"new")
    assert set(store.files.content) == {b"dirf.db", b"0"}, "what it named is removed"


def test_a_normal_world_that_removes_what_is_not_there():
    """It has nothing to remove, and says that it did: that ends."""

    class Files(MemoryFiles):
        removed = 0

        def remove(self, name: bytes) -> None:
            self.removed += 1

    store = Store(Files())
    store.put(b"data")
    assert 100 < store.files.removed < 10_000
    assert store.get() == b"data"


def test_what_is_wrong_is_said(caplog):
    content = bytearray(FILLED[b"1"])
    content[8192:] = bytes(len(content) - 8192)
    with pytest.raises(TeeError):
        Store(MemoryFiles({**FILLED, b"1": bytes(content)})).get(b"small")
    assert "file 1 (object b'small' of TA 01234567-89ab-cdef-0123-456789abcdef): block 0 is damaged" in caplog.text


# --- with a root that cannot be set back ---------------------------------------------------------------------


def test_the_whole_directory_set_back():
    root = MemoryRoot()
    store = filled(root)
    old = store.files.snapshot()
    assert looked_at(old, root) == OBJECTS
    for _ in range(2):
        store.put(b"new", b"new")
    assert set(looked_at(old, root).values()) == {gp.TEE_ERROR_CORRUPT_OBJECT}
    assert looked_at(store.files.snapshot(), root) == OBJECTS
    assert root.counters == sorted(set(root.counters))


def test_the_database_gone():
    root = MemoryRoot()
    store = filled(root)
    store.files.remove(b"dirf.db")
    assert set(looked_at(store.files.snapshot(), root).values()) == {gp.TEE_ERROR_SECURITY}


def test_the_power_goes_before_the_root_knows():
    """Then the commit before counts, in files and root."""
    root = MemoryRoot()
    store = filled(root)
    known = root.hash
    fh = store.open(b"small")
    store.write(fh, 0, b"SMALL")
    root.hash = known
    again = Store(MemoryFiles(store.files.snapshot()), root=root)
    assert again.get(b"small") == SMALL
    fh = again.open(b"small")
    again.write(fh, 0, b"Small")
    assert looked_at(again.files.snapshot(), root)[TA, b"small"] == b"Small"
    root.hash = None
    assert again.objects() == [b"big", b"small"]
    again.close(fh)
    assert again.objects() == [], "a root that knows nothing starts anew"


def test_the_root_fails():
    root = MemoryRoot()
    store = filled(root)

    def fail(*args):
        raise TeeError(gp.TEE_ERROR_GENERIC, "no answer")

    fh = store.open(b"small")
    commit, root.commit = root.commit, fail
    with pytest.raises(TeeError):
        store.write(fh, 0, b"SMALL")
    root.commit = commit
    assert store.read(fh) == SMALL
    store.write(fh, 0, b"S")
    assert looked_at(store.files.snapshot(), root)[TA, b"small"] == b"Small"
