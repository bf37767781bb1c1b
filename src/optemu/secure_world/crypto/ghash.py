"""GHASH, running and copyable, by the library's AES-GCM. Mirrors what core/crypto/aes-gcm.c keeps in hash_state.

GCM's tag over additional data alone is GHASH of that data and a length block, under a mask. Mask, length block and
the last multiplication can be undone, which gives the state; and one block chosen for it takes a new context there.
"""

from functools import cached_property

from cryptography.hazmat.primitives.ciphers import AEADEncryptionContext, BlockCipherAlgorithm, Cipher, modes

from optemu.secure_world.crypto.block import start
from optemu.secure_world.crypto.gf128 import inverse_mirrored, times_mirrored
from optemu.secure_world.crypto.provider import Buffer

_NONCE = bytes(12)


def lengths(aad: int, text: int) -> int:
    """The block that GHASH ends with, from octets."""
    return aad << 67 | text << 3


class GhashKey:
    """What of GHASH depends only on the key. Blocks are numbers, big endian."""

    def __init__(self, algorithm: BlockCipherAlgorithm) -> None:
        self._algorithm = algorithm
        blocks = start(algorithm, modes.ECB(), True).update(bytes(16) + _NONCE + b"\0\0\0\1")
        self.h = int.from_bytes(blocks[:16], "big")
        self.mask = int.from_bytes(blocks[16:], "big")

    @cached_property
    def inverse(self) -> int:
        return inverse_mirrored(self.h)

    def times_h(self, block: int) -> int:
        return times_mirrored(block, self.h)

    def over_h(self, block: int) -> int:
        return times_mirrored(block, self.inverse)

    def context(self) -> AEADEncryptionContext:
        return Cipher(self._algorithm, modes.GCM(_NONCE)).encryptor()


class Ghash:
    """A running GHASH."""

    __slots__ = ("_fed", "_key", "_native", "_partial")

    def __init__(self, key: GhashKey, state: int = 0, partial: bytes = b"") -> None:
        """Goes on from the ``state`` after the whole blocks before, and ``partial`` of the next block."""
        self._key = key
        self._partial = partial
        self._resume(state)

    def _resume(self, state: int) -> None:
        self._native = self._key.context()
        self._fed = 0
        if state:
            self._feed(self._key.over_h(state).to_bytes(16, "big"))

    def _feed(self, blocks: Buffer) -> None:
        self._native.authenticate_additional_data(blocks)
        self._fed += len(blocks)

    def update(self, data: Buffer) -> None:
        """Data of any length."""
        view = memoryview(data)
        if self._partial:
            missing = 16 - len(self._partial)
            self._partial += view[:missing]
            if len(self._partial) < 16:
                return
            self._feed(self._partial)
            view = view[missing:]
        whole = len(view) - len(view) % 16
        if whole:
            self._feed(view[:whole])
        self._partial = bytes(view[whole:])

    def pad(self) -> None:
        """Zeros to the end of a block that was begun."""
        if self._partial:
            self.update(bytes(16 - len(self._partial)))

    def final(self, end: int) -> int:
        """The hash, with ``end`` for its last block. Nothing can be fed afterwards."""
        self.pad()
        return self._finalize() ^ self._key.times_h(lengths(self._fed, 0) ^ end)

    def _finalize(self) -> int:
        self._native.finalize()
        return int.from_bytes(self._native.tag, "big") ^ self._key.mask

    def copy(self) -> "Ghash":
        state = self._key.over_h(self._finalize()) ^ lengths(self._fed, 0)
        self._resume(state)
        return Ghash(self._key, state, self._partial)
