"""What an emulated RPMB partition remembers, in one file: key, write counter, and data in blocks of 256 octets.

The file is a head, two slots for records, and the image of the data. Each change is a record first: it has a number,
key and counter, the blocks that change and where they go, and a digest over all that; only when it is on the disk
are the blocks written in their places. The newest record whose digest is right says what the partition is, and its
blocks are put in place again when the file is opened. So a write that tore, of this process or of the host, leaves
what was before it or what is after it.
"""

import contextlib
import fcntl
import hashlib
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from optemu.abi import rpmb as abi
from optemu.normal_world.state import make_directory, sync_directory

_MAGIC: Final = b"optemu RPMB 1\n\0\0"
# Magic, rpmb_size_mult; the rest of the first page is zeros.
_HEAD: Final = struct.Struct("<16sI")
# Number, write counter, has it a key, the key, first block, blocks; their data and a SHA-256 digest follow.
_RECORD: Final = struct.Struct("<QI?32sHH")
_DIGEST_SIZE: Final = 32
_PAGE: Final = 4096
_SLOTS: Final = (_PAGE, 2 * _PAGE)
_DATA: Final = 3 * _PAGE
MAX_BLOCKS: Final = (_PAGE - _RECORD.size - _DIGEST_SIZE) // abi.RPMB_DATA_SIZE
"""The most blocks that one change can have."""


class RpmbImage:
    """The file ``path``, made with ``size_mult`` times 128 KiB of zeros when it is not there.

    OSError says why it cannot be had: damaged, of another size, or in use by another process. Without ``sync`` changes
    outlive this process, but not a power cut of the host.
    """

    def __init__(self, path: Path, size_mult: int, sync: bool = True) -> None:
        self.path = path
        self._sync = sync
        self.blocks = size_mult * abi.RPMB_SIZE_SINGLE // abi.RPMB_DATA_SIZE
        self.key: bytes | None = None
        self.write_counter = 0
        self._number = 0
        self._fd = _open(path, size_mult)
        try:
            self._load(size_mult)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self, block: int, count: int) -> list[bytes]:
        """``count`` blocks from ``block`` on."""
        size = abi.RPMB_DATA_SIZE
        return [bytes(self._data[at * size : (at + 1) * size]) for at in range(block, block + count)]

    def program_key(self, key: bytes) -> None:
        self._commit(key, self.write_counter, 0, ())

    def write(self, block: int, data: Sequence[bytes]) -> None:
        """Blocks from ``block`` on, and the write counter one further: all of it or nothing, whatever happens."""
        self._commit(self.key, self.write_counter + 1, block, data)

    def _commit(self, key: bytes | None, counter: int, block: int, data: Sequence[bytes]) -> None:
        number = self._number + 1
        record = _record(number, counter, key, block, data)
        _write(self._fd, record, _SLOTS[number % 2])
        # Also what the last change put in place, before its record is written over by the next.
        if self._sync:
            os.fdatasync(self._fd)
        self._number, self.key, self.write_counter = number, key, counter
        self._place(block, b"".join(data))

    def _place(self, block: int, data: bytes) -> None:
        at = block * abi.RPMB_DATA_SIZE
        self._data[at : at + len(data)] = data
        _write(self._fd, data, _DATA + at)

    def _load(self, size_mult: int) -> None:
        magic, found = _HEAD.unpack(_read(self._fd, _HEAD.size, 0))
        if magic != _MAGIC:
            raise OSError(f"{self.path} is not the file of an emulated RPMB device")
        if found != size_mult:
            raise OSError(f"{self.path} is of a device with {found * 128} KiB, not {size_mult * 128}")
        records = [record for at in _SLOTS if (record := self._parse(_read(self._fd, _PAGE, at)))]
        self._data = bytearray(_read(self._fd, self.blocks * abi.RPMB_DATA_SIZE, _DATA))
        if not records or len(self._data) != self.blocks * abi.RPMB_DATA_SIZE:
            raise OSError(
                f"{self.path} is damaged; without it begins a new device, which lacks all that was kept there"
            )
        self._number, self.write_counter, self.key, block, data = max(records, key=lambda record: record[0])
        self._place(block, data)

    def _parse(self, raw: bytes) -> tuple[int, int, bytes | None, int, bytes] | None:
        """Number, counter, key, first block and data of a record; None where there is no whole one."""
        if len(raw) < _RECORD.size:
            return None
        number, counter, has_key, key, block, count = _RECORD.unpack_from(raw)
        end = _RECORD.size + count * abi.RPMB_DATA_SIZE
        if raw[end : end + _DIGEST_SIZE] != hashlib.sha256(raw[:end]).digest() or block + count > self.blocks:
            return None
        return number, counter, key if has_key else None, block, raw[_RECORD.size : end]


def size_mult_of(path: Path) -> int:
    """rpmb_size_mult of the device whose file is ``path``; OSError."""
    with path.open("rb") as f:
        raw = f.read(_HEAD.size)
    magic, size_mult = _HEAD.unpack(raw.ljust(_HEAD.size, b"\0"))
    if magic != _MAGIC:
        raise OSError(f"{path} is not the file of an emulated RPMB device")
    return int(size_mult)


def _record(number: int, counter: int, key: bytes | None, block: int, data: Sequence[bytes]) -> bytes:
    head = _RECORD.pack(number, counter, key is not None, key or b"", block, len(data))
    record = head + b"".join(data)
    return record + hashlib.sha256(record).digest()


def _open(path: Path, size_mult: int) -> int:
    """A descriptor of the file, made if need be; nobody else has one."""
    for unfinished in path.parent.glob(f".{path.name}.*.new"):
        unfinished.unlink(missing_ok=True)
    if not path.exists():
        _create(path, size_mult)
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise OSError(f"{path} is in use by another TEE; give this one a --state of its own") from None
    return fd


def _create(path: Path, size_mult: int) -> None:
    make_directory(path.parent)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _write(fd, _HEAD.pack(_MAGIC, size_mult).ljust(_PAGE, b"\0"), 0)
        _write(fd, _record(0, 0, None, 0, ()), _SLOTS[0])
        _write(fd, bytes(size_mult * abi.RPMB_SIZE_SINGLE), _DATA)
        os.fsync(fd)
        # The whole file or none; and never instead of one that somebody else has made meanwhile.
        with contextlib.suppress(FileExistsError):
            os.link(new, path)
    finally:
        os.unlink(new)
        os.close(fd)
    sync_directory(path.parent)


def _read(fd: int, size: int, at: int) -> bytes:
    """``size`` octets, fewer at the end of the file."""
    parts = []
    while size and (part := os.pread(fd, size, at)):
        parts.append(part)
        size -= len(part)
        at += len(part)
    return b"".join(parts)


def _write(fd: int, data: bytes, at: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:], at + done)
