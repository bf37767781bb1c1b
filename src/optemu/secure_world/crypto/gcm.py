"""AES-GCM, streaming. Mirrors core/crypto/aes-gcm.c.

The library's own context does it all, until somebody wants a copy: from then on GHASH and the key stream are two
contexts, which can be copied. What GHASH had come to is read from the encryptor's tag; a decryptor tells none, so what
it was fed is kept, and after MAX_KEPT octets it becomes two without being copied.
"""

from hmac import compare_digest
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, modes

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.crypto.block import AES, is_encrypt, start
from optemu.secure_world.crypto.gctr import Gctr, after
from optemu.secure_world.crypto.ghash import Ghash, GhashKey, lengths
from optemu.secure_world.crypto.provider import AuthencCtx, Buffer

MAX_KEPT: Final = 1 << 20
_MAX_PAYLOAD: Final = 16 * ((1 << 32) - 2)
_LIBRARY_NONCES: Final = range(8, 129)
_LIBRARY_MIN_TAG: Final = 4


class _InTwo:
    """GHASH and the key stream, each on its own, after ``aad`` and ``payload`` octets."""

    def __init__(self, encrypt: bool, mask: int, ghash: Ghash, stream: Gctr, aad: int = 0, payload: int = 0) -> None:
        """``mask`` goes over the hash to make the tag."""
        self._encrypt = encrypt
        self._mask = mask
        self._ghash = ghash
        self._stream = stream
        self._aad = aad
        self._payload = payload

    def update_aad(self, data: Buffer) -> None:
        self._ghash.update(data)
        self._aad += len(data)

    def update_payload(self, data: Buffer) -> bytes:
        if not self._payload:
            self._ghash.pad()
        self._payload += len(data)
        out = self._stream.update(data)
        self._ghash.update(out if self._encrypt else data)
        return out

    def tag(self) -> bytes:
        return (self._ghash.final(lengths(self._aad, self._payload)) ^ self._mask).to_bytes(16, "big")

    def last_payload(self, data: Buffer, tag: Buffer) -> bytes:
        """InvalidTag."""
        out = self.update_payload(data) if len(data) else b""
        if not compare_digest(self.tag()[: len(tag)], tag):
            raise InvalidTag
        return out

    def copy(self) -> "_InTwo":
        ghash, stream = self._ghash.copy(), self._stream.copy()
        return _InTwo(self._encrypt, self._mask, ghash, stream, self._aad, self._payload)


class _Counters:
    """Where GCM's key streams begin for one key and nonce: GHASH, and the mask of the tag."""

    def __init__(self, algorithm: BlockCipherAlgorithm, nonce: bytes) -> None:
        self.algorithm = algorithm
        self.key = GhashKey(algorithm)
        if len(nonce) == 12:
            j0 = int.from_bytes(nonce + b"\0\0\0\1", "big")
        else:
            ghash = Ghash(self.key)
            ghash.update(nonce)
            j0 = ghash.final(lengths(0, len(nonce)))
        self.mask = int.from_bytes(start(algorithm, modes.ECB(), True).update(j0.to_bytes(16, "big")), "big")
        self.first = after(j0)

    def in_two(self, encrypt: bool, ghash: Ghash, aad: int, payload: int) -> _InTwo:
        return _InTwo(encrypt, self.mask, ghash, Gctr(self.algorithm, self.first, payload), aad, payload)


class _Encryptor:
    """The library's, and the octets that are no whole block yet."""

    def __init__(self, algorithm: BlockCipherAlgorithm, nonce: bytes) -> None:
        self._native = Cipher(algorithm, modes.GCM(nonce)).encryptor()
        self._aad = self._payload = 0
        self._partial = b""

    def update_aad(self, data: Buffer) -> None:
        self._native.authenticate_additional_data(data)
        self._aad += len(data)
        self._keep_partial(data, self._aad % 16)

    def update_payload(self, data: Buffer) -> bytes:
        out = self._native.update(data)
        self._payload += len(data)
        self._keep_partial(out, self._payload % 16)
        return out

    def _keep_partial(self, data: Buffer, size: int) -> None:
        self._partial = (self._partial + bytes(data[-size:]))[-size:] if size else b""

    def tag(self) -> bytes:
        self._native.finalize()
        return self._native.tag

    def in_two(self, counters: _Counters) -> _InTwo:
        key = counters.key
        state = key.over_h(int.from_bytes(self.tag(), "big") ^ counters.mask) ^ lengths(self._aad, self._payload)
        if self._partial:
            state = key.over_h(state) ^ int.from_bytes(self._partial.ljust(16, b"\0"), "big")
        return counters.in_two(True, Ghash(key, state, self._partial), self._aad, self._payload)


class _Decryptor:
    """The library's, and what it was fed."""

    def __init__(self, algorithm: BlockCipherAlgorithm, nonce: bytes, tag_len: int) -> None:
        self._native = Cipher(algorithm, modes.GCM(nonce, None, tag_len)).decryptor()
        self._aad: list[bytes] = []
        self._payload: list[bytes] = []
        self.kept = 0

    def update_aad(self, data: Buffer) -> None:
        self._native.authenticate_additional_data(data)
        self._aad.append(bytes(data))
        self.kept += len(data)

    def update_payload(self, data: Buffer) -> bytes:
        self._payload.append(bytes(data))
        self.kept += len(data)
        return self._native.update(data)

    def last_payload(self, data: Buffer, tag: Buffer) -> bytes:
        """InvalidTag."""
        out = self._native.update(data)
        self._native.finalize_with_tag(bytes(tag))
        return out

    def in_two(self, counters: _Counters) -> _InTwo:
        ghash = Ghash(counters.key)
        for data in self._aad:
            ghash.update(data)
        if self._payload:
            ghash.pad()
        for data in self._payload:
            ghash.update(data)
        return counters.in_two(False, ghash, sum(map(len, self._aad)), sum(map(len, self._payload)))


class Gcm(AuthencCtx):
    """Nonces of any length and tags of up to 16 octets; additional data must come before the payload.

    TEE_ERROR_BAD_PARAMETERS for other lengths and order, TEE_ERROR_BAD_STATE after the end.
    """

    __slots__ = ("_algorithm", "_encrypt", "_engine", "_nonce", "_payload", "tag_len")
    _engine: _Encryptor | _Decryptor | _InTwo | None

    def __init__(self, mode: int, key: Buffer, nonce: Buffer, tag_len: int, aad_len: int, payload_len: int) -> None:
        self._encrypt = is_encrypt(mode)
        self._algorithm = AES.keyed(key, gp.TEE_ERROR_BAD_PARAMETERS)
        if tag_len > 16:
            raise _bad_parameters(f"a tag of {tag_len} bytes; GCM has up to 16")
        self.tag_len = tag_len
        self._nonce = bytes(nonce)
        self._payload = 0
        if len(nonce) not in _LIBRARY_NONCES or tag_len < _LIBRARY_MIN_TAG:
            counters = _Counters(self._algorithm, self._nonce)
            self._engine = counters.in_two(self._encrypt, Ghash(counters.key), 0, 0)
        elif self._encrypt:
            self._engine = _Encryptor(self._algorithm, self._nonce)
        else:
            self._engine = _Decryptor(self._algorithm, self._nonce, tag_len)

    def _running(self) -> _Encryptor | _Decryptor | _InTwo:
        if self._engine is None:
            raise TeeError(gp.TEE_ERROR_BAD_STATE, "this GCM operation has ended")
        return self._engine

    def _end(self) -> _Encryptor | _Decryptor | _InTwo:
        engine, self._engine = self._running(), None
        return engine

    def update_aad(self, data: Buffer) -> None:
        engine = self._running()
        if self._payload:
            raise _bad_parameters("additional data after payload")
        if len(data):
            engine.update_aad(data)
            self._limit_kept(engine)

    def update_payload(self, data: Buffer) -> bytes:
        engine = self._running()
        if not len(data):
            return b""
        self._count(data)
        out = engine.update_payload(data if self._encrypt else bytes(data))  # decryption reads it twice
        self._limit_kept(engine)
        return out

    def _count(self, data: Buffer) -> None:
        payload = self._payload + len(data)
        if payload > _MAX_PAYLOAD:
            raise _bad_parameters(f"{payload} bytes of payload; GCM takes {_MAX_PAYLOAD} under one nonce")
        self._payload = payload

    def _limit_kept(self, engine: _Encryptor | _Decryptor | _InTwo) -> None:
        if isinstance(engine, _Decryptor) and engine.kept > MAX_KEPT:
            self._in_two()

    def _in_two(self) -> _InTwo:
        engine = self._running()
        if not isinstance(engine, _InTwo):
            engine = self._engine = engine.in_two(_Counters(self._algorithm, self._nonce))
        return engine

    def enc_final(self, data: Buffer) -> tuple[bytes, bytes]:
        out = self.update_payload(data)
        engine = self._end()
        assert not isinstance(engine, _Decryptor), "who decrypts ends with dec_final"
        return out, engine.tag()[: self.tag_len]

    def dec_final(self, data: Buffer, tag: Buffer) -> bytes:
        self._running()
        if len(tag) != self.tag_len:
            raise TeeError(gp.TEE_ERROR_MAC_INVALID, f"a tag of {len(tag)} bytes instead of {self.tag_len}")
        self._count(data)
        engine = self._end()
        assert not isinstance(engine, _Encryptor), "who encrypts ends with enc_final"
        try:
            return engine.last_payload(bytes(data), tag)
        except InvalidTag:
            raise TeeError(gp.TEE_ERROR_MAC_INVALID, "the tag of GCM is not that of key, nonce and data") from None

    def copy(self) -> "Gcm":
        twin = Gcm.__new__(Gcm)
        for name in Gcm.__slots__:
            setattr(twin, name, getattr(self, name))
        if self._engine is not None:
            twin._engine = self._in_two().copy()
        return twin


def _bad_parameters(why: str) -> TeeError:
    return TeeError(gp.TEE_ERROR_BAD_PARAMETERS, why)
