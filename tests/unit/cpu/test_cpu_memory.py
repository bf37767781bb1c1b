"""Physical memory and page tables."""

import pytest
from cpu_kit import CODE, DATA, PA, PAGE, SIZE, SPARE_PA, STACK_TOP, Bench, Memory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optemu.secure_world.cpu import EngineError, Prot, Stop

LOAD = "000040f9 010000d4"  # ldr x0,[x0]; svc #0
STORE = "010000f9 010000d4"  # str x1,[x0]; svc #0
RETURN_1 = "200080d2 010000d4"  # mov x0,#1; svc #0
RETURN_2 = "400080d2 010000d4"  # mov x0,#2; svc #0
RW = Prot.R | Prot.W
RX = Prot.R | Prot.X


@pytest.mark.parametrize("pa", [0, 0x4000_0000, 0xFFFF_F000, 1 << 32, 0xF_FFFF_F000, 0x7F_FFFF_F000])
def test_any_physical_address(bench: Bench, pa: int) -> None:
    memory = Memory(PAGE)
    memory.bytes[8:16] = b"physical"
    bench.cpu.back(pa, memory.host, PAGE)
    bench.cpu.map(0x1000_0000, pa, PAGE, RW)
    assert bench.run(LOAD, 0x1000_0008) is Stop.SVC
    assert bench.cpu.args[0] == int.from_bytes(b"physical", "little")
    assert bench.run(STORE, 0x1000_0010, 0x1234) is Stop.SVC
    assert memory.bytes[16:24] == (0x1234).to_bytes(8, "little")


@pytest.mark.parametrize("va", [0x1000, 0x1F_F000, 0x3FFF_E000, 0x8000_0000, 0xFFFF_F000])
def test_any_virtual_address(bench: Bench, va: int) -> None:
    bench.cpu.map(va, SPARE_PA, PAGE, RW)
    assert bench.run(STORE, va + PAGE - 8, 7) is Stop.SVC
    assert bench.peek(SPARE_PA + PAGE - 8) == 7
    assert bench.run(LOAD, va - 8) is Stop.DATA_ABORT
    assert bench.run(LOAD, va + PAGE) is Stop.DATA_ABORT


def test_two_views_of_one_page(bench: Bench) -> None:
    bench.cpu.map(0x1000_0000, SPARE_PA, PAGE, RW)
    bench.cpu.map(0x2000_0000, SPARE_PA, PAGE, Prot.R)
    bench.run(STORE, 0x1000_0000, 99)
    bench.run(LOAD, 0x2000_0000)
    assert bench.cpu.args[0] == 99
    assert bench.run(STORE, 0x2000_0000) is Stop.DATA_ABORT


def test_changes_take_effect_at_the_next_run(bench: Bench) -> None:
    bench.poke(SPARE_PA, bytes([1]))
    bench.poke(SPARE_PA + PAGE, bytes([2]))
    for _ in range(3):
        bench.cpu.map(0x1000_0000, SPARE_PA, PAGE, RW)
        assert bench.run(LOAD, 0x1000_0000) is Stop.SVC
        assert bench.cpu.args[0] == 1
        bench.cpu.map(0x1000_0000, SPARE_PA + PAGE, PAGE, RW)
        bench.run(LOAD, 0x1000_0000)
        assert bench.cpu.args[0] == 2
        bench.cpu.map(0x1000_0000, SPARE_PA, PAGE, Prot.R)
        assert bench.run(STORE, 0x1000_0000) is Stop.DATA_ABORT
        bench.cpu.unmap(0x1000_0000, PAGE)
        assert bench.run(LOAD, 0x1000_0000) is Stop.DATA_ABORT


def test_changes_inside_a_system_call(bench: Bench) -> None:
    loop = "010000d4 010040f9 010000d4"  # svc #0; ldr x1,[x0]; svc #0
    bench.run(loop)
    bench.cpu.map(0x1000_0000, SPARE_PA, PAGE, RW)
    assert bench.cpu.resume(0x1000_0000) is Stop.SVC
    bench.run(loop)
    bench.cpu.unmap(0x1000_0000, PAGE)
    assert bench.cpu.resume(0x1000_0000) is Stop.DATA_ABORT


def test_remapped_code_is_the_code_that_runs(bench: Bench) -> None:
    one, two = bench.place(RETURN_1), bench.place(RETURN_2)
    bench.poke(SPARE_PA, bytes.fromhex(RETURN_1))
    bench.poke(SPARE_PA + PAGE, bytes.fromhex(RETURN_2))
    for pa, result in ((SPARE_PA, 1), (SPARE_PA + PAGE, 2), (SPARE_PA, 1)):
        bench.cpu.map(0x1000_0000, pa, PAGE, RX)
        assert bench.cpu.enter(0x1000_0000, STACK_TOP) is Stop.SVC
        assert bench.cpu.args[0] == result
    assert one != two


def test_new_memory_at_an_old_physical_address(bench: Bench) -> None:
    """Neither translations nor addresses of the old memory survive."""
    for code, result in ((RETURN_1, 1), (RETURN_2, 2), (RETURN_1, 1)):
        memory = Memory(PAGE)
        memory.bytes[:8] = bytes.fromhex(code)
        memory.bytes[64] = result
        bench.cpu.back(0x4000_0000, memory.host, PAGE)
        bench.cpu.map(0x1000_0000, 0x4000_0000, PAGE, RX)
        assert bench.cpu.enter(0x1000_0000, STACK_TOP) is Stop.SVC
        assert bench.cpu.args[0] == result
        assert bench.run(LOAD, 0x1000_0040) is Stop.SVC
        assert bench.cpu.args[0] == result
        bench.cpu.unback(0x4000_0000)
        assert bench.run(LOAD, 0x1000_0040) is Stop.CRASH


def test_no_access_at_all(bench: Bench) -> None:
    bench.cpu.map(0x1000_0000, SPARE_PA, PAGE, RW)
    bench.cpu.map(0x1000_0000, SPARE_PA, PAGE, Prot(0))
    assert bench.run(LOAD, 0x1000_0000) is Stop.DATA_ABORT


def test_execute_only(bench: Bench) -> None:
    bench.poke(SPARE_PA, bytes.fromhex(RETURN_1))
    bench.cpu.map(0x1000_0000, SPARE_PA, PAGE, Prot.X)
    assert bench.cpu.enter(0x1000_0000, STACK_TOP) is Stop.SVC
    assert bench.run(LOAD, 0x1000_0000) is Stop.DATA_ABORT


def test_backing_twice_does_nothing(bench: Bench) -> None:
    bench.cpu.back(PA, bench.memory.host, SIZE)
    assert bench.run(LOAD, DATA) is Stop.SVC


def test_backing_over_other_memory_is_refused(bench: Bench) -> None:
    memory = Memory(2 * PAGE)
    for pa in (PA, PA - PAGE, PA + SIZE - PAGE):
        with pytest.raises(EngineError, match="cannot back"):
            bench.cpu.back(pa, memory.host, 2 * PAGE)
    with pytest.raises(EngineError, match="cannot back"):
        bench.cpu.back(0x1001, memory.host, PAGE)


def test_unback_of_nothing(bench: Bench) -> None:
    with pytest.raises(KeyError):
        bench.cpu.unback(PA + PAGE)


@pytest.mark.parametrize(
    ("va", "pa", "size"),
    [
        (1, PA, PAGE),
        (DATA, PA + 8, PAGE),
        (DATA, PA, 100),
        (DATA, PA, 0),
        (DATA, PA, -PAGE),
        (-PAGE, PA, PAGE),
        (0xFFFF_F000, PA, 2 * PAGE),
        (1 << 32, PA, PAGE),
        (DATA, 1 << 40, PAGE),
        (DATA, (1 << 40) - PAGE, 2 * PAGE),
        (DATA, -PAGE, PAGE),
    ],
)
def test_bad_ranges(bench: Bench, va: int, pa: int, size: int) -> None:
    with pytest.raises(ValueError, match=r"bad (virtual|physical) range"):
        bench.cpu.map(va, pa, size, RW)
    if pa == PA:
        with pytest.raises(ValueError, match="bad virtual range"):
            bench.cpu.unmap(va, size)
    assert bench.run(LOAD, DATA) is Stop.SVC


def test_a_gibibyte_in_one_call(bench: Bench) -> None:
    bench.cpu.map(0x8000_0000, PA, 1 << 30, RW)
    bench.poke(PA + SIZE - 8, b"end here")
    assert bench.run(LOAD, 0x8000_0000 + SIZE - 8) is Stop.SVC
    assert bench.cpu.args[0] == int.from_bytes(b"end here", "little")
    bench.cpu.unmap(0x8000_0000, 1 << 30)
    assert bench.run(LOAD, 0x8000_0000) is Stop.DATA_ABORT


WINDOW, WINDOW_PAGES = 0x101F_A000, 12  # across a border of last-level tables
CHANGES = st.lists(
    st.tuples(
        st.integers(0, WINDOW_PAGES - 1),
        st.integers(1, 6),
        st.integers(0, 9),
        st.sampled_from([None, Prot.R, RW, RX, RW | Prot.X, Prot(0)]),
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES)
def test_the_guest_sees_what_was_mapped(bench: Bench, changes: list[tuple[int, int, int, Prot | None]]) -> None:
    """Any sequence of map and unmap leaves the pages a dict would hold."""
    load, store = bench_code(bench)
    bench.cpu.unmap(WINDOW, WINDOW_PAGES * PAGE)
    model: dict[int, tuple[int, Prot]] = {}
    for page, count, frame, prot in changes:
        pages = range(page, min(page + count, WINDOW_PAGES))
        va, size = WINDOW + page * PAGE, len(pages) * PAGE
        if prot is None:
            bench.cpu.unmap(va, size)
        else:
            bench.cpu.map(va, SPARE_PA + frame * PAGE, size, prot)
        for i in pages:
            model[i] = (SPARE_PA + (frame + i - page) * PAGE, prot or Prot(0))
    for i in range(WINDOW_PAGES):
        pa, prot = model.get(i, (SPARE_PA, Prot(0)))
        bench.poke(pa, i.to_bytes(8, "little"))
        assert bench.cpu.enter(load, STACK_TOP, WINDOW + i * PAGE) is (Stop.SVC if prot else Stop.DATA_ABORT)
        assert not prot or bench.cpu.args[0] == i
        stored = bench.cpu.enter(store, STACK_TOP, WINDOW + i * PAGE, 100 + i)
        assert stored is (Stop.SVC if prot & Prot.W else Stop.DATA_ABORT)
        assert bench.peek(pa) == (100 + i if prot & Prot.W else i)


def bench_code(bench: Bench) -> tuple[int, int]:
    bench._next = 0
    return CODE + bench.place(LOAD), CODE + bench.place(STORE)
