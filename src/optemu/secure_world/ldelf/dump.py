"""What is said of a TA that died (shim)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Read = Callable[[int, int], bytes | None]


@dataclass(frozen=True, slots=True)
class DumpRegion:
    va: int
    pa: int
    size: int
    flags: str
    label: str


def abort_lines(kind: str, address: int, why: str, regs: Mapping[str, int], arch: str) -> list[str]:
    return ["", f"User mode {kind} at address 0x{address:x} ({why})"]


def state_lines(arch, uuid, regions, modules, regs, read) -> list[str]:
    lines = [f"Status of TA {uuid}", f" arch: {arch}"]
    for n, r in enumerate(regions):
        where = "[0]" if r.label in ("text", "data") else f"({r.label})"
        lines.append(f" region {n:2}: va 0x{r.va:08x} pa 0x{r.pa:08x} size 0x{r.size:06x} flags {r.flags} {where}")
    lines += [f" [{n}] {name} @ 0x{base:x}" for n, (name, base) in enumerate(modules)]
    return lines
