"""The RPMB file system's partition, its table of files, and where there is room. Mirrors core/tee/tee_rpmb_fs.c.

A table entry has the size of a block, so that it is written whole or not at all. The table grows upwards from the
partition's beginning, files are put as high as they fit.
"""

import logging
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from optemu.abi import gp
from optemu.abi import rpmb_fs as abi
from optemu.errors import TeeError
from optemu.secure_world.storage.rpmb import BLOCK_SIZE, Rpmb
from optemu.secure_world.storage.tee_fs import RpmbFrames

log = logging.getLogger("optemu.core")

CFG_RPMB_FS_RD_ENTRIES: Final = 8
"""Table entries read at a time."""
_FAT_BLOCK: Final = abi.RPMB_FS_FAT_START_ADDRESS // BLOCK_SIZE
assert abi.RPMB_FAT_ENTRY.size == BLOCK_SIZE


@dataclass(frozen=True, slots=True)
class FatEntry:
    """struct rpmb_fat_entry, and the block it is in."""

    block: int
    start_address: int = 0
    data_size: int = 0
    flags: int = 0
    fek: bytes = b""
    filename: bytes = b""

    @property
    def active(self) -> bool:
        return bool(self.flags & abi.FILE_IS_ACTIVE)

    @property
    def last(self) -> bool:
        return bool(self.flags & abi.FILE_IS_LAST_ENTRY)

    @classmethod
    def unpack(cls, block: int, raw: bytes) -> "FatEntry":
        start, size, flags, _, fek, name = abi.RPMB_FAT_ENTRY.unpack(raw)
        return cls(block, start, size, flags, fek, name.split(b"\0")[0])

    def pack(self) -> bytes:
        return abi.RPMB_FAT_ENTRY.pack(self.start_address, self.data_size, self.flags, 0, self.fek, self.filename)


class Pool:
    """tee_mm_pool_t with TEE_MM_POOL_HI_ALLOC: which of ``blocks`` blocks are taken."""

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks
        self._taken: list[tuple[int, int]] = []
        """(first, behind the last), in order; they do not overlap."""

    @property
    def allocated(self) -> int:
        return sum(end - begin for begin, end in self._taken)

    def take(self, address: int, size: int) -> None:
        """tee_mm_alloc2: exactly there."""
        begin, end = address // BLOCK_SIZE, (address + size - 1) // BLOCK_SIZE + 1
        n = bisect(self._taken, (begin, 0))
        _, free = self._taken[n - 1] if n else (0, 0)
        limit, _ = self._taken[n] if n < len(self._taken) else (self.blocks, 0)
        if begin < free or end > limit:
            raise TeeError(gp.TEE_ERROR_OUT_OF_MEMORY, f"RPMB: {size} octets at 0x{address:x} overlap something else")
        self._taken.insert(n, (begin, end))

    def alloc(self, size: int) -> int | None:
        """tee_mm_alloc: the address of ``size`` octets, as high as they fit; None when they do not."""
        needed, top = -(-size // BLOCK_SIZE), self.blocks
        for begin, end in reversed(self._taken):
            if needed <= top - end:
                break
            top = begin
        else:
            if needed > top:
                return None
        return (top - needed) * BLOCK_SIZE


class Fat:
    """The table of the device behind ``rpmb``, which is set up when it is used first."""

    def __init__(self, rpmb: Rpmb) -> None:
        self.rpmb = rpmb
        self.pool_blocks = 0
        """Blocks that can be used, without the device's last one, as upstream counts; 0: not set up yet."""

    def setup(self, frames: RpmbFrames) -> None:
        """rpmb_fs_setup."""
        if self.pool_blocks:
            return
        pool_blocks = self.rpmb.blocks(frames) - 1
        block = self.rpmb.read(frames, 0, 1)
        # A write counts: requests that somebody has held back since the last start are worth nothing from now on.
        # What is read after it is not changed by one of them either.
        self.rpmb.write(frames, 0, block)
        [raw] = self.rpmb.read(frames, 0, 1)
        magic, version, _, fat, _ = abi.RPMB_FS_PARTITION.unpack_from(raw)
        if magic != abi.RPMB_FS_MAGIC:
            self._format(frames, raw)
        elif version != abi.FS_VERSION or fat != abi.RPMB_FS_FAT_START_ADDRESS:
            log.error("RPMB: its file system is of version %d, not %d", version, abi.FS_VERSION)
            raise TeeError(gp.TEE_ERROR_ACCESS_DENIED, f"an RPMB file system of version {version}")
        self.pool_blocks = pool_blocks
        try:
            self._tidy(frames)
        except TeeError:
            self.pool_blocks = 0
            raise

    def _format(self, frames: RpmbFrames, raw: bytes) -> None:
        log.info("RPMB: making a file system")
        self.write(frames, FatEntry(_FAT_BLOCK, flags=abi.FILE_IS_LAST_ENTRY))
        head = abi.RPMB_FS_PARTITION.pack(
            abi.RPMB_FS_MAGIC, abi.FS_VERSION, 0, abi.RPMB_FS_FAT_START_ADDRESS, raw[16 : abi.RPMB_FS_PARTITION.size]
        )
        self.rpmb.write(frames, 0, [head + raw[len(head) :]])

    def _tidy(self, frames: RpmbFrames) -> None:
        """What the power going between two steps has left. Upstream keeps it.

        An object that was being created has a temporary name still; one that was being replaced is there under its
        name twice, of which the first counts.
        """
        seen = set()
        for entry in list(self.entries(frames)):
            if not entry.active:
                continue
            if entry.filename in seen or entry.filename.split(b"/")[-1].startswith(b"."):
                log.info("RPMB: removing an object that was not finished")
                self.clear(frames, entry)
            seen.add(entry.filename)

    def entries(self, frames: RpmbFrames) -> Iterator[FatEntry]:
        """All entries, free ones too, the last included. It is not counted as a file."""
        self.setup(frames)
        block = _FAT_BLOCK
        while True:
            count = min(CFG_RPMB_FS_RD_ENTRIES, self.pool_blocks - block)
            for raw in self.rpmb.read(frames, block, count):
                entry = FatEntry.unpack(block, raw)
                yield entry
                if entry.last:
                    return
                block += 1

    def find(self, frames: RpmbFrames, filename: bytes) -> FatEntry | None:
        """read_fat without a pool: the first entry of that name."""
        for entry in self.entries(frames):
            if entry.active and entry.filename == filename:
                return entry
        return None

    def at(self, frames: RpmbFrames, block: int) -> FatEntry:
        """The entry in ``block`` as it is now."""
        [raw] = self.rpmb.read(frames, block, 1)
        return FatEntry.unpack(block, raw)

    def pool(self, frames: RpmbFrames, *, table: bool = True) -> tuple[Pool, list[FatEntry]]:
        """What is taken, by the ``table`` too, and the table."""
        entries = list(self.entries(frames))
        pool = Pool(self.pool_blocks)
        for entry in entries:
            if entry.active and entry.data_size:
                pool.take(entry.start_address, entry.data_size)
        if table:
            pool.take(abi.RPMB_STORAGE_START_ADDRESS, (entries[-1].block + 1) * BLOCK_SIZE)
        return pool, entries

    def free_entry(self, frames: RpmbFrames) -> FatEntry:
        """read_fat with a pool: an entry to be used, the table made longer when it is the last."""
        pool, entries = self.pool(frames)
        entry = next(entry for entry in entries if not entry.active)
        if entry.last:
            pool.take((entry.block + 1) * BLOCK_SIZE, BLOCK_SIZE)
            self.write(frames, FatEntry(entry.block + 1, flags=abi.FILE_IS_LAST_ENTRY))
        return entry

    def write(self, frames: RpmbFrames, entry: FatEntry) -> None:
        """write_fat_entry."""
        self.rpmb.write(frames, entry.block, [entry.pack()])

    def clear(self, frames: RpmbFrames, entry: FatEntry) -> None:
        """Forget a file: its entry and its blocks are free."""
        self.write(frames, FatEntry(entry.block))

    def rename(self, frames: RpmbFrames, entry: FatEntry, filename: bytes) -> FatEntry:
        entry = replace(entry, filename=filename)
        self.write(frames, entry)
        return entry
