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
from uuid import UUID

from crypt_client import Tee
from storage_kills import KINDS, MODULES, Host, Kind, Step, ended, everything, forked
from tas.constants import CRYPT_UUID, PROBE_UUID, QUIET_UUID

from optemu import sign
from optemu.abi import gp, shdr
from optemu.cli.store import open_store
from optemu.machine import Machine
from optemu.normal_world.libteec import Operation, TeecError, TempMemref
from optemu.secure_world.pta.secstor_ta_mgmt import PTA_SECSTOR_TA_MGMT_BOOTSTRAP, SecstorTaMgmtPta

HOW: Final = ("killed before", "torn", "killed after", "power cut after")
State = dict[Any, Any]
"""What a workload is about: objects, TAs that are installed, or the lowest versions."""
Tree = dict[str, bytes | None]
"""A state directory: paths and octets, None for a directory."""


# --- what is done -----------------------------------------------------------------------------------------------------


class Images:
    """TAs of several versions, each signed once. ``tas``: a directory with those of crypt, probe and quiet."""

    def __init__(self, tas: Path) -> None:
        self._tas = tas
        self._key = sign.load_private_key(sign.DEV_KEY)
        self.crypt = self._raw(CRYPT_UUID)
        self.get = functools.cache(self._get)

    def _raw(self, uuid: str) -> bytes:
        return (self._tas / f"{uuid}.ta").read_bytes()

    def _get(self, uuid: str, version: int, subkey: int | None = None) -> bytes:
        """``subkey``: behind a subkey of that version, which is the development key once more."""
        part = next(iter(shdr.parse_image(self._raw(uuid))))
        assert isinstance(part, shdr.TaPart)
        octets, bits, pss = UUID(uuid).bytes, self._key.key_size, sign.SIG_ALGOS["pss"]
        image = sign.bootstrap_ta(bytes(part.payload), octets, bits, pss, version)
        if subkey is not None:
            key = sign.subkey_image(self._key.public_key(), octets, bits, pss, version=subkey, max_depth=0, name_size=0)
            image = image.under(key.sign(self._key))
        return image.sign(self._key)


class Board:
    """A machine of ``kind`` on ``state`` while it is entered. ``seed``: None for one that looks at what is there."""

    def __init__(self, kind: Kind, state: Path, images: Images, seed: int | None) -> None:
        self.kind, self.images = kind, images
        self.config = kind.config(state, seed)
        self._tas = state.with_name("tas")
        shutil.rmtree(self._tas, ignore_errors=True)
        self._tas.mkdir()
        self.put(CRYPT_UUID, images.crypt)
        self._tee: Tee | None = None

    def __enter__(self) -> "Board":
        self._stack = contextlib.ExitStack()
        self._machine = self._stack.enter_context(Machine(self.config, ta_dirs=[self._tas]))
        self._context = self._stack.enter_context(self._machine.connect())
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def put(self, uuid: str, image: bytes) -> None:
        (self._tas / f"{uuid}.ta").write_bytes(image)

    @property
    def tee(self) -> Tee:
        if self._tee is None:
            self._tee = Tee(self._stack.enter_context(self._context.OpenSession(UUID(CRYPT_UUID))))
        return self._tee

    def open(self, uuid: str) -> bool:
        """Is there such a TA, and not too old a one?"""
        try:
            self._context.OpenSession(UUID(uuid)).CloseSession()
        except TeecError as e:
            if e.code in (gp.TEE_ERROR_ITEM_NOT_FOUND, gp.TEE_ERROR_ACCESS_CONFLICT, gp.TEE_ERROR_SECURITY):
                return False
            raise
        return True

    def install(self, uuid: str, version: int) -> bool:
        """The TA comes into secure storage. Not so when a later version is there."""
        with self._context.OpenSession(UUID(bytes=SecstorTaMgmtPta.uuid)) as pta:
            image = TempMemref.input(self.images.get(uuid, version))
            try:
                pta.InvokeCommand(PTA_SECSTOR_TA_MGMT_BOOTSTRAP, Operation(image))
            except TeecError as e:
                if e.code != gp.TEE_ERROR_ACCESS_CONFLICT:
                    raise
                return False
        return True

    def run(self, uuid: str, version: int, subkey: int | None = None) -> bool:
        """The TA is opened, out of a file of the normal world. Not so when a later version was."""
        self.put(uuid, self.images.get(uuid, version, subkey))
        return self.open(uuid)


class Workload:
    """Steps, each with what there is after it."""

    name: str
    kinds: Sequence[Kind] = KINDS
    quick: int | None = None
    """So many of ``kinds``, where it has to be quick."""
    steps: Sequence[tuple[Callable[[Board], object], State]]

    def found(self, board: Board) -> State:
        """What a machine finds that was just switched on."""
        raise NotImplementedError

    def go_on(self, board: Board) -> None:
        """Something else is done, which must work."""


class ObjectsOfATa(Workload):
    name = "objects"
    _STEPS = (
        Step("create", b"a", b"", 0, bytes(range(100))),
        Step("write", b"a", b"", 50, b"in place"),
        Step("write", b"a", b"", 4090, b"behind the end"),
        Step("create", b"b", b"", 0, b"second" * 800),
        Step("truncate", b"a", b"", 10, b""),
        Step("truncate", b"a", b"", 5000, b""),
        Step("rename", b"a", b"c" * 64, 0, b""),
        Step("create", b"b", b"", 0, b"in place of the second"),
        Step("delete", b"c" * 64, b"", 0, b""),
        Step("delete", b"b", b"", 0, b""),
    )

    def __init__(self) -> None:
        objects: State = {}
        self.steps = [(self._do(step), objects := step.applied(objects)) for step in self._STEPS]

    @staticmethod
    def _do(step: Step) -> Callable[[Board], None]:
        return lambda board: step.do(board.tee, board.kind.storage)

    def found(self, board: Board) -> State:
        return everything(board.tee, board.kind.storage)

    def go_on(self, board: Board) -> None:
        for what in ("create", "delete"):
            Step(what, b"new", b"", 0, b"new").do(board.tee, board.kind.storage)


class InstalledTas(Workload):
    """TAs in secure storage: the database ta.db, and a file for each."""

    name = "installed TAs"
    kinds = KINDS[:2]
    quick = 1
    _STEPS = ((QUIET_UUID, 1), (PROBE_UUID, 1), (QUIET_UUID, 2), (QUIET_UUID, 2), (PROBE_UUID, 3))

    def __init__(self) -> None:
        there: State = {}
        self.steps = [(_done(Board.install, *step), there := {**there, step[0]: step[1]}) for step in self._STEPS]

    def found(self, board: Board) -> State:
        """Of those that can be opened: the lowest version that can be put in their place."""
        there = [uuid for uuid in (QUIET_UUID, PROBE_UUID) if board.open(uuid)]
        return {uuid: next(v for v in range(1, 9) if board.install(uuid, v)) for uuid in there}

    def go_on(self, board: Board) -> None:
        assert board.install(QUIET_UUID, 9)
        assert not board.install(QUIET_UUID, 8)
        assert board.open(QUIET_UUID)


class LowestVersions(Workload):
    """Versions of TAs and subkeys that were seen, below which they are refused: ta_ver.db, subkey_ver.db."""

    name = "versions"
    kinds = KINDS[:2]
    quick = 1
    _STEPS = ((QUIET_UUID, 1), (PROBE_UUID, 1), (QUIET_UUID, 2), (QUIET_UUID, 2, 1), (QUIET_UUID, 2, 2))

    def __init__(self) -> None:
        seen: State = {}
        self.steps = []
        for uuid, version, *subkey in self._STEPS:
            seen = {**seen, uuid: version, **({("subkey", uuid): subkey[0]} if subkey else {})}
            self.steps.append((_done(Board.run, uuid, version, *subkey), seen))

    def found(self, board: Board) -> State:
        """The lowest that are not refused; what can be 0 was never seen."""
        seen: State = {}
        for uuid in (QUIET_UUID, PROBE_UUID):
            seen[uuid] = next(v for v in range(9) if board.run(uuid, v))
        lowest = seen[QUIET_UUID]
        seen["subkey", QUIET_UUID] = next(v for v in range(9) if board.run(QUIET_UUID, lowest, v))
        return {what: version for what, version in seen.items() if version}

    def go_on(self, board: Board) -> None:
        assert board.run(QUIET_UUID, 9, 9)
        assert not board.run(QUIET_UUID, 8, 9)


def _done(do: Callable[..., bool], *args: object) -> Callable[[Board], None]:
    def step(board: Board) -> None:
        assert do(board, *args), args

    return step


WORKLOADS = (ObjectsOfATa(), InstalledTas(), LowestVersions())


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
        tas = args.tas
        if tas is None:
            from optemu.sdk import build as sdk

            tas = Path(scratch) / "tas"
            for project in ("crypt", "probe", "quiet"):
                sdk.build(Path(__file__).parent / "tas" / project, sdk.Options(out=tas, host=False))
        counts, looks = every(Images(tas), Path(scratch), args.processes, args.quick)
    kinds = ", ".join(f"{counts[how]:,} {how}" for how in HOW)
    took = time.monotonic() - start
    print(f"{counts.total():,} stops at every file operation, {looks:,} different, {took:.0f} s: {kinds}")


if __name__ == "__main__":
    main()
