"""Trusted storage as a whole: which file system has which storage id, and what is open. Mirrors core/tee/tee_fs.h."""

from contextlib import AbstractContextManager, nullcontext
from typing import Final, TypeAlias

from optemu.abi import obj as abi
from optemu.secure_world.core.ree import ThreadRee
from optemu.secure_world.core.sync import Held, Mutex
from optemu.secure_world.core.tee_obj import TeeObj
from optemu.secure_world.core.thread import Thread
from optemu.secure_world.storage.pobj import Pobjs, is_shared
from optemu.secure_world.storage.tee_fs import FileOperations, Pobj, Ree

_DESCRIBED_MAX: Final = 4096
_NOTHING_HELD: Final = nullcontext()
Description: TypeAlias = tuple[int, int, int, int, int]
"""Of struct utee_object_info: type, size, maximal size, usage, octets of data."""


class Storage:
    """The file systems, REE and RPMB as far as they are there; one secure thread at a time is in them."""

    def __init__(self, ree_fs: FileOperations | None, rpmb_fs: FileOperations | None) -> None:
        self.pobjs = Pobjs()
        self._fops = {abi.TEE_STORAGE_PRIVATE: ree_fs or rpmb_fs}
        if ree_fs is not None:
            self._fops[abi.TEE_STORAGE_PRIVATE_REE] = ree_fs
        if rpmb_fs is not None:
            self._fops[abi.TEE_STORAGE_PRIVATE_RPMB] = rpmb_fs
        # One for both file systems: the REE file system stands on the other when its root is in RPMB.
        self._mutex = Mutex()
        self._usage_mutex = Mutex()
        self._described: dict[bytes, Description] = {}

    def file_ops(self, storage_id: int) -> FileOperations | None:
        """tee_svc_storage_file_ops."""
        return self._fops.get(storage_id & 0xFFFFFFFF)

    def ree(self, thread: Thread) -> ThreadRee:
        """For ``with``: the normal world, and the file systems for ``thread`` alone."""
        return ThreadRee(thread, self._mutex)

    def usage_lock(self, thread: Thread, po: Pobj) -> AbstractContextManager[None]:
        """tee_pobj_lock_usage, for ``with``: nobody else changes ``po.usage``, nor what the file says of it."""
        return Held(self._usage_mutex, thread) if is_shared(po) else _NOTHING_HELD

    def describe(self, o: TeeObj, usage: int) -> Description:
        """What its head says of ``o``, which is open and as it was committed. It is remembered, by its version.

        Who lists objects need not have each file opened, read and verified again. Upstream has, each time.
        """
        described = (o.object_type, o.object_size, o.max_object_size, usage, o.data_size & 0xFFFFFFFF)
        version = o.fh.version if o.fh is not None else None
        if version is not None:
            if len(self._described) >= _DESCRIBED_MAX:
                self._described = {}
            self._described[version] = described
        return described

    def description(self, ree: Ree, po: Pobj) -> Description | None:
        """What ``describe`` told of this version of the object; None when it is not remembered.

        TeeError(TEE_ERROR_ITEM_NOT_FOUND) when it is known that there is no such object.
        """
        version = po.fops.version(ree, po)
        return self._described.get(version) if version is not None else None

    def close(self, thread: Thread, o: TeeObj) -> None:
        """The persistent half of tee_obj_close: file and pobj of ``o``, which may have neither."""
        po, fh = o.pobj, o.fh
        o.pobj = o.fh = None
        if po is None:
            return
        try:
            if fh is not None:
                with self.ree(thread) as ree:
                    po.fops.close(ree, fh)
        finally:
            self.pobjs.release(po)
