"""A commit is atomic, whatever happens below: see crash_points and faults."""

import contextlib
import itertools
from random import Random

import memory_rpmb
import pytest
from crash_points import KEYS, SIZES, crash_points
from faults import ERRORS, POWER_CUTS, FaultyFiles, PowerCut
from memory_files import MemoryFiles, Store
from memory_rpmb import MemoryRpmb, RpmbStore
from record_crash_points import UUIDS, Core
from record_crash_points import crash_points as record_crash_points
from rpmb_crash_points import KINDS, RPMB_ERRORS, RPMB_SIZES
from rpmb_crash_points import crash_points as rpmb_crash_points

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.storage import ree_fs, rpmb_fat, rpmb_fs, tadb


def test_crash_points():
    counts = crash_points(2_000)
    print(f"{sum(counts.values())} crash points: {counts}")
    assert sum(counts.values()) >= 2_000
    assert set(counts) == {*POWER_CUTS, *ERRORS}


def test_crash_points_with_rpmb():
    counts = rpmb_crash_points(2_000)
    print(f"{sum(counts.values())} crash points: {counts}")
    assert sum(counts.values()) >= 2_000
    assert all(counts.values())
    assert len(counts) == len(KINDS) * (1 + len(RPMB_ERRORS))


def test_crash_points_of_records_of_tas():
    counts = record_crash_points(2_000)
    print(f"{sum(counts.values())} crash points: {counts}")
    assert sum(counts.values()) >= 2_000
    assert set(counts) == {*POWER_CUTS, *ERRORS}
    assert all(counts.values())


def test_the_test_of_records_notices(monkeypatch):
    """What was installed before goes before its successor is there; a file goes that an entry names."""

    def removed_first(self, ree, index, entry):
        if index < len(self._entries):
            tadb._remove_file(ree, self._entries[index].file)
        write(self, ree, index, entry)

    def removed_when_it_failed(self, ree, index, entry):
        try:
            write(self, ree, index, entry)
        except TeeError:
            if entry is not None:
                tadb._remove_file(ree, entry.file)
            raise

    write = tadb.TaDb._write
    for wrong in (removed_first, removed_when_it_failed):
        monkeypatch.setattr(tadb.TaDb, "_write", wrong)
        with pytest.raises(AssertionError, match=r"\.ta|not there"):
            record_crash_points(2_000)


def test_the_rpmb_test_notices(monkeypatch):
    """Upstream's order, what is replaced goes first, has a moment with neither; and it leaves what was not finished."""

    def replaced_first(self, frames, entry, filename, replaced):
        if replaced is not None:
            self._fat.clear(frames, replaced)
        self._fat.rename(frames, entry, filename)

    with monkeypatch.context() as m:
        m.setattr(rpmb_fs.RpmbFs, "_rename", replaced_first)
        with pytest.raises(AssertionError, match="found"):
            rpmb_crash_points(2_000, errors=False)
    monkeypatch.setattr(rpmb_fat.Fat, "_tidy", lambda self, frames: None)
    with pytest.raises(AssertionError, match=r"found|room is lost"):
        rpmb_crash_points(2_000, errors=False)


def test_the_test_notices(monkeypatch):
    """Upstream's order, a file cut before the commit, loses what was committed."""

    def cut_first(files, tree, size):
        needed = whole(files, tree, size)
        if needed is not None:
            files.truncate(tree.fd, needed)
        return needed

    whole = ree_fs.truncate_data
    monkeypatch.setattr(ree_fs, "truncate_data", cut_first)
    with pytest.raises(AssertionError, match="of its 4096 bytes"):
        crash_points(2_000)


def test_nothing_changed_but_the_head():
    """A commit of what is there already has the same root; it is whole at each moment all the same."""
    store = Store()
    store.put(b"data")
    fh = store.open()
    for at in range(1, 4):
        tree = fh.tree
        tree.set_dirty()
        files = FaultyFiles(store.files.snapshot(), "after", at)
        files.open_files = {tree.fd: files.content[b"0"]}
        with contextlib.suppress(PowerCut):
            tree.sync_to_storage(files)
        assert Store(MemoryFiles(files.snapshot())).get() == b"data"
        fh = store.open()


def test_no_space():
    """The result says so; nothing is left of what had no room, and what was there is whole."""
    store = Store()
    store.put(b"old")
    before = store.files.snapshot()
    for at in itertools.count(1):
        files = FaultyFiles(before, "ENOSPC", at)
        again = Store(files)
        try:
            again.put(bytes(100_000))
        except TeeError as e:
            if e.code != gp.TEE_ERROR_STORAGE_NO_SPACE:
                continue  # not an operation that needs space
            files.at = 0
            assert again.get() == b"old"
            assert not files.open_files
            again.put(b"new")
            assert len(files.content) == 2
        if not files.hit:
            break
    assert at > 8


def test_nothing_grows_however_often_the_power_goes():
    """One board that is switched off at a random file operation, on and on: a file more than there ever were objects.

    And none that belongs to no object, once it was switched on.
    """
    content: dict[bytes, bytes] = {}
    for n in range(300):
        pick = Random(n)
        files = FaultyFiles(content, pick.choice(POWER_CUTS), pick.randrange(1, 80), seed=n)
        with contextlib.suppress(PowerCut):
            store = Store(files, seed=n)
            for key in (pick.choice(KEYS) for _ in range(20)):
                if pick.randrange(3) or key[1] not in store.objects(key[0]):
                    store.put(pick.randbytes(pick.choice(SIZES)), key[1], key[0])
                else:
                    store.remove(key[1], key[0])
        content = files.snapshot()
        store = Store(MemoryFiles(content))
        objects = len(store.everything())
        assert len(content) <= 1 + len(KEYS) + 1, f"round {n}: {sorted(content)} for {objects}"
        assert len(store.files.content) <= 1 + objects


def test_no_ta_grows_however_often_the_power_goes():
    content: dict[bytes, bytes] = {}
    for n in range(300):
        pick = Random(n)
        files = FaultyFiles(content, pick.choice(POWER_CUTS), pick.randrange(1, 60), seed=n)
        with contextlib.suppress(PowerCut):
            core = Core(files, seed=n)
            for version in range(100 * n, 100 * n + 9):
                core.tas.install(core.store.ree, pick.choice(UUIDS), version, b"a TA")
                installed = core.tas.installed(core.store.ree)
                if len(installed) > 1 and pick.randrange(2):
                    core.tas.delete(core.store.ree, installed[-1][0])
        content = files.snapshot()
        # Those of each UUID, one too many, and dirf.db, ta.db; of which a new version may be under way, and the old.
        assert len(content) <= len(UUIDS) + 1 + 2 + 2, sorted(content)


def test_rpmb_does_not_grow_however_often_the_power_goes():
    device = MemoryRpmb()
    for n in range(100):
        pick = Random(n)
        store = RpmbStore(device)
        device.stop_before = device.calls + pick.randrange(1, 100)
        with contextlib.suppress(memory_rpmb.PowerCut):
            for name in (pick.choice((b"a", b"b", b"c")) for _ in range(20)):
                if pick.randrange(3) or name not in store.all():
                    store.put(name, pick.randbytes(pick.choice(RPMB_SIZES)))
                else:
                    store.fs.remove(store, store.pobj(name))
        device = device.copy()
        found = RpmbStore(device)
        kept = sum(-(-len(data) // 256) * 256 for data in found.all().values())
        assert found.fs.mem_stats(found)[0] == kept, f"round {n}"
        assert len(list(found.fs._fat.entries(found.rpmb))) <= 3 + 1 + 1, f"round {n}: the table"
