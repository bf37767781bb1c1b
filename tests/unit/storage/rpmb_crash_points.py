"""``make crash``, for what is kept in RPMB: objects, or the root of the REE file system.

The board is what its files and its device hold; so one run of a workload gives all points at which the power may go:
between every two changes of either. What has changed nothing is no point of its own.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from crash_points import SIZES, Objects, Run, Step, check, workload
from faults import ERRORS, FaultyFiles
from memory_files import HUK, TA, MemoryFiles, SeededRng, Store
from memory_rpmb import MemoryRpmb

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.storage.key_manager import KeyManager
from optemu.secure_world.storage.ree_fs import ReeFs
from optemu.secure_world.storage.rpmb import Rpmb
from optemu.secure_world.storage.rpmb_fs import RpmbFs
from optemu.secure_world.storage.rpmb_root import RpmbRoot

KINDS = ("RPMB", "root in RPMB")
RPMB_ERRORS = (*ERRORS, "EIO, lasting")
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


class FaultyRpmb(MemoryRpmb):
    """``fault`` comes at request number ``at``, counted from 1; "EIO, lasting" at every later one, too."""

    fault, at = "", 0

    def data_request(self, frames: bytes, response_frames: int, kernel: bool) -> bytes:
        before = self.at and (self.calls + 1 == self.at or (self.fault == "EIO, lasting" and self.calls >= self.at))
        if before and self.fault not in ("EIO, done", "short"):
            self.calls += 1
            code = gp.TEE_ERROR_STORAGE_NO_SPACE if self.fault == "ENOSPC" else gp.TEE_ERROR_GENERIC
            raise TeeError(code, f"RPMB: {self.fault}")
        answer = super().data_request(frames, response_frames, kernel)
        if before and self.fault == "EIO, done":
            raise TeeError(gp.TEE_ERROR_GENERIC, "RPMB: input/output error")
        return answer[:-512] if before else answer


def failed(kind: str, seed: int, fault: str, at: int, below: str) -> bool:
    """A workload with one error of the disk, or of the device ``below``; was there one, or was it over before?"""
    files, device = FaultyFiles(seed=seed), FaultyRpmb()
    faulty = files if below == "files" else device
    faulty.fault, faulty.at = fault, at
    run = Run(Board(kind, files, device, seed))
    for step in workload(seed, sizes=RPMB_SIZES if kind == "RPMB" else SIZES):
        there = step.key in run.objects and (step.what != "rename" or (step.key[0], step.other) not in run.objects)
        if step.what != "create" and not there:
            continue  # an error before has left it out, or left it there
        after = step.applied(run.objects)
        where = f"{kind}, seed {seed}, {fault} at operation {at} of {below} ({step})"
        try:
            run.do(step)
            run.objects = after
        except TeeError as e:
            assert files.hit or device.calls >= at > 0, where
            run.objects = look(kind, Moment(files.snapshot(), device.copy(), [run.objects, after], step), where)
            if e.code == gp.TEE_ERROR_COMMUNICATION or fault == "EIO, lasting":
                return True  # nothing works until the next start
    look(kind, Moment(files.snapshot(), device.copy(), [run.objects], step), f"{kind}, seed {seed}, {fault} at {at}")
    return bool(files.hit) or device.calls >= device.at > 0


def look(kind: str, moment: Moment, where: str) -> Objects:
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
    return found


def crash_points(count: int, seed: int = 0, *, errors: bool = True) -> dict[str, int]:
    """At least ``count`` of them, whole workloads; how many of each kind. Without ``errors`` only the power goes."""
    counts = dict.fromkeys([*KINDS, *(f"{kind}, {fault}" for kind in KINDS for fault in RPMB_ERRORS)], 0)
    for n in itertools.count(seed):
        for kind in KINDS:
            for at, moment in enumerate(moments(kind, n)):
                look(kind, moment, f"{kind}, seed {n}, change {at} ({moment.step})")
                counts[kind] += 1
            faults = [(fault, "RPMB") for fault in RPMB_ERRORS]
            if kind != "RPMB":
                faults += [(fault, "files") for fault in ERRORS]
            for fault, below in faults if errors else ():
                for at in itertools.count(1):
                    if not failed(kind, n, fault, at, below):
                        break
                    counts[f"{kind}, {fault}"] += 1
        if sum(counts.values()) >= count:
            return counts
    raise AssertionError
