"""The database of TAs installed in secure storage. Mirrors core/tee/tadb.c.

The object ``ta.db``, which belongs to no TA, has an entry for each: its properties, and number, key, vector and tag of
the file ``NUMBER.ta`` that holds it encrypted with AES-GCM. What is committed is the entry; a file without one is
overwritten by the next TA that is installed. Callers take turns.

Nobody else writes the database while the core runs, so its entries are read once.
"""

import itertools
import struct
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.crypto.provider import Rng
from optemu.secure_world.storage.tee_fs import FileHandle, FileOperations, Pobj, Ree

# struct tadb_entry: TEE_UUID, version, custom size, size of the TA; file number, vector, tag, key
_ENTRY: Final = struct.Struct("<16s4I16s16s32s")
TA_DB: Final = b"ta.db\0"
_IV_SIZE: Final = 16
_KEY_SIZE: Final = 32
_AT_ONCE: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class _Entry:
    uuid: bytes
    version: int
    custom_size: int
    bin_size: int
    file_number: int
    iv: bytes
    tag: bytes
    key: bytes

    def pack(self) -> bytes:
        rest = (self.version, self.custom_size, self.bin_size, self.file_number, self.iv, self.tag, self.key)
        return _ENTRY.pack(gp.uuid_to_memory(self.uuid), *rest)

    @property
    def file(self) -> bytes:
        return b"%d.ta" % self.file_number

    @property
    def name(self) -> str:
        return f"TA {gp.uuid_str(self.uuid)} in secure storage ({self.file.decode()})"


@dataclass(frozen=True, slots=True)
class InstalledTa:
    """A TA out of the database. ``tag`` (16 octets) tells it from every other."""

    version: int
    tag: bytes
    payload: bytes


class TaDb:
    """tee_tadb: the TAs that ``fops`` keeps. Its random bytes come from ``rng``."""

    def __init__(self, fops: FileOperations, rng: Rng) -> None:
        self._fops = fops
        self._rng = rng
        self._entries: list[_Entry | None] | None = None
        """As in the object; None: free."""

    def lacks(self, uuid: bytes) -> bool:
        """Is it certain, without a look at the object, that TA ``uuid`` is not installed?"""
        entries = self._entries
        return entries is not None and uuid != gp.NIL_UUID and not any(e and e.uuid == uuid for e in entries)

    def version(self, ree: Ree, uuid: bytes) -> int | None:
        """The version of TA ``uuid`` that is installed; None: it is not."""
        entry = self._find(ree, uuid)
        return entry.version if entry else None

    def installed(self, ree: Ree) -> list[tuple[bytes, int, int, str]]:
        """(UUID, version, octets, file) of every TA."""
        return [(e.uuid, e.version, e.bin_size, e.file.decode()) for e in self._load(ree) if e]

    def open(self, ree: Ree, uuid: bytes) -> InstalledTa:
        """The TA ``uuid``; TEE_ERROR_ITEM_NOT_FOUND, or TEE_ERROR_MAC_INVALID when its file was changed."""
        entry = self._find(ree, uuid)
        if entry is None:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND)
        size = entry.custom_size + entry.bin_size
        sealed = _read_file(ree, entry.file, size)
        decryptor = Cipher(algorithms.AES(entry.key), modes.GCM(entry.iv, entry.tag)).decryptor()
        try:
            plain = decryptor.update(sealed) + decryptor.finalize()
        except InvalidTag:
            raise TeeError(
                gp.TEE_ERROR_MAC_INVALID, f"{entry.name} is not what was installed: install it again"
            ) from None
        return InstalledTa(entry.version, entry.tag, plain[entry.custom_size :])

    def install(self, ree: Ree, uuid: bytes, version: int, payload: bytes | memoryview) -> None:
        """In one commit, in place of what is installed as ``uuid`` (tee_tadb_ta_create, _write, _close_and_commit)."""
        old, entries = self._find(ree, uuid), self._load(ree)
        used = {entry.file_number for entry in entries if entry}
        number = next(n for n in itertools.count() if n not in used)
        iv, key = self._rng.read(_IV_SIZE), self._rng.read(_KEY_SIZE)
        encryptor = Cipher(algorithms.AES(key), modes.GCM(iv)).encryptor()
        sealed = encryptor.update(payload) + encryptor.finalize()
        new = _Entry(uuid, version, 0, len(payload), number, iv, encryptor.tag, key)
        try:
            _write_file(ree, new.file, sealed)
        except TeeError:
            _remove_file(ree, new.file)
            raise
        # In its place, else in a free one, else behind the last. When that fails the file stays: the entry may be there
        # by now; and if not, the next TA that is installed overwrites it.
        self._write(ree, entries.index(old) if old in entries else len(entries), new)
        if old is not None:
            _remove_file(ree, old.file)

    def delete(self, ree: Ree, uuid: bytes) -> None:
        """tee_tadb_ta_delete; TEE_ERROR_ITEM_NOT_FOUND."""
        entry = self._find(ree, uuid)
        if entry is None:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, f"TA {gp.uuid_str(uuid)} is not installed in secure storage")
        self._write(ree, self._load(ree).index(entry), None)
        _remove_file(ree, entry.file)

    # --- the object -----------------------------------------------------------------------------------------

    def _find(self, ree: Ree, uuid: bytes) -> _Entry | None:
        if uuid == gp.NIL_UUID:
            raise TeeError(gp.TEE_ERROR_GENERIC, "a UUID of zeros is no TA's")
        return next((entry for entry in self._load(ree) if entry and entry.uuid == uuid), None)

    def _pobj(self) -> Pobj:
        return Pobj(self._fops, gp.NIL_UUID, TA_DB)

    def _load(self, ree: Ree) -> list[_Entry | None]:
        if self._entries is None:
            try:
                size, fh = self._fops.open(ree, self._pobj())
            except TeeError as e:
                if e.code != gp.TEE_ERROR_ITEM_NOT_FOUND:
                    raise
                self._entries = []
            else:
                self._entries = self._read(ree, size, fh)
        return self._entries

    def _read(self, ree: Ree, size: int, fh: FileHandle) -> list[_Entry | None]:
        """Where two entries name the same file the first has it, and the other is cleared (populate_files)."""
        try:
            raw = self._fops.read(ree, fh, 0, size - size % _ENTRY.size)
            entries = [_unpack(raw[at : at + _ENTRY.size]) for at in range(0, len(raw), _ENTRY.size)]
            used: set[int] = set()
            for index, entry in enumerate(entries):
                if entry and entry.file_number in used:
                    self._fops.write(ree, fh, index * _ENTRY.size, bytes(_ENTRY.size))
                    entries[index] = None
                elif entry:
                    used.add(entry.file_number)
            return entries
        finally:
            self._fops.close(ree, fh)

    def _write(self, ree: Ree, index: int, entry: _Entry | None) -> None:
        entries, self._entries = self._load(ree), None  # to be read again when it fails: who knows what was committed
        raw = entry.pack() if entry else bytes(_ENTRY.size)
        try:
            _, fh = self._fops.open(ree, self._pobj())
        except TeeError as e:
            if e.code != gp.TEE_ERROR_ITEM_NOT_FOUND:
                raise
            fh = self._fops.create(ree, self._pobj(), False, b"", b"", b"")
        try:
            self._fops.write(ree, fh, index * _ENTRY.size, raw)
        finally:
            self._fops.close(ree, fh)
        entries[index : index + 1] = [entry]
        self._entries = entries


def _unpack(raw: bytes) -> _Entry | None:
    uuid, *rest = _ENTRY.unpack(raw)
    return _Entry(gp.uuid_from_memory(uuid), *rest) if uuid != gp.NIL_UUID else None


# --- files of the normal world, which hold the TAs sealed -------------------------------------------------------


def _read_file(ree: Ree, name: bytes, size: int) -> bytes:
    """At most ``size`` octets: whether they are the right ones the tag decides."""
    fd = ree.files.open(name)
    try:
        parts = [ree.files.read(fd, at, min(_AT_ONCE, size - at)) for at in range(0, size, _AT_ONCE)]
        return b"".join(parts)
    finally:
        ree.files.close(fd)


def _write_file(ree: Ree, name: bytes, data: bytes) -> None:
    fd = ree.files.create(name)
    try:
        for at in range(0, len(data), _AT_ONCE):
            ree.files.write(fd, at, data[at : at + _AT_ONCE])
    finally:
        ree.files.close(fd)


def _remove_file(ree: Ree, name: bytes) -> None:
    """What no entry names any more; where that fails it is only in the way of nobody."""
    try:
        ree.files.remove(name)
    except TeeError:
        return
