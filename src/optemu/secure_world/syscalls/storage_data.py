"""The data stream of a persistent object: read, write, truncate, seek. Mirrors core/tee/tee_svc_storage.c."""

import struct
from typing import TYPE_CHECKING

from optemu.abi import gp
from optemu.abi import obj as abi
from optemu.errors import TeeError
from optemu.secure_world.core.tee_obj import TeeObj
from optemu.secure_world.syscalls.storage import persistent, remove_corrupt_obj

if TYPE_CHECKING:
    from optemu.secure_world.core.user_ta import UserTaCtx

_U64 = struct.Struct("<Q")
_SIZE_MAX = (1 << 64) - 1
OBJECT_DATA_MAX = 256 << 20
"""The longest data stream. Upstream goes on until the disk is full; here nobody waits for that."""


def _accessible(ta: "UserTaCtx", handle: int, access: int, length: int = 0) -> TeeObj:
    """The object, if it may be accessed so, and ``length`` bytes from its position on have a number."""
    o, _ = persistent(ta, handle)
    if not o.handle_flags & access:
        raise TeeError(gp.TEE_ERROR_ACCESS_CONFLICT, f"the object is open with flags 0x{o.handle_flags:x}")
    if o.ds_pos + length > _SIZE_MAX:
        raise TeeError(gp.TEE_ERROR_OVERFLOW, f"{length} bytes at position {o.ds_pos}")
    return o


def _check_room(end: int) -> None:
    if end > OBJECT_DATA_MAX:
        raise TeeError(gp.TEE_ERROR_STORAGE_NO_SPACE, f"{end} bytes of data; an object has {OBJECT_DATA_MAX} at most")


def syscall_storage_obj_read(ta: "UserTaCtx", obj: int, data: int, length: int, count: int) -> int:
    assert ta.thread is not None
    o = _accessible(ta, obj, abi.TEE_DATA_FLAG_ACCESS_READ, length)
    assert o.pobj is not None
    assert o.fh is not None
    size, done = min(length, OBJECT_DATA_MAX), 0
    try:
        with ta.tee.storage.ree(ta.thread) as ree:
            for octets in o.pobj.fops.read_runs(ree, o.fh, o.data_offset + o.ds_pos, size) if size else ():
                if data:
                    ta.space.copy_to_user(data + done, octets)
                done += len(octets)
    except TeeError as e:
        if e.code == gp.TEE_ERROR_CORRUPT_OBJECT:
            remove_corrupt_obj(ta, o)
        raise
    o.ds_pos += done
    ta.space.copy_to_user_private(count, _U64.pack(done))
    return gp.TEE_SUCCESS


def syscall_storage_obj_write(ta: "UserTaCtx", obj: int, data: int, length: int) -> int:
    assert ta.thread is not None
    o = _accessible(ta, obj, abi.TEE_DATA_FLAG_ACCESS_WRITE, length)
    assert o.pobj is not None
    assert o.fh is not None
    if length:
        _check_room(o.ds_pos + length)
    # No address at all means zeros, as upstream's file system has it.
    octets = ta.space.copy_from_user(data, length) if data else bytes(length)
    try:
        with ta.tee.storage.ree(ta.thread) as ree:
            o.pobj.fops.write(ree, o.fh, o.data_offset + o.ds_pos, octets)
    except TeeError as e:
        if e.code == gp.TEE_ERROR_CORRUPT_OBJECT:
            remove_corrupt_obj(ta, o)
        raise
    o.ds_pos += length
    o.data_size = max(o.data_size, o.ds_pos)
    return gp.TEE_SUCCESS


def syscall_storage_obj_trunc(ta: "UserTaCtx", obj: int, length: int) -> int:
    assert ta.thread is not None
    o = _accessible(ta, obj, abi.TEE_DATA_FLAG_ACCESS_WRITE)
    assert o.pobj is not None
    assert o.fh is not None
    if o.data_offset + length > _SIZE_MAX:
        return gp.TEE_ERROR_OVERFLOW
    try:
        _check_room(length)
        with ta.tee.storage.ree(ta.thread) as ree:
            o.pobj.fops.truncate(ree, o.fh, o.data_offset + length)
    except TeeError as e:
        if e.code == gp.TEE_ERROR_CORRUPT_OBJECT:
            remove_corrupt_obj(ta, o)
            raise
        raise TeeError(gp.TEE_ERROR_GENERIC, str(e)) from e
    o.data_size = length
    return gp.TEE_SUCCESS


def syscall_storage_obj_seek(ta: "UserTaCtx", obj: int, offset: int, whence: int) -> int:
    o, _ = persistent(ta, obj)
    bases = {abi.TEE_DATA_SEEK_SET: 0, abi.TEE_DATA_SEEK_CUR: o.ds_pos, abi.TEE_DATA_SEEK_END: o.data_size}
    base = bases.get(whence)
    if base is None:
        return gp.TEE_ERROR_BAD_PARAMETERS
    offset &= 0xFFFFFFFF
    position = base + (offset - (1 << 32) if offset >> 31 else offset)
    if position > abi.TEE_DATA_MAX_POSITION:
        return gp.TEE_ERROR_BAD_PARAMETERS
    o.ds_pos = max(position, 0)
    return gp.TEE_SUCCESS
