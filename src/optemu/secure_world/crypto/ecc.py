"""Elliptic curves: keys, ECDSA, ECDH. Mirrors core/lib/libtomcrypt/ecc.c.

OpenSSL signs and verifies where it takes the key and the digest; keys that are on no curve, which upstream computes
with all the same, digests longer than 64 octets on P-521, and signatures that must repeat are computed here.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature, encode_dss_signature

from optemu.abi import cryp, gp
from optemu.errors import TeeError
from optemu.secure_world.crypto.curve import SM2, Curve, Point, curve_of
from optemu.secure_world.crypto.number import int_of, inverse, octets_of, random_below
from optemu.secure_world.crypto.provider import Attrs, Rng

_ECDSA_ALGOS: Final = {
    192: cryp.TEE_ALG_ECDSA_SHA1,
    224: cryp.TEE_ALG_ECDSA_SHA224,
    256: cryp.TEE_ALG_ECDSA_SHA256,
    384: cryp.TEE_ALG_ECDSA_SHA384,
    521: cryp.TEE_ALG_ECDSA_SHA512,
}
"""Upstream's ecc_get_curve_info(): each curve signs with one algorithm, and digests of any length."""
_SM2_TYPES: Final = frozenset(
    (
        cryp.TEE_TYPE_SM2_DSA_PUBLIC_KEY,
        cryp.TEE_TYPE_SM2_DSA_KEYPAIR,
        cryp.TEE_TYPE_SM2_KEP_PUBLIC_KEY,
        cryp.TEE_TYPE_SM2_KEP_KEYPAIR,
        cryp.TEE_TYPE_SM2_PKE_PUBLIC_KEY,
        cryp.TEE_TYPE_SM2_PKE_KEYPAIR,
    )
)
_CARRIERS: Final = {
    192: (28, ec.ECDSA(Prehashed(hashes.SHA224()))),
    224: (28, ec.ECDSA(Prehashed(hashes.SHA224()))),
    256: (32, ec.ECDSA(Prehashed(hashes.SHA256()))),
    384: (48, ec.ECDSA(Prehashed(hashes.SHA384()))),
    521: (64, ec.ECDSA(Prehashed(hashes.SHA512()))),
}
"""A digest that OpenSSL takes with a curve, and its octets: it looks only at their number."""
_MAX_TRIES: Final = 100


@dataclass(eq=False)
class EcKey:
    """A key as its owner gave it; nothing of it has been checked. ``d`` is 0 in a public key."""

    curve: Curve
    x: int
    y: int
    d: int = field(default=0, repr=False)

    @cached_property
    def native_private(self) -> ec.EllipticCurvePrivateKey | None:
        if not self.curve.native or not 0 < self.d < self.curve.n:
            return None
        return ec.derive_private_key(self.d, self.curve.native)

    @cached_property
    def native_public(self) -> ec.EllipticCurvePublicKey | None:
        if not self.curve.native or not self.curve.contains(self.x, self.y):
            return None
        return ec.EllipticCurvePublicNumbers(self.x, self.y, self.curve.native).public_key()

    @property
    def point(self) -> Point:
        return self.x, self.y


def load(object_type: int, attrs: Attrs) -> EcKey:
    return EcKey(
        _curve(object_type, attrs),
        int_of(attrs.get(cryp.TEE_ATTR_ECC_PUBLIC_VALUE_X)),
        int_of(attrs.get(cryp.TEE_ATTR_ECC_PUBLIC_VALUE_Y)),
        int_of(attrs.get(cryp.TEE_ATTR_ECC_PRIVATE_VALUE)),
    )


def _curve(object_type: int, attrs: Attrs) -> Curve:
    return SM2 if object_type in _SM2_TYPES else curve_of(int_of(attrs.get(cryp.TEE_ATTR_ECC_CURVE)))


def generate(object_type: int, size_bits: int, params: Attrs, rng: Rng) -> dict[int, bytes | int]:
    """A key pair on the curve that ``params`` or the type name; ``size_bits`` are those of the curve."""
    curve = _curve(object_type, params)
    if size_bits != curve.bits:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"a key on {curve.name} has {curve.bits} bits, not {size_bits}")
    if curve.native and not rng.repeatable:
        native = ec.generate_private_key(curve.native).private_numbers()
        d, x, y = native.private_value, native.public_numbers.x, native.public_numbers.y
    else:
        d = random_below(curve.n, rng)
        x, y = curve.multiply_base(d)
    return {
        cryp.TEE_ATTR_ECC_PRIVATE_VALUE: octets_of(d),
        cryp.TEE_ATTR_ECC_PUBLIC_VALUE_X: octets_of(x),
        cryp.TEE_ATTR_ECC_PUBLIC_VALUE_Y: octets_of(y),
    }


def verify_ecc_public_key(curve_id: int, x: bytes, y: bytes) -> None:
    """TEE_ERROR_BAD_PARAMETERS unless the point is on the curve."""
    if not curve_of(curve_id).contains(int_of(x), int_of(y)):
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, "the point is not on the curve")


# --- ECDSA ---------------------------------------------------------------------------------------------------


def ecdsa_sign(algo: int, key: EcKey, msg: bytes, rng: Rng) -> bytes:
    """r and s of the digest ``msg``, each as long as a coordinate."""
    curve = _check_algo(algo, key)
    carried = _carry(curve, msg)
    if carried and key.native_private and not rng.repeatable:
        r, s = decode_dss_signature(key.native_private.sign(carried, _CARRIERS[curve.bits][1]))
    else:
        r, s = _sign(key, _leftmost_bits(curve, msg), rng)
    return r.to_bytes(curve.size, "big") + s.to_bytes(curve.size, "big")


def _sign(key: EcKey, e: int, rng: Rng) -> tuple[int, int]:
    n = key.curve.n
    for _ in range(_MAX_TRIES):
        k = random_below(n, rng)
        r = key.curve.multiply_base(k)[0] % n
        s = inverse(k, n) * (e + key.d * r) % n
        if r and s:
            return r, s
    raise TeeError(gp.TEE_ERROR_GENERIC, "no signature with this key and digest")


def ecdsa_verify(algo: int, key: EcKey, msg: bytes, sig: bytes) -> None:
    """Returns when ``sig`` is a signature of the digest ``msg``; else TEE_ERROR_SIGNATURE_INVALID."""
    curve = _check_algo(algo, key)
    if len(sig) != 2 * curve.size:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"a signature has {2 * curve.size} octets, not {len(sig)}")
    r, s = int_of(sig[: curve.size]), int_of(sig[curve.size :])
    if not 0 < r < curve.n or not 0 < s < curve.n:
        raise TeeError(gp.TEE_ERROR_SIGNATURE_INVALID, "r or s is not in 1 .. n - 1")
    carried = _carry(curve, msg)
    if carried and key.native_public:
        try:
            key.native_public.verify(encode_dss_signature(r, s), carried, _CARRIERS[curve.bits][1])
        except InvalidSignature:
            raise TeeError(gp.TEE_ERROR_SIGNATURE_INVALID) from None
        return
    w = inverse(s, curve.n)
    e = _leftmost_bits(curve, msg)
    point = curve.multiply_add(e * w % curve.n, curve.base, r * w % curve.n, key.point)
    if not point or point[0] % curve.n != r:
        raise TeeError(gp.TEE_ERROR_SIGNATURE_INVALID)


def _check_algo(algo: int, key: EcKey) -> Curve:
    if key.curve is SM2 or algo != _ECDSA_ALGOS[key.curve.bits]:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"no signature on {key.curve.name}: {algo:#x}")
    return key.curve


def _leftmost_bits(curve: Curve, msg: bytes) -> int:
    """As many bits of a digest as the order of the curve has."""
    return int.from_bytes(msg[: curve.size], "big") >> max(0, 8 * min(len(msg), curve.size) - curve.bits)


def _carry(curve: Curve, msg: bytes) -> bytes | None:
    """A digest of the one length that goes with the curve, and with the same leftmost bits."""
    size = _CARRIERS[curve.bits][0]
    if len(msg) == size == curve.size:
        return msg
    if curve.size > size:
        return msg.rjust(size, b"\0") if len(msg) <= size else None
    return msg[: curve.size].rjust(curve.size, b"\0").ljust(size, b"\0")


# --- ECDH ----------------------------------------------------------------------------------------------------


def ecc_shared_secret(key: EcKey, x: bytes, y: bytes) -> bytes:
    """The x coordinate of the common point, as long as a coordinate. ``verify_ecc_public_key`` was called before."""
    peer = EcKey(key.curve, int_of(x), int_of(y))
    if key.native_private and peer.native_public:
        return key.native_private.exchange(ec.ECDH(), peer.native_public)
    point = key.curve.multiply(key.d, peer.point)
    return (point[0] if point else 0).to_bytes(key.curve.size, "big")
