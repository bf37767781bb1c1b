"""``optemu doctor``: what this machine can do, and what to do about what it cannot."""

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from optemu.cli.common import default_socket

GOOD, PLAIN, BAD = "ok", "--", "NO"


@dataclass(frozen=True, slots=True)
class Finding:
    """``mark``: fine, something optional is missing, or something needed is. ``advice`` is what to do then."""

    mark: str
    what: str
    found: str
    advice: str = ""


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    p = verbs.add_parser(
        "doctor",
        help="say what this machine can do",
        description="Look at what optemu needs of this machine, and say what to do about what is missing. Changes "
        "nothing. Exit status 0 if unmodified programs can be run in one way at least.",
    )
    p.add_argument("--json", action="store_true", help="the same for programs")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import json

    findings = [finding for look in _LOOKS for finding in look()]
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        width = max(len(finding.what) for finding in findings)
        for f in findings:
            print(f"{f.mark}  {f.what:<{width}}  {f.found}")
            if f.advice:
                print(f"    {'':<{width}}  {f.advice}")
    return int(any(finding.mark == BAD for finding in findings))


def _python() -> Iterator[Finding]:
    import importlib.metadata
    import platform

    yield Finding(GOOD, "Python", f"{platform.python_version()}, {sys.executable}")
    for name, extra in (("unicorn", ""), ("cryptography", ""), ("greenlet", ""), ("ziglang", "[sdk]")):
        try:
            yield Finding(GOOD, name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            why = "optemu build and the preload library need it" if extra else "optemu needs it"
            yield Finding(PLAIN if extra else BAD, name, f"missing; {why}", f"pip install 'optemu{extra}'")


def _roads() -> Iterator[Finding]:
    """The gate, and what there is without it."""
    from importlib.util import find_spec

    from optemu.normal_world.gate import support

    uname = os.uname()
    yield Finding(GOOD, "kernel", f"{uname.sysname} {uname.release}, {uname.machine}")
    gate, attached = support.check(), support.check_attached()
    library = find_spec("ziglang") is not None
    if gate.ok:
        yield Finding(GOOD, "gate", "seccomp notifications: any program can be run, static ones too")
    else:
        advice = "optemu run takes the preload library by itself: programs linked with glibc can be run"
        yield Finding(
            PLAIN if library else BAD, "gate", gate.reason, advice if library else "pip install 'optemu[sdk]'"
        )
    scope = support.ptrace_scope()
    if attached.ok:
        yield Finding(GOOD, "gate, attached", f"ptrace scope {scope}: optemu run --attach can use the gate")
    elif gate.ok:
        advice = "optemu run --attach takes the preload library; for the gate: sysctl kernel.yama.ptrace_scope=0"
        yield Finding(PLAIN, "gate, attached", attached.reason, advice)


def _foreign() -> Iterator[Finding]:
    from optemu.normal_world.program import SYSROOTS

    for machine, sysroot in SYSROOTS.items():
        if machine == os.uname().machine:
            continue
        qemu = shutil.which(f"qemu-{machine}") or shutil.which(f"qemu-{machine}-static")
        if qemu is None:
            advice = "Debian, Ubuntu: apt-get install qemu-user"
            yield Finding(PLAIN, f"{machine} programs", f"qemu-{machine} is not installed", advice)
            continue
        yield Finding(GOOD, f"{machine} programs", f"{qemu} runs them")
        if not Path(os.environ.get("QEMU_LD_PREFIX", sysroot)).is_dir():
            advice = f"name the sysroot with -L or QEMU_LD_PREFIX; Debian, Ubuntu: apt-get install {_LIBC[machine]}"
            yield Finding(PLAIN, f"{machine} libraries", f"none in {sysroot}", advice)


_LIBC = {"aarch64": "libc6-arm64-cross", "x86_64": "libc6-amd64-cross"}


def _shared() -> Iterator[Finding]:
    from optemu.normal_world.preload import connect

    path = default_socket()
    if not path.exists():
        yield Finding(PLAIN, "shared TEE", f"none at {path}", "optemu serve starts one, optemu run --attach uses it")
        return
    try:
        connect(path).close()
        yield Finding(GOOD, "shared TEE", f"optemu serve answers at {path}")
    except OSError as error:
        yield Finding(PLAIN, "shared TEE", str(error.strerror), "optemu serve starts one in its place")


_LOOKS: tuple[Callable[[], Iterator[Finding]], ...] = (_python, _roads, _foreign, _shared)
