"""The thread between recording and the sinks. It formats when the machine is quiet, so that a busy one is only
slowed by the recording; and it sleeps, without a timer, while there is nothing to format.

No lock is needed against the recording threads: they only append, only the drain takes, always from the front, and
a list's append, slice and del of a slice are atomic.
"""

import atexit
import logging
import threading
from typing import TYPE_CHECKING, Final

from optemu.trace.event import Decoder, Event
from optemu.trace.sink import QUIET_NS, Sink

if TYPE_CHECKING:
    from optemu.trace.record import Raw, Tracer

log = logging.getLogger("optemu.trace")

MANY: Final = 200_000
"""So many events wait: format, though the machine is busy."""
TOO_MANY: Final = 600_000
"""So many have come while others were formatted: drop them, or memory would fill (about 200 bytes each)."""
_CHUNK: Final = 64


class Drain:
    """Between a Tracer and its sinks, from ``start`` to ``close``."""

    def __init__(self, tracer: "Tracer", sinks: tuple[Sink, ...]) -> None:
        self._tracer = tracer
        self._events = tracer.events
        self._sinks = list(sinks)
        self._decode = Decoder()
        self._lock = threading.Lock()
        """Held while events are taken and formatted, so that they reach the sinks in order."""
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="optemu-trace", daemon=True)

    def start(self) -> None:
        self._tracer.wake = self._wake_up
        atexit.register(self.close)
        self._thread.start()

    def flush(self) -> None:
        self._hurry.set()
        with self._lock:
            self._hurry.clear()
            self._write(patient=False)
            self._each("idle")

    def close(self) -> None:
        atexit.unregister(self.close)
        self._closing = True
        self._hurry.set()
        self._wake.set()
        self._thread.join()
        with self._lock:
            self._write(patient=False)
            self._each("close")

    # --- the thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            if not self._events:
                self._sleep()
            if self._quiet() or len(self._events) > MANY:
                with self._lock:
                    self._write(patient=True)
                    if not self._events:
                        self._each("idle")

    def _sleep(self) -> None:
        self._wake.clear()
        self._tracer.asleep = True
        if not self._events and not self._closing:
            self._wake.wait()
        self._tracer.asleep = False

    def _wake_up(self) -> None:
        self._tracer.asleep = False
        self._wake.set()

    def _quiet(self) -> bool:
        """Whether nothing is recorded for a while; or somebody waits for the output."""
        before = len(self._events)
        return self._hurry.wait(QUIET_NS / 1e9) or len(self._events) == before

    # --- writing, with the lock held -----------------------------------------------------------------------------

    def _write(self, patient: bool) -> None:
        """All that is recorded by now to the sinks; ``patient``: pause when the machine gets busy meanwhile."""
        batch = self._take()
        batch.sort(key=_time)
        missing = 0
        for at in range(0, len(batch), _CHUNK):
            backlog = len(self._events)
            if backlog > TOO_MANY:
                missing += len(self._take())
            while patient and 0 < backlog < MANY and not (self._closing or self._quiet()):
                backlog = len(self._events)
            for raw in batch[at : at + _CHUNK]:
                self._deliver(self._decode(raw))
        if missing:
            log.warning("trace: %d events dropped, they came faster than they could be written", missing)
            self._each("dropped", missing)

    def _take(self) -> "list[Raw]":
        taken = self._events[:]
        del self._events[: len(taken)]
        return taken

    def _deliver(self, event: Event) -> None:
        for sink in self._sinks:
            try:
                sink.event(event)
            except Exception as e:
                self._give_up(sink, e)

    def _each(self, method: str, *args: int) -> None:
        for sink in list(self._sinks):
            try:
                getattr(sink, method)(*args)
            except Exception as e:
                self._give_up(sink, e)

    def _give_up(self, sink: Sink, why: Exception) -> None:
        """A sink that cannot write (pipe closed, disk full) must not end the others, nor the machine."""
        log.error(
            "trace: %s stopped, nothing more is written to it: %s",
            type(sink).__name__,
            getattr(why, "strerror", None) or why,
        )
        self._tracer.failure = why
        self._sinks = [s for s in self._sinks if s is not sink]
        if not self._sinks:
            self._tracer.on = False


def _time(raw: "Raw") -> int:
    return raw[0]
