"""TA images from the directories of the normal world. Mirrors tee-supplicant/src/teec_ta_load.c."""

import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from optemu.abi import gp

log = logging.getLogger("optemu.normal_world")

DEFAULT_TA_DIRS: Final = (".", "/lib/optee_armtz")
MAX_TA_SIZE: Final = 256 << 20
_CACHE_SIZE: Final = 64 << 20
_RACY_NS: Final = 50_000_000
"""A file changed twice within one tick of the file system's clock keeps its times: trust only older ones."""

_Key = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class TaSearch:
    """A search that found no image: the TA's UUID (octets), and each path tried with what was wrong there."""

    uuid: bytes
    tried: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        lines = [f"  {path}: {reason}" for path, reason in self.tried]
        return "\n".join([f"TA {gp.uuid_str(self.uuid)} was not found; searched", *lines])


class _Unusable(Exception):
    """A file that is there but is no image; the text says why."""


class TaDirs:
    """``DIR/UUID.ta`` in the first of several directories, its content kept as long as the file is the same.

    A file's name is made of the UUID only, so no request can leave the directories. ``clock`` is
    nanoseconds since 1970.
    """

    def __init__(
        self, directories: Sequence[str | Path] = DEFAULT_TA_DIRS, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.directories = tuple(os.path.abspath(directory) for directory in directories)
        self.last_failure: TaSearch | None = None
        self._clock = clock
        self._cache: dict[_Key, bytes] = {}
        self._lock = threading.Lock()

    def load(self, uuid: bytes) -> bytes | None:
        """The image of the TA with these 16 octets; None (and ``last_failure``) when no directory has it."""
        tried: list[tuple[str, str]] = []
        absent = True
        for directory in self.directories:
            path = f"{directory}/{gp.uuid_str(uuid)}.ta"
            try:
                return self._content(path)
            except OSError as error:
                tried.append((path, error.strerror or str(error)))
                absent = absent and isinstance(error, FileNotFoundError)
            except _Unusable as error:
                tried.append((path, str(error)))
                absent = False
        self.last_failure = TaSearch(uuid, tuple(tried))
        hint = f"\ngive the directory that holds {gp.uuid_str(uuid)}.ta with --ta-dir" if absent else ""
        log.warning("%s%s", self.last_failure, hint)
        return None

    def _content(self, path: str) -> bytes:
        content = self._cache.get(_key(os.stat(path)))
        return self._read(path) if content is None else content

    def _read(self, path: str) -> bytes:
        # Without O_NONBLOCK a fifo of that name would hold us for ever.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            now = self._clock()
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise _Unusable("is not a regular file")
            if status.st_size > MAX_TA_SIZE:
                raise _Unusable(f"has {status.st_size} bytes, more than {MAX_TA_SIZE}")
            content = os.read(fd, status.st_size + 1)
        finally:
            os.close(fd)
        if len(content) == status.st_size and now - max(status.st_mtime_ns, status.st_ctime_ns) > _RACY_NS:
            self._keep(_key(status), content)
        return content

    def _keep(self, key: _Key, content: bytes) -> None:
        with self._lock:
            self._cache[key] = content
            total = sum(map(len, self._cache.values()))
            while total > _CACHE_SIZE:
                total -= len(self._cache.pop(next(iter(self._cache))))


def _key(status: os.stat_result) -> _Key:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
