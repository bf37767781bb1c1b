"""The monitor: which calls cross, what each world finds in its registers, on either flavour."""

import threading
from typing import Any

import pytest

from optemu.abi import optee_smc as smc
from optemu.monitor.monitor import Monitor, monitor
from optemu.trace import Tracer

DONE = smc.TEESMC_OPTEED_RETURN_CALL_DONE
STD, FAST = smc.OPTEE_SMC_CALL_WITH_ARG, smc.OPTEE_SMC_GET_THREAD_COUNT
VERSION, FEATURES, UNKNOWN = 0x80000000, 0x80000001, 0xFFFFFFFF
WIDE = [0x1_0000_0001 * n for n in range(1, 8)]


class FakeOptee:
    """The vectors: remembers the registers it was entered with, returns ``result``."""

    def __init__(self) -> None:
        self.entered: list[tuple[str, tuple[int, ...]]] = []
        self.result: Any = (DONE, 11, 12, 13, 14, 95, 96, 97)
        self.inside: Any = lambda: None

    def fast_smc_entry(self, regs: Any) -> Any:
        self.entered.append(("fast", regs))
        return self.result

    def yield_smc_entry(self, regs: Any) -> Any:
        self.entered.append(("yield", regs))
        self.inside()
        return self.result


def boot(flavour: str, trace: Tracer | None = None) -> tuple[Monitor, FakeOptee]:
    m, optee = monitor(flavour, trace or Tracer()), FakeOptee()
    m.optee_vector_table(optee)
    return m, optee


@pytest.fixture(params=["armv8", "armv7"])
def booted(request: pytest.FixtureRequest) -> tuple[Monitor, FakeOptee]:
    return boot(request.param)


def test_bit_31_chooses_the_vector(booted: tuple[Monitor, FakeOptee]) -> None:
    m, optee = booted
    m.smc(STD)
    m.smc(FAST)
    assert [how for how, _ in optee.entered] == ["yield", "fast"]


def test_x0_to_x3_come_from_the_secure_world_the_rest_is_kept(booted: tuple[Monitor, FakeOptee]) -> None:
    m, _ = booted
    assert m.smc(STD, 1, 2, 3, 4, 5, 6, 7) == (11, 12, 13, 14, 4, 5, 6, 7)


@pytest.mark.parametrize(("flavour", "mask"), [("armv8", (1 << 64) - 1), ("armv7", 0xFFFFFFFF)])
def test_width_of_the_registers(flavour: str, mask: int) -> None:
    m, optee = boot(flavour)
    m.smc(STD, *WIDE)
    assert optee.entered == [("yield", (STD, *[n & mask for n in WIDE]))]


@pytest.mark.parametrize("owner", range(64))
def test_only_the_trusted_os_ranges_cross(booted: tuple[Monitor, FakeOptee], owner: int) -> None:
    m, optee = booted
    for bits in (0, smc.SMC_FAST_CALL, smc.SMC_FAST_CALL | smc.SMC_64):
        optee.entered.clear()
        regs = m.smc(bits | owner << 24 | 0x77, 5, 6, 7)
        if 50 <= owner <= 63:
            assert (len(optee.entered), regs[:4]) == (1, (11, 12, 13, 14))
        else:
            assert (optee.entered, regs) == ([], (UNKNOWN, 5, 6, 7, 0, 0, 0, 0))


def test_the_monitors_own_calls(booted: tuple[Monitor, FakeOptee]) -> None:
    m, optee = booted
    assert m.smc(VERSION, 7)[:2] == (0x10002, 7)
    assert m.smc(FEATURES, VERSION)[0] == m.smc(FEATURES, FEATURES)[0] == 0
    assert m.smc(FEATURES, 0x80008000)[0] == UNKNOWN
    assert m.smc(0x80008000)[0] == UNKNOWN
    assert optee.entered == []


def test_before_op_tee_is_up_nobody_answers_for_it() -> None:
    m = monitor("armv8", Tracer())
    assert m.smc(STD, 1) == (UNKNOWN, 1, 0, 0, 0, 0, 0, 0)


def test_leaving_the_secure_world_any_other_way_is_a_defect(booted: tuple[Monitor, FakeOptee]) -> None:
    m, optee = booted
    optee.result = (STD, *optee.result[1:])
    with pytest.raises(RuntimeError, match=f"0x{STD:x}, not TEESMC_OPTEED_RETURN_CALL_DONE"):
        m.smc(STD)


def test_each_core_has_its_own_context(booted: tuple[Monitor, FakeOptee]) -> None:
    """Another core's call in the middle of ours does not change what we find in x4 to x7."""
    m, optee = booted
    other: list[Any] = []

    def meanwhile() -> None:
        optee.inside = lambda: None
        thread = threading.Thread(target=lambda: other.append(m.smc(STD, 0, 0, 0, 51, 52, 53, 54)))
        thread.start()
        thread.join(10)

    optee.inside = meanwhile
    assert m.smc(STD, 0, 0, 0, 41, 42, 43, 44)[4:] == (41, 42, 43, 44)
    assert other[0][4:] == (51, 52, 53, 54)


def test_unknown_flavours() -> None:
    with pytest.raises(KeyError):
        monitor("armv6", Tracer())
