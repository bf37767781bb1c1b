"""Shared memory objects of the TEE subsystem. Mirrors drivers/tee/tee_shm.c and optee's page lists."""

import ctypes
import errno
import fcntl
import itertools
import logging
import os
import struct
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from optemu.abi.optee_msg import PAGELIST_ENTRIES_PER_PAGE
from optemu.board.memory import PAGE_SIZE, PhysicalMemory, Region, round_up

if TYPE_CHECKING:
    from optemu.normal_world.driver.interface import Task
    from optemu.normal_world.driver.tee_core import TeeContext

log = logging.getLogger("optemu.driver")

MAX_SHM_SIZE = 1 << 30
MAX_RECYCLED = 8
# What upstream uses as a cookie is a kernel pointer: unique, never 0, told to nobody but the secure world.
_cookies = itertools.count(0xFFFF_8000_0000_0000, 64)


class TeeShm:
    """struct tee_shm: ``size`` bytes in ``region`` from ``page_offset`` on.

    ``fd`` is the memfd behind memory that a process maps, -1 for memory of the kernel and for memory a
    process registered: that is copied from ``user_addr`` before a call and back after it.
    """

    __slots__ = ("_release", "cookie", "ctx", "fd", "id", "page_offset", "refs", "region", "size", "user_addr")

    def __init__(self, region: Region, size: int, release: Callable[["TeeShm"], None], fd: int = -1) -> None:
        self.id = -1
        self.region = region
        self.size = size
        self.page_offset = 0
        self.fd = fd
        self.cookie = next(_cookies)
        self.refs = 1
        self.ctx: TeeContext | None = None
        self.user_addr: int | None = None
        self._release = release

    @property
    def kind(self) -> str:
        """How a process holds it: a descriptor of the memory itself, or one that only marks its life."""
        return "memfd" if self.fd >= 0 else "pipe"

    @property
    def view(self) -> memoryview:
        return self.region.view[self.page_offset : self.page_offset + self.size]

    def released(self) -> None:
        """The descriptor the process got is gone everywhere."""
        self._release(self)

    def copy_in(self, task: "Task") -> None:
        """Registered memory: what the process has there, for the call that begins."""
        if self.user_addr is not None:
            self.view[:] = task.read(self.user_addr, self.size)

    def copy_out(self, task: "Task") -> None:
        """Registered memory: what it holds after the call, back to the process, as far as that may write there."""
        if self.user_addr is not None:
            try:
                task.write(self.user_addr, bytes(self.view))
            except OSError as e:
                # A read-only buffer can be registered for input, and is never written then.
                log.debug("registered memory at 0x%x is not writable: %s", self.user_addr, e)


class ShmPool:
    """Memory for shared memory objects. A process's own memory is used again, but only by that process."""

    def __init__(self, memory: PhysicalMemory) -> None:
        self._memory = memory
        self._lock = threading.Lock()
        self._idle: dict[tuple[int, int], list[tuple[Region, int]]] = {}
        self._pages: list[tuple[Region, int]] = []
        self._long_lists: set[int] = set()
        """Page lists in regions of their own, by address."""

    def allocate(self, pid: int, size: int) -> tuple[Region, int]:
        """A zeroed region of at least ``size`` bytes over a memfd, for process ``pid``: (region, memfd)."""
        size = round_up(size)
        with self._lock:
            idle = self._idle.get((pid, size))
            if idle:
                return idle.pop()
        fd = os.memfd_create("optemu-shm", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, size)
            keep_size(fd)
            return self._memory.allocate(size, secure=False, fd=fd), fd
        except BaseException:
            os.close(fd)
            raise

    def recycle(self, pid: int, region: Region, fd: int) -> None:
        """Keep the memory, zeroed, for the process's next request."""
        with self._lock:
            idle = self._idle.setdefault((pid, region.size), [])
            keep = region.size <= 1 << 20 and len(idle) < MAX_RECYCLED
            if keep:
                ctypes.memset(region.host, 0, region.size)
                idle.append((region, fd))
        if not keep:
            self._memory.free(region)
            os.close(fd)

    def forget(self, pid: int) -> None:
        """The process has closed the device: nothing is kept for it."""
        with self._lock:
            gone = [item for key in list(self._idle) if key[0] == pid for item in self._idle.pop(key)]
        for region, fd in gone:
            self._memory.free(region)
            os.close(fd)

    def idle(self) -> int:
        return sum(len(items) for items in self._idle.values())

    # --- pages of the kernel's own ---------------------------------------------------------------------------

    def take_page(self) -> tuple[Region, int]:
        """A page of kernel memory: (region, offset)."""
        with self._lock:
            if not self._pages:
                region = self._memory.allocate(64 * PAGE_SIZE, secure=False)
                self._pages = [(region, at) for at in range(0, region.size, PAGE_SIZE)]
            return self._pages.pop()

    def give_page(self, page: tuple[Region, int]) -> None:
        with self._lock:
            self._pages.append(page)

    def take_page_list(self, region: Region) -> tuple[Region, int]:
        """optee_allocate_pages_list, filled: what tells the secure world of ``region``'s pages. (region, offset)"""
        size = page_list_size(region)
        if size <= PAGE_SIZE:
            place, at = self.take_page()
        else:
            place, at = self._memory.allocate(size, secure=False), 0
            self._long_lists.add(place.base)
        fill_page_list(place.view, at, place.base + at, region)
        return place, at

    def give_page_list(self, page_list: tuple[Region, int]) -> None:
        place, _ = page_list
        if place.base in self._long_lists:
            self._long_lists.discard(place.base)
            self._memory.free(place)
        else:
            self.give_page(page_list)


def keep_size(fd: int) -> None:
    """Nobody may shorten the file: the kernel kills who touches a mapping that is cut off. OSError(EINVAL)."""
    try:
        if not fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    except OSError:
        raise OSError(errno.EINVAL, "a file that can shrink cannot be shared: memfd with MFD_ALLOW_SEALING") from None


def page_list_size(region: Region) -> int:
    """Bytes of the page list that names all pages of ``region``."""
    pages = region.size // PAGE_SIZE
    return -(-pages // PAGELIST_ENTRIES_PER_PAGE) * PAGE_SIZE


def fill_page_list(view: memoryview, at: int, pa: int, region: Region) -> None:
    """optee_fill_pages_list: the list of ``region``'s pages, at ``at`` of ``view``, whose address is ``pa``."""
    pages = range(region.base, region.base + region.size, PAGE_SIZE)
    for start in range(0, len(pages), PAGELIST_ENTRIES_PER_PAGE):
        some = pages[start : start + PAGELIST_ENTRIES_PER_PAGE]
        struct.pack_into(f"<{len(some)}Q", view, at, *some)
        if start + len(some) < len(pages):
            pa += PAGE_SIZE
            struct.pack_into("<Q", view, at + PAGE_SIZE - 8, pa)
        at += PAGE_SIZE
