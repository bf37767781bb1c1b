"""RSA with any modulus and any exponents. Mirrors core/lib/libtomcrypt/rsa.c.

OpenSSL works where it takes the key; it refuses moduli under 1024 bits, has no raw RSA, and hides whether a PKCS #1
v1.5 ciphertext was padded well: there, and when random bytes must repeat, pow() works (the Chinese remainder way).
"""

from dataclasses import dataclass, field
from functools import cached_property
from math import gcd, lcm
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo, Prehashed

from optemu.abi import cryp, gp
from optemu.errors import TeeError
from optemu.secure_world.crypto import pkcs1
from optemu.secure_world.crypto.hash import digest_size, library_hash
from optemu.secure_world.crypto.number import byte_length, factor_rsa, int_of, inverse, octets_of, powmod, random_prime
from optemu.secure_world.crypto.provider import Attrs, Rng

_NATIVE_BITS: Final = range(1024, 4097)
_NATIVE_EXPONENT: Final = 1 << 33
"""OpenSSL 3 takes no longer public exponents for long moduli; nobody uses them."""
_DEFAULT_EXPONENT: Final = 65537
_MAX_TRIES: Final = 100
"""Pairs of primes; even of an exponent that is the product of all small ones every fifth prime fits."""
_HASH: Final = 0x50000000


@dataclass(eq=False)
class RsaKey:
    """A key as its owner gave it; nothing of it has been checked. Private parts that are missing are 0."""

    n: int
    e: int
    d: int = field(default=0, repr=False)
    p: int = field(default=0, repr=False)
    q: int = field(default=0, repr=False)
    qp: int = field(default=0, repr=False)
    dp: int = field(default=0, repr=False)
    dq: int = field(default=0, repr=False)

    @cached_property
    def size(self) -> int:
        """Octets of the modulus."""
        return byte_length(self.n)

    @cached_property
    def has_crt(self) -> bool:
        return bool(self.p and self.q and self.dp and self.dq and self.qp)

    @cached_property
    def native_public(self) -> rsa.RSAPublicKey | None:
        """OpenSSL's key; None when it would refuse the numbers."""
        if not self.n & 1 or self.n.bit_length() not in _NATIVE_BITS or self.e >= _NATIVE_EXPONENT:
            return None
        try:
            return rsa.RSAPublicNumbers(self.e, self.n).public_key()
        except ValueError:
            return None

    @cached_property
    def native_private(self) -> rsa.RSAPrivateKey | None:
        """OpenSSL's key, also from exponents alone; None when the numbers do not fit together."""
        if not self.native_public:
            return None
        if self.has_crt:
            p, q, dp, dq, qp = self.p, self.q, self.dp, self.dq, self.qp
        else:
            if self.d >= self.n or not (primes := factor_rsa(self.n, self.e, self.d)):
                return None
            p, q = primes
            dp, dq, qp = self.d % (p - 1), self.d % (q - 1), inverse(q, p)
        if (
            p * q != self.n
            or 1 in (p, q)
            or self.e * dp % (p - 1) != 1
            or self.e * dq % (q - 1) != 1
            or qp * q % p != 1
        ):
            return None  # upstream notices when it checks its result, OpenSSL would silently repair it
        try:
            numbers = rsa.RSAPublicNumbers(self.e, self.n)
            d = inverse(self.e, lcm(p - 1, q - 1))
            return rsa.RSAPrivateNumbers(p, q, d, dp, dq, qp, numbers).private_key(unsafe_skip_rsa_key_validation=True)
        except ValueError:
            return None

    def public(self, octets: bytes) -> int:
        """The public operation on a number in octets (rsa_exptmod with PK_PUBLIC)."""
        return powmod(self._checked(octets), self.e, self.n)

    def private(self, octets: bytes) -> int:
        """The private operation; TEE_ERROR_GENERIC when the parts of the key do not fit together."""
        value = self._checked(octets)
        if not self.has_crt:
            return powmod(value, self.d, self.n)
        if not self.p & 1 or not self.q & 1:
            raise TeeError(gp.TEE_ERROR_GENERIC, "a prime of the RSA key is even")
        low = powmod(value, self.dq, self.q)
        high = (powmod(value, self.dp, self.p) - low) * self.qp % self.p
        result = low + self.q * high
        if powmod(result, self.e, self.n) != value:
            raise TeeError(gp.TEE_ERROR_GENERIC, "the numbers of the RSA key do not fit together")
        return result

    def _checked(self, octets: bytes) -> int:
        value = int.from_bytes(octets, "big")
        if value > self.n:
            raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, "the number is greater than the modulus")
        if not self.n & 1:
            raise TeeError(gp.TEE_ERROR_GENERIC, "the modulus is even")
        return value

    def padded(self, value: int) -> bytes:
        return value.to_bytes(self.size, "big")


def load(attrs: Attrs) -> RsaKey:
    return RsaKey(
        int_of(attrs.get(cryp.TEE_ATTR_RSA_MODULUS)),
        int_of(attrs.get(cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT)),
        int_of(attrs.get(cryp.TEE_ATTR_RSA_PRIVATE_EXPONENT)),
        int_of(attrs.get(cryp.TEE_ATTR_RSA_PRIME1)),
        int_of(attrs.get(cryp.TEE_ATTR_RSA_PRIME2)),
        int_of(attrs.get(cryp.TEE_ATTR_RSA_COEFFICIENT)),
        int_of(attrs.get(cryp.TEE_ATTR_RSA_EXPONENT1)),
        int_of(attrs.get(cryp.TEE_ATTR_RSA_EXPONENT2)),
    )


# --- key generation ------------------------------------------------------------------------------------------


def generate(size_bits: int, params: Attrs, rng: Rng) -> dict[int, bytes | int]:
    """A key pair; the public exponent, if there is one in ``params``, is odd and in 65537 .. 2**256 - 1."""
    e = int_of(params.get(cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT, _DEFAULT_EXPONENT))
    if not e & 1 or e < _DEFAULT_EXPONENT or e.bit_length() > 256:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"public exponent {e:#x} is even, or not in 0x10001 .. 2**256 - 1")
    if size_bits % 16 or size_bits < 32 or e.bit_length() == 256:  # as upstream's halves are whole octets
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"no RSA key of {size_bits} bits can be made")
    fitting: set[int] = set()
    for _ in range(_MAX_TRIES):
        fitting.update(prime for prime in _primes(size_bits, rng) if gcd(e, prime - 1) == 1)
        if len(fitting) >= 2:
            q, p = sorted(fitting)[-2:]
            return _attrs(p, q, e, inverse(e, lcm(p - 1, q - 1)))
    raise TeeError(gp.TEE_ERROR_GENERIC, "no primes fit the public exponent")


def _primes(size_bits: int, rng: Rng) -> tuple[int, int]:
    """Two primes of half the bits each: OpenSSL's, where it makes keys of that size."""
    if size_bits in _NATIVE_BITS and not rng.repeatable:
        numbers = rsa.generate_private_key(_DEFAULT_EXPONENT, size_bits).private_numbers()
        return numbers.p, numbers.q
    return random_prime(size_bits // 2, rng), random_prime(size_bits // 2, rng)


def _attrs(p: int, q: int, e: int, d: int) -> dict[int, bytes | int]:
    numbers = {
        cryp.TEE_ATTR_RSA_MODULUS: p * q,
        cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT: e,
        cryp.TEE_ATTR_RSA_PRIVATE_EXPONENT: d,
        cryp.TEE_ATTR_RSA_PRIME1: p,
        cryp.TEE_ATTR_RSA_PRIME2: q,
        cryp.TEE_ATTR_RSA_EXPONENT1: d % (p - 1),
        cryp.TEE_ATTR_RSA_EXPONENT2: d % (q - 1),
        cryp.TEE_ATTR_RSA_COEFFICIENT: inverse(q, p),
    }
    return {attr: octets_of(value) for attr, value in numbers.items()}


# --- without padding -----------------------------------------------------------------------------------------


def rsanopad_encrypt(key: RsaKey, src: bytes) -> bytes:
    """Leading zeros are stripped, as upstream does, up to the last octet."""
    return octets_of(key.public(src)) or b"\0"


def rsanopad_decrypt(key: RsaKey, src: bytes) -> bytes:
    """Leading zeros are stripped, as upstream does, up to the last octet."""
    return octets_of(key.private(src)) or b"\0"


# --- encryption ----------------------------------------------------------------------------------------------


def rsaes_encrypt(algo: int, key: RsaKey, label: bytes, mgf_algo: int, src: bytes, rng: Rng) -> bytes:
    """TEE_ALG_RSAES_*; as many octets as the modulus has. ``mgf_algo`` 0 is the digest of ``algo``."""
    if algo == cryp.TEE_ALG_RSAES_PKCS1_V1_5:
        return key.padded(key.public(pkcs1.eme_v1_5(src, key.size, rng)))
    hash_algo, mgf_algo = _oaep_hashes(algo, mgf_algo)
    if not rng.repeatable and key.native_public and (native := _native_oaep(hash_algo, mgf_algo, label)):
        h_len = pkcs1.check_oaep_size(hash_algo, key.size)
        if len(src) <= key.size - 2 * h_len - 2:
            return key.native_public.encrypt(src, native)
    return key.padded(key.public(pkcs1.oaep_encode(hash_algo, mgf_algo, label, src, key.size, rng)))


def rsaes_decrypt(algo: int, key: RsaKey, label: bytes, mgf_algo: int, src: bytes) -> bytes:
    """The message; TEE_ERROR_BAD_PARAMETERS for whatever does not decode."""
    v1_5 = algo == cryp.TEE_ALG_RSAES_PKCS1_V1_5
    hash_algo, mgf_algo = (0, 0) if v1_5 else _oaep_hashes(algo, mgf_algo)
    if len(src) != key.size:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"{len(src)} octets, the modulus has {key.size}")
    if v1_5:
        return pkcs1.eme_v1_5_decode(key.padded(key.private(src)))
    pkcs1.check_oaep_size(hash_algo, key.size)
    if key.native_private and (native := _native_oaep(hash_algo, mgf_algo, label)):
        try:
            return key.native_private.decrypt(src, native)
        except ValueError:
            raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, "no OAEP padding") from None
    return pkcs1.oaep_decode(hash_algo, mgf_algo, label, key.padded(key.private(src)))


def _oaep_hashes(algo: int, mgf_algo: int) -> tuple[int, int]:
    hash_algo = _HASH | algo >> 20 & 0xF
    if algo & 0xF00FFFFF not in (0x60010230, 0xF0010230) or not pkcs1.has_digest_info(hash_algo):
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"no encryption with RSA: {algo:#x}")
    if mgf_algo and not pkcs1.has_digest_info(mgf_algo):
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"no digest for OAEP's mask: {mgf_algo:#x}")
    return hash_algo, mgf_algo or hash_algo


_NATIVE_OAEP: Final = {
    cryp.TEE_ALG_SHA1: hashes.SHA1(),
    cryp.TEE_ALG_SHA224: hashes.SHA224(),
    cryp.TEE_ALG_SHA256: hashes.SHA256(),
    cryp.TEE_ALG_SHA384: hashes.SHA384(),
    cryp.TEE_ALG_SHA512: hashes.SHA512(),
}


def _native_oaep(hash_algo: int, mgf_algo: int, label: bytes) -> padding.OAEP | None:
    if hash_algo not in _NATIVE_OAEP or mgf_algo not in _NATIVE_OAEP:
        return None
    return padding.OAEP(padding.MGF1(_NATIVE_OAEP[mgf_algo]), _NATIVE_OAEP[hash_algo], label or None)


# --- signatures ----------------------------------------------------------------------------------------------


def rsassa_sign(algo: int, key: RsaKey, salt_len: int, msg: bytes, rng: Rng) -> bytes:
    """TEE_ALG_RSASSA_* of the digest ``msg``; as many octets as the modulus. All errors: TEE_ERROR_BAD_PARAMETERS."""
    hash_algo = _signature_hash(algo, msg)
    pss = _is_pss(algo)
    if pss:
        pkcs1.check_pss_size(hash_algo, key.n.bit_length(), salt_len)
    if key.native_private and not (pss and rng.repeatable):
        native = padding.PSS(padding.MGF1(library_hash(hash_algo)), salt_len) if pss else padding.PKCS1v15()
        hashed = Prehashed(library_hash(hash_algo)) if hash_algo else NoDigestInfo()
        try:
            return key.native_private.sign(msg, native, hashed)
        except ValueError:
            raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"does not fit a modulus of {key.size} octets") from None
    if pss:
        padded = pkcs1.pss_encode(hash_algo, msg, salt_len, key.n.bit_length(), rng)
    else:
        padded = pkcs1.emsa_v1_5(pkcs1.digest_infos(hash_algo, msg)[0] if hash_algo else msg, key.size)
    try:
        return key.padded(key.private(padded))
    except TeeError as e:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, e.message) from None


def rsassa_verify(algo: int, key: RsaKey, salt_len: int, msg: bytes, sig: bytes) -> None:
    """Returns when ``sig`` is a signature of the digest ``msg``; else TEE_ERROR_SIGNATURE_INVALID."""
    hash_algo = _signature_hash(algo, msg)
    if len(sig) != key.size:
        raise _invalid()
    if key.native_public:
        _native_verify(key.native_public, hash_algo, salt_len if _is_pss(algo) else None, msg, sig)
        return
    try:
        padded = key.padded(key.public(sig))
        if _is_pss(algo):
            pkcs1.pss_verify(hash_algo, msg, salt_len, key.n.bit_length(), padded)
        elif padded not in [pkcs1.emsa_v1_5(payload, key.size) for payload in _payloads(hash_algo, msg)]:
            raise _invalid()
    except TeeError as e:
        if e.code != gp.TEE_ERROR_BAD_PARAMETERS:
            raise
        raise _invalid() from None


def _native_verify(key: rsa.RSAPublicKey, hash_algo: int, salt_len: int | None, msg: bytes, sig: bytes) -> None:
    """``salt_len`` None: PKCS #1 v1.5. ValueError is what does not fit the modulus."""
    try:
        if salt_len is not None:
            if not 0 <= salt_len <= len(sig):
                raise _invalid()
            mask = padding.MGF1(library_hash(hash_algo))
            key.verify(sig, msg, padding.PSS(mask, salt_len), Prehashed(library_hash(hash_algo)))
        elif key.recover_data_from_signature(sig, padding.PKCS1v15(), None) not in _payloads(hash_algo, msg):
            raise _invalid()
    except (InvalidSignature, ValueError):
        raise _invalid() from None


def _payloads(hash_algo: int, msg: bytes) -> tuple[bytes, ...]:
    return pkcs1.digest_infos(hash_algo, msg) if hash_algo else (msg,)


def _is_pss(algo: int) -> bool:
    return algo & 0xF00 == 0x900


def _signature_hash(algo: int, msg: bytes) -> int:
    """The digest of a signature algorithm, 0 for the one without; ``msg`` is as long as it."""
    if algo == cryp.TEE_ALG_RSASSA_PKCS1_V1_5:
        return 0
    hash_algo = _HASH | algo >> 12 & 0xF
    if algo & 0xFF != 0x30 or not pkcs1.has_digest_info(hash_algo):
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"no signature with RSA: {algo:#x}")
    if len(msg) != digest_size(hash_algo):
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"{len(msg)} octets are no digest of {hash_algo:#x}")
    return hash_algo


def _invalid() -> TeeError:
    return TeeError(gp.TEE_ERROR_SIGNATURE_INVALID)
