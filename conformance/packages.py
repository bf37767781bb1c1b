"""Fetches the packages of packages.tsv with apt, in a configuration of its own, and unpacks them into a sysroot.

Nothing of the machine's apt is changed: only its Debian mirror is asked for. Everything lands in the cache.
"""

import csv
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from optemu.sdk.toolchain import cache_dir

HERE = Path(__file__).parent
SUITE = "trixie"
_KEYRINGS = ("/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp")
_MIRROR_VARIABLE = "OPTEMU_DEBIAN_MIRROR"
_APT_CONF = """\
APT::Architecture "arm64";
APT::Architectures {{ "arm64"; }};
APT::Sandbox::User "{user}";
Acquire::Languages "none";
Dir::State "{root}/state";
Dir::State::status "{root}/status";
Dir::Cache "{root}/cache";
Dir::Etc::SourceList "{root}/sources.list";
Dir::Etc::SourceParts "-";
Dir::Etc::Parts "-";
Dir::Log "{root}";
"""


class FetchError(Exception):
    """The packages cannot be had; the message says what to do."""


class Package(NamedTuple):
    """``kind`` suite: exactly this one. library: what the suite runs on, of which Debian may have a newer one."""

    name: str
    version: str
    kind: str
    sha256: str


def listed() -> list[Package]:
    with (HERE / "packages.tsv").open() as rows:
        return [Package(*row) for row in list(csv.reader(rows, delimiter="\t"))[1:]]


def sysroot() -> Path:
    """The packages unpacked, fetched now if need be. FetchError."""
    pins = hashlib.sha256((HERE / "packages.tsv").read_bytes()).hexdigest()[:12]
    place = cache_dir() / "conformance" / pins
    root = place / "sysroot"
    if not root.is_dir():
        for tool in ("apt-get", "dpkg"):
            if shutil.which(tool) is None:
                raise FetchError(f"{tool} is not installed here; the packages are fetched with it")
        _unpack(_fetch(place), root)
    return root


def _fetch(place: Path) -> list[Path]:
    print(f"fetching OP-TEE's test suite from Debian {SUITE} (arm64) into {place}", flush=True)
    env = _apt(place / "apt")
    debs = place / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    _run(["apt-get", "update", "-qq"], env, debs)
    return [_download(package, env, debs) for package in listed()]


def _apt(root: Path) -> dict[str, str]:
    """An environment in which apt knows nothing but the arm64 archive."""
    keyring = next((path for path in _KEYRINGS if os.path.exists(path)), None)
    if keyring is None:
        raise FetchError("the Debian archive's keys are missing: apt-get install debian-archive-keyring")
    for directory in ("state/lists/partial", "cache/archives/partial"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    (root / "status").touch()
    (root / "sources.list").write_text(f"deb [signed-by={keyring}] {_mirror()} {SUITE} main\n")
    user = "root" if os.geteuid() == 0 else "_apt"
    (root / "apt.conf").write_text(_APT_CONF.format(root=root, user=user))
    return os.environ | {"APT_CONFIG": str(root / "apt.conf"), "LC_ALL": "C.UTF-8"}


def _mirror() -> str:
    """The Debian mirror that this machine's own apt uses."""
    named = os.environ.get(_MIRROR_VARIABLE)
    if named:
        return named
    uris = _run(["apt-get", "update", "--print-uris"], dict(os.environ), HERE)
    debian = re.findall(r"^'(\S+/debian)/dists/", uris, re.MULTILINE)
    if not debian:
        raise FetchError(f"this machine's apt has no Debian mirror: name one with {_MIRROR_VARIABLE}=URL")
    return debian[0]


def _download(package: Package, env: dict[str, str], debs: Path) -> Path:
    """apt has checked the file against the archive's signature; here against what is pinned."""
    for old in debs.glob(f"{package.name}_*.deb"):
        old.unlink()
    try:
        _run(["apt-get", "download", "-qq", f"{package.name}={package.version}"], env, debs)
    except FetchError:
        if package.kind != "library":
            raise
        _run(["apt-get", "download", "-qq", package.name], env, debs)
    (deb,) = debs.glob(f"{package.name}_*.deb")
    if hashlib.sha256(deb.read_bytes()).hexdigest() != package.sha256:
        if package.kind != "library":
            raise FetchError(f"{deb} is not the file that packages.tsv pins")
        print(f"note: Debian has a newer {package.name} than packages.tsv pins: {deb.name}")
    return deb


def _unpack(debs: list[Path], root: Path) -> None:
    part = root.with_name("sysroot.part")
    shutil.rmtree(part, ignore_errors=True)
    for deb in debs:
        _run(["dpkg", "-x", str(deb), str(part)], dict(os.environ), part.parent)
    if not (part / "lib").exists():
        (part / "lib").symlink_to("usr/lib")
    part.rename(root)


def _run(argv: list[str], env: dict[str, str], cwd: Path) -> str:
    done = subprocess.run(argv, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise FetchError(f"{' '.join(argv)} failed with status {done.returncode}")
    return done.stdout
