"""Objects of the REE file system, as the core asks for them."""

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from memory_files import OBJECT, OTHER_TA, TA, MemoryFiles, Store

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.storage import htree
from optemu.secure_world.storage.ree_file import MAX_LENGTH
from optemu.secure_world.storage.ree_fs import ReeFs

MANY = 70 * 4096
"""Octets of an object that is not changed in its place."""
SIZES = [0, 1, 4095, 4096, 4097, 3 * 4096, 31 * 4096, 31 * 4096 + 1, 70 * 4096 + 5, 200_000]


@pytest.fixture
def store() -> Store:
    return Store()


def result(call, *args, **kwargs) -> int:
    try:
        call(*args, **kwargs)
    except TeeError as e:
        return e.code
    return gp.TEE_SUCCESS


def data_of(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("size", SIZES)
def test_what_is_created_is_read(store: Store, size):
    data = data_of(size)
    fh = store.create(data)
    assert store.read(fh) == data
    store.close(fh)
    assert Store(store.files).get() == data
    assert store.fs.open(store.ree, store.pobj())[0] == size


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pos", [0, 1, 4095, 4096, 9000, 300_000])
def test_writes(store: Store, size, pos):
    """Inside, over the end, and behind it, where zeros fill the gap."""
    store.put(data_of(size))
    model = bytearray(data_of(size))
    for n, length in enumerate((1, 5000, 130_000)):
        fh = store.open()
        store.write(fh, pos, data_of(length, n + 1))
        model.extend(bytes(max(pos - len(model), 0)))
        model[pos : pos + length] = data_of(length, n + 1)
        assert store.read(fh) == model
        store.close(fh)
        assert Store(store.files).get() == model
    assert not store.files.open_files


@pytest.mark.parametrize("old", SIZES)
@pytest.mark.parametrize("new", SIZES)
def test_truncate(store: Store, old, new):
    data = data_of(old)
    fh = store.create(data)
    store.truncate(fh, new)
    model = data[:new].ljust(new, b"\0")
    assert store.read(fh) == model
    assert Store(store.files).get() == model
    store.truncate(fh, old)
    model = model[:old].ljust(old, b"\0")
    assert Store(store.files).get() == model
    store.write(fh, new, b"again")
    model = model[:new].ljust(new, b"\0") + b"again" + model[new + 5 :]
    assert Store(store.files).get() == model


def test_reading_beyond(store: Store):
    fh = store.create(bytes(100))
    assert store.read(fh, 100, 1) == store.read(fh, 1 << 31, 5) == store.read(fh, 50, 0) == b""
    assert store.read(fh, 99, 100) == b"\0"


def test_files_and_names(store: Store):
    """dirf.db, and the lowest number that is free, in hexadecimal."""
    for n in range(18):
        store.put(b"x" * n, b"%d" % n)
    numbers = {b"%x" % n for n in range(18)}
    assert set(store.files.content) == numbers | {b"dirf.db"}
    store.remove(b"16")
    store.remove(b"3")
    assert set(store.files.content) == (numbers - {b"3", b"10"}) | {b"dirf.db"}
    store.put(b"new")
    assert b"3" in store.files.content
    assert b"10" not in store.files.content
    assert store.objects()[3] == OBJECT
    assert len(store.files.content[b"dirf.db"]) % 4096 == 0


def test_an_object_has_an_end(store: Store):
    """Far behind it nothing is written, and nothing filled."""
    fh = store.create(b"data")
    for call, *args in ((store.write, MAX_LENGTH, b"!"), (store.write, (1 << 32) - 1, b"!"), (store.truncate, 1 << 32)):
        before = len(store.files.calls)
        assert result(call, fh, *args) == gp.TEE_ERROR_STORAGE_NO_SPACE
        assert store.files.calls[before:].count("write") == 0
    store.write(fh, MAX_LENGTH, b"")
    store.write(fh, 4, b" and more")
    assert store.get() == b"data and more"


def test_create_over_another(store: Store):
    store.put(b"old")
    fh = store.open()
    assert result(store.create, b"new", overwrite=False) == gp.TEE_ERROR_ACCESS_CONFLICT
    assert store.get() == b"old"
    store.close(fh)
    store.put(b"new")
    assert store.get() == b"new"
    assert len(store.files.content) == 2


def test_objects_belong_to_a_ta(store: Store):
    store.put(b"1")
    store.put(b"2", uuid=OTHER_TA)
    store.put(b"3", b"")
    store.put(b"4", b"\0" * 64)
    assert (store.objects(), store.objects(OTHER_TA)) == ([OBJECT, b"", b"\0" * 64], [OBJECT])
    assert Store(store.files).everything() == {
        (TA, OBJECT): b"1",
        (OTHER_TA, OBJECT): b"2",
        (TA, b""): b"3",
        (TA, b"\0" * 64): b"4",
    }
    assert store.objects(bytes(16)) == []


def test_rename(store: Store):
    store.put(b"a", b"a")
    store.put(b"b", b"b")
    assert result(store.rename, b"a", b"b") == gp.TEE_ERROR_ACCESS_CONFLICT
    assert result(store.rename, b"a", b"a") == gp.TEE_ERROR_ACCESS_CONFLICT
    assert result(store.rename, b"c", b"d") == gp.TEE_ERROR_ITEM_NOT_FOUND
    store.rename(b"a", b"c")
    assert Store(store.files).everything(TA) == {(TA, b"c"): b"a", (TA, b"b"): b"b"}


def test_an_open_object_is_renamed_and_removed(store: Store):
    fh = store.create(b"data")
    store.rename(OBJECT, b"other")
    store.write(fh, 4, b" and more")
    assert Store(store.files).get(b"other") == b"data and more"
    store.remove(b"other")
    assert result(store.write, fh, 0, b"!") == gp.TEE_ERROR_ITEM_NOT_FOUND
    store.close(fh)
    assert not store.files.open_files
    assert set(store.files.content) == {b"dirf.db"}


def test_two_blocks_are_read_once(store: Store):
    """A page and its head: changed and read again without a look at the file, unless another has changed it."""
    whole = bytearray(data_of(5000))
    fh, other = store.create(bytes(whole)), store.open()
    for handle, text, reads in ((fh, b"first", 0), (fh, b"again", 0), (other, b"other", 1), (fh, b"third", 1)):
        store.files.calls.clear()
        store.write(handle, 4094, text)
        whole[4094:4099] = text
        assert (text, store.read(handle)) == (text, whole)
        assert (text, store.files.calls.count("read")) == (text, reads)
    store.truncate(fh, 4096)
    store.write(fh, 4096, bytes(9000))
    assert store.read(fh) == bytes(whole[:4096]) + bytes(9000)


@pytest.mark.parametrize("blocks", [1, 2, 3, 64])
def test_what_waits_is_written_in_pieces(store: Store, monkeypatch, blocks: int):
    """However much waits before it is written: no piece passes over what another has just brought."""
    monkeypatch.setattr(htree, "_RUN_MAX", blocks * 8192)
    monkeypatch.setattr(ReeFs, "anew_blocks", 1000)
    pick, whole = random.Random(blocks), bytearray(10 * 4096)
    fh = store.create(bytes(whole))
    for _ in range(200):
        at, octet = pick.randrange(len(whole)), pick.randbytes(1)
        size = pick.choice((1, 4096, pick.randrange(len(whole))))
        whole[at : at + size] = octet * len(whole[at : at + size])
        store.write(fh, at, octet * len(whole[at : at + size]))
        assert Store(MemoryFiles(store.files.snapshot())).get() == whole


def test_what_is_written_anew_goes_to_another_file(store: Store):
    whole, new = bytearray(data_of(MANY)), data_of(MANY - 50, 1)
    fh = store.create(bytes(whole))
    before = set(store.files.content)
    store.write(fh, 24, new)
    whole[24 : 24 + len(new)] = new
    assert store.read(fh) == whole
    after = set(store.files.content)
    assert len(after) == len(before), "the file it was in is gone"
    assert after != before
    store.write(fh, 5, b"small")
    whole[5:10] = b"small"
    assert set(store.files.content) == after, "a small change stays in its file"
    store.close(fh)
    assert not store.files.open_files
    assert Store(store.files).get() == whole


def test_what_others_have_open_stays_in_its_file(store: Store):
    new = data_of(MANY, 1)
    fh, other = store.create(data_of(MANY)), store.open()
    before = set(store.files.content)
    store.write(fh, 0, new)
    assert set(store.files.content) == before
    assert store.read(other) == new


def test_what_was_renamed_and_is_written_anew_keeps_its_name(store: Store):
    new = data_of(MANY, 1)
    fh = store.create(data_of(MANY))
    store.rename(OBJECT, b"another")
    store.write(fh, 0, new)
    store.close(fh)
    assert store.objects() == [b"another"]
    assert store.get(b"another") == new


def test_what_was_removed_is_not_written_anew(store: Store):
    fh = store.create(data_of(MANY))
    store.put(b"another object of this name")
    assert result(store.write, fh, 0, data_of(MANY, 1)) == gp.TEE_ERROR_ITEM_NOT_FOUND
    store.close(fh)
    assert store.get() == b"another object of this name"


def test_what_is_written_anew_stays_in_its_file_without_room_for_another(store: Store, monkeypatch):
    def no_room(name: bytes) -> int:
        raise TeeError(gp.TEE_ERROR_STORAGE_NO_SPACE, "no room")

    new = data_of(MANY, 1)
    fh = store.create(data_of(MANY))
    before = set(store.files.content)
    monkeypatch.setattr(store.files, "create", no_room)
    store.write(fh, 0, new)
    assert set(store.files.content) == before
    store.close(fh)
    assert Store(store.files).get() == new


def test_a_version_belongs_to_the_octets(store: Store):
    fh, other = store.create(b"octets"), store.create(b"octets", b"another")
    seen = {fh.version, other.version}
    assert len(seen) == 2
    for change in (lambda: store.write(fh, 0, b"o"), lambda: store.truncate(fh, 3), lambda: store.write(fh, 3, b"ets")):
        change()
        assert fh.version not in seen
        seen.add(fh.version)
        assert store.fs.version(store.ree, store.pobj()) == fh.version
    store.close(fh)
    again = Store(store.files)
    assert again.fs.version(again.ree, again.pobj()) == fh.version
    assert result(again.fs.version, again.ree, again.pobj(b"no object")) == gp.TEE_ERROR_ITEM_NOT_FOUND


def test_what_is_not_there(store: Store):
    for call in (store.open, store.remove):
        assert result(call) == gp.TEE_ERROR_ITEM_NOT_FOUND
    assert not store.files.open_files


class Listing:
    """Somebody who lists the objects of a TA."""

    def __init__(self, store: Store) -> None:
        self.fs, self.ree = store.fs, store.ree
        self.directory = self.fs.opendir(self.ree, TA)

    def __iter__(self) -> "Listing":
        return self

    def __next__(self) -> bytes:
        try:
            return self.fs.readdir(self.ree, self.directory)
        except TeeError as e:
            assert e.code == gp.TEE_ERROR_ITEM_NOT_FOUND
            raise StopIteration from None

    def close(self) -> None:
        self.fs.closedir(self.ree, self.directory)


def test_enumeration_sees_changes(store: Store):
    for name in (b"a", b"b", b"c"):
        store.put(b"", name)
    names = Listing(store)
    assert next(names) == b"a"
    store.remove(b"b")
    store.put(b"", b"d")
    store.put(b"", b"e")
    assert list(names) == [b"d", b"c", b"e"]


def test_a_directory_that_is_open_holds_the_database(store: Store):
    for n in range(10):
        store.put(b"", b"%d" % n)
    again = Store(store.files)
    names, others = Listing(again), Listing(again)
    store.files.calls.clear()
    for name in names:
        again.get(name)
    assert store.files.calls == ["open", "read", "close"] * 10
    fh = again.open(b"1")
    names.close()
    again.close(fh)
    assert len(store.files.open_files) == 1, "somebody lists objects still"
    others.close()
    assert not store.files.open_files


def test_nothing_is_held_where_there_is_nothing_to_list(store: Store):
    assert result(store.fs.opendir, store.ree, TA) == gp.TEE_ERROR_ITEM_NOT_FOUND
    store.put(b"", uuid=OTHER_TA)
    assert result(store.fs.opendir, store.ree, TA) == gp.TEE_ERROR_ITEM_NOT_FOUND
    assert not store.files.open_files


def test_a_change_that_fails_while_objects_are_listed(store: Store, monkeypatch):
    """The database is read anew: what the change did to it before it failed is not seen."""
    for name in (b"a", b"b", b"c"):
        store.put(b"", name)
    names = Listing(store)
    assert next(names) == b"a"
    with monkeypatch.context() as patch:
        patch.setattr(store.files, "write", None)
        with pytest.raises(TypeError):
            store.remove(b"b")
    assert not store.files.open_files
    assert next(names) == b"b"
    assert len(store.files.open_files) == 1, "it is held again"
    store.put(b"", b"d")
    assert list(names) == [b"c", b"d"]
    with monkeypatch.context() as patch:
        patch.setattr(store.files, "write", None)
        with pytest.raises(TypeError):
            store.remove(b"b")
    names.close()
    assert not store.files.open_files
    assert store.objects() == [b"a", b"b", b"c", b"d"]


def test_a_database_that_goes_while_objects_are_listed(store: Store, monkeypatch):
    store.put(b"")
    names = Listing(store)
    monkeypatch.setattr(store.files, "write", None)
    with pytest.raises(TypeError):
        store.remove()
    del store.files.content[b"dirf.db"]
    assert list(names) == []
    names.close()
    assert not store.files.open_files


def test_the_database_is_read_once(store: Store):
    """Its file is closed when no object is open, and looked at when it is opened again."""
    for n in range(300):
        store.put(bytes(n), b"%d" % n)
    assert not store.files.open_files
    store.files.calls.clear()
    store.get(b"299")
    assert store.files.calls == ["open", "read", "open", "read", "close", "close"]
    other = Store(store.files)
    other.put(b"by another", b"x")
    assert store.get(b"x") == b"by another"


def test_another_key_opens_nothing(store: Store):
    store.put(b"secret")
    other = Store(store.files, huk=bytes(16))
    assert result(other.open) == gp.TEE_ERROR_CORRUPT_OBJECT
    assert store.get() == b"secret"
    assert all(b"secret" not in data and OBJECT not in data for data in store.files.content.values())


def test_a_number_is_not_given_again_while_a_handle_has_it(store: Store):
    """A write through a handle whose object is gone changes no other object, whatever made it go."""

    def overwritten(fh):
        store.put(b"over it")
        return b"over it"

    def removed(fh):
        store.remove()

    for gone in (overwritten, removed):
        first, second = store.create(b"old"), store.open()
        left = gone(first)
        for n in range(3):
            store.put(b"new", b"new%d" % n)
        before = Store(MemoryFiles(store.files.snapshot())).everything()
        assert before.get((TA, OBJECT)) == left
        for fh in (first, second):
            assert store.read(fh) == b"old"
            assert result(store.write, fh, 0, b"!") == gp.TEE_ERROR_ITEM_NOT_FOUND
            assert result(store.truncate, fh, 0) == gp.TEE_ERROR_ITEM_NOT_FOUND
        assert Store(store.files).everything() == before
        number = first.name.number
        store.close(first)
        store.put(b"", b"another")
        assert b"%x" % number not in store.files.content, "the second handle has it still"
        store.close(second)
        store.put(b"", b"one more")
        assert b"%x" % number in store.files.content, "now it is free"
        for name in store.objects():
            store.remove(name)
        assert not store.files.open_files


def test_a_number_is_kept_when_the_database_is_read_again(store: Store):
    fh = store.create(b"old")
    store.remove()
    real, store.files.write = store.files.write, None
    with pytest.raises(TypeError):  # the database is forgotten
        store.put(b"x", b"x")
    store.files.write = real
    store.put(b"x", b"x")
    assert result(store.write, fh, 0, b"!") == gp.TEE_ERROR_ITEM_NOT_FOUND
    assert Store(store.files).everything() == {(TA, b"x"): b"x"}


class Held:
    """An object's octets, as long as it is there, and as long as a handle knows it."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.gone = False


class Model(RuleBasedStateMachine):
    """Any sequence of calls, any number of handles to each object, against a dictionary."""

    names = st.sampled_from([b"", b"a", b"b", b"c" * 64])
    owners = st.sampled_from([TA, OTHER_TA])
    sizes = st.sampled_from([0, 1, 100, 4096, 5000, 8192, 40_000, 140_000])
    picks = st.randoms(use_true_random=False)

    def __init__(self) -> None:
        super().__init__()
        self.store = Store(MemoryFiles())
        self.model: dict[tuple[bytes, bytes], Held] = {}
        self.handles: list[tuple[object, Held]] = []

    def _forget(self, key) -> None:
        if key in self.model:
            self.model.pop(key).gone = True

    @rule(uuid=owners, name=names, size=sizes, keep=st.booleans(), overwrite=st.booleans())
    def create(self, uuid, name, size, keep, overwrite):
        key, data = (uuid, name), data_of(size, size)
        if key in self.model and not overwrite:
            assert result(self.store.create, data, name, uuid, overwrite=False) == gp.TEE_ERROR_ACCESS_CONFLICT
            return
        fh = self.store.create(data, name, uuid, overwrite=overwrite)
        self._forget(key)
        self.model[key] = Held(data)
        if keep:
            self.handles.append((fh, self.model[key]))
        else:
            self.store.close(fh)

    @precondition(lambda self: self.model)
    @rule(pick=picks)
    def open(self, pick):
        uuid, name = pick.choice(sorted(self.model))
        self.handles.append((self.store.open(name, uuid), self.model[uuid, name]))

    @precondition(lambda self: self.handles)
    @rule(pick=picks, pos=sizes, size=sizes)
    def write(self, pick, pos, size):
        fh, held = pick.choice(self.handles)
        piece = pick.randbytes(size)
        if self._refused(held, self.store.write, fh, pos, piece) or not piece:
            return
        held.data.extend(bytes(max(pos - len(held.data), 0)))
        held.data[pos : pos + size] = piece

    @precondition(lambda self: self.handles)
    @rule(pick=picks, size=sizes)
    def truncate(self, pick, size):
        fh, held = pick.choice(self.handles)
        if self._refused(held, self.store.truncate, fh, size):
            return
        held.data.extend(bytes(max(size - len(held.data), 0)))
        del held.data[size:]

    def _refused(self, held, call, *args) -> bool:
        assert result(call, *args) == (gp.TEE_ERROR_ITEM_NOT_FOUND if held.gone else gp.TEE_SUCCESS)
        return held.gone

    @precondition(lambda self: self.handles)
    @rule(pick=picks, pos=sizes, size=sizes)
    def read(self, pick, pos, size):
        self._read(*pick.choice(self.handles), pos, size)

    def _read(self, fh, held, pos, size):
        """Of an object that is gone: what it was last, or nothing."""
        try:
            found = self.store.read(fh, pos, size)
        except TeeError as e:
            assert (held.gone, e.code) == (True, gp.TEE_ERROR_ITEM_NOT_FOUND)
            return
        assert found == held.data[pos : pos + size]

    @precondition(lambda self: self.model)
    @rule(pick=picks, name=names)
    def rename(self, pick, name):
        uuid, old = pick.choice(sorted(self.model))
        if (uuid, name) in self.model:
            assert result(self.store.rename, old, name, uuid) == gp.TEE_ERROR_ACCESS_CONFLICT
            return
        self.store.rename(old, name, uuid)
        self.model[uuid, name] = self.model.pop((uuid, old))

    @precondition(lambda self: self.model)
    @rule(pick=picks)
    def remove(self, pick):
        uuid, name = pick.choice(sorted(self.model))
        self.store.remove(name, uuid)
        self._forget((uuid, name))

    @precondition(lambda self: self.handles)
    @rule(pick=picks)
    def close(self, pick):
        self.store.close(self.handles.pop(pick.randrange(len(self.handles)))[0])

    @rule()
    def close_all(self):
        for fh, _ in self.handles:
            self.store.close(fh)
        self.handles.clear()
        assert not self.store.files.open_files

    @rule()
    def power_on_again(self):
        self.store = Store(MemoryFiles(self.store.files.snapshot()), seed=len(self.model) + 2)
        self.handles.clear()

    @invariant()
    def no_file_without_object(self):
        assert len(self.store.files.content) - 1 <= len(self.model)

    def teardown(self):
        for fh, held in self.handles:
            self._read(fh, held, 0, 1 << 20)
        assert self.store.everything() == {key: held.data for key, held in self.model.items()}
        again = Store(MemoryFiles(self.store.files.snapshot()))
        assert again.everything() == {key: held.data for key, held in self.model.items()}


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
