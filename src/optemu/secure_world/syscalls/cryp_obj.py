"""System calls about objects, transient and persistent. Mirrors syscall_cryp_obj_* of core/tee/tee_svc_cryp.c."""

import struct
from typing import TYPE_CHECKING

from optemu.abi import cryp, gp
from optemu.abi.obj import (
    TEE_HANDLE_FLAG_INITIALIZED,
    TEE_HANDLE_FLAG_PERSISTENT,
    TEE_SVC_STORAGE_HEAD_USAGE,
    UTEE_OBJECT_INFO,
)
from optemu.errors import TeeError
from optemu.secure_world.core.tee_obj import TeeObj, tee_obj_close
from optemu.secure_world.crypto import acipher
from optemu.secure_world.syscalls.cryp_attr import (
    TeeAttribute,
    attr_to_user,
    check_attr,
    copy_in_attrs,
    populate_type,
    set_attrs,
    tee_obj_attr_copy_from,
    tee_obj_set_type,
)
from optemu.secure_world.syscalls.cryp_types import (
    GENERATED_KEYPAIRS,
    ObjectType,
    check_key_size,
    find_type_props,
    is_gp_legacy_des_key_size,
)

if TYPE_CHECKING:
    from optemu.secure_world.core.user_ta import UserTaCtx

_RSA_EXPONENT = b"\1\0\1"
_U32 = struct.Struct("<I")


def _usage(o: TeeObj) -> int:
    return o.usage if o.pobj is None else o.pobj.usage


def syscall_cryp_obj_get_info(ta: "UserTaCtx", obj: int, info: int) -> int:
    o = ta.objs.of(obj)
    data_size, data_pos = o.data_size & 0xFFFFFFFF, o.ds_pos & 0xFFFFFFFF
    fields = o.object_type, o.object_size, o.max_object_size, _usage(o), data_size, data_pos, o.handle_flags
    ta.space.copy_to_user_private(info, UTEE_OBJECT_INFO.pack(*fields))
    return gp.TEE_SUCCESS


def syscall_cryp_obj_restrict_usage(ta: "UserTaCtx", obj: int, usage: int) -> int:
    o = ta.objs.of(obj)
    if o.handle_flags & TEE_HANDLE_FLAG_PERSISTENT:
        _restrict_persistent(ta, o, usage)
    else:
        o.usage &= usage
    return gp.TEE_SUCCESS


def _restrict_persistent(ta: "UserTaCtx", o: TeeObj, usage: int) -> None:
    """Usage is one for all who have the object open, and is in its file (tee_svc_storage_write_usage)."""
    assert ta.thread is not None
    assert o.pobj is not None
    assert o.fh is not None
    storage, po = ta.tee.storage, o.pobj
    with storage.usage_lock(ta.thread, po):
        usage &= po.usage
        with storage.ree(ta.thread) as ree:
            po.fops.write(ree, o.fh, TEE_SVC_STORAGE_HEAD_USAGE, _U32.pack(usage))
        po.usage = usage


def syscall_cryp_obj_get_attr(ta: "UserTaCtx", obj: int, attr_id: int, buffer: int, size: int) -> int:
    o = ta.objs.get(obj & 0xFFFFFFFF)
    if o is None:
        return gp.TEE_ERROR_ITEM_NOT_FOUND
    if not o.handle_flags & TEE_HANDLE_FLAG_INITIALIZED:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, "the object is not initialized")
    if not attr_id & cryp.TEE_ATTR_FLAG_PUBLIC and not _usage(o) & cryp.TEE_USAGE_EXTRACTABLE:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"attribute 0x{attr_id:x} is not to be extracted")
    props = find_type_props(o.object_type)
    if props is None:
        return gp.TEE_ERROR_BAD_STATE
    idx = props.index.get(attr_id & 0xFFFFFFFF)
    if idx is None or not o.have_attrs >> idx & 1:
        raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, f"the object has no attribute 0x{attr_id:x}")
    return attr_to_user(ta, o, props.attrs[idx], buffer, size)


def syscall_cryp_obj_alloc(ta: "UserTaCtx", object_type: int, max_key_size: int, obj: int) -> int:
    o = TeeObj()
    tee_obj_set_type(o, object_type, max_key_size)
    ta.objs.add(o.handle, o)
    try:
        ta.space.copy_to_user_private(obj, _U32.pack(o.handle))
    except TeeError:
        del ta.objs[o.handle]
        raise
    return gp.TEE_SUCCESS


def syscall_cryp_obj_close(ta: "UserTaCtx", obj: int) -> int:
    assert ta.thread is not None
    o = ta.objs.of(obj)
    if o.busy:
        raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, "the object belongs to an operation")
    tee_obj_close(ta, ta.thread, o)
    return gp.TEE_SUCCESS


def syscall_cryp_obj_reset(ta: "UserTaCtx", obj: int) -> int:
    o = ta.objs.of(obj)
    if o.handle_flags & TEE_HANDLE_FLAG_PERSISTENT:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, "the object is persistent")
    o.wipe()
    o.object_size = 0
    o.usage = cryp.TEE_USAGE_DEFAULT
    o.handle_flags &= ~TEE_HANDLE_FLAG_INITIALIZED
    return gp.TEE_SUCCESS


def _check_fresh(o: TeeObj, code: int) -> None:
    """Only a transient object can be given a value, and only once."""
    if o.handle_flags & (TEE_HANDLE_FLAG_PERSISTENT | TEE_HANDLE_FLAG_INITIALIZED):
        raise TeeError(code, f"handle flags 0x{o.handle_flags:x}: the object is persistent or has a value already")


def syscall_cryp_obj_populate(ta: "UserTaCtx", obj: int, usr_attrs: int, attr_count: int) -> int:
    o = ta.objs.of(obj)
    _check_fresh(o, gp.TEE_ERROR_BAD_PARAMETERS)
    props = find_type_props(o.object_type)
    if props is None:
        raise TeeError(gp.TEE_ERROR_NOT_IMPLEMENTED, "an object of pure data takes no attributes")
    attrs = copy_in_attrs(ta, usr_attrs, attr_count)
    check_attr(props, attrs)
    populate_type(ta, o, props, attrs)
    o.handle_flags |= TEE_HANDLE_FLAG_INITIALIZED
    return gp.TEE_SUCCESS


def syscall_cryp_obj_copy(ta: "UserTaCtx", dst: int, src: int) -> int:
    dst_o, src_o = ta.objs.of(dst), ta.objs.of(src)
    if not src_o.handle_flags & TEE_HANDLE_FLAG_INITIALIZED:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, "the object to copy from is not initialized")
    _check_fresh(dst_o, gp.TEE_ERROR_BAD_PARAMETERS)
    tee_obj_attr_copy_from(dst_o, src_o)
    dst_o.handle_flags |= TEE_HANDLE_FLAG_INITIALIZED
    dst_o.object_size = src_o.object_size
    dst_o.usage = _usage(src_o)
    return gp.TEE_SUCCESS


# --- generating keys -------------------------------------------------------------------------------------------------


def syscall_obj_generate_key(ta: "UserTaCtx", obj: int, key_size: int, usr_params: int, param_count: int) -> int:
    o = ta.objs.of(obj)
    _check_fresh(o, gp.TEE_ERROR_BAD_STATE)
    props = find_type_props(o.object_type)
    if props is None:
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, "no key is generated into an object of pure data")
    check_key_size(props, key_size)
    params = copy_in_attrs(ta, usr_params, param_count)
    check_attr(props, params, generate=True)
    if cryp.TEE_ATTR_SECRET_VALUE in props.index:
        _generate_secret(ta, o, props, key_size)
    elif o.object_type in GENERATED_KEYPAIRS:
        _generate_keypair(ta, o, props, key_size, params)
    else:
        raise TeeError(gp.TEE_ERROR_BAD_FORMAT, f"keys of type 0x{o.object_type:x} are not generated")
    o.object_size = key_size
    o.handle_flags |= TEE_HANDLE_FLAG_INITIALIZED
    return gp.TEE_SUCCESS


def _generate_secret(ta: "UserTaCtx", o: TeeObj, props: ObjectType, key_size: int) -> None:
    legacy = is_gp_legacy_des_key_size(o.object_type, key_size)
    size = (key_size + key_size // 7 if legacy else key_size) // 8
    if size > props.secret_size:
        raise TeeError(gp.TEE_ERROR_EXCESS_DATA, f"{key_size} bits do not fit")
    set_attrs(o, {cryp.TEE_ATTR_SECRET_VALUE: bytearray(ta.tee.board.entropy.read(size))}, props.all_attrs)


def _generate_keypair(ta: "UserTaCtx", o: TeeObj, props: ObjectType, key_size: int, params: list[TeeAttribute]) -> None:
    """``o`` keeps the parameters even when no key comes of them, as upstream's does."""
    populate_type(ta, o, props, params)
    given = o.attrs
    if o.object_type == cryp.TEE_TYPE_RSA_KEYPAIR:
        _check_pub_rsa_key(given.setdefault(cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT, bytearray(_RSA_EXPONENT)))
    made = acipher.generate_key(o.object_type, key_size, given, ta.tee.board.entropy)
    given.update((attr_id, v if isinstance(v, int) else bytearray(v)) for attr_id, v in made.items())
    for n, row in enumerate(props.attrs):
        if row.attr_id != cryp.TEE_ATTR_DH_SUBPRIME:  # which is there when it was given
            o.have_attrs |= 1 << n


def _check_pub_rsa_key(exponent: bytearray | int) -> None:
    """As NIST SP 800-56B asks for: odd, from 65537 on, below 2^256. TeeError(TEE_ERROR_BAD_PARAMETERS)."""
    e = exponent if isinstance(exponent, int) else int.from_bytes(exponent, "big")
    if not e & 1 or not 65537 <= e < 1 << 256:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"RSA's public exponent may not be 0x{e:x}")
