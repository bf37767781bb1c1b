"""AES-CCM, streaming. Mirrors core/lib/libtomcrypt/ccm.c and libtomcrypt's src/encauth/ccm."""

from hmac import compare_digest

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.crypto.block import AES, is_encrypt
from optemu.secure_world.crypto.cbc_mac import CbcChain
from optemu.secure_world.crypto.ctr import KeyStream
from optemu.secure_world.crypto.provider import AuthencCtx, Buffer

_INT_MAX = (1 << 31) - 1


class Ccm(AuthencCtx):
    """The lengths of additional data and payload are declared first, and what is fed must be exactly that.

    TEE_ERROR_BAD_STATE for more, for payload before all the additional data, and for an end before all the payload.
    """

    __slots__ = ("_aad_left", "_encrypt", "_mac", "_mask", "_payload_left", "_stream", "tag_len")

    def __init__(self, mode: int, key: Buffer, nonce: Buffer, tag_len: int, aad_len: int, payload_len: int) -> None:
        self._encrypt = is_encrypt(mode)
        self.tag_len = tag_len
        _check(len(key), len(nonce), tag_len, aad_len, payload_len)
        algorithm = AES.keyed(key)
        # A payload too long for what the nonce leaves to its length costs the nonce its last octets.
        length_size = max(15 - len(nonce), (payload_len.bit_length() + 7) // 8)
        head = bytes(nonce[: 15 - length_size])
        self._aad_left = aad_len
        self._payload_left = payload_len
        self._mac = CbcChain(algorithm)
        flags = (64 if aad_len else 0) | (tag_len - 2) << 2 | length_size - 1
        self._mac.update(b"".join((bytes([flags]), head, payload_len.to_bytes(length_size, "big"), _aad_head(aad_len))))
        self._stream = KeyStream(algorithm, int.from_bytes(bytes([length_size - 1]) + head + bytes(length_size), "big"))
        self._mask = self._stream.update(bytes(16))

    def update_aad(self, data: Buffer) -> None:
        if len(data) > self._aad_left:
            raise _refused(f"{len(data)} bytes of additional data, {self._aad_left} are left of those declared")
        if not len(data):
            return
        self._mac.update(data)
        self._aad_left -= len(data)
        if not self._aad_left:
            self._mac.pad_with_zeros()

    def update_payload(self, data: Buffer) -> bytes:
        if self._aad_left:
            raise _refused(f"payload while {self._aad_left} bytes of the additional data declared are missing")
        if len(data) > self._payload_left:
            raise _refused(f"{len(data)} bytes of payload, {self._payload_left} are left of those declared")
        self._payload_left -= len(data)
        data = bytes(data)  # it is read twice, and must not change in between
        out = self._stream.update(data)
        self._mac.update(data if self._encrypt else out)
        return out

    def enc_final(self, data: Buffer) -> tuple[bytes, bytes]:
        out = self.update_payload(data)
        return out, self._tag()[: self.tag_len]

    def dec_final(self, data: Buffer, tag: Buffer) -> bytes:
        """As upstream, the length of ``tag`` counts here, not the one declared."""
        if not len(tag):
            raise TeeError(gp.TEE_ERROR_SHORT_BUFFER, "a tag of no bytes")
        if len(tag) > 16:
            raise _refused(f"a tag of {len(tag)} bytes; CCM has up to 16")
        out = self.update_payload(data)
        if not compare_digest(self._tag()[: len(tag)], tag):
            raise TeeError(gp.TEE_ERROR_MAC_INVALID, "the tag of CCM is not that of key, nonce and data")
        return out

    def _tag(self) -> bytes:
        if self._payload_left:
            raise _refused(f"the end while {self._payload_left} bytes of the payload declared are missing")
        self._mac.pad_with_zeros()
        tag = int.from_bytes(self._mac.last, "big") ^ int.from_bytes(self._mask, "big")
        return tag.to_bytes(16, "big")

    def copy(self) -> "Ccm":
        twin = Ccm.__new__(Ccm)
        for name in Ccm.__slots__:
            setattr(twin, name, getattr(self, name))
        twin._mac, twin._stream = self._mac.copy(), self._stream.copy()
        return twin


def _check(key: int, nonce: int, tag: int, aad: int, payload: int) -> None:
    """The lengths, in upstream's order."""
    if key > 32 or nonce > 13:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"a key of {key} and a nonce of {nonce} bytes; up to 32 and 13")
    if payload > _INT_MAX or aad > _INT_MAX:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"{aad} bytes of additional data and {payload} of payload")
    if tag not in range(4, 17, 2):
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, f"a tag of {tag} bytes; CCM has 4, 6, ... 16")
    if nonce < 7:
        raise _refused(f"a nonce of {nonce} bytes; CCM has 7 to 13")


def _aad_head(size: int) -> bytes:
    if not size:
        return b""
    return size.to_bytes(2, "big") if size < 0xFF00 else b"\xff\xfe" + size.to_bytes(4, "big")


def _refused(why: str) -> TeeError:
    return TeeError(gp.TEE_ERROR_BAD_STATE, why)
