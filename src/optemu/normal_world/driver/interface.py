"""What whoever brings a call asks of the driver, and what the driver sees of the caller: nothing else passes."""

from collections.abc import Sequence
from typing import Protocol


class SharedFd(Protocol):
    """Shared memory a client holds through a descriptor. ``kind`` "memfd": ``fd`` is our memfd of ``size`` bytes.

    ``kind`` "pipe": the memory is the client's own (TEE_IOC_SHM_REGISTER), ``fd`` means nothing, and the
    descriptor only marks its life.
    """

    @property
    def kind(self) -> str: ...
    @property
    def fd(self) -> int: ...
    @property
    def size(self) -> int: ...
    def released(self) -> None:
        """The client's last descriptor and last mapping are gone; called once, from any thread."""


class Task(Protocol):
    """The calling thread of a client process. Identity is read from the kernel each time it is asked for."""

    @property
    def pid(self) -> int: ...
    @property
    def uid(self) -> int: ...
    @property
    def euid(self) -> int: ...
    @property
    def gid(self) -> int: ...
    @property
    def egid(self) -> int: ...
    @property
    def groups(self) -> Sequence[int]: ...
    def read(self, addr: int, size: int) -> bytes:
        """``size`` bytes of the client's memory; OSError(EFAULT)."""

    def write(self, addr: int, data: bytes | bytearray | memoryview) -> None:
        """Honours the client's page protection; OSError(EFAULT)."""

    def install_shm(self, shm: SharedFd) -> int:
        """Gives the client a descriptor of ``shm`` and answers the pending ioctl with its number.

        The last thing a handler does. OSError (EMFILE ...) when the client cannot take it; ``shm.released``
        is then never called.
        """

    def fetch_fd(self, fd: int) -> int:
        """Our own duplicate of the client's descriptor ``fd``; OSError(EBADF)."""


class File(Protocol):
    """An open device: what the kernel's ``struct file`` is to a driver."""

    def ioctl(self, cmd: int, arg: int, task: Task) -> int:
        """Result, or a negative errno. May block the calling thread; several may be inside at once."""

    def interrupted(self, task: Task) -> None:
        """The client thread of a pending call is gone: give the call up. Must not block."""

    def close(self) -> None:
        """The last reference is gone and no ioctl is inside any more."""


class Device(Protocol):
    def open(self, path: str, task: Task) -> File:
        """``path`` is "/dev/tee0" or "/dev/teepriv0"; OSError."""
