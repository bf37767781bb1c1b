"""Every way EL0 can go wrong ends in the right Stop, at the right instruction, with the right address."""

import pytest
from cpu_kit import CODE, DATA, GUARDED, PA, PAGE, READ_ONLY, STACK, UNMAPPED, Bench

from optemu.secure_world.cpu import Prot, Stop

LOAD = "000040f9 010000d4"  # ldr x0,[x0]; svc #0
LOAD_16 = "010840f9 010000d4"  # ldr x1,[x0,#16]; svc #0
STORE = "010000f9 010000d4"  # str x1,[x0]; svc #0
STORE_PAIR = "010800a9 010000d4"  # stp x1,x2,[x0]; svc #0
ATOMIC_ADD = "020021f8 010000d4"  # ldadd x1,x2,[x0]; svc #0
ZERO_BLOCK = "20740bd5 010000d4"  # dc zva,x0; svc #0
JUMP = "00001fd6"  # br x0
CALL = "00003fd6"  # blr x0
BRK = "200020d4"  # brk #1

PRIVILEGED = {
    "mrs x0,sctlr_el1": "001038d5",
    "msr ttbr0_el1,x0": "002018d5",
    "tlbi vmalle1": "1f8708d5",
    "msr daifset,#2": "df4203d5",
    "hvc #0": "020000d4",
    "smc #0": "030000d4",
    "eret": "e0039fd6",
    "udf #1": "01000000",
    "wfi": "7f2003d5",
    "hlt #0": "000040d4",
}


@pytest.mark.parametrize("code", PRIVILEGED.values(), ids=PRIVILEGED.keys())
def test_undefined(bench: Bench, code: str) -> None:
    assert bench.run(code) is Stop.UNDEFINED
    assert bench.cpu.pc == CODE
    assert bench.cpu.fault_address() == 0


@pytest.mark.parametrize(
    ("code", "base", "fault", "write"),
    [
        (LOAD, 0, 0, False),
        (LOAD, UNMAPPED, UNMAPPED, False),
        (LOAD_16, UNMAPPED, UNMAPPED + 16, False),
        (LOAD, 1 << 32 | DATA, 1 << 32 | DATA, False),
        (LOAD, 0xFFFF_8000_0000_0000, 0xFFFF_8000_0000_0000, False),
        (LOAD, DATA + 4 * PAGE - 3, DATA + 4 * PAGE, False),
        (STORE, READ_ONLY + 8, READ_ONLY + 8, True),
        (STORE, CODE + 0x800, CODE + 0x800, True),
        (STORE_PAIR, DATA + 4 * PAGE - 8, DATA + 4 * PAGE, True),
        (ATOMIC_ADD, READ_ONLY + 24, READ_ONLY + 24, True),
        (ATOMIC_ADD, UNMAPPED, UNMAPPED, False),
        (ATOMIC_ADD, DATA + 3, DATA + 3, False),
        (ZERO_BLOCK, READ_ONLY + 32, READ_ONLY + 32, True),
    ],
)
def test_data_abort(bench: Bench, code: str, base: int, fault: int, write: bool) -> None:
    assert bench.run(code, base) is Stop.DATA_ABORT
    assert bench.cpu.pc == CODE
    assert bench.cpu.fault_address() == fault
    assert bench.cpu.fault_is_write is write


@pytest.mark.parametrize("target", [0, 4, UNMAPPED & ~3, DATA, READ_ONLY, 1 << 32, 0xFFFF_8000_0000_0000])
@pytest.mark.parametrize("code", [JUMP, CALL])
def test_prefetch_abort(bench: Bench, code: str, target: int) -> None:
    assert bench.run(code, target) is Stop.PREFETCH_ABORT
    assert bench.cpu.pc == bench.cpu.fault_address() == target
    assert bench.cpu.registers()["x30"] == (CODE + 4 if code == CALL else 0)


def test_endless_recursion_hits_the_page_below_the_stack(bench: Bench) -> None:
    assert bench.run("fd7bbfa9 ffffff97") is Stop.DATA_ABORT  # 1: stp x29,x30,[sp,#-16]!; bl 1b
    assert bench.cpu.fault_address() == STACK - 16
    assert bench.cpu.fault_is_write


def test_only_aborts_have_an_address(bench: Bench) -> None:
    bench.run(LOAD, UNMAPPED)
    assert bench.run(PRIVILEGED["udf #1"]) is Stop.UNDEFINED
    assert bench.cpu.fault_address() == 0


def test_breakpoint(bench: Bench) -> None:
    assert bench.run(BRK) is Stop.BREAKPOINT
    assert bench.cpu.pc == CODE


def test_faults_repeat(bench: Bench) -> None:
    bench.run(LOAD, UNMAPPED)
    for _ in range(3):
        assert bench.cpu.continue_() is Stop.DATA_ABORT
        assert bench.cpu.fault_address() == UNMAPPED


def test_fault_can_be_repaired(bench: Bench) -> None:
    assert bench.run(LOAD, UNMAPPED & ~7) is Stop.DATA_ABORT
    bench.cpu.map(UNMAPPED & -PAGE, PA, PAGE, Prot.R)
    assert bench.cpu.continue_() is Stop.SVC


def test_a_new_run_after_each_kind_of_fault(bench: Bench) -> None:
    for code, stop in ((LOAD, Stop.DATA_ABORT), (JUMP, Stop.PREFETCH_ABORT), (BRK, Stop.BREAKPOINT)):
        assert bench.run(code, 0) is stop
        assert bench.run(LOAD, DATA) is Stop.SVC


BTI_BAD = "61000010 20003fd6 010000d4 200180d2 010000d4"  # adr x1,1f; blr x1; svc #0; 1: mov x0,#9; svc #0
BTI_GOOD = "61000010 20003fd6 010000d4 5f2403d5 200180d2 010000d4"  # the same with bti c at 1:


def test_branch_targets_on_guarded_pages(bench: Bench) -> None:
    assert bench.run(BTI_GOOD, at=GUARDED) is Stop.SVC
    assert bench.cpu.args[0] == 9
    at = GUARDED + bench._next
    assert bench.run(BTI_BAD, at=GUARDED) is Stop.UNDEFINED
    assert bench.cpu.pc == at + 12


def test_branch_targets_elsewhere_are_free(bench: Bench) -> None:
    assert bench.run(BTI_BAD) is Stop.SVC
    assert bench.cpu.args[0] == 9


def test_pac_instruction_is_a_target_for_calls_only(bench: Bench) -> None:
    jump = "61000010 20001fd6 010000d4 3f2303d5 010000d4"  # adr x1,1f; br x1; svc #0; 1: paciasp; svc #0
    assert bench.run(jump.replace("1fd6", "3fd6"), at=GUARDED) is Stop.SVC  # blr
    assert bench.run(jump, at=GUARDED) is Stop.UNDEFINED


def test_branch_type_does_not_outlive_a_run(bench: Bench) -> None:
    assert bench.run(BTI_BAD, at=GUARDED) is Stop.UNDEFINED
    assert bench.run(LOAD, DATA, at=GUARDED) is Stop.SVC


def test_memory_mapped_but_not_backed_is_our_bug(bench: Bench) -> None:
    bench.cpu.map(0x2000_0000, 0x9_0000_0000, PAGE, Prot.R | Prot.W | Prot.X)
    for code, words in ((LOAD, "read"), (STORE, "write"), (ATOMIC_ADD, "read"), (JUMP, "fetch")):
        assert bench.run(code, 0x2000_0000) is Stop.CRASH
        assert words in bench.cpu.crash_reason


def test_nothing_runs_at_address_zero(bench: Bench) -> None:
    bench.cpu.map(0, PA + 8 * PAGE, PAGE, Prot.R | Prot.X)
    bench.poke(PA + 8 * PAGE, bytes.fromhex("010000d4 010000d4"))
    assert bench.run(JUMP, 0) is not Stop.SVC
    assert bench.cpu.pc == 0
    assert bench.run(JUMP, 4) is Stop.SVC
