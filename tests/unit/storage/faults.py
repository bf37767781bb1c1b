"""What can go wrong below storage: the power, a write, a read, the disk. Each at one given file operation.

As tee-supplicant does it upstream, a write and a new file are on the disk when the call returns; that a file was cut
or removed is not, until something else of the same file, or of the directory, is.
"""

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from memory_files import MemoryFiles

from optemu.abi import gp
from optemu.errors import TeeError

POWER_CUTS = ("before", "after", "torn", "unsynced")
"""The power goes before the operation, after it, in the middle of a write, or before the disk has everything."""
ERRORS = ("EIO", "EIO, done", "ENOSPC", "short")
"""The operation fails, fails although it was done, has no room, or reads less than there is."""


class PowerCut(BaseException):
    """Nobody catches this: nothing runs any more."""


@dataclass
class Undo:
    """What is not on the disk yet, and what would be there without it."""

    file: bytearray | None
    undo: Callable[[], object]


class FaultyFiles(MemoryFiles):
    """``fault`` comes at operation number ``at``, counted from 1; 0 for never."""

    def __init__(self, content: dict[bytes, bytes] | None = None, fault: str = "", at: int = 0, seed: int = 0) -> None:
        super().__init__(content)
        self.fault, self.at = fault, at
        self.operations = 0
        self.hit = ""
        """Which operation the fault came at."""
        self._random = random.Random(seed)
        self._unsynced: list[Undo] = []
        self._off = False

    def open(self, name: bytes) -> int:
        return self._do("open", lambda: MemoryFiles.open(self, name))

    def create(self, name: bytes) -> int:
        def create() -> int:
            self._unsynced = [u for u in self._unsynced if u.file is not None]
            return MemoryFiles.create(self, name)

        return self._do("create", create)

    def close(self, fd: int) -> None:
        self._do("close", lambda: MemoryFiles.close(self, fd))

    def read(self, fd: int, offset: int, size: int) -> bytes:
        if self.fault == "short" and self.operations + 1 == self.at:
            size = self._random.randrange(size)
        return self._do("read", lambda: MemoryFiles.read(self, fd, offset, size))

    def write(self, fd: int, offset: int, data: bytes) -> None:
        if self.fault in ("torn", "ENOSPC") and self.operations + 1 == self.at:
            MemoryFiles.write(self, fd, offset, data[: self._random.randrange(len(data))])

        def write() -> None:
            self._unsynced = [u for u in self._unsynced if u.file is not self.open_files[fd]]
            MemoryFiles.write(self, fd, offset, data)

        self._do("write", write)

    def truncate(self, fd: int, size: int) -> None:
        def truncate() -> None:
            file = self.open_files[fd]
            old = bytes(file)
            self._unsynced.append(Undo(file, lambda: file.__setitem__(slice(None), old)))
            MemoryFiles.truncate(self, fd, size)

        self._do("truncate", truncate)

    def remove(self, name: bytes) -> None:
        def remove() -> None:
            old = self.content.get(name)
            MemoryFiles.remove(self, name)
            self._unsynced.append(Undo(None, lambda: self.content.setdefault(name, old)))

        self._do("remove", remove)

    def _do(self, what: str, operation: Callable[[], object]):
        if self._off:
            raise PowerCut
        self.operations += 1
        if self.operations != self.at:
            return operation()
        self.hit = what
        if self.fault in ("after", "EIO, done", "unsynced"):
            with suppress(TeeError):
                operation()
        if self.fault in POWER_CUTS:
            self._power_off()
        if self.fault == "short":
            return operation()
        if self.fault == "ENOSPC" and what in ("write", "create"):
            raise TeeError(gp.TEE_ERROR_STORAGE_NO_SPACE, "no space left")
        raise TeeError(gp.TEE_ERROR_GENERIC, f"{what}: input/output error")

    def _power_off(self) -> None:
        if self.fault == "unsynced":
            for change in reversed(self._unsynced):
                change.undo()
        self._off = True
        raise PowerCut
