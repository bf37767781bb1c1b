"""CBC-MAC. Mirrors core/crypto/cbc-mac.c."""

from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, CipherContext, modes

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.crypto.block import BlockCipher, start
from optemu.secure_world.crypto.provider import Buffer, MacCtx

_PIECE = 1 << 14
"""Octets encrypted at a time: all but a block of them is thrown away, and small pieces are cheap to get again."""


class CbcChain:
    """CBC encryption of data of any length, of which only the last block is kept. CCM's MAC is one as well."""

    __slots__ = ("_algorithm", "_native", "_size", "last", "partial")

    def __init__(self, algorithm: BlockCipherAlgorithm, last: bytes = b"", partial: bytes = b"") -> None:
        """``last`` is the block before, zeros at first; ``partial`` what still waits for a whole block."""
        self._algorithm = algorithm
        self._size = algorithm.block_size // 8
        self.last = last
        self.partial = partial
        self._native: CipherContext = start(algorithm, modes.CBC(last or bytes(self._size)), True)

    def update(self, data: Buffer) -> None:
        if not self.partial and not len(data) % self._size:
            self._chain(data)
            return
        view = memoryview(data)
        if self.partial:
            missing = self._size - len(self.partial)
            self.partial += view[:missing]
            if len(self.partial) < self._size:
                return
            self._chain(self.partial)
            view = view[missing:]
        whole = len(view) - len(view) % self._size
        self._chain(view[:whole])
        self.partial = bytes(view[whole:])

    def _chain(self, blocks: Buffer) -> None:
        view = memoryview(blocks)
        for at in range(0, len(view), _PIECE):
            self.last = self._native.update(view[at : at + _PIECE])[-self._size :]

    def pad_with_zeros(self) -> None:
        if self.partial:
            self.update(bytes(self._size - len(self.partial)))

    def copy(self) -> "CbcChain":
        return CbcChain(self._algorithm, self.last, self.partial)


class CbcMac(MacCtx):
    """Without padding it takes whole blocks, and one at least: else ``final`` gives TEE_ERROR_BAD_STATE."""

    __slots__ = ("_chain", "_pkcs5", "digest_size")

    def __init__(self, block: BlockCipher, key: Buffer, pkcs5: bool = False) -> None:
        self.digest_size = block.block_size
        self._pkcs5 = pkcs5
        self._chain = CbcChain(block.keyed(key))

    def update(self, data: Buffer) -> None:
        self._chain.update(data)

    def final(self) -> bytes:
        chain = self._chain
        if self._pkcs5:
            chain = chain.copy()
            pad = self.digest_size - len(chain.partial)
            chain.update(bytes([pad]) * pad)
        if chain.partial or not chain.last:
            raise TeeError(
                gp.TEE_ERROR_BAD_STATE,
                f"CBC-MAC without padding takes whole blocks of {self.digest_size} bytes, and one at least",
            )
        return chain.last

    def copy(self) -> "CbcMac":
        twin = CbcMac.__new__(CbcMac)
        twin.digest_size, twin._pkcs5 = self.digest_size, self._pkcs5
        twin._chain = self._chain.copy()
        return twin
