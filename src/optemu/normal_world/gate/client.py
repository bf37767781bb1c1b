"""A client thread as the driver sees it: its memory, its identity, its descriptors."""

import errno
import fcntl
import os
from collections.abc import Sequence
from typing import Protocol

from optemu.normal_world.driver.interface import SharedFd
from optemu.normal_world.gate import kernel
from optemu.normal_world.gate.memory import ClientMemory, fault


class Installer(Protocol):
    """Makes the descriptor a client is given for shared memory, and watches for its end."""

    def lend(self, shm: SharedFd) -> int: ...
    def lent(self, shm: SharedFd, fd: int, accepted: bool) -> None: ...


def add_fd(listener: int, call: int, fd: int, cloexec: bool) -> int:
    """Installs our ``fd`` in the client and answers its pending ``call`` with the number. OSError, unanswered."""
    flags = os.O_CLOEXEC if cloexec else 0
    argument = bytearray(kernel.NOTIF_ADDFD_ARG.pack(call, kernel.ADDFD_FLAG_SEND, fd, 0, flags))
    while True:
        try:
            number: int = fcntl.ioctl(listener, kernel.NOTIF_ADDFD, argument)
            return number
        except InterruptedError:
            continue


def call_is_alive(listener: int, call: int) -> bool:
    """Whether the client still waits in this call: a killed one does not."""
    try:
        fcntl.ioctl(listener, kernel.NOTIF_ID_VALID, kernel.NOTIF_ID.pack(call))
    except OSError:
        return False
    return True


class Client(ClientMemory):
    """One thread of a client process; kept between its calls, with ``call`` the one being served or 0."""

    __slots__ = ("_installer", "_listener", "answered", "call", "fds")

    def __init__(self, tid: int, listener: int, installer: Installer) -> None:
        """OSError when the thread is gone or must not be looked into."""
        self.fds = -1
        super().__init__(tid)
        self.fds = os.open(f"/proc/{tid}/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._listener = listener
        self._installer = installer
        self.call = 0
        self.answered = False

    def close(self) -> None:
        super().close()
        if self.fds >= 0:
            os.close(self.fds)
            self.fds = -1

    def is_gone(self) -> bool:
        """The thread has ended (its number may be in use again, for another)."""
        try:
            return os.stat(f"/proc/{self.tid}/fd").st_ino != os.fstat(self.fds).st_ino
        except OSError:
            return True

    def confirm(self) -> None:
        if not call_is_alive(self._listener, self.call):
            fault()

    def _status(self, field: str) -> list[int]:
        """A line of numbers from /proc/TID/status."""
        with open(f"/proc/{self.tid}/status") as status:
            for line in status:
                name, _, values = line.partition(":")
                if name == field:
                    return [int(value) for value in values.split()]
        return []

    @property
    def pid(self) -> int:
        return self._status("Tgid")[0]

    @property
    def uid(self) -> int:
        return self._status("Uid")[0]

    @property
    def euid(self) -> int:
        return self._status("Uid")[1]

    @property
    def gid(self) -> int:
        return self._status("Gid")[0]

    @property
    def egid(self) -> int:
        return self._status("Gid")[1]

    @property
    def groups(self) -> Sequence[int]:
        return self._status("Groups")

    def install_shm(self, shm: SharedFd) -> int:
        fd = self._installer.lend(shm)
        accepted = False
        try:
            number = add_fd(self._listener, self.call, fd, cloexec=True)
            accepted = self.answered = True
        finally:
            self._installer.lent(shm, fd, accepted)
        return number

    def fetch_fd(self, fd: int) -> int:
        if not 0 <= fd < 1 << 31:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        pidfd = os.pidfd_open(self.pid)
        try:
            return kernel.pidfd_getfd(pidfd, fd)
        finally:
            os.close(pidfd)
