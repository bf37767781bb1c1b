"""Key derivation: RFC 5869, RFC 6070, RFC 7914, and the library's own functions."""

import hmac

import pytest
from acipher_fakes import code_of
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from optemu.abi import cryp, gp
from optemu.secure_world.crypto import kdf
from optemu.secure_world.crypto.hash import digest, library_hash

SHA1, SHA256, SM3 = cryp.TEE_ALG_SHA1, cryp.TEE_ALG_SHA256, cryp.TEE_ALG_SM3
ALGOS = [cryp.TEE_ALG_MD5, SHA1, cryp.TEE_ALG_SHA224, SHA256, cryp.TEE_ALG_SHA384, cryp.TEE_ALG_SHA512, SM3]


@pytest.mark.parametrize(
    ("ikm", "salt", "info", "okm"),
    [
        (
            b"\x0b" * 22,
            bytes(range(13)),
            bytes(range(0xF0, 0xFA)),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            b"\x0b" * 22,
            b"",
            b"",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ],
)
def test_rfc_5869(ikm, salt, info, okm):
    assert kdf.hkdf(SHA256, ikm, salt, info, len(okm) // 2).hex() == okm


@given(algo=st.sampled_from(ALGOS), ikm=st.binary(), salt=st.binary(), info=st.binary(), length=st.integers(1, 300))
def test_hkdf_is_the_librarys(algo, ikm, salt, info, length):
    theirs = HKDF(library_hash(algo), length, salt, info).derive(ikm)
    assert kdf.hkdf(algo, ikm, salt, info, length) == theirs


def test_hkdf_has_an_end():
    assert len(kdf.hkdf(SHA1, b"k", b"", b"", 255 * 20)) == 255 * 20
    assert code_of(kdf.hkdf, SHA1, b"k", b"", b"", 255 * 20 + 1) == gp.TEE_ERROR_BAD_PARAMETERS
    assert kdf.hkdf(SHA1, b"k", b"", b"", 0) == b""


@given(algo=st.sampled_from(ALGOS), z=st.binary(), info=st.binary(), length=st.integers(1, 300))
def test_concat_kdf_is_the_librarys(algo, z, info, length):
    assert kdf.concat_kdf(algo, z, info, length) == ConcatKDFHash(library_hash(algo), length, info).derive(z)


@pytest.mark.parametrize(
    ("algo", "password", "salt", "iterations", "derived"),
    [
        (SHA1, b"password", b"salt", 1, "0c60c80f961f0e71f3a9b524af6012062fe037a6"),
        (SHA1, b"password", b"salt", 2, "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957"),
        (SHA1, b"pass\0word", b"sa\0lt", 4096, "56fa6aa75548099dcc37d7f03425e0c3"),
        (SHA256, b"passwd", b"salt", 1, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"),
    ],
)
def test_rfc_6070_and_7914(algo, password, salt, iterations, derived):
    assert kdf.pbkdf2(algo, password, salt, iterations, len(derived) // 2).hex() == derived


def _pbkdf2(algo, password, salt, iterations, length):
    """As RFC 8018 says it, block by block."""
    out = b""
    while len(out) < length:
        block = _hmac(algo, password, salt + (len(out) // len(digest(algo, b"")) + 1).to_bytes(4, "big"))
        total = int.from_bytes(block, "big")
        for _ in range(iterations - 1):
            block = _hmac(algo, password, block)
            total ^= int.from_bytes(block, "big")
        out += total.to_bytes(len(block), "big")
    return out[:length]


def _hmac(algo, key, data):
    context = HMAC(key, library_hash(algo))
    context.update(data)
    return context.finalize()


@pytest.mark.parametrize("algo", [*ALGOS, cryp.TEE_ALG_SHA3_256])
@pytest.mark.parametrize("length", [1, 20, 65])
def test_pbkdf2_with_every_digest(algo, length):
    assert kdf.pbkdf2(algo, b"password", b"", 3, length) == _pbkdf2(algo, b"password", b"", 3, length)
    assert kdf.pbkdf2(algo, b"", b"salt", 1, length) == _pbkdf2(algo, b"", b"salt", 1, length)


def test_pbkdf2_of_nothing():
    assert kdf.pbkdf2(SHA1, b"p", b"s", 0, 5) == bytes(5)
    assert kdf.pbkdf2(SHA1, b"p", b"s", 7, 0) == b""
    assert kdf.pbkdf2(SHA1, b"p", b"s", 1, 20) == hmac.digest(b"p", b"s\0\0\0\1", "sha1")


def test_sm2_kdf_counts_behind():
    assert kdf.sm2_kdf(b"z", 40) == (digest(SM3, b"z\0\0\0\1") + digest(SM3, b"z\0\0\0\2"))[:40]
    assert kdf.sm2_kdf(b"z", 32) == digest(SM3, b"z\0\0\0\1")
    assert kdf.sm2_kdf(b"z", 0) == b""
