"""XTS. Mirrors core/lib/libtomcrypt/xts.c and core/crypto/sm4-xts.c.

All updates together are one data unit. ``cryptography`` takes each update for a unit of its own and does only AES with
two different keys of 128 or 256 bits; so each update starts natively with the vector that the second key encrypts to
the tweak of that place, as upstream keeps it, and the other keys and ciphers go through ECB.
"""

from cryptography.hazmat.primitives.ciphers import CipherContext, algorithms, modes

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.crypto.block import BlockCipher, check_iv, check_whole_blocks, is_encrypt, start
from optemu.secure_world.crypto.gf128 import MAX_COUNT, geometric, times_x
from optemu.secure_world.crypto.provider import Buffer, CipherCtx


def _whiten(ecb: CipherContext, data: memoryview, tweak: int) -> bytes:
    """Whole blocks through XTS, the first with ``tweak``."""
    parts = []
    for at in range(0, len(data), 16 * MAX_COUNT):
        part = data[at : at + 16 * MAX_COUNT]
        size = len(part)
        tweaks = geometric(times_x(tweak, at // 16), size // 16)
        inner = ecb.update((int.from_bytes(part, "little") ^ tweaks).to_bytes(size, "little"))
        parts.append((int.from_bytes(inner, "little") ^ tweaks).to_bytes(size, "little"))
    return b"".join(parts)


class Xts(CipherCtx):
    """Whole blocks at each update; the last may end with a short block when a whole one goes before it."""

    __slots__ = ("_both", "_done", "_encrypt", "_first", "_iv", "_key1", "_key2", "_to_iv")
    block_size = 16

    def __init__(
        self,
        block: BlockCipher,
        mode: int,
        key: Buffer,
        key2: Buffer,
        iv: Buffer,
        wrong_size: int = gp.TEE_ERROR_BAD_PARAMETERS,
    ) -> None:
        if len(key) != len(key2):
            raise TeeError(wrong_size, f"XTS takes two keys of one size, not of {len(key)} and {len(key2)} bytes")
        self._iv = check_iv(iv, 16, wrong_size)
        self._encrypt = is_encrypt(mode)
        self._key1 = block.keyed(key)
        self._key2 = block.keyed(key2)
        self._done = 0
        self._first: int | None = None
        self._to_iv: CipherContext | None = None
        native = isinstance(self._key1, algorithms.AES) and len(key) != 24 and bytes(key) != bytes(key2)
        self._both = algorithms.AES(bytes(key) + bytes(key2)) if native else None

    def update(self, data: Buffer, last: bool) -> bytes:
        if not len(data):
            return b""
        if not last:
            check_whole_blocks(data, 16)
        if len(data) < 16:
            raise TeeError(gp.TEE_ERROR_BAD_STATE, f"XTS needs a whole block of 16 bytes, not {len(data)} bytes")
        if self._done:
            self._go_on()
        self._done = len(data) // 16
        if self._both is not None:
            return start(self._both, modes.XTS(self._iv), self._encrypt).update(data)
        return self._by_ecb(memoryview(data))

    def _go_on(self) -> None:
        """From the place where the last update began to the one where it ended."""
        self._first = self._tweak(self._done)
        if self._both is not None:
            if self._to_iv is None:
                self._to_iv = start(self._key2, modes.ECB(), False)
            self._iv = self._to_iv.update(self._first.to_bytes(16, "little"))

    def _tweak(self, block: int) -> int:
        """Of a block that counts from the beginning of this update."""
        if self._first is None:
            self._first = int.from_bytes(start(self._key2, modes.ECB(), True).update(self._iv), "little")
        return times_x(self._first, block)

    def _by_ecb(self, data: memoryview) -> bytes:
        ecb = start(self._key1, modes.ECB(), self._encrypt)
        short = len(data) % 16
        if not short:
            return _whiten(ecb, data, self._tweak(0))
        whole = len(data) // 16 - 1
        head = _whiten(ecb, data[: 16 * whole], self._tweak(0))
        tweaks = [self._tweak(whole), self._tweak(whole + 1)]
        if not self._encrypt:
            tweaks.reverse()
        stump = data[-short:]
        stolen_from = _whiten(ecb, data[16 * whole : 16 * whole + 16], tweaks[0])
        return b"".join(
            (head, _whiten(ecb, memoryview(stump.tobytes() + stolen_from[short:]), tweaks[1]), stolen_from[:short]),
        )

    def copy(self) -> "Xts":
        twin = Xts.__new__(Xts)
        for name in Xts.__slots__:
            setattr(twin, name, getattr(self, name))
        twin._to_iv = None
        return twin
