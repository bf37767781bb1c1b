"""X25519 and X448. Mirrors core/lib/libtomcrypt/x25519.c; X448 does as it, upstream has it in drivers only.

A common secret of zeros, which comes of public values of small order, is TEE_ERROR_SECURITY.
"""

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey, X448PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from optemu.abi import cryp, gp
from optemu.errors import TeeError
from optemu.secure_world.crypto.provider import Attrs, Rng

X25519_SIZE: Final = 32
X448_SIZE: Final = 56


@dataclass(eq=False)
class X25519Key:
    private: X25519PrivateKey = field(repr=False)


@dataclass(eq=False)
class X448Key:
    private: X448PrivateKey = field(repr=False)


MontgomeryKey: TypeAlias = X25519Key | X448Key


def load_x25519(attrs: Attrs) -> X25519Key:
    octets = _sized(attrs.get(cryp.TEE_ATTR_X25519_PRIVATE_VALUE, b""), X25519_SIZE)
    return X25519Key(X25519PrivateKey.from_private_bytes(octets))


def load_x448(attrs: Attrs) -> X448Key:
    return X448Key(
        X448PrivateKey.from_private_bytes(_sized(attrs.get(cryp.TEE_ATTR_X448_PRIVATE_VALUE, b""), X448_SIZE))
    )


def generate_x25519(size_bits: int, rng: Rng) -> dict[int, bytes | int]:
    private = _random(size_bits, X25519_SIZE, rng)
    public = X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
    return {cryp.TEE_ATTR_X25519_PUBLIC_VALUE: public, cryp.TEE_ATTR_X25519_PRIVATE_VALUE: private}


def generate_x448(size_bits: int, rng: Rng) -> dict[int, bytes | int]:
    private = _random(size_bits, X448_SIZE, rng)
    public = X448PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
    return {cryp.TEE_ATTR_X448_PUBLIC_VALUE: public, cryp.TEE_ATTR_X448_PRIVATE_VALUE: private}


def x25519_shared_secret(key: X25519Key, public: bytes) -> bytes:
    """32 octets, of as many octets of the other side's public value."""
    peer = X25519PublicKey.from_public_bytes(_sized(public, X25519_SIZE))
    try:
        return key.private.exchange(peer)
    except ValueError:
        raise TeeError(gp.TEE_ERROR_SECURITY, "the common secret is zero") from None


def x448_shared_secret(key: X448Key, public: bytes) -> bytes:
    """56 octets, of as many octets of the other side's public value."""
    peer = X448PublicKey.from_public_bytes(_sized(public, X448_SIZE))
    try:
        return key.private.exchange(peer)
    except ValueError:
        raise TeeError(gp.TEE_ERROR_SECURITY, "the common secret is zero") from None


def _sized(octets: bytes | bytearray | int, size: int) -> bytes:
    if isinstance(octets, int) or len(octets) != size:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"a value on this curve has {size} octets")
    return bytes(octets)


def _random(size_bits: int, size: int, rng: Rng) -> bytes:
    # 448 bits are 56 octets; upstream divides whatever it is given by eight
    if size_bits // 8 != size:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"a key on this curve has {8 * size} bits, not {size_bits}")
    return rng.read(size)
