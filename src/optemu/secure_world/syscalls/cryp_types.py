"""The types of cryptographic objects and their attributes. Mirrors tee_cryp_obj_props of core/tee/tee_svc_cryp.c.

Which sizes a type has, which attributes it takes, and which of them it needs to be populated or generated: the
system calls check by this table. The order of a type's attributes counts: it is that of the bits in ``have_attrs``
and of the binary form in storage.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, IntFlag, auto
from typing import Final

from optemu.abi import cryp, gp
from optemu.errors import TeeError

CFG_CORE_BIGNUM_MAX_BITS: Final = 4096


class Flag(IntFlag):
    """TEE_TYPE_ATTR_*: what an attribute is to its type."""

    NONE = 0
    REQUIRED = auto()
    """Needed to populate."""
    OPTIONAL_GROUP = auto()
    """May be there when populating: all of the group or none."""
    SIZE_INDICATOR = auto()
    """Its length is the object's size."""
    GEN_KEY_OPT = auto()
    GEN_KEY_REQ = auto()
    """May be, must be there when generating a key."""
    BIGNUM_MAXBITS = auto()
    """No longer than the object may be."""


class Kind(Enum):
    """ATTR_OPS_INDEX_*: how an attribute's value is written and kept."""

    SECRET = "secret"
    BIGNUM = "bignum"
    VALUE = "value"
    CURVE_25519 = "25519"
    CURVE_448 = "448"


KEY_SIZE_BYTES: Final = {Kind.CURVE_25519: 32, Kind.CURVE_448: 56}
"""Octets of the keys that always have the same size."""


@dataclass(frozen=True, slots=True)
class AttrRow:
    """struct tee_cryp_obj_type_attrs."""

    attr_id: int
    flags: Flag
    kind: Kind


class ObjectType:
    """struct tee_cryp_obj_type_props: sizes in bits; ``secret_size`` are the octets a secret has room for."""

    __slots__ = (
        "all_attrs",
        "attrs",
        "bignum_maxbits",
        "generate",
        "heap",
        "index",
        "max_size",
        "min_size",
        "object_type",
        "populate",
        "quanta",
        "secret_size",
        "size_indicator",
    )

    def __init__(
        self, object_type: int, quanta: int, min_size: int, max_size: int, attrs: tuple[AttrRow, ...], secret: int = 0
    ) -> None:
        self.object_type = object_type
        self.quanta, self.min_size, self.max_size = quanta, min_size, max_size
        self.attrs = attrs
        self.secret_size = secret
        self.index = {row.attr_id: n for n, row in enumerate(attrs)}
        """Attribute to its bit in ``have_attrs``."""
        self.all_attrs = (1 << len(attrs)) - 1
        self.populate = _mask(attrs, Flag.REQUIRED), _mask(attrs, Flag.OPTIONAL_GROUP)
        self.generate = _mask(attrs, Flag.GEN_KEY_REQ), _mask(attrs, Flag.GEN_KEY_OPT)
        """Bits of the attributes that must be there, and of those that may."""
        self.size_indicator = _mask(attrs, Flag.SIZE_INDICATOR)
        self.bignum_maxbits = _mask(attrs, Flag.BIGNUM_MAXBITS)
        self.heap = secret + sum(_ROOM.get(row.kind, 0) for row in attrs)
        """Octets that an object takes of the core's heap, whatever its size."""


def _mask(attrs: Iterable[AttrRow], flag: Flag) -> int:
    return sum(1 << n for n, row in enumerate(attrs) if row.flags & flag)


_ROOM: Final = {Kind.BIGNUM: CFG_CORE_BIGNUM_MAX_BITS // 8, **KEY_SIZE_BYTES}
"""Octets that upstream's core keeps ready for a value."""

_REQ, _GROUP, _SIZE, _BITS = Flag.REQUIRED, Flag.OPTIONAL_GROUP, Flag.SIZE_INDICATOR, Flag.BIGNUM_MAXBITS
_GEN_OPT, _GEN_REQ = Flag.GEN_KEY_OPT, Flag.GEN_KEY_REQ


def _bignums(*rows: tuple[int, Flag]) -> tuple[AttrRow, ...]:
    return tuple(AttrRow(attr_id, flags, Kind.BIGNUM) for attr_id, flags in rows)


def _secret(
    object_type: int,
    quanta: int,
    min_size: int,
    max_size: int,
    attr_id: int = cryp.TEE_ATTR_SECRET_VALUE,
    room: int = 0,
) -> ObjectType:
    """A type that is one secret. ``room``: bits kept for it when they are not ``max_size``."""
    attrs = (AttrRow(attr_id, _REQ | _SIZE, Kind.SECRET),)
    return ObjectType(object_type, quanta, min_size, max_size, attrs, (room or max_size) // 8)


_RSA_PUBLIC = _bignums(
    (cryp.TEE_ATTR_RSA_MODULUS, _REQ | _SIZE),
    (cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT, _REQ),
)
_RSA = _bignums(
    (cryp.TEE_ATTR_RSA_MODULUS, _REQ | _SIZE),
    (cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT, _REQ | _GEN_OPT),
    (cryp.TEE_ATTR_RSA_PRIVATE_EXPONENT, _REQ),
    (cryp.TEE_ATTR_RSA_PRIME1, _GROUP),
    (cryp.TEE_ATTR_RSA_PRIME2, _GROUP),
    (cryp.TEE_ATTR_RSA_EXPONENT1, _GROUP),
    (cryp.TEE_ATTR_RSA_EXPONENT2, _GROUP),
    (cryp.TEE_ATTR_RSA_COEFFICIENT, _GROUP),
)
_DSA_PUBLIC = _bignums(
    (cryp.TEE_ATTR_DSA_PRIME, _REQ | _BITS | _SIZE),
    (cryp.TEE_ATTR_DSA_SUBPRIME, _REQ),
    (cryp.TEE_ATTR_DSA_BASE, _REQ | _BITS),
    (cryp.TEE_ATTR_DSA_PUBLIC_VALUE, _REQ | _BITS),
)
_DSA = _bignums(
    (cryp.TEE_ATTR_DSA_PRIME, _REQ | _GEN_REQ | _BITS | _SIZE),
    (cryp.TEE_ATTR_DSA_SUBPRIME, _REQ | _GEN_REQ),
    (cryp.TEE_ATTR_DSA_BASE, _REQ | _GEN_REQ | _BITS),
    (cryp.TEE_ATTR_DSA_PRIVATE_VALUE, _REQ | _BITS),
    (cryp.TEE_ATTR_DSA_PUBLIC_VALUE, _REQ | _BITS),
)
_DH = (
    *_bignums(
        (cryp.TEE_ATTR_DH_PRIME, _REQ | _SIZE | _GEN_REQ),
        (cryp.TEE_ATTR_DH_BASE, _REQ | _GEN_REQ),
        (cryp.TEE_ATTR_DH_PUBLIC_VALUE, _REQ),
        (cryp.TEE_ATTR_DH_PRIVATE_VALUE, _REQ),
        (cryp.TEE_ATTR_DH_SUBPRIME, _GROUP | _GEN_OPT),
    ),
    AttrRow(cryp.TEE_ATTR_DH_X_BITS, _GEN_OPT, Kind.VALUE),
)
_XY = _bignums((cryp.TEE_ATTR_ECC_PUBLIC_VALUE_X, _REQ), (cryp.TEE_ATTR_ECC_PUBLIC_VALUE_Y, _REQ))
_DXY = (*_bignums((cryp.TEE_ATTR_ECC_PRIVATE_VALUE, _REQ)), *_XY)
_ECC_PUBLIC = (*_XY, AttrRow(cryp.TEE_ATTR_ECC_CURVE, _REQ | _SIZE, Kind.VALUE))
_ECC = (*_DXY, AttrRow(cryp.TEE_ATTR_ECC_CURVE, _REQ | _SIZE | _GEN_REQ, Kind.VALUE))
_X25519 = (
    AttrRow(cryp.TEE_ATTR_X25519_PRIVATE_VALUE, _REQ, Kind.CURVE_25519),
    AttrRow(cryp.TEE_ATTR_X25519_PUBLIC_VALUE, _REQ, Kind.CURVE_25519),
)
_X448 = (
    AttrRow(cryp.TEE_ATTR_X448_PRIVATE_VALUE, _REQ, Kind.CURVE_448),
    AttrRow(cryp.TEE_ATTR_X448_PUBLIC_VALUE, _REQ, Kind.CURVE_448),
)
_ED25519_PUBLIC = (AttrRow(cryp.TEE_ATTR_ED25519_PUBLIC_VALUE, _REQ, Kind.CURVE_25519),)
_ED25519 = (AttrRow(cryp.TEE_ATTR_ED25519_PRIVATE_VALUE, _REQ, Kind.CURVE_25519), *_ED25519_PUBLIC)

OBJECT_TYPES: Final = (
    _secret(cryp.TEE_TYPE_AES, 64, 128, 256),
    _secret(cryp.TEE_TYPE_DES, 64, 64, 64),
    _secret(cryp.TEE_TYPE_DES3, 64, 128, 192),
    _secret(cryp.TEE_TYPE_SM4, 128, 128, 128),
    _secret(cryp.TEE_TYPE_HMAC_MD5, 8, 64, 512),
    _secret(cryp.TEE_TYPE_HMAC_SHA1, 8, 80, 512),
    _secret(cryp.TEE_TYPE_HMAC_SHA224, 8, 112, 512),
    _secret(cryp.TEE_TYPE_HMAC_SHA256, 8, 192, 1024),
    _secret(cryp.TEE_TYPE_HMAC_SHA384, 8, 256, 1024),
    _secret(cryp.TEE_TYPE_HMAC_SHA512, 8, 256, 1024),
    _secret(cryp.TEE_TYPE_HMAC_SHA3_224, 8, 192, 1024),
    _secret(cryp.TEE_TYPE_HMAC_SHA3_256, 8, 256, 1024),
    _secret(cryp.TEE_TYPE_HMAC_SHA3_384, 8, 256, 1024),
    _secret(cryp.TEE_TYPE_HMAC_SHA3_512, 8, 256, 1024),
    _secret(cryp.TEE_TYPE_HMAC_SM3, 8, 80, 1024, room=512),
    _secret(cryp.TEE_TYPE_GENERIC_SECRET, 8, 0, 4096),
    _secret(cryp.TEE_TYPE_HKDF_IKM, 8, 0, 4096, cryp.TEE_ATTR_HKDF_IKM),
    _secret(cryp.TEE_TYPE_CONCAT_KDF_Z, 8, 0, 4096, cryp.TEE_ATTR_CONCAT_KDF_Z),
    _secret(cryp.TEE_TYPE_PBKDF2_PASSWORD, 8, 0, 4096, cryp.TEE_ATTR_PBKDF2_PASSWORD),
    ObjectType(cryp.TEE_TYPE_RSA_PUBLIC_KEY, 1, 256, CFG_CORE_BIGNUM_MAX_BITS, _RSA_PUBLIC),
    ObjectType(cryp.TEE_TYPE_RSA_KEYPAIR, 1, 256, CFG_CORE_BIGNUM_MAX_BITS, _RSA),
    ObjectType(cryp.TEE_TYPE_DSA_PUBLIC_KEY, 64, 512, 3072, _DSA_PUBLIC),
    ObjectType(cryp.TEE_TYPE_DSA_KEYPAIR, 64, 512, 3072, _DSA),
    ObjectType(cryp.TEE_TYPE_DH_KEYPAIR, 1, 256, 2048, _DH),
    ObjectType(cryp.TEE_TYPE_ECDSA_PUBLIC_KEY, 1, 192, 521, _ECC_PUBLIC),
    ObjectType(cryp.TEE_TYPE_ECDSA_KEYPAIR, 1, 192, 521, _ECC),
    ObjectType(cryp.TEE_TYPE_ECDH_PUBLIC_KEY, 1, 192, 521, _ECC_PUBLIC),
    ObjectType(cryp.TEE_TYPE_ECDH_KEYPAIR, 1, 192, 521, _ECC),
    ObjectType(cryp.TEE_TYPE_SM2_DSA_PUBLIC_KEY, 1, 256, 256, _XY),
    ObjectType(cryp.TEE_TYPE_SM2_DSA_KEYPAIR, 1, 256, 256, _DXY),
    ObjectType(cryp.TEE_TYPE_SM2_PKE_PUBLIC_KEY, 1, 256, 256, _XY),
    ObjectType(cryp.TEE_TYPE_SM2_PKE_KEYPAIR, 1, 256, 256, _DXY),
    ObjectType(cryp.TEE_TYPE_SM2_KEP_PUBLIC_KEY, 1, 256, 256, _XY),
    ObjectType(cryp.TEE_TYPE_SM2_KEP_KEYPAIR, 1, 256, 256, _DXY),
    ObjectType(cryp.TEE_TYPE_X25519_KEYPAIR, 1, 256, 256, _X25519),
    ObjectType(cryp.TEE_TYPE_X448_KEYPAIR, 1, 448, 448, _X448),
    ObjectType(cryp.TEE_TYPE_ED25519_PUBLIC_KEY, 1, 256, 256, _ED25519_PUBLIC),
    ObjectType(cryp.TEE_TYPE_ED25519_KEYPAIR, 1, 256, 256, _ED25519),
)

_BY_TYPE: Final = {props.object_type: props for props in OBJECT_TYPES}
find_type_props = _BY_TYPE.get
"""tee_svc_find_type_props: by TEE_TYPE_*; None for what has no attributes or is not known."""

KEYPAIR_OF: Final = {
    cryp.TEE_TYPE_RSA_PUBLIC_KEY: cryp.TEE_TYPE_RSA_KEYPAIR,
    cryp.TEE_TYPE_DSA_PUBLIC_KEY: cryp.TEE_TYPE_DSA_KEYPAIR,
    cryp.TEE_TYPE_ECDSA_PUBLIC_KEY: cryp.TEE_TYPE_ECDSA_KEYPAIR,
    cryp.TEE_TYPE_ECDH_PUBLIC_KEY: cryp.TEE_TYPE_ECDH_KEYPAIR,
    cryp.TEE_TYPE_SM2_DSA_PUBLIC_KEY: cryp.TEE_TYPE_SM2_DSA_KEYPAIR,
    cryp.TEE_TYPE_SM2_PKE_PUBLIC_KEY: cryp.TEE_TYPE_SM2_PKE_KEYPAIR,
    cryp.TEE_TYPE_SM2_KEP_PUBLIC_KEY: cryp.TEE_TYPE_SM2_KEP_KEYPAIR,
    cryp.TEE_TYPE_ED25519_PUBLIC_KEY: cryp.TEE_TYPE_ED25519_KEYPAIR,
}
"""The key pair whose public half a public key may be copied from."""

GENERATED_KEYPAIRS: Final = frozenset(KEYPAIR_OF.values()) | {
    cryp.TEE_TYPE_DH_KEYPAIR,
    cryp.TEE_TYPE_X25519_KEYPAIR,
    cryp.TEE_TYPE_X448_KEYPAIR,
}
"""Besides them only what has a TEE_ATTR_SECRET_VALUE can be generated."""

CURVE_BITS: Final = {
    cryp.TEE_ECC_CURVE_NIST_P192: 192,
    cryp.TEE_ECC_CURVE_NIST_P224: 224,
    cryp.TEE_ECC_CURVE_NIST_P256: 256,
    cryp.TEE_ECC_CURVE_NIST_P384: 384,
    cryp.TEE_ECC_CURVE_NIST_P521: 521,
    cryp.TEE_ECC_CURVE_SM2: 256,
    cryp.TEE_ECC_CURVE_25519: 256,
}
"""get_ec_key_size: bits of a key on each curve."""

_GP_LEGACY_DES: Final = {(cryp.TEE_TYPE_DES, 56), (cryp.TEE_TYPE_DES3, 112), (cryp.TEE_TYPE_DES3, 168)}


def is_gp_legacy_des_key_size(object_type: int, bits: int) -> bool:
    """Is that a DES size as the Internal API 1.0 counted them, without the parity bits?"""
    return (object_type, bits) in _GP_LEGACY_DES


def check_key_size(props: ObjectType, bits: int) -> None:
    """TeeError(TEE_ERROR_NOT_SUPPORTED) unless the type has keys of that size."""
    size = bits + bits // 7 if is_gp_legacy_des_key_size(props.object_type, bits) else bits
    if size % props.quanta or not props.min_size <= size <= props.max_size:
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, f"objects of type 0x{props.object_type:x} are not of {bits} bits")
