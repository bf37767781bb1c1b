"""The tick that notices calls which take long. It runs only while calls are served, and rarely while all of them wait.

A receiver arms it with the first call after a pause; arming a timer wakes nobody, so a pause costs that call nothing
but the system call.
"""

import os
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Final

from optemu.normal_world.gate.janitor import Janitor
from optemu.normal_world.gate.kernel import Timer

if TYPE_CHECKING:
    from optemu.normal_world.gate.receiver import Receiver

TICK_US: Final = 2000
_IDLE_TICKS: Final = 25
_LONG_CALL_US: Final = 50_000
_SLOWEST_US: Final = 1_000_000


class Watchdog:
    """``fast`` while calls are coming in: then no receiver needs to arm it."""

    def __init__(self, janitor: Janitor, receivers: list["Receiver"], on_pause: Callable[[], None]) -> None:
        self.fast = False
        self._janitor = janitor
        self._receivers = receivers
        self._on_pause = on_pause
        self._timer = Timer()
        self._period = 0
        self._ticks = 0
        self._idle = 0
        janitor.watch(self._timer.fd, self._tick, readable=True)

    def arm(self) -> None:
        """From a receiver, with its call under way."""
        self.fast = True
        self._timer.every(TICK_US)

    def close(self) -> None:
        """On the janitor's thread."""
        self._janitor.forget(self._timer.fd)
        self._timer.close()

    def _tick(self) -> None:
        try:
            os.read(self._timer.fd, 8)
        except BlockingIOError:
            return
        if self.fast:
            self._fast_tick()
        else:
            self._slow_tick()

    def _fast_tick(self) -> None:
        now = perf_counter()
        active = False
        for receiver in self._receivers:
            active |= receiver.check(now)
        self._idle = 0 if active else self._idle + 1
        self._ticks += 1
        if self._ticks * TICK_US >= _LONG_CALL_US:
            self._ticks = 0
            self.check_long_calls()
        if self._idle >= _IDLE_TICKS:
            self._pause()

    def _pause(self) -> None:
        """Disarm first, say so, then look once more: a receiver that saw ``fast`` still set has begun by now."""
        self._idle = 0
        self._timer.every(0)
        self.fast = False
        if any(receiver.is_serving() for receiver in self._receivers):
            self.arm()
            return
        self._on_pause()
        self._period = _LONG_CALL_US
        self._arm_slow()

    def _arm_slow(self) -> None:
        """For the calls that are still waiting, if any; ever more rarely."""
        if not self.fast and any(receiver.has_calls() for receiver in self._receivers):
            self._timer.every(self._period)
            if self.fast:
                self._timer.every(TICK_US)

    def _slow_tick(self) -> None:
        self.check_long_calls()
        self._period = min(2 * self._period, _SLOWEST_US)
        if any(receiver.has_calls() for receiver in self._receivers):
            self._arm_slow()
        elif not self.fast:
            self._timer.every(0)
            if self.fast:
                self._timer.every(TICK_US)

    def check_long_calls(self) -> None:
        """Tells the driver of calls whose client is gone."""
        for receiver in self._receivers:
            receiver.interrupt_dead_calls()
