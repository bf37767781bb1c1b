"""The timer whose interrupt ends a core's time slice.

Nobody pays for it per call: a tick looks at the cores that execute, and interrupts one that has executed
the same stretch of code since the tick before. The thread sleeps while nothing executes.
"""

import threading
from typing import Protocol

TICK_SECONDS = 0.01
IDLE_TICKS = 50


class Core(Protocol):
    """Something that executes: ``stretch`` changes whenever it starts to, and is 0 when it stands still."""

    stretch: int

    def stop(self) -> None:
        """Interrupt it, from any thread."""


class Timer:
    """Ticks every 10 ms while any core executes."""

    def __init__(self) -> None:
        self.asleep = True
        self._wake = threading.Event()
        self._cores: set[Core] = set()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def attach(self, core: Core) -> None:
        self._cores.add(core)

    def detach(self, core: Core) -> None:
        self._cores.discard(core)

    def wake(self) -> None:
        """A core executes and found the timer asleep."""
        if self._thread is None and not self._stopped:
            self._thread = threading.Thread(target=self._run, name="optemu-timer", daemon=True)
            self._thread.start()
        self.asleep = False
        self._wake.set()

    def stop(self) -> None:
        self._stopped = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        pause = threading.Event()
        seen: dict[Core, int] = {}
        idle = 0
        while not self._stopped:
            if idle > IDLE_TICKS:
                self._wake.clear()
                self.asleep = True
                if not any(core.stretch for core in list(self._cores)):
                    self._wake.wait()
                self.asleep = False
                idle = 0
            pause.wait(TICK_SECONDS)
            now = {core: core.stretch for core in list(self._cores) if core.stretch}
            for core, stretch in now.items():
                if seen.get(core) == stretch:
                    core.stop()
            idle = 0 if now else idle + 1
            seen = now
