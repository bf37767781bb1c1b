"""Whoever calls the driver, as the driver sees it."""

from collections.abc import Sequence
from typing import Protocol


class SharedFd(Protocol):
    """Shared memory handed to a process as a descriptor."""

    @property
    def kind(self) -> str:
        """``memfd``, or ``pipe`` for a descriptor that only marks the life of memory of the process's own."""

    @property
    def fd(self) -> int:
        """A memfd in our process; -1 for a pipe."""

    @property
    def size(self) -> int: ...

    def released(self) -> None:
        """The process's last reference to the descriptor, and mapping of it, is gone."""


class Task(Protocol):
    """The calling process: its identity, its memory, its descriptors."""

    @property
    def pid(self) -> int: ...

    @property
    def euid(self) -> int: ...

    @property
    def egid(self) -> int: ...

    @property
    def groups(self) -> Sequence[int]: ...

    def read(self, addr: int, size: int) -> bytes:
        """Bytes of the process's memory; OSError(EFAULT)."""

    def write(self, addr: int, data: bytes) -> None:
        """Store into the process's memory; OSError(EFAULT)."""

    def install_shm(self, shm: SharedFd) -> int:
        """Give the process a descriptor; its number there, or OSError(EMFILE, ...)."""

    def fetch_fd(self, fd: int) -> int:
        """Our own duplicate of one of its descriptors; OSError(EBADF)."""
