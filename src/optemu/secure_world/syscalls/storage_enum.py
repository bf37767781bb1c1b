"""Enumerators of persistent objects. Mirrors core/tee/tee_svc_storage.c."""

import struct
from typing import TYPE_CHECKING

from optemu.abi import gp
from optemu.abi import obj as abi
from optemu.errors import TeeError
from optemu.secure_world.core.ree import ThreadRee
from optemu.secure_world.core.storage import Storage
from optemu.secure_world.core.tee_obj import Handles, new_handle
from optemu.secure_world.core.thread import Thread
from optemu.secure_world.storage.pobj import PobjUsage
from optemu.secure_world.storage.tee_fs import Directory, FileOperations, Ree
from optemu.secure_world.syscalls.storage import new_obj, read_head

if TYPE_CHECKING:
    from optemu.secure_world.core.user_ta import UserTaCtx

_U32 = struct.Struct("<I")
STORAGE_ENUMS_MAX = 1024
"""Of one TA."""
_U64 = struct.Struct("<Q")


class StorageEnum:
    """struct tee_storage_enum: where it is in the directory of one TA's objects, if it has been started.

    A directory that is open holds what its file system needs to go on: whoever has a thread closes it.
    """

    __slots__ = ("_directory", "_storage", "fops")

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.fops: FileOperations | None = None
        self._directory = Directory()

    def start(self, thread: Thread, fops: FileOperations, uuid: bytes) -> None:
        """opendir: TeeError(TEE_ERROR_ITEM_NOT_FOUND) when there is not one object."""
        self.close(thread)
        with self._storage.ree(thread) as ree:
            self._directory = fops.opendir(ree, uuid)
            self.fops = fops

    def next(self, ree: Ree) -> bytes:
        """readdir: the next identifier; TeeError(TEE_ERROR_ITEM_NOT_FOUND) after the last, when it is closed as well.

        Upstream has it open until it is reset or freed.
        """
        assert self.fops is not None, "it has not been started"
        try:
            return self.fops.readdir(ree, self._directory)
        except TeeError as e:
            if e.code == gp.TEE_ERROR_ITEM_NOT_FOUND:
                self._close(ree, self.fops)
            raise

    def close(self, thread: Thread) -> None:
        """closedir."""
        if self.fops is not None:
            with self._storage.ree(thread) as ree:
                self._close(ree, self.fops)

    def _close(self, ree: Ree, fops: FileOperations) -> None:
        self.fops = None
        fops.closedir(ree, self._directory)


def close_all_enum(enums: Handles[StorageEnum], thread: Thread) -> None:
    """tee_svc_storage_close_all_enum."""
    while enums:
        enums.popitem()[1].close(thread)


def _enum(ta: "UserTaCtx", handle: int) -> StorageEnum:
    return ta.storage_enums.of(handle)


def syscall_storage_alloc_enum(ta: "UserTaCtx", obj_enum: int) -> int:
    if not obj_enum:
        return gp.TEE_ERROR_BAD_PARAMETERS
    handle = new_handle()
    ta.storage_enums.add(handle, StorageEnum(ta.tee.storage))
    ta.space.copy_to_user_private(obj_enum, _U32.pack(handle))
    return gp.TEE_SUCCESS


def syscall_storage_free_enum(ta: "UserTaCtx", obj_enum: int) -> int:
    assert ta.thread is not None
    _enum(ta, obj_enum).close(ta.thread)
    del ta.storage_enums[obj_enum & 0xFFFFFFFF]
    return gp.TEE_SUCCESS


def syscall_storage_reset_enum(ta: "UserTaCtx", obj_enum: int) -> int:
    assert ta.thread is not None
    _enum(ta, obj_enum).close(ta.thread)
    return gp.TEE_SUCCESS


def syscall_storage_start_enum(ta: "UserTaCtx", obj_enum: int, storage_id: int) -> int:
    assert ta.thread is not None
    fops = ta.tee.storage.file_ops(storage_id)
    enum = _enum(ta, obj_enum)
    if fops is None:
        enum.close(ta.thread)
        return gp.TEE_ERROR_ITEM_NOT_FOUND
    enum.start(ta.thread, fops, ta.uuid)
    return gp.TEE_SUCCESS


def syscall_storage_next_enum(ta: "UserTaCtx", obj_enum: int, info: int, obj_id: int, length: int) -> int:
    assert ta.thread is not None
    enum = _enum(ta, obj_enum)
    for va, size in ((info, abi.UTEE_OBJECT_INFO.size), (obj_id, abi.TEE_OBJECT_ID_MAX_LEN)):
        refused: int = ta.space.check_access_rights(gp.TEE_MEMORY_ACCESS_WRITE, va, size)
        if refused:
            return refused
    if enum.fops is None:
        return gp.TEE_ERROR_ITEM_NOT_FOUND
    name, described = _next(ta, enum, enum.fops)
    ta.space.copy_to_user(info, described)
    ta.space.copy_to_user(obj_id, name)
    ta.space.copy_to_user_private(length, _U64.pack(len(name)))
    return gp.TEE_SUCCESS


def _next(ta: "UserTaCtx", enum: StorageEnum, fops: FileOperations) -> tuple[bytes, bytes]:
    """Identifier and struct utee_object_info of the next object; what was deleted since it was listed is left out."""
    assert ta.thread is not None
    ree = ta.tee.storage.ree(ta.thread)
    while True:
        with ree:
            name = enum.next(ree)
        try:
            return name, _describe(ta, ree, fops, name)
        except TeeError as e:
            if e.code != gp.TEE_ERROR_ITEM_NOT_FOUND:
                raise


def _describe(ta: "UserTaCtx", ree: ThreadRee, fops: FileOperations, name: bytes) -> bytes:
    """struct utee_object_info of the object ``name``, whether somebody has it open or not."""
    assert ta.thread is not None
    storage = ta.tee.storage
    po = storage.pobjs.get(fops, ta.uuid, name, 0, PobjUsage.ENUM)
    o = new_obj(po, po.flags)
    try:
        with storage.usage_lock(ta.thread, po), ree:
            described = storage.description(ree, po) or read_head(ta, ree, o)
            return abi.UTEE_OBJECT_INFO.pack(*described, 0, o.handle_flags)
    finally:
        storage.close(ta.thread, o)
        o.wipe()
