"""A client process as the driver sees it."""

import errno
from typing import Any


class Process:
    """One megabyte of memory at BASE; ``shms`` is the shared memory it was given."""

    BASE = 0x10000
    pid, euid, egid, groups = 4711, 1000, 1000, (1000, 27)

    def __init__(self) -> None:
        self.memory = bytearray(1 << 20)
        self.shms: list[Any] = []

    def read(self, addr: int, size: int) -> bytes:
        at = addr - self.BASE
        if at < 0 or size < 0 or at + size > len(self.memory):
            raise OSError(errno.EFAULT, "")
        return bytes(self.memory[at : at + size])

    def write(self, addr: int, data: bytes) -> None:
        self.read(addr, len(data))
        self.memory[addr - self.BASE : addr - self.BASE + len(data)] = data

    def install_shm(self, shm: Any) -> int:
        self.shms.append(shm)
        return 100 + len(self.shms)

    def fetch_fd(self, fd: int) -> int:
        raise OSError(errno.EBADF, "")
