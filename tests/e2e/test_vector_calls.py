"""The road of the published vectors: operations and keys used again, freed after a refusal, made anew after a panic."""

import hashlib
from uuid import UUID

import pytest
from crypt_client import Tee

from conformance.vectors.case import Refused
from conformance.vectors.tee import TrustedApplication
from optemu.abi import cryp, gp
from optemu.normal_world.libteec import Context


@pytest.fixture
def calls(context: Context, crypt_uuid: UUID) -> TrustedApplication:
    return TrustedApplication(lambda: Tee(context.OpenSession(crypt_uuid)))


def test_answers(calls: TrustedApplication) -> None:
    assert calls.digest(cryp.TEE_ALG_SHA512, b"abc", 64) == hashlib.sha512(b"abc").digest()
    # NIST SP 800-38A, F.2.5
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    sealed = calls.cipher(
        cryp.TEE_ALG_AES_CBC_NOPAD,
        cryp.TEE_MODE_ENCRYPT,
        cryp.TEE_TYPE_AES,
        key,
        bytes(range(16)),
        bytes.fromhex("6bc1bee22e409f96e93d7e117393172a"),
    )
    assert sealed.hex() == "f58c4c04d6e5f1ba779eabfb5f7bfbd6"
    # RFC 5869, A.1
    okm = calls.derive(
        cryp.TEE_ALG_HKDF_SHA256_DERIVE_KEY,
        cryp.TEE_TYPE_HKDF_IKM,
        22 * 8,
        {cryp.TEE_ATTR_HKDF_IKM: b"\x0b" * 22},
        {
            cryp.OPTEE_TEE_ATTR_HKDF_SALT: bytes(range(13)),
            cryp.OPTEE_ATTR_HKDF_INFO: bytes(range(0xF0, 0xFA)),
            cryp.TEE_ATTR_HKDF_OKM_LENGTH: 42,
        },
        48,
    )
    assert okm.hex().startswith("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")


def test_refusals(calls: TrustedApplication) -> None:
    sealed, tag = calls.seal(cryp.TEE_ALG_AES_GCM, bytes(16), bytes(12), b"aad", b"data", 16)
    assert calls.unseal(cryp.TEE_ALG_AES_GCM, bytes(16), bytes(12), b"aad", sealed, tag) == b"data"
    with pytest.raises(Refused) as caught:
        calls.unseal(cryp.TEE_ALG_AES_GCM, bytes(16), bytes(12), b"bad", sealed, tag)
    assert caught.value.code == gp.TEE_ERROR_MAC_INVALID
    with pytest.raises(Refused) as caught:
        calls.cipher(
            cryp.TEE_ALG_AES_CBC_NOPAD, cryp.TEE_MODE_ENCRYPT, cryp.TEE_TYPE_AES, bytes(16), bytes(16), b"half"
        )
    assert caught.value.code == gp.TEE_ERROR_TARGET_DEAD
    assert calls.digest(cryp.TEE_ALG_SHA1, b"", 20) == hashlib.sha1(b"").digest()
