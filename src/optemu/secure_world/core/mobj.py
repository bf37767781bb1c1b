"""Memory objects over normal-world pages. Mirrors core/mm/mobj_dyn_shm.c and core/kernel/msg_param.c.

A registered shared memory object is a list of non-secure pages the normal world named once; from then on it
is found by its cookie, and offsets into it are checked against its size. Nothing here trusts a page list: it
is copied out of shared memory first, and every page must be non-secure memory that exists.
"""

import struct
from collections.abc import Iterator

from optemu.abi.optee_msg import OPTEE_MSG_NONCONTIG_PAGE_SIZE as PAGE
from optemu.abi.optee_msg import PAGELIST_ENTRIES_PER_PAGE
from optemu.board.memory import PhysicalMemory, Region

_PAGE_MASK = PAGE - 1
MAX_SHM_PAGES = 1 << 18
"""1 GiB: the most that one object may register; a longer list is refused before it is read."""


class Run:
    """Contiguous pages of one region: ``size`` bytes at ``pa``, visible here as ``view``."""

    __slots__ = ("pa", "region", "size", "view")

    def __init__(self, region: Region, pa: int, size: int) -> None:
        self.region = region
        self.pa = pa
        self.size = size
        offset = pa - region.base
        self.view = region.view[offset : offset + size]


class Mobj:
    """``size`` bytes of non-secure memory, starting ``page_offset`` bytes into the first of its pages."""

    __slots__ = ("cookie", "page_offset", "runs", "size", "view")

    def __init__(self, runs: tuple[Run, ...], page_offset: int, size: int, cookie: int) -> None:
        self.runs = runs
        self.page_offset = page_offset
        self.size = size
        self.cookie = cookie
        # The whole object as one view where its pages are contiguous, as they nearly always are.
        self.view = runs[0].view[page_offset : page_offset + size] if len(runs) == 1 else None

    def get_va(self, offset: int, size: int) -> memoryview | None:
        """``size`` contiguous bytes at ``offset``, or None where the object has no such bytes."""
        if offset < 0 or size < 0 or offset + size > self.size:
            return None
        if self.view is not None:
            return self.view[offset : offset + size]
        at = self.page_offset + offset
        for run in self.runs:
            if at + size <= run.size:
                return run.view[at : at + size]
            if at < run.size:
                return None
            at -= run.size
        return None

    def get_pa(self, offset: int) -> tuple[int, bool]:
        """Physical address of the byte at ``offset``, and whether that is secure memory."""
        at = self.page_offset + offset
        for run in self.runs:
            if at < run.size:
                return run.pa + at, run.region.secure
            at -= run.size
        return self.runs[-1].pa + self.runs[-1].size, self.runs[-1].region.secure

    def spans(self, offset: int, size: int) -> Iterator[memoryview]:
        """The bytes at ``offset``, in as many views as it takes. The caller has checked the range."""
        at = self.page_offset + offset
        for run in self.runs:
            if size <= 0:
                return
            if at < run.size:
                take = min(size, run.size - at)
                yield run.view[at : at + take]
                size -= take
                at = 0
            else:
                at -= run.size

    def read(self, offset: int, size: int) -> bytes:
        """A copy of ``size`` bytes at ``offset``."""
        if self.view is not None:
            return bytes(self.view[offset : offset + size])
        return b"".join(self.spans(offset, size))

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store ``data`` at ``offset``."""
        if self.view is not None:
            self.view[offset : offset + len(data)] = data
            return
        at = 0
        for view in self.spans(offset, len(data)):
            view[:] = data[at : at + len(view)]
            at += len(view)


def nsec_runs(memory: PhysicalMemory, pages: tuple[int, ...]) -> tuple[Run, ...] | None:
    """The pages as contiguous runs of non-secure memory; None when one of them is not that, or no page."""
    runs = []
    start = 0
    while start < len(pages):
        region = memory.find(pages[start], secure=False)
        # Those that follow the first of a run are as much a page's address as that.
        if region is None or pages[start] & _PAGE_MASK:
            return None
        most = min(len(pages) - start, (region.base + region.size - pages[start]) // PAGE)
        end = start + _contiguous(pages, start, most)
        runs.append(Run(region, pages[start], (end - start) * PAGE))
        start = end
    return tuple(runs) or None


def _contiguous(pages: tuple[int, ...], start: int, most: int) -> int:
    """How many of the ``most`` pages from ``start`` on follow each other."""
    first = pages[start]
    if pages[start : start + most] == tuple(range(first, first + most * PAGE, PAGE)):
        return most
    count = 1
    while count < most and pages[start + count] == first + count * PAGE:
        count += 1
    return max(count, 1)


def read_page_list(memory: PhysicalMemory, buffer: int, count: int) -> tuple[int, ...] | None:
    """msg_param_extract_pages: a copy of ``count`` page addresses from the linked list at ``buffer``."""
    pages: list[int] = []
    while True:
        if buffer & _PAGE_MASK:
            return None
        region = memory.find(buffer, secure=False)
        if region is None:
            return None
        take = min(count - len(pages), PAGELIST_ENTRIES_PER_PAGE)
        entries = struct.unpack_from(f"<{take + 1}Q", region.view, buffer - region.base)
        pages += entries[:take]
        if len(pages) == count:
            return tuple(pages)
        buffer = entries[take]


class ShmRegistry:
    """All registered shared memory, by cookie."""

    def __init__(self, memory: PhysicalMemory) -> None:
        self._memory = memory
        self._by_cookie: dict[int, Mobj] = {}

    def __len__(self) -> int:
        return len(self._by_cookie)

    def single_page(self, pa: int, cookie: int = 0) -> Mobj | None:
        """mobj_mapped_shm_alloc of one page: the page at ``pa``, not entered in the registry."""
        if pa & _PAGE_MASK:
            return None
        runs = nsec_runs(self._memory, (pa,))
        return Mobj(runs, 0, PAGE, cookie) if runs else None

    def from_noncontig(self, buf_ptr: int, size: int, cookie: int) -> Mobj | None:
        """msg_param_mobj_from_noncontig: the object whose page list lies at ``buf_ptr``; not yet registered.

        The low bits of ``buf_ptr`` are the offset into the first page. None when anything is wrong with it.
        """
        page_offset = buf_ptr & _PAGE_MASK
        count = (size + page_offset - 1) // PAGE + 1
        if size <= 0 or count > MAX_SHM_PAGES or not cookie:
            return None
        pages = read_page_list(self._memory, buf_ptr & ~_PAGE_MASK, count)
        runs = nsec_runs(self._memory, pages) if pages else None
        return Mobj(runs, page_offset, size, cookie) if runs else None

    def register(self, mobj: Mobj) -> bool:
        """mobj_reg_shm_alloc and _unguard: from now on ``cookie`` names it; False when it is taken."""
        return self._by_cookie.setdefault(mobj.cookie, mobj) is mobj

    def get_by_cookie(self, cookie: int) -> Mobj | None:
        """mobj_reg_shm_get_by_cookie."""
        return self._by_cookie.get(cookie)

    def release_by_cookie(self, cookie: int) -> bool:
        """mobj_reg_shm_release_by_cookie: forget the cookie. Calls that hold the object keep its memory."""
        return self._by_cookie.pop(cookie, None) is not None
