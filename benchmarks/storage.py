"""Persistent objects of a TA, beside the plain file operations that each call came to, done again in the same run.

What the supplicant did with files is recorded while a TA works, and done again without TA and TEE in a copy that was
made of the directory before: same files, same sizes, same waits for the disk.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from benchmarks.common import Built, Figures, percentiles
from benchmarks.crypto import KIB, SPEED
from optemu.board.config import Config
from optemu.machine import Machine
from optemu.normal_world.libteec import RegisteredMemref, Session, SharedMemory, Value

CREATE, WRITE, READ, ENUMERATE = range(5, 9)
# The object that is open, or those from the first one on.
_COMPARED: Final = (("create", CREATE, 1), ("write", WRITE, 0), ("open and read", READ, 1), ("read", READ, 0))
COUNT, OBJECTS = 40, 1000
SIZES: Final = (4 * KIB, 1024 * KIB)
Operation = tuple[str, tuple[Any, ...], dict[str, Any], Any]
_RECORDED: Final = ("open", "close", "dup", "preadv", "pwrite", "ftruncate", "fdatasync", "fsync", "unlink")


class Recorder:
    """The calls of ``os`` that were made since the last ``take``, with what came back."""

    def __init__(self) -> None:
        self._done: list[Operation] = []

    @contextmanager
    def recording(self) -> Iterator[None]:
        plain = {name: getattr(os, name) for name in _RECORDED}
        for name, function in plain.items():
            setattr(os, name, self._recorded(name, function))
        try:
            yield
        finally:
            for name, function in plain.items():
                setattr(os, name, function)

    def _recorded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            if name == "pwrite":
                args = (args[0], bytes(args[1]), args[2])
            elif name == "preadv":
                args = (args[0], [bytearray(len(buffer)) for buffer in args[1]], args[2])
            self._done.append((name, args, kwargs, result))
            return result

        return call

    def take(self) -> list[Operation]:
        done, self._done = self._done, []
        return done


def replay(operations: list[Operation], fds: dict[int, int]) -> int:
    """Do them again; ns that it took, 0 for none. ``fds``: what stands here for the descriptors that were used then.

    Descriptors that it does not know were none of files.
    """
    done = False
    start = time.perf_counter_ns()
    for name, args, kwargs, result in operations:
        if "dir_fd" in kwargs:
            kwargs = {"dir_fd": fds[kwargs["dir_fd"]]}
        elif args[0] in fds:
            args = (fds.pop(args[0]) if name == "close" else fds[args[0]], *args[1:])
        else:
            continue
        done = True
        again = getattr(os, name)(*args, **kwargs)
        if name in ("open", "dup"):
            fds[result] = again
    return time.perf_counter_ns() - start if done else 0


class Bench:
    """A TA with its object number 0 open, in a machine whose state is below ``scratch``."""

    def __init__(self, machine: Machine, session: Session, shm: SharedMemory, scratch: Path) -> None:
        self._machine, self._session, self._memory = machine, session, RegisteredMemref.inout(shm)
        self._scratch = scratch
        self._recorder = Recorder()

    def call(self, command: int, number: int = 0) -> int:
        value = Value.inout(0, number)
        self._session.invoke(command, value, self._memory)
        return value.a

    def compare(self, command: int, first: int) -> tuple[Figures, Figures]:
        """Of ``command`` from object ``first`` on: the TA's times and those of the files alone."""
        root = self._machine.state.path / "tee"
        self.call(command, first)
        twin = Path(tempfile.mkdtemp(dir=self._scratch)) / "tee"
        shutil.copytree(root, twin)
        took, alone = [], []
        fds = self._descriptors(root, twin)
        for n in range(COUNT):
            with self._recorder.recording():
                start = time.perf_counter_ns()
                self.call(command, first and first + 1 + n)
                took.append(time.perf_counter_ns() - start)
            alone.append(replay(self._recorder.take(), fds))
        return percentiles(took), percentiles(alone)

    @staticmethod
    def _descriptors(root: Path, twin: Path) -> dict[int, int]:
        """For all descriptors of this process that are files below ``root``: the same file below ``twin``."""
        fds = {}
        for entry in os.listdir("/proc/self/fd"):
            try:
                path = Path(os.readlink(f"/proc/self/fd/{entry}"))
            except FileNotFoundError:
                continue
            if path.is_relative_to(root):
                flags = os.O_RDONLY | os.O_DIRECTORY if path.is_dir() else os.O_RDWR
                fds[int(entry)] = os.open(twin / path.relative_to(root), flags)
        return fds


@contextmanager
def bench(built: Built, scratch: Path, size: int) -> Iterator[Bench]:
    config = replace(Config(), state=scratch / "state")
    with (
        Machine(config, ta_dirs=[built.tas]) as machine,
        machine.connect() as context,
        context.OpenSession(SPEED) as session,
        context.AllocateSharedMemory(size) as shm,
    ):
        ready = Bench(machine, session, shm, scratch)
        ready.call(CREATE)
        yield ready


@contextmanager
def directory(built: Built) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=built.tas) as name:
        yield Path(name).resolve()


def report(built: Built) -> None:
    print(f"\n{'us of an object, sync on':<42} {'TA':>10} {'files':>10}  TA / files")
    for size in SIZES:
        with directory(built) as scratch, bench(built, scratch, size) as ready:
            for name, command, first in _COMPARED:
                ours, files = ready.compare(command, first)
                what = f"{name} {size // KIB} KiB"
                beside = f"{files.p50:>10.1f}  {ours.p50 / files.p50:>8.2f}" if files.p50 else f"{'none':>10}"
                print(f"{what:<42} {ours.p50:>10.1f} {beside}")
    with directory(built) as scratch:
        with bench(built, scratch, 16) as ready:
            for n in range(1, OBJECTS):
                ready.call(CREATE, n)
            here = _enumerated(ready)
        with bench(built, scratch, 16) as ready:
            print(f"enumerating {OBJECTS} objects: {here:.3f} s; {_enumerated(ready):.3f} s in a new machine")


def _enumerated(ready: Bench) -> float:
    start = time.perf_counter_ns()
    assert ready.call(ENUMERATE) == OBJECTS
    return (time.perf_counter_ns() - start) / 1e9
