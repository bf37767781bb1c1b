"""The least machine that runs a TA's code: its ELF image in Unicorn, functions called by symbol, syscalls in Python.

Written apart from the product's loader and core on purpose, so that a test of the runtime tests the runtime.
AArch64, no MMU: protection is not what is tested here.
"""

import struct
from collections.abc import Callable
from pathlib import Path

import unicorn
from unicorn import arm64_const as a64

BASE = 0x40000000
STACK_TOP = 0x50000000
STACK_SIZE = 0x10000
SCRATCH = 0x60000000
SCRATCH_SIZE = 0x100000
RETURN_TO = 0x70000000
TABLES = 0x71000000

Syscall = Callable[..., int]


class Returned(Exception):
    """The guest called _utee_return()."""


class Panicked(Exception):
    """The guest called _utee_panic()."""


class Guest:
    """One TA image, loaded. ``syscalls`` maps numbers to functions of the guest's x0..x7."""

    def __init__(self, elf: Path) -> None:
        self.data = elf.read_bytes()
        self.uc = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        self.uc.mem_map(BASE, 0x1000000)
        self.uc.mem_map(STACK_TOP - STACK_SIZE, STACK_SIZE)
        self.uc.mem_map(SCRATCH, SCRATCH_SIZE)
        self.uc.mem_map(RETURN_TO, 0x1000)
        self.uc.reg_write(a64.UC_ARM64_REG_CPACR_EL1, 3 << 20)
        self.uc.hook_add(unicorn.UC_HOOK_INTR, self._interrupt)
        self.symbols = self._symbols()
        self.syscalls: dict[int, Syscall] = {0: self._return, 1: self._log, 2: self._panic}
        self.log = ""
        self.stop: BaseException | None = None
        self._load()

    def _sections(self) -> list[tuple[int, int, int, int, int]]:
        shoff, entsize, count = struct.unpack_from("<40xQ10xHH", self.data)
        table = []
        for i in range(count):
            _, kind, _, addr, offs, size, link = struct.unpack_from("<IIQQQQI", self.data, shoff + i * entsize)
            table.append((kind, addr, offs, size, link))
        return table

    def _symbols(self) -> dict[str, int]:
        sections = self._sections()
        _, _, offs, size, link = next(s for s in sections if s[0] == 2)  # SHT_SYMTAB
        strings = sections[link][2]
        found = {}
        for at in range(offs, offs + size, 24):
            name, _, _, _, value, _ = struct.unpack_from("<IBBHQQ", self.data, at)
            text = self.data[strings + name : self.data.index(0, strings + name)]
            found[text.decode()] = BASE + value
        return found

    def _load(self) -> None:
        phoff, entsize, count = struct.unpack_from("<32xQ14xHH", self.data)
        for i in range(count):
            kind, _, offs, vaddr, _, filesz, _, _ = struct.unpack_from("<IIQQQQQQ", self.data, phoff + i * entsize)
            if kind == 1:  # PT_LOAD
                self.uc.mem_write(BASE + vaddr, self.data[offs : offs + filesz])
        for kind, _, offs, size, _ in self._sections():
            if kind == 4:  # SHT_RELA
                for r_offset, r_info, addend in struct.iter_unpack("<QQq", self.data[offs : offs + size]):
                    assert r_info == 0x403, "only R_AARCH64_RELATIVE is expected"
                    self.uc.mem_write(BASE + r_offset, struct.pack("<Q", BASE + addend))
        # What the loader tells the runtime: one module, of this address and these program headers.
        self.uc.mem_map(TABLES, 0x1000)
        self.uc.mem_write(TABLES + 0x100, self.data[phoff : phoff + entsize * count])
        self.uc.mem_write(TABLES, struct.pack("<QQQHxxxxxxQQQQ", BASE, TABLES, TABLES + 0x100, count, 1, 0, 0, 0))
        self.uc.mem_write(self.symbols["__elf_phdr_info"], struct.pack("<IHBBQ", 0, 1, 0, 0, TABLES))

    def _interrupt(self, uc: unicorn.Uc, intno: int, _: object) -> None:
        try:
            assert intno == 2, f"exception {intno} at 0x{uc.reg_read(a64.UC_ARM64_REG_PC) - BASE:x}"
            number = uc.reg_read(a64.UC_ARM64_REG_X8)
            args = [uc.reg_read(a64.UC_ARM64_REG_X0 + i) for i in range(8)]
            result = self.syscalls[number](*args)
            uc.reg_write(a64.UC_ARM64_REG_X0, result)
        except BaseException as e:  # raised again by call()
            self.stop = e
            uc.emu_stop()

    def _return(self, code: int, *_: int) -> int:
        raise Returned(code & 0xFFFFFFFF)

    def _panic(self, code: int, *_: int) -> int:
        raise Panicked(code & 0xFFFFFFFF)

    def _log(self, buf: int, size: int, *_: int) -> int:
        self.log += self.read(buf, size).decode()
        return 0

    def call(self, name: str, *args: int) -> int:
        """Call a function; its x0. Raises what a syscall raised."""
        for i, arg in enumerate(args):
            self.uc.reg_write(a64.UC_ARM64_REG_X0 + i, arg & (2**64 - 1))
        self.uc.reg_write(a64.UC_ARM64_REG_SP, STACK_TOP)
        self.uc.reg_write(a64.UC_ARM64_REG_X29, 0)
        self.uc.reg_write(a64.UC_ARM64_REG_X30, RETURN_TO)
        self.stop = None
        self.uc.emu_start(self.symbols[name], RETURN_TO)
        if self.stop is not None:
            raise self.stop
        return int(self.uc.reg_read(a64.UC_ARM64_REG_X0))

    def call_int(self, name: str, *args: int) -> int:
        """As ``call``, for functions that return int."""
        return int.from_bytes((self.call(name, *args) & 0xFFFFFFFF).to_bytes(4, "little"), "little", signed=True)

    def read(self, at: int, size: int) -> bytes:
        return bytes(self.uc.mem_read(at, size))

    def write(self, at: int, data: bytes) -> int:
        self.uc.mem_write(at, data)
        return at

    def string(self, at: int, text: str | bytes) -> int:
        """Write a terminated string; its address."""
        return self.write(at, (text if isinstance(text, bytes) else text.encode()) + b"\0")
