"""DSA with groups of any size. Mirrors core/lib/libtomcrypt/dsa.c.

OpenSSL works with the sizes of FIPS 186 and keys whose numbers fit together; pow() with all others.
"""

from dataclasses import dataclass, field
from functools import cached_property
from math import gcd
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature, encode_dss_signature

from optemu.abi import cryp, gp
from optemu.errors import TeeError
from optemu.secure_world.crypto.number import byte_length, int_of, inverse, octets_of, powmod, random_below
from optemu.secure_world.crypto.provider import Attrs, Rng

_DIGEST_SIZES: Final = {cryp.TEE_ALG_DSA_SHA1: 20, cryp.TEE_ALG_DSA_SHA224: 28, cryp.TEE_ALG_DSA_SHA256: 32}
_CARRIERS: Final = {20: Prehashed(hashes.SHA1()), 28: Prehashed(hashes.SHA224()), 32: Prehashed(hashes.SHA256())}
"""A digest as long as the order of the group: OpenSSL looks only at its length."""
_MAX_GROUP: Final = 512
_MAX_TRIES: Final = 100


@dataclass(eq=False)
class DsaKey:
    """A key as its owner gave it; nothing of it has been checked. ``x`` is 0 in a public key."""

    p: int
    q: int
    g: int
    y: int
    x: int = field(default=0, repr=False)

    @cached_property
    def size(self) -> int:
        """Octets of the order of the group, and of half a signature."""
        return byte_length(self.q)

    @cached_property
    def native_public(self) -> dsa.DSAPublicKey | None:
        if not self.p & 1 or not self.q & 1 or self.size not in _CARRIERS:
            return None
        try:
            return self._public_numbers().public_key()
        except ValueError:
            return None

    @cached_property
    def native_private(self) -> dsa.DSAPrivateKey | None:
        if not self.native_public or not 0 < self.x < self.q:
            return None
        try:
            return dsa.DSAPrivateNumbers(self.x, self._public_numbers()).private_key()
        except ValueError:
            return None

    def _public_numbers(self) -> dsa.DSAPublicNumbers:
        return dsa.DSAPublicNumbers(self.y, dsa.DSAParameterNumbers(self.p, self.q, self.g))


def load(attrs: Attrs) -> DsaKey:
    return DsaKey(
        int_of(attrs.get(cryp.TEE_ATTR_DSA_PRIME)),
        int_of(attrs.get(cryp.TEE_ATTR_DSA_SUBPRIME)),
        int_of(attrs.get(cryp.TEE_ATTR_DSA_BASE)),
        int_of(attrs.get(cryp.TEE_ATTR_DSA_PUBLIC_VALUE)),
        int_of(attrs.get(cryp.TEE_ATTR_DSA_PRIVATE_VALUE)),
    )


def generate(size_bits: int, params: Attrs, rng: Rng) -> dict[int, bytes | int]:
    """A key pair in the group that ``params`` give; ``size_bits`` are those of the octets of p."""
    p, q, g = (
        int_of(params.get(a)) for a in (cryp.TEE_ATTR_DSA_PRIME, cryp.TEE_ATTR_DSA_SUBPRIME, cryp.TEE_ATTR_DSA_BASE)
    )
    if size_bits != 8 * byte_length(p) or not p & 1 or q < 2:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"no DSA key of {size_bits} bits in this group")
    x = random_below(q, rng)
    return {
        cryp.TEE_ATTR_DSA_PUBLIC_VALUE: octets_of(powmod(g, x, p)),
        cryp.TEE_ATTR_DSA_PRIVATE_VALUE: octets_of(x),
    }


def dsa_sign(algo: int, key: DsaKey, msg: bytes, rng: Rng) -> bytes:
    """r and s of the digest ``msg``, each as long as q. A digest longer than q is given cut to it."""
    size = min(_digest_size(algo), key.size)
    if len(msg) != size:
        raise TeeError(gp.TEE_ERROR_SECURITY, f"a digest of {size} octets is signed, not {len(msg)}")
    if key.native_private and not rng.repeatable:
        carried = msg.rjust(key.size, b"\0")
        try:
            r, s = decode_dss_signature(key.native_private.sign(carried, _CARRIERS[key.size]))
        except ValueError:  # a group in which r or s is always zero
            raise TeeError(gp.TEE_ERROR_GENERIC, "no signature with this key and digest") from None
    else:
        r, s = _sign(key, int_of(msg), rng)
    return r.to_bytes(key.size, "big") + s.to_bytes(key.size, "big")


def _sign(key: DsaKey, e: int, rng: Rng) -> tuple[int, int]:
    if not key.p & 1 or key.q < 2 or key.size >= _MAX_GROUP:
        raise TeeError(gp.TEE_ERROR_GENERIC, "p is even, or q is out of range")
    for _ in range(_MAX_TRIES):
        k = random_below(key.q, rng)
        r = powmod(key.g, k, key.p) % key.q
        if not r or gcd(k, key.q) != 1:
            continue
        s = inverse(k, key.q) * (e + key.x * r) % key.q
        if s:
            return r, s
    raise TeeError(gp.TEE_ERROR_GENERIC, "no signature with this key and digest")


def dsa_verify(algo: int, key: DsaKey, msg: bytes, sig: bytes) -> None:
    """Returns when ``sig`` is a signature of the digest ``msg``; else TEE_ERROR_SIGNATURE_INVALID."""
    _digest_size(algo)
    half = len(sig) // 2
    r, s = int_of(sig[:half]), int_of(sig[half : 2 * half])
    if not 0 < r < key.q or not 0 < s < key.q:
        raise TeeError(gp.TEE_ERROR_SIGNATURE_INVALID, "r or s is not in 1 .. q - 1")
    msg = msg[: key.size]
    if key.native_public:
        try:
            carried = msg.rjust(key.size, b"\0")
            key.native_public.verify(encode_dss_signature(r, s), carried, _CARRIERS[key.size])
        except InvalidSignature:
            raise TeeError(gp.TEE_ERROR_SIGNATURE_INVALID) from None
    elif _verified(key, int_of(msg), r, s) != r:
        raise TeeError(gp.TEE_ERROR_SIGNATURE_INVALID)


def _verified(key: DsaKey, e: int, r: int, s: int) -> int:
    try:
        w = inverse(s, key.q)
    except ValueError:
        raise TeeError(gp.TEE_ERROR_GENERIC, "s has no inverse: q is no prime") from None
    if not key.p & 1:
        raise TeeError(gp.TEE_ERROR_GENERIC, "p is even")
    base = powmod(key.g, e * w % key.q, key.p)
    return base * powmod(key.y, r * w % key.q, key.p) % key.p % key.q


def _digest_size(algo: int) -> int:
    if algo not in _DIGEST_SIZES:
        raise TeeError(gp.TEE_ERROR_NOT_IMPLEMENTED, f"no signature with DSA: {algo:#x}")
    return _DIGEST_SIZES[algo]
