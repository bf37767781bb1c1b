"""Asymmetric algorithms and their keys, all in one place. Mirrors core/include/crypto/crypto.h.

Names are upstream's without ``crypto_acipher_``. A key is what ``load_key`` made of an object's attributes: it is not
checked, as upstream does not, and keeps what the library needs between calls. Bytes go in, bytes come out, as many as
there are: whether they fit the caller's buffer is the caller's to see. Errors are TeeError with upstream's code.
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from optemu.abi import cryp, gp
from optemu.errors import TeeError
from optemu.secure_world.crypto import dh, dsa, ecc, ed25519, montgomery, rsa, sm2
from optemu.secure_world.crypto.dh import dh_shared_secret
from optemu.secure_world.crypto.dsa import dsa_sign, dsa_verify
from optemu.secure_world.crypto.ecc import EcKey, ecc_shared_secret, verify_ecc_public_key
from optemu.secure_world.crypto.ed25519 import ed25519_sign, ed25519_verify
from optemu.secure_world.crypto.montgomery import x448_shared_secret, x25519_shared_secret
from optemu.secure_world.crypto.provider import Attrs, Rng
from optemu.secure_world.crypto.rsa import (
    rsaes_decrypt,
    rsaes_encrypt,
    rsanopad_decrypt,
    rsanopad_encrypt,
    rsassa_sign,
    rsassa_verify,
)
from optemu.secure_world.crypto.sm2 import Sm2KepParms
from optemu.secure_world.crypto.sm2 import kep_derive as sm2_kep_derive
from optemu.secure_world.crypto.sm2 import pke_decrypt as sm2_pke_decrypt
from optemu.secure_world.crypto.sm2 import pke_encrypt as sm2_pke_encrypt

__all__ = [
    "Sm2KepParms",
    "dh_shared_secret",
    "dsa_sign",
    "dsa_verify",
    "ecc_shared_secret",
    "ecc_sign",
    "ecc_verify",
    "ed25519_sign",
    "ed25519_verify",
    "generate_key",
    "load_key",
    "rsaes_decrypt",
    "rsaes_encrypt",
    "rsanopad_decrypt",
    "rsanopad_encrypt",
    "rsassa_sign",
    "rsassa_verify",
    "sm2_kep_derive",
    "sm2_pke_decrypt",
    "sm2_pke_encrypt",
    "verify_ecc_public_key",
    "x448_shared_secret",
    "x25519_shared_secret",
]

_Attributes: TypeAlias = dict[int, bytes | int]
_Loader: TypeAlias = Callable[[int, Attrs], object]
_Generator: TypeAlias = Callable[[int, int, Attrs, Rng], _Attributes]

_EC: Final = (ecc.load, ecc.generate)
_TYPES: Final[dict[int, tuple[_Loader, _Generator]]] = {
    cryp.TEE_TYPE_RSA_KEYPAIR: (lambda _, attrs: rsa.load(attrs), lambda _, *given: rsa.generate(*given)),
    cryp.TEE_TYPE_DSA_KEYPAIR: (lambda _, attrs: dsa.load(attrs), lambda _, *given: dsa.generate(*given)),
    cryp.TEE_TYPE_DH_KEYPAIR: (lambda _, attrs: dh.load(attrs), lambda _, *given: dh.generate(*given)),
    cryp.TEE_TYPE_ECDSA_KEYPAIR: _EC,
    cryp.TEE_TYPE_ECDH_KEYPAIR: _EC,
    cryp.TEE_TYPE_SM2_DSA_KEYPAIR: _EC,
    cryp.TEE_TYPE_SM2_KEP_KEYPAIR: _EC,
    cryp.TEE_TYPE_SM2_PKE_KEYPAIR: _EC,
    cryp.TEE_TYPE_ED25519_KEYPAIR: (
        lambda _, attrs: ed25519.load(attrs),
        lambda _, bits, __, rng: ed25519.generate(bits, rng),
    ),
    cryp.TEE_TYPE_X25519_KEYPAIR: (
        lambda _, attrs: montgomery.load_x25519(attrs),
        lambda _, bits, __, rng: montgomery.generate_x25519(bits, rng),
    ),
    cryp.TEE_TYPE_X448_KEYPAIR: (
        lambda _, attrs: montgomery.load_x448(attrs),
        lambda _, bits, __, rng: montgomery.generate_x448(bits, rng),
    ),
}
_KEYPAIR: Final = 1 << 24
"""What the number of a key pair's type has more than that of the public key."""


def load_key(object_type: int, attrs: Attrs) -> Any:
    """A key of TEE_TYPE_* from the attributes of its object; cheap, the rest is done at first use."""
    return _type(object_type | _KEYPAIR)[0](object_type, attrs)


def generate_key(object_type: int, size_bits: int, params: Attrs, rng: Rng) -> _Attributes:
    """All attributes that a new key pair of TEE_TYPE_* gets beside ``params``, those the caller gave."""
    return _type(object_type)[1](object_type, size_bits, params, rng)


def _type(object_type: int) -> tuple[_Loader, _Generator]:
    if object_type not in _TYPES:
        raise TeeError(gp.TEE_ERROR_NOT_IMPLEMENTED, f"no keys of type {object_type:#x}")
    return _TYPES[object_type]


def ecc_sign(algo: int, key: EcKey, msg: bytes, rng: Rng) -> bytes:
    """r and s of a digest, by ECDSA or SM2."""
    if algo == cryp.TEE_ALG_SM2_DSA_SM3:
        return sm2.dsa_sign(key, msg, rng)
    return ecc.ecdsa_sign(algo, key, msg, rng)


def ecc_verify(algo: int, key: EcKey, msg: bytes, sig: bytes) -> None:
    """Returns when ``sig`` is a signature of the digest ``msg``; else TEE_ERROR_SIGNATURE_INVALID."""
    if algo == cryp.TEE_ALG_SM2_DSA_SM3:
        sm2.dsa_verify(key, msg, sig)
    else:
        ecc.ecdsa_verify(algo, key, msg, sig)
