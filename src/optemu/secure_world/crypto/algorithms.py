"""The algorithms of a TA's operations, one row each. Mirrors lib/libutee/include/utee_defines.h.

Here is what the core knows of an algorithm before it has a key: the system calls check by it, ``optemu syscalls
--crypto`` and docs/crypto.md print it, and the tests make their matrix of it. To add one: its number to abi/cryp.py,
its row here, and the work to the module of this room that its ``provider`` names.
"""

from dataclasses import dataclass
from typing import Final

from optemu.abi import cryp

_ENCRYPT, _DECRYPT, _SIGN, _VERIFY = (
    cryp.TEE_MODE_ENCRYPT,
    cryp.TEE_MODE_DECRYPT,
    cryp.TEE_MODE_SIGN,
    cryp.TEE_MODE_VERIFY,
)
MODE_NAMES: Final = {
    _ENCRYPT: "encrypt",
    _DECRYPT: "decrypt",
    _SIGN: "sign",
    _VERIFY: "verify",
    cryp.TEE_MODE_MAC: "MAC",
    cryp.TEE_MODE_DIGEST: "digest",
    cryp.TEE_MODE_DERIVE: "derive",
}
CLASS_NAMES: Final = {
    cryp.TEE_OPERATION_CIPHER: "cipher",
    cryp.TEE_OPERATION_MAC: "MAC",
    cryp.TEE_OPERATION_AE: "authenticated encryption",
    cryp.TEE_OPERATION_DIGEST: "digest",
    cryp.TEE_OPERATION_ASYMMETRIC_CIPHER: "asymmetric cipher",
    cryp.TEE_OPERATION_ASYMMETRIC_SIGNATURE: "signature",
    cryp.TEE_OPERATION_KEY_DERIVATION: "key derivation",
}
FULL, REFUSED = "full", "refused"

# --- what a number says ------------------------------------------------------------------------------------------

_MAIN_ALGO_AES, _MAIN_ALGO_DES, _MAIN_ALGO_DES3, _MAIN_ALGO_SM4 = 0x10, 0x11, 0x13, 0x14
MAIN_ALGO_RSA, MAIN_ALGO_DSA, _MAIN_ALGO_DH = 0x30, 0x31, 0x32
MAIN_ALGO_ECDSA, _MAIN_ALGO_ECDH, MAIN_ALGO_ED25519, _MAIN_ALGO_X25519, _MAIN_ALGO_X448 = 0x41, 0x42, 0x43, 0x44, 0x49
MAIN_ALGO_SM2_DSA_SM3, _MAIN_ALGO_SM2_KEP, _MAIN_ALGO_SM2_PKE = 0x45, 0x46, 0x47
_MAIN_ALGO_HKDF, _MAIN_ALGO_CONCAT_KDF, _MAIN_ALGO_PBKDF2 = 0xC0, 0xC1, 0xC2
_MAIN_ALGO_SHAKE128, _MAIN_ALGO_SHAKE256 = 0xC3, 0xC4
_CHAIN_MODE_XTS = 0x4

_CLASSES: Final = {
    cryp.TEE_ALG_SM2_PKE: cryp.TEE_OPERATION_ASYMMETRIC_CIPHER,
    cryp.TEE_ALG_SM2_KEP: cryp.TEE_OPERATION_KEY_DERIVATION,
    cryp.TEE_ALG_RSASSA_PKCS1_V1_5: cryp.TEE_OPERATION_ASYMMETRIC_SIGNATURE,
    cryp.TEE_ALG_DES3_CMAC: cryp.TEE_OPERATION_MAC,
    cryp.TEE_ALG_SM4_XTS: cryp.TEE_OPERATION_CIPHER,
    cryp.TEE_ALG_RSASSA_PKCS1_PSS_MGF1_MD5: cryp.TEE_OPERATION_ASYMMETRIC_SIGNATURE,
    cryp.TEE_ALG_RSAES_PKCS1_OAEP_MGF1_MD5: cryp.TEE_OPERATION_ASYMMETRIC_CIPHER,
}
"""Where bits 31 to 28 of the number are not the class."""
_MAIN_ALGOS: Final = {
    cryp.TEE_ALG_SM2_PKE: _MAIN_ALGO_SM2_PKE,
    cryp.TEE_ALG_SM2_KEP: _MAIN_ALGO_SM2_KEP,
    cryp.TEE_ALG_X25519: _MAIN_ALGO_X25519,
    cryp.TEE_ALG_ED25519: MAIN_ALGO_ED25519,
    cryp.TEE_ALG_ECDSA_SHA1: MAIN_ALGO_ECDSA,
    cryp.TEE_ALG_ECDSA_SHA224: MAIN_ALGO_ECDSA,
    cryp.TEE_ALG_ECDSA_SHA256: MAIN_ALGO_ECDSA,
    cryp.TEE_ALG_ECDSA_SHA384: MAIN_ALGO_ECDSA,
    cryp.TEE_ALG_ECDSA_SHA512: MAIN_ALGO_ECDSA,
    cryp.TEE_ALG_HKDF: _MAIN_ALGO_HKDF,
    cryp.TEE_ALG_SHAKE128: _MAIN_ALGO_SHAKE128,
    cryp.TEE_ALG_SHAKE256: _MAIN_ALGO_SHAKE256,
    cryp.TEE_ALG_X448: _MAIN_ALGO_X448,
}
"""Where bits 7 to 0 of the number are not the main algorithm."""


def get_class(algo: int) -> int:
    """TEE_ALG_GET_CLASS: TEE_OPERATION_*, or a number that is none."""
    return _CLASSES.get(algo, algo >> 28 & 0xF)


def get_main_alg(algo: int) -> int:
    """TEE_ALG_GET_MAIN_ALG."""
    return _MAIN_ALGOS.get(algo, algo & 0xFF)


def get_chain_mode(algo: int) -> int:
    """TEE_ALG_GET_CHAIN_MODE."""
    return algo >> 8 & 0xF


def digest_hash_to_algo(algo: int) -> int:
    """TEE_DIGEST_HASH_TO_ALGO: the digest that is signed, or that a key derivation uses."""
    if algo == cryp.TEE_ALG_SM2_DSA_SM3:
        return cryp.TEE_ALG_SM3
    return cryp.TEE_OPERATION_DIGEST << 28 | algo >> 12 & 0xF


def internal_hash_to_algo(algo: int) -> int:
    """TEE_INTERNAL_HASH_TO_ALGO: the digest inside OAEP's and PSS's MGF1."""
    return cryp.TEE_OPERATION_DIGEST << 28 | algo >> 20 & 0x7


COMPAT: Final = {
    cryp.OPTEE_ALG_ECDSA_P192: cryp.TEE_ALG_ECDSA_SHA1,
    cryp.OPTEE_ALG_ECDSA_P224: cryp.TEE_ALG_ECDSA_SHA224,
    cryp.OPTEE_ALG_ECDSA_P256: cryp.TEE_ALG_ECDSA_SHA256,
    cryp.OPTEE_ALG_ECDSA_P384: cryp.TEE_ALG_ECDSA_SHA384,
    cryp.OPTEE_ALG_ECDSA_P521: cryp.TEE_ALG_ECDSA_SHA512,
    cryp.OPTEE_ALG_ECDH_P192: cryp.TEE_ALG_ECDH_DERIVE_SHARED_SECRET,
    cryp.OPTEE_ALG_ECDH_P224: cryp.TEE_ALG_ECDH_DERIVE_SHARED_SECRET,
    cryp.OPTEE_ALG_ECDH_P256: cryp.TEE_ALG_ECDH_DERIVE_SHARED_SECRET,
    cryp.OPTEE_ALG_ECDH_P384: cryp.TEE_ALG_ECDH_DERIVE_SHARED_SECRET,
    cryp.OPTEE_ALG_ECDH_P521: cryp.TEE_ALG_ECDH_DERIVE_SHARED_SECRET,
}
"""translate_compat_algo: numbers of old TAs, in which the curve was part of the algorithm."""

# --- which keys an algorithm takes -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyTypes:
    """``key`` is what does everything; in ``public_modes`` the other half of a pair does, too, or ``only`` that."""

    key: int
    public: int = 0
    public_modes: tuple[int, ...] = ()
    only: bool = False

    def of(self, mode: int) -> tuple[int, ...]:
        """TEE_TYPE_* of the keys for ``mode``, be that one of the algorithm's modes or not."""
        if mode not in self.public_modes:
            return (self.key,)
        return (self.public,) if self.only else (self.key, self.public)


_ALL_MODES: Final = tuple(MODE_NAMES)
_KEYS: Final[dict[int, KeyTypes]] = {
    **{number & 0xFF: KeyTypes(number) for number in cryp.names("TEE_TYPE_HMAC_")},
    _MAIN_ALGO_AES: KeyTypes(cryp.TEE_TYPE_AES),
    _MAIN_ALGO_DES: KeyTypes(cryp.TEE_TYPE_DES),
    _MAIN_ALGO_DES3: KeyTypes(cryp.TEE_TYPE_DES3),
    _MAIN_ALGO_SM4: KeyTypes(cryp.TEE_TYPE_SM4),
    MAIN_ALGO_RSA: KeyTypes(cryp.TEE_TYPE_RSA_KEYPAIR, cryp.TEE_TYPE_RSA_PUBLIC_KEY, (_ENCRYPT, _VERIFY)),
    MAIN_ALGO_DSA: KeyTypes(cryp.TEE_TYPE_DSA_KEYPAIR, cryp.TEE_TYPE_DSA_PUBLIC_KEY, (_ENCRYPT, _VERIFY)),
    _MAIN_ALGO_DH: KeyTypes(cryp.TEE_TYPE_DH_KEYPAIR),
    MAIN_ALGO_ECDSA: KeyTypes(cryp.TEE_TYPE_ECDSA_KEYPAIR, cryp.TEE_TYPE_ECDSA_PUBLIC_KEY, (_VERIFY,)),
    _MAIN_ALGO_ECDH: KeyTypes(cryp.TEE_TYPE_ECDH_KEYPAIR),
    MAIN_ALGO_ED25519: KeyTypes(cryp.TEE_TYPE_ED25519_KEYPAIR, cryp.TEE_TYPE_ED25519_PUBLIC_KEY, (_VERIFY,)),
    _MAIN_ALGO_X25519: KeyTypes(cryp.TEE_TYPE_X25519_KEYPAIR),
    MAIN_ALGO_SM2_DSA_SM3: KeyTypes(
        cryp.TEE_TYPE_SM2_DSA_KEYPAIR, cryp.TEE_TYPE_SM2_DSA_PUBLIC_KEY, (_VERIFY,), only=True
    ),
    _MAIN_ALGO_SM2_KEP: KeyTypes(cryp.TEE_TYPE_SM2_KEP_KEYPAIR, cryp.TEE_TYPE_SM2_KEP_PUBLIC_KEY, _ALL_MODES),
    _MAIN_ALGO_SM2_PKE: KeyTypes(
        cryp.TEE_TYPE_SM2_PKE_KEYPAIR, cryp.TEE_TYPE_SM2_PKE_PUBLIC_KEY, (_ENCRYPT,), only=True
    ),
    _MAIN_ALGO_X448: KeyTypes(cryp.TEE_TYPE_X448_KEYPAIR),
    _MAIN_ALGO_HKDF: KeyTypes(cryp.TEE_TYPE_HKDF_IKM),
    _MAIN_ALGO_CONCAT_KDF: KeyTypes(cryp.TEE_TYPE_CONCAT_KDF_Z),
    _MAIN_ALGO_PBKDF2: KeyTypes(cryp.TEE_TYPE_PBKDF2_PASSWORD),
}
"""tee_svc_cryp_check_key_type, by main algorithm."""


# --- the rows ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Algorithm:
    """An algorithm as the core serves it.

    ``modes`` are those that lead anywhere, ``provider`` is what does the work ("" when nothing does: the core has no
    such algorithm), ``digest`` the TEE_ALG_* of the digest that is signed or that derives keys (0: none),
    ``key_types`` None where no key is taken.
    """

    number: int
    name: str
    op_class: int
    modes: tuple[int, ...]
    provider: str
    digest: int
    key_types: KeyTypes | None

    @property
    def keys(self) -> int:
        """How many keys an operation takes: 0, 1 or 2."""
        if self.op_class == cryp.TEE_OPERATION_DIGEST:
            return 0
        return 1 + (self.number == cryp.TEE_ALG_SM2_KEP or self.is_xts)

    @property
    def is_xts(self) -> bool:
        return self.op_class == cryp.TEE_OPERATION_CIPHER and get_chain_mode(self.number) == _CHAIN_MODE_XTS

    @property
    def support(self) -> str:
        return FULL if self.provider else REFUSED


_NAMES: Final = {number: name for name, number in vars(cryp).items() if name.startswith("TEE_ALG_")}
_WITH_DIGEST: Final = frozenset({"rsassa", "dsa", "ecc", "hkdf", "concat_kdf", "pbkdf2"})
_WITHOUT_DIGEST: Final = frozenset({cryp.TEE_ALG_RSASSA_PKCS1_V1_5, cryp.TEE_ALG_HKDF})
"""Algorithms of those providers that take whatever they are given, or are told the digest by an attribute."""


def _digest(number: int, provider: str) -> int:
    if provider == "rsaes" and number != cryp.TEE_ALG_RSAES_PKCS1_V1_5:
        return internal_hash_to_algo(number)
    if provider in _WITH_DIGEST and number not in _WITHOUT_DIGEST:
        return digest_hash_to_algo(number)
    return 0


def _algorithm(number: int, modes: tuple[int, ...] = (), provider: str = "") -> Algorithm:
    name = _NAMES.get(number, f"0x{number:08x}")
    keys = _KEYS.get(get_main_alg(number))
    return Algorithm(number, name, get_class(number), modes, provider, _digest(number, provider), keys)


def _rows(provider: str, modes: tuple[int, ...], *names: str) -> list[Algorithm]:
    return [_algorithm(getattr(cryp, f"TEE_ALG_{name}"), modes, provider) for name in names]


_SHA2, _HASHES = ("SHA224", "SHA256", "SHA384", "SHA512"), ("MD5", "SHA1", "SHA224", "SHA256", "SHA384", "SHA512")
_SHA3 = ("SHA3_224", "SHA3_256", "SHA3_384", "SHA3_512")
_CRYPT, _SIGNATURE = (_ENCRYPT, _DECRYPT), (_SIGN, _VERIFY)
_MAC, _DERIVE = (cryp.TEE_MODE_MAC,), (cryp.TEE_MODE_DERIVE,)

# fmt: off
_TABLE: Final = [
    *_rows("hash", (cryp.TEE_MODE_DIGEST,), *_HASHES, *_SHA3, "SM3", "SHAKE128", "SHAKE256"),
    *_rows("mac", _MAC, *(f"HMAC_{h}" for h in (*_HASHES, *_SHA3, "SM3"))),
    *_rows("mac", _MAC, "AES_CBC_MAC_NOPAD", "AES_CBC_MAC_PKCS5", "AES_CMAC", "DES_CBC_MAC_NOPAD",
           "DES_CBC_MAC_PKCS5", "DES3_CBC_MAC_NOPAD", "DES3_CBC_MAC_PKCS5", "DES3_CMAC"),
    *_rows("cipher", _CRYPT, "AES_ECB_NOPAD", "AES_CBC_NOPAD", "AES_CTR", "AES_CTS", "AES_XTS"),
    *_rows("cipher", _CRYPT, "DES_ECB_NOPAD", "DES_CBC_NOPAD", "DES3_ECB_NOPAD", "DES3_CBC_NOPAD"),
    *_rows("cipher", _CRYPT, "SM4_ECB_NOPAD", "SM4_CBC_NOPAD", "SM4_CTR", "SM4_XTS"),
    *_rows("authenc", _CRYPT, "AES_CCM", "AES_GCM"),
    *_rows("rsanopad", _CRYPT, "RSA_NOPAD"),
    *_rows("rsaes", _CRYPT, "RSAES_PKCS1_V1_5", *(f"RSAES_PKCS1_OAEP_MGF1_{h}" for h in _HASHES)),
    *_rows("sm2_pke", _CRYPT, "SM2_PKE"),
    *_rows("rsassa", _SIGNATURE, "RSASSA_PKCS1_V1_5", *(f"RSASSA_PKCS1_V1_5_{h}" for h in _HASHES)),
    *_rows("rsassa", _SIGNATURE, *(f"RSASSA_PKCS1_PSS_MGF1_{h}" for h in _HASHES)),
    *_rows("dsa", _SIGNATURE, "DSA_SHA1", "DSA_SHA224", "DSA_SHA256"),
    *_rows("ecc", _SIGNATURE, "ECDSA_SHA1", *(f"ECDSA_{h}" for h in _SHA2), "SM2_DSA_SM3"),
    *_rows("ed25519", _SIGNATURE, "ED25519"),
    *_rows("dh", _DERIVE, "DH_DERIVE_SHARED_SECRET"),
    *_rows("ecdh", _DERIVE, "ECDH_DERIVE_SHARED_SECRET"),
    *_rows("x25519", _DERIVE, "X25519"),
    *_rows("x448", _DERIVE, "X448"),
    *_rows("hkdf", _DERIVE, "HKDF", *(f"HKDF_{h}_DERIVE_KEY" for h in _HASHES)),
    *_rows("concat_kdf", _DERIVE, *(f"CONCAT_KDF_{h}_DERIVE_KEY" for h in ("SHA1", *_SHA2))),
    *_rows("pbkdf2", _DERIVE, *(f"PBKDF2_HMAC_{h}_DERIVE_KEY" for h in ("SHA1", *_SHA2, "SM3"))),
    *_rows("sm2_kep", _DERIVE, "SM2_KEP"),
    # Numbers that GlobalPlatform gives and upstream's core knows nothing to do with.
    *_rows("", (), "MD5SHA1", "RSASSA_PKCS1_V1_5_MD5SHA1", "SM4_ECB_PKCS5", "SM4_CBC_PKCS5", "ED448"),
    *_rows("", (), *(f"{scheme}_{h}" for scheme in ("RSASSA_PKCS1_V1_5", "RSASSA_PKCS1_PSS_MGF1",
           "RSAES_PKCS1_OAEP_MGF1", "DSA", "ECDSA") for h in _SHA3)),
]
# fmt: on
ALGORITHMS: Final[dict[int, Algorithm]] = {row.number: row for row in _TABLE}
"""Every algorithm that has a name, by number."""


def algorithm(number: int) -> Algorithm:
    """The row of ``number``; of a number without a name one that nothing serves."""
    return ALGORITHMS.get(number) or _algorithm(number)
