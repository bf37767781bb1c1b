"""The address space of a TA: what it maps itself, and how it sees its parameters."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optemu.abi import gp
from optemu.board.memory import PhysicalMemory
from optemu.errors import TeeError
from optemu.secure_world.core.mobj import Mobj, Run
from optemu.secure_world.core.param import Memref, TaParams
from optemu.secure_world.core.vm import MAP_BASE, PARAM_BASE, AddressSpace
from optemu.secure_world.cpu import Prot

PAGE = 4096
BAD_PARAMETERS, CONFLICT = gp.TEE_ERROR_BAD_PARAMETERS, gp.TEE_ERROR_ACCESS_CONFLICT


class Pages:
    """Stands in for an engine: the page tables as a dictionary."""

    def __init__(self) -> None:
        self.pa: dict[int, int] = {}

    def back(self, pa: int, host: int, size: int) -> None: ...

    def unback(self, pa: int) -> None: ...

    def map(self, va: int, pa: int, size: int, prot: Prot) -> None:
        self.pa |= {va + at: pa + at for at in range(0, size, PAGE)}

    def unmap(self, va: int, size: int) -> None:
        for at in range(va, va + size, PAGE):
            self.pa.pop(at, None)


@pytest.fixture
def pages() -> Pages:
    return Pages()


@pytest.fixture
def space(pages: Pages) -> AddressSpace:
    return AddressSpace(pages)  # type: ignore[arg-type]


@pytest.fixture
def memory() -> PhysicalMemory:
    return PhysicalMemory()


def test_memory_goes_where_there_is_room(space: AddressSpace, memory: PhysicalMemory) -> None:
    first = space.map_zi(memory, 0, 100, False, 0, 0)
    second = space.map_zi(memory, 0, PAGE, False, 2 * PAGE, PAGE)
    third = space.map_zi(memory, 0, 3 * PAGE, False, 0, 0)
    assert (first, second) == (MAP_BASE, MAP_BASE + 3 * PAGE)
    assert third == second + PAGE, "padding is room at the time of mapping, not for ever"
    space.unmap_zi(memory, first, 1)
    assert space.map_zi(memory, 0, PAGE, False, 0, 0) == first


def test_memory_at_an_address_of_the_tas_choice(space: AddressSpace, memory: PhysicalMemory) -> None:
    assert space.map_zi(memory, 0x7000_0000, PAGE, True, 0, 0) == 0x7000_0000
    for va, before, after in (
        (0x7000_0000, 0, 0),
        (0x7000_0000 - PAGE, 0, PAGE),
        (0x7000_0000 + 2 * PAGE, 2 * PAGE, 0),
        (0x7100_0001, 0, 0),
        (0x7100_0000, 1, 0),
        (0x7100_0000, 0, 1),
        (PARAM_BASE, 0, 0),
        (PAGE - 1, 0, 0),
        (1 << 63, 0, 0),
    ):
        with pytest.raises(TeeError) as caught:
            space.map_zi(memory, va, PAGE, False, before, after)
        assert caught.value.code == CONFLICT
    assert memory.count(secure=True) == 1


def test_memory_that_is_not_there(space: AddressSpace, memory: PhysicalMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(size: int, *, secure: bool) -> None:
        raise MemoryError

    for size in (1 << 28) + 1, 0xFFFF_FFFF:
        with pytest.raises(TeeError) as caught:
            space.map_zi(memory, 0, size, False, 0, 0)
        assert caught.value.code == gp.TEE_ERROR_OUT_OF_MEMORY
    monkeypatch.setattr(memory, "allocate", no_more)
    with pytest.raises(TeeError) as caught:
        space.map_zi(memory, 0, PAGE, False, 0, 0)
    assert caught.value.code == gp.TEE_ERROR_OUT_OF_MEMORY
    assert space.regions == []


def test_whether_memory_may_be_shown_to_others(space: AddressSpace, memory: PhysicalMemory) -> None:
    own, shared = (space.map_zi(memory, 0, PAGE, shareable, 0, 0) for shareable in (False, True))
    assert space.is_private(own, PAGE)
    assert not space.is_private(shared, PAGE)


def test_unmapping_parts(space: AddressSpace, pages: Pages, memory: PhysicalMemory) -> None:
    va = space.map_zi(memory, 0, 5 * PAGE, False, 0, 0)
    space.copy_to_user_private(va, b"".join(bytes([n]) * PAGE for n in range(5)))
    space.unmap_zi(memory, va + PAGE, PAGE)
    space.unmap_zi(memory, va + 3 * PAGE, PAGE)
    assert sorted(pages.pa) == [va, va + 2 * PAGE, va + 4 * PAGE]
    assert [space.copy_from_user(at, 1)[0] for at in sorted(pages.pa)] == [0, 2, 4]
    with pytest.raises(TeeError):
        space.copy_from_user(va + PAGE, 1)
    assert memory.count(secure=True) == 1
    for at in sorted(pages.pa):
        space.unmap_zi(memory, at, PAGE)
    assert (pages.pa, space.regions, memory.count(secure=True)) == ({}, [], 0)


def test_unmapping_over_two_mappings(space: AddressSpace, memory: PhysicalMemory) -> None:
    va = space.map_zi(memory, 0, 2 * PAGE, False, 0, 0)
    assert space.map_zi(memory, 0, 2 * PAGE, False, 0, 0) == va + 2 * PAGE
    space.unmap_zi(memory, va + PAGE, 2 * PAGE)
    assert [(r.va, r.size) for r in space.regions] == [(va, PAGE), (va + 3 * PAGE, PAGE)]
    assert memory.count(secure=True) == 2


def test_unmapping_what_is_not_the_tas(space: AddressSpace, memory: PhysicalMemory) -> None:
    region = memory.allocate(PAGE, secure=True)
    space.map(0x4010_0000, region, 0, PAGE, Prot.R | Prot.X, "text")
    va = space.map_zi(memory, 0, PAGE, False, 0, 0)
    for at, size in ((0x4010_0000, PAGE), (va, 0), (va, 2 * PAGE), (va + 1, PAGE), (va - PAGE, PAGE), (1 << 63, PAGE)):
        with pytest.raises(TeeError) as caught:
            space.unmap_zi(memory, at, size)
        assert caught.value.code == BAD_PARAMETERS
    assert len(space.regions) == 2


def test_everything_added_goes_at_once(space: AddressSpace, pages: Pages, memory: PhysicalMemory) -> None:
    va = space.map_zi(memory, 0, 3 * PAGE, False, 0, 0)
    space.unmap_zi(memory, va + PAGE, PAGE)
    space.unmap_added(memory)
    assert (pages.pa, space.regions, memory.count(secure=True)) == ({}, [], 0)


# --- parameters -------------------------------------------------------------------------------------------------


def objects() -> Iterator[Mobj]:
    """Three objects: contiguous pages, pages in three pieces (the last one before the first), and part of the first."""
    memory = PhysicalMemory()
    region = memory.allocate(8 * PAGE, secure=False)
    region.view[:] = b"".join(bytes([page]) * 16 + bytes(range(240)) * 17 for page in range(8))
    base = region.base
    pieces = (Run(region, base + 5 * PAGE, PAGE), Run(region, base + PAGE, 2 * PAGE), Run(region, base, PAGE))
    yield Mobj((Run(region, base, 8 * PAGE),), 0, 8 * PAGE, 1)
    yield Mobj(pieces, 100, 4 * PAGE - 100, 2)
    yield Mobj((Run(region, base + PAGE, 2 * PAGE), Run(region, base + 5 * PAGE, PAGE)), 8, 3 * PAGE - 8, 3)


MOBJS = list(objects())
memrefs = st.integers(0, 2).flatmap(
    lambda which: st.integers(0, MOBJS[which].size).flatmap(
        lambda offs: st.builds(Memref, st.just(MOBJS[which]), st.just(offs), st.integers(0, MOBJS[which].size - offs))
    )
)


@given(st.lists(st.lists(memrefs, min_size=1, max_size=4), min_size=1, max_size=3))
def test_a_reference_is_seen_in_one_piece(calls: list[list[Memref]]) -> None:
    """Whatever pages it shares with others of the same call, and whatever the call before was like."""
    pages = Pages()
    space = AddressSpace(pages)  # type: ignore[arg-type]
    for refs in calls:
        vas = space.map_param(TaParams(0, [*refs, *[None] * (4 - len(refs))]))
        for va, ref in zip(vas, refs, strict=False):
            assert ref.mobj is not None
            if ref.size:
                assert va >= PARAM_BASE
                assert space.copy_from_user(va, ref.size) == ref.mobj.read(ref.offs, ref.size)
                assert all(page in pages.pa for page in range(va & -PAGE, va + ref.size, PAGE))
            else:
                assert va, "a reference to nothing is no NULL reference"
    space.clean_param()
    assert pages.pa == {}


def test_the_same_parameters_again_keep_their_mapping(space: AddressSpace) -> None:
    params = TaParams(0, [Memref(MOBJS[0], 10, 5000), None, None, None])
    first = space.map_param(params)
    regions = space.regions
    assert space.map_param(params) == first
    assert space.regions is regions
    assert space.map_param(TaParams()) == [0, 0, 0, 0]
    assert space.regions == []


def test_a_window_that_is_too_small(space: AddressSpace) -> None:
    memory = PhysicalMemory()
    region = memory.allocate(1 << 29, secure=False)
    objects = [Mobj((Run(region, region.base, 1 << 29),), 0, 1 << 29, cookie) for cookie in range(3)]
    small = TaParams(0, [Memref(objects[0], 0, 16), None, None, None])
    before = space.map_param(small)
    refs: list[Memref | None] = [*(Memref(mobj, 0, 1 << 29) for mobj in objects), None]
    with pytest.raises(TeeError) as caught:
        space.map_param(TaParams(0, refs))  # type: ignore[arg-type]
    assert caught.value.code == gp.TEE_ERROR_OUT_OF_MEMORY
    assert space.map_param(small) == before
