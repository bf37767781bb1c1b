"""``make crash``, for what is kept in RPMB: objects, or the root of the REE file system.

The board is what its files and its device hold; so one run of a workload gives all points at which the power may go:
between every two changes of either. What has changed nothing is no point of its own.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from crash_points import SIZES, Objects, Run, Step, check, workload
from faults import FaultyFiles
from memory_files import HUK, TA, MemoryFiles, SeededRng, Store
from memory_rpmb import MemoryRpmb

from optemu.errors import TeeError
from optemu.secure_world.storage.key_manager import KeyManager
from optemu.secure_world.storage.ree_fs import ReeFs
from optemu.secure_world.storage.rpmb import Rpmb
from optemu.secure_world.storage.rpmb_fs import RpmbFs
from optemu.secure_world.storage.rpmb_root import RpmbRoot

KINDS = ("RPMB", "root in RPMB")
RPMB_SIZES = (0, 1, 60, 255, 256, 257, 700, 1500)


@dataclass
class Ree:
    files: MemoryFiles
    rpmb: MemoryRpmb


class Board(Store):
    """Switched on with ``device`` and files; objects are in ``kind``."""

    def __init__(self, kind: str, files: MemoryFiles, device: MemoryRpmb, seed: int) -> None:
        self.ree = Ree(files, device)
        keys, rng = KeyManager(HUK), SeededRng(seed)
        self.rpmb_fs = RpmbFs(Rpmb(HUK, rng, write_key=True), keys, rng)
        self.fs = self.rpmb_fs if kind == "RPMB" else ReeFs(keys, rng, RpmbRoot(self.rpmb_fs))


class Moment(NamedTuple):
    """What there is when the power goes, and what may be found then."""

    files: dict[bytes, bytes]
    device: MemoryRpmb
    allowed: list[Objects]
    step: Step


@dataclass
class Recorder:
    """Takes down what files and device are after each change."""

    files: MemoryFiles
    device: MemoryRpmb
    taken: list[tuple[dict[bytes, bytes], MemoryRpmb]] = field(default_factory=list)

    def take(self) -> None:
        files = self.files.snapshot()
        if not self.taken or (files, self.device.counter) != (self.taken[-1][0], self.taken[-1][1].counter):
            self.taken.append((files, self.device.copy()))


class RecordedFiles(FaultyFiles):
    recorder: Recorder

    def _do(self, what, operation):
        result = super()._do(what, operation)
        if what in ("create", "write", "truncate", "remove"):
            self.recorder.take()
        return result


class RecordedRpmb(MemoryRpmb):
    recorder: Recorder

    def data_request(self, frames: bytes, response_frames: int, kernel: bool) -> bytes:
        answer = super().data_request(frames, response_frames, kernel)
        self.recorder.take()
        return answer


def moments(kind: str, seed: int) -> Iterator[Moment]:
    """All of one workload."""
    files, device = RecordedFiles(), RecordedRpmb()
    files.recorder = device.recorder = recorder = Recorder(files, device)
    run = Run(Board(kind, files, device, seed))
    recorder.take()
    for step in workload(seed, sizes=RPMB_SIZES if kind == "RPMB" else SIZES):
        if step.what != "create" and step.key not in run.objects:
            continue
        after = step.applied(run.objects)
        try:
            run.do(step)
        except TeeError as e:
            raise AssertionError(f"{kind}, seed {seed}, {step}: {e}") from e
        yield from (Moment(files, device, [run.objects, after], step) for files, device in recorder.taken)
        recorder.taken = recorder.taken[-1:]
        run.objects = after


def look(kind: str, moment: Moment, where: str) -> None:
    """What a board that is powered on now finds: one of what may be there, no room lost, and it works."""
    board = Board(kind, MemoryFiles(moment.files), moment.device.copy(), seed=99)
    try:
        found = check(board.everything(), moment.allowed, where)
        board.put(b"new", b"new")
        check(board.everything(), [{**found, (TA, b"new"): b"new"}], where)
        board.remove(b"new")
        kept = 32 if kind == "root in RPMB" else sum(-(-len(data) // 256) * 256 for data in found.values())
        assert board.rpmb_fs.mem_stats(board.ree)[0] == -(-kept // 256) * 256, f"{where}: room is lost"
    except TeeError as e:
        raise AssertionError(f"{where}: {e}") from e
    files = set(board.files.content) - {b"dirf.db"}
    assert kind == "RPMB" or len(files) == len(found), f"{where}: {sorted(files)} for {len(found)}"


def crash_points(count: int, seed: int = 0) -> dict[str, int]:
    """At least ``count`` of them, whole workloads; how many of each kind."""
    counts = dict.fromkeys(KINDS, 0)
    for n in itertools.count(seed):
        for kind in KINDS:
            for at, moment in enumerate(moments(kind, n)):
                look(kind, moment, f"{kind}, seed {n}, change {at} ({moment.step})")
                counts[kind] += 1
        if sum(counts.values()) >= count:
            return counts
    raise AssertionError
