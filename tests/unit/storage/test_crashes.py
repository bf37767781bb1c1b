"""A commit is atomic, whatever happens below: see crash_points and faults."""

import contextlib

import pytest
from crash_points import crash_points
from faults import ERRORS, POWER_CUTS, FaultyFiles, PowerCut
from memory_files import MemoryFiles, Store

from optemu.secure_world.storage import ree_fs


def test_crash_points():
    counts = crash_points(2_000)
    print(f"{sum(counts.values())} crash points: {counts}")
    assert sum(counts.values()) >= 2_000
    assert set(counts) == {*POWER_CUTS, *ERRORS}


def test_the_test_notices(monkeypatch):
    """Upstream's order, a file cut before the commit, loses what was committed."""

    def cut_first(files, tree, size):
        needed = whole(files, tree, size)
        files.truncate(tree.fd, needed)
        return needed

    whole = ree_fs.truncate_data
    monkeypatch.setattr(ree_fs, "truncate_data", cut_first)
    with pytest.raises(AssertionError, match="can be read"):
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
