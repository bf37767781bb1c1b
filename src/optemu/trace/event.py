"""One event as the sinks get it: decoded, with the thread counted from 1."""

from dataclasses import dataclass

from optemu.trace.kinds import Field, decode
from optemu.trace.point import Point
from optemu.trace.record import Raw

ENTER, EXIT, MARK = "enter", "exit", "mark"


@dataclass(frozen=True, slots=True)
class Event:
    """``ts`` is in ns on one clock for all; ``thread`` the n-th OS thread seen; ``phase`` enter, exit or mark."""

    ts: int
    thread: int
    phase: str
    point: Point
    fields: tuple[Field, ...] = ()


class Decoder:
    """Raw events to events."""

    def __init__(self) -> None:
        self._threads: dict[int, int] = {}

    def __call__(self, raw: Raw) -> Event:
        ts, ident, phase, point, args = raw
        thread = self._threads.setdefault(ident, len(self._threads) + 1)
        return Event(ts, thread, phase, point, decode(point.result if phase == EXIT else point.args, args))
