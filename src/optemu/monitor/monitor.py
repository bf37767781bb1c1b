"""The secure monitor: the only place where the worlds meet.

Mirrors services/spd/opteed of Trusted Firmware-A (ARMv8, EL3) and core/arch/arm/sm of OP-TEE (ARMv7,
Monitor mode). What crosses is eight registers; everything else lies in memory that both worlds can see.
"""

import threading
from collections.abc import Callable
from typing import Protocol

from optemu.abi import optee_smc as smc_abi
from optemu.monitor.table import FAST_SMC_POINT, SMC_POINT, WORLD_SWITCH_POINT, smc_rows
from optemu.trace import Tracer

Registers = tuple[int, int, int, int, int, int, int, int]


class VectorTable(Protocol):
    """The entry points OP-TEE hands over at boot (struct optee_vectors, thread_vector_table)."""

    def fast_smc_entry(self, regs: Registers) -> Registers: ...

    def yield_smc_entry(self, regs: Registers) -> Registers: ...


class CpuContext:
    """What the monitor keeps of one core while the other world runs on it."""

    __slots__ = ("nsec", "sec")

    def __init__(self) -> None:
        zero = (0, 0, 0, 0, 0, 0, 0, 0)
        self.nsec: Registers = zero
        self.sec: Registers = zero


class Monitor:
    """EL3. ``smc`` is the instruction: it returns the normal world's x0 to x7 as they are after it."""

    register_mask = 0xFFFF_FFFF_FFFF_FFFF

    def __init__(self, trace: Tracer) -> None:
        self._trace = trace
        self._cores = threading.local()
        self._vectors: VectorTable | None = None
        self._calls: dict[int, Callable[[Registers], Registers]] = {
            row.number: row.handler for row in smc_rows(self.register_mask)
        }

    def optee_vector_table(self, vectors: VectorTable) -> None:
        """OP-TEE is up: TEESMC_OPTEED_RETURN_ENTRY_DONE with the address of its vectors."""
        self._vectors = vectors

    def smc(
        self, a0: int, a1: int = 0, a2: int = 0, a3: int = 0, a4: int = 0, a5: int = 0, a6: int = 0, a7: int = 0
    ) -> Registers:
        """One secure monitor call from the normal world."""
        trace = self._trace
        if trace.on:
            self._trace_call(a0, a1, a2, a3)
        regs = (a0, a1, a2, a3, a4, a5, a6, a7)
        owner = a0 >> smc_abi.SMC_OWNER_SHIFT & smc_abi.SMC_OWNER_MASK
        if smc_abi.OWNER_TRUSTED_OS <= owner <= smc_abi.OWNER_TRUSTED_OS_API and self._vectors is not None:
            result = self._to_secure(regs, self._vectors)
        else:
            handler = self._calls.get(regs[0])
            result = handler(regs) if handler else (smc_abi.SMC_UNKNOWN, *regs[1:])
        if trace.on:
            self._trace_return(a0, result)
        return result

    def _trace_call(self, a0: int, a1: int, a2: int, a3: int) -> None:
        if a0 & smc_abi.SMC_FAST_CALL:
            self._trace.enter(FAST_SMC_POINT, a0, a1)
        else:
            self._trace.enter(SMC_POINT, a0, a1, a2, a3)

    def _trace_return(self, a0: int, result: Registers) -> None:
        if a0 & smc_abi.SMC_FAST_CALL:
            self._trace.exit(FAST_SMC_POINT, *result[:4])
        else:
            self._trace.exit(SMC_POINT, result[0])

    def _to_secure(self, regs: Registers, vectors: VectorTable) -> Registers:
        """Save the normal world, run the secure one until it gives the core back, restore the normal world."""
        try:
            cpu: CpuContext = self._cores.context
        except AttributeError:
            cpu = self._cores.context = CpuContext()
        trace = self._trace
        if trace.on:
            trace.enter(WORLD_SWITCH_POINT, regs[0])
        cpu.nsec = regs
        if regs[0] & smc_abi.SMC_FAST_CALL:
            cpu.sec = vectors.fast_smc_entry(regs)
        else:
            cpu.sec = vectors.yield_smc_entry(regs)
        done, r0, r1, r2, r3, _, _, _ = cpu.sec
        if done != smc_abi.TEESMC_OPTEED_RETURN_CALL_DONE:
            raise RuntimeError(f"OP-TEE left the secure world with 0x{done:x}, not TEESMC_OPTEED_RETURN_CALL_DONE")
        _, _, _, _, a4, a5, a6, a7 = cpu.nsec
        if trace.on:
            trace.exit(WORLD_SWITCH_POINT)
        return (r0, r1, r2, r3, a4, a5, a6, a7)


class Armv7Monitor(Monitor):
    """Monitor mode, as OP-TEE's own sm: the same roads with registers of 32 bits."""

    register_mask = 0xFFFF_FFFF

    def smc(
        self, a0: int, a1: int = 0, a2: int = 0, a3: int = 0, a4: int = 0, a5: int = 0, a6: int = 0, a7: int = 0
    ) -> Registers:
        a0, a1, a2, a3, a4, a5, a6, a7 = [r & 0xFFFFFFFF for r in (a0, a1, a2, a3, a4, a5, a6, a7)]
        return super().smc(a0, a1, a2, a3, a4, a5, a6, a7)


def monitor(flavour: str, trace: Tracer) -> Monitor:
    """``armv8`` (EL3, TF-A's opteed) or ``armv7`` (Monitor mode, OP-TEE's sm)."""
    return {"armv8": Monitor, "armv7": Armv7Monitor}[flavour](trace)
