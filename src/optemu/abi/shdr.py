"""Signed header of TA images. Mirrors core/include/signed_hdr.h.

An image file is: struct shdr, hash, signature, sub-header of the image type, payload. The hash covers
everything but itself and the signature: struct shdr, sub-header, payload (of an encrypted TA the plaintext).
A subkey is such an image too; behind it follow a name and the image that it signs, another subkey or the TA.
All integers are little endian; UUIDs are 16 octets in RFC 4122 order, not a TEE_UUID.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha512
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
TEE_ALG_RSASSA_PKCS1_V1_5_SHA384: Final = 0x70005830
TEE_ALG_RSASSA_PKCS1_V1_5_SHA512: Final = 0x70006830
TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256: Final = 0x70414930
TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA384: Final = 0x70515930
TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA512: Final = 0x70616930
SIG_ALGO_NAMES: Final = {
    TEE_ALG_RSASSA_PKCS1_V1_5_SHA256: "TEE_ALG_RSASSA_PKCS1_V1_5_SHA256",
    TEE_ALG_RSASSA_PKCS1_V1_5_SHA384: "TEE_ALG_RSASSA_PKCS1_V1_5_SHA384",
    TEE_ALG_RSASSA_PKCS1_V1_5_SHA512: "TEE_ALG_RSASSA_PKCS1_V1_5_SHA512",
    TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256: "TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256",
    TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA384: "TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA384",
    TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA512: "TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA512",
}
TEE_ALG_AES_GCM: Final = 0x40000810
ENC_ALGO_NAMES: Final = {TEE_ALG_AES_GCM: "TEE_ALG_AES_GCM"}
TEE_ATTR_RSA_MODULUS: Final = 0xD0000130
TEE_ATTR_RSA_PUBLIC_EXPONENT: Final = 0xD0000230
SHDR_ENC_KEY_DEV_SPECIFIC: Final = 0
SHDR_ENC_KEY_CLASS_WIDE: Final = 1
ENC_KEY_TYPE_NAMES: Final = {
    SHDR_ENC_KEY_DEV_SPECIFIC: "SHDR_ENC_KEY_DEV_SPECIFIC",
    SHDR_ENC_KEY_CLASS_WIDE: "SHDR_ENC_KEY_CLASS_WIDE",
}
SHDR_ENC_KEY_TYPE_MASK: Final = 1
TEE_TA_ENC_KEY_SIZE: Final = 32

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


def name_str(name: bytes) -> str:
    """The name behind a subkey, which NULs fill up, as text."""
    return name.partition(b"\0")[0].decode(errors="backslashreplace")


@dataclass(frozen=True, slots=True)
class Subkey:
    """struct shdr_subkey; ``body`` is all of it, the attributes' octets too."""

    uuid: bytes
    name_size: int
    subkey_version: int
    max_depth: int
    algo: int
    attr_count: int
    body: memoryview

    def attrs(self) -> dict[int, memoryview]:
        """TEE_ATTR_* to its octets, the first of each; ShdrError when one is not inside the subkey (check_attrs).

        Takes as long as the table is: check the hash over the body before.
        """
        found: dict[int, memoryview] = {}
        table = self.body[SHDR_SUBKEY_HDR.size :][: self.attr_count * SHDR_SUBKEY_ATTR.size]
        for attr_id, offs, size in SHDR_SUBKEY_ATTR.iter_unpack(table):
            if offs + size > len(self.body):
                raise ShdrError(f"attribute 0x{attr_id:08x} ends at {offs + size}, the subkey at {len(self.body)}")
            found.setdefault(attr_id, self.body[offs : offs + size])
        return found

    def next_uuid(self, name: bytes) -> bytes:
        """The UUID that the next subkey or the TA must have, given the name behind this one (calc_next_uuid).

        An identity subkey (``name_size`` 0) hands its own on. Any other is a name space: a version 5 UUID as in
        RFC 4122, but made with SHA-512, of this UUID and the name up to its first NUL.
        """
        if not self.name_size:
            return self.uuid
        raw = bytearray(sha512(self.uuid + name.partition(b"\0")[0]).digest()[:16])
        raw[6] = raw[6] & 0x0F | 0x50
        raw[8] = raw[8] & 0x3F | 0x80
        return bytes(raw)


@dataclass(frozen=True, slots=True)
class SubkeyPart:
    """A subkey in an image: its header, itself, and the name behind it (none behind the last of a subkey file)."""

    header: Shdr
    subkey: Subkey
    name: bytes


@dataclass(frozen=True, slots=True)
class TaPart:
    """The TA at the end of an image; ``payload`` is what the file holds behind all headers.

    SHDR_TA has no ``bootstrap``, only SHDR_ENCRYPTED_TA has ``encrypted``. ``subheader`` is both, packed.
    """

    header: Shdr
    bootstrap: BootstrapTa | None
    encrypted: EncryptedTa | None
    subheader: bytes
    payload: memoryview


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
    """The struct shdr_subkey of ``img_size`` bytes at ``offs``; its table of attributes must lie inside."""
    body = memoryview(_take(img, offs, img_size, "struct shdr_subkey"))
    fixed = _take(body, 0, SHDR_SUBKEY_HDR.size, "struct shdr_subkey")
    uuid, name_size, version, max_depth, algo, attr_count = SHDR_SUBKEY_HDR.unpack(fixed)
    end = SHDR_SUBKEY_HDR.size + attr_count * SHDR_SUBKEY_ATTR.size
    if end > img_size:
        raise ShdrError(f"{attr_count} subkey attributes need {end} bytes, the subkey has {img_size}")
    return Subkey(uuid, name_size, version, max_depth, algo, attr_count, body)


def parse_image(img: Bytes) -> Iterator[SubkeyPart | TaPart]:
    """What an image consists of: its subkeys from the root's down, then the TA, if it does not end before.

    Each is parsed when it is asked for, so that a reader may stop at the first it does not believe.
    """
    view = memoryview(img)
    offs = 0
    while offs < len(view) or not offs:
        header = parse_shdr(view, offs)
        offs += header.size
        if header.img_type != SHDR_SUBKEY:
            yield _ta_part(view, offs, header)
            return
        subkey = parse_subkey(view, offs, header.img_size)
        offs += header.img_size
        last = offs == len(view)
        name = b"" if last else _take(view, offs, subkey.name_size, "name behind the subkey")
        offs += len(name)
        yield SubkeyPart(header, subkey, name)


def _ta_part(view: memoryview, offs: int, header: Shdr) -> TaPart:
    bootstrap = encrypted = None
    subheader = b""
    if header.img_type in (SHDR_BOOTSTRAP_TA, SHDR_ENCRYPTED_TA):
        bootstrap = parse_bootstrap_ta(view, offs)
        subheader = bootstrap.pack()
    if header.img_type == SHDR_ENCRYPTED_TA:
        encrypted = parse_encrypted_ta(view, offs + len(subheader))
        subheader += encrypted.pack()
    return TaPart(header, bootstrap, encrypted, subheader, view[offs + len(subheader) :])
