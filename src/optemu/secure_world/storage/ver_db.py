"""The versions below which a TA or a subkey is refused. Mirrors check_update_version in core/kernel/ree_fs_ta.c.

Two objects that belong to no TA, ``ta_ver.db`` and ``subkey_ver.db``: the highest version seen of each UUID. Version 0
of what was never seen is not entered, for it changes nothing. Callers take turns; nobody else writes the objects
while the core runs, so they are read once.
"""

import struct
from typing import Final

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.storage.tee_fs import FileHandle, FileOperations, Pobj, Ree

# struct ver_db_hdr: version of the format, number of entries; struct ver_db_entry: UUID in octets, version
_HEADER: Final = struct.Struct("<II")
_ENTRY: Final = struct.Struct("<16sI")
TA_VER_DB: Final = b"ta_ver.db\0"
SUBKEY_VER_DB: Final = b"subkey_ver.db\0"

Floor = dict[bytes, tuple[int, int]]
"""UUID to (place of its entry, version)."""


def parse_versions(raw: bytes, name: str) -> tuple[int, Floor]:
    """(entries, what they say) of the object ``name``; of two entries for one UUID the first counts.

    TEE_ERROR_BAD_STATE says what is wrong with it. Empty it may be: the power went while it was made. What follows the
    last entry was never counted.
    """
    if not raw:
        return 0, {}
    if len(raw) < _HEADER.size:
        raise TeeError(gp.TEE_ERROR_BAD_STATE, f"{name} ends in its header")
    _, count = _HEADER.unpack_from(raw)
    end = _HEADER.size + count * _ENTRY.size
    if len(raw) < end:
        raise TeeError(gp.TEE_ERROR_BAD_STATE, f"{name} ends before its {count} entries do")
    floor: Floor = {}
    for place, (uuid, version) in enumerate(_ENTRY.iter_unpack(raw[_HEADER.size : end])):
        floor.setdefault(uuid, (place, version))
    return count, floor


class VersionDb:
    """One of the two, which ``fops`` keeps under ``obj_id``."""

    def __init__(self, fops: FileOperations, obj_id: bytes) -> None:
        self._fops = fops
        self._pobj = Pobj(fops, gp.NIL_UUID, obj_id)
        self._floor: Floor | None = None
        self._count = 0

    def is_lowest(self, uuid: bytes, version: int) -> bool:
        """Is it certain, without a look at the object, that this is the version to begin with?"""
        floor = self._floor
        return floor is not None and floor.get(uuid, (0, 0))[1] == version

    def check_update(self, ree: Ree, uuid: bytes, version: int) -> None:
        """TEE_ERROR_ACCESS_CONFLICT when a higher version was seen; else this one is the lowest from now on."""
        if self._floor is None:
            self._floor = self._load(ree)
        index, lowest = self._floor.get(uuid, (self._count, 0))
        if version == lowest:
            return
        if version < lowest:
            raise TeeError(
                gp.TEE_ERROR_ACCESS_CONFLICT,
                f"{gp.uuid_str(uuid)} is of version {version}, and version {lowest} was seen here: an older one is "
                "refused; sign it with a higher version, or start from an empty state directory",
            )
        floor, self._floor = self._floor, None  # to be read again when it fails: who knows what was committed
        self._store(ree, index, uuid, version)
        floor[uuid] = index, version
        self._floor = floor

    def _load(self, ree: Ree) -> Floor:
        self._count = 0
        try:
            size, fh = self._fops.open(ree, self._pobj)
        except TeeError as e:
            if e.code != gp.TEE_ERROR_ITEM_NOT_FOUND:
                raise
            return {}
        try:
            raw = self._fops.read(ree, fh, 0, size)
        finally:
            self._fops.close(ree, fh)
        self._count, floor = parse_versions(raw, self._pobj.obj_id.rstrip(b"\0").decode())
        return floor

    def _store(self, ree: Ree, index: int, uuid: bytes, version: int) -> None:
        """The entry first, then the header that counts it."""
        fh = self._open(ree)
        try:
            self._fops.write(ree, fh, _HEADER.size + index * _ENTRY.size, _ENTRY.pack(uuid, version))
            if index == self._count:
                self._fops.write(ree, fh, 0, _HEADER.pack(0, index + 1))
                self._count = index + 1
        finally:
            self._fops.close(ree, fh)

    def _open(self, ree: Ree) -> FileHandle:
        try:
            return self._fops.open(ree, self._pobj)[1]
        except TeeError as e:
            if e.code != gp.TEE_ERROR_ITEM_NOT_FOUND:
                raise
            return self._fops.create(ree, self._pobj, False, b"", b"", _HEADER.pack(0, 0))
