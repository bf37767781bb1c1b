"""Key derivation. Mirrors core/tee/tee_cryp_hkdf.c, tee_cryp_concat_kdf.c, tee_cryp_pbkdf2.c, core/crypto/sm2-kdf.c.

Digests are named by their TEE_ALG_*; lengths are octets.
"""

import hashlib

from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from optemu.abi import cryp, gp
from optemu.errors import TeeError
from optemu.secure_world.crypto.hash import digest, digest_size, library_hash


def hkdf(hash_algo: int, ikm: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869; TEE_ERROR_BAD_PARAMETERS for more than 255 digests."""
    size = digest_size(hash_algo)
    if length > 255 * size:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"HKDF gives {255 * size} octets at most, not {length}")
    key = _hmac(hash_algo, salt or bytes(size), ikm)
    block = out = b""
    for i in range(1, -(-length // size) + 1):
        block = _hmac(hash_algo, key, block + info + bytes((i,)))
        out += block
    return out[:length]


def _hmac(hash_algo: int, key: bytes, data: bytes) -> bytes:
    context = HMAC(key, library_hash(hash_algo))
    context.update(data)
    return context.finalize()


def concat_kdf(hash_algo: int, z: bytes, other_info: bytes, length: int) -> bytes:
    """The concatenation key derivation function of NIST SP 800-56A."""
    count = -(-length // digest_size(hash_algo))
    return b"".join(digest(hash_algo, i.to_bytes(4, "big") + z + other_info) for i in range(1, count + 1))[:length]


def pbkdf2(hash_algo: int, password: bytes, salt: bytes, iterations: int, length: int) -> bytes:
    """RFC 8018 with HMAC; zeros for no iterations, as upstream."""
    if not length or not iterations:
        return bytes(length)
    algorithm = library_hash(hash_algo)
    if algorithm.name in hashlib.algorithms_guaranteed:  # which leaves other threads running meanwhile
        return hashlib.pbkdf2_hmac(algorithm.name, password, salt, iterations, length)
    return PBKDF2HMAC(algorithm, length, salt, iterations).derive(password)


def sm2_kdf(z: bytes, length: int) -> bytes:
    """GM/T 0003.4, 5.4.3: like the concatenation function, the counter behind."""
    count = -(-length // digest_size(cryp.TEE_ALG_SM3))
    return b"".join(digest(cryp.TEE_ALG_SM3, z + i.to_bytes(4, "big")) for i in range(1, count + 1))[:length]
