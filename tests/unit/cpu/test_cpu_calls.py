"""Entering EL0, system calls and registers, AArch64."""

import pytest
from cpu_kit import CODE, DATA, DATA_PA, STACK_TOP, Bench, Memory

from optemu.secure_world.cpu import EngineError, Stop, engine

CALL_LOOP = "010000d4 ffffff17"  # 1: svc #0; b 1b
ADD_CALL = "0000018b 480580d2 010000d4 00040091 010000d4"  # add x0,x0,x1; mov x8,#42; svc #0; add x0,x0,#1; svc #0
DUMP = "a50080d2 de0380d2 bd0380d2 010000d4"  # mov x5,#5; mov x30,#30; mov x29,#29; svc #0
FLAGS = "00423bd5 010000d4 3f0001eb 010000d4"  # mrs x0,nzcv; svc #0; cmp x1,x1; svc #0
KEPT_VECTOR = "0800679e 010000d4 0001669e 010000d4"  # fmov d8,x0; svc #0; fmov x0,d8; svc #0
TPIDR = "40d01bd5 000080d2 40d03bd5 010000d4"  # msr tpidr_el0,x0; mov x0,#0; mrs x0,tpidr_el0; svc #0
SUM = "020080d2 038440f8 4200038b 210400f1 a1ffff54 e00302aa 010000d4"
# mov x2,#0; 1: ldr x3,[x0],#8; add x2,x2,x3; subs x1,x1,#1; b.ne 1b; mov x0,x2; svc #0


def test_call_hands_over_number_and_arguments(bench: Bench) -> None:
    assert bench.run(ADD_CALL, 40, 2, 3, 4) is Stop.SVC
    assert bench.cpu.number == 42
    assert bench.cpu.args == [42, 2, 3, 4, 0, 0, 0, 0]
    assert bench.cpu.sp == STACK_TOP
    assert bench.cpu.pc == CODE + 12


def test_result_of_a_call_reaches_the_guest(bench: Bench) -> None:
    bench.run(ADD_CALL, 1, 1)
    assert bench.cpu.resume(0xFFFF_0006) is Stop.SVC
    assert bench.cpu.args[0] == 0xFFFF_0007


def test_arguments_are_64_bits_wide(bench: Bench) -> None:
    wide = [(1 << 64) - 1, 1 << 63, 1 << 32, 0x1234_5678_9ABC_DEF0]
    bench.run(CALL_LOOP, *wide)
    assert bench.cpu.args[:4] == wide


def test_args_of_an_earlier_call_stay(bench: Bench) -> None:
    bench.run(CALL_LOOP, 1)
    first = bench.cpu.args
    bench.cpu.resume(2)
    assert (first[0], bench.cpu.args[0]) == (1, 2)


def test_enter_clears_what_the_last_run_left(bench: Bench) -> None:
    bench.run(DUMP)
    assert bench.cpu.registers()["x30"] == 30
    bench.run(FLAGS)
    bench.cpu.resume(0)  # leaves Z and C set
    bench.run(FLAGS, 9)
    registers = bench.cpu.registers()
    assert {name for name, value in registers.items() if value} == {"sp", "pc"}


def test_registers_for_a_dump(bench: Bench) -> None:
    at = CODE + bench._next
    bench.run(DUMP, 1, 2)
    registers = bench.cpu.registers()
    assert list(registers) == [*(f"x{i}" for i in range(31)), "sp", "pc", "cpsr"]
    expected = {"x0": 1, "x1": 2, "x5": 5, "x29": 29, "x30": 30, "sp": STACK_TOP, "pc": at + 16}
    assert {name: value for name, value in registers.items() if value} == expected


def test_many_calls(bench: Bench) -> None:
    bench.run(CALL_LOOP, 0)
    for i in range(5000):
        assert bench.cpu.resume(i) is Stop.SVC
        assert bench.cpu.args[0] == i


def test_save_and_restore(bench: Bench) -> None:
    bench.run(KEPT_VECTOR, 0x55)
    saved = bench.cpu.save()
    bench.run(KEPT_VECTOR, 0x66)
    bench.cpu.restore(saved)
    assert bench.cpu.args[0] == 0x55
    assert bench.cpu.resume(0) is Stop.SVC
    assert bench.cpu.args[0] == 0x55, "the vector register came back too"
    bench.cpu.restore(saved)
    assert bench.cpu.resume(0) is Stop.SVC, "a saved state can be used again"


def test_registers_of_another_cpu_are_refused(bench: Bench) -> None:
    other = Bench()
    with pytest.raises(ValueError, match="another Cpu"):
        bench.cpu.restore(other.cpu.save())
    other.cpu.close()


def test_thread_pointer(bench: Bench) -> None:
    bench.run(TPIDR, 0x77)
    assert bench.cpu.args[0] == 0x77


@pytest.mark.parametrize(
    "code",
    [
        "40e03bd5 010000d4",  # mrs x0,cntvct_el0; svc #0
        "00e03bd5 010000d4",  # mrs x0,cntfrq_el0; svc #0
        "207a0bd5 20750bd5 20003bd5 010000d4",  # dc cvac,x0; ic ivau,x0; mrs x0,ctr_el0; svc #0
        "00106e1e 0000669e 010000d4",  # fmov d0,#1.0; fmov x0,d0; svc #0
    ],
)
def test_allowed_at_el0(bench: Bench, code: str) -> None:
    assert bench.run(code, DATA) is Stop.SVC
    assert bench.cpu.args[0] != 0


@pytest.mark.parametrize(
    "code",
    [
        "3f2303d5 bf2303d5 010000d4",  # paciasp; autiasp; svc #0
        "2048284e 2040025e 0040c11a 20e0e20e 010000d4",  # aese; sha256h; crc32b; pmull; svc #0
        "5f2003d5 010000d4",  # wfe; svc #0
    ],
)
def test_instructions_of_real_code(bench: Bench, code: str) -> None:
    assert bench.run(code) is Stop.SVC


def test_dc_zva_clears_a_block(bench: Bench) -> None:
    bench.poke(DATA_PA, bytes([0xFF]) * 64)
    assert bench.run("20740bd5 010000d4", DATA) is Stop.SVC  # dc zva,x0; svc #0
    assert bench.peek(DATA_PA, 64) == 0


def test_guest_reads_host_memory(bench: Bench) -> None:
    bench.poke(DATA_PA, b"".join(i.to_bytes(8, "little") for i in range(1, 101)))
    assert bench.run(SUM, DATA, 100) is Stop.SVC
    assert bench.cpu.args[0] == 5050


def test_unknown_architecture() -> None:
    with pytest.raises(ValueError, match="no engine for 'mips'"):
        engine("mips")


def test_closed_cpu_refuses() -> None:
    cpu = engine("aarch64")
    cpu.close()
    cpu.close()
    cpu.request_stop()
    memory = Memory(4096)
    with pytest.raises(EngineError, match="closed"):
        cpu.back(0, memory.host, 4096)
    with pytest.raises(EngineError, match="closed"):
        cpu.save()


def test_closed_cpu_does_not_run() -> None:
    bench = Bench()
    assert bench.run(CALL_LOOP) is Stop.SVC
    bench.cpu.close()
    for run in (lambda: bench.cpu.resume(0), lambda: bench.cpu.continue_(), lambda: bench.run(CALL_LOOP)):
        with pytest.raises(AttributeError):
            run()
