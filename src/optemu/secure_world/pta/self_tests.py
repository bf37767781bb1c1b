"""The core's tests of itself. Mirrors core/pta/tests/misc.c.

Upstream tests what a C kernel cannot take for granted: overflow checks, division, malloc, address translation.
Each has its counterpart in what this core cannot take for granted: that no offset and size leave a memory object,
that sizes are rounded to whole pages, that the board's allocator gives memory that is zeroed and nobody else's, and
that physical addresses lead to their bytes and to no other world's.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from optemu.abi import gp, optee_msg
from optemu.board.memory import PAGE_SIZE, PhysicalMemory, Region, round_up
from optemu.secure_world.core.mobj import Mobj, Run, ShmRegistry

log = logging.getLogger("optemu.core")
_U64 = 0xFFFFFFFFFFFFFFFF


@contextmanager
def _allocated(memory: PhysicalMemory, size: int, secure: bool) -> Iterator[Region]:
    region = memory.allocate(size, secure=secure)
    try:
        yield region
    finally:
        memory.free(region)


def self_test_add_overflow(memory: PhysicalMemory) -> bool:
    """No offset and size, however large, lead out of a memory object."""
    with _allocated(memory, 2 * PAGE_SIZE, secure=True) as region:
        size = PAGE_SIZE + 16
        mobj = Mobj((Run(region, region.base, 2 * PAGE_SIZE),), 8, size, 1)
        inside = [(0, 0), (0, size), (size, 0), (16, size - 16)]
        outside = [(0, size + 1), (1, size), (size, 1), (_U64, 1), (1, _U64), (_U64, _U64), (-1, 1), (0, -1)]
        whole = all(len(mobj.get_va(*part) or b"") == part[1] for part in inside)
        return whole and all(mobj.get_va(*part) is None for part in outside)


def self_test_division(memory: PhysicalMemory) -> bool:
    """Sizes are rounded up to whole pages, on both sides of each border."""
    borders = [(n * PAGE_SIZE + d, n + (d > 0)) for n in (1, 2, 1 << 20, 1 << 52) for d in (-PAGE_SIZE + 1, -1, 0, 1)]
    return all(round_up(size) == pages * PAGE_SIZE for size, pages in borders)


def self_test_mul_overflow(memory: PhysicalMemory) -> bool:
    """A page list of impossible length is refused before it is looked at."""
    registry = ShmRegistry(memory)
    with _allocated(memory, PAGE_SIZE, secure=False) as region:
        impossible = (0, -1, _U64, 1 << 63, (1 << 30) + 1)
        return all(registry.from_noncontig(region.base, size, 1) is None for size in impossible)


def self_test_malloc(memory: PhysicalMemory) -> bool:
    """Memory is zeroed, page aligned, apart from other memory, and more than there is refused."""
    with _allocated(memory, 1024, secure=True) as p1, _allocated(memory, 3 * PAGE_SIZE, secure=True) as p2:
        p1.view[:] = b"\xa5" * p1.size
        apart = p1.base + p1.size <= p2.base or p2.base + p2.size <= p1.base
        if not apart or p1.base % PAGE_SIZE or p2.base % PAGE_SIZE or any(p2.view):
            return False
    try:
        memory.allocate(1 << 62, secure=True)
    except (MemoryError, OSError, OverflowError):
        return memory.find(p1.base, secure=True) is None
    return False


def self_test_va2pa(memory: PhysicalMemory) -> bool:
    """Each byte's address leads to its region, in its own world only; 0 and freed memory lead nowhere."""
    for secure in (False, True):
        with _allocated(memory, 2 * PAGE_SIZE, secure=secure) as region:
            ends = (region.base, region.base + region.size - 1)
            found = all(memory.find(pa, secure=secure) is region for pa in ends)
            if not found or any(memory.find(pa, secure=not secure) for pa in ends):
                return False
            if memory.find(region.base + region.size, secure=secure) is region:
                return False
        if memory.find(region.base, secure=secure) is not None or memory.find(0, secure=secure) is not None:
            return False
    return True


def self_test_message(memory: PhysicalMemory) -> bool:
    """struct optee_msg_arg and its parameters have the sizes that the protocol gives them."""
    sizes = optee_msg.MSG_ARG.size, optee_msg.MSG_PARAM.size, optee_msg.msg_arg_size(4)
    return sizes == (32, 32, 160) and optee_msg.OPTEE_MSG_MAX_NUM_PARAMS == 127


SELF_TESTS: tuple[Callable[[PhysicalMemory], bool], ...] = (
    self_test_add_overflow,
    self_test_mul_overflow,
    self_test_division,
    self_test_malloc,
    self_test_va2pa,
    self_test_message,
)


def core_self_tests(memory: PhysicalMemory) -> int:
    """All of them, each whatever became of the others: TEE_SUCCESS, or TEE_ERROR_GENERIC and names in the log."""
    failed = [test.__name__ for test in SELF_TESTS if not test(memory)]
    for name in failed:
        log.error("%s failed", name)
    return gp.TEE_ERROR_GENERIC if failed else gp.TEE_SUCCESS
