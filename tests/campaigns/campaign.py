"""What a campaign is, and the values that hurt most."""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from random import Random

from optemu.machine import Machine
from optemu.normal_world.libteec import Session

HANG_SECONDS = 1.0
"""Of work: a machine that is busy with others is not to blame."""
STUCK_SECONDS = 30.0
"""Of waiting for something that does not come."""
CHECK_EVERY = 500
SECRET = bytes(Random("what only the secure world knows").randbytes(64))


class Campaign(ABC):
    """Inputs of one kind against one machine. AssertionError says what went wrong."""

    name: str
    share: int = 1
    """How many of a hundred inputs, about, are of this kind."""

    def __init__(self, scratch: Path) -> None:
        self.machine = self.make_machine(scratch)
        memory = self.machine.board.memory
        self.secret = memory.allocate(4 * 4096, secure=True)
        self.secret.view[:] = SECRET * (self.secret.size // len(SECRET))

    def make_machine(self, scratch: Path) -> Machine:
        return Machine()

    @abstractmethod
    def one(self, rng: Random) -> None:
        """One input, and what must hold after it."""

    def check(self) -> None:
        """What must hold after many: no secure memory changed, nothing left under way."""
        assert bytes(self.secret.view) == SECRET * (self.secret.size // len(SECRET)), "secure memory was written"
        assert self.machine.tee.threads.busy == 0, "a secure thread is still busy"

    def late(self) -> None:
        """An input takes long, and may: from another thread, end it."""

    def close(self) -> None:
        self.machine.power_off()

    def run(self, seed: int, first: int, count: int, on_hang: Callable[[int], None]) -> None:
        """Inputs ``first`` to ``first + count``; ``on_hang`` is called, from another thread, with one that takes long."""
        watch, bugs = Watch(self.late, on_hang), Bugs()
        try:
            for number in range(first, first + count):
                watch.begin(number)
                try:
                    self.one(Random(f"{self.name} {seed} {number}"))
                    assert not bugs.found, bugs.found
                    if number % CHECK_EVERY == CHECK_EVERY - 1:
                        self.check()
                except Exception as e:
                    e.add_note(f"campaign {self.name}, seed {seed}, input {number}")
                    raise
            self.check()
        finally:
            watch.end()
            bugs.end()


class TaCampaign(Campaign):
    """Inputs in a session with a TA, which is kept from one to the next."""

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self.context = self.machine.connect()
        self.session: Session | None = None
        self.calls = 0
        """In this session."""

    def make_machine(self, scratch: Path) -> Machine:
        return Machine(ta_dirs=[scratch])

    def end_session(self) -> None:
        if self.session is not None:
            self.session.CloseSession()
            self.session = None

    def check(self) -> None:
        super().check()
        self.end_session()
        assert not self.machine.tee.open_sessions

    def close(self) -> None:
        self.end_session()
        self.context.FinalizeContext()
        super().close()


class Bugs(logging.Handler):
    """Of the log only what tells of a bug of ours, which ended one call and would else not be noticed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []
        self._logger = logging.getLogger("optemu")
        self._before = self._logger.level, self._logger.propagate, self._logger.handlers[:]
        self._logger.setLevel(logging.ERROR)
        self._logger.propagate = False
        self._logger.handlers = [self]

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.found.append(f"{record.getMessage()}: {record.exc_info[1]!r}")

    def end(self) -> None:
        level, self._logger.propagate, self._logger.handlers = self._before
        self._logger.setLevel(level)


class Watch:
    """Looks at what is under way from a thread of its own."""

    def __init__(self, late: Callable[[], None], on_hang: Callable[[int], None]) -> None:
        self._now = (0, 0.0, 0.0)
        self._over = threading.Event()
        self._late = late
        self._on_hang = on_hang
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def begin(self, number: int) -> None:
        self._now = (number, time.monotonic(), time.process_time())

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(HANG_SECONDS / 10):
            number, since, worked_before = self._now
            if not since:
                continue
            took, worked = time.monotonic() - since, time.process_time() - worked_before
            if worked > HANG_SECONDS or took > STUCK_SECONDS:
                self._on_hang(number)
                self._now = (0, 0.0, 0.0)
            elif took > HANG_SECONDS / 4:
                self._late()


def edge(rng: Random, bits: int = 64, *near: int) -> int:
    """A number at a limit, near one of ``near``, or anything."""
    kind = rng.randrange(6)
    if kind == 0 and near:
        value = rng.choice(near) + rng.choice((0, 0, 1, -1, 8, -8, 4096, -4096))
    elif kind == 1:
        value = (1 << rng.randrange(bits + 1)) + rng.choice((0, -1, 1))
    elif kind == 2:
        value = rng.getrandbits(bits)
    elif kind == 3:
        value = rng.getrandbits(12)
    else:
        value = rng.choice(near) if near else rng.randrange(8)
    return value & (1 << bits) - 1


def damaged(rng: Random, data: bytes) -> bytes:
    """``data`` with a few changes: bits, numbers at their limits, cuts, insertions, pieces twice."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(6):
            case 0 | 1 if at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            case 2:
                size = rng.choice((1, 2, 4, 8))
                out[at : at + size] = edge(rng, 8 * size, len(out), at).to_bytes(size, "little")
            case 3:
                del out[at : at + rng.choice((1, 4, 64, len(out)))]
            case 4:
                out[at:at] = rng.randbytes(rng.choice((1, 8, 100)))
            case _:
                other = rng.randrange(len(out) + 1)
                out[at : at + 16] = out[other : other + 16]
    return bytes(out)
