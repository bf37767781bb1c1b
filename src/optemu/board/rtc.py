"""The board's real-time clock: a calendar that can be set, and run faster or slower by parts per billion."""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime

from optemu.board.clock import Clock

_NS = 1_000_000_000
MAX_OFFSET_PPB = 1_000_000
"""The largest correction, either way: a thousandth."""


@dataclass(frozen=True, slots=True)
class RtcTime:
    """struct optee_rtc_time: the year as it is called, months from 0, days from 1, days of the week from Sunday = 0."""

    year: int
    mon: int
    mday: int
    wday: int
    hour: int
    min: int
    sec: int


RANGE_MIN = RtcTime(1970, 0, 1, 4, 0, 0, 0)
RANGE_MAX = RtcTime(2099, 11, 31, 4, 23, 59, 59)


class Rtc:
    """Starts with the board's wall clock. What is set here is not seen by any other clock, and lost at power-off."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._base = clock.wall_ns()
        self._since = clock.counter_ns()
        self._ppb = 0

    def _now(self) -> int:
        """Nanoseconds since 1970."""
        elapsed = self._clock.counter_ns() - self._since
        return self._base + elapsed + elapsed * self._ppb // _NS

    def get_time(self) -> RtcTime:
        with self._lock:
            now = datetime.fromtimestamp(self._now() // _NS, UTC)
        day_of_week = (now.weekday() + 1) % 7
        return RtcTime(now.year, now.month - 1, now.day, day_of_week, now.hour, now.minute, now.second)

    def set_time(self, time: RtcTime) -> None:
        """ValueError when there is no such time, or when it is out of range. The day of the week is not compared."""
        when = datetime(time.year, time.mon + 1, time.mday, time.hour, time.min, time.sec, tzinfo=UTC)
        if not RANGE_MIN.year <= time.year <= RANGE_MAX.year or not 0 <= time.wday < 7:
            raise ValueError(f"{time} is out of range")
        with self._lock:
            self._base, self._since = int(when.timestamp()) * _NS, self._clock.counter_ns()

    @property
    def offset(self) -> int:
        """How much faster the clock runs, in parts per billion."""
        return self._ppb

    @offset.setter
    def offset(self, ppb: int) -> None:
        """ValueError beyond MAX_OFFSET_PPB."""
        if abs(ppb) > MAX_OFFSET_PPB:
            raise ValueError(f"a correction by {ppb} parts per billion")
        with self._lock:
            self._base, self._since, self._ppb = self._now(), self._clock.counter_ns(), ppb
