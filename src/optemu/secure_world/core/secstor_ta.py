"""TAs in secure storage, and the versions of those outside it. Mirrors core/kernel/secstor_ta.c, tadb.c's locking."""

from typing import TYPE_CHECKING

from optemu.abi import gp, shdr
from optemu.abi.obj import TEE_STORAGE_PRIVATE, TEE_STORAGE_PRIVATE_RPMB
from optemu.errors import TeeError
from optemu.secure_world.core.thread import Thread
from optemu.secure_world.crypto.signed_header import SignedImage
from optemu.secure_world.storage.tadb import InstalledTa, TaDb
from optemu.secure_world.storage.tee_fs import Ree
from optemu.secure_world.storage.ver_db import SUBKEY_VER_DB, TA_VER_DB, VersionDb

if TYPE_CHECKING:
    from optemu.secure_world.core.tee import Tee


def install_ta(tadb: TaDb, ree: Ree, image: SignedImage) -> int | None:
    """install_ta of core/pta/secstor_ta_mgmt.c: a believed image into ``tadb``; the version that it replaces.

    TEE_ERROR_SECURITY when it is not of the sort that can be installed, TEE_ERROR_ACCESS_CONFLICT when a newer version
    is installed.
    """
    if image.subkeys:
        by = image.subkeys[-1].key.name
        why = f"{by} signed it, and only what a root key itself signed can be installed: sign it with one"
        raise TeeError(gp.TEE_ERROR_SECURITY, why)
    if image.img_type != shdr.SHDR_BOOTSTRAP_TA:
        kind = shdr.IMG_TYPE_NAMES[image.img_type]
        why = f"it is of type {kind}, and only SHDR_BOOTSTRAP_TA can be installed: sign it anew, unencrypted"
        raise TeeError(gp.TEE_ERROR_SECURITY, why)
    assert image.uuid is not None
    assert image.ta_version is not None
    installed = tadb.version(ree, image.uuid)
    if installed is not None and installed > image.ta_version:
        raise TeeError(
            gp.TEE_ERROR_ACCESS_CONFLICT,
            f"TA {gp.uuid_str(image.uuid)} is of version {image.ta_version}, and version {installed} is installed: "
            "sign it with a higher version, or remove that one first (optemu ta remove)",
        )
    tadb.install(ree, image.uuid, image.ta_version, image.payload)
    return installed


class TaRecords:
    """What the core itself keeps in secure storage about TAs."""

    def __init__(self, tee: "Tee") -> None:
        fops = tee.storage.file_ops(TEE_STORAGE_PRIVATE)
        in_rpmb = tee.board.config.ta_version_db_rpmb
        ver_db_fops = tee.storage.file_ops(TEE_STORAGE_PRIVATE_RPMB) if in_rpmb else fops
        assert fops is not None
        assert ver_db_fops is not None, "the configuration has no RPMB"
        self._storage = tee.storage
        self._tadb = TaDb(fops, tee.board.entropy)
        self._ta_versions = VersionDb(ver_db_fops, TA_VER_DB)
        self._subkey_versions = VersionDb(ver_db_fops, SUBKEY_VER_DB)

    def open(self, thread: Thread, uuid: bytes) -> InstalledTa:
        """secstor_ta_open; TEE_ERROR_ITEM_NOT_FOUND."""
        if self._tadb.lacks(uuid):
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND)
        with self._storage.ree(thread) as ree:
            return self._tadb.open(ree, uuid)

    def install(self, thread: Thread, image: SignedImage) -> None:
        """``install_ta``, in the database of this core."""
        with self._storage.ree(thread) as ree:
            install_ta(self._tadb, ree, image)

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
