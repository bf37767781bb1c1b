"""SM2: signature, encryption, key exchange. Mirrors core/lib/libtomcrypt/sm2-dsa.c, sm2-pke.c and sm2-kep.c.

GM/T 0003.2 to 0003.5. Keys are EcKey on the curve SM2; all of it is computed here, as OpenSSL's SM2 is out of reach.
"""

from dataclasses import dataclass
from hmac import compare_digest
from typing import Final

from optemu.abi import cryp, gp
from optemu.errors import TeeError
from optemu.secure_world.crypto.curve import SM2
from optemu.secure_world.crypto.ecc import EcKey
from optemu.secure_world.crypto.hash import digest
from optemu.secure_world.crypto.kdf import sm2_kdf
from optemu.secure_world.crypto.number import int_of, inverse, random_below, xor
from optemu.secure_world.crypto.provider import Rng

_SIZE: Final = 32
_N: Final = SM2.n
_MAX_TRIES: Final = 100


def _bytes(value: int) -> bytes:
    return (value % (1 << 8 * _SIZE)).to_bytes(_SIZE, "big")


def _sm3(*parts: bytes) -> bytes:
    return digest(cryp.TEE_ALG_SM3, b"".join(parts))


def _check_curve(key: EcKey) -> None:
    if key.curve is not SM2:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"a key on {key.curve.name} is none for SM2")


# --- signature -----------------------------------------------------------------------------------------------


def dsa_sign(key: EcKey, msg: bytes, rng: Rng) -> bytes:
    """r and s of ``msg``, which is SM3 of user information and message already; 64 octets."""
    _check_curve(key)
    e = int_of(msg)
    try:
        inverted = inverse(key.d + 1, _N)
    except ValueError:
        raise TeeError(gp.TEE_ERROR_BAD_STATE, "the private key has no inverse") from None
    for _ in range(_MAX_TRIES):
        k = random_below(_N, rng)
        r = (e + SM2.multiply_base(k)[0]) % _N
        if r and r + k != _N:
            return _bytes(r) + _bytes(inverted * (k - r * key.d) % _N)
    raise TeeError(gp.TEE_ERROR_GENERIC, "no signature with this key and digest")


def dsa_verify(key: EcKey, msg: bytes, sig: bytes) -> None:
    """Returns when ``sig`` is a signature of ``msg``; else TEE_ERROR_SIGNATURE_INVALID."""
    if len(sig) != 2 * _SIZE:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"an SM2 signature has 64 octets, not {len(sig)}")
    _check_curve(key)
    r, s = int_of(sig[:_SIZE]), int_of(sig[_SIZE:])
    t = (r + s) % _N
    if not 0 < r < _N or not 0 < s < _N or not t:
        raise TeeError(gp.TEE_ERROR_SIGNATURE_INVALID, "r, s or r + s is out of range")
    point = SM2.multiply_add(s, SM2.base, t, key.point)
    if not point or (int_of(msg) + point[0]) % _N != r:
        raise TeeError(gp.TEE_ERROR_SIGNATURE_INVALID)


# --- encryption ----------------------------------------------------------------------------------------------


def pke_encrypt(key: EcKey, src: bytes, rng: Rng) -> bytes:
    """C1 (an uncompressed point), C2 (as long as ``src``), C3 (SM3): 97 octets more than ``src``.

    A mask of zeros, which one octet gets once in 256 times, makes upstream fail; here, as in the standard, it is drawn
    anew. Nothing at all cannot be encrypted: TEE_ERROR_CIPHERTEXT_INVALID.
    """
    _check_curve(key)
    for _ in range(_MAX_TRIES if src else 0):
        k = random_below(_N, rng)
        common = SM2.multiply(k, key.point)
        if not common:
            raise TeeError(gp.TEE_ERROR_BAD_STATE, "the common point is at infinity")
        x2, y2 = _bytes(common[0]), _bytes(common[1])
        mask = sm2_kdf(x2 + y2, len(src))
        if any(mask):
            x1, y1 = SM2.multiply_base(k)
            return b"\4" + _bytes(x1) + _bytes(y1) + xor(src, mask) + _sm3(x2, src, y2)
    raise TeeError(gp.TEE_ERROR_CIPHERTEXT_INVALID, "nothing to encrypt")


def pke_decrypt(key: EcKey, src: bytes) -> bytes:
    """The message; TEE_ERROR_CIPHERTEXT_INVALID unless C3 is its digest."""
    _check_curve(key)
    c1 = _c1(src)
    common = SM2.multiply(key.d, c1)
    if not common:
        raise TeeError(gp.TEE_ERROR_BAD_STATE, "the common point is at infinity")
    c2, c3 = src[2 * _SIZE + 1 : -_SIZE], src[-_SIZE:]
    if len(src) <= 3 * _SIZE + 1:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"{len(src)} octets are too few for a ciphertext of SM2")
    x2, y2 = _bytes(common[0]), _bytes(common[1])
    mask = sm2_kdf(x2 + y2, len(c2))
    message = xor(c2, mask)
    if not any(mask) or not compare_digest(_sm3(x2, message, y2), c3):
        raise TeeError(gp.TEE_ERROR_CIPHERTEXT_INVALID)
    return message


def _c1(src: bytes) -> tuple[int, int]:
    if src[:1] in (b"\2", b"\3", b"\6", b"\7"):
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, "C1 is a compressed or hybrid point")
    x, y = int_of(src[1 : _SIZE + 1]), int_of(src[_SIZE + 1 : 2 * _SIZE + 1])
    if src[:1] != b"\4" or len(src) < 2 * _SIZE + 1 or not SM2.contains(x, y):
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, "C1 is no point of the curve")
    return x, y


# --- key exchange --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sm2KepParms:
    """What both sides of a key exchange agree on (struct sm2_kep_parms).

    ``conf_in`` is the other side's confirmation, None when there is none to check; ``want_conf_out`` asks for ours.
    """

    out_len: int
    is_initiator: bool
    initiator_id: bytes
    responder_id: bytes
    conf_in: bytes | None = None
    want_conf_out: bool = False


def kep_derive(
    key: EcKey, eph_key: EcKey, peer: EcKey, peer_eph: EcKey, parms: Sm2KepParms
) -> tuple[bytes, bytes | None]:
    """``out_len`` octets of key, and our confirmation (32 octets) if it is wanted. Failures: TEE_ERROR_BAD_STATE."""
    for each in (key, eph_key, peer, peer_eph):
        _check_curve(each)
    if not SM2.contains(peer_eph.x, peer_eph.y):
        raise TeeError(gp.TEE_ERROR_BAD_STATE, "the other side's ephemeral key is not on the curve")
    common = SM2.multiply_add(1, peer.point, _reduced(peer_eph.x), peer_eph.point)
    common = SM2.multiply((key.d + _reduced(eph_key.x) * eph_key.d) % _N, common)
    if not common:
        raise TeeError(gp.TEE_ERROR_BAD_STATE, "the common point is at infinity")
    sides = ((key, eph_key), (peer, peer_eph)) if parms.is_initiator else ((peer, peer_eph), (key, eph_key))
    (initiator, initiator_eph), (responder, responder_eph) = sides
    z = _z(parms.initiator_id, initiator) + _z(parms.responder_id, responder)
    x, y = _bytes(common[0]), _bytes(common[1])
    inner = _sm3(x, z, *(_bytes(v) for each in (initiator_eph, responder_eph) for v in (each.x, each.y)))
    ours, theirs = (b"\3", b"\2") if parms.is_initiator else (b"\2", b"\3")
    if parms.conf_in is not None:
        if len(parms.conf_in) < _SIZE:
            raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, "the confirmation has fewer than 32 octets")
        if not compare_digest(_sm3(theirs, y, inner), parms.conf_in[:_SIZE]):
            raise TeeError(gp.TEE_ERROR_BAD_STATE, "the other side's confirmation is wrong")
    return sm2_kdf(x + y + z, parms.out_len), _sm3(ours, y, inner) if parms.want_conf_out else None


def _reduced(x: int) -> int:
    return 1 << 127 | x & (1 << 127) - 1


def _z(user_id: bytes, key: EcKey) -> bytes:
    """Digest of who somebody is and of their public key; the length in bits is cut to 16, as upstream does."""
    numbers = (SM2.a, SM2.b, *SM2.base, key.x, key.y)
    return _sm3((len(user_id) * 8 & 0xFFFF).to_bytes(2, "big"), user_id, *(_bytes(value) for value in numbers))
