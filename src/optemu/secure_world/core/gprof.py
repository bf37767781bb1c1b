"""Samples of where a TA executes. Mirrors struct sample_buf and tee_ta_gprof_sample_pc of core/kernel/tee_ta_manager.c.

A sample is taken when the timer's interrupt arrives at EL0, so only of code that executes for longer than a tick
without a system call.
"""

from optemu.board.timer import TICK_SECONDS

_SCALE_1_TO_1 = 65536


class SampleBuf:
    """Counters of 16 bits, one for so much code from ``offset`` on as ``scale`` says (65536: two bytes)."""

    __slots__ = ("_offset", "_samples", "_scale", "count")

    def __init__(self, buffer: memoryview, offset: int, scale: int) -> None:
        self._samples = buffer[: len(buffer) & ~1].cast("H")
        self._offset = offset
        self._scale = scale
        self.count = 0

    def sample(self, pc: int) -> None:
        """tee_ta_gprof_sample_pc."""
        index = (pc - self._offset) // 2 * self._scale // _SCALE_1_TO_1
        if 0 <= index < len(self._samples):
            self._samples[index] = self._samples[index] + 1 & 0xFFFF
        self.count += 1

    @property
    def rate(self) -> int:
        """Samples in a second of execution: one at each tick. 0 when there are none."""
        return round(1 / TICK_SECONDS) if self.count else 0
