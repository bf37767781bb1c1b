"""Stage-1 page tables in the VMSAv8-64 format with 4 KiB pages; AArch32's long format is the same.

The tables of all 4 GiB lie side by side, so the last level is one array indexed by page number and a mapping of any
length is one slice. The host commits the pages of that array when they are first written: 4 KiB for each 2 MiB used.
"""

import ctypes
import mmap
from array import array
from enum import IntFlag
from functools import lru_cache

PAGE = 4096
SPACE = 1 << 32
PHYSICAL = 1 << 40

_TABLE = 0x3
_PAGE_ENTRY = 0x703  # valid, normal memory by attribute 0, inner shareable, accessed
_USER = 1 << 6
_READ_ONLY = 1 << 7
_NOT_GLOBAL = 1 << 11
_GUARDED = 1 << 50
_NEVER_PRIVILEGED = 1 << 53
_NEVER_USER = 1 << 54

_LEVEL2 = PAGE
_LEVEL3 = _LEVEL2 + SPACE // (1 << 21) * 8
_BYTES = _LEVEL3 + SPACE // PAGE * 8


class Prot(IntFlag):
    """What EL0 may do with a page. ``GUARDED``: indirect branches must land on a BTI instruction."""

    R = 1
    W = 2
    X = 4
    GUARDED = 8


def _attributes(prot: int) -> int:
    """The bits of an entry beside its address; 0 when nothing is allowed."""
    if not prot & (Prot.R | Prot.W | Prot.X):
        return 0
    bits = _PAGE_ENTRY | _NOT_GLOBAL | _NEVER_PRIVILEGED
    bits |= _USER if prot & (Prot.R | Prot.W) else 0
    bits |= 0 if prot & Prot.W else _READ_ONLY
    bits |= 0 if prot & Prot.X else _NEVER_USER
    return bits | (_GUARDED if prot & Prot.GUARDED else 0)


_ATTRIBUTES = [_attributes(prot) for prot in range(16)]


def _entries(first: int, pages: int) -> bytes:
    return array("Q", range(first, first + pages * PAGE, PAGE)).tobytes()


_cached_entries = lru_cache(maxsize=256)(_entries)
_CACHED_PAGES = 1024


class PageTable:
    """One address space of 4 GiB. ``base`` is the table's own physical address, ``host`` and ``size`` its memory."""

    __slots__ = ("_keep", "_mem", "base", "host", "size")

    def __init__(self, base: int) -> None:
        self.base, self.size = base, _BYTES
        self._mem = mmap.mmap(-1, _BYTES)
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            self._mem.madvise(mmap.MADV_NOHUGEPAGE)
        # Pins the mapping while the engine has its address.
        self._keep = ctypes.c_char.from_buffer(self._mem)
        self.host = ctypes.addressof(self._keep)
        self._mem[: 4 * 8] = _entries(base + _LEVEL2 | _TABLE, 4)
        self._mem[_LEVEL2:_LEVEL3] = _entries(base + _LEVEL3 | _TABLE, (_LEVEL3 - _LEVEL2) // 8)

    def map(self, va: int, pa: int, size: int, prot: Prot) -> None:
        """Pages from ``va`` on show the memory from ``pa`` on. ValueError when unaligned or out of the space."""
        start, pages = self._span(va, size)
        if pa % PAGE or not 0 <= pa <= PHYSICAL - size:
            raise ValueError(f"bad physical range 0x{pa:x}+0x{size:x}")
        bits = _ATTRIBUTES[prot]
        make = _cached_entries if pages <= _CACHED_PAGES else _entries
        self._mem[start : start + pages * 8] = make(pa | bits, pages) if bits else bytes(pages * 8)

    def unmap(self, va: int, size: int) -> None:
        """Pages from ``va`` on fault again. ValueError when unaligned or out of the space."""
        start, pages = self._span(va, size)
        self._mem[start : start + pages * 8] = bytes(pages * 8)

    @staticmethod
    def _span(va: int, size: int) -> tuple[int, int]:
        if (va | size) % PAGE or va < 0 or size <= 0 or va + size > SPACE:
            raise ValueError(f"bad virtual range 0x{va:x}+0x{size:x}")
        return _LEVEL3 + va // PAGE * 8, size // PAGE
