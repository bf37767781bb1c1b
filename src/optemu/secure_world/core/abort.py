"""What is said of a TA that dies. Mirrors core/kernel/abort.c and ldelf's dump of a TA's state."""

import logging
from typing import TYPE_CHECKING

from optemu.abi import gp
from optemu.errors import TaPanic
from optemu.secure_world.core.vm import VmRegion
from optemu.secure_world.cpu import Stop
from optemu.secure_world.ldelf.dump import DumpRegion, abort_lines, state_lines

if TYPE_CHECKING:
    from optemu.secure_world.core.user_ta import UserTaCtx

log = logging.getLogger("optemu.ta")

_ABORTS = {
    Stop.DATA_ABORT: "data-abort",
    Stop.PREFETCH_ABORT: "prefetch-abort",
    Stop.UNDEFINED: "undef-abort",
    Stop.BREAKPOINT: "breakpoint",
    Stop.CRASH: "crash",
}

_NO_SUCH = "undefined instruction"
_UNDEFINED = {0x0D: "indirect branch to what is no target of one (BTI)"}
"""By exception class, where there is more to say."""


def report_panic(ta: "UserTaCtx", panic: TaPanic) -> None:
    """A TA panicked, by itself or because the core made it."""
    lines = ["", f"TA panicked with code 0x{panic.code:x}" + (f" ({panic.message})" if panic.message else "")]
    _report(ta, lines)


def report_abort(ta: "UserTaCtx", stop: Stop) -> None:
    """A TA touched what it must not, or executed what it cannot."""
    assert ta.instance is not None
    cpu = ta.instance.cpu
    address = cpu.fault_address() if stop in (Stop.DATA_ABORT, Stop.PREFETCH_ABORT) else cpu.pc
    region = ta.instance.space.find(address)
    if region is None:
        why = "translation fault"
    elif stop == Stop.DATA_ABORT:
        why = f"write permission fault, {region.label}" if not region.prot & 2 else "permission fault"
    else:
        why = "permission fault" if stop == Stop.PREFETCH_ABORT else _UNDEFINED.get(cpu.syndrome >> 26, _NO_SUCH)
    regs = cpu.registers()
    _report(ta, abort_lines(_ABORTS[stop], address, why, regs, ta.instance.image.elf.arch))


def _report(ta: "UserTaCtx", head: list[str]) -> None:
    instance = ta.instance
    assert instance is not None
    elf = instance.elf

    def label(r: VmRegion) -> str:
        """The number of the image it belongs to, or else what it is."""
        return next((str(n) for n, m in enumerate(elf.modules) if m.base <= r.va < m.end), r.label)

    regions = [DumpRegion(r.va, r.pa, r.size, r.flags(), label(r)) for r in instance.space.regions]

    def read(va: int, size: int) -> bytes | None:
        view = instance.space.view(va, size)
        return bytes(view) if view is not None else None

    modules = [(gp.uuid_str(m.uuid), m.base) for m in elf.modules]
    lines = head + state_lines(elf.arch, gp.uuid_str(ta.uuid), regions, modules, instance.cpu.registers(), read)
    for line in lines:
        log.error("%s", line)
