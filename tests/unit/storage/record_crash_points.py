"""``make crash``, for what the core keeps of TAs: those installed in secure storage, and the lowest versions."""

import itertools
from random import Random
from typing import NamedTuple

from faults import ERRORS, POWER_CUTS, FaultyFiles, PowerCut
from memory_files import OTHER_TA, TA, MemoryFiles, SeededRng, Store

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.storage.tadb import TaDb
from optemu.secure_world.storage.ver_db import TA_VER_DB, VersionDb

UUIDS = (TA, OTHER_TA, bytes(range(1, 17)))
SIZES = (1, 300, 70_000)
"""Of a TA; more than 64 KiB are not written at once."""
State = dict[tuple[str, bytes], int]
"""Version of each TA that is installed, and of each the lowest."""


class Step(NamedTuple):
    what: str
    uuid: bytes
    version: int

    def applied(self, before: State) -> State:
        if self.what == "delete":
            return {key: version for key, version in before.items() if key != ("install", self.uuid)}
        return {**before, (self.what, self.uuid): self.version}


def payload(uuid: bytes, version: int) -> bytes:
    pick = Random(uuid + bytes([version]))
    return pick.randbytes(pick.choice(SIZES))


class Core:
    """Switched on with ``files``."""

    def __init__(self, files: MemoryFiles, seed: int) -> None:
        self.store = Store(files, seed=seed)
        self.tas = TaDb(self.store.fs, SeededRng(seed + 1))
        self.versions = VersionDb(self.store.fs, TA_VER_DB)

    def do(self, step: Step) -> None:
        ree = self.store.ree
        match step.what:
            case "install":
                self.tas.install(ree, step.uuid, step.version, payload(step.uuid, step.version))
            case "delete":
                self.tas.delete(ree, step.uuid)
            case "see":
                self.versions.check_update(ree, step.uuid, step.version)

    def found(self) -> State:
        ree, state = self.store.ree, State()
        for uuid, version, _, _ in self.tas.installed(ree):
            assert self.tas.open(ree, uuid).payload == payload(uuid, version)
            state["install", uuid] = version
        for uuid in UUIDS:
            # Asking for the lowest changes nothing.
            if lowest := next(version for version in range(100) if self._seen(uuid, version)):
                state["see", uuid] = lowest
        return state

    def _seen(self, uuid: bytes, version: int) -> bool:
        try:
            self.versions.check_update(self.store.ree, uuid, version)
        except TeeError as e:
            if e.code != gp.TEE_ERROR_ACCESS_CONFLICT:
                raise
            return False
        return True


def workload(seed: int, length: int = 8) -> list[Step]:
    """What has been installed is installed again in any version, the lowest versions rise."""
    pick = Random(seed)
    state: State = {}
    steps = []
    for _ in range(length):
        uuid = pick.choice(UUIDS)
        what = pick.choice(("install", "install", "see", "see", "delete"))
        if what == "delete" and ("install", uuid) not in state:
            what = "install"
        steps.append(Step(what, uuid, state.get((what, uuid), 0) + pick.randrange(1, 3)))
        state = steps[-1].applied(state)
    return steps


def look(files: MemoryFiles, allowed: list[State], most: int, where: str) -> State:
    """What a core that is switched on now finds: one of ``allowed``, and it works; its files do not grow in number.

    The file of a TA that is no more, or not yet, is overwritten by the next; so there is but one more than there ever
    were TAs at a time (``most``).
    """
    core = Core(MemoryFiles(files.snapshot()), seed=99)
    try:
        found = core.found()
        assert found in allowed, f"{where}: found {found}, not {allowed}"
        step = Step("install", bytes(16 * [7]), 3)
        core.do(step)
        core.do(Step("see", step.uuid, 5))
        assert core.found() == {**found, ("install", step.uuid): 3}, where
    except TeeError as e:
        raise AssertionError(f"{where}: {e}") from e
    assert not core.store.files.open_files, f"{where}: files are left open"
    names = {int(name[:-3]) for name in core.store.files.content if name.endswith(b".ta")}
    assert names <= set(range(most + 1)), f"{where}: {names} of {most} TAs"
    return found


def stopped(seed: int, fault: str, at: int) -> str:
    """Run a workload with one fault; what it hit, or nothing when the workload was over before. AssertionError."""
    files = FaultyFiles(fault=fault, at=at, seed=seed)
    core, state, most = Core(files, seed), State(), 1
    for step in workload(seed):
        if step.what == "delete" and ("install", step.uuid) not in state:
            continue  # an error before has left it out
        after = step.applied(state)
        where = f"seed {seed}, {fault} at operation {at} ({step})"
        most = max(most, sum(what == "install" for what, _ in after) + 1)
        try:
            core.do(step)
            state = after
        except PowerCut:
            look(files, [state, after], most, where)
            return files.hit
        except TeeError:
            assert fault in ERRORS, where
            assert files.hit, where
            state = look(files, [state, after], most, where)
            assert core.found() == state, f"{where}: the core believes something else than what there is"
    files.at = 0
    assert core.found() == state
    look(files, [state], most, f"seed {seed}, {fault} at operation {at}")
    return files.hit


def crash_points(count: int, seed: int = 0) -> dict[str, int]:
    """At least ``count`` of them, whole workloads; how many of each kind."""
    counts = dict.fromkeys((*POWER_CUTS, *ERRORS), 0)
    for n in itertools.count(seed):
        for fault in counts:
            for at in itertools.count(1):
                hit = stopped(n, fault, at)
                if not hit:
                    break
                # A write alone can be torn, a read alone short: elsewhere these are others over again.
                if not (fault == "torn" and hit != "write") and not (fault == "short" and hit != "read"):
                    counts[fault] += 1
        if sum(counts.values()) >= count:
            return counts
    raise AssertionError
