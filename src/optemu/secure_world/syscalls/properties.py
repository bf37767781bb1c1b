"""The properties the core answers for. Mirrors core/tee/tee_svc.c.

The rest of each set (a TA's own properties, gpd.tee.arith.maxBigIntSize) is answered by the TA's runtime.
"""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optemu.abi import gp
from optemu.abi import syscalls as scn
from optemu.abi.utee import TEE_IDENTITY
from optemu.secure_world.core.tee_time import SYS_TIME_PROTECTION_LEVEL
from optemu.secure_world.crypto.huk_subkey import HUK_SUBKEY_DIE_ID, huk_subkey_derive

if TYPE_CHECKING:
    from optemu.secure_world.core.tee import Tee
    from optemu.secure_world.core.user_ta import UserTaCtx

_U32 = struct.Struct("<I")
_DIE_ID_SIZE = 12


def _device_id(ta: "UserTaCtx") -> bytes:
    """gpd.tee.deviceID: a UUID made of the die id (get_prop_tee_dev_id)."""
    config = ta.tee.board.config
    die_id = config.die_id or huk_subkey_derive(config.huk, HUK_SUBKEY_DIE_ID, _DIE_ID_SIZE)
    raw = bytearray(hashlib.sha256(b"OPTEE" + die_id[:_DIE_ID_SIZE].ljust(_DIE_ID_SIZE, b"\0")).digest()[:16])
    # Version 5 in timeHiAndVersion, which is little endian in memory; then the variant.
    raw[7] = raw[7] & 0x0F | 0x50
    raw[8] = raw[8] & 0x3F | 0x80
    return bytes(raw)


def _client_identity(ta: "UserTaCtx") -> bytes:
    assert ta.session is not None
    client = ta.session.clnt_id
    return TEE_IDENTITY.pack(client.login, gp.uuid_to_memory(client.uuid))


@dataclass(frozen=True, slots=True)
class Property:
    """One row of a property set: its value as bytes in the TA's memory, or how to find it."""

    name: str
    type: int
    value: bytes | Callable[["UserTaCtx"], bytes]


def _string(text: str) -> bytes:
    return text.encode() + b"\0"


def _u32(name: str, value: int) -> Property:
    return Property(name, scn.USER_TA_PROP_TYPE_U32, _U32.pack(value))


def _text(name: str, value: str) -> Property:
    return Property(name, scn.USER_TA_PROP_TYPE_STRING, _string(value))


def _cpu_has(feature: str) -> Property:
    return Property(f"org.trustedfirmware.optee.cpu.feat_{feature}_implemented", scn.USER_TA_PROP_TYPE_BOOL, b"\1")


CLIENT = (
    Property("gpd.client.identity", scn.USER_TA_PROP_TYPE_IDENTITY, _client_identity),
    _u32("gpd.client.endian", 0),
)
CURRENT_TA = (Property("gpd.ta.appID", scn.USER_TA_PROP_TYPE_UUID, lambda ta: gp.uuid_to_memory(ta.uuid)),)


def tee_properties(tee: "Tee") -> tuple[Property, ...]:
    """TEE_PROPSET_TEE_IMPLEMENTATION, in upstream's order."""
    major, minor, _ = tee.os_revision
    return (
        _text("gpd.tee.apiversion", "GPD-1.1-dev"),
        _text("gpd.tee.description", "OPTEE"),
        Property("gpd.tee.deviceID", scn.USER_TA_PROP_TYPE_UUID, _device_id),
        _u32("gpd.tee.systemTime.protectionLevel", SYS_TIME_PROTECTION_LEVEL),
        _u32("gpd.tee.TAPersistentTime.protectionLevel", 100),
        Property("gpd.tee.cryptography.ecc", scn.USER_TA_PROP_TYPE_BOOL, b"\1"),
        _u32("gpd.tee.trustedStorage.antiRollback.protectionLevel", 1000 if tee.board.config.rpmb else 100),
        _text("gpd.tee.trustedos.implementation.version", f"{major}.{minor}.0"),
        _u32("gpd.tee.trustedos.implementation.binaryversion", 0),
        _text("gpd.tee.trustedos.manufacturer", "LINARO"),
        _text("gpd.tee.firmware.implementation.version", "FW_IMPL_UNDEF"),
        _u32("gpd.tee.firmware.implementation.binaryversion", 0),
        _text("gpd.tee.firmware.manufacturer", "FW_MAN_UNDEF"),
        _cpu_has("bti"),
        *([_cpu_has("pauth")] if tee.board.config.ta_pauth else []),
    )


def _property_set(ta: "UserTaCtx", prop_set: int) -> tuple[Property, ...]:
    # TEE_PropSetHandle is a pointer; its 32-bit constants arrive zero extended from either word size.
    match prop_set & 0xFFFFFFFF:
        case scn.TEE_PROPSET_CURRENT_CLIENT:
            return CLIENT
        case scn.TEE_PROPSET_CURRENT_TA:
            return CURRENT_TA
        case scn.TEE_PROPSET_TEE_IMPLEMENTATION:
            return tee_properties(ta.tee)
    return ()


def _give(ta: "UserTaCtx", value: bytes, buf: int, size_va: int) -> int:
    """Store ``value`` where there is room for it, and its size in any case."""
    (room,) = _U32.unpack(ta.space.copy_from_user(size_va, 4))
    fits = room >= len(value)
    if fits:
        ta.space.copy_to_user(buf, value)
    ta.space.copy_to_user(size_va, _U32.pack(len(value)))
    return gp.TEE_SUCCESS if fits else gp.TEE_ERROR_SHORT_BUFFER


def syscall_get_property(
    ta: "UserTaCtx", prop_set: int, index: int, name: int, name_len: int, buf: int, blen: int, prop_type: int
) -> int:
    props = _property_set(ta, prop_set)
    if index >= len(props):
        return gp.TEE_ERROR_ITEM_NOT_FOUND
    prop = props[index]
    if prop_type:
        ta.space.copy_to_user(prop_type, _U32.pack(prop.type))
    if buf and blen:
        ret = _give(ta, prop.value(ta) if callable(prop.value) else prop.value, buf, blen)
        if ret:
            return ret
    if name and name_len:
        return _give(ta, _string(prop.name), name, name_len)
    return gp.TEE_SUCCESS


_LONGEST_NAME = 4096


def syscall_get_property_name_to_index(ta: "UserTaCtx", prop_set: int, name: int, name_len: int, index: int) -> int:
    props = _property_set(ta, prop_set)
    if not props:
        return gp.TEE_ERROR_ITEM_NOT_FOUND
    if not name or not name_len:
        return gp.TEE_ERROR_BAD_PARAMETERS
    if name_len > _LONGEST_NAME:
        return gp.TEE_ERROR_OUT_OF_MEMORY
    wanted = ta.space.copy_from_user(name, name_len)[:-1].split(b"\0")[0]
    for n, prop in enumerate(props):
        if prop.name.encode() == wanted:
            ta.space.copy_to_user(index, _U32.pack(n))
            return gp.TEE_SUCCESS
    return gp.TEE_ERROR_ITEM_NOT_FOUND
