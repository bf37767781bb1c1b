"""Encrypted TA images. Mirrors core/tee/tee_ta_enc_manager.c, and core/kernel/otp_stubs.c where it gives the keys."""

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from optemu.abi import gp, shdr
from optemu.errors import TeeError
from optemu.secure_world.crypto.huk_subkey import HUK_SUBKEY_TA_ENC, huk_subkey_derive

TaEncKey = Callable[[int, bytes], bytes]
"""(SHDR_ENC_KEY_*, modulus of the root key that vouches for the image) to the 32 bytes that decrypt it; TeeError."""

_IV_SIZES = range(8, 129)
_TAG_SIZES = range(4, 17)


@dataclass(frozen=True, slots=True)
class OtpKeys:
    """The keys of one device (tee_otp_get_ta_enc_key): one of its own, and perhaps one of its whole class."""

    huk: bytes
    class_key: bytes | None = None

    def __call__(self, key_type: int, modulus: bytes) -> bytes:
        """Upstream's device key depends on the public key that the core is built with, here the root key."""
        if key_type == shdr.SHDR_ENC_KEY_DEV_SPECIFIC:
            return huk_subkey_derive(self.huk, HUK_SUBKEY_TA_ENC, shdr.TEE_TA_ENC_KEY_SIZE, modulus)
        if self.class_key is None:
            raise TeeError(
                gp.TEE_ERROR_SECURITY,
                "the image is encrypted with a class-wide key and this board has none: "
                "set ta_class_key in [board], or encrypt with SHDR_ENC_KEY_DEV_SPECIFIC",
            )
        return self.class_key


def decrypt_ta(ehdr: shdr.EncryptedTa, ciphertext: memoryview, enc_key: TaEncKey, modulus: bytes) -> bytes:
    """The ELF file in an encrypted image (tee_ta_decrypt_init, _update, _final).

    TEE_ERROR_NOT_IMPLEMENTED for other algorithms than AES-GCM, TEE_ERROR_NOT_SUPPORTED for sizes of vector and tag
    that OpenSSL's does not take, TEE_ERROR_SECURITY when the tag says that key or bytes are wrong.
    """
    if ehdr.enc_algo != shdr.TEE_ALG_AES_GCM:
        raise TeeError(
            gp.TEE_ERROR_NOT_IMPLEMENTED, f"encryption algorithm 0x{ehdr.enc_algo:08x}; TA images use AES-GCM"
        )
    if len(ehdr.iv) not in _IV_SIZES or len(ehdr.tag) not in _TAG_SIZES:
        raise TeeError(
            gp.TEE_ERROR_NOT_SUPPORTED,
            f"AES-GCM with a vector of {len(ehdr.iv)} and a tag of {len(ehdr.tag)} bytes; the usual are 12 and 16",
        )
    key_type = ehdr.flags & shdr.SHDR_ENC_KEY_TYPE_MASK
    mode = modes.GCM(ehdr.iv, ehdr.tag, min_tag_length=_TAG_SIZES.start)
    cipher = Cipher(algorithms.AES(enc_key(key_type, modulus)), mode).decryptor()
    try:
        return cipher.update(ciphertext) + cipher.finalize()
    except InvalidTag:
        which = "class-wide" if key_type else "device"
        raise TeeError(
            gp.TEE_ERROR_SECURITY,
            f"the {which} key does not decrypt the image: it was encrypted with another, or changed afterwards",
        ) from None
