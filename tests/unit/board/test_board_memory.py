"""Physical memory: two windows of addresses, walked round, and what is found where."""

import mmap
import os
import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optemu.board import memory as room
from optemu.board.clock import Clock
from optemu.board.entropy import Entropy
from optemu.board.memory import NSEC_WINDOW, PAGE_SIZE, SEC_WINDOW, PhysicalMemory, Region, round_up

PAGE = PAGE_SIZE


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> PhysicalMemory:
    """A non-secure window of sixteen pages."""
    monkeypatch.setattr(room, "NSEC_WINDOW", (0x10000, 0x20000))
    return PhysicalMemory()


def allocate(memory: PhysicalMemory, pages: int) -> Region:
    return memory.allocate(pages * PAGE, secure=False)


# --- one region -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "pages"), [(0, 1), (1, 1), (PAGE, 1), (PAGE + 1, 2)])
def test_whole_pages_of_zeros(size: int, pages: int) -> None:
    region = PhysicalMemory().allocate(size, secure=True)
    assert bytes(region.view) == bytes(pages * PAGE)
    assert region.size == pages * PAGE


def test_each_kind_in_its_window() -> None:
    memory = PhysicalMemory()
    for secure, (start, end) in ((False, NSEC_WINDOW), (True, SEC_WINDOW)):
        region = memory.allocate(PAGE, secure=secure)
        assert start <= region.base < end
        assert (memory.find(region.base, secure=secure), memory.find(region.base, secure=not secure)) == (region, None)
        assert (memory.count(secure=secure), memory.usage(secure=secure).used) == (1, PAGE)


def test_found_from_first_to_last_byte() -> None:
    memory = PhysicalMemory()
    region = allocate(memory, 2)
    inside = (region.base, region.base + 1, region.base + 2 * PAGE - 1)
    assert all(memory.find(pa, secure=False) is region for pa in inside)
    outside = (0, region.base - 1, region.base + 2 * PAGE, -1, 1 << 64)
    assert all(memory.find(pa, secure=False) is None for pa in outside)
    memory.free(region)
    memory.free(region)
    assert memory.find(region.base, secure=False) is None
    assert not region.alive
    region.view[0] = 1  # whoever holds it may still touch it


def test_memory_of_a_file_is_the_file() -> None:
    fd = os.memfd_create("test")
    os.ftruncate(fd, 2 * PAGE)
    region = PhysicalMemory().allocate(2 * PAGE, secure=False, fd=fd)
    os.pwrite(fd, b"file", PAGE)
    assert bytes(region.view[PAGE : PAGE + 4]) == b"file"
    with pytest.raises(ValueError, match="greater than file size"):
        PhysicalMemory().allocate(3 * PAGE, secure=False, fd=fd)


def test_an_engine_may_hold_the_address() -> None:
    region = PhysicalMemory().allocate(PAGE, secure=False)
    region.view.release()
    with pytest.raises(BufferError):
        region.mem.close()
    assert isinstance(region.mem, mmap.mmap)


# --- the window -----------------------------------------------------------------------------------------------------------


def test_addresses_are_not_used_again_before_the_window_was_walked(small: PhysicalMemory) -> None:
    bases = []
    for _ in range(4):
        region = allocate(small, 3)
        bases.append(region.base)
        small.free(region)
    assert bases == [0x10000, 0x14000, 0x18000, 0x1C000], "with a guard page behind each"
    assert allocate(small, 3).base == 0x10000


def test_round_the_end_past_what_is_still_there(small: PhysicalMemory) -> None:
    first, second, third = allocate(small, 2), allocate(small, 2), allocate(small, 2)
    assert [r.base for r in (first, second, third)] == [0x10000, 0x13000, 0x16000]
    small.free(second)
    assert allocate(small, 6).base == 0x19000
    assert allocate(small, 2).base == 0x13000, "the gap, for the end is too near"
    assert small.find(0x13000, secure=False) is not second


def test_a_gap_without_room_for_the_guard_page_is_none(small: PhysicalMemory) -> None:
    regions = [allocate(small, 2) for _ in range(5)]
    small.free(regions[1])
    with pytest.raises(MemoryError, match="no physical address left for 12288 bytes"):
        allocate(small, 3)
    assert allocate(small, 2).base == regions[1].base


def test_more_than_the_host_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "NSEC_WINDOW", (0, 1 << 63))
    with pytest.raises(MemoryError, match="no memory left for 4611686018427387904 bytes"):
        PhysicalMemory().allocate(1 << 62, secure=False)


def test_full_and_free_again(small: PhysicalMemory) -> None:
    whole = allocate(small, 16)
    for pages in (1, 16, 17):
        with pytest.raises(MemoryError):
            allocate(small, pages)
    assert small.count(secure=False) == 1
    assert small.allocate(PAGE, secure=True).base == SEC_WINDOW[0], "the other window is another"
    small.free(whole)
    assert allocate(small, 1).base == 0x10000


_STEPS = st.lists(st.tuples(st.booleans(), st.integers(1, 4)), min_size=10, max_size=60)


@given(_STEPS)
def test_regions_never_touch(steps: list[tuple[bool, int]]) -> None:
    """Whatever comes and goes: no two overlap, and between any two lies a page that is nobody's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "NSEC_WINDOW", (0x10000, 0x20000))
        memory = PhysicalMemory()
    alive: list[Region] = []
    for give, n in steps:
        if give:
            try:
                alive.append(allocate(memory, n))
            except MemoryError:
                assert alive
        elif alive:
            memory.free(alive.pop(n % len(alive)))
        alive.sort(key=lambda r: r.base)
        for low, high in pairwise(alive):
            assert low.base + low.size + PAGE <= high.base
        for r in alive:
            assert 0x10000 <= r.base <= r.base + r.size <= 0x20000
            assert memory.find(r.base, secure=False) is r
            assert memory.find(r.base + r.size, secure=False) is None
        assert memory.usage(secure=False).used == sum(r.size for r in alive)


def test_many_threads() -> None:
    memory = PhysicalMemory()
    bases: list[int] = []

    def work() -> None:
        for _ in range(50):
            region = memory.allocate(PAGE, secure=False)
            bases.append(region.base)
            memory.free(region)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(bases)) == 200
    assert memory.count(secure=False) == 0


def test_rounding() -> None:
    assert [round_up(n) for n in (0, 1, PAGE - 1, PAGE, PAGE + 1)] == [0, PAGE, PAGE, PAGE, 2 * PAGE]
    assert round_up(17, 16) == 32


# --- clock and entropy -----------------------------------------------------------------------------------------------------


def test_the_wall_clock_can_be_set_the_counter_cannot() -> None:
    there, then = Clock(), Clock(-1_000_000)
    assert 999_000 < (there.wall_ns() - then.wall_ns()) / 1e9 < 1_001_000
    first = then.counter_ns()
    assert 0 <= first <= then.counter_ns() < 3600 * 10**9


def test_entropy_repeats_with_a_seed_only() -> None:
    def run(seed: int | None) -> list[bytes]:
        entropy = Entropy(seed)
        return [entropy.read(n) for n in (16, 0, 16, 40)]

    assert run(7) == run(7)
    assert [len(part) for part in run(7)] == [16, 0, 16, 40]
    assert len({part for seed in (7, 8, 77, None, None) for part in run(seed) if part}) == 15
