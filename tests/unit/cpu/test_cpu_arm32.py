"""AArch32: Arm and Thumb-2 code. Each program is given in both, Arm first."""

import pytest
from cpu_kit import CODE, DATA, PAGE, READ_ONLY, STACK, STACK_TOP, UNMAPPED, Bench, Watchdog

from optemu.secure_world.cpu import Arm32, Stop, engine

Pair = tuple[str, str]

CALL = (  # mov r7,#42; mov r5,#0x500; mov r6,#3; svc #0; add r0,r0,#1; svc #0
    "2a70a0e3 055ca0e3 0360a0e3 000000ef 010080e2 000000ef",
    "4ff02a07 40f20055 4ff00306 00df 00f10100 00df",
)
SPIN = ("feffffea", "fee7")  # b .
YIELD = ("01f020e3 02f020e3 fcffffea", "10bf 20bf fce7")  # 1: yield; wfe; b 1b
YIELD_CALL = ("01f020e3 000000ef", "10bf 00df")  # yield; svc #0
YIELD_UDF = ("01f020e3 f000f0e7", "10bf 00de")  # yield; udf #0
UDF = ("f000f0e7", "00de")  # udf #0
WFI = ("03f020e3", "30bf")  # wfi
MRC = ("100f11ee", "11ee100f")  # mrc p15,0,r0,c1,c0,0
BKPT = ("710020e1", "01be")  # bkpt #1
LOAD = ("000090e5 000000ef", "0068 00df")  # ldr r0,[r0]; svc #0
STORE = ("001080e5 000000ef", "0160 00df")  # str r1,[r0]; svc #0
JUMP = ("10ff2fe1", "0047")  # bx r0
PUSH = ("10402de9 fdffffea", "10b5 fde7")  # 1: push {r4,lr}; b 1b
NEON = (  # vmov.i32 q0,#1; vadd.i32 q0,q0,q0; vmov.32 r0,d0[0]; svc #0
    "510080f2 400820f2 100b10ee 000000ef",
    "80ef5100 20ef4008 10ee100b 00df",
)
MODE = (  # mov r1,#0x13; msr cpsr_c,r1; mrs r0,cpsr; svc #0
    "1310a0e3 01f021e1 00000fe1 000000ef",
    "4ff01301 81f30081 eff30080 00df",
)
COUNT = (  # mov r4,#0; 1: add r4,r4,#1; tst r4,#0xff; bne 1b; mov r0,r4; svc #0; b 1b
    "0040a0e3 014084e2 ff0014e3 fcffff1a 0400a0e1 000000ef f9ffffea",
    "4ff00004 04f10104 14f0ff0f fad1 2046 00df f7e7",
)
IN_IT_BLOCK = "0128 04bf 00df 0920 00df"  # cmp r0,#1; itt eq; svceq #0; moveq r0,#9; svc #0

state = pytest.mark.parametrize("thumb", [False, True], ids=["arm", "thumb"])


def test_factory() -> None:
    cpu = engine("arm")
    assert isinstance(cpu, Arm32)
    assert cpu.word == 4
    cpu.close()


@state
def test_call(bench32: Bench, thumb: bool) -> None:
    cpu = bench32.cpu
    assert bench32.run(CALL[thumb], 1, 2, 3, 0xFFFF_FFFF, thumb=thumb) is Stop.SVC
    assert cpu.number == 42
    assert cpu.args == [1, 2, 3, 0xFFFF_FFFF, 0, 0, 0, 0]
    assert (cpu.stack_ptr, cpu.stack_words) == (0x500, 3)
    assert cpu.sp == STACK_TOP
    assert cpu.pc == CODE + (14 if thumb else 16)
    assert cpu.resume(0xFFFF_0006) is Stop.SVC
    assert cpu.args[0] == 0xFFFF_0007


@state
def test_registers(bench32: Bench, thumb: bool) -> None:
    bench32.run(CALL[thumb], 9, thumb=thumb)
    registers = bench32.cpu.registers()
    assert list(registers) == [*(f"r{i}" for i in range(13)), "sp", "lr", "pc", "cpsr"]
    assert (registers["r0"], registers["r7"], registers["sp"], registers["lr"]) == (9, 42, STACK_TOP, 0)
    assert registers["cpsr"] & 0x1F == 0x10, "user mode"
    assert bool(registers["cpsr"] & 0x20) is thumb


@state
@pytest.mark.parametrize("code", [UDF, MRC, WFI, YIELD_UDF], ids=["udf", "mrc", "wfi", "udf behind yield"])
def test_undefined(bench32: Bench, thumb: bool, code: Pair) -> None:
    assert bench32.run(code[thumb], thumb=thumb) is Stop.UNDEFINED
    assert bench32.run(YIELD_CALL[thumb], thumb=thumb) is Stop.SVC
    assert bench32.run(code[thumb], thumb=thumb) is Stop.UNDEFINED


@state
def test_yield_goes_on(bench32: Bench, thumb: bool) -> None:
    assert bench32.run(YIELD_CALL[thumb], thumb=thumb) is Stop.SVC


@state
def test_breakpoint(bench32: Bench, thumb: bool) -> None:
    assert bench32.run(BKPT[thumb], thumb=thumb) is Stop.BREAKPOINT
    assert bench32.cpu.pc == CODE


@state
@pytest.mark.parametrize(
    ("code", "base", "fault", "write"),
    [
        (LOAD, 0, 0, False),
        (LOAD, UNMAPPED, UNMAPPED, False),
        (LOAD, DATA + 4 * PAGE - 2, DATA + 4 * PAGE, False),
        (STORE, READ_ONLY + 4, READ_ONLY + 4, True),
        (STORE, CODE + 0x800, CODE + 0x800, True),
    ],
)
def test_data_abort(bench32: Bench, thumb: bool, code: Pair, base: int, fault: int, write: bool) -> None:
    assert bench32.run(code[thumb], base, thumb=thumb) is Stop.DATA_ABORT
    assert bench32.cpu.pc == CODE
    assert bench32.cpu.fault_address() == fault
    assert bench32.cpu.fault_is_write is write


@state
@pytest.mark.parametrize("target", [0, DATA, UNMAPPED & ~3])
def test_prefetch_abort(bench32: Bench, thumb: bool, target: int) -> None:
    assert bench32.run(JUMP[thumb], target, thumb=thumb) is Stop.PREFETCH_ABORT
    assert bench32.cpu.pc == bench32.cpu.fault_address() == target


@state
def test_stack_overflow(bench32: Bench, thumb: bool) -> None:
    assert bench32.run(PUSH[thumb], thumb=thumb) is Stop.DATA_ABORT
    assert bench32.cpu.fault_address() == STACK - 8


@state
def test_neon(bench32: Bench, thumb: bool) -> None:
    assert bench32.run(NEON[thumb], thumb=thumb) is Stop.SVC
    assert bench32.cpu.args[0] == 2


@state
def test_mode_cannot_be_changed(bench32: Bench, thumb: bool) -> None:
    assert bench32.run(MODE[thumb], thumb=thumb) is Stop.SVC
    assert bench32.cpu.args[0] & 0x1F == 0x10


def test_call_inside_an_it_block(bench32: Bench) -> None:
    assert bench32.run(IN_IT_BLOCK, 1, thumb=True) is Stop.SVC
    assert bench32.cpu.resume(5) is Stop.SVC
    assert bench32.cpu.args[0] == 9
    assert bench32.run(IN_IT_BLOCK, 2, thumb=True) is Stop.SVC
    assert bench32.cpu.args[0] == 2, "neither of the two ran"


@state
@pytest.mark.parametrize("code", [SPIN, YIELD], ids=["spin", "yield"])
def test_endless_loop(bench32: Bench, thumb: bool, code: Pair) -> None:
    with Watchdog(bench32.cpu):
        assert bench32.run(code[thumb], thumb=thumb) is Stop.STOPPED
    bench32.cpu.clear_stop()


@state
def test_going_on_after_a_stop(bench32: Bench, thumb: bool) -> None:
    bench32.cpu.request_stop()
    assert bench32.run(COUNT[thumb], thumb=thumb) is Stop.STOPPED
    saved = bench32.cpu.save()
    bench32.cpu.clear_stop()
    assert bench32.cpu.continue_() is Stop.SVC
    assert bench32.cpu.args[0] == 256
    bench32.cpu.resume(0)
    assert bench32.cpu.args[0] == 512
    bench32.cpu.restore(saved)
    assert bench32.cpu.continue_() is Stop.SVC
    assert bench32.cpu.args[0] == 256
