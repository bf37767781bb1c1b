"""The recording half: what a trace point costs. Decoding and printing wait in drain.py."""

from collections.abc import Callable
from threading import get_ident
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from optemu.trace.point import Point

if TYPE_CHECKING:
    from optemu.trace.drain import Drain
    from optemu.trace.sink import Sink

Raw = tuple[int, int, str, Point, tuple[Any, ...]]
"""perf_counter_ns, ident of the OS thread, "enter" | "exit" | "mark", point, arguments as they were."""


class Tracer:
    """One machine's trace. Callers test ``on`` first: a point nobody listens to costs that test.

    Arguments must be immutable (int, bytes, str, None, tuples of these): they are formatted later. Between
    ``start`` and ``close`` a thread of its own hands the events to the sinks; without it ``events`` only grows.
    """

    __slots__ = ("_append", "_drain", "asleep", "events", "failure", "on", "wake")

    def __init__(self) -> None:
        self.on = False
        self.events: list[Raw] = []
        self._append = self.events.append
        self._drain: Drain | None = None
        self.failure: Exception | None = None
        """Why a sink has got less than everything."""
        self.asleep = False
        """The drain thread sleeps until ``wake`` is called: it has nothing to write."""
        self.wake: Callable[[], None] = _nobody

    def enter(self, point: Point, *args: Any) -> None:
        self._append((perf_counter_ns(), get_ident(), "enter", point, args))
        if self.asleep:
            self.wake()

    def exit(self, point: Point, *args: Any) -> None:
        self._append((perf_counter_ns(), get_ident(), "exit", point, args))
        if self.asleep:
            self.wake()

    def mark(self, point: Point, *args: Any) -> None:
        self._append((perf_counter_ns(), get_ident(), "mark", point, args))
        if self.asleep:
            self.wake()

    # --- the other half ---------------------------------------------------------------------------------------

    def start(self, *sinks: "Sink") -> None:
        """Record from now on, into ``sinks``."""
        from optemu.trace.drain import Drain

        self.close()
        self.events.clear()
        self._drain = Drain(self, sinks)
        self._drain.start()
        self.on = True

    def flush(self) -> None:
        """Return when everything recorded before this call is written."""
        if self._drain is not None:
            self._drain.flush()

    def close(self) -> None:
        """Stop recording, write what is left, close the sinks. Harmless when not started."""
        self.on = False
        drain, self._drain = self._drain, None
        if drain is not None:
            drain.close()


def _nobody() -> None:
    pass
