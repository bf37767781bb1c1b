"""What ``optemu build DIR`` builds: DIR/ta, DIR/host, and DIR/optemu-build.toml where something differs.

The file's keys, all optional::

    [ta]
    arch = "aarch64"          # or "arm"
    branch_protection = ""    # "bti", "pac-ret" or "standard" (both), AArch64 only
    sources = ["ta/*.c", "ta/*.S"]
    includes = ["ta/include"] # further include directories; ta, ta/include and include are there already
    cflags = ["-DX=1"]
    ldflags = []
    version = 0               # rollback version in the signed header
    ftrace = false            # true: calls of its functions are traced, into ftrace-UUID.out in the state directory

    [[lib]]                   # as many as there are shared libraries
    uuid = "12345678-1234-1234-1234-123456789abc"
    link = true               # the TA is linked with it; false: it opens it with dlopen()
    sources = ["lib/*.c"]     # and includes, cflags, ldflags, version

    [host]
    name = "hello_world"      # of the client program; default: the name of DIR
    sources = ["host/*.c"]
    includes, cflags, ldflags as above
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from optemu.abi import gp
from optemu.sdk.toolchain import TARGETS, BuildError

CONFIG_NAME: Final = "optemu-build.toml"
HEADER_DEFINES: Final = "user_ta_header_defines.h"


@dataclass(frozen=True, slots=True)
class Part:
    """One side of a project, TA or client. Paths are absolute."""

    name: str
    sources: list[Path]
    includes: list[Path]
    cflags: list[str]
    ldflags: list[str]
    version: int = 0
    arch: str = "aarch64"
    branch_protection: str = ""
    ftrace: bool = False


@dataclass(frozen=True, slots=True)
class Library:
    """A shared library of the TA, in a signed image of its own."""

    uuid: str
    link: bool
    part: Part


@dataclass(frozen=True, slots=True)
class Project:
    """A project directory read; a side that has no sources is None."""

    root: Path
    ta: Part | None
    host: Part | None
    libs: tuple[Library, ...] = ()


def load(root: Path) -> Project:
    """Read ``root``; BuildError says what is missing or malformed."""
    root = root.resolve()
    if not root.is_dir():
        raise BuildError(f"{root} is not a directory")
    config = _config(root / CONFIG_NAME)
    ta = _part(root, "ta", config.get("ta", {}))
    host = _part(root, "host", config.get("host", {}))
    if ta and ta.ftrace and ta.branch_protection not in ("", "bti"):
        why = f"ftrace replaces the return addresses that branch_protection = {ta.branch_protection!r} signs"
        raise BuildError(f"{root / CONFIG_NAME}: {why}: leave one of them out")
    libs = tuple(_library(root, lib) for lib in config.get("lib", []))
    if ta is None and host is None and not libs:
        raise BuildError(f"nothing to build: neither {root}/ta nor {root}/host has C files")
    if ta and not any((d / HEADER_DEFINES).is_file() for d in ta.includes):
        raise BuildError(f"{root}/ta needs a {HEADER_DEFINES} with TA_UUID, TA_FLAGS, TA_STACK_SIZE, TA_DATA_SIZE")
    return Project(root, ta, host, libs)


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        config = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise BuildError(f"{path}: {e}") from None
    for section, content in config.items():
        tables = content if section == "lib" and isinstance(content, list) else [content]
        if section not in _KNOWN or (section == "lib") != isinstance(content, list):
            raise BuildError(f"{path}: unknown section {section!r}, there are [ta], [host] and [[lib]]")
        for table in tables:
            if not isinstance(table, dict):
                raise BuildError(f"{path}: unknown section {section!r}, there are [ta], [host] and [[lib]]")
            for key, value in table.items():
                _check(path, section, key, value)
    return config


_KNOWN: Final = {
    "ta": {"sources", "includes", "cflags", "ldflags", "version", "arch", "branch_protection", "ftrace"},
    "host": {"name", "sources", "includes", "cflags", "ldflags"},
    "lib": {"uuid", "link", "sources", "includes", "cflags", "ldflags", "version"},
}
_TYPES: Final[dict[str, type]] = {
    "name": str,
    "version": int,
    "arch": str,
    "branch_protection": str,
    "ftrace": bool,
    "uuid": str,
    "link": bool,
}
_CHOICES: Final = {"arch": tuple(TARGETS), "branch_protection": ("", "bti", "pac-ret", "standard")}


def _check(path: Path, section: str, key: str, value: object) -> None:
    known = _KNOWN[section]
    if key not in known:
        raise BuildError(f"{path}: unknown key {key!r} in [{section}], there are {', '.join(sorted(known))}")
    wanted = _TYPES.get(key, list)
    if not isinstance(value, wanted) or (isinstance(value, list) and not all(isinstance(v, str) for v in value)):
        kind = "a list of strings" if wanted is list else f"of type {wanted.__name__}"
        raise BuildError(f"{path}: {key} in [{section}] must be {kind}")
    choices = _CHOICES.get(key)
    if choices and value not in choices:
        raise BuildError(f"{path}: {key} in [{section}] must be one of {', '.join(map(repr, choices))}")


def _part(root: Path, side: str, config: dict[str, Any]) -> Part | None:
    sources = _sources(root, config.get("sources", [f"{side}/*.c", f"{side}/*.S"]))
    if not sources:
        return None
    names = [side, f"{side}/include", "ta/include", "include", *config.get("includes", [])]
    includes = [root / name for name in dict.fromkeys(names) if (root / name).is_dir()]
    return Part(
        config.get("name", root.name if side == "host" else "ta"),
        sources,
        includes,
        config.get("cflags", []),
        config.get("ldflags", []),
        config.get("version", 0),
        config.get("arch", "aarch64"),
        config.get("branch_protection", ""),
        config.get("ftrace", False),
    )


def _library(root: Path, config: dict[str, Any]) -> Library:
    part = _part(root, "lib", config)
    path = root / CONFIG_NAME
    try:
        uuid = gp.uuid_str(gp.uuid_octets(config.get("uuid", "")))
    except ValueError as e:
        raise BuildError(f"{path}: a [[lib]] is known by its uuid ({e})") from None
    if part is None:
        raise BuildError(f"{path}: the [[lib]] {uuid} has no sources")
    return Library(uuid, config.get("link", True), part)


def _sources(root: Path, patterns: list[str]) -> list[Path]:
    try:
        return sorted({p for pattern in patterns for p in root.glob(pattern)})
    except (NotImplementedError, ValueError) as e:
        raise BuildError(f"{root / CONFIG_NAME}: sources are patterns relative to {root} ({e})") from None
