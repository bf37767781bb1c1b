"""Digests. Mirrors core/lib/libtomcrypt/hash.c, shake.c and core/crypto/sm3-hash.c.

``hashlib`` makes the contexts of what it surely has, in a seventh of the time that ``cryptography`` takes for the rest.
"""

import hashlib
from collections.abc import Callable
from typing import Any, Final

from cryptography.hazmat.primitives import hashes

from optemu.abi import cryp, gp
from optemu.errors import TeeError
from optemu.secure_world.crypto.provider import Buffer, HashCtx, HashFactory

_XOF_LIMIT: Final = (1 << 63) - 1
"""Octets that ``cryptography`` lets us squeeze from one context: more than anybody can ask for."""


class _Digest(HashCtx):
    """A digest by ``hashlib``; asking for it ends nothing, so whoever asks twice gets it twice."""

    __slots__ = ("_native", "digest_size")

    def __init__(self, native: "hashlib._Hash") -> None:
        self._native = native
        self.digest_size = native.digest_size

    def update(self, data: Buffer) -> None:
        self._native.update(data)

    def final(self, size: int = 0) -> bytes:
        return self._native.digest()

    def copy(self) -> "_Digest":
        return _Digest(self._native.copy())


class _LibraryDigest(HashCtx):
    """The same by ``cryptography``."""

    __slots__ = ("_native", "digest_size")

    def __init__(self, native: hashes.HashContext) -> None:
        self._native = native
        self.digest_size = native.algorithm.digest_size

    def update(self, data: Buffer) -> None:
        self._native.update(data)

    def final(self, size: int = 0) -> bytes:
        return self._native.copy().finalize()

    def copy(self) -> "_LibraryDigest":
        return _LibraryDigest(self._native.copy())


class _Xof(HashCtx):
    """An extendable-output function; once something was taken out, nothing goes in: TEE_ERROR_BAD_STATE."""

    __slots__ = ("_native", "_squeezing")
    digest_size = 0

    def __init__(self, native: hashes.XOFHash, squeezing: bool = False) -> None:
        self._native = native
        self._squeezing = squeezing

    def update(self, data: Buffer) -> None:
        if not len(data):
            return
        if self._squeezing:
            raise TeeError(gp.TEE_ERROR_BAD_STATE, "SHAKE was asked for output already and takes no more data")
        self._native.update(data)

    def final(self, size: int = 0) -> bytes:
        if not size:
            return b""
        self._squeezing = True
        return self._native.squeeze(size)

    def copy(self) -> "_Xof":
        return _Xof(self._native.copy(), self._squeezing)


def _hashlib(name: str) -> HashFactory:
    new: Callable[..., Any] = getattr(hashlib, name)
    return lambda: _Digest(new(usedforsecurity=False))


def _library(algorithm: hashes.HashAlgorithm) -> HashFactory:
    return lambda: _LibraryDigest(hashes.Hash(algorithm))


def _xof(algorithm: Callable[[int], hashes.ExtendableOutputFunction]) -> HashFactory:
    return lambda: _Xof(hashes.XOFHash(algorithm(_XOF_LIMIT)))


_LIBRARY: Final[dict[int, hashes.HashAlgorithm]] = {
    cryp.TEE_ALG_MD5: hashes.MD5(),
    cryp.TEE_ALG_SHA1: hashes.SHA1(),
    cryp.TEE_ALG_SHA224: hashes.SHA224(),
    cryp.TEE_ALG_SHA256: hashes.SHA256(),
    cryp.TEE_ALG_SHA384: hashes.SHA384(),
    cryp.TEE_ALG_SHA512: hashes.SHA512(),
    cryp.TEE_ALG_SHA3_224: hashes.SHA3_224(),
    cryp.TEE_ALG_SHA3_256: hashes.SHA3_256(),
    cryp.TEE_ALG_SHA3_384: hashes.SHA3_384(),
    cryp.TEE_ALG_SHA3_512: hashes.SHA3_512(),
    cryp.TEE_ALG_SM3: hashes.SM3(),
}

HASHES: Final[dict[int, HashFactory]] = {
    cryp.TEE_ALG_MD5: _hashlib("md5"),
    cryp.TEE_ALG_SHA1: _hashlib("sha1"),
    cryp.TEE_ALG_SHA224: _hashlib("sha224"),
    cryp.TEE_ALG_SHA256: _hashlib("sha256"),
    cryp.TEE_ALG_SHA384: _hashlib("sha384"),
    cryp.TEE_ALG_SHA512: _hashlib("sha512"),
    cryp.TEE_ALG_SHA3_224: _hashlib("sha3_224"),
    cryp.TEE_ALG_SHA3_256: _hashlib("sha3_256"),
    cryp.TEE_ALG_SHA3_384: _hashlib("sha3_384"),
    cryp.TEE_ALG_SHA3_512: _hashlib("sha3_512"),
    cryp.TEE_ALG_SM3: _library(hashes.SM3()),
    cryp.TEE_ALG_SHAKE128: _xof(hashes.SHAKE128),
    cryp.TEE_ALG_SHAKE256: _xof(hashes.SHAKE256),
}
"""TEE_ALG_* of the digests that crypto_hash_alloc_ctx takes, to what makes a context."""


def digest(algo: int, data: Buffer) -> bytes:
    """The digest of ``data``; TEE_ERROR_NOT_SUPPORTED when ``algo`` is no digest of fixed size."""
    digest_size(algo)
    ctx = HASHES[algo]()
    ctx.update(data)
    return ctx.final()


def digest_size(algo: int) -> int:
    """Octets of a digest (tee_alg_get_digest_size); TEE_ERROR_NOT_SUPPORTED."""
    return library_hash(algo).digest_size


def library_hash(algo: int) -> hashes.HashAlgorithm:
    """How ``cryptography`` names a digest of fixed size; TEE_ERROR_NOT_SUPPORTED."""
    algorithm = _LIBRARY.get(algo)
    if algorithm is None:
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, f"algorithm 0x{algo:08x} is no digest")
    return algorithm
