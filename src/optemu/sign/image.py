"""Signed TA images. Mirrors scripts/sign_encrypt.py.

Signing is three steps, so that the middle one may happen elsewhere (``digest`` and ``stitch`` of the upstream
tool): lay out what is signed, sign its digest, put the signature in.
"""

import hashlib
import hmac
from dataclasses import dataclass, replace
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, utils
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from optemu.abi import shdr

SIG_ALGOS: Final = {
    "pss": shdr.TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256,
    "pkcs1": shdr.TEE_ALG_RSASSA_PKCS1_V1_5_SHA256,
}
"""Short names of the signature schemes; both over SHA-256."""

NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16

_PADDINGS: Final[dict[int, padding.AsymmetricPadding]] = {
    shdr.TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256: padding.PSS(
        mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH
    ),
    shdr.TEE_ALG_RSASSA_PKCS1_V1_5_SHA256: padding.PKCS1v15(),
}
_SHA256: Final = utils.Prehashed(hashes.SHA256())


class SignError(ValueError):
    """What was asked for would be no image that a core takes; the message says why."""


@dataclass(frozen=True, slots=True)
class UnsignedImage:
    """All of an image but its signature, which will be ``sig_size`` bytes.

    ``payload`` is what the hash covers and ``ciphertext``, if any, what the file holds in its place; ``above`` are
    the subkeys in front, each with the name behind it.
    """

    img_type: int
    algo: int
    sig_size: int
    subheader: bytes
    payload: bytes
    ciphertext: bytes | None = None
    above: bytes = b""

    def _header(self, digest: bytes, sig: bytes) -> shdr.Shdr:
        return shdr.Shdr(shdr.SHDR_MAGIC, self.img_type, len(self.payload), self.algo, digest, sig)

    def digest(self) -> bytes:
        """SHA-256 of struct shdr, sub-header and payload: what is signed."""
        h = hashlib.sha256(self._header(bytes(32), bytes(self.sig_size)).fixed)
        h.update(self.subheader)
        h.update(self.payload)
        return h.digest()

    def under(self, above: bytes) -> "UnsignedImage":
        """The same behind subkeys (``SubkeyFile.above``), with the last of which it must be signed then."""
        return replace(self, above=above)

    def sign(self, key: RSAPrivateKey) -> bytes:
        """The whole image, signed with ``key``."""
        return self.stitch(key.sign(self.digest(), _PADDINGS[self.algo], _SHA256))

    def check(self, sig: bytes, key: RSAPublicKey) -> None:
        """SignError when ``sig`` is not what the owner of ``key`` made of the digest."""
        try:
            key.verify(sig, self.digest(), _PADDINGS[self.algo], _SHA256)
        except InvalidSignature:
            raise SignError("the signature was not made with this key over this digest") from None

    def stitch(self, sig: bytes) -> bytes:
        """The whole image with a signature made elsewhere; SignError when it has the wrong size."""
        if len(sig) != self.sig_size:
            raise SignError(f"a signature of {len(sig)} bytes; with this key it has {self.sig_size}")
        stored = self.payload if self.ciphertext is None else self.ciphertext
        return self.above + self._header(self.digest(), sig).pack() + self.subheader + stored


def bootstrap_ta(elf: bytes, uuid: bytes, key_bits: int, algo: int, ta_version: int = 0) -> UnsignedImage:
    """An ordinary TA (SHDR_BOOTSTRAP_TA) of ``uuid`` (16 octets, RFC 4122 order)."""
    sub = shdr.BootstrapTa(uuid, ta_version).pack()
    return UnsignedImage(shdr.SHDR_BOOTSTRAP_TA, algo, sig_size(key_bits), sub, elf)


def encrypt_ta(
    plain: UnsignedImage, enc_key: bytes, key_type: int = shdr.SHDR_ENC_KEY_DEV_SPECIFIC, nonce: bytes | None = None
) -> UnsignedImage:
    """The same TA as SHDR_ENCRYPTED_TA: AES-GCM with ``enc_key``, of whose two kinds ``key_type`` tells.

    Without ``nonce`` one is derived from key and image (as RFC 8452 does, in spirit): no two images share one, and
    the digest that is signed elsewhere is that of the image that the signature is put into later.
    """
    if nonce is None:
        seed = b"optemu sign nonce" + plain.subheader + plain.payload
        nonce = hmac.digest(enc_key, seed, "sha256")[:NONCE_SIZE]
    sealed = AESGCM(enc_key).encrypt(nonce, plain.payload, None)
    ciphertext, tag = sealed[:-TAG_SIZE], sealed[-TAG_SIZE:]
    ehdr = shdr.EncryptedTa(shdr.TEE_ALG_AES_GCM, key_type, nonce, tag)
    sub = plain.subheader + ehdr.pack()
    return replace(plain, img_type=shdr.SHDR_ENCRYPTED_TA, subheader=sub, ciphertext=ciphertext)


def sig_size(key_bits: int) -> int:
    """Bytes of a signature made with an RSA key of ``key_bits``."""
    return (key_bits + 7) // 8


def sign_ta(
    elf: bytes,
    uuid: bytes,
    key: RSAPrivateKey,
    algo: int = shdr.TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256,
    ta_version: int = 0,
) -> bytes:
    """The contents of ``<uuid>.ta`` for a stripped ELF."""
    return bootstrap_ta(elf, uuid, key.key_size, algo, ta_version).sign(key)
