"""Attributes of objects: from and to a TA, storage and other objects. Mirrors core/tee/tee_svc_cryp.c.

What is not set reads as zero, in storage as well; ``have_attrs`` tells the difference.
"""

from typing import TYPE_CHECKING, NamedTuple

from optemu.abi import cryp, gp
from optemu.abi.obj import UTEE_ATTRIBUTE
from optemu.errors import TeeError
from optemu.secure_world.core.tee_obj import OBJECT_HEAP, TeeObj
from optemu.secure_world.syscalls.cryp_types import (
    CFG_CORE_BIGNUM_MAX_BITS,
    CURVE_BITS,
    KEY_SIZE_BYTES,
    KEYPAIR_OF,
    AttrRow,
    Kind,
    ObjectType,
    check_key_size,
    find_type_props,
    is_gp_legacy_des_key_size,
)

if TYPE_CHECKING:
    from optemu.secure_world.core.user_ta import UserTaCtx
    from optemu.secure_world.core.vm import AddressSpace

BOUNCE_BUFFER_SIZE = 4096
"""What the core copies out of a TA at a time; more is TEE_ERROR_OUT_OF_MEMORY."""
_SIZE_MAX = (1 << 64) - 1
_READ_ANY = gp.TEE_MEMORY_ACCESS_READ | gp.TEE_MEMORY_ACCESS_ANY_OWNER

AttrValue = bytearray | int


class TeeAttribute(NamedTuple):
    """TEE_Attribute: two numbers (32 bits each), or address and length of octets that the TA may read."""

    attr_id: int
    a: int
    b: int


# --- what a TA passes ----------------------------------------------------------------------------------------------


def copy_in_attrs(ta: "UserTaCtx", usr_attrs: int, count: int) -> list[TeeAttribute]:
    """``count`` struct utee_attribute, copied once. What they point to is checked and not yet copied.

    TeeError: TEE_ERROR_OVERFLOW, TEE_ERROR_OUT_OF_MEMORY for more than the core takes, TEE_ERROR_ACCESS_DENIED.
    """
    if not count:
        return []
    size = count * UTEE_ATTRIBUTE.size
    if size > BOUNCE_BUFFER_SIZE:
        code = gp.TEE_ERROR_OVERFLOW if size > _SIZE_MAX else gp.TEE_ERROR_OUT_OF_MEMORY
        raise TeeError(code, f"{count} attributes are too many")
    space: AddressSpace = ta.space
    attrs = []
    for a, b, attr_id in UTEE_ATTRIBUTE.iter_unpack(space.copy_from_user(usr_attrs, size)):
        if attr_id & cryp.TEE_ATTR_FLAG_VALUE:
            attrs.append(TeeAttribute(attr_id, a & 0xFFFFFFFF, b & 0xFFFFFFFF))
            continue
        if space.check_access_rights(_READ_ANY, a, b):
            raise TeeError(gp.TEE_ERROR_ACCESS_DENIED, f"attribute 0x{attr_id:x}: no 0x{b:x} bytes at 0x{a:x}")
        attrs.append(TeeAttribute(attr_id, a, b))
    return attrs


def check_attr(props: ObjectType, attrs: list[TeeAttribute], generate: bool = False) -> None:
    """tee_svc_cryp_check_attr: are these the attributes to populate an object with, or to generate a key?

    TeeError(TEE_ERROR_ITEM_NOT_FOUND) for what is missing, what comes twice, what does not belong there.
    """
    required, optional = props.generate if generate else props.populate
    allowed = required | optional
    found = 0
    for attr_id, _, _ in attrs:
        idx = props.index.get(attr_id)
        if idx is None:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, f"attribute 0x{attr_id:x} is none of the object's type")
        bit = 1 << idx
        if found & bit:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, f"attribute 0x{attr_id:x} comes twice")
        if not bit & allowed:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, f"attribute 0x{attr_id:x} is not for this use")
        found |= bit
    if found & required != required:
        raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, f"{_named(props, required & ~found)} missing")
    if not generate and found & optional and found & optional != optional:
        raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, f"{_named(props, optional & ~found)} missing: all or none")


def _named(props: ObjectType, bits: int) -> str:
    return "attributes " + ", ".join(f"0x{row.attr_id:x}" for n, row in enumerate(props.attrs) if bits >> n & 1)


def _from_user(space: "AddressSpace", props: ObjectType, row: AttrRow, attr: TeeAttribute) -> AttrValue:
    """attr_ops.from_user: the value of one attribute."""
    kind = row.kind
    if kind is Kind.VALUE:
        return attr.a
    size = attr.b
    if kind is Kind.BIGNUM:
        if size > BOUNCE_BUFFER_SIZE:
            raise TeeError(gp.TEE_ERROR_OUT_OF_MEMORY, f"attribute 0x{row.attr_id:x} has {size} bytes")
        number = bytearray(space.copy_from_user(attr.a, size).lstrip(b"\0"))
        if len(number) > CFG_CORE_BIGNUM_MAX_BITS // 8:
            # Upstream's numbers grow for as long as there is memory, and no operation then bears them.
            raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"attribute 0x{row.attr_id:x} has {len(number)} bytes")
        return number
    if size > props.secret_size if kind is Kind.SECRET else size != KEY_SIZE_BYTES[kind]:
        raise TeeError(gp.TEE_ERROR_SECURITY, f"attribute 0x{row.attr_id:x} is not of {size} bytes")
    return bytearray(space.copy_from_user(attr.a, size))


def num_bits(number: AttrValue) -> int:
    """Bits of a big number."""
    return int.from_bytes(number, "big").bit_length() if isinstance(number, bytearray) else number.bit_length()


def populate_type(ta: "UserTaCtx", o: TeeObj, props: ObjectType, attrs: list[TeeAttribute]) -> None:
    """tee_svc_cryp_obj_populate_type: attributes that have been checked become those of ``o``, all or none.

    TeeError: TEE_ERROR_BAD_STATE for what is longer than ``o`` may be, TEE_ERROR_BAD_PARAMETERS for sizes its type
    does not have, and what the single kinds say.
    """
    space: AddressSpace = ta.space
    values: dict[int, AttrValue] = {}
    have_attrs = object_size = 0
    legacy = is_gp_legacy_des_key_size(o.object_type, o.max_object_size)
    for attr in attrs:
        idx = props.index[attr.attr_id]
        row = props.attrs[idx]
        bit = 1 << idx
        have_attrs |= bit
        value = _from_user(space, props, row, attr)
        if bit & props.size_indicator:
            object_size = _indicated_size(attr, legacy)
            if object_size > o.max_object_size:
                raise TeeError(gp.TEE_ERROR_BAD_STATE, f"{object_size} bits, and the object holds {o.max_object_size}")
            _check_indicated(props, object_size)
        if bit & props.bignum_maxbits and num_bits(value) > o.max_object_size:
            raise TeeError(gp.TEE_ERROR_BAD_STATE, f"attribute 0x{attr.attr_id:x} has {num_bits(value)} bits")
        values[attr.attr_id] = value
    set_attrs(o, values, have_attrs)
    # Upstream takes the parity bits off twice, and tells a TA that its 56 bits are 49.
    o.object_size = object_size - object_size // 8 if legacy else object_size


def _indicated_size(attr: TeeAttribute, legacy: bool) -> int:
    if attr.attr_id != cryp.TEE_ATTR_ECC_CURVE:
        bits = attr.b * 8
        return bits - bits // 8 if legacy else bits
    bits = CURVE_BITS.get(attr.a, 0)
    if not bits:
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, f"there is no curve 0x{attr.a:x}")
    return bits


def _check_indicated(props: ObjectType, bits: int) -> None:
    try:
        check_key_size(props, bits)
    except TeeError as e:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, e.message) from None


def set_attrs(o: TeeObj, values: dict[int, AttrValue], have_attrs: int) -> None:
    """The attributes of ``o`` are ``values`` from now on."""
    o.wipe()
    o.attrs, o.have_attrs = values, have_attrs


def attr_to_user(ta: "UserTaCtx", o: TeeObj, row: AttrRow, buffer: int, size_va: int) -> int:
    """attr_ops.to_user: one attribute into a TA's buffer, its size into the uint64_t there (not that of a value)."""
    space: AddressSpace = ta.space
    room = int.from_bytes(space.copy_from_user(size_va, 8), "little")
    if row.kind is Kind.VALUE:
        octets = _as_int(o, row).to_bytes(8, "little")
    else:
        octets = _as_octets(o, row)
        space.copy_to_user(size_va, len(octets).to_bytes(8, "little"))
        if not octets and row.kind is Kind.BIGNUM:
            return gp.TEE_SUCCESS
    if room < len(octets) or not buffer:
        return gp.TEE_ERROR_SHORT_BUFFER
    space.copy_to_user(buffer, octets)
    return gp.TEE_SUCCESS


def _as_int(o: TeeObj, row: AttrRow) -> int:
    value = o.attrs.get(row.attr_id, 0)
    return value if isinstance(value, int) else 0


def _as_octets(o: TeeObj, row: AttrRow) -> bytes:
    """What is not set: no octets, or as many zeros as such a key has."""
    value = o.attrs.get(row.attr_id)
    return bytes(value) if isinstance(value, bytearray) else bytes(KEY_SIZE_BYTES.get(row.kind, 0))


# --- types, storage and other objects --------------------------------------------------------------------------------


def tee_obj_set_type(o: TeeObj, object_type: int, max_object_size: int) -> None:
    """Make a new object one of ``object_type``, for keys of up to ``max_object_size`` bits.

    TeeError(TEE_ERROR_NOT_SUPPORTED) when there is no such type, or none of that size.
    """
    object_type &= 0xFFFFFFFF
    if object_type == cryp.TEE_TYPE_DATA:
        if max_object_size:
            raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, "objects of pure data have no key size")
    else:
        props = find_type_props(object_type)
        if props is None:
            raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, f"there is no object type 0x{object_type:x}")
        check_key_size(props, max_object_size)
        o.heap = OBJECT_HEAP + props.heap
    o.object_type, o.max_object_size = object_type, max_object_size
    if o.pobj is not None:
        o.pobj.usage = cryp.TEE_USAGE_DEFAULT
    else:
        o.usage = cryp.TEE_USAGE_DEFAULT


def _props(o: TeeObj) -> ObjectType:
    props = find_type_props(o.object_type)
    if props is None:
        raise TeeError(gp.TEE_ERROR_BAD_STATE, f"there is no object type 0x{o.object_type:x}")
    return props


def tee_obj_attr_to_binary(o: TeeObj) -> bytes:
    """The attributes as they are stored: in the order of the type, each its size and its octets, or a number."""
    if o.object_type == cryp.TEE_TYPE_DATA:
        return b""
    parts = []
    for row in _props(o).attrs:
        if row.kind is Kind.VALUE:
            parts.append(_as_int(o, row).to_bytes(4, "big"))
        else:
            octets = _as_octets(o, row)
            parts += len(octets).to_bytes(4, "big"), octets
    return b"".join(parts)


def tee_obj_attr_from_binary(o: TeeObj, data: bytes) -> None:
    """Attributes as ``tee_obj_attr_to_binary`` wrote them; TeeError(TEE_ERROR_CORRUPT_OBJECT) for anything else.

    ``have_attrs`` is the head's to say.
    """
    if o.object_type == cryp.TEE_TYPE_DATA:
        return
    props = _props(o)
    values: dict[int, AttrValue] = {}
    at = 0
    for row in props.attrs:
        number = int.from_bytes(data[at : at + 4], "big")
        at += 4
        value: AttrValue = number
        if row.kind is not Kind.VALUE:
            value = _stored(props, row, data[at : at + number])
            at += number
        if at > len(data):
            raise TeeError(gp.TEE_ERROR_CORRUPT_OBJECT, f"attribute 0x{row.attr_id:x} ends behind the others")
        values[row.attr_id] = value
    set_attrs(o, values, o.have_attrs)


def _stored(props: ObjectType, row: AttrRow, octets: bytes) -> bytearray:
    """attr_ops.from_binary, of all but values."""
    if row.kind is Kind.BIGNUM:
        octets, room = octets.lstrip(b"\0"), CFG_CORE_BIGNUM_MAX_BITS // 8
    else:
        room = KEY_SIZE_BYTES.get(row.kind, props.secret_size)
    if len(octets) > room:
        raise TeeError(gp.TEE_ERROR_CORRUPT_OBJECT, f"attribute 0x{row.attr_id:x} has {len(octets)} bytes")
    return bytearray(octets.ljust(KEY_SIZE_BYTES.get(row.kind, 0), b"\0"))


def tee_obj_attr_copy_from(o: TeeObj, src: TeeObj) -> None:
    """The attributes of an object of the same type, or the public half of a key pair.

    TeeError(TEE_ERROR_BAD_PARAMETERS) for all other types.
    """
    if o.object_type == cryp.TEE_TYPE_DATA:
        return
    props = _props(o)
    have_attrs = src.have_attrs
    if o.object_type != src.object_type:
        if KEYPAIR_OF.get(o.object_type) != src.object_type:
            raise TeeError(
                gp.TEE_ERROR_BAD_PARAMETERS, f"type 0x{o.object_type:x} takes nothing from 0x{src.object_type:x}"
            )
        have_attrs = props.all_attrs
    values = {
        attr_id: value if isinstance(value, int) else bytearray(value)
        for attr_id, value in src.attrs.items()
        if attr_id in props.index
    }
    set_attrs(o, values, have_attrs)
    if o.object_type == src.object_type:
        o.native = src.native
