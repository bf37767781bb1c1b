"""Paddings of RSA: PKCS #1 version 2.2. Mirrors core/lib/libtomcrypt/src/pk/pkcs1.

What does not fit or does not decode is TEE_ERROR_BAD_PARAMETERS; whoever verifies a signature makes it
TEE_ERROR_SIGNATURE_INVALID. Digests are named by their TEE_ALG_*.
"""

from hmac import compare_digest
from typing import Final

from optemu.abi import cryp, gp
from optemu.errors import TeeError
from optemu.secure_world.crypto.hash import digest, digest_size
from optemu.secure_world.crypto.number import xor
from optemu.secure_world.crypto.provider import Rng

_OIDS: Final = {
    cryp.TEE_ALG_MD5: "2a864886f70d0205",
    cryp.TEE_ALG_SHA1: "2b0e03021a",
    cryp.TEE_ALG_SHA224: "608648016503040204",
    cryp.TEE_ALG_SHA256: "608648016503040201",
    cryp.TEE_ALG_SHA384: "608648016503040202",
    cryp.TEE_ALG_SHA512: "608648016503040203",
    cryp.TEE_ALG_SHA3_224: "608648016503040207",
    cryp.TEE_ALG_SHA3_256: "608648016503040208",
    cryp.TEE_ALG_SHA3_384: "608648016503040209",
    cryp.TEE_ALG_SHA3_512: "60864801650304020a",
}


def _tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes((tag, len(body))) + body


def digest_infos(hash_algo: int, value: bytes) -> tuple[bytes, bytes]:
    """DigestInfo of a digest: as it is signed, and without the parameters' NULL, as it is accepted too."""
    oid, octets = _tlv(0x06, bytes.fromhex(_OIDS[hash_algo])), _tlv(0x04, value)
    return _tlv(0x30, _tlv(0x30, oid, b"\5\0"), octets), _tlv(0x30, _tlv(0x30, oid), octets)


def has_digest_info(hash_algo: int) -> bool:
    return hash_algo in _OIDS


def _bad(message: str) -> TeeError:
    return TeeError(gp.TEE_ERROR_BAD_PARAMETERS, message)


def mgf1(hash_algo: int, seed: bytes, size: int) -> bytes:
    """The mask generation function, ``size`` octets of it."""
    count = -(-size // digest_size(hash_algo))
    return b"".join(digest(hash_algo, seed + i.to_bytes(4, "big")) for i in range(count))[:size]


# --- version 1.5 ---------------------------------------------------------------------------------------------


def emsa_v1_5(payload: bytes, size: int) -> bytes:
    """``payload`` (a DigestInfo, or whatever is signed without one) in ``size`` octets, those of the modulus."""
    if len(payload) + 11 > size:
        raise _bad(f"{len(payload)} octets do not fit a modulus of {size}")
    return b"\0\1" + b"\xff" * (size - len(payload) - 3) + b"\0" + payload


def eme_v1_5(message: bytes, size: int, rng: Rng) -> bytes:
    """``message`` in ``size`` octets, padded with random ones that are not zero."""
    if len(message) + 11 > size:
        raise _bad(f"{len(message)} octets do not fit a modulus of {size}")
    needed, padding = size - len(message) - 3, b""
    for _ in range(1000):
        padding += rng.read(needed - len(padding)).replace(b"\0", b"")
        if len(padding) == needed:
            return b"\0\2" + padding + b"\0" + message
    raise TeeError(gp.TEE_ERROR_GENERIC, "random octets are all zero")


def eme_v1_5_decode(padded: bytes) -> bytes:
    end = padded.find(b"\0", 2)
    if len(padded) < 11 or padded[:2] != b"\0\2" or end < 10:
        raise _bad("no PKCS #1 v1.5 padding")
    return padded[end + 1 :]


# --- OAEP ----------------------------------------------------------------------------------------------------


def oaep_encode(hash_algo: int, mgf_algo: int, label: bytes, message: bytes, size: int, rng: Rng) -> bytes:
    """``message`` in ``size`` octets, those of the modulus."""
    h_len = check_oaep_size(hash_algo, size)
    if len(message) > size - 2 * h_len - 2:
        raise _bad(f"{len(message)} octets do not fit a modulus of {size}")
    zeros = bytes(size - len(message) - 2 * h_len - 2)
    block = digest(hash_algo, label) + zeros + b"\1" + message
    seed = rng.read(h_len)
    masked = xor(block, mgf1(mgf_algo, seed, len(block)))
    return b"\0" + xor(seed, mgf1(mgf_algo, masked, h_len)) + masked


def check_oaep_size(hash_algo: int, size: int) -> int:
    """Octets of the digest; upstream wants room for at least one octet beside it."""
    h_len = digest_size(hash_algo)
    if 2 * h_len >= size - 2:
        raise _bad(f"OAEP with a digest of {h_len} octets does not fit a modulus of {size}")
    return h_len


def oaep_decode(hash_algo: int, mgf_algo: int, label: bytes, padded: bytes) -> bytes:
    h_len = check_oaep_size(hash_algo, len(padded))
    masked = padded[1 + h_len :]
    seed = xor(padded[1 : 1 + h_len], mgf1(mgf_algo, masked, h_len))
    block = xor(masked, mgf1(mgf_algo, seed, len(masked)))
    rest = block[h_len:].lstrip(b"\0")
    good = compare_digest(block[:h_len], digest(hash_algo, label))
    if not good or padded[0] or rest[:1] != b"\1":
        raise _bad("no OAEP padding")
    return rest[1:]


# --- PSS -----------------------------------------------------------------------------------------------------


def _pss_hash(hash_algo: int, value: bytes, salt: bytes) -> bytes:
    return digest(hash_algo, bytes(8) + value + salt)


def check_pss_size(hash_algo: int, bits: int, salt_len: int) -> tuple[int, int]:
    """Octets of the digest and of the encoding, which is one bit shorter than a modulus of ``bits``."""
    h_len, size = digest_size(hash_algo), (bits + 6) // 8
    if salt_len < 0 or size < h_len + salt_len + 2:
        raise _bad(f"PSS with {h_len} + {salt_len} octets does not fit a modulus of {bits} bits")
    return h_len, size


def pss_encode(hash_algo: int, value: bytes, salt_len: int, bits: int, rng: Rng) -> bytes:
    """The digest ``value`` encoded for a modulus of ``bits`` bits."""
    h_len, size = check_pss_size(hash_algo, bits, salt_len)
    salt = rng.read(salt_len) if salt_len else b""
    hashed = _pss_hash(hash_algo, value, salt)
    block = bytes(size - salt_len - h_len - 2) + b"\1" + salt
    masked = bytearray(xor(block, mgf1(hash_algo, hashed, len(block))))
    masked[0] &= 0xFF >> (8 * size - bits + 1)
    return bytes(masked) + hashed + b"\xbc"


def pss_verify(hash_algo: int, value: bytes, salt_len: int, bits: int, padded: bytes) -> None:
    """``padded`` is as long as the modulus. Returns when it encodes ``value`` with a salt of that length."""
    h_len, size = check_pss_size(hash_algo, bits, salt_len)
    surplus, padded = padded[:-size], padded[-size:]
    spare = 0xFF >> (8 * size - bits + 1)
    if any(surplus) or padded[-1] != 0xBC or padded[0] & ~spare:
        raise _bad("no PSS padding")
    masked, hashed = padded[: -h_len - 1], padded[-h_len - 1 : -1]
    block = bytearray(xor(masked, mgf1(hash_algo, hashed, len(masked))))
    block[0] &= spare
    start = len(block) - salt_len
    if any(block[: start - 1]) or block[start - 1] != 1:
        raise _bad("no PSS padding, or a salt of another length")
    if not compare_digest(hashed, _pss_hash(hash_algo, value, bytes(block[start:]))):
        raise _bad("PSS digest differs")
