"""The address space of a user TA: what is where, who may touch it, and copies across regions."""

from itertools import product
from typing import Any

import pytest
from core_fakes import PAGE, FakeCpu, shared
from hypothesis import given
from hypothesis import strategies as st

from optemu.abi import gp
from optemu.board.memory import PhysicalMemory
from optemu.errors import TeeError
from optemu.secure_world.core import vm
from optemu.secure_world.core.mobj import Mobj, Run
from optemu.secure_world.core.param import Memref, TaParams, Value
from optemu.secure_world.core.vm import MAP_BASE, PARAM_BASE, AddressSpace
from optemu.secure_world.cpu import Prot

R, W, ANY = gp.TEE_MEMORY_ACCESS_READ, gp.TEE_MEMORY_ACCESS_WRITE, gp.TEE_MEMORY_ACCESS_ANY_OWNER
NONSECURE, SECURE = vm.TEE_MEMORY_ACCESS_NONSECURE, vm.TEE_MEMORY_ACCESS_SECURE
RW, RX = Prot.R | Prot.W, Prot.R | Prot.X
TEXT, DATA, STACK = 0x40100000, 0x40102000, 0x3FFFE000
OK, DENIED = gp.TEE_SUCCESS, gp.TEE_ERROR_ACCESS_DENIED


class Room:
    """Two pages of text, one of data behind it, two of stack elsewhere."""

    def __init__(self) -> None:
        self.memory = PhysicalMemory()
        self.cpu = FakeCpu()
        self.space = AddressSpace(self.cpu)  # type: ignore[arg-type]
        self.text = self.memory.allocate(2 * PAGE, secure=True)
        self.own = self.memory.allocate(3 * PAGE, secure=True)
        self.space.map(TEXT, self.text, 0, 2 * PAGE, RX, "text")
        self.space.map(DATA, self.own, 0, PAGE, RW, "data")
        self.space.map(STACK, self.own, PAGE, 2 * PAGE, RW, "stack")

    def map_param(self, *refs: Memref) -> list[int]:
        u: list[Any] = [*refs, *[None] * (4 - len(refs))]
        return self.space.map_param(TaParams(0, u))


@pytest.fixture
def room() -> Room:
    return Room()


def code(call: Any, *args: Any) -> int:
    with pytest.raises(TeeError) as caught:
        call(*args)
    return caught.value.code


# --- mapping ----------------------------------------------------------------------------------------------------------


def test_the_engine_sees_what_the_table_says(room: Room) -> None:
    room.own.view[PAGE : PAGE + 5] = b"stack"
    assert room.cpu.load(STACK, 5) == b"stack"
    room.cpu.store(DATA + 8, b"by the TA")
    assert room.space.copy_from_user(DATA + 8, 9) == b"by the TA"
    assert [(r.va, r.label, r.flags()) for r in room.space.regions] == [
        (STACK, "stack", "rw-s"),
        (TEXT, "text", "r-xs"),
        (DATA, "data", "rw-s"),
    ]


@pytest.mark.parametrize(
    ("va", "why"),
    [
        (0, gp.TEE_ERROR_BAD_PARAMETERS),  # the NULL page stays empty
        (TEXT + 16, gp.TEE_ERROR_BAD_PARAMETERS),
        (PARAM_BASE - PAGE + PAGE // 2, gp.TEE_ERROR_BAD_PARAMETERS),
        (PARAM_BASE, gp.TEE_ERROR_BAD_PARAMETERS),
        (DATA, gp.TEE_ERROR_ACCESS_CONFLICT),
        (TEXT + PAGE, gp.TEE_ERROR_ACCESS_CONFLICT),
    ],
)
def test_what_cannot_be_mapped(room: Room, va: int, why: int) -> None:
    before = list(room.space.regions)
    assert code(room.space.map, va, room.own, 0, PAGE, RW, "more") == why
    assert room.space.regions == before


def test_zeroed_memory_where_there_is_room(room: Room) -> None:
    first = room.space.map_zi(room.memory, 0, 100, False, 0, 0)
    assert first == MAP_BASE
    second = room.space.map_zi(room.memory, 0, PAGE + 1, False, PAGE, 0)
    assert second == MAP_BASE + PAGE + PAGE, "behind the first, and a page of padding before it"
    assert room.cpu.load(second, 8) == bytes(8)
    assert room.space.check_access_rights(R | W, second, 2 * PAGE) == OK
    room.space.unmap_zi(room.memory, first, 100)
    assert room.space.find(first) is None
    assert first not in room.cpu.mappings
    assert room.space.map_zi(room.memory, 0, PAGE, False, 0, 0) == first, "the gap is used again"


def test_zeroed_memory_where_the_ta_wants_it(room: Room) -> None:
    assert room.space.map_zi(room.memory, 0x5000_0000, PAGE, False, 0, 0) == 0x5000_0000
    used = room.memory.count(secure=True)
    assert code(room.space.map_zi, room.memory, 0x5000_0000, PAGE, False, 0, 0) == gp.TEE_ERROR_ACCESS_CONFLICT
    assert code(room.space.map_zi, room.memory, 0x5000_0001, PAGE, False, 0, 0) == gp.TEE_ERROR_ACCESS_CONFLICT
    assert code(room.space.map_zi, room.memory, 0, PARAM_BASE + 1, False, 0, 0) == gp.TEE_ERROR_OUT_OF_MEMORY
    assert room.memory.count(secure=True) == used, "a refused request keeps nothing"


def test_no_memory_for_zeroed_memory(room: Room) -> None:
    window = room.memory._windows[True]
    window.end = window.next + PAGE
    assert code(room.space.map_zi, room.memory, 0, 2 * PAGE, False, 0, 0) == gp.TEE_ERROR_OUT_OF_MEMORY
    assert len(room.space.regions) == 3


def test_only_what_was_mapped_can_be_unmapped(room: Room) -> None:
    va = room.space.map_zi(room.memory, 0, 2 * PAGE, False, 0, 0)
    for where, size in [(va, 3 * PAGE), (va - PAGE, 2 * PAGE), (va + 1, 1), (DATA, PAGE), (TEXT, 2 * PAGE), (0, 0)]:
        assert code(room.space.unmap_zi, room.memory, where, size) == gp.TEE_ERROR_BAD_PARAMETERS
    used = room.memory.count(secure=True)
    room.space.unmap_zi(room.memory, va, PAGE)
    assert room.memory.count(secure=True) == used, "half of it is mapped still"
    room.space.map_zi(room.memory, 0, PAGE, True, 0, 0)
    room.space.unmap_added(room.memory)
    assert room.memory.count(secure=True) == used - 1
    assert [r.label for r in room.space.regions] == ["stack", "text", "data"]


# --- parameters ---------------------------------------------------------------------------------------------------------


def test_a_parameter_lies_where_it_lay_in_its_page(room: Room) -> None:
    mobj = shared(room.memory, 100, offset=0x123)
    mobj.write(10, b"param")
    va = room.map_param(Memref(mobj, 10, 5))[0]
    assert va % PAGE == 0x123 + 10
    assert room.cpu.load(va, 5) == b"param"
    assert room.space.find(va).private is False  # type: ignore[union-attr]


def test_values_and_null_references_need_no_memory(room: Room) -> None:
    vas = room.space.map_param(TaParams(0, [Value(1, 2), Memref(None, 0, 0), None, None]))
    assert vas == [0, 0, 0, 0]
    assert len(room.space.regions) == 3


_REFS = st.lists(st.tuples(st.integers(0, 5 * PAGE), st.integers(0, 5 * PAGE)), min_size=1, max_size=4)


@given(_REFS, st.booleans())
def test_parts_of_one_object_that_overlap(spans: list[tuple[int, int]], scattered: bool) -> None:
    """Whatever parts of it a call takes, the TA sees each in one piece, and the same bytes in all of them."""
    room = Room()
    if scattered:
        regions = [room.memory.allocate(n * PAGE, secure=False) for n in (1, 3, 2)]
        mobj = Mobj(tuple(Run(r, r.base, r.size) for r in regions), 0x10, 5 * PAGE, 1)
    else:
        mobj = shared(room.memory, 5 * PAGE, offset=0x10)
    content = bytes(n * 7 % 251 for n in range(5 * PAGE))
    mobj.write(0, content)
    refs = [Memref(mobj, offs, min(size, 5 * PAGE - offs)) for offs, size in spans]
    vas = room.map_param(*refs)
    for ref, va in zip(refs, vas, strict=False):
        assert va >= PARAM_BASE
        assert room.space.copy_from_user(va, ref.size) == content[ref.offs : ref.offs + ref.size]
        if ref.size:
            room.cpu.store(va + ref.size - 1, b"\xff")
            assert mobj.read(ref.offs + ref.size - 1, 1) == b"\xff"
            mobj.write(0, content)


def test_parameters_stay_mapped_while_the_next_call_needs_the_same(room: Room) -> None:
    mobj, other = shared(room.memory, PAGE), shared(room.memory, PAGE)
    vas = room.map_param(Memref(mobj, 0, 10))
    calls: list[int] = []
    unmap = room.cpu.unmap
    room.cpu.unmap = lambda va, size: (calls.append(va), unmap(va, size))[1]  # type: ignore[method-assign]
    assert room.map_param(Memref(mobj, 0, 20)) == vas
    assert calls == []
    room.map_param(Memref(other, 0, 20))
    assert calls == [PARAM_BASE]
    room.space.map_param(TaParams())
    assert calls == [PARAM_BASE, PARAM_BASE]
    assert len(room.space.regions) == 3


def test_memory_that_has_left_the_board_is_let_go(room: Room) -> None:
    mobj = shared(room.memory, PAGE)
    region = mobj.runs[0].region
    room.map_param(Memref(mobj, 0, 10))
    room.memory.free(region)
    room.map_param(Memref(shared(room.memory, PAGE), 0, 10))
    assert region.base not in room.cpu.backing


def test_too_much_for_the_window(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vm, "PARAM_END", PARAM_BASE + 4 * PAGE)
    big, small = shared(room.memory, 3 * PAGE), shared(room.memory, 2 * PAGE)
    for _ in range(2):
        assert code(room.map_param, Memref(big, 0, 3 * PAGE), Memref(small, 0, 2 * PAGE)) == gp.TEE_ERROR_OUT_OF_MEMORY
        assert len(room.space.regions) == 3, "nothing half mapped"
    assert room.map_param(Memref(small, 0, 2 * PAGE))[0] == PARAM_BASE


# --- rights ----------------------------------------------------------------------------------------------------------------

# What may be asked of each span: (r)ead, (w)rite, by its (o)wner only; it is (s)ecure or (n)on-secure memory.
_SPANS = {
    "text": (TEXT, 2 * PAGE, "ros"),
    "data": (DATA + 3, 100, "rwos"),
    "text to data": (DATA - 8, 16, "rs"),  # readable, but not inside one region
    "param": (PARAM_BASE, 64, "rwn"),
    "shareable": (MAP_BASE, PAGE, "rws"),
    "nothing": (0x5000_0000, 1, ""),
    "null": (0, 8, ""),
    "into nothing": (DATA + PAGE - 1, 2, ""),
    "wrapping": ((1 << 64) - 8, 16, ""),
    "empty": (0x5000_0000, 0, "rwosn"),
    "empty data": (DATA, 0, "rwosn"),
}


@pytest.mark.parametrize("what", _SPANS)
def test_access_rights(room: Room, what: str) -> None:
    room.space.map_zi(room.memory, 0, PAGE, True, 0, 0)
    room.map_param(Memref(shared(room.memory, PAGE), 0, 64))
    va, size, allowed = _SPANS[what]
    if not allowed:
        assert room.space.check_access_rights(ANY, va, size) == DENIED
    for rights, place in product((R, W, R | W), (0, SECURE, NONSECURE)):
        letters = {R: "r", W: "w", R | W: "rw"}[rights] + {0: "", SECURE: "s", NONSECURE: "n"}[place]
        for owner, letter in ((0, "o"), (ANY, "")):
            expected = OK if set(letters + letter) <= set(allowed) else DENIED
            assert room.space.check_access_rights(rights | place | owner, va, size) == expected, letters + letter
    assert room.space.check_access_rights(R | ANY | SECURE | NONSECURE, va, size) == DENIED


@pytest.mark.parametrize("va", [0, DATA, (1 << 32) - 1, 1 << 32, (1 << 64) - 1])
def test_nothing_may_be_anywhere(room: Room, va: int) -> None:
    """As upstream has it: no bytes at an address that cannot be."""
    assert room.space.check_access_rights(R | W, va, 0) == OK
    assert room.space.check_access_rights(R | ANY | SECURE | NONSECURE, va, 0) == DENIED


# --- copies ----------------------------------------------------------------------------------------------------------------


def test_copies_cross_from_region_to_region(room: Room) -> None:
    room.text.view[2 * PAGE - 3 :] = b"abc"
    room.own.view[:3] = b"def"
    assert room.space.copy_from_user(DATA - 3, 6) == b"abcdef"
    assert room.space.view(DATA - 3, 6) is None, "no single view of it"
    first = room.space.map_zi(room.memory, 0, PAGE, False, 0, 0)
    second = room.space.map_zi(room.memory, 0, PAGE, False, 0, 0)
    assert second == first + PAGE
    room.space.copy_to_user(second - 3, b"uvwxyz")
    assert room.cpu.load(second - 3, 6) == b"uvwxyz"


def test_copies_are_all_or_nothing(room: Room) -> None:
    assert code(room.space.copy_to_user, DATA + PAGE - 2, b"1234") == DENIED
    assert code(room.space.copy_to_user, DATA - 2, b"1234") == DENIED, "text is not writable"
    assert bytes(room.own.view[:PAGE]) == bytes(PAGE)
    assert code(room.space.copy_from_user, DATA + PAGE - 2, 4) == DENIED
    assert room.space.copy_from_user(0, 0) == b""
    room.space.copy_to_user(0, b"")


def test_private_copies_touch_nothing_of_others(room: Room) -> None:
    va = room.map_param(Memref(shared(room.memory, PAGE), 0, 64))[0]
    zi = room.space.map_zi(room.memory, 0, PAGE, True, 0, 0)
    for where in (va, zi):
        assert code(room.space.copy_from_user_private, where, 4) == DENIED
        assert code(room.space.copy_to_user_private, where, b"1234") == DENIED
        assert not room.space.intersects_private(where, 4)
        room.space.copy_to_user(where, b"1234")
    room.space.copy_to_user_private(DATA, b"mine")
    assert room.space.copy_from_user_private(DATA, 4) == b"mine"
    assert room.space.intersects_private(DATA + PAGE - 1, 0x1000_0000)


def test_views_respect_rights(room: Room) -> None:
    assert room.space.view(TEXT, 4) is not None
    assert room.space.view(TEXT, 4, write=True) is None
    assert room.space.view(0x5000_0000, 4) is None
