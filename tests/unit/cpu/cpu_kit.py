"""A Cpu with some memory and a few words of machine code; the mnemonics stand beside the code that uses this."""

import ctypes
import mmap
import threading

from optemu.secure_world.cpu import Prot, Stop, engine

PAGE = 4096
PA = 0x8_0000_0000  # above 4 GiB, and no virtual address equals its physical one
SIZE = 0x10_0000

CODE, GUARDED, DATA, STACK, READ_ONLY = 0x4000_0000, 0x4800_0000, 0x5000_0000, 0x6000_0000, 0x7000_0000
STACK_TOP = STACK + 0x4000
CODE_PA, DATA_PA, STACK_PA, READ_ONLY_PA = PA, PA + 0x1_0000, PA + 0x2_0000, PA + 0x3_0000
SPARE_PA = PA + 0x4_0000
UNMAPPED = 0x1234_5678


class Memory:
    """Host memory that may be physical memory of several Cpus."""

    def __init__(self, size: int = SIZE) -> None:
        self.bytes = mmap.mmap(-1, size)
        self._keep = ctypes.c_char.from_buffer(self.bytes)
        self.host = ctypes.addressof(self._keep)
        self.size = size


class Bench:
    """A Cpu with code, data, stack and read-only pages mapped."""

    def __init__(self, arch: str = "aarch64") -> None:
        self.memory = Memory()
        self.cpu = engine(arch)
        self.cpu.back(PA, self.memory.host, SIZE)
        self.cpu.map(CODE, CODE_PA, 2 * PAGE, Prot.R | Prot.X)
        self.cpu.map(GUARDED, CODE_PA, 2 * PAGE, Prot.R | Prot.X | Prot.GUARDED)
        self.cpu.map(DATA, DATA_PA, 4 * PAGE, Prot.R | Prot.W)
        self.cpu.map(STACK, STACK_PA, 4 * PAGE, Prot.R | Prot.W)
        self.cpu.map(READ_ONLY, READ_ONLY_PA, PAGE, Prot.R)
        self._next = 0

    def place(self, code: str) -> int:
        """Put code, hex bytes as in memory, where none was before; its offset in the code pages."""
        program = bytes.fromhex(code)
        at, self._next = self._next, self._next + (len(program) + 63 & ~63)
        assert self._next <= 2 * PAGE
        self.poke(CODE_PA + at, program)
        return at

    def run(self, code: str, *args: int, at: int = CODE, thumb: bool = False) -> Stop:
        return self.cpu.enter(at + self.place(code) | thumb, STACK_TOP, *args, *[0] * (4 - len(args)))

    def poke(self, pa: int, data: bytes) -> None:
        self.memory.bytes[pa - PA : pa - PA + len(data)] = data

    def peek(self, pa: int, size: int = 8) -> int:
        return int.from_bytes(self.memory.bytes[pa - PA : pa - PA + size], "little")


class Watchdog:
    """Asks for one stop, from a thread of its own and when the run has begun."""

    def __init__(self, cpu: object) -> None:
        self._thread = threading.Timer(0.01, cpu.request_stop)

    def __enter__(self) -> "Watchdog":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
