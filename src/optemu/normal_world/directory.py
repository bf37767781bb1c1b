"""The files of trusted storage in a directory of this computer, without a machine: for ``optemu storage``.

What the supplicant does for the secure world (supplicant/ree_fs.py), for somebody who calls it directly. The secure
world gives its files plain names, so there are no directories in the directory. Failures are TeeError, as from there.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.normal_world.supplicant.unsynced import Unsynced

_RESULTS: Final = {
    errno.ENOSPC: gp.TEE_ERROR_STORAGE_NO_SPACE,
    errno.ENOENT: gp.TEE_ERROR_ITEM_NOT_FOUND,
    errno.EEXIST: gp.TEE_ERROR_ACCESS_CONFLICT,
}
_FLAGS: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextlib.contextmanager
def _failing(name: object) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise TeeError(_RESULTS.get(e.errno or 0, gp.TEE_ERROR_GENERIC), f"{name}: {e.strerror}") from e


class DirectoryFiles:
    """``Files`` below ``root``; unless they may ``change``, whatever would is TEE_ERROR_ACCESS_DENIED."""

    def __init__(self, root: Path, change: bool = False) -> None:
        """OSError."""
        self.change = change
        self._unsynced = Unsynced()
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def end(self) -> None:
        """OSError when not all of it is on the disk."""
        try:
            self._unsynced.sync()
        finally:
            os.close(self._root)

    def names(self) -> list[str]:
        return sorted(os.listdir(self._root))

    def size_on_disk(self, name: str) -> int:
        """In octets; 0 for what is not there."""
        with contextlib.suppress(FileNotFoundError):
            return os.stat(name, dir_fd=self._root, follow_symlinks=False).st_blocks * 512
        return 0

    def _may_change(self) -> None:
        if not self.change:
            raise TeeError(gp.TEE_ERROR_ACCESS_DENIED, "the store is only read")

    def _open(self, name: bytes, flags: int) -> int:
        if b"/" in name or name in (b"", b".", b".."):
            raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"{name!r} is no name of a file")
        with _failing(os.fsdecode(name)):
            fd = os.open(name, flags | _FLAGS, 0o600, dir_fd=self._root)
        self._unsynced.opened(fd, name)
        return fd

    def open(self, name: bytes) -> int:
        return self._open(name, os.O_RDWR if self.change else os.O_RDONLY)

    def create(self, name: bytes) -> int:
        self._may_change()
        fd = self._open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self._unsynced.renamed(self._root)
        return fd

    def close(self, fd: int) -> None:
        with _failing("closing"):
            try:
                self._unsynced.closing(fd)
            finally:
                os.close(fd)

    def read(self, fd: int, offset: int, size: int) -> bytes:
        parts = []
        with _failing("reading"):
            while size and (part := os.pread(fd, size, offset)):
                parts.append(part)
                offset, size = offset + len(part), size - len(part)
        return b"".join(parts)

    def write(self, fd: int, offset: int, data: bytes) -> None:
        self._may_change()
        with _failing("writing"):
            self._unsynced.write(fd, offset, data)

    def truncate(self, fd: int, size: int) -> None:
        self._may_change()
        with _failing("truncating"):
            os.ftruncate(fd, size)
            self._unsynced.changed(fd)

    def remove(self, name: bytes) -> None:
        self._may_change()
        with _failing(os.fsdecode(name)):
            os.unlink(name, dir_fd=self._root)

    def rename(self, old: bytes, new: bytes, overwrite: bool) -> None:
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, "the REE file system renames no files")
