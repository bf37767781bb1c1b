"""The root of the REE file system in RPMB, CFG_REE_FS_INTEGRITY_RPMB. Mirrors open_dirh of core/tee/tee_ree_fs.c."""

from optemu.abi import gp
from optemu.abi.fs_htree import TEE_FS_HTREE_HASH_SIZE
from optemu.abi.rpmb_fs import RPMB_ROOT_NAME
from optemu.errors import TeeError
from optemu.secure_world.storage.rpmb_fs import RpmbFile, RpmbFs
from optemu.secure_world.storage.tee_fs import Ree


class RpmbRoot:
    """``Root`` of a ReeFs: one file of ``fs`` that holds the database's hash. A commit is one write of one block."""

    def __init__(self, fs: RpmbFs) -> None:
        self._fs = fs
        self._fh: RpmbFile | None = None

    def read(self, ree: Ree) -> bytes | None:
        try:
            self._fh = self._fs.raw_open(ree, RPMB_ROOT_NAME, create=False)
        except TeeError as error:
            if error.code != gp.TEE_ERROR_ITEM_NOT_FOUND:
                raise
            return None
        root_hash = self._fs.read(ree, self._fh, 0, TEE_FS_HTREE_HASH_SIZE)
        return root_hash if len(root_hash) == TEE_FS_HTREE_HASH_SIZE else None

    def commit(self, ree: Ree, root_hash: bytes, counter: int) -> None:
        if self._fh is None:
            self._fh = self._fs.raw_open(ree, RPMB_ROOT_NAME, create=True)
        self._fs.write(ree, self._fh, 0, root_hash)
