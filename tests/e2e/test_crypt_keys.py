"""Keys, in a TA: made here and used elsewhere, made elsewhere and used here. AArch64 and Arm32."""

import hashlib
import os
from functools import cache
from math import gcd
from typing import Any

import pytest
from crypt_client import Attr, Tee, TeeResult
from crypt_steps import derived, object_of, pair, with_pair
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa, utils, x448, x25519
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from optemu.abi import cryp, gp
from optemu.secure_world.crypto.curve import SM2
from optemu.secure_world.syscalls.cryp_types import GENERATED_KEYPAIRS, OBJECT_TYPES

ENCRYPT, DECRYPT = cryp.TEE_MODE_ENCRYPT, cryp.TEE_MODE_DECRYPT
SIGN, VERIFY = cryp.TEE_MODE_SIGN, cryp.TEE_MODE_VERIFY
X, Y, D = cryp.TEE_ATTR_ECC_PUBLIC_VALUE_X, cryp.TEE_ATTR_ECC_PUBLIC_VALUE_Y, cryp.TEE_ATTR_ECC_PRIVATE_VALUE
CURVES: dict[int, tuple[int, ec.EllipticCurve]] = {
    cryp.TEE_ECC_CURVE_NIST_P192: (192, ec.SECP192R1()),
    cryp.TEE_ECC_CURVE_NIST_P224: (224, ec.SECP224R1()),
    cryp.TEE_ECC_CURVE_NIST_P256: (256, ec.SECP256R1()),
    cryp.TEE_ECC_CURVE_NIST_P384: (384, ec.SECP384R1()),
    cryp.TEE_ECC_CURVE_NIST_P521: (521, ec.SECP521R1()),
}
ECDSA: dict[int, tuple[int, hashes.HashAlgorithm]] = {
    192: (cryp.TEE_ALG_ECDSA_SHA1, hashes.SHA1()),
    224: (cryp.TEE_ALG_ECDSA_SHA224, hashes.SHA224()),
    256: (cryp.TEE_ALG_ECDSA_SHA256, hashes.SHA256()),
    384: (cryp.TEE_ALG_ECDSA_SHA384, hashes.SHA384()),
    521: (cryp.TEE_ALG_ECDSA_SHA512, hashes.SHA512()),
}
"""What goes with a curve of so many bits."""


def octets(number: int, size: int = 0) -> bytes:
    return number.to_bytes(size or (number.bit_length() + 7) // 8, "big")


def number(tee: Tee, key: int, attr: int) -> int:
    return int.from_bytes(tee.TEE_GetObjectBufferAttribute(key, attr), "big")


def numbers(tee: Tee, key: int, *attrs: int) -> list[int]:
    return [number(tee, key, attr) for attr in attrs]


def copied(tee: Tee, kind: int, size: int, key: int) -> int:
    """A public key that takes what is public of a pair."""
    public = tee.TEE_AllocateTransientObject(kind, size)
    tee.TEE_CopyObjectAttributes1(public, key)
    return public


# --- key generation ---


@pytest.mark.parametrize(
    ("size", "exponent"), [(512, 65537), (512, 0x1_0000_0001), (512, 2**254 + 79), (1024, 65539), (2048, 65537)]
)
def test_rsa_keys(tee: Tee, size: int, exponent: int) -> None:
    given: list[Attr] = [] if exponent == 65537 else [(cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT, octets(exponent))]
    key = pair(tee, cryp.TEE_TYPE_RSA_KEYPAIR, size, *given)
    n, e, d, p, q, dp, dq, qinv = numbers(
        tee,
        key,
        cryp.TEE_ATTR_RSA_MODULUS,
        cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT,
        cryp.TEE_ATTR_RSA_PRIVATE_EXPONENT,
        cryp.TEE_ATTR_RSA_PRIME1,
        cryp.TEE_ATTR_RSA_PRIME2,
        cryp.TEE_ATTR_RSA_EXPONENT1,
        cryp.TEE_ATTR_RSA_EXPONENT2,
        cryp.TEE_ATTR_RSA_COEFFICIENT,
    )
    assert (p * q, e, n.bit_length()) == (n, exponent, size)
    lcm = (p - 1) * (q - 1) // gcd(p - 1, q - 1)
    assert e * d % lcm == 1
    assert (dp, dq, qinv * q % p) == (d % (p - 1), d % (q - 1), 1)
    message = 0x1234567890ABCDEF**5 % n
    sealed = tee.TEE_AsymmetricEncrypt(with_pair(tee, cryp.TEE_ALG_RSA_NOPAD, ENCRYPT, key, size), octets(message))
    assert int.from_bytes(sealed, "big") == pow(message, e, n)
    back = tee.TEE_AsymmetricDecrypt(with_pair(tee, cryp.TEE_ALG_RSA_NOPAD, DECRYPT, key, size), sealed)
    assert int.from_bytes(back, "big") == message


@pytest.mark.parametrize("exponent", [1, 2, 3, 65536, 2**256 + 1])
def test_rsa_exponents_that_make_no_key(tee: Tee, exponent: int) -> None:
    key = tee.TEE_AllocateTransientObject(cryp.TEE_TYPE_RSA_KEYPAIR, 512)
    with pytest.raises(TeeResult) as caught:
        tee.TEE_GenerateKey(key, 512, [(cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT, octets(exponent))])
    assert caught.value.code == gp.TEE_ERROR_BAD_PARAMETERS


@pytest.mark.parametrize("size", [512, 1024, 2048])
@pytest.mark.parametrize("crt", [True, False])
def test_rsa_keys_from_elsewhere(tee: Tee, size: int, crt: bool) -> None:
    if size == 512:  # the library refuses to make such a small one
        from Cryptodome.Util.number import getPrime

        p, q, e = getPrime(256), getPrime(256), 65537
        n, d = p * q, pow(e, -1, (p - 1) * (q - 1))
    else:
        private = rsa.generate_private_key(65537, size).private_numbers()
        p, q, d, e, n = private.p, private.q, private.d, private.public_numbers.e, private.public_numbers.n
    attrs: list[Attr] = [
        (cryp.TEE_ATTR_RSA_MODULUS, octets(n)),
        (cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT, octets(e)),
    ]
    size = 8 * len(octets(n))
    public = object_of(tee, cryp.TEE_TYPE_RSA_PUBLIC_KEY, size, *attrs)
    attrs.append((cryp.TEE_ATTR_RSA_PRIVATE_EXPONENT, octets(d)))
    if crt:
        attrs += [
            (cryp.TEE_ATTR_RSA_PRIME1, octets(p)),
            (cryp.TEE_ATTR_RSA_PRIME2, octets(q)),
            (cryp.TEE_ATTR_RSA_EXPONENT1, octets(d % (p - 1))),
            (cryp.TEE_ATTR_RSA_EXPONENT2, octets(d % (q - 1))),
            (cryp.TEE_ATTR_RSA_COEFFICIENT, octets(pow(q, -1, p))),
        ]
    key = object_of(tee, cryp.TEE_TYPE_RSA_KEYPAIR, size, *attrs)
    algo = cryp.TEE_ALG_RSASSA_PKCS1_V1_5_SHA256
    digest = hashlib.sha256(b"abc").digest()
    signature = tee.TEE_AsymmetricSignDigest(with_pair(tee, algo, SIGN, key, size), digest)
    tee.TEE_AsymmetricVerifyDigest(with_pair(tee, algo, VERIFY, public, size), digest, signature)
    tail = bytes.fromhex("3031300d060960864801650304020105000420") + digest
    assert pow(int.from_bytes(signature, "big"), e, n) == int.from_bytes(
        b"\1" + b"\xff" * (len(octets(n)) - 3 - len(tail)) + b"\0" + tail, "big"
    )
    if size >= 1024:
        shown = rsa.RSAPublicNumbers(e, n).public_key()
        shown.verify(signature, b"abc", padding.PKCS1v15(), hashes.SHA256())
        salted = tee.TEE_AsymmetricSignDigest(
            with_pair(tee, cryp.TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256, SIGN, key, size),
            digest,
            [(cryp.TEE_ATTR_RSA_PSS_SALT_LENGTH, 11)],
        )
        shown.verify(salted, b"abc", padding.PSS(padding.MGF1(hashes.SHA256()), 11), hashes.SHA256())


@cache
def dsa_parameters(size: int) -> dsa.DSAParameterNumbers:
    return dsa.generate_parameters(size).parameter_numbers()


@pytest.mark.parametrize(("name", "size"), [("SHA1", 1024), ("SHA224", 2048), ("SHA256", 2048)])
def test_dsa(tee: Tee, name: str, size: int) -> None:
    numbered = dsa_parameters(size)
    common: list[Attr] = [
        (cryp.TEE_ATTR_DSA_PRIME, octets(numbered.p)),
        (cryp.TEE_ATTR_DSA_SUBPRIME, octets(numbered.q)),
        (cryp.TEE_ATTR_DSA_BASE, octets(numbered.g)),
    ]
    key = pair(tee, cryp.TEE_TYPE_DSA_KEYPAIR, size, *common)
    x, y = numbers(tee, key, cryp.TEE_ATTR_DSA_PRIVATE_VALUE, cryp.TEE_ATTR_DSA_PUBLIC_VALUE)
    assert 0 < x < numbered.q
    assert pow(numbered.g, x, numbered.p) == y
    algo = getattr(cryp, f"TEE_ALG_DSA_{name}")
    digest = os.urandom(hashlib.new(name.lower()).digest_size)
    signature = tee.TEE_AsymmetricSignDigest(with_pair(tee, algo, SIGN, key, size), digest)
    r, s = (
        int.from_bytes(half, "big") for half in (signature[: len(signature) // 2], signature[len(signature) // 2 :])
    )
    w = pow(s, -1, numbered.q)
    z = int.from_bytes(digest[: len(octets(numbered.q))], "big")
    v = pow(numbered.g, z * w % numbered.q, numbered.p) * pow(y, r * w % numbered.q, numbered.p)
    assert v % numbered.p % numbered.q == r
    public = object_of(tee, cryp.TEE_TYPE_DSA_PUBLIC_KEY, size, *common, (cryp.TEE_ATTR_DSA_PUBLIC_VALUE, octets(y)))
    verifier = with_pair(tee, algo, VERIFY, public, size)
    tee.TEE_AsymmetricVerifyDigest(verifier, digest, signature)
    with pytest.raises(TeeResult) as caught:
        tee.TEE_AsymmetricVerifyDigest(verifier, bytes([digest[0] ^ 1]) + digest[1:], signature)
    assert caught.value.code == gp.TEE_ERROR_SIGNATURE_INVALID


OAKLEY_2 = int(  # RFC 2409, 6.2
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404ddef9519b3cd3a431b"
    "302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe6"
    "49286651ece65381ffffffffffffffff",
    16,
)


@pytest.mark.parametrize("bits", [0, 160, 1000])
def test_dh(tee: Tee, bits: int) -> None:
    params: list[Attr] = [(cryp.TEE_ATTR_DH_PRIME, octets(OAKLEY_2)), (cryp.TEE_ATTR_DH_BASE, b"\2")]
    sized: list[Attr] = [(cryp.TEE_ATTR_DH_X_BITS, bits, 0)] if bits else []
    key = pair(tee, cryp.TEE_TYPE_DH_KEYPAIR, 1024, *params, *sized)
    x, y = numbers(tee, key, cryp.TEE_ATTR_DH_PRIVATE_VALUE, cryp.TEE_ATTR_DH_PUBLIC_VALUE)
    assert pow(2, x, OAKLEY_2) == y
    assert x.bit_length() <= (bits or 1024)
    theirs = int.from_bytes(os.urandom(100), "big")
    public: list[Attr] = [(cryp.TEE_ATTR_DH_PUBLIC_VALUE, octets(pow(2, theirs, OAKLEY_2)))]
    shared = derived(tee, cryp.TEE_ALG_DH_DERIVE_SHARED_SECRET, key, 1024, public, 1024)
    assert int.from_bytes(shared, "big") == pow(y, theirs, OAKLEY_2)


@pytest.mark.parametrize("curve", CURVES)
def test_ecdsa(tee: Tee, curve: int) -> None:
    size, native = CURVES[curve]
    length = (size + 7) // 8
    key = pair(tee, cryp.TEE_TYPE_ECDSA_KEYPAIR, size, (cryp.TEE_ATTR_ECC_CURVE, curve))
    x, y, d = numbers(tee, key, X, Y, D)
    shown = ec.EllipticCurvePublicNumbers(x, y, native).public_key()
    assert ec.derive_private_key(d, native).public_key().public_numbers() == shown.public_numbers()
    algo, chosen = ECDSA[size]
    digest = os.urandom(chosen.digest_size)
    signature = tee.TEE_AsymmetricSignDigest(with_pair(tee, algo, SIGN, key, size), digest)
    assert len(signature) == 2 * length
    r, s = int.from_bytes(signature[:length], "big"), int.from_bytes(signature[length:], "big")
    shown.verify(utils.encode_dss_signature(r, s), digest, ec.ECDSA(utils.Prehashed(chosen)))
    verifier = with_pair(tee, algo, VERIFY, copied(tee, cryp.TEE_TYPE_ECDSA_PUBLIC_KEY, size, key), size)
    tee.TEE_AsymmetricVerifyDigest(verifier, digest, signature)
    theirs = ec.generate_private_key(native)
    public = theirs.public_key().public_numbers()
    attrs: list[Attr] = [(X, octets(public.x)), (Y, octets(public.y)), (cryp.TEE_ATTR_ECC_CURVE, curve)]
    other = with_pair(tee, algo, VERIFY, object_of(tee, cryp.TEE_TYPE_ECDSA_PUBLIC_KEY, size, *attrs), size)
    r, s = utils.decode_dss_signature(theirs.sign(digest, ec.ECDSA(utils.Prehashed(chosen))))
    tee.TEE_AsymmetricVerifyDigest(other, digest, octets(r, length) + octets(s, length))
    with pytest.raises(TeeResult) as caught:
        tee.TEE_AsymmetricVerifyDigest(other, digest, signature)
    assert caught.value.code == gp.TEE_ERROR_SIGNATURE_INVALID


@pytest.mark.parametrize("curve", CURVES)
def test_ecdh(tee: Tee, curve: int) -> None:
    size, native = CURVES[curve]
    key = pair(tee, cryp.TEE_TYPE_ECDH_KEYPAIR, size, (cryp.TEE_ATTR_ECC_CURVE, curve))
    ours = ec.EllipticCurvePublicNumbers(*numbers(tee, key, X, Y), native).public_key()
    theirs = ec.generate_private_key(native)
    public = theirs.public_key().public_numbers()
    algo = cryp.TEE_ALG_ECDH_DERIVE_SHARED_SECRET
    attrs: list[Attr] = [(X, octets(public.x)), (Y, octets(public.y))]
    assert derived(tee, algo, key, size, attrs, (size + 7) // 8 * 8) == theirs.exchange(ec.ECDH(), ours)


def test_x25519_and_x448(tee: Tee) -> None:
    kinds: tuple[tuple[int, int, int, int, int, Any, Any], ...] = (
        (
            cryp.TEE_ALG_X25519,
            cryp.TEE_TYPE_X25519_KEYPAIR,
            256,
            cryp.TEE_ATTR_X25519_PRIVATE_VALUE,
            cryp.TEE_ATTR_X25519_PUBLIC_VALUE,
            x25519.X25519PrivateKey,
            x25519.X25519PublicKey,
        ),
        (
            cryp.TEE_ALG_X448,
            cryp.TEE_TYPE_X448_KEYPAIR,
            448,
            cryp.TEE_ATTR_X448_PRIVATE_VALUE,
            cryp.TEE_ATTR_X448_PUBLIC_VALUE,
            x448.X448PrivateKey,
            x448.X448PublicKey,
        ),
    )
    for algo, kind, size, private_attr, public_attr, private_kind, public_kind in kinds:
        key = pair(tee, kind, size)
        private, public = (tee.TEE_GetObjectBufferAttribute(key, attr) for attr in (private_attr, public_attr))
        assert private_kind.from_private_bytes(private).public_key().public_bytes_raw() == public
        theirs = private_kind.generate()
        attrs: list[Attr] = [(public_attr, theirs.public_key().public_bytes_raw())]
        wanted = theirs.exchange(public_kind.from_public_bytes(public))
        assert derived(tee, algo, key, size, attrs, size) == wanted
        mine = private_kind.generate()
        populated = object_of(
            tee,
            kind,
            size,
            (private_attr, mine.private_bytes_raw()),
            (public_attr, mine.public_key().public_bytes_raw()),
        )
        assert derived(tee, algo, populated, size, attrs, size) == mine.exchange(theirs.public_key())


def test_ed25519(tee: Tee) -> None:
    key = pair(tee, cryp.TEE_TYPE_ED25519_KEYPAIR, 256)
    private, public = (
        tee.TEE_GetObjectBufferAttribute(key, attr)
        for attr in (cryp.TEE_ATTR_ED25519_PRIVATE_VALUE, cryp.TEE_ATTR_ED25519_PUBLIC_VALUE)
    )
    native = ed25519.Ed25519PrivateKey.from_private_bytes(private)
    assert native.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw) == public
    signer = with_pair(tee, cryp.TEE_ALG_ED25519, SIGN, key, 256)
    assert tee.TEE_AsymmetricSignDigest(signer, b"message") == native.sign(b"message")
    copy = copied(tee, cryp.TEE_TYPE_ED25519_PUBLIC_KEY, 256, key)
    verifier = with_pair(tee, cryp.TEE_ALG_ED25519, VERIFY, copy, 256)
    ways: list[list[Attr]] = [
        [],
        [(cryp.TEE_ATTR_EDDSA_CTX, b"context")],
        [(cryp.TEE_ATTR_EDDSA_PREHASH, 1, 0)],
        [(cryp.TEE_ATTR_EDDSA_PREHASH, 1, 0), (cryp.TEE_ATTR_EDDSA_CTX, b"context")],
    ]
    for way in ways:
        message = os.urandom(20)
        signature = tee.TEE_AsymmetricSignDigest(signer, message, way)
        for other in ways:
            try:
                tee.TEE_AsymmetricVerifyDigest(verifier, message, signature, other)
            except TeeResult as e:
                assert e.code == gp.TEE_ERROR_SIGNATURE_INVALID
                assert other != way
            else:
                assert other == way


def test_ed25519_as_published(tee: Tee) -> None:
    """RFC 8032: 7.2 (Ed25519ctx, foo) and 7.3 (Ed25519ph)."""
    cases: tuple[tuple[str, str, bytes, list[Attr], str], ...] = (
        (
            "0305334e381af78f141cb666f6199f57bc3495335a256a95bd2a55bf546663f6",
            "dfc9425e4f968f7f0c29f0259cf5f9aed6851c2bb4ad8bfb860cfee0ab248292",
            bytes.fromhex("f726936d19c800494e3fdaff20b276a8"),
            [(cryp.TEE_ATTR_EDDSA_CTX, b"foo")],
            "55a4cc2f70a54e04288c5f4cd1e45a7bb520b36292911876cada7323198dd87a"
            "8b36950b95130022907a7fb7c4e9b2d5f6cca685a587b4b21f4b888e4e7edb0d",
        ),
        (
            "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
            "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
            b"abc",
            [(cryp.TEE_ATTR_EDDSA_PREHASH, 1, 0)],
            "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41"
            "31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406",
        ),
    )
    for private, public, message, way, signature in cases:
        key = object_of(
            tee,
            cryp.TEE_TYPE_ED25519_KEYPAIR,
            256,
            (cryp.TEE_ATTR_ED25519_PRIVATE_VALUE, bytes.fromhex(private)),
            (cryp.TEE_ATTR_ED25519_PUBLIC_VALUE, bytes.fromhex(public)),
        )
        signer = with_pair(tee, cryp.TEE_ALG_ED25519, SIGN, key, 256)
        assert tee.TEE_AsymmetricSignDigest(signer, message, way).hex() == signature


# --- SM2 ---


def test_sm2_signature_and_encryption(tee: Tee) -> None:
    """The public half, copied, verifies and encrypts what the pair has signed and can decrypt."""
    digest = os.urandom(32)
    key = pair(tee, cryp.TEE_TYPE_SM2_DSA_KEYPAIR, 256)
    public = copied(tee, cryp.TEE_TYPE_SM2_DSA_PUBLIC_KEY, 256, key)
    signature = tee.TEE_AsymmetricSignDigest(with_pair(tee, cryp.TEE_ALG_SM2_DSA_SM3, SIGN, key, 256), digest)
    tee.TEE_AsymmetricVerifyDigest(with_pair(tee, cryp.TEE_ALG_SM2_DSA_SM3, VERIFY, public, 256), digest, signature)
    key = pair(tee, cryp.TEE_TYPE_SM2_PKE_KEYPAIR, 256)
    public = copied(tee, cryp.TEE_TYPE_SM2_PKE_PUBLIC_KEY, 256, key)
    sealed = tee.TEE_AsymmetricEncrypt(with_pair(tee, cryp.TEE_ALG_SM2_PKE, ENCRYPT, public, 256), b"a message")
    opener = with_pair(tee, cryp.TEE_ALG_SM2_PKE, DECRYPT, key, 256)
    assert tee.TEE_AsymmetricDecrypt(opener, sealed) == b"a message"
    for at in (40, 70, len(sealed) - 1):
        with pytest.raises(TeeResult):
            tee.TEE_AsymmetricDecrypt(opener, sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :])


def exchanged(tee: Tee, who: int, own: tuple[int, int], peer: tuple[int, int], *more: Attr) -> bytes:
    op = tee.TEE_AllocateOperation(cryp.TEE_ALG_SM2_KEP, cryp.TEE_MODE_DERIVE, 512)
    tee.TEE_SetOperationKey2(op, *own)
    shown = [tee.TEE_GetObjectBufferAttribute(key, attr) for key in peer for attr in (X, Y)]
    ids = (X, Y, cryp.TEE_ATTR_ECC_EPHEMERAL_PUBLIC_VALUE_X, cryp.TEE_ATTR_ECC_EPHEMERAL_PUBLIC_VALUE_Y)
    out = tee.TEE_AllocateTransientObject(cryp.TEE_TYPE_GENERIC_SECRET, 128)
    attrs: list[Attr] = [
        *zip(ids, shown, strict=True),
        (cryp.TEE_ATTR_SM2_KEP_USER, who, 0),
        (cryp.TEE_ATTR_SM2_ID_INITIATOR, b"Alice"),
        (cryp.TEE_ATTR_SM2_ID_RESPONDER, b"Bob"),
        *more,
    ]
    tee.TEE_DeriveKey(op, attrs, out)
    return tee.TEE_GetObjectBufferAttribute(out, cryp.TEE_ATTR_SECRET_VALUE)


def test_sm2_key_exchange(tee: Tee) -> None:
    alice, bob = (
        (pair(tee, cryp.TEE_TYPE_SM2_KEP_KEYPAIR, 256), pair(tee, cryp.TEE_TYPE_SM2_KEP_KEYPAIR, 256)) for _ in range(2)
    )
    one, two = exchanged(tee, 0, alice, bob), exchanged(tee, 1, bob, alice)
    assert one == two
    assert len(one) >= 16
    assert exchanged(tee, 0, (alice[1], alice[0]), bob) != one


# --- derivation ---


@pytest.mark.parametrize("name", ["SHA1", "SHA224", "SHA256", "SHA384", "SHA512"])
def test_derivation_functions(tee: Tee, name: str) -> None:
    native: hashes.HashAlgorithm = getattr(hashes, name)()
    secret, salt, info = os.urandom(20), os.urandom(9), os.urandom(11)
    ikm = object_of(tee, cryp.TEE_TYPE_HKDF_IKM, 160, (cryp.TEE_ATTR_HKDF_IKM, secret))
    attrs: list[Attr] = [
        (cryp.OPTEE_TEE_ATTR_HKDF_SALT, salt),
        (cryp.OPTEE_ATTR_HKDF_INFO, info),
        (cryp.TEE_ATTR_HKDF_OKM_LENGTH, 100, 0),
    ]
    algo = getattr(cryp, f"TEE_ALG_HKDF_{name}_DERIVE_KEY")
    assert derived(tee, algo, ikm, 160, attrs, 800) == HKDF(native, 100, salt, info).derive(secret)
    z = object_of(tee, cryp.TEE_TYPE_CONCAT_KDF_Z, 160, (cryp.TEE_ATTR_CONCAT_KDF_Z, secret))
    attrs = [(cryp.TEE_ATTR_CONCAT_KDF_OTHER_INFO, info), (cryp.TEE_ATTR_CONCAT_KDF_DKM_LENGTH, 99, 0)]
    algo = getattr(cryp, f"TEE_ALG_CONCAT_KDF_{name}_DERIVE_KEY")
    assert derived(tee, algo, z, 160, attrs, 800) == ConcatKDFHash(native, 99, info).derive(secret)
    password = object_of(tee, cryp.TEE_TYPE_PBKDF2_PASSWORD, 160, (cryp.TEE_ATTR_PBKDF2_PASSWORD, secret))
    attrs = [
        (cryp.TEE_ATTR_PBKDF2_SALT, salt),
        (cryp.TEE_ATTR_PBKDF2_ITERATION_COUNT, 7, 0),
        (cryp.TEE_ATTR_PBKDF2_DKM_LENGTH, 77, 0),
    ]
    algo = getattr(cryp, f"TEE_ALG_PBKDF2_HMAC_{name}_DERIVE_KEY")
    wanted = hashlib.pbkdf2_hmac(name.lower(), secret, salt, 7, 77)
    assert derived(tee, algo, password, 160, attrs, 800) == wanted


# --- every type ---


def test_secrets_are_generated(tee: Tee) -> None:
    """Of every type that is one secret: so long as asked for, and never the same."""
    secrets = [t for t in OBJECT_TYPES if cryp.TEE_ATTR_SECRET_VALUE in t.index and t.min_size]
    assert len(secrets) > 10
    for props in secrets:
        made = set()
        for size in {props.min_size, min(props.max_size, 8 * props.secret_size)}:
            for _ in range(2):
                key = pair(tee, props.object_type, size)
                value = tee.TEE_GetObjectBufferAttribute(key, cryp.TEE_ATTR_SECRET_VALUE)
                assert len(value) * 8 == size
                assert tee.TEE_GetObjectInfo1(key).size == size
                assert value not in made
                made.add(value)
                tee.TEE_FreeTransientObject(key)


def test_no_pair_is_left_out() -> None:
    """Each pair that can be generated has a test above."""
    tested = {"RSA", "DSA", "DH", "ECDSA", "ECDH", "SM2_DSA", "SM2_PKE", "SM2_KEP", "X25519", "X448", "ED25519"}
    assert {getattr(cryp, f"TEE_TYPE_{name}_KEYPAIR") for name in tested} == set(GENERATED_KEYPAIRS)


@pytest.mark.parametrize("kind", ["DSA", "PKE", "KEP"])
def test_sm2_keys_are_on_their_curve(tee: Tee, kind: str) -> None:
    key = pair(tee, getattr(cryp, f"TEE_TYPE_SM2_{kind}_KEYPAIR"), 256)
    x, y, d = numbers(tee, key, X, Y, D)
    assert SM2.contains(x, y)
    assert SM2.multiply_base(d) == (x, y)
