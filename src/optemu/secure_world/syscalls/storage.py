"""Persistent objects: open, create, delete, rename. Mirrors core/tee/tee_svc_storage.c."""

import logging
import struct
from typing import TYPE_CHECKING

from optemu.abi import gp
from optemu.abi import obj as abi
from optemu.abi.cryp import TEE_TYPE_DATA
from optemu.abi.ta_head import TA_FLAG_DONT_CLOSE_HANDLE_ON_CORRUPT_OBJECT
from optemu.errors import TeeError
from optemu.secure_world.core.tee_obj import TeeObj, tee_obj_close
from optemu.secure_world.storage.pobj import PobjUsage
from optemu.secure_world.storage.tee_fs import FileOperations, Pobj, Ree
from optemu.secure_world.syscalls.cryp_attr import (
    tee_obj_attr_copy_from,
    tee_obj_attr_from_binary,
    tee_obj_attr_to_binary,
    tee_obj_set_type,
)

if TYPE_CHECKING:
    from optemu.secure_world.core.storage import Description
    from optemu.secure_world.core.user_ta import UserTaCtx

log = logging.getLogger("optemu.syscalls")

_U32 = struct.Struct("<I")
_OPEN_FLAGS = (
    abi.TEE_DATA_FLAG_ACCESS_READ
    | abi.TEE_DATA_FLAG_ACCESS_WRITE
    | abi.TEE_DATA_FLAG_ACCESS_WRITE_META
    | abi.TEE_DATA_FLAG_SHARE_READ
    | abi.TEE_DATA_FLAG_SHARE_WRITE
)
_CREATE_FLAGS = _OPEN_FLAGS | abi.TEE_DATA_FLAG_OVERWRITE
_PERSISTENT = abi.TEE_HANDLE_FLAG_PERSISTENT | abi.TEE_HANDLE_FLAG_INITIALIZED


# --- what the calls have in common ---------------------------------------------------------------------------------


def persistent(ta: "UserTaCtx", handle: int) -> tuple[TeeObj, Pobj]:
    """The persistent object that ``handle`` names; TeeError(TEE_ERROR_BAD_STATE) when it is transient."""
    o = ta.objs.of(handle)
    if o.pobj is None or not o.handle_flags & abi.TEE_HANDLE_FLAG_PERSISTENT:
        raise TeeError(gp.TEE_ERROR_BAD_STATE, "the object is transient")
    return o, o.pobj


def obj_close(ta: "UserTaCtx", o: TeeObj) -> None:
    assert ta.thread is not None
    tee_obj_close(ta, ta.thread, o)


def remove_corrupt_obj(ta: "UserTaCtx", o: TeeObj) -> None:
    """The object's file goes, and the handle with it unless the TA asked to keep such handles."""
    assert o.pobj is not None
    log.error("TA %s: object %s is corrupt and is removed", gp.uuid_str(ta.uuid), o.pobj.obj_id.hex())
    remove_quietly(ta, o.pobj)
    if not ta.flags & TA_FLAG_DONT_CLOSE_HANDLE_ON_CORRUPT_OBJECT:
        obj_close(ta, o)


def remove_quietly(ta: "UserTaCtx", po: Pobj) -> None:
    assert ta.thread is not None
    try:
        with ta.tee.storage.ree(ta.thread) as ree:
            po.fops.remove(ree, po)
    except TeeError as e:
        log.debug("object %s cannot be removed: %s", po.obj_id.hex(), e)


def _file_ops(ta: "UserTaCtx", storage_id: int) -> FileOperations:
    fops = ta.tee.storage.file_ops(storage_id)
    if fops is None:
        raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, f"there is no storage 0x{storage_id:x}")
    return fops


def _check_id_len(object_id_len: int) -> None:
    if object_id_len > abi.TEE_OBJECT_ID_MAX_LEN:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"an object identifier of {object_id_len} bytes")


def read_head(ta: "UserTaCtx", ree: Ree, o: TeeObj) -> "Description":
    """tee_svc_storage_read_head: open the file of ``o`` and make ``o`` what it says. What that is, in short.

    TeeError(TEE_ERROR_CORRUPT_OBJECT), or what type and attributes are refused with. ``o.fh`` is open if the file is.
    """
    assert o.pobj is not None
    po, head_size = o.pobj, abi.TEE_SVC_STORAGE_HEAD.size
    size, o.fh = po.fops.open(ree, po)
    raw = po.fops.read(ree, o.fh, 0, head_size)
    if len(raw) != head_size:
        raise TeeError(gp.TEE_ERROR_CORRUPT_OBJECT, f"an object of {size} bytes has no head")
    attr_size, object_size, max_object_size, usage, object_type, have_attrs = abi.TEE_SVC_STORAGE_HEAD.unpack(raw)
    if head_size + attr_size > size:
        raise TeeError(gp.TEE_ERROR_CORRUPT_OBJECT, f"{attr_size} bytes of attributes in an object of {size}")
    tee_obj_set_type(o, object_type, max_object_size)
    o.data_offset = head_size + attr_size
    attrs = po.fops.read(ree, o.fh, head_size, attr_size) if attr_size else b""
    if len(attrs) != attr_size:
        raise TeeError(gp.TEE_ERROR_CORRUPT_OBJECT, f"{len(attrs)} of {attr_size} bytes of attributes")
    tee_obj_attr_from_binary(o, attrs)
    o.data_size = size - o.data_offset
    o.object_size = object_size
    o.have_attrs = have_attrs
    po.usage = usage
    return ta.tee.storage.describe(o, usage)


def new_obj(po: Pobj, flags: int) -> TeeObj:
    """A handle of ``po``, not yet known to the TA. Usage is the pobj's."""
    o = TeeObj()
    o.handle_flags = _PERSISTENT | flags
    o.pobj = po
    o.usage = 0
    return o


# --- open ------------------------------------------------------------------------------------------------------------


def syscall_storage_obj_open(
    ta: "UserTaCtx", storage_id: int, object_id: int, object_id_len: int, flags: int, obj_va: int
) -> int:
    if flags & ~_OPEN_FLAGS:
        return gp.TEE_ERROR_BAD_PARAMETERS
    fops = _file_ops(ta, storage_id)
    _check_id_len(object_id_len)
    obj_id = ta.space.copy_from_user_private(object_id, object_id_len)
    po = ta.tee.storage.pobjs.get(fops, ta.uuid, obj_id, flags, PobjUsage.OPEN)
    o = new_obj(po, flags)
    try:
        ta.objs.add(o.handle, o)
    except TeeError:
        ta.tee.storage.pobjs.release(po)
        raise
    try:
        _read_and_tell(ta, o, po, obj_va)
    except TeeError as e:
        if e.code == gp.TEE_ERROR_CORRUPT_OBJECT:
            remove_corrupt_obj(ta, o)
            raise
        obj_close(ta, o)
        raise _as_corrupt(e) from e
    except BaseException:
        obj_close(ta, o)
        raise
    return gp.TEE_SUCCESS


def _read_and_tell(ta: "UserTaCtx", o: TeeObj, po: Pobj, obj_va: int) -> None:
    assert ta.thread is not None
    storage = ta.tee.storage
    with storage.usage_lock(ta.thread, po), storage.ree(ta.thread) as ree:
        read_head(ta, ree, o)
    ta.space.copy_to_user_private(obj_va, _U32.pack(o.handle))


def _as_corrupt(e: TeeError) -> TeeError:
    """What a TA is told of a file that is not what it should be."""
    if e.code in (gp.TEE_ERROR_NO_DATA, gp.TEE_ERROR_BAD_FORMAT):
        return TeeError(gp.TEE_ERROR_CORRUPT_OBJECT, e.message)
    return e


# --- create ----------------------------------------------------------------------------------------------------------


def syscall_storage_obj_create(
    ta: "UserTaCtx",
    storage_id: int,
    object_id: int,
    object_id_len: int,
    flags: int,
    attr: int,
    data: int,
    length: int,
    obj_va: int,
) -> int:
    if flags & ~_CREATE_FLAGS:
        return gp.TEE_ERROR_BAD_PARAMETERS
    fops = _file_ops(ta, storage_id)
    _check_id_len(object_id_len)
    if length and not data:
        return gp.TEE_ERROR_BAD_PARAMETERS
    obj_id = ta.space.copy_from_user_private(object_id, object_id_len)
    po = ta.tee.storage.pobjs.get(fops, ta.uuid, obj_id, flags, PobjUsage.CREATE)
    try:
        attr_o = _initialized(ta, attr) if attr else None
        if attr_o is not None and not obj_va and not attr_o.handle_flags & abi.TEE_HANDLE_FLAG_PERSISTENT:
            _transform(ta, po, flags, attr_o, data, length)
            return gp.TEE_SUCCESS
        o = _create(ta, po, flags, attr_o, data, length)
    except TeeError as e:
        known = _as_corrupt(e)
        if known.code == gp.TEE_ERROR_CORRUPT_OBJECT:
            remove_quietly(ta, po)
        ta.tee.storage.pobjs.release(po)
        raise known from e
    except BaseException:
        ta.tee.storage.pobjs.release(po)
        raise
    try:
        if obj_va:
            ta.space.copy_to_user_private(obj_va, _U32.pack(o.handle))
    except TeeError:
        obj_close(ta, o)
        raise
    ta.tee.storage.pobjs.create_final(po)
    if not obj_va:
        obj_close(ta, o)
    return gp.TEE_SUCCESS


def _initialized(ta: "UserTaCtx", attr: int) -> TeeObj:
    o = ta.objs.of(attr)
    if not o.handle_flags & abi.TEE_HANDLE_FLAG_INITIALIZED:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, "the object whose attributes are asked for has none")
    return o


def _transform(ta: "UserTaCtx", po: Pobj, flags: int, o: TeeObj, data: int, length: int) -> None:
    """The transient object ``o`` itself becomes the persistent one.

    As upstream does, ``po`` stays marked as being created: nobody else can open it before this handle is closed.
    """
    saved = o.handle_flags
    o.handle_flags = _PERSISTENT | flags
    o.pobj = po
    po.usage = o.usage
    try:
        _init_file(ta, o, po, o, data, length)
    except BaseException:
        o.handle_flags = saved
        o.pobj = None
        raise
    o.usage = 0


def _create(ta: "UserTaCtx", po: Pobj, flags: int, attr_o: TeeObj | None, data: int, length: int) -> TeeObj:
    """A new object with the attributes of ``attr_o``, known to the TA; TeeError leaves ``po`` to the caller."""
    ta.objs.room()
    o = new_obj(po, flags)
    try:
        _init_file(ta, o, po, attr_o, data, length)
    except BaseException:
        o.wipe()
        raise
    ta.objs.add(o.handle, o)
    return o


def _init_file(ta: "UserTaCtx", o: TeeObj, po: Pobj, attr_o: TeeObj | None, data: int, length: int) -> None:
    """tee_svc_storage_init_file: type and attributes from ``attr_o``, which may be ``o``; then all to the file."""
    assert ta.thread is not None
    if attr_o is None:
        tee_obj_set_type(o, TEE_TYPE_DATA, 0)
    elif o is not attr_o:
        tee_obj_set_type(o, attr_o.object_type, attr_o.max_object_size)
        tee_obj_attr_copy_from(o, attr_o)
        o.have_attrs = attr_o.have_attrs
        po.usage = attr_o.usage
        o.object_size = attr_o.object_size
    attrs = tee_obj_attr_to_binary(o) if attr_o is not None else b""
    head = abi.TEE_SVC_STORAGE_HEAD.pack(
        len(attrs), o.object_size, o.max_object_size, po.usage, o.object_type, o.have_attrs
    )
    overwrite = bool(o.handle_flags & abi.TEE_DATA_FLAG_OVERWRITE)
    octets = ta.space.copy_from_user(data, length)
    with ta.tee.storage.ree(ta.thread) as ree:
        o.fh = po.fops.create(ree, po, overwrite, head, attrs, octets)
    o.data_offset = len(head) + len(attrs)
    o.data_size = length
    ta.tee.storage.describe(o, po.usage)


# --- delete, rename --------------------------------------------------------------------------------------------------


def syscall_storage_obj_del(ta: "UserTaCtx", obj: int) -> int:
    assert ta.thread is not None
    o = ta.objs.of(obj)
    if not o.handle_flags & abi.TEE_DATA_FLAG_ACCESS_WRITE_META:
        return gp.TEE_ERROR_ACCESS_CONFLICT
    if o.pobj is None:
        return gp.TEE_ERROR_BAD_STATE
    try:
        with ta.tee.storage.ree(ta.thread) as ree:
            o.pobj.fops.remove(ree, o.pobj)
    finally:
        obj_close(ta, o)
    return gp.TEE_SUCCESS


def syscall_storage_obj_rename(ta: "UserTaCtx", obj: int, object_id: int, object_id_len: int) -> int:
    assert ta.thread is not None
    _check_id_len(object_id_len)
    o, po = persistent(ta, obj)
    if not o.handle_flags & abi.TEE_DATA_FLAG_ACCESS_WRITE_META:
        return gp.TEE_ERROR_BAD_STATE
    new_id = ta.space.copy_from_user_private(object_id, object_id_len)
    pobjs = ta.tee.storage.pobjs
    reserved = pobjs.get(po.fops, ta.uuid, new_id, abi.TEE_DATA_FLAG_ACCESS_WRITE_META, PobjUsage.RENAME)
    try:
        with ta.tee.storage.ree(ta.thread) as ree:
            po.fops.rename(ree, po, new_id)
        pobjs.rename(po, reserved)
    finally:
        pobjs.release(reserved)
    return gp.TEE_SUCCESS
