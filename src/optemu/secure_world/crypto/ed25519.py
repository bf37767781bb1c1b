"""Ed25519, plain, with a context, and of a digest (RFC 8032). Mirrors core/lib/libtomcrypt/ed25519.c.

OpenSSL makes and checks the plain ones; the others are computed here. Stricter than upstream in one place, as the RFC
is: a signature whose second half is not below the order of the base point is refused, so nobody can alter signatures.
"""

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha512
from hmac import compare_digest
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from optemu.abi import cryp, gp
from optemu.errors import TeeError
from optemu.secure_world.crypto.provider import Attrs, Rng

_SIZE: Final = 32
_P: Final = 2**255 - 19
_L: Final = 2**252 + 27742317777372353535851937790883648493
_D: Final = -121665 * pow(121666, -1, _P) % _P
_ROOT: Final = pow(2, (_P - 1) // 4, _P)
_PREFIX: Final = b"SigEd25519 no Ed25519 collisions"
_Point: TypeAlias = tuple[int, int, int, int]
"""x z, y z, z and x y z."""
_NEUTRAL: Final = (0, 1, 1, 0)


@dataclass(eq=False)
class Ed25519Key:
    """A key as its owner gave it: 32 octets each; ``private`` is empty in a public key."""

    public: bytes
    private: bytes = field(default=b"", repr=False)

    @cached_property
    def native_private(self) -> Ed25519PrivateKey | None:
        """None when the public half is another's: upstream signs with the one it was given."""
        key = Ed25519PrivateKey.from_private_bytes(self.private)
        return key if key.public_key().public_bytes_raw() == self.public else None

    @cached_property
    def native_public(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.public)


def load(attrs: Attrs) -> Ed25519Key:
    private = attrs.get(cryp.TEE_ATTR_ED25519_PRIVATE_VALUE)
    return Ed25519Key(_sized(attrs.get(cryp.TEE_ATTR_ED25519_PUBLIC_VALUE, b"")), _sized(private) if private else b"")


def _sized(octets: bytes | bytearray | int) -> bytes:
    if isinstance(octets, int) or len(octets) != _SIZE:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, "a value of an Ed25519 key has 32 octets")
    return bytes(octets)


def generate(size_bits: int, rng: Rng) -> dict[int, bytes | int]:
    if size_bits != 8 * _SIZE:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"an Ed25519 key has 256 bits, not {size_bits}")
    private = rng.read(_SIZE)
    public = Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
    return {cryp.TEE_ATTR_ED25519_PUBLIC_VALUE: public, cryp.TEE_ATTR_ED25519_PRIVATE_VALUE: private}


def ed25519_sign(key: Ed25519Key, msg: bytes, prehash: bool, ctx: bytes) -> bytes:
    """64 octets. ``prehash``: Ed25519ph of the message ``msg``; ``ctx``, up to 255 octets: Ed25519ctx."""
    if not prehash and not ctx and key.native_private:
        return key.native_private.sign(msg)
    prefix, msg = _prepared(msg, prehash, ctx)
    hashed = sha512(key.private).digest()
    scalar = int.from_bytes(hashed[:_SIZE], "little") & (1 << 254) - 8 | 1 << 254
    nonce = _hash(prefix, hashed[_SIZE:], msg)
    first = _encode(_multiply(nonce, _BASE))
    second = (nonce + _hash(prefix, first, key.public, msg) * scalar) % _L
    return first + second.to_bytes(_SIZE, "little")


def ed25519_verify(key: Ed25519Key, msg: bytes, sig: bytes, prehash: bool, ctx: bytes) -> None:
    """Returns when ``sig`` is right; else TEE_ERROR_SIGNATURE_INVALID, or BAD_PARAMETERS when key or size are wrong."""
    if len(sig) != 2 * _SIZE:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"an Ed25519 signature has 64 octets, not {len(sig)}")
    if not prehash and not ctx:
        try:
            key.native_public.verify(sig, msg)
            return
        except InvalidSignature:
            _decode(key.public)  # upstream tells a bad key from a bad signature
            raise TeeError(gp.TEE_ERROR_SIGNATURE_INVALID) from None
    prefix, msg = _prepared(msg, prehash, ctx)
    x, y, z, t = _decode(key.public)
    first, second = sig[:_SIZE], int.from_bytes(sig[_SIZE:], "little")
    negated = (-x % _P, y, z, -t % _P)
    expected = _add(_multiply(second, _BASE), _multiply(_hash(prefix, first, key.public, msg), negated))
    if second >= _L or not compare_digest(_encode(expected), first):
        raise TeeError(gp.TEE_ERROR_SIGNATURE_INVALID)


def _prepared(msg: bytes, prehash: bool, ctx: bytes) -> tuple[bytes, bytes]:
    """What goes before everything that is hashed (dom2), and what stands for the message."""
    if len(ctx) > 255:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"a context has 255 octets at most, not {len(ctx)}")
    if not prehash and not ctx:
        return b"", msg
    return _PREFIX + bytes((prehash, len(ctx))) + ctx, sha512(msg).digest() if prehash else msg


def _hash(*parts: bytes) -> int:
    return int.from_bytes(sha512(b"".join(parts)).digest(), "little") % _L


# --- the curve -----------------------------------------------------------------------------------------------


def _add(first: _Point, second: _Point) -> _Point:
    x1, y1, z1, t1 = first
    x2, y2, z2, t2 = second
    a, b = (y1 - x1) * (y2 - x2), (y1 + x1) * (y2 + x2)
    c, d = 2 * t1 * t2 % _P * _D, 2 * z1 * z2
    e, f, g, h = (b - a) % _P, (d - c) % _P, (d + c) % _P, (b + a) % _P
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _double(point: _Point) -> _Point:
    x, y, z, _ = point
    a, b = x * x % _P, y * y % _P
    h, c = a + b, 2 * z * z
    e, g = h - (x + y) * (x + y), a - b
    f = c + g
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _multiply(k: int, point: _Point) -> _Point:
    multiples: list[_Point] = [_NEUTRAL, point]
    for _ in range(14):
        multiples.append(_add(multiples[-1], point))
    result: _Point = _NEUTRAL
    for shift in range(252, -1, -4):
        result = _double(_double(_double(_double(result))))
        result = _add(result, multiples[k >> shift & 15])
    return result


def _encode(point: _Point) -> bytes:
    x, y, z, _ = point
    inverted = pow(z, -1, _P)
    return (y * inverted % _P | (x * inverted % _P & 1) << 255).to_bytes(_SIZE, "little")


def _decode(octets: bytes) -> _Point:
    """TEE_ERROR_BAD_PARAMETERS for what is no point."""
    value = int.from_bytes(octets, "little")
    y, sign = (value & (1 << 255) - 1) % _P, value >> 255
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if (v * x * x - u) % _P:
        x = x * _ROOT % _P
    if (v * x * x - u) % _P:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, "the public value is no point of the curve")
    if x & 1 != sign:
        x = -x % _P
    return x, y, 1, x * y % _P


_BASE: Final = _decode((4 * pow(5, -1, _P) % _P).to_bytes(_SIZE, "little"))
