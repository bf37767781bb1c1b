"""A stopped machine's trusted storage, opened with the board's keys: what ``optemu storage`` works on."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from optemu.abi import cryp, gp
from optemu.abi import rpmb as rpmb_abi
from optemu.abi.fs_htree import DIRFILE_NAME
from optemu.abi.obj import TEE_SVC_STORAGE_HEAD
from optemu.board.config import Config, ConfigError
from optemu.board.entropy import Entropy
from optemu.errors import TeeError
from optemu.normal_world.directory import DirectoryFiles
from optemu.normal_world.emmc import EmulatedRpmb
from optemu.normal_world.emmc.access import exchange, split
from optemu.normal_world.emmc.rpmb_image import size_mult_of
from optemu.normal_world.state import StateDir
from optemu.secure_world.crypto.huk_subkey import chip_id_of
from optemu.secure_world.pta.attestation import ATTESTATION_KEY, AttestationPta
from optemu.secure_world.storage.dirfile import Dirfile, Entry, file_name
from optemu.secure_world.storage.htree import Htree
from optemu.secure_world.storage.key_manager import KeyManager
from optemu.secure_world.storage.ree_file import ReeFile
from optemu.secure_world.storage.ree_fs import ReeFs
from optemu.secure_world.storage.rpmb import Rpmb
from optemu.secure_world.storage.rpmb_fat import FatEntry
from optemu.secure_world.storage.rpmb_fs import RpmbFs
from optemu.secure_world.storage.rpmb_root import RpmbRoot
from optemu.secure_world.storage.tadb import TA_DB, TaDb
from optemu.secure_world.storage.tee_fs import FileHandle, FileOperations, Pobj
from optemu.secure_world.storage.ver_db import SUBKEY_VER_DB, TA_VER_DB, parse_versions

DIRFILE: Final = DIRFILE_NAME.decode()
_HEAD = TEE_SVC_STORAGE_HEAD
_TYPES = {value: name.removeprefix("TEE_TYPE_") for name, value in vars(cryp).items() if name.startswith("TEE_TYPE_")}
_HEX = "hex:"
REE: Final = "REE"
RPMB: Final = "RPMB"
CORES: Final = {
    (gp.NIL_UUID, TA_DB): "installed TAs",
    (gp.NIL_UUID, TA_VER_DB): "TA versions",
    (gp.NIL_UUID, SUBKEY_VER_DB): "subkey versions",
    (AttestationPta.uuid, ATTESTATION_KEY): "attestation key",
}
"""Objects of the core itself, which begin with no head."""
VERSIONS: Final = {TA_VER_DB: "TA", SUBKEY_VER_DB: "subkey"}
_UNUSED: Final = (gp.TEE_ERROR_ITEM_NOT_FOUND, gp.TEE_ERROR_STORAGE_NOT_AVAILABLE)
"""There is no RPMB device, or nobody has used it yet."""


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
    version: int | None
    """How often it has been committed; RPMB does not count."""
    cores: str = ""
    """What it is, when it is the core's own."""

    @property
    def kind(self) -> str:
        if self.cores:
            return self.cores
        name = _TYPES.get(self.object_type, f"0x{self.object_type:08x}")
        return "data" if self.object_type == cryp.TEE_TYPE_DATA else f"{name} {self.object_size}"


class _Frames:
    """``RpmbFrames`` of a device without a machine; ``None``: there is none."""

    def __init__(self, device: EmulatedRpmb | None) -> None:
        self._device = device

    def probe_reset(self) -> None:
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED)

    def probe_next(self) -> bytes:
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED)

    def dev_info(self) -> bytes:
        device = self._device
        if device is None:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, "there is no RPMB device (no file rpmb)")
        ok = rpmb_abi.RPMB_CMD_GET_DEV_INFO_RET_OK
        return rpmb_abi.RPMB_DEV_INFO.pack(device.cid, device.size_mult, device.rel_wr_sec_c, ok)

    def data_request(self, frames: bytes, response_frames: int, kernel: bool) -> bytes:
        assert self._device is not None
        return exchange(self._device, split(frames), response_frames)


@dataclass(frozen=True, slots=True)
class _Ree:
    files: DirectoryFiles
    rpmb: _Frames


class Place(NamedTuple):
    """Where an object is."""

    store: str
    """REE or RPMB"""
    owner: bytes
    obj_id: bytes
    file: str
    """Of the REE file system; of RPMB: the entry's block."""
    on_disk: int


class Store:
    """``directory`` is a board's /var/lib/tee, ``rpmb`` the file of its RPMB device. Failures are TeeError.

    Unless something may ``change`` a copy of the device is looked at: a start alone changes it. If it may, a device
    that nobody has used yet begins as it does under a machine: its file is made, and its key programmed.
    """

    def __init__(self, directory: Path, config: Config, change: bool = False, rpmb: Path | None = None) -> None:
        self.files = DirectoryFiles(directory, change)
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._device: EmulatedRpmb | None = None
        used = rpmb is not None and rpmb.exists()
        if rpmb is not None and (used or (change and config.rpmb)):
            self._device = self._open_device(rpmb, size_mult_of(rpmb) if used else config.rpmb_size_mult, change)
        self.ree = _Ree(self.files, _Frames(self._device))
        chip_id = chip_id_of(config.huk_subkey, config.die_id)
        keys, rng = KeyManager(config.huk, chip_id), Entropy()
        self._keys, self._rng = keys, rng
        write_key = change and config.rpmb_write_key
        self._rpmb_fs = RpmbFs(Rpmb(config.huk, rng, write_key, chip_id), keys, rng)
        # Looks at the device as it was when the store was opened, and never programs a key.
        self._used_rpmb_fs = RpmbFs(Rpmb(config.huk, rng, False, chip_id), keys, rng) if used else None
        self._root = RpmbRoot(self._rpmb_fs) if config.ree_fs_integrity_rpmb else None
        self.fs: dict[str, FileOperations] = {REE: ReeFs(keys, rng, self._root, tidy=change)}
        if self._device is not None:
            self.fs[RPMB] = self._rpmb_fs
        self.tas = TaDb(self.fs[REE], rng)

    def _open_device(self, path: Path, size_mult: int, change: bool) -> EmulatedRpmb:
        if not change:
            self._copy = tempfile.TemporaryDirectory(prefix="optemu-rpmb-")
            path = Path(shutil.copyfile(path, Path(self._copy.name) / "rpmb"))
        return EmulatedRpmb(path, size_mult, sync=change)

    def end(self) -> None:
        """OSError when not all of it is on the disk."""
        if self._device is not None:
            self._device.close()
        if self._copy is not None:
            self._copy.cleanup()
        self.files.end()

    def has_root(self) -> bool:
        """Is the root of the REE file system in RPMB, wherever this configuration looks for it?"""
        if self._used_rpmb_fs is None:
            return False
        try:
            return RpmbRoot(self._used_rpmb_fs).read(self.ree) is not None
        except TeeError as e:
            if e.code != gp.TEE_ERROR_STORAGE_NOT_AVAILABLE:
                raise
            return False

    def places(self) -> list[Place]:
        """All objects of both file systems."""
        found = []
        for e in self._entries():
            file = file_name(e.file_number).decode()
            found.append(Place(REE, e.uuid, e.obj_id, file, self.files.size_on_disk(file)))
        for owner, obj_id, entry in self._in_rpmb():
            found.append(Place(RPMB, owner, obj_id, f"{entry.block}", -(-entry.data_size // 256) * 256 + 256))
        return found

    def _in_rpmb(self) -> list[tuple[bytes, bytes, FatEntry]]:
        try:
            return self._rpmb_fs.all_objects(self.ree)
        except TeeError as e:
            if e.code not in _UNUSED:
                raise
            return []

    def _entries(self) -> list[Entry]:
        """The database, dirf.db: what is whose."""
        anchor = self._root.read(self.ree) if self._root is not None else None
        try:
            fd = self.files.open(DIRFILE_NAME)
        except TeeError as e:
            if e.code != gp.TEE_ERROR_ITEM_NOT_FOUND:
                raise
            if anchor is not None:
                raise TeeError(gp.TEE_ERROR_SECURITY, "dirf.db is gone, and its root is in RPMB") from None
            return []
        try:
            tree = Htree(fd, "dirf.db", self._keys, self._rng, None).open(self.files, anchor)
            found = Dirfile(tree).load(self.files).entries
        finally:
            self.files.close(fd)
        return sorted((e for e in found if e is not None), key=lambda e: e.file_number)

    def find(self, owner: bytes, obj_id: bytes, store: str | None) -> str:
        """The store that has the object: ``store``, or the first that has."""
        for name in [store] if store else self.fs:
            if name not in self.fs:
                raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, "there is no RPMB device (no file rpmb)")
            try:
                if obj_id in self.fs[name].objects(self.ree, owner):
                    return name
            except TeeError as e:
                if e.code not in _UNUSED:
                    raise
        raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, f"TA {gp.uuid_str(owner)} has no object {obj_id!r}")

    @contextlib.contextmanager
    def _open(self, store: str, owner: bytes, obj_id: bytes) -> Iterator[tuple[FileHandle, Stored]]:
        fs = self.fs[store]
        size, fh = fs.open(self.ree, Pobj(fs, owner, obj_id))
        try:
            yield fh, self._stored(fs, fh, owner, obj_id, size)
        finally:
            fs.close(self.ree, fh)

    def _stored(self, fs: FileOperations, fh: FileHandle, owner: bytes, obj_id: bytes, size: int) -> Stored:
        version = fh.tree.counter if isinstance(fh, ReeFile) and fh.tree is not None else None
        if (owner, obj_id) in CORES:
            return Stored(0, 0, 0, 0, 0, b"", 0, size, version, CORES[owner, obj_id])
        raw = fs.read(self.ree, fh, 0, _HEAD.size)
        attr_size = _HEAD.unpack(raw)[0] if len(raw) == _HEAD.size else size
        offset = _HEAD.size + attr_size
        if offset > size:
            name = f"object {obj_id!r} of TA {gp.uuid_str(owner)}"
            raise TeeError(gp.TEE_ERROR_CORRUPT_OBJECT, f"{name}: it is {size} bytes, and its head says otherwise")
        _, object_size, max_object_size, usage, object_type, have_attrs = _HEAD.unpack(raw)
        attributes = fs.read(self.ree, fh, _HEAD.size, attr_size)
        return Stored(
            object_type, object_size, max_object_size, usage, have_attrs, attributes, offset, size - offset, version
        )

    def look(self, store: str, owner: bytes, obj_id: bytes) -> Stored:
        with self._open(store, owner, obj_id) as (_, stored):
            return stored

    def read(self, store: str, owner: bytes, obj_id: bytes) -> tuple[Stored, bytes]:
        """The object and its data, all of it verified."""
        with self._open(store, owner, obj_id) as (fh, stored):
            return stored, self.fs[store].read(self.ree, fh, stored.data_offset, stored.data_size)

    def lowest_versions(self, store: str, obj_id: bytes) -> list[tuple[bytes, int]]:
        """(UUID, lowest version that is accepted) of a version database; TEE_ERROR_BAD_STATE: it is malformed."""
        _, raw = self.read(store, gp.NIL_UUID, obj_id)
        _, floor = parse_versions(raw, show_id(obj_id.rstrip(b"\0")))
        return [(uuid, version) for uuid, (_, version) in floor.items()]

    def write(self, store: str, owner: bytes, obj_id: bytes, stored: Stored, data: bytes, overwrite: bool) -> None:
        head = _HEAD.pack(
            len(stored.attributes),
            stored.object_size,
            stored.max_object_size,
            stored.usage,
            stored.object_type,
            stored.have_attrs,
        )
        if store not in self.fs:
            why = "there is no RPMB device (no file rpmb); [normal_world] rpmb = true gives this board one"
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, why)
        fs = self.fs[store]
        fs.close(self.ree, fs.create(self.ree, Pobj(fs, owner, obj_id), overwrite, head, stored.attributes, data))


@contextlib.contextmanager
def open_store(config: Config, change: bool = False, create: bool = False) -> Iterator[Store]:
    """The store in the configured state directory, for us alone. ConfigError, OSError, StateInUse.

    It may be looked at only, unless it is there to ``change``; ``create``: it need not be there yet.
    """
    if config.state is None:
        raise ConfigError("which store? Name its state directory with --state, or in optemu.toml")
    if not config.state.is_dir():
        raise ConfigError(f"{config.state}: no such directory")
    rpmb = config.state / "rpmb"
    with StateDir(config.state):
        # What was copied from a board is a /var/lib/tee itself.
        directory = config.state if (config.state / DIRFILE).exists() else config.state / "tee"
        begun = (directory / DIRFILE).exists()
        if begun and config.ree_fs_integrity_rpmb and not rpmb.exists():
            raise ConfigError(f"{rpmb}: no such file, and the root of this store is in RPMB (ree_fs_integrity_rpmb)")
        if create:
            directory.mkdir(mode=0o700, exist_ok=True)
        elif not directory.is_dir():
            raise ConfigError(f"{config.state}: there is no trusted storage in it (no tee, no dirf.db)")
        store = Store(directory, config, change, rpmb)
        try:
            if change:
                _check_root(store.has_root(), config, directory / DIRFILE if begun else None)
            yield store
        finally:
            store.end()


def _check_root(in_rpmb: bool, config: Config, database: Path | None) -> None:
    """Nothing is changed where the next machine would not believe it, nor what is in ``database`` forgotten."""
    if in_rpmb and not config.ree_fs_integrity_rpmb:
        raise ConfigError("the root of this store is in RPMB; say so: [tee] ree_fs_integrity_rpmb = true")
    if config.ree_fs_integrity_rpmb and not in_rpmb and database is not None:
        raise ConfigError(
            f"{database} has no root in RPMB, where ree_fs_integrity_rpmb wants one: a machine would begin a new "
            "database. Set it to false, or export the objects, move that file away, and import them"
        )
