"""The monitor's own SMC functions and its trace points.

Sources: Arm DEN0028 (SMC Calling Convention 1.2), services/arm_arch_svc of Trusted Firmware-A.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from optemu.abi import optee_smc as smc_abi
from optemu.trace import EL, Point, World

_SMC = partial(
    Point,
    "smc",
    World.NORMAL,
    EL.EL1,
    "driver",
    where="monitor/monitor.py Monitor.smc",
    upstream="the instruction smc #0",
)
SMC_POINT = _SMC(args="a0:smc a1:hex a2:hex a3:hex", result="a0:smc_return")
FAST_SMC_POINT = _SMC(args="a0:smc a1:hex", result="a0:hex a1:hex a2:hex a3:hex")
WORLD_SWITCH_POINT = Point(
    "opteed_smc_handler",
    World.MONITOR,
    EL.EL3,
    "monitor",
    args="smc_fid:smc",
    where="monitor/monitor.py Monitor._to_secure",
    upstream="TF-A services/spd/opteed/opteed_main.c",
)

SMCCC_VERSION = 0x80000000
SMCCC_ARCH_FEATURES = 0x80000001
SMCCC_VERSION_1_2 = 0x10002

Registers = tuple[int, int, int, int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class SmcRow:
    number: int
    name: str
    handler: Callable[[Registers], Registers]
    note: str


def smc_rows(mask: int) -> tuple[SmcRow, ...]:
    """What the monitor answers itself; the ranges of the trusted OS go to OP-TEE."""

    def version(regs: Registers) -> Registers:
        return (SMCCC_VERSION_1_2, *regs[1:])

    def features(regs: Registers) -> Registers:
        known = regs[1] in (SMCCC_VERSION, SMCCC_ARCH_FEATURES)
        return (0 if known else smc_abi.SMC_UNKNOWN & mask, *regs[1:])

    return (
        SmcRow(SMCCC_VERSION, "SMCCC_VERSION", version, "1.2"),
        SmcRow(SMCCC_ARCH_FEATURES, "SMCCC_ARCH_FEATURES", features, "of the functions in this table"),
    )
