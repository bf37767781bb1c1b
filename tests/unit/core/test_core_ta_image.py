"""Instances of a TA: as fresh as new each time, and only so many kept."""

from collections.abc import Iterator
from typing import Any

import pytest
from core_fakes import PAGE, fake_engines, image, new_tee

from optemu.errors import TeeError
from optemu.secure_world.core.ta_image import MAX_IDLE_INSTANCES, PARAMS_ROOM, STACK_TOP
from optemu.secure_world.core.tee import Tee

A = b"A" * 16


@pytest.fixture
def tee() -> Iterator[Tee]:
    with fake_engines():
        yield new_tee()


def test_instances_are_used_again_as_new(tee: Tee) -> None:
    ta = image(tee, A)
    first, _ = ta.take()
    cpu: Any = first.cpu
    cpu.store(0x40101000, b"dirt")
    cpu.store(STACK_TOP - 16, b"dirt")
    first.space.map_zi(tee.board.memory, 0, PAGE, False, 0, 0)
    ta.give_back(first)
    again, known = ta.take()
    assert (again, known) == (first, True)
    assert cpu.load(0x40101000, 5) == b"data\0"
    assert cpu.load(STACK_TOP - 16, 16) == bytes(16)
    assert [r.label for r in again.space.regions] == ["stack", "text", "data"]


def test_only_so_many_are_kept(tee: Tee) -> None:
    ta = image(tee, A)
    taken = [ta.take()[0] for _ in range(MAX_IDLE_INSTANCES + 2)]
    used = tee.board.memory.count(secure=True)
    for instance in taken:
        ta.give_back(instance)
    assert ta.idle == MAX_IDLE_INSTANCES
    assert tee.board.memory.count(secure=True) == used - 2
    ta.close()
    assert all(instance.cpu.closed for instance in taken)  # type: ignore[attr-defined]
    assert tee.board.memory.count(secure=True) == 0


def test_instances_share_what_they_cannot_write(tee: Tee) -> None:
    ta = image(tee, A)
    first, second = ta.take()[0], ta.take()[0]
    for cpu in (first.cpu, second.cpu):
        assert cpu.load(0x40100000, 4) == b"code"  # type: ignore[attr-defined]
    assert first.cpu.host(0x40100000) == second.cpu.host(0x40100000)  # type: ignore[attr-defined]
    assert first.cpu.host(0x40101000) != second.cpu.host(0x40101000)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("stack", "size"), [(PARAMS_ROOM, PAGE), (PAGE, PAGE), (PAGE + 16, 2 * PAGE), (1 << 20, 1 << 20)]
)
def test_a_stack_is_whole_pages_and_starts_where_the_tas_size_ends(tee: Tee, stack: int, size: int) -> None:
    instance, _ = image(tee, A, stack=stack).take()
    [region] = [r for r in instance.space.regions if r.label == "stack"]
    assert (region.size, region.end) == (size, STACK_TOP)
    assert instance.sp == region.va + stack - PARAMS_ROOM


@pytest.mark.parametrize("stack", [0, 1, PARAMS_ROOM - 16])
def test_a_stack_without_room_for_parameters(tee: Tee, stack: int) -> None:
    with pytest.raises(TeeError, match="raise TA_STACK_SIZE"):
        image(tee, A, stack=stack)


@pytest.mark.parametrize("stack", [STACK_TOP, 0xFFFFFFFF])
def test_more_memory_than_a_ta_can_have(tee: Tee, stack: int) -> None:
    with pytest.raises(TeeError, match="more memory than the board has"):
        image(tee, A, stack=stack)
