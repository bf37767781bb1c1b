"""Signed TA images. Mirrors scripts/sign_encrypt.py.

Signing is three steps, so that the middle one may happen elsewhere (``digest`` and ``stitch`` of the upstream
tool): lay out what is signed, sign its digest, put the signature in.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, utils
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from optemu.abi import shdr

SIG_ALGOS: Final = {
    "pss": shdr.TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256,
    "pkcs1": shdr.TEE_ALG_RSASSA_PKCS1_V1_5_SHA256,
}
"""Short names of the signature schemes; both over SHA-256."""

_PADDINGS: Final[dict[int, padding.AsymmetricPadding]] = {
    shdr.TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256: padding.PSS(
        mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH
    ),
    shdr.TEE_ALG_RSASSA_PKCS1_V1_5_SHA256: padding.PKCS1v15(),
}


@dataclass(frozen=True, slots=True)
class UnsignedImage:
    """All of an image but its signature, which will be ``sig_size`` bytes."""

    img_type: int
    algo: int
    sig_size: int
    subheader: bytes
    payload: bytes

    def _header(self, digest: bytes, sig: bytes) -> shdr.Shdr:
        return shdr.Shdr(shdr.SHDR_MAGIC, self.img_type, len(self.payload), self.algo, digest, sig)

    def digest(self) -> bytes:
        """SHA-256 of struct shdr, sub-header and payload: what is signed."""
        h = hashlib.sha256(self._header(bytes(32), bytes(self.sig_size)).fixed)
        h.update(self.subheader)
        h.update(self.payload)
        return h.digest()

    def sign(self, key: RSAPrivateKey) -> bytes:
        """The whole image, signed with ``key``."""
        sha256 = utils.Prehashed(hashes.SHA256())
        return self.stitch(key.sign(self.digest(), _PADDINGS[self.algo], sha256))

    def stitch(self, sig: bytes) -> bytes:
        """The whole image with a signature made elsewhere; ValueError when it has the wrong size."""
        if len(sig) != self.sig_size:
            raise ValueError(f"signature of {len(sig)} bytes, the header says {self.sig_size}")
        return self._header(self.digest(), sig).pack() + self.subheader + self.payload


def bootstrap_ta(elf: bytes, uuid: bytes, key_bits: int, algo: int, ta_version: int = 0) -> UnsignedImage:
    """An ordinary TA (SHDR_BOOTSTRAP_TA) of ``uuid`` (16 octets, RFC 4122 order)."""
    sub = shdr.BootstrapTa(uuid, ta_version).pack()
    return UnsignedImage(shdr.SHDR_BOOTSTRAP_TA, algo, (key_bits + 7) // 8, sub, elf)


def sign_ta(
    elf: bytes,
    uuid: bytes,
    key: RSAPrivateKey,
    algo: int = shdr.TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256,
    ta_version: int = 0,
) -> bytes:
    """The contents of ``<uuid>.ta`` for a stripped ELF."""
    return bootstrap_ta(elf, uuid, key.key_size, algo, ta_version).sign(key)
