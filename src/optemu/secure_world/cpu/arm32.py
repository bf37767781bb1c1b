"""AArch32 (Arm and Thumb-2) at EL0, over the same page tables."""

import ctypes

from unicorn import arm_const as a32
from unicorn import unicorn_const as uc

from . import native
from .cpu import ARGS, Cpu, Stop

_STACK_PTR, _STACK_WORDS, _NUMBER, _PC, _SP, _CPSR = 5, 6, 7, 8, 9, 10
_REGISTER_ARGS = 4
_THUMB_SHIFT = 5


class _SystemRegister(ctypes.Structure):
    _fields_ = [
        ("cp", ctypes.c_uint32),
        ("is64", ctypes.c_uint32),
        ("sec", ctypes.c_uint32),
        ("crn", ctypes.c_uint32),
        ("crm", ctypes.c_uint32),
        ("opc1", ctypes.c_uint32),
        ("opc2", ctypes.c_uint32),
        ("value", ctypes.c_uint64),
    ]


# (coprocessor, 64 bit, secure bank, CRn, CRm, opc1, opc2). Bank 1 is accepted and without effect.
_TTBCR = (15, 0, 0, 2, 0, 0, 2)
_TTBR0 = (15, 1, 0, 0, 2, 0, 0)
_MAIR0 = (15, 0, 0, 10, 2, 0, 0)
_CNTKCTL = (15, 0, 0, 14, 1, 0, 0)
_CNTPCT = (15, 1, 0, 0, 14, 0, 0)
_SCTLR = (15, 0, 0, 1, 0, 0, 0)

_LONG_FORMAT = 1 << 31
_EL0_READS_COUNTERS = 3
_SCTLR_MMU = 1
_SCTLR_NTWI = 1 << 16  # cleared: WFI at EL0 is undefined; it would end the run without a reason
_CPACR_VFP = 0xF0_0000
_FPEXC_ENABLE = 0x4000_0000
_USER_MODE = 0x10

_SYSCALL_SYNDROME = 0x11 << 26
_NOT_UNDEFINED = (0x11, 0x20, 0x24, 0x38)  # classes of syndrome: system call, aborts, breakpoint

_R = tuple(range(a32.UC_ARM_REG_R0, a32.UC_ARM_REG_R0 + 13))


class Arm32(Cpu):
    """AArch32: ``number`` is r7, the first four ``args`` are r0 to r3 and the rest 0.

    The caller's further arguments are ``stack_words`` words at ``stack_ptr``. Bit 0 of an entry ``pc`` selects Thumb.
    """

    word = 4
    registers_of_arch = {f"r{i}": number for i, number in enumerate(_R)} | {
        "sp": a32.UC_ARM_REG_SP,
        "lr": a32.UC_ARM_REG_LR,
        "pc": a32.UC_ARM_REG_PC,
        "cpsr": a32.UC_ARM_REG_CPSR,
    }
    _arch, _model = uc.UC_ARCH_ARM, a32.UC_CPU_ARM_MAX
    _pc_register, _result_register = a32.UC_ARM_REG_PC, a32.UC_ARM_REG_R0
    # CPSR in a slot of its own at the end: user mode, no flags, outside any IT block.
    _entry_registers = (*_R[:4], a32.UC_ARM_REG_SP, *_R[4:], a32.UC_ARM_REG_LR, a32.UC_ARM_REG_CPSR)
    _stop_registers = (*_R[: _NUMBER + 1], a32.UC_ARM_REG_PC, a32.UC_ARM_REG_SP, a32.UC_ARM_REG_CPSR)

    def _set_up(self) -> None:
        self._write(_TTBCR, _LONG_FORMAT)
        self._write(_TTBR0, self._table.base)
        self._write(_MAIR0, 0xFF)
        self._write(_CNTKCTL, _EL0_READS_COUNTERS)
        self._write(_SCTLR, self._read(_SCTLR) & ~_SCTLR_NTWI | _SCTLR_MMU)
        self._write_register(a32.UC_ARM_REG_C1_C0_2, _CPACR_VFP)
        self._write_register(a32.UC_ARM_REG_FPEXC, _FPEXC_ENABLE)
        self._write_register(a32.UC_ARM_REG_CPSR, _USER_MODE)
        self._write_register(a32.UC_ARM_REG_ESR, _SYSCALL_SYNDROME)
        self._entry.values[len(self._entry_registers) - 1] = _USER_MODE
        self._esr = ctypes.c_uint32(0)
        self._args = self._at_stop[:_REGISTER_ARGS]

    def _run(self) -> Stop:
        """The engine reports YIELD and WFE as undefined too: told apart by the syndrome, which these leave alone."""
        while (stop := super()._run()) is Stop.UNDEFINED:
            native.reg_read(self._live(), ctypes.c_int(a32.UC_ARM_REG_ESR), ctypes.byref(self._esr))
            if self._esr.value >> 26 in _NOT_UNDEFINED:
                continue
            self.syndrome = self._esr.value
            self._write_register(a32.UC_ARM_REG_ESR, _SYSCALL_SYNDROME)
            break
        return stop

    def _write_register(self, number: int, value: int) -> None:
        cell = ctypes.c_uint64(value)
        native.check(native.reg_write(self._live(), ctypes.c_int(number), ctypes.byref(cell)), "cannot write register")

    def _write(self, name: tuple[int, ...], value: int) -> None:
        register = _SystemRegister(*name, value)
        status = native.reg_write(self._live(), ctypes.c_int(a32.UC_ARM_REG_CP_REG), ctypes.byref(register))
        native.check(status, f"cannot write system register {name}")

    def _read(self, name: tuple[int, ...]) -> int:
        register = _SystemRegister(*name, 0)
        status = native.reg_read(self._live(), ctypes.c_int(a32.UC_ARM_REG_CP_REG), ctypes.byref(register))
        native.check(status, f"cannot read system register {name}")
        value: int = register.value
        return value

    def _begin_cell(self) -> ctypes.c_uint64:
        return ctypes.c_uint64(0)

    def _landed(self) -> None:
        values = self._at_stop
        self.number = values[_NUMBER]
        self.args = self._args.tolist() + [0] * (ARGS - _REGISTER_ARGS)
        self._begin.value = values[_PC] | values[_CPSR] >> _THUMB_SHIFT & 1

    @property
    def pc(self) -> int:
        """Address of the next instruction, without the Thumb bit."""
        return self._begin.value & ~1

    def counter(self) -> int:
        """CNTPCT."""
        return self._read(_CNTPCT)

    @property
    def sp(self) -> int:
        """The stack pointer when the last run ended."""
        return self._at_stop[_SP]

    @property
    def stack_ptr(self) -> int:
        """After SVC: address of the arguments that did not fit in registers (r5)."""
        return self._at_stop[_STACK_PTR]

    @property
    def stack_words(self) -> int:
        """After SVC: how many of them there are (r6)."""
        return self._at_stop[_STACK_WORDS]

    @classmethod
    def probe(cls) -> bytes:
        """``ldr r0, [r0, #0x678]``"""
        return bytes.fromhex("780690e5")
