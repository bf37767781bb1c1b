"""The machine both worlds stand on: memory, clock, timer, entropy and the keys burnt into it."""

from optemu.board.clock import Clock
from optemu.board.config import Config
from optemu.board.entropy import Entropy
from optemu.board.memory import PhysicalMemory, Region
from optemu.board.rtc import Rtc
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
        self.rtc = Rtc(self.clock)
        self.entropy = Entropy(self.config.seed)
        self.trusted_keys = self.config.trusted_keys()
        self.early_tas = {uuid: self._burn(image) for uuid, image in self.config.early_ta_images().items()}
        """What is linked into the core: UUID (16 octets) to ELF file, in secure memory."""
        event_log = self.config.tpm_event_log
        self.tpm_event_log = event_log.read_bytes() if event_log is not None else None
        """What the firmware measured while it booted."""

    def _burn(self, image: bytes) -> memoryview:
        region: Region = self.memory.allocate(len(image), secure=True)
        region.view[: len(image)] = image
        return region.view[: len(image)].toreadonly()

    def power_off(self) -> None:
        self.timer.stop()
