"""The REE file system with its root in RPMB: files that were set back are noticed, and no power cut is."""

import itertools
from dataclasses import dataclass, field

import pytest
from memory_files import HUK, TA, MemoryFiles, SeededRng
from memory_rpmb import MemoryRpmb, PowerCut

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.storage.key_manager import KeyManager
from optemu.secure_world.storage.ree_fs import ReeFs
from optemu.secure_world.storage.rpmb import Rpmb
from optemu.secure_world.storage.rpmb_fs import RpmbFs
from optemu.secure_world.storage.rpmb_root import RpmbRoot
from optemu.secure_world.storage.tee_fs import Pobj


@dataclass
class Board:
    """Both stores of the normal world, and a TEE that was switched on with them."""

    rpmb: MemoryRpmb = field(default_factory=MemoryRpmb)
    files: MemoryFiles = field(default_factory=MemoryFiles)

    def __post_init__(self):
        rng, keys = SeededRng(), KeyManager(HUK)
        self.rpmb_fs = RpmbFs(Rpmb(HUK, rng, True), keys, rng)
        self.fs = ReeFs(keys, rng, RpmbRoot(self.rpmb_fs))

    def start(self, files=None, rpmb=None):
        """Another board with what lasts of this one."""
        return Board((rpmb or self.rpmb).copy(), MemoryFiles(self.files.snapshot() if files is None else files))

    def put(self, obj_id, data):
        self.fs.close(self, self.fs.create(self, Pobj(self.fs, TA, obj_id), True, b"", b"", data))

    def all(self):
        found = {}
        for obj_id in list(self.fs.objects(self, TA)):
            size, fh = self.fs.open(self, Pobj(self.fs, TA, obj_id))
            found[obj_id] = self.fs.read(self, fh, 0, size)
            self.fs.close(self, fh)
        return found


def test_where_the_root_is():
    board = Board()
    board.put(b"x", b"1")
    fh = board.rpmb_fs.raw_open(board, b"/dirfile.db.hash", False)
    assert len(board.rpmb_fs.read(board, fh, 0, 100)) == 32
    assert board.start().all() == {b"x": b"1"}


def test_files_that_were_set_back():
    board = Board()
    board.put(b"x", b"1")
    old = board.files.snapshot()
    board.put(b"x", b"2")
    board.put(b"x", b"3")
    assert board.start().all() == {b"x": b"3"}
    with pytest.raises(TeeError):
        board.start(files=old).all()


def test_files_that_are_gone():
    board = Board()
    board.put(b"x", b"1")
    with pytest.raises(TeeError) as caught:
        board.start(files={}).all()
    assert caught.value.code == gp.TEE_ERROR_SECURITY


def test_a_device_that_is_gone():
    """Without a root there is no database that could be believed: storage begins anew."""
    board = Board()
    board.put(b"x", b"1")
    assert board.start(rpmb=MemoryRpmb()).all() == {}


def test_the_power_goes_at_any_request():
    first = Board()
    first.put(b"x", b"1" * 5000)
    for when, number in itertools.product(("stop_before", "stop_after"), range(60)):
        board = first.start()
        setattr(board.rpmb, when, number)
        try:
            board.put(b"x", b"2" * 5000)
        except PowerCut:
            pass
        else:
            assert number > 3
            break
        again = board.start()
        assert again.all() in ({b"x": b"1" * 5000}, {b"x": b"2" * 5000})
        again.put(b"y", b"3")
        assert again.start().all()[b"y"] == b"3"
