"""Diffie-Hellman in any group. Mirrors core/lib/libtomcrypt/dh.c.

OpenSSL wants groups it can check, and checks them for tens of milliseconds: all of it is pow() here.
"""

from dataclasses import dataclass, field

from optemu.abi import cryp, gp
from optemu.errors import TeeError
from optemu.secure_world.crypto.number import byte_length, int_of, octets_of, powmod
from optemu.secure_world.crypto.provider import Attrs, Rng


@dataclass(eq=False)
class DhKey:
    """What of a key pair the shared secret takes."""

    p: int
    x: int = field(repr=False)


def load(attrs: Attrs) -> DhKey:
    return DhKey(int_of(attrs.get(cryp.TEE_ATTR_DH_PRIME)), int_of(attrs.get(cryp.TEE_ATTR_DH_PRIVATE_VALUE)))


def generate(size_bits: int, params: Attrs, rng: Rng) -> dict[int, bytes | int]:
    """A key pair in the group that ``params`` give, the private value of so many bits if they say so."""
    p, g = int_of(params.get(cryp.TEE_ATTR_DH_PRIME)), int_of(params.get(cryp.TEE_ATTR_DH_BASE))
    q = int_of(params.get(cryp.TEE_ATTR_DH_SUBPRIME))
    x_bits = int_of(params.get(cryp.TEE_ATTR_DH_X_BITS))
    room = min(byte_length(p), byte_length(q)) if q else byte_length(p)
    if size_bits != 8 * byte_length(p) or not p & 1:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"no DH key of {size_bits} bits in this group")
    if x_bits % 8 or x_bits > 8 * room or (cryp.TEE_ATTR_DH_SUBPRIME in params and not q):
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"no private value of {x_bits} bits in this group")
    x = int.from_bytes(rng.read(x_bits // 8 or room), "big") % (q if q and byte_length(q) < byte_length(p) else p)
    return {
        cryp.TEE_ATTR_DH_PUBLIC_VALUE: octets_of(powmod(g, x, p)),
        cryp.TEE_ATTR_DH_PRIVATE_VALUE: octets_of(x),
        cryp.TEE_ATTR_DH_X_BITS: x_bits,
    }


def dh_shared_secret(key: DhKey, public: bytes) -> bytes:
    """The common number without leading zeros, as upstream gives it: no octets at all for zero."""
    if not key.p & 1:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, "p is even")
    return octets_of(powmod(int_of(public), key.x, key.p))
