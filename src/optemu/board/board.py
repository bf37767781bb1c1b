"""The machine both worlds stand on: memory, clock, timer, entropy and the keys burnt into it."""

from optemu.board.clock import Clock
from optemu.board.config import Config
from optemu.board.entropy import Entropy
from optemu.board.memory import PhysicalMemory
from optemu.board.timer import Timer
from optemu.trace import Tracer


class Board:
    """One board. ``trace`` is its bus analyser: it sees both worlds with one clock."""

    def __init__(self, config: Config | None = None, trace: Tracer | None = None) -> None:
        self.config = config or Config()
        self.trace = trace or Tracer()
        self.memory = PhysicalMemory()
        self.clock = Clock(self.config.clock_offset)
        self.timer = Timer()
        self.entropy = Entropy(self.config.seed)
        self.trusted_keys = self.config.trusted_keys()

    def power_off(self) -> None:
        self.timer.stop()
