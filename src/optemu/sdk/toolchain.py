"""The C cross compiler from the ziglang wheel: one wheel, x86-64, AArch64 and Arm32.

``zig clang`` and ``zig ld.lld`` build TAs (``zig cc`` refuses --dynamic-list); ``zig cc`` builds clients, because
it brings the C library along.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

SDK: Final = Path(__file__).parent
_OLDEST_GLIBC: Final = "2.17"
Say = Callable[[str], None]


class BuildError(Exception):
    """The build stopped; the message is for the user (compiler messages are already on stderr)."""


def cache_dir() -> Path:
    """Where compiled runtimes and zig's C libraries are kept: XDG_CACHE_HOME/optemu."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "optemu"


def _zig_home() -> Path:
    spec = importlib.util.find_spec("ziglang")
    if spec is None or not spec.submodule_search_locations:
        raise BuildError("building C needs the compiler in the ziglang wheel: pip install 'optemu[sdk]'")
    return Path(next(iter(spec.submodule_search_locations)))


@dataclass(frozen=True, slots=True)
class Target:
    """An instruction set TAs are built for."""

    name: str
    triple: str
    cflags: tuple[str, ...]
    emulation: str


AARCH64: Final = Target(
    "aarch64",
    "aarch64-linux-gnu",
    ("-mstrict-align", "-mno-outline-atomics", "-mno-omit-leaf-frame-pointer"),
    "aarch64linux",
)
ARM: Final = Target(
    "arm",
    "arm-linux-gnueabihf",
    ("-mcpu=cortex-a9", "-mthumb", "-funwind-tables"),
    "armelf_linux_eabi",
)
TARGETS: Final = {target.name: target for target in (AARCH64, ARM)}


@dataclass(slots=True)
class Toolchain:
    """Runs the tools. ``verbose`` prints every command line."""

    say: Say
    verbose: bool = False
    home: Path = field(default_factory=_zig_home)

    @property
    def version(self) -> str:
        return importlib.metadata.version("ziglang")

    def run(self, tool: str, args: Sequence[str | Path], cwd: Path | None = None) -> None:
        """One tool; BuildError when it fails. What it prints goes where our own output goes."""
        argv = [str(self.home / "zig"), tool, *map(str, args)]
        if self.verbose:
            self.say(" ".join(argv))
        zig_cache = str(cache_dir() / "zig")
        env = os.environ | {"ZIG_GLOBAL_CACHE_DIR": zig_cache, "ZIG_LOCAL_CACHE_DIR": zig_cache}
        status = subprocess.run(argv, cwd=cwd, env=env, check=False).returncode
        if status:
            raise BuildError(f"{tool} failed with status {status}")

    def ta_cflags(self, target: Target, branch_protection: str = "") -> list[str]:
        """Flags for everything that becomes part of a TA or of its libraries."""
        return [
            *([f"-mbranch-protection={branch_protection}"] if branch_protection else []),
            f"--target={target.triple}",
            *target.cflags,
            "-std=gnu11",
            "-ffreestanding",
            "-fno-builtin",
            "-nostdinc",
            *("-isystem", str(SDK / "include" / "ta")),
            *("-isystem", str(self.home / "lib" / "include")),
            "-fPIC",
            "-O2",
            "-g",
            "-fno-omit-frame-pointer",
            "-fno-stack-protector",
            "-ffunction-sections",
            "-fdata-sections",
        ]


def runtime_objects(tools: Toolchain, target: Target, branch_protection: str = "") -> list[Path]:
    """The runtime library, compiled on first use and whenever its sources, flags or compiler change."""
    sources = sorted(p for p in (SDK / "runtime").iterdir() if _is_library_source(p, target))
    flags = [*tools.ta_cflags(target, branch_protection), "-Wall", "-Wextra", "-Wno-sign-compare"]
    out = cache_dir() / f"sdk-{_digest(tools, flags)}"
    objects = [out / f"{p.stem}.o" for p in sources]
    if not out.is_dir():
        tools.say(f"  CC    runtime ({target.name}) into {out}")
        part = out.with_name(f"{out.name}.{os.getpid()}")
        part.mkdir(parents=True, exist_ok=True)
        tools.run("clang", [*flags, "-c", *sources], cwd=part)
        _move_into_place(part, out)
    return objects


def preload_library(tools: Toolchain, machine: str) -> Path:
    """The library that makes programs for ``machine`` reach optemu, compiled on first use. BuildError."""
    flags = ["-target", f"{machine}-linux-gnu.{_OLDEST_GLIBC}", "-O2", "-fPIC", "-shared", "-fvisibility=hidden"]
    flags += ["-Wall", "-Wextra"]
    out = cache_dir() / f"preload-{machine}-{_digest(tools, flags, ['preload'])}"
    name = "liboptemu-preload.so"
    if not out.is_dir():
        tools.say(f"  CC    preload library ({machine}) into {out}")
        part = out.with_name(f"{out.name}.{os.getpid()}")
        part.mkdir(parents=True, exist_ok=True)
        sources = sorted((SDK / "preload").glob("*.c"))
        tools.run("cc", [*flags, *sources, "-ldl", "-lpthread", "-o", name], cwd=part)
        _move_into_place(part, out)
    return out / name


def _is_library_source(path: Path, target: Target) -> bool:
    if path.name == "user_ta_header.c":
        return False
    return path.suffix == ".c" or path.name.endswith({"aarch64": "_a64.S", "arm": "_a32.S"}[target.name])


def _digest(tools: Toolchain, flags: Sequence[str], trees: Sequence[str] = ("include/ta", "runtime")) -> str:
    h = hashlib.sha256("\0".join([tools.version, *flags]).encode())
    for tree in trees:
        for p in sorted((SDK / tree).rglob("*")):
            if p.is_file():
                h.update(f"{p.relative_to(SDK)}\0".encode())
                h.update(p.read_bytes())
    return h.hexdigest()[:16]


def _move_into_place(part: Path, out: Path) -> None:
    """Another build may have been faster: then its result, which is the same, stays."""
    try:
        part.rename(out)
    except OSError:
        if not out.is_dir():
            raise
        for p in part.iterdir():
            p.unlink()
        part.rmdir()


def client_triple(libc: str) -> str:
    """The zig target of client programs: this machine, with the C library named (``gnu`` or ``musl``)."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine())
    return f"{machine}-linux-{libc}"


def default_libc() -> str:
    """``gnu``, linked dynamically, where that is the system's own; elsewhere ``musl``, static.

    zig compiles musl whole on first use, which takes a minute against five seconds.
    """
    return "gnu" if platform.libc_ver()[0] == "glibc" else "musl"
