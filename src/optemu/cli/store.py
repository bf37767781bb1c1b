"""A stopped machine's trusted storage, opened with the board's keys: what ``optemu storage`` works on."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from optemu.abi import cryp, gp
from optemu.abi.fs_htree import DIRFILE_NAME
from optemu.abi.obj import TEE_SVC_STORAGE_HEAD
from optemu.board.config import Config, ConfigError
from optemu.board.entropy import Entropy
from optemu.errors import TeeError
from optemu.normal_world.directory import DirectoryFiles
from optemu.normal_world.state import StateDir
from optemu.secure_world.pta.attestation import AttestationPta
from optemu.secure_world.storage.dirfile import Dirfile, Entry, file_name
from optemu.secure_world.storage.htree import Htree
from optemu.secure_world.storage.key_manager import KeyManager
from optemu.secure_world.storage.ree_file import ReeFile
from optemu.secure_world.storage.ree_fs import ReeFs
from optemu.secure_world.storage.tadb import TaDb
from optemu.secure_world.storage.tee_fs import Pobj, RpmbFrames

_HEAD = TEE_SVC_STORAGE_HEAD
_TYPES = {value: name.removeprefix("TEE_TYPE_") for name, value in vars(cryp).items() if name.startswith("TEE_TYPE_")}
_HEX = "hex:"
_CORE = (gp.NIL_UUID, AttestationPta.uuid)
"""Owners of what the core keeps for itself: data, without a head."""


def show_id(obj_id: bytes) -> str:
    """As it is where that is unmistakable, else ``hex:`` and its octets."""
    text = obj_id.decode("ascii", "replace")
    plain = text.isascii() and text.isprintable() and text and " " not in text and not text.startswith(_HEX)
    return text if plain else _HEX + obj_id.hex()


def read_id(text: str) -> bytes:
    """What ``show_id`` shows; ValueError."""
    try:
        return bytes.fromhex(text.removeprefix(_HEX)) if text.startswith(_HEX) else text.encode()
    except ValueError:
        raise ValueError(f"{text!r}: hex: is followed by hexadecimal digits, two for each byte") from None


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as it is in its file (struct tee_svc_storage_head, attributes, data)."""

    object_type: int
    object_size: int
    max_object_size: int
    usage: int
    have_attrs: int
    attributes: bytes
    data_offset: int
    data_size: int
    version: int
    """How often it has been committed."""
    core: bool = False
    """Is it the core's own, data and nothing else?"""

    @property
    def kind(self) -> str:
        if self.core:
            return "core"
        name = _TYPES.get(self.object_type, f"0x{self.object_type:08x}")
        return "data" if self.object_type == cryp.TEE_TYPE_DATA else f"{name} {self.object_size}"


class _Ree:
    """What the file system is served by: files, and no RPMB."""

    def __init__(self, files: DirectoryFiles) -> None:
        self.files = files

    @property
    def rpmb(self) -> RpmbFrames:
        raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, "there is no RPMB device")


class Store:
    """``directory`` is a board's /var/lib/tee, and ``huk`` that board's key. Failures are TeeError."""

    def __init__(self, directory: Path, huk: bytes, change: bool = False) -> None:
        self.files = DirectoryFiles(directory, change)
        self._ree = _Ree(self.files)
        self._keys, self._rng = KeyManager(huk), Entropy()
        self._fs = ReeFs(self._keys, self._rng, tidy=change)

    def entries(self) -> list[Entry]:
        """The database, dirf.db: what is whose."""
        try:
            fd = self.files.open(DIRFILE_NAME)
        except TeeError as e:
            if e.code != gp.TEE_ERROR_ITEM_NOT_FOUND:
                raise
            return []
        try:
            tree = Htree(fd, "dirf.db", self._keys, self._rng, None).open(self.files)
            found = Dirfile(tree).load(self.files).entries
        finally:
            self.files.close(fd)
        return sorted((e for e in found if e is not None), key=lambda e: e.file_number)

    def size_on_disk(self, entry: Entry) -> int:
        return self.files.size_on_disk(file_name(entry.file_number).decode())

    @contextlib.contextmanager
    def _open(self, owner: bytes, obj_id: bytes) -> Iterator[tuple[ReeFile, Stored]]:
        size, fh = self._fs.open(self._ree, Pobj(self._fs, owner, obj_id))
        assert isinstance(fh, ReeFile)
        try:
            yield fh, self._of_core(fh, size) if owner in _CORE else self._stored(fh, size)
        finally:
            self._fs.close(self._ree, fh)

    @staticmethod
    def _of_core(fh: ReeFile, size: int) -> Stored:
        version = fh.tree.counter if fh.tree is not None else 0
        return Stored(cryp.TEE_TYPE_DATA, 0, 0, 0, 0, b"", 0, size, version, core=True)

    def _stored(self, fh: ReeFile, size: int) -> Stored:
        raw = self._fs.read(self._ree, fh, 0, _HEAD.size)
        attr_size = _HEAD.unpack(raw)[0] if len(raw) == _HEAD.size else size
        offset = _HEAD.size + attr_size
        if offset > size:
            raise TeeError(gp.TEE_ERROR_CORRUPT_OBJECT, f"{fh.name}: it is {size} bytes, and its head says otherwise")
        _, object_size, max_object_size, usage, object_type, have_attrs = _HEAD.unpack(raw)
        attributes = self._fs.read(self._ree, fh, _HEAD.size, attr_size)
        version = fh.tree.counter if fh.tree is not None else 0
        return Stored(
            object_type, object_size, max_object_size, usage, have_attrs, attributes, offset, size - offset, version
        )

    def installed_tas(self) -> list[str]:
        """The files that hold the TAs installed in secure storage."""
        return [name.decode() for name in TaDb(self._fs, self._rng).files(self._ree)]

    def look(self, owner: bytes, obj_id: bytes) -> Stored:
        with self._open(owner, obj_id) as (_, stored):
            return stored

    def read(self, owner: bytes, obj_id: bytes) -> tuple[Stored, bytes]:
        """The object and its data, all of it verified."""
        with self._open(owner, obj_id) as (fh, stored):
            return stored, self._fs.read(self._ree, fh, stored.data_offset, stored.data_size)

    def write(self, owner: bytes, obj_id: bytes, stored: Stored, data: bytes, overwrite: bool) -> None:
        head = _HEAD.pack(
            len(stored.attributes),
            stored.object_size,
            stored.max_object_size,
            stored.usage,
            stored.object_type,
            stored.have_attrs,
        )
        po = Pobj(self._fs, owner, obj_id)
        self._fs.close(self._ree, self._fs.create(self._ree, po, overwrite, head, stored.attributes, data))


@contextlib.contextmanager
def open_store(config: Config, change: bool = False) -> Iterator[Store]:
    """The store in the configured state directory, for us alone. ConfigError, OSError, StateInUse."""
    if config.state is None:
        raise ConfigError("which store? Name its state directory with --state, or in optemu.toml")
    if not config.state.is_dir():
        raise ConfigError(f"{config.state}: no such directory")
    if change and config.ree_fs_integrity_rpmb:
        raise ConfigError("the root of this store is in RPMB, and would no longer be that of the files")
    with StateDir(config.state):
        # What was copied from a board is a /var/lib/tee itself.
        directory = config.state if (config.state / "dirf.db").exists() else config.state / "tee"
        if change:
            directory.mkdir(mode=0o700, exist_ok=True)
        elif not directory.is_dir():
            raise ConfigError(f"{config.state}: there is no trusted storage in it (no tee, no dirf.db)")
        store = Store(directory, config.huk, change)
        try:
            yield store
        finally:
            store.files.end()
