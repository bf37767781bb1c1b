"""What is said of a TA that died, in the shape upstream's scripts/symbolize.py reads.

Mirrors core/arch/arm/kernel/abort.c, and ta_elf_print_mappings and ta_elf_stack_trace of ldelf/ta_elf.c.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .unwind_arm32 import FindExidx, Read
from .unwind_arm32 import call_stack as call_stack_arm32

MAX_FRAMES = 64
_ADDRESS = 0xFFFF_FFFF
"""TAs live below 4 GiB; above may be the signature of a return address (PAC)."""
_INSTRUCTION = 4
Traced = tuple[int, Sequence[int]]
"""Of a TA whose functions are traced: what its frames have for a return address, and the real ones, innermost first."""
NOT_TRACED: Traced = (0, ())


@dataclass(frozen=True, slots=True)
class DumpRegion:
    """Memory the TA sees; ``label`` is the number of the image it belongs to, or else what it is."""

    va: int
    pa: int
    size: int
    flags: str
    label: str


def abort_lines(kind: str, address: int, why: str, regs: Mapping[str, int], arch: str) -> list[str]:
    """The head of an abort's dump: what happened, where, and all registers."""
    lines = ["", f"User mode {kind} at address 0x{address:x} ({why})", f" cpu #0          cpsr 0x{regs['cpsr']:08x}"]
    if arch == "aarch64":
        lines += [f" x{n:<2} {regs[f'x{n}']:016x} x{n + 1:<2} {regs[f'x{n + 1}']:016x}" for n in range(0, 30, 2)]
        return [*lines, f" x30 {regs['x30']:016x} elr {regs['pc']:016x}", f" sp_el0 {regs['sp']:016x}"]
    rows = (("r0", "r4", "r8", "r12"), ("r1", "r5", "r9", "sp"), ("r2", "r6", "r10", "lr"), ("r3", "r7", "r11", "pc"))
    return [*lines, *("".join(f" {name:>3} 0x{regs[name]:08x}   " for name in row).rstrip() for row in rows)]


def state_lines(
    arch: str,
    uuid: str,
    regions: Sequence[DumpRegion],
    modules: Sequence[tuple[str, int]],
    regs: Mapping[str, int],
    read: Read,
    find_exidx: FindExidx = lambda pc: None,
    traced: Traced = NOT_TRACED,
) -> list[str]:
    """Status of the TA: its regions, its images (UUID and load address), its call stack.

    ``find_exidx`` finds the unwinding tables of Arm32 modules.
    """
    lines = [f"Status of TA {uuid}", f" arch: {arch}", *(f" {line}" for line in region_lines(regions))]
    lines += module_lines(modules)
    width = 16 if arch == "aarch64" else 8
    return [*lines, "Call stack:", *(f" 0x{pc:0{width}x}" for pc in call_stack(arch, regs, read, find_exidx, traced))]


def region_lines(regions: Sequence[DumpRegion]) -> list[str]:
    """One line for each of the TA's regions."""
    where = (f"[{r.label}]" if r.label.isdigit() else f"({r.label})" for r in regions)
    return [
        f"region {n:2}: va 0x{r.va:08x} pa 0x{r.pa:08x} size 0x{r.size:06x} flags {r.flags} {w}"
        for n, (r, w) in enumerate(zip(regions, where, strict=True))
    ]


def module_lines(modules: Sequence[tuple[str, int]]) -> list[str]:
    """One line for each of the TA's images: number, UUID, load address."""
    return [f" [{n}] {name} @ 0x{base:x}" for n, (name, base) in enumerate(modules)]


def call_stack(
    arch: str,
    regs: Mapping[str, int],
    read: Read,
    find_exidx: FindExidx = lambda pc: None,
    traced: Traced = NOT_TRACED,
) -> list[int]:
    """Where the TA was, innermost first: on AArch64 along the frame records from x29 on, on Arm32 by its tables."""
    if arch != "aarch64":
        return call_stack_arm32(regs, read, find_exidx)
    stack = [regs["pc"]]
    placeholder, returns = traced[0], iter(traced[1])
    frame = regs["x29"]
    while len(stack) < MAX_FRAMES and frame and not frame % 8:
        record = read(frame, 16)
        if record is None:
            break
        following, back = int.from_bytes(record[:8], "little"), int.from_bytes(record[8:], "little") & _ADDRESS
        if back == placeholder:
            back = next(returns, back)
        if not back:
            break
        stack.append(back - _INSTRUCTION)
        if following <= frame:
            break
        frame = following
    return stack
