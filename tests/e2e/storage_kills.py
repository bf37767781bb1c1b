"""``make crash``, with real processes: a TA changes objects, and at a system call of its supplicant the machine is gone.

Each point is two processes, forked from this one, which has no machine: the first works on an empty state directory
and is killed (SIGKILL) at a given system call that supplicant or RPMB device make to the host's files; with it may go
half of a write, or what was not on the disk yet. The second opens the directory, and must find what was committed.
"""

import argparse
import contextlib
import itertools
import logging
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from crypt_client import Tee, TeeResult
from tas.constants import CRYPT_UUID

from optemu.abi import gp
from optemu.abi.obj import (
    TEE_DATA_FLAG_ACCESS_READ,
    TEE_DATA_FLAG_ACCESS_WRITE,
    TEE_DATA_FLAG_ACCESS_WRITE_META,
    TEE_DATA_FLAG_OVERWRITE,
    TEE_DATA_SEEK_SET,
    TEE_STORAGE_PRIVATE,
    TEE_STORAGE_PRIVATE_RPMB,
)
from optemu.board.config import Config
from optemu.machine import Machine
from optemu.normal_world import state as state_dir
from optemu.normal_world.emmc import rpmb_image
from optemu.normal_world.supplicant import ree_fs, unsynced

Objects = dict[bytes, bytes]
ALL = TEE_DATA_FLAG_ACCESS_READ | TEE_DATA_FLAG_ACCESS_WRITE | TEE_DATA_FLAG_ACCESS_WRITE_META
NAMES = (b"a", b"b", b"c" * 64)
SIZES = (0, 1, 100, 4096, 4097, 9000)
FAULTS = ("kill", "torn", "power cut", "power cut, some")
"""The process ends before the call; in the middle, when it is a write; and nothing that was not synced is on the disk,
or some of it."""
MODULES = (state_dir, ree_fs, unsynced, rpmb_image)
"""Those that work on the host's files."""
POINTS = 12
"""Of each workload."""


@dataclass(frozen=True)
class Kind:
    """A board, and which of its file systems is worked on."""

    name: str
    storage: int
    rpmb: bool = False
    root: bool = False
    sync: bool = True

    def config(self, state: Path, seed: int | None) -> Config:
        return Config(
            state=state, seed=seed, sync=self.sync, rpmb=self.rpmb, rpmb_size=128, ree_fs_integrity_rpmb=self.root
        )


KINDS = (
    Kind("REE", TEE_STORAGE_PRIVATE),
    Kind("REE with its root in RPMB", TEE_STORAGE_PRIVATE, rpmb=True, root=True),
    Kind("RPMB", TEE_STORAGE_PRIVATE_RPMB, rpmb=True),
)


# --- what is done -----------------------------------------------------------------------------------------------------


class Step(NamedTuple):
    what: str
    name: bytes
    other: bytes
    pos: int
    data: bytes

    def applied(self, before: Objects) -> Objects:
        after = dict(before)
        old = before.get(self.name, b"")
        match self.what:
            case "create":
                after[self.name] = self.data
            case "write" if self.data:
                after[self.name] = old[: self.pos].ljust(self.pos, b"\0") + self.data + old[self.pos + len(self.data) :]
            case "truncate":
                after[self.name] = old[: self.pos].ljust(self.pos, b"\0")
            case "rename":
                after[self.other] = after.pop(self.name)
            case "delete":
                del after[self.name]
        return after

    def do(self, tee: Tee, storage: int) -> None:
        if self.what == "create":
            flags = ALL | TEE_DATA_FLAG_OVERWRITE
            tee.TEE_CloseObject(tee.TEE_CreatePersistentObject(storage, self.name, flags, 0, self.data))
            return
        obj = tee.TEE_OpenPersistentObject(storage, self.name, ALL)
        match self.what:
            case "write":
                tee.TEE_SeekObjectData(obj, self.pos, TEE_DATA_SEEK_SET)
                tee.TEE_WriteObjectData(obj, self.data)
            case "truncate":
                tee.TEE_TruncateObjectData(obj, self.pos)
            case "rename":
                tee.TEE_RenamePersistentObject(obj, self.other)
            case "delete":
                tee.TEE_CloseAndDeletePersistentObject1(obj)
                return
        tee.TEE_CloseObject(obj)


def workload(seed: int, length: int = 8) -> Iterator[tuple[Step, Objects]]:
    """Steps, each with what there is after it."""
    pick = random.Random(seed)
    objects: Objects = {}
    for _ in range(length):
        name = pick.choice(sorted(objects) or NAMES)
        free = [other for other in NAMES if other not in objects]
        what = pick.choice(["create", "write", "write", "truncate", "rename", "delete"] if objects else ["create"])
        if what == "create" or (what == "rename" and not free):
            what, name = "create", pick.choice(NAMES)
        step = Step(what, name, pick.choice(free or NAMES), pick.choice(SIZES), pick.randbytes(pick.choice(SIZES)))
        objects = step.applied(objects)
        yield step, objects


# --- what goes wrong --------------------------------------------------------------------------------------------------


class Host:
    """``os`` for the modules that work on the host's files, with ``fault`` at call number ``at`` (0: never).

    Nothing waits for the disk: what would not be on it is undone instead.
    """

    COUNTED = frozenset(
        ("open", "pwrite", "pread", "preadv", "ftruncate", "unlink", "link", "fdatasync", "fsync", "close", "mkdir")
    )

    def __init__(self, fault: str, at: int, aside: Path) -> None:
        self.fault, self.at, self.calls = fault, at, 0
        self._aside = aside
        self._random = random.Random(at)
        self._undo: list[tuple[int, Callable[[], object]]] = []
        """Inode, and how to take back what was done to it."""

    def __getattr__(self, name: str) -> object:
        real = getattr(os, name)
        return (lambda *args, **named: self._call(name, real, *args, **named)) if name in self.COUNTED else real

    def _call(self, name: str, real: Callable[..., object], *args, **named) -> object:
        self.calls += 1
        if self.calls == self.at:
            self._stop(name, args)
        if name in ("fdatasync", "fsync"):
            inode = os.fstat(args[0]).st_ino
            self._undo = [u for u in self._undo if u[0] != inode]
            return None
        if "power cut" in self.fault and (remember := getattr(self, f"_{name}", None)) is not None:
            remember(*args, **named)
        return real(*args, **named)

    def _stop(self, name: str, args: tuple) -> None:
        if self.fault == "torn" and name == "pwrite":
            os.pwrite(args[0], args[1][: self._random.randrange(len(args[1]) + 1)], args[2])
        for _, undo in reversed(self._undo):
            if self.fault == "power cut" or self._random.random() < 0.5:
                undo()
        os.kill(os.getpid(), signal.SIGKILL)

    def _pwrite(self, fd: int, data: bytes, offset: int) -> None:
        stat, kept, old = os.fstat(fd), os.dup(fd), os.pread(fd, len(data), offset)

        def undo() -> None:
            os.pwrite(kept, old, offset)
            if stat.st_size < offset + len(data):
                os.ftruncate(kept, stat.st_size)

        self._undo.append((stat.st_ino, undo))

    def _ftruncate(self, fd: int, size: int) -> None:
        stat, kept = os.fstat(fd), os.dup(fd)
        self._restore(stat.st_ino, kept, os.pread(fd, stat.st_size, 0))

    def _restore(self, inode: int, fd: int, content: bytes) -> None:
        def undo() -> None:
            os.ftruncate(fd, 0)
            os.pwrite(fd, content, 0)

        self._undo.append((inode, undo))

    def _open(self, path: bytes | Path, flags: int, mode: int = 0, *, dir_fd: int | None = None) -> None:
        if not flags & os.O_CREAT:
            return
        try:
            fd = os.open(path, os.O_RDWR, dir_fd=dir_fd)
        except FileNotFoundError:
            self._named(path, dir_fd)
            return
        self._ftruncate(fd, 0)

    def _named(self, path: bytes | Path, dir_fd: int | None) -> None:
        """A new name: it may be gone again."""
        directory = os.open(os.path.dirname(path) or b".", os.O_RDONLY, dir_fd=dir_fd)
        name = os.path.basename(path)

        def undo() -> None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)

        self._undo.append((os.fstat(directory).st_ino, undo))

    def _link(self, old: Path, new: Path) -> None:
        self._named(new, None)

    def _unlink(self, path: bytes | Path, *, dir_fd: int | None = None) -> None:
        """A name less: it may be there again."""
        directory = os.open(os.path.dirname(path) or b".", os.O_RDONLY, dir_fd=dir_fd)
        name, aside = os.path.basename(path), self._aside / str(self.calls)
        os.link(name, aside, src_dir_fd=directory)

        def undo() -> None:
            with contextlib.suppress(FileExistsError):
                os.link(aside, name, dst_dir_fd=directory)

        self._undo.append((os.fstat(directory).st_ino, undo))


# --- the two processes ------------------------------------------------------------------------------------------------


class Killed(Exception):
    """A process of ours ended as it should not."""


def in_a_child(run: Callable[[int], None]) -> tuple[bool, bytes]:
    """(was it killed, what it wrote to the descriptor that ``run`` got). Killed when it failed."""
    return ended(*forked(run))


def forked(run: Callable[[int], None]) -> tuple[int, int]:
    """(process, descriptor of what it will write), for ``ended``."""
    out, into = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        status = 70
        try:
            os.close(out)
            run(into)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(into)
    return pid, out


def ended(pid: int, out: int) -> tuple[bool, bytes]:
    with os.fdopen(out, "rb") as f:
        said = f.read()
    _, status = os.waitpid(pid, 0)
    if status and not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
        raise Killed(f"status {status}")
    return bool(status), said


@contextlib.contextmanager
def ta(config: Config, tas: Path) -> Iterator[Tee]:
    with Machine(config, ta_dirs=[tas]) as m, m.connect() as c, c.OpenSession(UUID(CRYPT_UUID)) as session:
        yield Tee(session)


def everything(tee: Tee, storage: int) -> Objects:
    enumerator = tee.TEE_AllocatePersistentObjectEnumerator()
    found: Objects = {}
    try:
        tee.TEE_StartPersistentObjectEnumerator(enumerator, storage)
        while True:
            info, name = tee.TEE_GetNextPersistentObject(enumerator)
            obj = tee.TEE_OpenPersistentObject(storage, name, ALL)
            found[name] = tee.TEE_ReadObjectData(obj, info.data_size)
            assert len(found[name]) == info.data_size
            tee.TEE_CloseObject(obj)
    except TeeResult as e:
        if e.code != gp.TEE_ERROR_ITEM_NOT_FOUND:
            raise
    tee.TEE_FreePersistentObjectEnumerator(enumerator)
    return found


class Kills:
    """Points in workloads. ``tas``: the directory of the TA; ``scratch``: a directory for states."""

    def __init__(self, tas: Path, scratch: Path) -> None:
        self._tas, self._scratch = tas, scratch

    def _work(self, kind: Kind, seed: int, state: Path, fault: str, at: int) -> tuple[bool, int, int]:
        """Was it killed, how many calls were there, how many steps were begun and ended."""

        def run(into: int) -> None:
            aside = state.with_name("aside")
            aside.mkdir()
            host = Host(fault, at, aside)
            for module in MODULES:
                module.os = host
            with ta(kind.config(state, seed), self._tas) as tee:
                for step, _ in workload(seed):
                    os.write(into, b"<")
                    step.do(tee, kind.storage)
                    os.write(into, b">")
            os.write(into, b"%d" % host.calls)

        killed, said = in_a_child(run)
        calls = said.lstrip(b"<>")
        return killed, int(calls or b"0"), len(said) - len(calls)

    def _look(self, kind: Kind, state: Path, allowed: list[Objects]) -> None:
        def run(into: int) -> None:
            with ta(kind.config(state, None), self._tas) as tee:
                found = everything(tee, kind.storage)
                sizes = [{name: len(data) for name, data in objects.items()} for objects in (found, *allowed)]
                assert found in allowed, f"found {sizes[0]}, not {sizes[1:]}"
                Step("create", b"new", b"", 0, b"new").do(tee, kind.storage)
                Step("delete", b"new", b"", 0, b"").do(tee, kind.storage)
                assert everything(tee, kind.storage) == found
            if kind.storage == TEE_STORAGE_PRIVATE:
                files = set(os.listdir(state / "tee")) - {"dirf.db"}
                assert len(files) == len(found), f"{sorted(files)} for {len(found)} objects"

        in_a_child(run)

    def _point(self, kind: Kind, seed: int, fault: str, at: int) -> int:
        """AssertionError says which point it was; else how many calls there were when nothing was killed."""
        where = f"{kind.name}, workload {seed}, {fault} at call {at}"
        with tempfile.TemporaryDirectory(dir=self._scratch) as made:
            state = Path(made) / "state"
            try:
                killed, calls, marks = self._work(kind, seed, state, fault, at)
                assert killed == bool(at)
                states: list[Objects] = [{}, *(objects for _, objects in workload(seed))]
                # After an odd number of marks a step was under way: it is done, or it is not.
                self._look(kind, state, states[marks // 2 : (marks + 1) // 2 + 1])
            except (Killed, AssertionError) as e:
                raise AssertionError(f"{where}: {e}") from None
        return calls

    def run(self, count: int, seed: int, kinds: Sequence[Kind] = KINDS) -> dict[str, int]:
        """At least ``count`` points; how many of each kind."""
        counts = dict.fromkeys(FAULTS, 0)
        for n in itertools.count(seed):
            kind = kinds[n % len(kinds)]
            calls = self._point(kind, n, "", 0)
            for at in sorted(random.Random(n).sample(range(1, calls + 1), POINTS)):
                fault = FAULTS[at % len(FAULTS)]
                self._point(kind, n, fault, at)
                counts[fault] += 1
            if sum(counts.values()) >= count:
                return counts
        raise AssertionError


def built(scratch: Path, *projects: str) -> Path:
    """The directory with those TAs of ``tas``, signed."""
    from optemu.sdk import build as sdk

    out = scratch / "tas"
    for project in projects:
        sdk.build(Path(__file__).parent / "tas" / project, sdk.Options(out=out, host=False))
    return out


def main() -> None:
    p = argparse.ArgumentParser(prog="storage_kills", description=__doc__)
    p.add_argument("--count", type=int, default=2000, help="points in all")
    p.add_argument("--seed", type=int, default=int(time.time()), help="of the first workload; another one every time")
    p.add_argument("--tas", type=Path, help="directory with the TA; by default it is built")
    args = p.parse_args()
    logging.getLogger("optemu").setLevel(logging.CRITICAL)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="optemu-kills-") as scratch:
        counts = Kills(args.tas or built(Path(scratch), "crypt"), Path(scratch)).run(args.count, args.seed)
    kinds = ", ".join(f"{n:,} {fault}" for fault, n in counts.items())
    took = time.monotonic() - start
    print(f"{sum(counts.values()):,} killed processes from seed {args.seed} on, {took:.0f} s: {kinds}")


if __name__ == "__main__":
    main()
