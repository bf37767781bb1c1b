"""AArch64 at secure EL0."""

import ctypes

from unicorn import arm64_const as a64
from unicorn import unicorn_const as uc

from . import native
from .cpu import ARGS, Cpu

_NUMBER, _PC, _SP = 8, 9, 10


class _SystemRegister(ctypes.Structure):
    _fields_ = [
        ("crn", ctypes.c_uint32),
        ("crm", ctypes.c_uint32),
        ("op0", ctypes.c_uint32),
        ("op1", ctypes.c_uint32),
        ("op2", ctypes.c_uint32),
        ("value", ctypes.c_uint64),
    ]


# (CRn, CRm, op0, op1, op2)
_SCR_EL3 = (1, 1, 3, 6, 0)
_HCR_EL2 = (1, 1, 3, 4, 0)
_CNTKCTL_EL1 = (14, 1, 3, 0, 0)
_CNTPCT_EL0 = (14, 0, 3, 3, 1)
_TTBR0_EL1 = (2, 0, 3, 0, 0)
_MAIR_EL1 = (10, 2, 3, 0, 0)
_TCR_EL1 = (2, 0, 3, 0, 2)
_SCTLR_EL1 = (1, 0, 3, 0, 0)
_APIAKEY_EL1 = ((2, 1, 3, 0, 0), (2, 1, 3, 0, 1))

_SCR_RW = 1 << 10  # EL1 is AArch64; without it the page tables are read in AArch32's way. NS stays 0.
# Keys and instructions of pointer authentication do not trap to EL3, nor to EL2, which this engine has in both states.
_SCR_PAUTH = 3 << 16 | 1
_HCR_PAUTH = 3 << 40 | 1 << 31
_EL0_READS_COUNTERS = 3
_TCR = 32 | 1 << 23 | 2 << 32  # 4 GiB by TTBR0, nothing by TTBR1, physical addresses of 40 bits
_SCTLR_SET = 1 | 1 << 14 | 1 << 15 | 1 << 26 | 1 << 35  # MMU; EL0 may DC ZVA, read CTR, clean caches; BTI at EL0
_SCTLR_ENIA = 1 << 31
_SCTLR_CLEAR = 1 << 16  # nTWI: WFI at EL0 is undefined; it would end the run without a reason

_X = (*range(a64.UC_ARM64_REG_X0, a64.UC_ARM64_REG_X0 + 29), a64.UC_ARM64_REG_X29, a64.UC_ARM64_REG_X30)


class Aarch64(Cpu):
    """AArch64: ``number`` is x8, ``args`` are x0 to x7. BTI works on guarded pages.

    With ``pauth_key`` (16 bytes, APIAKey) pointer authentication works, and calls take several times as long; without
    it its instructions do nothing.
    """

    word = 8
    registers_of_arch = {f"x{i}": number for i, number in enumerate(_X)} | {
        "sp": a64.UC_ARM64_REG_SP,
        "pc": a64.UC_ARM64_REG_PC,
        "cpsr": a64.UC_ARM64_REG_PSTATE,
    }
    _arch, _model = uc.UC_ARCH_ARM64, a64.UC_CPU_ARM64_MAX
    _pc_register, _result_register = a64.UC_ARM64_REG_PC, a64.UC_ARM64_REG_X0
    # PSTATE too: flags and the branch type of an interrupted run are not the next one's.
    _entry_registers = (*_X[:4], a64.UC_ARM64_REG_SP, *_X[4:], a64.UC_ARM64_REG_PSTATE)
    _stop_registers = (*_X[: _NUMBER + 1], a64.UC_ARM64_REG_PC, a64.UC_ARM64_REG_SP)

    def __init__(self, pauth_key: bytes | None = None) -> None:
        self._pauth_key = pauth_key
        super().__init__()

    def _set_up(self) -> None:
        native.reg_write(self._live(), ctypes.c_int(a64.UC_ARM64_REG_PSTATE), ctypes.byref(ctypes.c_uint64(0)))
        # The writes below make the engine look at PSTATE again; only then is this EL0.
        self._write(_SCR_EL3, _SCR_RW | (_SCR_PAUTH if self._pauth_key else 0))
        self._write(_CNTKCTL_EL1, _EL0_READS_COUNTERS)
        self._write(_TTBR0_EL1, self._table.base)
        self._write(_MAIR_EL1, 0xFF)
        self._write(_TCR_EL1, _TCR)
        sctlr = self._read(_SCTLR_EL1) & ~_SCTLR_CLEAR | _SCTLR_SET
        if self._pauth_key:
            self._write(_HCR_EL2, _HCR_PAUTH)
            for register, at in zip(_APIAKEY_EL1, (0, 8), strict=True):
                self._write(register, int.from_bytes(self._pauth_key[at : at + 8], "little"))
            sctlr |= _SCTLR_ENIA
        self._write(_SCTLR_EL1, sctlr)
        self._args = self._at_stop[:ARGS]

    def _write(self, name: tuple[int, ...], value: int) -> None:
        register = _SystemRegister(*name, value)
        status = native.reg_write(self._live(), ctypes.c_int(a64.UC_ARM64_REG_CP_REG), ctypes.byref(register))
        native.check(status, f"cannot write system register {name}")

    def _read(self, name: tuple[int, ...]) -> int:
        register = _SystemRegister(*name, 0)
        status = native.reg_read(self._live(), ctypes.c_int(a64.UC_ARM64_REG_CP_REG), ctypes.byref(register))
        native.check(status, f"cannot read system register {name}")
        value: int = register.value
        return value

    def _begin_cell(self) -> ctypes.c_uint64:
        return self._stop.cell(_PC)

    def _landed(self) -> None:
        self.number = self._at_stop[_NUMBER]
        self.args = self._args.tolist()

    def counter(self) -> int:
        """CNTPCT."""
        return self._read(_CNTPCT_EL0)

    @property
    def sp(self) -> int:
        """The stack pointer when the last run ended."""
        return self._at_stop[_SP]

    @classmethod
    def probe(cls) -> bytes:
        """``ldr x0, [x0, #0x678]``"""
        return bytes.fromhex("003c43f9")
