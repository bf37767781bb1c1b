"""The MACs by number. Mirrors core/lib/libtomcrypt/hmac.c and cmac.c, and crypto_mac_alloc_ctx of core/crypto."""

from functools import partial
from typing import Final

from cryptography.hazmat.primitives import cmac, hashes, hmac

from optemu.abi import cryp, gp
from optemu.errors import TeeError
from optemu.secure_world.crypto.block import AES, DES, DES3, BlockCipher
from optemu.secure_world.crypto.cbc_mac import CbcMac
from optemu.secure_world.crypto.hash import library_hash
from optemu.secure_world.crypto.provider import Buffer, MacCtx, MacFactory


class _LibraryMac(MacCtx):
    """A MAC by ``cryptography``; asking for it ends nothing."""

    __slots__ = ("_native", "digest_size")

    def __init__(self, native: hmac.HMAC | cmac.CMAC, digest_size: int) -> None:
        self._native = native
        self.digest_size = digest_size

    def update(self, data: Buffer) -> None:
        self._native.update(bytes(data))

    def final(self) -> bytes:
        return self._native.copy().finalize()

    def copy(self) -> "_LibraryMac":
        return _LibraryMac(self._native.copy(), self.digest_size)


def _hmac(algo: int, empty_key: bool = False) -> MacFactory:
    algorithm: hashes.HashAlgorithm = library_hash(algo)

    def new(key: Buffer) -> MacCtx:
        if not len(key) and not empty_key:
            raise TeeError(gp.TEE_ERROR_BAD_STATE, "HMAC takes no empty key")
        return _LibraryMac(hmac.HMAC(bytes(key), algorithm), algorithm.digest_size)

    return new


def _cmac(block: BlockCipher, key: Buffer) -> MacCtx:
    return _LibraryMac(cmac.CMAC(block.keyed(key)), block.block_size)


MACS: Final[dict[int, MacFactory]] = {
    cryp.TEE_ALG_HMAC_MD5: _hmac(cryp.TEE_ALG_MD5),
    cryp.TEE_ALG_HMAC_SHA1: _hmac(cryp.TEE_ALG_SHA1),
    cryp.TEE_ALG_HMAC_SHA224: _hmac(cryp.TEE_ALG_SHA224),
    cryp.TEE_ALG_HMAC_SHA256: _hmac(cryp.TEE_ALG_SHA256),
    cryp.TEE_ALG_HMAC_SHA384: _hmac(cryp.TEE_ALG_SHA384),
    cryp.TEE_ALG_HMAC_SHA512: _hmac(cryp.TEE_ALG_SHA512),
    cryp.TEE_ALG_HMAC_SHA3_224: _hmac(cryp.TEE_ALG_SHA3_224),
    cryp.TEE_ALG_HMAC_SHA3_256: _hmac(cryp.TEE_ALG_SHA3_256),
    cryp.TEE_ALG_HMAC_SHA3_384: _hmac(cryp.TEE_ALG_SHA3_384),
    cryp.TEE_ALG_HMAC_SHA3_512: _hmac(cryp.TEE_ALG_SHA3_512),
    cryp.TEE_ALG_HMAC_SM3: _hmac(cryp.TEE_ALG_SM3, empty_key=True),
    cryp.TEE_ALG_AES_CBC_MAC_NOPAD: partial(CbcMac, AES),
    cryp.TEE_ALG_AES_CBC_MAC_PKCS5: partial(CbcMac, AES, pkcs5=True),
    cryp.TEE_ALG_DES_CBC_MAC_NOPAD: partial(CbcMac, DES),
    cryp.TEE_ALG_DES_CBC_MAC_PKCS5: partial(CbcMac, DES, pkcs5=True),
    cryp.TEE_ALG_DES3_CBC_MAC_NOPAD: partial(CbcMac, DES3),
    cryp.TEE_ALG_DES3_CBC_MAC_PKCS5: partial(CbcMac, DES3, pkcs5=True),
    cryp.TEE_ALG_AES_CMAC: partial(_cmac, AES),
    cryp.TEE_ALG_DES3_CMAC: partial(_cmac, DES3),
}
"""TEE_ALG_* to key to a context; TEE_ERROR_BAD_STATE for keys of a wrong size."""
