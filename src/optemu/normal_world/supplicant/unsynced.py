"""Files that survive a power cut, at the price of one or two waits for the disk per commit.

Upstream's supplicant opens files with O_SYNC: each of a dozen writes waits. What the secure world relies on is less:
an object's file, and all of dirf.db but its first block, are on the disk before that block, the head of the directory
of objects, is written; and that is before the answer.
"""

import os
import threading
from typing import Final

from optemu.abi.fs_htree import DIRFILE_NAME, REE_FS_BLOCK_SIZE

_HEAD_SIZE: Final = REE_FS_BLOCK_SIZE


class Unsynced:
    """What has been written and may not be on the disk yet. Files are descriptors; failures are OSError."""

    def __init__(self) -> None:
        # Held while waiting for the disk. What is added to a set meanwhile is found now or the next time.
        self._lock = threading.Lock()
        self._files: set[int] = set()
        self._directories: set[int] = set()
        """Those in which names have changed: descriptors of our own."""
        self._heads: set[int] = set()
        """Those of ``_files`` and others that are directories of objects."""

    def opened(self, fd: int, name: bytes) -> None:
        if name == DIRFILE_NAME:
            self._heads.add(fd)

    def changed(self, fd: int) -> None:
        """The file has another size."""
        self._files.add(fd)

    def renamed(self, directory: int) -> None:
        """Names have changed there."""
        self._directories.add(os.dup(directory))

    def write(self, fd: int, offset: int, data: bytes | memoryview) -> None:
        """All of ``data`` at ``offset``; a commit if that is the head of all objects."""
        commit = fd in self._heads and offset < _HEAD_SIZE
        if commit:
            self.sync()
        try:
            write_all(fd, offset, data)
        finally:
            self._files.add(fd)
        if commit:
            self.sync()

    def closing(self, fd: int) -> None:
        """Before ``fd`` is closed."""
        try:
            if fd in self._files:
                self.sync()
        finally:
            with self._lock:
                self._files.discard(fd)
                self._heads.discard(fd)

    def sync(self) -> None:
        """All of it is on the disk."""
        with self._lock:
            while self._files:
                os.fdatasync(self._files.pop())
            while self._directories:
                fd = self._directories.pop()
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)


def write_all(fd: int, offset: int, data: bytes | memoryview) -> None:
    """All of ``data`` at ``offset`` of the file, however few octets the kernel takes at a time. OSError."""
    while data:
        count = os.pwrite(fd, data, offset)
        data, offset = data[count:], offset + count
