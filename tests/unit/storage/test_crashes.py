"""A commit is atomic, whatever happens below: see crash_points and faults."""

import pytest
from crash_points import crash_points, stopped
from faults import ERRORS, POWER_CUTS

from optemu.secure_world.storage import ree_fs


def test_crash_points():
    counts = crash_points(2_000)
    print(f"{sum(counts.values())} crash points: {counts}")
    assert sum(counts.values()) >= 2_000
    assert set(counts) == {*POWER_CUTS, *ERRORS}


def test_the_test_notices():
    """Upstream's order, a file cut before the commit, loses what was committed."""

    def cut_first(files, tree, size):
        needed = whole(files, tree, size)
        files.truncate(tree.fd, needed)
        return needed

    whole = ree_fs.truncate_data
    with pytest.MonkeyPatch.context() as patch, pytest.raises(AssertionError, match="can be read"):
        patch.setattr(ree_fs, "truncate_data", cut_first)
        for seed in range(40):
            for at in range(1, 120):
                stopped(seed, "before", at)
