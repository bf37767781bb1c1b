"""``make crash``, at every file operation: small workloads on real machines, stopped before and after each, and looked at.

A process runs a machine through a workload. Before and after each system call that supplicant or RPMB device make to
the host's files, it forks, and what has come out, the whole process with all its memory and files, is killed (SIGKILL):
at once, or in the middle of the write. What is on the disk then is kept; so is, after each call, what would be there if
the power went: names and octets that were synced, and no others. A machine opens each, and must find what was
committed. Two points that left the same to be found are looked at once.
"""

import argparse
import contextlib
import functools
import hashlib
import json
import logging
import os
import random
import shutil
import signal
import stat
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from storage_kills import MODULES, Host, Kind, built, ended, forked
from storage_workloads import WORKLOADS, Board, Images, State, Workload

from optemu.cli.store import open_store
from optemu.secure_world.storage.ree_fs import ReeFs

HOW: Final = ("killed before", "torn", "killed after", "power cut after")
Tree = dict[str, bytes | None]
"""A state directory: paths and octets, None for a directory."""


# --- where it stops ---------------------------------------------------------------------------------------------------


class Disk:
    """What of ``directory`` would be there after a power cut: names and octets that were synced."""

    def __init__(self, directory: Path) -> None:
        self._root = directory
        self._files: dict[int, bytes] = {}
        self._names: dict[int, dict[str, tuple[int, bool]]] = {}
        """Of a directory: the inodes of what is in it, and which of them are directories themselves."""

    def synced(self, fd: int) -> None:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            self._names[status.st_ino] = {e.name: (e.inode(), e.is_dir()) for e in os.scandir(fd)}
        else:
            self._files[status.st_ino] = os.pread(fd, status.st_size, 0)

    def tree(self) -> Tree:
        return dict(self._below("", self._root.stat().st_ino))

    def _below(self, path: str, directory: int) -> Iterator[tuple[str, bytes | None]]:
        for name, (inode, is_directory) in self._names.get(directory, {}).items():
            yield path + name, None if is_directory else self._files.get(inode, b"")
            if is_directory:
                yield from self._below(f"{path}{name}/", inode)


def tree_of(directory: Path) -> Tree:
    return {
        str(path.relative_to(directory)): None if path.is_dir() else path.read_bytes()
        for path in sorted(directory.rglob("*"))
    }


@dataclass
class Kept:
    """What there is after some points, and what may be found there."""

    tree: Tree
    points: list[tuple[list[State], str]]


class Stops:
    """``os`` for the modules that work on the host's files: stops before and after each of their calls."""

    def __init__(self, state: Path, steps: Sequence[tuple[object, State]]) -> None:
        self.step, self.ended = 0, True
        self.counts: Counter[str] = Counter()
        self.kept: dict[bytes, Kept] = {}
        self._states: list[State] = [{}, *(after for _, after in steps)]
        self._directory, self._disk = state, Disk(state)
        self._calls = 0
        self._random = random.Random(1)
        self._unlinked: list[int] = []
        """Descriptors: so long their inodes name nothing else."""

    def __getattr__(self, name: str) -> object:
        real = getattr(os, name)
        return functools.partial(self._call, name, real) if name in Host.COUNTED else real

    def _call(self, name: str, real: Callable[..., object], *args: Any, **named: Any) -> object:
        self._calls += 1
        self._killed("killed before", name)
        if name == "pwrite" and len(args[1]) > 1:
            some = args[1][: self._random.randrange(1, len(args[1]))]
            self._killed("torn", name, lambda: os.pwrite(args[0], some, args[2]))
        if name == "unlink":
            with contextlib.suppress(FileNotFoundError):
                self._unlinked.append(os.open(args[0], os.O_RDONLY, **named))
        try:
            # Nobody waits for the disk.
            return self._disk.synced(args[0]) if name in ("fdatasync", "fsync") else real(*args, **named)
        finally:
            self._killed("killed after", name)
            self._keep(self._disk.tree(), "power cut after", name)

    def _killed(self, how: str, name: str, last: Callable[[], object] = lambda: None) -> None:
        pid = os.fork()
        if not pid:
            last()
            os.kill(os.getpid(), signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status)
        assert os.WTERMSIG(status) == signal.SIGKILL
        self._keep(tree_of(self._directory), how, name)

    def _keep(self, tree: Tree, how: str, name: str) -> None:
        self.counts[how] += 1
        digest = hashlib.sha256()
        for path, data in tree.items():
            digest.update(repr((path, data is None, len(data or b""))).encode() + (data or b""))
        kept = self.kept.setdefault(digest.digest(), Kept(tree, []))
        where = (
            f"{how} call {self._calls} ({name}), {'after' if self.ended else 'in'} step {self.step + (not self.ended)}"
        )
        kept.points.append((self._states[self.step : self.step + (1 if self.ended else 2)], where))


# --- what is found ----------------------------------------------------------------------------------------------------


def look(kind: Kind, work: Workload, kept: Kept, state: Path, images: Images) -> State:
    """What a machine finds. AssertionError when it does not work, or there is more than it needs."""
    state.mkdir(mode=0o700, parents=True)
    for path, data in kept.tree.items():
        if data is None:
            (state / path).mkdir(mode=0o700)
        else:
            (state / path).write_bytes(data)
    with Board(kind, state, images, seed=None) as board:
        found = work.found(board)
        work.go_on(board)
    assert {path.name for path in state.iterdir()} <= {"tee", "rpmb"}, os.listdir(state)
    with open_store(board.config) as store:
        installed = [file for _, _, _, file in store.tas.installed(store.ree)]
        named = {place.file for place in store.places()} | {*installed, "dirf.db"}
        nobody_s = set(store.files.names()) - named
    # The file of a TA that was replaced, or not quite installed, is overwritten by the next.
    assert nobody_s <= {f"{n}.ta" for n in range(len(installed) + 1)}, nobody_s
    return found


@contextlib.contextmanager
def patched(host: object) -> Iterator[None]:
    for module in MODULES:
        module.os = host
    yield
    for module in MODULES:
        module.os = os


def shown(state: State) -> State:
    return {what: f"{len(how)} octets" if isinstance(how, bytes) else how for what, how in state.items()}


def at_every_call(kind: Kind, work: Workload, images: Images, scratch: Path) -> tuple[Counter[str], int]:
    """(points of each sort, how many of them differed). AssertionError says at which it was."""
    stops = Stops(scratch / "state", work.steps)
    with patched(stops), Board(kind, scratch / "state", images, seed=1) as board:
        for n, (do, _) in enumerate(work.steps):
            stops.step, stops.ended = n, False
            do(board)
            stops.step, stops.ended = n + 1, True
    what = f"{kind.name}, {work.name}"
    with patched(Host("", 0, scratch)):
        for n, kept in enumerate(stops.kept.values()):
            try:
                found = look(kind, work, kept, scratch / f"{n}" / "state", images)
            except Exception as e:
                raise AssertionError(f"{what}, {kept.points[0][1]}: {e}") from e
            for allowed, where in kept.points:
                assert found in allowed, f"{what}, {where}: found {shown(found)}, not {[shown(s) for s in allowed]}"
            shutil.rmtree(scratch / f"{n}")
    return stops.counts, len(stops.kept)


def every(images: Images, scratch: Path, processes: int, quick: bool) -> tuple[Counter[str], int]:
    """All workloads on all their kinds of boards, some at a time. Killed when something was not as it should be."""
    jobs = [(kind, work) for work in WORKLOADS for kind in work.kinds[: work.quick if quick else None]]

    def run(first: int, into: int) -> None:
        # What is written anew goes to another file, though the objects here are small.
        ReeFs.anew_blocks = 1
        counts, looks = Counter[str](), 0
        for n, (kind, work) in enumerate(jobs[first::processes]):
            own = scratch / f"{first}-{n}"
            own.mkdir()
            some, differed = at_every_call(kind, work, images, own)
            counts, looks = counts + some, looks + differed
        os.write(into, json.dumps([counts, looks]).encode())

    running = [forked(functools.partial(run, first)) for first in range(processes)]
    told = [json.loads(ended(*process)[1]) for process in running]
    return sum((Counter(counts) for counts, _ in told), Counter()), sum(looks for _, looks in told)


def main() -> None:
    p = argparse.ArgumentParser(prog="storage_stops", description=__doc__)
    p.add_argument("--tas", type=Path, help="directory with the TAs; by default they are built")
    p.add_argument("--processes", type=int, default=os.cpu_count(), help="so many at a time")
    p.add_argument("--quick", action="store_true", help="what the core keeps of TAs on one kind of board only")
    args = p.parse_args()
    logging.getLogger("optemu").setLevel(logging.CRITICAL)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="optemu-stops-") as scratch:
        tas = args.tas or built(Path(scratch), "crypt", "probe", "quiet")
        counts, looks = every(Images(tas), Path(scratch), args.processes, args.quick)
    kinds = ", ".join(f"{counts[how]:,} {how}" for how in HOW)
    took = time.monotonic() - start
    print(f"{counts.total():,} stops at every file operation, {looks:,} different, {took:.0f} s: {kinds}")


if __name__ == "__main__":
    main()
