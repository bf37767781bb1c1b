"""Persistent objects in a replay protected memory block. Mirrors core/tee/tee_rpmb_fs.c.

An object is an entry of the table, and its octets in consecutive blocks, each encrypted for itself with the object's
key. A change of more than a block goes to a free place, and counts when the entry points there: a single write. So
it is with creating, too: a new object has a temporary name until it is complete.

One call at a time: whoever calls sees to that (rpmb_mutex).
"""

from dataclasses import replace
from typing import Final

from optemu.abi import gp
from optemu.abi import rpmb_fs as abi
from optemu.errors import TeeError
from optemu.secure_world.crypto.provider import Rng
from optemu.secure_world.storage.key_manager import TEE_FS_KM_FEK_SIZE, KeyManager
from optemu.secure_world.storage.rpmb import BLOCK_SIZE, REL_WR_BLKCNT, Rpmb
from optemu.secure_world.storage.rpmb_fat import Fat, FatEntry
from optemu.secure_world.storage.tee_fs import Directory, FileHandle, FileOperations, Pobj, Ree, RpmbFrames

_INT32_MAX: Final = 0x7FFFFFFF
_NO_FEK: Final = bytes(TEE_FS_KM_FEK_SIZE)
_HEX: Final = frozenset(b"0123456789ABCDEF")
NIL_UUID: Final = bytes(16)


class RpmbFile(FileHandle):
    """struct rpmb_file_handle. Entries stay in their blocks, and no other file ever has this key."""

    __slots__ = ("block", "fek", "uuid")

    def __init__(self, entry: FatEntry, uuid: bytes) -> None:
        self.block = entry.block
        self.fek = entry.fek
        self.uuid = uuid


class RpmbDirectory(Directory):
    """What was there when it was opened."""

    __slots__ = ("names",)

    def __init__(self, names: list[bytes]) -> None:
        self.names = iter(names)


class RpmbFs(FileOperations):
    """rpmb_fs_ops."""

    def __init__(self, rpmb: Rpmb, keys: KeyManager, rng: Rng) -> None:
        self._rpmb, self._keys, self._rng = rpmb, keys, rng
        self._fat = Fat(rpmb)

    # --- objects --------------------------------------------------------------------------------------------

    def open(self, ree: Ree, po: Pobj) -> tuple[int, FileHandle]:
        entry = self._find(ree.rpmb, _filename(po.uuid, po.obj_id, po.temporary))
        return entry.data_size, RpmbFile(entry, po.uuid)

    def create(self, ree: Ree, po: Pobj, overwrite: bool, head: bytes, attr: bytes, data: bytes) -> FileHandle:
        frames = ree.rpmb
        name = _filename(po.uuid, po.obj_id, False)
        old = self._fat.find(frames, name)
        if old is not None and not overwrite:
            raise TeeError(gp.TEE_ERROR_ACCESS_CONFLICT, f"there is an object {po.obj_id!r} already")
        fh = self.create_file(frames, _filename(po.uuid, po.obj_id, True), po.uuid)
        try:
            self.write_file(frames, fh, 0, b"".join((head, attr, data)))
            self._rename(frames, self._entry(frames, fh), name, old)
        except TeeError as error:
            if error.code != gp.TEE_ERROR_COMMUNICATION:
                self._fat.clear(frames, FatEntry(fh.block))
            raise
        po.temporary = False
        return fh

    def close(self, ree: Ree, fh: FileHandle) -> None:
        """Nothing is held."""

    def read(self, ree: Ree, fh: FileHandle, pos: int, size: int) -> bytes:
        assert isinstance(fh, RpmbFile)
        return self.read_file(ree.rpmb, fh, pos, size)

    def write(self, ree: Ree, fh: FileHandle, pos: int, data: bytes) -> None:
        assert isinstance(fh, RpmbFile)
        self.write_file(ree.rpmb, fh, pos, data)

    def truncate(self, ree: Ree, fh: FileHandle, size: int) -> None:
        assert isinstance(fh, RpmbFile)
        frames = ree.rpmb
        if size > _INT32_MAX:
            raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"an object of {size} octets")
        entry = self._entry(frames, fh)
        if size <= entry.data_size:
            self._fat.write(frames, replace(entry, data_size=size))
            return
        self._move(frames, fh, entry, size, entry.data_size, b"", gp.TEE_ERROR_OUT_OF_MEMORY)

    def rename(self, ree: Ree, old: Pobj, new_id: bytes) -> None:
        frames = ree.rpmb
        entry = self._find(frames, _filename(old.uuid, old.obj_id, old.temporary))
        name = _filename(old.uuid, new_id, False)
        if self._fat.find(frames, name) is not None:
            raise TeeError(gp.TEE_ERROR_ACCESS_CONFLICT, f"there is an object {new_id!r} already")
        self._fat.rename(frames, entry, name)

    def remove(self, ree: Ree, po: Pobj) -> None:
        frames = ree.rpmb
        self._fat.clear(frames, self._find(frames, _filename(po.uuid, po.obj_id, po.temporary)))

    def opendir(self, ree: Ree, uuid: bytes) -> Directory:
        names = self._objects(ree.rpmb, uuid)
        if not names:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, f"RPMB: TA {gp.uuid_str(uuid)} has no objects")
        return RpmbDirectory(names)

    def readdir(self, ree: Ree, directory: Directory) -> bytes:
        assert isinstance(directory, RpmbDirectory)
        name = next(directory.names, None)
        if name is None:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, "RPMB: no more objects")
        return name

    def closedir(self, ree: Ree, directory: Directory) -> None:
        """Nothing is held."""

    def all_objects(self, ree: Ree) -> list[tuple[bytes, bytes, FatEntry]]:
        """(owner, identifier, entry) of every object, in the table's order."""
        found = []
        for entry in self._fat.entries(ree.rpmb):
            owner, _, digits = entry.filename[1:].partition(b"/")
            if entry.active and len(owner) == 32 and len(digits) % 2 == 0 and _HEX.issuperset(owner + digits):
                uuid = gp.uuid_from_memory(bytes.fromhex(owner.decode()))
                found.append((uuid, bytes.fromhex(digits.decode()), entry))
        return found

    def mem_stats(self, ree: Ree) -> tuple[int, int]:
        """rpmb_mem_stats: (octets that objects take in whole blocks, octets that there are)."""
        pool, _ = self._fat.pool(ree.rpmb, table=False)
        return pool.allocated * BLOCK_SIZE, pool.blocks * BLOCK_SIZE

    # --- files ----------------------------------------------------------------------------------------------

    def raw_open(self, ree: Ree, filename: bytes, create: bool) -> RpmbFile:
        """tee_rpmb_fs_raw_open: a file that is no TA's."""
        entry = self._fat.find(ree.rpmb, filename)
        if entry is not None:
            return RpmbFile(entry, NIL_UUID)
        if not create:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, f"RPMB: no file {filename!r}")
        return self.create_file(ree.rpmb, filename, NIL_UUID)

    def create_file(self, frames: RpmbFrames, filename: bytes, uuid: bytes) -> RpmbFile:
        """rpmb_fs_open_internal: an empty file that was not there."""
        entry = self._fat.free_entry(frames)
        fek = _NO_FEK
        while fek == _NO_FEK:
            fek = self._keys.generate_fek(uuid, self._rng)
        entry = FatEntry(entry.block, flags=abi.FILE_IS_ACTIVE, fek=fek, filename=filename)
        self._fat.write(frames, entry)
        return RpmbFile(entry, uuid)

    def read_file(self, frames: RpmbFrames, fh: RpmbFile, pos: int, size: int) -> bytes:
        """rpmb_fs_read."""
        if not size:
            return b""
        entry = self._entry(frames, fh)
        size = min(size, entry.data_size - pos)
        return self._load(frames, fh, entry.start_address + pos, size) if size > 0 else b""

    def write_file(self, frames: RpmbFrames, fh: RpmbFile, pos: int, data: bytes) -> None:
        """rpmb_fs_write_primitive."""
        if not data:
            return
        entry = self._entry(frames, fh)
        end, start = pos + len(data), entry.start_address + pos
        if end <= entry.data_size and _blocks(start, len(data))[1] <= REL_WR_BLKCNT:
            first, offset = divmod(start, BLOCK_SIZE)
            block = bytearray(self._load(frames, fh, first * BLOCK_SIZE, BLOCK_SIZE))
            block[offset : offset + len(data)] = data
            self._store(frames, fh, first, bytes(block))
        else:
            size = max(end, entry.data_size)
            self._move(frames, fh, entry, size, pos, data, gp.TEE_ERROR_STORAGE_NO_SPACE)

    def _move(
        self, frames: RpmbFrames, fh: RpmbFile, entry: FatEntry, size: int, pos: int, data: bytes, no_room: int
    ) -> None:
        """update_write_helper: ``size`` octets in a new place, with ``data`` at ``pos``; then they are the file's."""
        pool, _ = self._fat.pool(frames)
        start = pool.alloc(size)
        if start is None:
            raise TeeError(no_room, f"RPMB: no room for {size} octets")
        old = self._load(frames, fh, entry.start_address, entry.data_size) if entry.data_size else b""
        content = bytearray(old.ljust(-(-size // BLOCK_SIZE) * BLOCK_SIZE, b"\0"))
        content[pos : pos + len(data)] = data
        self._store(frames, fh, start // BLOCK_SIZE, bytes(content))
        self._fat.write(frames, replace(entry, start_address=start, data_size=size))

    def _rename(self, frames: RpmbFrames, entry: FatEntry, filename: bytes, replaced: FatEntry | None) -> None:
        """rpmb_fs_rename_internal. Unlike upstream, what is replaced goes last: at each moment one of both is there."""
        self._fat.rename(frames, entry, filename)
        if replaced is not None:
            self._fat.clear(frames, replaced)

    # --- blocks ---------------------------------------------------------------------------------------------

    def _load(self, frames: RpmbFrames, fh: RpmbFile, address: int, size: int) -> bytes:
        """tee_rpmb_read, of a file's data."""
        if fh.fek == _NO_FEK:
            raise TeeError(gp.TEE_ERROR_SECURITY, "RPMB: a file that was written without encryption")
        first, count = _blocks(address, size)
        blocks = self._rpmb.read(frames, first, count)
        plain = b"".join(
            [self._keys.decrypt_block(fh.uuid, block, at, fh.fek) for at, block in enumerate(blocks, first)]
        )
        offset = address % BLOCK_SIZE
        return plain[offset : offset + size]

    def _store(self, frames: RpmbFrames, fh: RpmbFile, first: int, data: bytes) -> None:
        """tee_rpmb_write, of a file's data: whole blocks from ``first`` on."""
        blocks = [data[at : at + BLOCK_SIZE] for at in range(0, len(data), BLOCK_SIZE)]
        sealed = [self._keys.encrypt_block(fh.uuid, block, at, fh.fek) for at, block in enumerate(blocks, first)]
        self._rpmb.write(frames, first, sealed)

    # --- the table ------------------------------------------------------------------------------------------

    def _find(self, frames: RpmbFrames, filename: bytes) -> FatEntry:
        entry = self._fat.find(frames, filename)
        if entry is None:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, f"RPMB: no object {filename!r}")
        return entry

    def _entry(self, frames: RpmbFrames, fh: RpmbFile) -> FatEntry:
        """What the table says now of an open file."""
        entry = self._fat.at(frames, fh.block)
        if not entry.active or entry.fek != fh.fek:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, "RPMB: the object is no longer there")
        return entry

    def _objects(self, frames: RpmbFrames, uuid: bytes) -> list[bytes]:
        """rpmb_fs_dir_populate: in the table's order, without what is being created.

        Unlike upstream, which passes over it, with an object whose identifier is empty.
        """
        prefix = _dirname(uuid)
        names = [e.filename for e in self._fat.entries(frames) if e.active and e.filename.startswith(prefix)]
        digits = [name.removeprefix(prefix) for name in names]
        return [bytes.fromhex(d.decode()) for d in digits if len(d) % 2 == 0 and _HEX.issuperset(d)]


def _blocks(address: int, size: int) -> tuple[int, int]:
    """(first block, number of blocks)"""
    first = address // BLOCK_SIZE
    return first, (address + size - 1) // BLOCK_SIZE + 1 - first


def _dirname(uuid: bytes) -> bytes:
    """create_dirname, with its slash at the end."""
    return b"/%s/" % gp.uuid_to_memory(uuid).hex().upper().encode()


def _filename(uuid: bytes, obj_id: bytes, temporary: bool) -> bytes:
    """create_filename."""
    return _dirname(uuid) + (b"." if temporary else b"") + obj_id.hex().upper().encode()
