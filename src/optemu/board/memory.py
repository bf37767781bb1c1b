"""Physical memory: regions, each either secure or non-secure.

A region is host memory (an ``mmap``) with a physical address. Nothing is reused before the window of
addresses has been walked once round, so that a stale physical address finds nothing rather than a stranger.
"""

import ctypes
import errno
import mmap
import threading
from bisect import bisect_right, insort
from dataclasses import dataclass

PAGE_SIZE = 4096
PAGE_MASK = PAGE_SIZE - 1

NSEC_WINDOW = (0x4000_0000, 0x8_0000_0000)
SEC_WINDOW = (0x8_0000_0000, 0x10_0000_0000)


def round_up(value: int, unit: int = PAGE_SIZE) -> int:
    """``value`` rounded up to a multiple of ``unit``, a power of two."""
    return (value + unit - 1) & -unit


class Region:
    """Contiguous physical memory: ``base`` and ``size`` in bytes, ``view`` its bytes, ``host`` their address here."""

    __slots__ = ("_keep", "alive", "base", "host", "mem", "secure", "size", "view")

    def __init__(self, base: int, mem: mmap.mmap, secure: bool) -> None:
        self.base = base
        self.size = len(mem)
        self.secure = secure
        self.mem = mem
        self.view = memoryview(mem)
        # The ctypes object pins the mapping for as long as an engine may hold its address.
        self._keep = ctypes.c_char.from_buffer(mem)
        self.host = ctypes.addressof(self._keep)
        self.alive = True

    def __repr__(self) -> str:
        return f"<{'secure' if self.secure else 'non-secure'} 0x{self.base:x}+0x{self.size:x}>"


@dataclass(slots=True)
class Usage:
    """Figures about one kind of memory, in bytes: in use, the most ever in use, and what could not be had."""

    used: int = 0
    peak: int = 0
    failures: int = 0
    biggest_failure: int = 0
    used_at_failure: int = 0

    def changed(self, by: int) -> None:
        self.used += by
        self.peak = max(self.peak, self.used)

    def failed(self, size: int) -> None:
        self.failures += 1
        if size > self.biggest_failure:
            self.biggest_failure, self.used_at_failure = size, self.used

    def reset(self) -> None:
        """From now on count anew what was the most and what failed."""
        self.peak = self.used
        self.failures = self.biggest_failure = self.used_at_failure = 0


class _Window:
    """Addresses for one kind of memory, given out next-fit."""

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end, self.next = start, end, start
        self.usage = Usage()
        self.bases: list[int] = []
        self.regions: dict[int, Region] = {}

    def place(self, size: int) -> int:
        """A free base for ``size`` bytes and a guard page; MemoryError when the window is full."""
        for _ in range(2):
            base = self.next
            while base + size <= self.end:
                clash = self._clash(base, size + PAGE_SIZE)
                if clash is None:
                    self.next = base + size + PAGE_SIZE
                    return base
                base = round_up(clash.base + clash.size) + PAGE_SIZE
            self.next = self.start
        raise MemoryError(f"no physical address left for {size} bytes")

    def _clash(self, base: int, size: int) -> Region | None:
        at = bisect_right(self.bases, base + size - 1)
        if not at:
            return None
        region = self.regions[self.bases[at - 1]]
        return region if region.base + region.size > base else None

    def find(self, pa: int) -> Region | None:
        at = bisect_right(self.bases, pa)
        if not at:
            return None
        region = self.regions[self.bases[at - 1]]
        return region if pa < region.base + region.size else None


class PhysicalMemory:
    """All memory of the board. Thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows = {False: _Window(*NSEC_WINDOW), True: _Window(*SEC_WINDOW)}

    def allocate(self, size: int, *, secure: bool, fd: int = -1) -> Region:
        """A new region of at least ``size`` zeroed bytes; over the file ``fd`` (shared) when one is given.

        MemoryError when there is no memory or no address for it.
        """
        size = round_up(max(size, 1))
        window = self._windows[secure]
        try:
            mem = _host_memory(size, fd)
            with self._lock:
                region = Region(window.place(size), mem, secure)
                window.regions[region.base] = region
                insort(window.bases, region.base)
                window.usage.changed(size)
        except (OSError, MemoryError, OverflowError):
            window.usage.failed(size)
            raise
        return region

    def free(self, region: Region) -> None:
        """Take the region off the map; its bytes live on until the last holder drops it."""
        window = self._windows[region.secure]
        with self._lock:
            if region.alive:
                region.alive = False
                del window.regions[region.base]
                window.bases.remove(region.base)
                window.usage.changed(-region.size)

    def find(self, pa: int, *, secure: bool) -> Region | None:
        """The region of that kind that holds physical address ``pa``."""
        with self._lock:
            return self._windows[secure].find(pa)

    def count(self, *, secure: bool) -> int:
        """How many regions of that kind exist (for leak checks and statistics)."""
        return len(self._windows[secure].bases)

    def usage(self, *, secure: bool) -> Usage:
        """Figures about that kind of memory, which go on changing."""
        return self._windows[secure].usage


def _host_memory(size: int, fd: int) -> mmap.mmap:
    try:
        return mmap.mmap(fd, size, mmap.MAP_SHARED if fd >= 0 else mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as e:
        if e.errno != errno.ENOMEM:
            raise
        raise MemoryError(f"no memory left for {size} bytes") from e
