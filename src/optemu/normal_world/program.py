"""What kind of program is to be run, and how it can reach the driver: through the gate or with the preload library."""

import os
import shutil
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from optemu.abi import elf

GATE: Final = "gate"
PRELOAD: Final = "preload"
NAMES: Final = {GATE: "gate", PRELOAD: "preload library"}

PRELOAD_ARCHS: Final = ("x86_64", "aarch64")
_MACHINES: Final = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
_EMULATORS: Final = {
    f"qemu-{machine}{suffix}": machine for machine in ("aarch64", "arm", "x86_64") for suffix in ("", "-static")
}
SYSROOTS: Final = {machine: f"/usr/{machine.replace('_', '-')}-linux-gnu" for machine in PRELOAD_ARCHS}
"""Where Debian has the C libraries of foreign programs."""
_COMPAT: Final = {"x86_64": ("x86_64", "i386"), "aarch64": ("aarch64", "arm")}
_PT_INTERP: Final = 3
_SCRIPT_DEPTH: Final = 4


class RoadError(Exception):
    """The program cannot be run here in that way; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Program:
    """``machine`` as uname names it; ``loader`` the dynamic linker it asks for, empty if it is static."""

    machine: str
    loader: str


@dataclass(frozen=True, slots=True)
class Plan:
    """``argv`` is what to execute; ``machine`` the library's, ``emulated`` if qemu-user runs the program."""

    road: str
    argv: list[str]
    machine: str
    emulated: bool
    because: str


def look(path: str, depth: int = _SCRIPT_DEPTH) -> Program | None:
    """What the file ``path`` is; a script is what its interpreter is. None for what cannot be read or is neither."""
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
            if head.startswith(b"#!") and depth:
                words = head[2:].split(b"\n", 1)[0].split()
                return look(os.fsdecode(words[0]), depth - 1) if words else None
            if head[:4] != b"\x7fELF" or head[5] != 1:
                return None
            layout = elf.ELF64 if head[4] == 2 else elf.ELF32
            ehdr = elf.Ehdr._make(layout.ehdr.unpack_from(head))
            return Program(_MACHINES.get(ehdr.e_machine, f"ELF machine {ehdr.e_machine}"), _loader(file, ehdr, layout))
    except (OSError, IndexError, ValueError, struct.error):
        return None


def _loader(file: BinaryIO, ehdr: elf.Ehdr, layout: elf.Layout) -> str:
    """The path in PT_INTERP."""
    for n in range(ehdr.e_phnum):
        file.seek(ehdr.e_phoff + n * layout.phdr.size)
        phdr = layout.phdr_type._make(layout.phdr.unpack(file.read(layout.phdr.size)))
        if phdr.p_type == _PT_INTERP:
            file.seek(phdr.p_offset)
            return os.fsdecode(file.read(min(phdr.p_filesz, 4096)).rstrip(b"\0"))
    return ""


def plan(
    argv: Sequence[str],
    wanted: str | None,
    gate_reason: Callable[[], str],
    env: Mapping[str, str] = os.environ,
    host: str | None = None,
) -> Plan:
    """How to run ``argv``: as ``wanted``, or the gate if it can, or the preload library. RoadError.

    ``gate_reason`` says why this machine cannot have a gate, empty if it can.
    """
    host = host or os.uname().machine
    guest = _EMULATORS.get(os.path.basename(argv[0]))
    if guest is not None:
        return _emulated(list(argv), guest, wanted, f"{argv[0]} runs it")
    path = shutil.which(argv[0], path=env.get("PATH", os.defpath))
    program = look(path) if path else None
    if program is not None and program.machine not in _COMPAT.get(host, (host,)):
        return _emulated(_with_qemu(argv, program.machine, env), program.machine, wanted, f"it is {program.machine}")
    if wanted != PRELOAD:
        reason = gate_reason()
        if not reason:
            return Plan(GATE, list(argv), host, False, "as asked" if wanted else "this machine can do it")
        if wanted == GATE:
            raise RoadError(reason)
    else:
        reason = "as asked"
    if program is not None:
        _check_loadable(argv[0], program, reason)
    return Plan(PRELOAD, list(argv), program.machine if program else host, False, reason)


def _check_loadable(name: str, program: Program, reason: str) -> None:
    if program.machine not in PRELOAD_ARCHS:
        what = f"is {program.machine}, and there is a preload library for {' and '.join(PRELOAD_ARCHS)} only"
    elif "ld-linux" not in program.loader:
        kind = f"has the dynamic linker {program.loader}" if program.loader else "is static"
        what = f"{kind}, so the preload library, which is for glibc, cannot be loaded into it"
    else:
        return
    raise RoadError(f"{name} {what} ({reason})")


def _emulated(argv: list[str], machine: str, wanted: str | None, because: str) -> Plan:
    if wanted == GATE:
        raise RoadError("qemu-user passes no unknown ioctl on to the kernel, so the gate sees none: use --via preload")
    if machine not in PRELOAD_ARCHS:
        raise RoadError(f"programs for {machine} cannot be run here: the preload library is for aarch64 and x86_64")
    return Plan(PRELOAD, argv, machine, True, because)


def _with_qemu(argv: Sequence[str], machine: str, env: Mapping[str, str]) -> list[str]:
    """The command that runs a foreign program, with the sysroot QEMU_LD_PREFIX names or Debian's own."""
    qemu = next((name for name in _EMULATORS if _EMULATORS[name] == machine and shutil.which(name)), None)
    if qemu is None:
        raise RoadError(
            f"{argv[0]} is an {machine} program, and qemu-{machine} is not installed: apt-get install qemu-user"
        )
    sysroot = SYSROOTS.get(machine, "")
    known = "QEMU_LD_PREFIX" in env or not Path(sysroot).is_dir()
    return [qemu, *([] if known else ["-L", sysroot]), *argv]
