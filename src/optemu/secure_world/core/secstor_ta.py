"""TAs in secure storage, and the versions of those outside it. Mirrors core/kernel/secstor_ta.c, tadb.c's locking."""

from typing import TYPE_CHECKING

from optemu.abi import gp
from optemu.abi.obj import TEE_STORAGE_PRIVATE
from optemu.errors import TeeError
from optemu.secure_world.core.thread import Thread
from optemu.secure_world.crypto.signed_header import SignedImage
from optemu.secure_world.storage.tadb import InstalledTa, TaDb
from optemu.secure_world.storage.ver_db import SUBKEY_VER_DB, TA_VER_DB, VersionDb

if TYPE_CHECKING:
    from optemu.secure_world.core.tee import Tee


class TaRecords:
    """What the core itself keeps in secure storage about TAs."""

    def __init__(self, tee: "Tee") -> None:
        fops = tee.storage.file_ops(TEE_STORAGE_PRIVATE)
        assert fops is not None
        self._storage = tee.storage
        self._tadb = TaDb(fops, tee.board.entropy)
        self._ta_versions = VersionDb(fops, TA_VER_DB)
        self._subkey_versions = VersionDb(fops, SUBKEY_VER_DB)

    def open(self, thread: Thread, uuid: bytes) -> InstalledTa:
        """secstor_ta_open; TEE_ERROR_ITEM_NOT_FOUND."""
        if self._tadb.lacks(uuid):
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND)
        with self._storage.ree(thread) as ree:
            return self._tadb.open(ree, uuid)

    def install(self, thread: Thread, image: SignedImage) -> None:
        """install_ta: TEE_ERROR_ACCESS_CONFLICT when a newer version is installed."""
        assert image.uuid is not None
        assert image.ta_version is not None
        with self._storage.ree(thread) as ree:
            installed = self._tadb.version(ree, image.uuid)
            if installed is not None and installed > image.ta_version:
                raise TeeError(
                    gp.TEE_ERROR_ACCESS_CONFLICT,
                    f"TA {gp.uuid_str(image.uuid)} is of version {image.ta_version}, "
                    f"and version {installed} is installed",
                )
            self._tadb.install(ree, image.uuid, image.ta_version, image.payload)

    def check_update_versions(self, thread: Thread, image: SignedImage) -> None:
        """check_update_version: subkeys and TA may not be older than those seen before.

        TEE_ERROR_SECURITY for a subkey, TEE_ERROR_ACCESS_CONFLICT for the TA.
        """
        for subkey in image.subkeys:
            try:
                self._check(thread, self._subkey_versions, subkey.uuid, subkey.version)
            except TeeError as e:
                raise TeeError(gp.TEE_ERROR_SECURITY, f"subkey {e}") from e
        if image.uuid is not None and image.ta_version is not None:
            self._check(thread, self._ta_versions, image.uuid, image.ta_version)

    def _check(self, thread: Thread, versions: VersionDb, uuid: bytes, version: int) -> None:
        if not versions.is_lowest(uuid, version):
            with self._storage.ree(thread) as ree:
                versions.check_update(ree, uuid, version)
