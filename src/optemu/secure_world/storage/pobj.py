"""The persistent objects that somebody has open, shared by all TAs. Mirrors core/tee/tee_pobj.c."""

import threading
from enum import Enum, auto

from optemu.abi import gp
from optemu.abi.obj import (
    TEE_DATA_FLAG_ACCESS_READ,
    TEE_DATA_FLAG_ACCESS_WRITE,
    TEE_DATA_FLAG_ACCESS_WRITE_META,
    TEE_DATA_FLAG_OVERWRITE,
    TEE_DATA_FLAG_SHARE_READ,
    TEE_DATA_FLAG_SHARE_WRITE,
)
from optemu.errors import TeeError
from optemu.secure_world.storage.tee_fs import FileOperations, Pobj

_SHARED = TEE_DATA_FLAG_SHARE_READ | TEE_DATA_FLAG_SHARE_WRITE
_ACCESS_AND_SHARE = (
    (TEE_DATA_FLAG_ACCESS_READ, TEE_DATA_FLAG_SHARE_READ),
    (TEE_DATA_FLAG_ACCESS_WRITE, TEE_DATA_FLAG_SHARE_WRITE),
)


class PobjUsage(Enum):
    """enum tee_pobj_usage: what an object is opened for."""

    OPEN = auto()
    RENAME = auto()
    CREATE = auto()
    ENUM = auto()


def check_access(old: int, new: int) -> None:
    """tee_pobj_check_access: may an object that is open with flags ``old`` be opened with ``new`` as well?

    TeeError(TEE_ERROR_ACCESS_CONFLICT) if not: access to metadata is exclusive; access of a sort needs all handles to
    share it; and a handle that shares nothing, with no access of its own, locks the others out.
    """
    conflict = (old | new) & TEE_DATA_FLAG_ACCESS_WRITE_META
    for access, share in _ACCESS_AND_SHARE:
        conflict |= (old | new) & access and not old & new & share
        conflict |= (old ^ new) & share
    if conflict:
        raise TeeError(
            gp.TEE_ERROR_ACCESS_CONFLICT, f"the object is open with flags 0x{old:x}, which exclude 0x{new:x}"
        )


def is_shared(po: Pobj) -> bool:
    """pobj_need_usage_lock: others may have ``po`` open as well."""
    return bool(po.flags & _SHARED)


class Pobjs:
    """Every open persistent object once, by file system, owner and identifier. Never waits for anything."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[tuple[FileOperations, bytes, bytes], Pobj] = {}

    def __len__(self) -> int:
        return len(self._open)

    def get(self, fops: FileOperations, uuid: bytes, obj_id: bytes, flags: int, usage: PobjUsage) -> Pobj:
        """tee_pobj_get: one reference more to the object, or the first. TeeError(TEE_ERROR_ACCESS_CONFLICT)."""
        key = (fops, uuid, obj_id)
        with self._lock:
            po = self._open.get(key)
            if po is None:
                po = self._open[key] = Pobj(fops, uuid, obj_id, flags)
                po.temporary = po.creating = usage is PobjUsage.CREATE
                return po
            if usage is not PobjUsage.ENUM:
                if po.creating:
                    raise TeeError(gp.TEE_ERROR_ACCESS_CONFLICT, "the object is being created")
                if usage is PobjUsage.CREATE and not flags & TEE_DATA_FLAG_OVERWRITE:
                    raise TeeError(gp.TEE_ERROR_ACCESS_CONFLICT, "the object is there, and open")
                check_access(po.flags, flags)
            po.refcnt += 1
            return po

    def create_final(self, po: Pobj) -> None:
        """tee_pobj_create_final: the object is complete, others may open it."""
        with self._lock:
            po.temporary = po.creating = False

    def release(self, po: Pobj) -> None:
        """tee_pobj_release: one reference less."""
        with self._lock:
            po.refcnt -= 1
            if not po.refcnt:
                self._forget(po)

    def rename(self, po: Pobj, reserved: Pobj) -> None:
        """tee_pobj_rename: ``po`` takes the identifier that ``reserved`` was opened for.

        TeeError(TEE_ERROR_BAD_STATE) when somebody else has ``po`` open.
        """
        with self._lock:
            if po.refcnt != 1:
                raise TeeError(gp.TEE_ERROR_BAD_STATE, f"the object is open {po.refcnt} times")
            self._forget(po)
            po.obj_id = reserved.obj_id
            self._open[po.fops, po.uuid, po.obj_id] = po

    def _forget(self, po: Pobj) -> None:
        key = (po.fops, po.uuid, po.obj_id)
        if self._open.get(key) is po:  # not where a renamed one has taken its place
            del self._open[key]
