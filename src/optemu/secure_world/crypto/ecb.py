"""ECB. Mirrors core/lib/libtomcrypt/ecb.c and core/crypto/sm4-ecb.c."""

from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, CipherContext, modes

from optemu.secure_world.crypto.block import BlockCipher, check_whole_blocks, is_encrypt, start
from optemu.secure_world.crypto.provider import Buffer, CipherCtx


class Ecb(CipherCtx):
    """Whole blocks at each update; nothing goes from one block to the next."""

    __slots__ = ("_algorithm", "_encrypt", "_native", "block_size")

    def __init__(self, block: BlockCipher, mode: int, key: Buffer, key2: Buffer, iv: Buffer) -> None:
        self._resume(block.keyed(key), is_encrypt(mode))

    def _resume(self, algorithm: BlockCipherAlgorithm, encrypt: bool) -> None:
        self._algorithm = algorithm
        self._encrypt = encrypt
        self.block_size = algorithm.block_size // 8
        self._native: CipherContext = start(algorithm, modes.ECB(), encrypt)

    def update(self, data: Buffer, last: bool) -> bytes:
        check_whole_blocks(data, self.block_size)
        return self._native.update(data)

    def copy(self) -> "Ecb":
        twin = Ecb.__new__(Ecb)
        twin._resume(self._algorithm, self._encrypt)
        return twin
