"""``make crash``: workloads of storage, stopped at each of their file operations in every way, and looked at again."""

import argparse
import itertools
import logging
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from faults import ERRORS, POWER_CUTS, FaultyFiles, PowerCut
from memory_files import OTHER_TA, TA, MemoryFiles, Store

from optemu.errors import TeeError

Key = tuple[bytes, bytes]
Objects = dict[Key, bytes]

KEYS: list[Key] = [(TA, b"a"), (TA, b"b"), (TA, b""), (OTHER_TA, b"a")]
NAMES = [b"a", b"b", b"", b"c" * 64]
"""What can become an object's name."""
SIZES = [0, 1, 60, 4095, 4096, 4097, 9000, 20_000]
STEPS = ("create", "create", "write", "write", "write", "truncate", "truncate", "rename", "remove", "close")


@dataclass
class Step:
    """One call, and what it makes of the objects that are there."""

    what: str
    key: Key
    other: bytes = b""
    pos: int = 0
    data: bytes = b""

    def __str__(self) -> str:
        return f"{self.what} {self.key[1]!r} other={self.other!r} pos={self.pos} size={len(self.data)}"

    def applied(self, before: Objects) -> Objects:
        after = dict(before)
        old = before.get(self.key, b"")
        match self.what:
            case "create":
                after[self.key] = self.data
            case "write" if self.data:
                end = self.pos + len(self.data)
                after[self.key] = old[: self.pos].ljust(self.pos, b"\0") + self.data + old[end:]
            case "truncate":
                after[self.key] = old[: self.pos].ljust(self.pos, b"\0")
            case "rename":
                after[self.key[0], self.other] = after.pop(self.key)
            case "remove":
                del after[self.key]
        return after


@dataclass
class Run:
    """A workload under way: a store, what must be in it, and the objects that are held open."""

    store: Store
    objects: Objects = field(default_factory=dict)
    handles: dict[Key, object] = field(default_factory=dict)

    def do(self, step: Step) -> None:
        store, key = self.store, step.key
        match step.what:
            case "create":
                self._close(key)
                self.handles[key] = store.create(step.data, key[1], key[0])
            case "write":
                store.write(self._handle(key), step.pos, step.data)
            case "truncate":
                store.truncate(self._handle(key), step.pos)
            case "rename":
                self._close(key)
                store.rename(key[1], step.other, key[0])
            case "remove":
                self._close(key)
                store.remove(key[1], key[0])
            case "close":
                self._close(key)

    def _handle(self, key: Key) -> object:
        if key not in self.handles:
            self.handles[key] = self.store.open(key[1], key[0])
        return self.handles[key]

    def _close(self, key: Key) -> None:
        fh = self.handles.pop(key, None)
        if fh is not None:
            self.store.close(fh)


def workload(seed: int, length: int = 8, sizes: Sequence[int] = SIZES) -> Iterator[Step]:
    """Steps that all succeed if nothing goes wrong."""
    pick = random.Random(seed)
    objects: Objects = {}
    for _ in range(length):
        what = pick.choice(STEPS) if objects else "create"
        key = pick.choice(KEYS if what == "create" else sorted(objects))
        size, pos = pick.choice(sizes), pick.choice(sizes)
        step = Step(what, key, pick.choice(NAMES), pos, pick.randbytes(size))
        if what == "rename" and (key[0], step.other) in objects:
            continue
        yield step
        objects = step.applied(objects)


def stopped(seed: int, fault: str, at: int) -> str:
    """Run a workload with one fault; what it hit, or nothing when the workload was over before. AssertionError."""
    files = FaultyFiles(fault=fault, at=at, seed=seed)
    run = Run(Store(files, seed=seed))
    # Objects are small here: let some of the writes go to another file, as large ones do.
    run.store.fs.anew_blocks = (1, 2, 32)[seed % 3]
    for step in workload(seed):
        if step.what != "create" and step.key not in run.objects:
            continue  # an error before has left it out
        if step.what == "rename" and (step.key[0], step.other) in run.objects:
            continue  # or has left it there
        after = step.applied(run.objects)
        where = f"seed {seed}, {fault} at operation {at} ({step})"
        try:
            run.do(step)
            run.objects = after
        except PowerCut:
            look(files, [run.objects, after], where)
            return files.hit
        except TeeError:
            assert fault in ERRORS, where
            assert files.hit, where
            run.objects = look(files, [run.objects, after], where)
    if fault in POWER_CUTS:
        assert not files.hit
        return ""
    files.at = 0
    check(run.store.everything(), [run.objects], f"seed {seed}, {fault} at operation {at}, same machine")
    look(files, [run.objects], f"seed {seed}, {fault} at operation {at}")
    for key in list(run.handles):
        run.do(Step("close", key))
    # What the normal world kept open itself: it would not close it, or did not say what it had opened.
    kept = {"close": ("EIO", "ENOSPC"), "open": ("EIO, done",), "create": ("EIO, done",)}.get(files.hit, ())
    assert not files.open_files or fault in kept, f"seed {seed}, {fault} at operation {at}: files are left open"
    return files.hit


def look(files: MemoryFiles, allowed: list[Objects], where: str) -> Objects:
    """What a machine that is powered on now finds: one of ``allowed``, no file without an object, and it works."""
    store = Store(MemoryFiles(files.snapshot()), seed=99)
    try:
        found = check(store.everything(), allowed, where)
    except TeeError as e:
        raise AssertionError(f"{where}: {e}") from e
    files = set(store.files.content) - {b"dirf.db"}
    assert len(files) == len(found), f"{where}: {sorted(files)} for {len(found)}"
    store.put(b"new", b"new")
    assert check(store.everything(), [{**found, (TA, b"new"): b"new"}], where)
    assert not store.files.open_files, f"{where}: {len(store.files.open_files)} files are left open"
    return found


def check(found: Objects, allowed: list[Objects], where: str) -> Objects:
    sizes = [{key: len(data) for key, data in objects.items()} for objects in (found, *allowed)]
    assert found in allowed, f"{where}: found {sizes[0]}, not {sizes[1:]}"
    return found


def crash_points(count: int, seed: int = 0) -> dict[str, int]:
    """At least ``count`` of them, whole workloads; how many of each kind."""
    counts: dict[str, int] = {}
    for seed in itertools.count(seed):  # noqa: B020
        for at in itertools.count(1):
            hits = [(fault, stopped(seed, fault, at)) for fault in (*POWER_CUTS, *ERRORS)]
            if not any(hit for _, hit in hits):
                break
            for fault, hit in hits:
                # A write alone can be torn, a read alone short: elsewhere these are others over again.
                if hit and not (fault == "torn" and hit != "write") and not (fault == "short" and hit != "read"):
                    counts[fault] = counts.get(fault, 0) + 1
        if sum(counts.values()) >= count:
            return counts


def main() -> None:
    p = argparse.ArgumentParser(prog="crash_points", description=__doc__)
    p.add_argument("--count", type=int, default=100_000, help="points in all")
    p.add_argument("--seed", type=int, default=int(time.time()), help="of the first workload; another one every time")
    args = p.parse_args()
    import record_crash_points
    import rpmb_crash_points  # which needs this module

    logging.getLogger("optemu").setLevel(logging.CRITICAL)
    # Of what has other file operations, or requests, beside it: a tenth as many each.
    some = args.count // 10
    for count, points in (
        (args.count, crash_points),
        (some, rpmb_crash_points.crash_points),
        (some, record_crash_points.crash_points),
    ):
        start = time.monotonic()
        counts = points(count, args.seed)
        kinds = ", ".join(f"{n:,} {fault}" for fault, n in counts.items())
        took = time.monotonic() - start
        print(f"{sum(counts.values()):,} crash points from seed {args.seed} on, {took:.0f} s: {kinds}", flush=True)


if __name__ == "__main__":
    main()
