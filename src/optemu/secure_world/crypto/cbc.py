"""CBC. Mirrors core/lib/libtomcrypt/cbc.c and core/crypto/sm4-cbc.c."""

from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, CipherContext, modes

from optemu.abi import gp
from optemu.secure_world.crypto.block import BlockCipher, check_iv, check_whole_blocks, is_encrypt, start
from optemu.secure_world.crypto.provider import Buffer, CipherCtx


class Cbc(CipherCtx):
    """Whole blocks at each update. A copy goes on with the last block of ciphertext for its vector."""

    __slots__ = ("_algorithm", "_chained", "_native", "block_size", "encrypt")

    def __init__(
        self,
        block: BlockCipher,
        mode: int,
        key: Buffer,
        key2: Buffer,
        iv: Buffer,
        wrong_key: int = gp.TEE_ERROR_BAD_STATE,
    ) -> None:
        chained = check_iv(iv, block.block_size)
        self._resume(block.keyed(key, wrong_key), is_encrypt(mode), chained)

    def _resume(self, algorithm: BlockCipherAlgorithm, encrypt: bool, chained: bytes) -> None:
        self._algorithm = algorithm
        self.encrypt = encrypt
        self._chained = chained
        self.block_size = algorithm.block_size // 8
        self._native: CipherContext = start(algorithm, modes.CBC(chained), encrypt)

    def update(self, data: Buffer, last: bool) -> bytes:
        check_whole_blocks(data, self.block_size)
        out = self._native.update(data)
        if out:
            self._chained = out[-self.block_size :] if self.encrypt else bytes(data[-self.block_size :])
        return out

    def copy(self) -> "Cbc":
        twin = Cbc.__new__(Cbc)
        twin._resume(self._algorithm, self.encrypt, self._chained)
        return twin
