"""Whoever calls the driver, as the driver sees it."""

from typing import Protocol


class SharedFd(Protocol):
    """Shared memory handed to a process as a descriptor."""

    fd: int
    """A memfd in our process; -1 when there is nothing to map (memory the process registered itself)."""
    size: int

    def released(self) -> None:
        """The process's last reference to the descriptor, and mapping of it, is gone."""


class Task(Protocol):
    """The calling process: its identity, its memory, its descriptors."""

    pid: int
    uid: int
    euid: int
    gid: int
    egid: int
    groups: tuple[int, ...]

    def read(self, addr: int, size: int) -> bytes:
        """Bytes of the process's memory; OSError(EFAULT)."""

    def write(self, addr: int, data: bytes) -> None:
        """Store into the process's memory; OSError(EFAULT)."""

    def install_shm(self, shm: SharedFd) -> int:
        """Give the process a descriptor; its number there, or OSError(EMFILE, ...)."""

    def fetch_fd(self, fd: int) -> int:
        """Our own duplicate of one of its descriptors; OSError(EBADF)."""
