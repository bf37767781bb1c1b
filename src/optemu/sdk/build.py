"""The build driver: sources of a TA and its client to ``<uuid>.ta`` and a program."""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from optemu import sign
from optemu.abi import elf, gp
from optemu.abi.ftrace import FTRACE_INFO_SYMBOL
from optemu.abi.ta_head import TA_HEAD, parse_ta_head
from optemu.sdk import project
from optemu.sdk.project import Library, Part
from optemu.sdk.toolchain import (
    AARCH64,
    SDK,
    TARGETS,
    BuildError,
    Say,
    Target,
    Toolchain,
    cache_dir,
    client_triple,
    default_libc,
    runtime_objects,
)

__all__ = ["BuildError", "Built", "Options", "build", "default_libc"]

# Symbols a TA shows to the loader, as OP-TEE's do.
_EXPORTED: Final = ("__elf_phdr_info", "ta_head", "trace_level", "trace_ext_prefix")
_LDFLAGS: Final = (
    *("-z", "max-page-size=4096", "-z", "norelro", "-z", "text"),
    *("--hash-style=sysv", "--gc-sections", "--build-id=none"),
)
_TA_LDFLAGS: Final = ("-pie", "-e", "__ta_entry", "--no-rosegment", "--no-undefined", *_LDFLAGS)
_FTRACE_CFLAGS: Final = ("-pg", "-DCFG_FTRACE_SUPPORT")
# Segments share no page of the file: OP-TEE's loader cannot map it twice.
_LIB_LDFLAGS: Final = ("-shared", "-z", "separate-loadable-segments", *_LDFLAGS)


@dataclass(frozen=True, slots=True)
class Options:
    """How to build. ``defines`` are NAME or NAME=VALUE, for TA and client; ``libc`` is gnu or musl."""

    out: Path | None = None
    key: Path = sign.DEV_KEY
    algo: str = "pss"
    log_level: int = 2
    libc: str = field(default_factory=default_libc)
    defines: tuple[str, ...] = ()
    target: Target | None = None
    """None: as the project says."""
    ta: bool = True
    host: bool = True
    verbose: bool = False


@dataclass(frozen=True, slots=True)
class Built:
    """What came out; None for what was not asked for or has no sources."""

    uuid: str | None
    ta: Path | None
    elf: Path | None
    client: Path | None
    libs: tuple[Path, ...] = ()
    """The signed images of the TA's shared libraries."""


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def build(root: Path, options: Options | None = None, say: Say = _say) -> Built:
    """Build the project in ``root``; see ``project`` for its layout.

    Writes ``<uuid>.ta`` (signed) and ``<uuid>.elf`` (with symbols) of the TA and of each of its libraries, and the
    client, into ``options.out``, by default ``root/out``. Only what changed is compiled again. BuildError when
    anything fails.
    """
    options = options or Options()
    proj = project.load(root)
    key = sign.load_private_key(options.key)
    tools = Toolchain(say, options.verbose)
    job = _Job(tools, options, (options.out or proj.root / "out").resolve(), proj.root)
    job.out.mkdir(parents=True, exist_ok=True)
    client = job.client(proj.host) if proj.host and options.host else None
    if not options.ta:
        return Built(None, None, None, client)

    def signed(elf: bytes, uuid: bytes, version: int) -> Path:
        ta = job.out / f"{gp.uuid_str(uuid)}.ta"
        say(f"  SIGN  {ta.name}")
        ta.write_bytes(sign.sign_ta(elf, uuid, key, sign.SIG_ALGOS[options.algo], version))
        return ta

    needed, libs = [], []
    for lib in proj.libs:
        unstripped, stripped = job.link_lib(lib, proj.ta)
        libs.append(signed(stripped, gp.uuid_octets(lib.uuid), lib.part.version))
        linked = unstripped.replace(job.out / f"{lib.uuid}.elf")
        needed += [linked] if lib.link else []
    if proj.ta is None:
        return Built(None, None, None, client, tuple(libs))
    unstripped, stripped = job.link_ta(proj.ta, needed, bool(proj.libs))
    uuid = _ta_uuid(stripped)
    ta = signed(stripped, uuid, proj.ta.version)
    name = gp.uuid_str(uuid)
    return Built(name, ta, unstripped.replace(job.out / f"{name}.elf"), client, tuple(libs))


@dataclass(frozen=True, slots=True)
class _Job:
    tools: Toolchain
    options: Options
    out: Path
    root: Path

    def _shown(self, path: Path) -> str:
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else path.name

    def compile(self, tool: str, side: str, source: Path, flags: Sequence[str]) -> Path:
        """One object file, unless it is newer than all it was made from and the command is the same."""
        tag = hashlib.sha256(f"{source}".encode()).hexdigest()[:8]
        obj = self.out / "obj" / side / f"{source.stem}-{tag}.o"
        command = f"{self.tools.version}\0" + "\0".join(flags)
        if not _up_to_date(obj, command):
            obj.parent.mkdir(parents=True, exist_ok=True)
            obj.unlink(missing_ok=True)
            self.tools.say(f"  CC    {self._shown(source)}")
            deps = obj.with_suffix(".d")
            self.tools.run(tool, [*flags, "-MD", "-MF", deps, "-c", source, "-o", obj])
            obj.with_suffix(".cmd").write_text(command)
        return obj

    def _flags(self, part: Part) -> list[str]:
        flags = [f"-I{d}" for d in part.includes]
        return [*flags, "-Wall", *(f"-D{d}" for d in self.options.defines), *part.cflags]

    def _ta_flags(self, ta: Part | None) -> tuple[Target, str, list[str]]:
        """What the TA and its libraries are compiled for, and how: target, branch protection, flags."""
        target = self.options.target or TARGETS[ta.arch if ta else AARCH64.name]
        protection = ta.branch_protection if ta and target is AARCH64 else ""
        flags = self.tools.ta_cflags(target, protection)
        return target, protection, [*flags, f"-DTRACE_LEVEL={self.options.log_level}"]

    def _link(self, side: str, args: Sequence[str | Path]) -> tuple[Path, bytes]:
        """The ELF file with symbols, and the stripped one's contents."""
        work = self.out / "obj" / side
        unstripped, stripped = work / f"{side}.elf", work / f"{side}.stripped.elf"
        self.tools.say(f"  LD    {side}")
        self.tools.run("ld.lld", [*args, "-o", unstripped])
        self.tools.run("ld.lld", [*args, "-s", "-o", stripped])
        return unstripped, stripped.read_bytes()

    def link_ta(self, part: Part, libs: Sequence[Path], open_house: bool) -> tuple[Path, bytes]:
        """The TA, with ``libs`` it needs. ``open_house``: libraries find everything in it.

        They have copies of what they use of the runtime, but the loader takes the TA's: so there is one heap, one
        block of thread-local storage, one of everything.
        """
        target, protection, base = self._ta_flags(part)
        runtime = runtime_objects(self.tools, target, protection)
        flags = [*base, *(_FTRACE_CFLAGS if part.ftrace else ()), *self._flags(part)]
        objects = [self.compile("clang", "ta", s, flags) for s in part.sources]
        objects.append(self.compile("clang", "ta", SDK / "runtime" / "user_ta_header.c", flags))
        exported = self.out / "obj" / "ta" / "exported.txt"
        names = (*_EXPORTED, *([FTRACE_INFO_SYMBOL] if part.ftrace else []))
        exported.write_text("{\n" + "".join(f"{name};\n" for name in names) + "};\n")
        args: list[str | Path] = ["-m", target.emulation, "-T", SDK / "ta.ld", "--dynamic-list", exported, *_TA_LDFLAGS]
        args += [*_force_bti(protection), *(["--export-dynamic"] if open_house else []), *part.ldflags]
        return self._link("ta", [*args, *objects, "--start-lib", *runtime, "--end-lib", "--as-needed", *libs])

    def link_lib(self, lib: Library, ta: Part | None) -> tuple[Path, bytes]:
        """A shared library, named by its UUID. What it does not define it finds in the TA, or it cannot be loaded."""
        target, protection, base = self._ta_flags(ta)
        runtime = runtime_objects(self.tools, target, protection)
        flags = [*base, *self._flags(lib.part)]
        objects = [self.compile("clang", lib.uuid, s, flags) for s in lib.part.sources]
        args: list[str | Path] = ["-m", target.emulation, f"--soname={lib.uuid}", *_LIB_LDFLAGS]
        args += [*_force_bti(protection), *lib.part.ldflags]
        return self._link(lib.uuid, [*args, *objects, "--start-lib", *runtime, "--end-lib"])

    def client(self, part: Part) -> Path:
        """The client program, with our libteec in it."""
        libc = self.options.libc
        triple = client_triple(libc)
        self._announce_libc(triple)
        base = ["-target", triple, "-O2", "-g", f"-I{SDK / 'include' / 'client'}", *self._flags(part)]
        objects = [self.compile("cc", "host", s, base) for s in part.sources]
        libteec = [self.compile("cc", "host", s, base) for s in sorted((SDK / "libteec").glob("*.c"))]
        program = self.out / part.name
        self.tools.say(f"  LD    {program.name}")
        static = ["-static"] if libc == "musl" else []
        self.tools.run("cc", ["-target", triple, "-O2", *static, *objects, *libteec, *part.ldflags, "-o", program])
        return program

    def _announce_libc(self, triple: str) -> None:
        stamp = cache_dir() / f"{triple}.seen"
        if not stamp.exists():
            how_long = "a minute" if triple.endswith("musl") else "a few seconds"
            self.tools.say(f"  CC    C library for {triple}, this first time ({how_long})")
            stamp.parent.mkdir(parents=True, exist_ok=True)
            stamp.touch()


def _force_bti(protection: str) -> list[str]:
    return ["-z", "force-bti"] if protection in ("bti", "standard") else []


def _up_to_date(obj: Path, command: str) -> bool:
    try:
        if obj.with_suffix(".cmd").read_text() != command:
            return False
        made = obj.stat().st_mtime_ns
        return all(Path(d).stat().st_mtime_ns <= made for d in _dependencies(obj.with_suffix(".d")))
    except OSError:
        return False


def _dependencies(path: Path) -> list[str]:
    """The prerequisites in a make rule as compilers write it: blanks in names escaped by a backslash."""
    _, _, names = path.read_text().replace("\\\n", " ").partition(": ")
    return [n.replace("\0", " ") for n in names.replace("\\ ", "\0").split()]


def _ta_uuid(image: bytes) -> bytes:
    """The UUID in section .ta_head of a TA just linked (RFC 4122 octets)."""
    for name, start, size in _sections(image):
        if name == b".ta_head" and size == TA_HEAD.size:
            return parse_ta_head(image[start : start + size]).uuid
    raise BuildError("the TA has no .ta_head section")


def _sections(image: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, file offset and size of each section of an ELF file made here."""
    layout = elf.ELF64 if image[4] == 2 else elf.ELF32
    ehdr = layout.ehdr.unpack_from(image)
    shoff, count, strings = ehdr[6], ehdr[12], ehdr[13]
    table = [layout.shdr.unpack_from(image, shoff + i * layout.shdr.size) for i in range(count)]
    names = table[strings][4]
    for sh_name, _, _, _, offset, size, *_ in table:
        start = names + sh_name
        yield image[start : image.index(0, start)], offset, size
