"""Signed header of TA images. Mirrors core/include/signed_hdr.h.

An image file is: struct shdr, hash, signature, sub-header of the image type, payload. The hash covers
everything but itself and the signature: struct shdr, sub-header, payload (of an encrypted TA the ciphertext).
All integers are little endian; UUIDs are 16 octets in RFC 4122 order, not a TEE_UUID.
"""

import struct
from dataclasses import dataclass
from typing import Final

SHDR_MAGIC: Final = 0x4F545348
SHDR_TA: Final = 0
SHDR_BOOTSTRAP_TA: Final = 1
SHDR_ENCRYPTED_TA: Final = 2
SHDR_SUBKEY: Final = 3
IMG_TYPE_NAMES: Final = {
    SHDR_TA: "SHDR_TA",
    SHDR_BOOTSTRAP_TA: "SHDR_BOOTSTRAP_TA",
    SHDR_ENCRYPTED_TA: "SHDR_ENCRYPTED_TA",
    SHDR_SUBKEY: "SHDR_SUBKEY",
}

TEE_ALG_RSASSA_PKCS1_V1_5_SHA256: Final = 0x70004830
TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256: Final = 0x70414930
SIG_ALGO_NAMES: Final = {
    TEE_ALG_RSASSA_PKCS1_V1_5_SHA256: "TEE_ALG_RSASSA_PKCS1_V1_5_SHA256",
    TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256: "TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256",
}
TEE_ALG_AES_GCM: Final = 0x40000810
TEE_ATTR_RSA_MODULUS: Final = 0xD0000130
TEE_ATTR_RSA_PUBLIC_EXPONENT: Final = 0xD0000230
SHDR_ENC_KEY_DEV_SPECIFIC: Final = 0
SHDR_ENC_KEY_CLASS_WIDE: Final = 1
SHDR_ENC_KEY_TYPE_MASK: Final = 1

# struct shdr: magic, img_type, img_size, algo, hash_size, sig_size; then hash[hash_size], sig[sig_size]
SHDR: Final = struct.Struct("<IIIIHH")
# struct shdr_bootstrap_ta: uuid, ta_version
SHDR_BOOTSTRAP: Final = struct.Struct("<16sI")
# struct shdr_encrypted_ta: enc_algo, flags, iv_size, tag_size; then iv[iv_size], tag[tag_size]
SHDR_ENCRYPTED: Final = struct.Struct("<IIHH")
# struct shdr_subkey: uuid, name_size, subkey_version, max_depth, algo, attr_count; then attrs[attr_count]
SHDR_SUBKEY_HDR: Final = struct.Struct("<16sIIIII")
# struct shdr_subkey_attr: id, offs (from the start of struct shdr_subkey), size
SHDR_SUBKEY_ATTR: Final = struct.Struct("<III")

Bytes = bytes | bytearray | memoryview


class ShdrError(ValueError):
    """The bytes are no well-formed signed header; the message says which field and why."""


@dataclass(frozen=True, slots=True)
class Shdr:
    """struct shdr with the hash and the signature that follow it."""

    magic: int
    img_type: int
    img_size: int
    algo: int
    hash: bytes
    sig: bytes

    @property
    def fixed(self) -> bytes:
        """The 20 bytes of struct shdr, which are the first thing hashed."""
        return SHDR.pack(self.magic, self.img_type, self.img_size, self.algo, len(self.hash), len(self.sig))

    @property
    def size(self) -> int:
        """Bytes of struct shdr, hash and signature together (SHDR_GET_SIZE)."""
        return SHDR.size + len(self.hash) + len(self.sig)

    def pack(self) -> bytes:
        return self.fixed + self.hash + self.sig


@dataclass(frozen=True, slots=True)
class BootstrapTa:
    """struct shdr_bootstrap_ta."""

    uuid: bytes
    ta_version: int

    def pack(self) -> bytes:
        return SHDR_BOOTSTRAP.pack(self.uuid, self.ta_version)


@dataclass(frozen=True, slots=True)
class EncryptedTa:
    """struct shdr_encrypted_ta with the vector and the tag that follow it."""

    enc_algo: int
    flags: int
    iv: bytes
    tag: bytes

    def pack(self) -> bytes:
        fixed = SHDR_ENCRYPTED.pack(self.enc_algo, self.flags, len(self.iv), len(self.tag))
        return fixed + self.iv + self.tag


@dataclass(frozen=True, slots=True)
class Subkey:
    """struct shdr_subkey; ``attrs`` maps TEE_ATTR_* to its octets."""

    uuid: bytes
    name_size: int
    subkey_version: int
    max_depth: int
    algo: int
    attrs: dict[int, bytes]


def _take(img: Bytes, offs: int, size: int, what: str) -> bytes:
    """``size`` bytes of ``img`` from ``offs``; ShdrError when the image ends before."""
    if offs < 0 or size < 0 or offs + size > len(img):
        raise ShdrError(f"{what} needs bytes {offs}..{offs + size}, the image has {len(img)}")
    return bytes(img[offs : offs + size])


def parse_shdr(img: Bytes, offs: int = 0) -> Shdr:
    """The struct shdr at ``offs``, with its hash and signature (shdr_alloc_and_copy).

    Checks the magic and that everything lies inside ``img``; what the fields mean is the verifier's affair.
    """
    fixed = _take(img, offs, SHDR.size, "struct shdr")
    magic, img_type, img_size, algo, hash_size, sig_size = SHDR.unpack(fixed)
    if magic != SHDR_MAGIC:
        raise ShdrError(f"magic is 0x{magic:08x}, a signed header has 0x{SHDR_MAGIC:08x}")
    offs += SHDR.size
    digest = _take(img, offs, hash_size, "hash")
    sig = _take(img, offs + hash_size, sig_size, "signature")
    return Shdr(magic, img_type, img_size, algo, digest, sig)


def parse_bootstrap_ta(img: Bytes, offs: int) -> BootstrapTa:
    """The struct shdr_bootstrap_ta at ``offs``."""
    fixed = _take(img, offs, SHDR_BOOTSTRAP.size, "struct shdr_bootstrap_ta")
    return BootstrapTa(*SHDR_BOOTSTRAP.unpack(fixed))


def parse_encrypted_ta(img: Bytes, offs: int) -> EncryptedTa:
    """The struct shdr_encrypted_ta at ``offs``."""
    fixed = _take(img, offs, SHDR_ENCRYPTED.size, "struct shdr_encrypted_ta")
    enc_algo, flags, iv_size, tag_size = SHDR_ENCRYPTED.unpack(fixed)
    offs += SHDR_ENCRYPTED.size
    iv = _take(img, offs, iv_size, "initialization vector")
    return EncryptedTa(enc_algo, flags, iv, _take(img, offs + iv_size, tag_size, "tag"))


def parse_subkey(img: Bytes, offs: int, img_size: int) -> Subkey:
    """The struct shdr_subkey at ``offs``; its attributes must lie inside its ``img_size`` bytes."""
    body = _take(img, offs, img_size, "struct shdr_subkey")
    uuid, name_size, version, max_depth, algo, attr_count = SHDR_SUBKEY_HDR.unpack(
        _take(body, 0, SHDR_SUBKEY_HDR.size, "struct shdr_subkey")
    )
    table = _take(body, SHDR_SUBKEY_HDR.size, attr_count * SHDR_SUBKEY_ATTR.size, "subkey attributes")
    attrs: dict[int, bytes] = {}
    for attr_id, attr_offs, attr_size in SHDR_SUBKEY_ATTR.iter_unpack(table):
        attrs.setdefault(attr_id, _take(body, attr_offs, attr_size, f"attribute 0x{attr_id:08x}"))
    return Subkey(uuid, name_size, version, max_depth, algo, attrs)
