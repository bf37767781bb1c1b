"""The database of the REE file system: which file is which object, and its root's hash. Mirrors core/tee/fs_dirfile.c.

Its entries are kept in memory, as they were verified or written.
"""

import logging
from collections.abc import Iterator
from typing import NamedTuple

from optemu.abi import fs_htree as abi
from optemu.abi import gp
from optemu.abi.obj import TEE_OBJECT_ID_MAX_LEN
from optemu.errors import TeeError
from optemu.secure_world.storage.htree import Htree, corrupt
from optemu.secure_world.storage.ree_file import read_data, write_data
from optemu.secure_world.storage.tee_fs import Files

log = logging.getLogger("optemu.core")
_ENTRY = abi.DIRFILE_ENTRY


class Entry(NamedTuple):
    """struct dirfile_entry"""

    uuid: bytes
    obj_id: bytes
    hash: bytes
    file_number: int

    def pack(self) -> bytes:
        oid = self.obj_id or bytes((abi.OID_EMPTY_NAME,))
        return _ENTRY.pack(gp.uuid_to_memory(self.uuid), oid, len(self.obj_id), self.hash, self.file_number)


def file_name(number: int) -> bytes:
    """tee_fs_dirfile_fileh_to_fname"""
    return b"%x" % number


class Dirfile:
    """struct tee_fs_dirfile_dirh. What is changed counts from ``commit_writes`` on; until then ``changed`` is set."""

    def __init__(self, tree: Htree) -> None:
        self.tree = tree
        self.changed = False
        self.entries: list[Entry | None] = []
        """None where one is free."""
        self._by_name: dict[tuple[bytes, bytes], int] = {}
        self._by_number: dict[int, int | None] = {}
        """Which entry a file belongs to; None: to none yet, or no more."""
        self._lowest = 0
        """No file number below is free."""

    def load(self, files: Files) -> "Dirfile":
        """tee_fs_dirfile_open: read all entries. Returns itself."""
        raw = read_data(files, self.tree, 0, self.tree.length)
        for idx in range(len(raw) // _ENTRY.size):
            entry = self._unpack(idx, raw)
            self.entries.append(None)
            if entry is None:
                continue
            if entry.file_number in self._by_number:
                log.debug("clearing duplicate file number %d", entry.file_number)
                self._write_dent(files, idx, None)
            else:
                self._set(idx, entry)
        return self

    def _unpack(self, idx: int, raw: bytes) -> Entry | None:
        uuid, oid, oidlen, root_hash, number = _ENTRY.unpack_from(raw, idx * _ENTRY.size)
        if not oidlen and not oid[0]:
            return None
        if oidlen > TEE_OBJECT_ID_MAX_LEN or (not oidlen and oid[0] != abi.OID_EMPTY_NAME):
            raise corrupt(self.tree.name, f"entry {idx} has an identifier of {oidlen} bytes")
        return Entry(gp.uuid_from_memory(uuid), oid[:oidlen], root_hash, number)

    def _set(self, idx: int, entry: Entry | None) -> None:
        old = self.entries[idx]
        if old is not None:
            self._by_number[old.file_number] = None
            if self._by_name.get(old[:2]) == idx:
                del self._by_name[old[:2]]
        self.entries[idx] = entry
        if entry is not None:
            self._by_name.setdefault(entry[:2], idx)
            self._by_number[entry.file_number] = idx

    def _write_dent(self, files: Files, idx: int, entry: Entry | None) -> None:
        self.changed = True
        write_data(files, self.tree, idx * _ENTRY.size, bytes(_ENTRY.size) if entry is None else entry.pack())
        if idx == len(self.entries):
            self.entries.append(None)
        self._set(idx, entry)

    # --- looking up ---------------------------------------------------------------------------------------

    def find(self, uuid: bytes, obj_id: bytes) -> int | None:
        """tee_fs_dirfile_find: which entry is the object's."""
        return self._by_name.get((uuid, obj_id))

    def entry(self, idx: int) -> Entry:
        entry = self.entries[idx]
        assert entry is not None, f"entry {idx} is free"
        return entry

    def entry_named(self, uuid: bytes, obj_id: bytes) -> tuple[int, Entry]:
        """The object's entry, and which one it is; TEE_ERROR_ITEM_NOT_FOUND when there is no such object."""
        idx = self.find(uuid, obj_id)
        if idx is None:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, f"TA {gp.uuid_str(uuid)} has no object {obj_id!r}")
        return idx, self.entry(idx)

    def entry_of(self, number: int) -> Entry | None:
        """The entry that file ``number`` belongs to; None when its object was removed."""
        idx = self._by_number.get(number)
        return None if idx is None else self.entries[idx]

    def index(self, number: int) -> int:
        """Which entry file ``number`` belongs to; TEE_ERROR_ITEM_NOT_FOUND when its object was removed."""
        idx = self._by_number.get(number)
        if idx is None:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, f"file {number:x} belongs to no object any more")
        return idx

    def get_next(self, uuid: bytes, idx: int) -> tuple[int, bytes]:
        """tee_fs_dirfile_get_next: which entry, from ``idx`` on, is ``uuid``'s next object, and that one's identifier.

        TEE_ERROR_ITEM_NOT_FOUND when there are no more.
        """
        for n in range(idx, len(self.entries)):
            entry = self.entries[n]
            if entry is not None and entry.uuid == uuid:
                return n, entry.obj_id
        raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, f"TA {gp.uuid_str(uuid)} has no more objects")

    def unused_numbers(self) -> Iterator[int]:
        """Of all files that this database may ever have named, those that it does not name now.

        Each file got the lowest number that was free, so none is above the number of entries there ever were. (Upstream
        forgets to free some while it has the database open; its files may have higher numbers.)
        """
        return (n for n in range(len(self.entries) + 1) if n not in self._by_number)

    # --- changing -----------------------------------------------------------------------------------------

    def get_tmp(self) -> int:
        """tee_fs_dirfile_get_tmp: the number of a file that nothing is in."""
        while self._lowest in self._by_number:
            self._lowest += 1
        self._by_number[self._lowest] = None
        return self._lowest

    def hold(self, number: int) -> None:
        """File ``number`` is not free, whether it belongs to an object or not."""
        self._by_number.setdefault(number, None)

    def release(self, number: int) -> None:
        """Nothing is in file ``number`` any more (clear_file)."""
        self._by_number.pop(number, None)
        self._lowest = min(self._lowest, number)

    def rename(self, files: Files, idx: int | None, entry: Entry) -> int:
        """tee_fs_dirfile_rename: ``entry`` becomes that with number ``idx``, or a new one. Which it is now."""
        if idx is None:
            idx = self.entries.index(None) if None in self.entries else len(self.entries)
        self._write_dent(files, idx, entry)
        return idx

    def remove(self, files: Files, idx: int) -> None:
        """tee_fs_dirfile_remove. Its file's number stays taken until ``release``."""
        self._write_dent(files, idx, None)

    def update_hash(self, files: Files, idx: int, root_hash: bytes) -> None:
        """tee_fs_dirfile_update_hash"""
        self._write_dent(files, idx, self.entry(idx)._replace(hash=root_hash))

    def commit_writes(self, files: Files) -> None:
        """tee_fs_dirfile_commit_writes. The caller resets ``changed`` when all that belongs to it is done."""
        self.tree.sync_to_storage(files)
