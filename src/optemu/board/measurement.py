"""What is in the memory of the trusted OS: here, the Python that the secure world is made of."""

import hashlib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable


@cache
def core_code() -> bytes:
    """SHA-256 over the source of every module of the secure world, in the order of their paths."""
    digest = hashlib.sha256()
    _add(digest, "", files("optemu").joinpath("secure_world"))
    return digest.digest()


def _add(digest: "hashlib._Hash", path: str, at: Traversable) -> None:
    for entry in sorted(at.iterdir(), key=lambda entry: entry.name):
        name = f"{path}/{entry.name}"
        if entry.is_dir():
            _add(digest, name, entry)
        elif name.endswith(".py"):
            source = entry.read_bytes()
            digest.update(f"{name} {len(source)}\n".encode())
            digest.update(source)
