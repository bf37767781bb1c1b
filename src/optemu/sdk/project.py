"""What ``optemu build DIR`` builds: DIR/ta, DIR/host, and DIR/optemu-build.toml where something differs.

The file's keys, all optional::

    [ta]
    sources = ["ta/*.c"]
    includes = ["ta/include"] # further include directories; ta, ta/include and include are there already
    cflags = ["-DX=1"]
    ldflags = []
    version = 0               # rollback version in the signed header

    [host]
    name = "hello_world"      # of the client program; default: the name of DIR
    sources = ["host/*.c"]
    includes, cflags, ldflags as above
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from optemu.sdk.toolchain import BuildError

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


@dataclass(frozen=True, slots=True)
class Project:
    """A project directory read; a side that has no sources is None."""

    root: Path
    ta: Part | None
    host: Part | None


def load(root: Path) -> Project:
    """Read ``root``; BuildError says what is missing or malformed."""
    root = root.resolve()
    if not root.is_dir():
        raise BuildError(f"{root} is not a directory")
    config = _config(root / CONFIG_NAME)
    ta = _part(root, "ta", config.get("ta", {}))
    host = _part(root, "host", config.get("host", {}))
    if ta is None and host is None:
        raise BuildError(f"nothing to build: neither {root}/ta nor {root}/host has C files")
    if ta and not any((d / HEADER_DEFINES).is_file() for d in ta.includes):
        raise BuildError(f"{root}/ta needs a {HEADER_DEFINES} with TA_UUID, TA_FLAGS, TA_STACK_SIZE, TA_DATA_SIZE")
    return Project(root, ta, host)


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        config = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise BuildError(f"{path}: {e}") from None
    known = {
        "ta": {"sources", "includes", "cflags", "ldflags", "version"},
        "host": {"name", "sources", "includes", "cflags", "ldflags"},
    }
    for section, keys in config.items():
        if section not in known or not isinstance(keys, dict):
            raise BuildError(f"{path}: unknown section {section!r}, there are [ta] and [host]")
        for key, value in keys.items():
            _check(path, section, key, value, known[section])
    return config


def _check(path: Path, section: str, key: str, value: object, known: set[str]) -> None:
    if key not in known:
        raise BuildError(f"{path}: unknown key {key!r} in [{section}], there are {', '.join(sorted(known))}")
    wanted: type = {"name": str, "version": int}.get(key, list)
    if not isinstance(value, wanted) or (isinstance(value, list) and not all(isinstance(v, str) for v in value)):
        kind = "a list of strings" if wanted is list else f"of type {wanted.__name__}"
        raise BuildError(f"{path}: {key} in [{section}] must be {kind}")


def _part(root: Path, side: str, config: dict[str, Any]) -> Part | None:
    sources = _sources(root, config.get("sources", [f"{side}/*.c"]))
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
    )


def _sources(root: Path, patterns: list[str]) -> list[Path]:
    try:
        return sorted({p for pattern in patterns for p in root.glob(pattern)})
    except (NotImplementedError, ValueError) as e:
        raise BuildError(f"{root / CONFIG_NAME}: sources are patterns relative to {root} ({e})") from None
