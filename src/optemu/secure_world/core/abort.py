"""What is said of a TA that dies. Mirrors core/kernel/abort.c and ldelf's dump of a TA's state."""

import logging
import struct
from typing import TYPE_CHECKING

from optemu.abi import gp
from optemu.abi.elf import PT_ARM_EXIDX
from optemu.abi.syscalls import TEE_SCN_PANIC
from optemu.errors import TaPanic, TeeError
from optemu.secure_world.cpu import Stop
from optemu.secure_world.ldelf.dump import NOT_TRACED, abort_lines, state_lines

if TYPE_CHECKING:
    from optemu.secure_world.core.ta_image import TaInstance
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
    assert ta.instance is not None
    lines = ["", f"TA panicked with code 0x{panic.code:x}" + (f" ({panic.message})" if panic.message else "")]
    _report(ta, lines, ta.instance.cpu.registers() | _pushed_by_panic(ta.instance))


_A32_PUSHED = ("pc", *(f"r{n}" for n in range(12)), "lr")


def _pushed_by_panic(instance: "TaInstance") -> dict[str, int]:
    """Registers as _utee_panic() found them, which it pushed for us (scall_save_panic_stack); none for other panics."""
    cpu = instance.cpu
    if cpu.number != TEE_SCN_PANIC:
        return {}
    at = cpu.args[1]
    try:
        if instance.elf.arch == "aarch64":
            return dict(
                zip(("x29", "pc"), struct.unpack("<2Q", instance.space.copy_from_user_private(at, 16)), strict=True)
            )
        pushed = struct.unpack("<14I", instance.space.copy_from_user_private(at, 56))
        return dict(zip(_A32_PUSHED, pushed, strict=True)) | {"sp": at}
    except TeeError:
        log.error("Can't unwind invalid user stack 0x%x", at)
        return {}


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
    _report(ta, abort_lines(_ABORTS[stop], address, why, regs, ta.instance.image.elf.arch), regs)


def _report(ta: "UserTaCtx", head: list[str], regs: dict[str, int]) -> None:
    instance = ta.instance
    assert instance is not None
    elf = instance.elf

    def read(va: int, size: int) -> bytes | None:
        view = instance.space.view(va, size)
        return bytes(view) if view is not None else None

    def find_exidx(pc: int) -> tuple[int, int] | None:
        found = next((m for m in elf.modules if m.base <= pc < m.end), None)
        table = found.header(PT_ARM_EXIDX) if found else None
        return (found.base + table.p_vaddr, table.p_filesz) if found and table else None

    traced = ta.ftrace.return_addresses() if ta.ftrace is not None else NOT_TRACED
    modules = [(gp.uuid_str(m.uuid), m.base) for m in elf.modules]
    regions = instance.dump_regions()
    lines = head + state_lines(elf.arch, gp.uuid_str(ta.uuid), regions, modules, regs, read, find_exidx, traced)
    for line in lines:
        log.error("%s", line)
