"""The directory of what lasts (storage, RPMB), for one machine at a time."""

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import tempfile
from pathlib import Path


class StateInUse(OSError):
    """Another process, or another machine of this one, works on the directory."""

    def __init__(self, path: Path) -> None:
        why = "another optemu works on this state; wait for its end, or name another directory with --state"
        super().__init__(errno.EBUSY, why, str(path))


class StateDir:
    """``given``, locked until ``close``; without it one of this run's own, made when it is needed and removed then.

    The lock is the kernel's (flock) on the directory itself: it ends with its holder, however that ends.
    """

    def __init__(self, given: Path | None) -> None:
        """OSError; StateInUse."""
        self.private = given is None
        self.path = given or Path(tempfile.gettempdir()) / f"optemu-{os.getpid()}-{secrets.token_hex(8)}"
        self._fd = -1 if given is None else _lock(given)

    def close(self) -> None:
        if self._fd >= 0:
            # A child that has just been forked may hold the descriptor as well: closing it would not be enough.
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            os.close(self._fd)
            self._fd = -1
        if self.private:
            shutil.rmtree(self.path, ignore_errors=True)

    def __enter__(self) -> "StateDir":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def make_directory(path: Path, sync: bool = True) -> None:
    """``path``, and what of the way to it is not there; with ``sync``, on the disk as well. OSError."""
    if not path.parent.exists():
        make_directory(path.parent, sync)
    new = not path.exists()
    path.mkdir(mode=0o700, exist_ok=True)
    if new and sync:
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """The names in it are on the disk. OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _lock(path: Path) -> int:
    make_directory(path)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(os.close, fd)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateInUse(path) from None
        on_failure.pop_all()
    return fd
