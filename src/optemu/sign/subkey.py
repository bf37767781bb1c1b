"""Subkeys: keys that sign TAs in the name of the key above them. Mirrors scripts/sign_encrypt.py."""

import struct
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from optemu.abi import gp, shdr
from optemu.sign.image import SignError, UnsignedImage, sig_size


@dataclass(frozen=True, slots=True)
class SubkeyFile:
    """A file that ``sign-subkey`` made: the subkeys from the root's down to the one that signs next."""

    raw: bytes
    subkeys: tuple[shdr.Subkey, ...]

    @property
    def last(self) -> shdr.Subkey:
        return self.subkeys[-1]

    def above(self, name: str) -> bytes:
        """What stands in front of the image that the last subkey signs and names ``name``; SignError."""
        return self.raw + self._name(name).ljust(self.last.name_size, b"\0")

    def next_uuid(self, name: str) -> bytes:
        """The UUID that this image must have; SignError when the name is longer than the subkey allows."""
        return self.last.next_uuid(self._name(name))

    def _name(self, name: str) -> bytes:
        raw, room = name.encode(), self.last.name_size
        if len(raw) > room:
            which = f"subkey {gp.uuid_str(self.last.uuid)}"
            raise SignError(f"{which} gives no names" if not room else f"name {name!r}: {which} takes {room} bytes")
        return raw


def parse_subkeys(raw: bytes, path: Path) -> SubkeyFile:
    """The subkeys in ``raw``, which is the file ``path``; SignError when it holds anything else."""
    try:
        parts = list(shdr.parse_image(raw))
    except shdr.ShdrError as e:
        raise SignError(f"{path}: no subkey file: {e}") from None
    subkeys = tuple(part.subkey for part in parts if isinstance(part, shdr.SubkeyPart))
    if len(subkeys) != len(parts):
        raise SignError(f"{path}: no subkey file: there is a TA in it")
    return SubkeyFile(raw, subkeys)


def subkey_image(
    key: RSAPublicKey, uuid: bytes, key_bits: int, algo: int, *, version: int, max_depth: int, name_size: int
) -> UnsignedImage:
    """``key`` as the subkey ``uuid`` (16 octets), to be signed with a key of ``key_bits``."""
    numbers = key.public_numbers()
    # The sign bit's byte is always there, as in upstream's files.
    n, e = (x.to_bytes(x.bit_length() // 8 + 1, "big") for x in (numbers.n, numbers.e))
    attrs = ((shdr.TEE_ATTR_RSA_MODULUS, n), (shdr.TEE_ATTR_RSA_PUBLIC_EXPONENT, e))
    at = shdr.SHDR_SUBKEY_HDR.size + len(attrs) * shdr.SHDR_SUBKEY_ATTR.size
    table = b""
    for attr_id, value in attrs:
        table += shdr.SHDR_SUBKEY_ATTR.pack(attr_id, at, len(value))
        at += len(value)
    try:
        fixed = shdr.SHDR_SUBKEY_HDR.pack(uuid, name_size, version, max_depth, algo, len(attrs))
    except struct.error:
        raise SignError("version, depth and size of names are numbers of 32 bits") from None
    return UnsignedImage(shdr.SHDR_SUBKEY, algo, sig_size(key_bits), b"", fixed + table + n + e)


def depth_below(above: SubkeyFile | None, wanted: int | None) -> int:
    """max_depth of a new subkey: ``wanted``, or one less than what is above it allows; SignError when that is too much.

    Without a subkey above it is 0 by default: TAs only.
    """
    if above is None:
        return wanted or 0
    limit = above.last.max_depth
    depth = limit - 1 if wanted is None else wanted
    if not 0 <= depth < limit:
        name = gp.uuid_str(above.last.uuid)
        allowed = f"with a depth smaller than {limit}" if limit else "none, but TAs"
        raise SignError(f"subkey {name} allows subkeys below it {allowed}")
    return depth
