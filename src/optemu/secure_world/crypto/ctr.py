"""CTR. Mirrors core/lib/libtomcrypt/ctr.c and core/crypto/sm4-ctr.c."""

from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, CipherContext, modes

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.crypto.block import BlockCipher, check_iv, is_encrypt, start
from optemu.secure_world.crypto.provider import Buffer, CipherCtx

_COUNTERS = 1 << 128


class KeyStream:
    """The octets that CTR mixes into the data, from any position on: a 128-bit counter, big endian."""

    __slots__ = ("_algorithm", "_first", "_native", "_position")

    def __init__(self, algorithm: BlockCipherAlgorithm, first: int, position: int = 0) -> None:
        """``first`` is the counter of the first block, ``position`` counts octets."""
        self._algorithm = algorithm
        self._first = first
        self._position = position
        blocks, used = divmod(position, 16)
        counter = (first + blocks) % _COUNTERS
        self._native: CipherContext = start(algorithm, modes.CTR(counter.to_bytes(16, "big")), True)
        if used:
            self._native.update(bytes(used))

    def update(self, data: Buffer) -> bytes:
        self._position += len(data)
        return self._native.update(data)

    def copy(self) -> "KeyStream":
        return KeyStream(self._algorithm, self._first, self._position)


class Ctr(CipherCtx):
    """Data of any length at each update; of SM4, which upstream lets take whole blocks only, just those."""

    __slots__ = ("_stream", "_whole_blocks")
    block_size = 16

    def __init__(
        self,
        block: BlockCipher,
        mode: int,
        key: Buffer,
        key2: Buffer,
        iv: Buffer,
        wrong_key: int = gp.TEE_ERROR_BAD_STATE,
        whole_blocks: bool = False,
    ) -> None:
        is_encrypt(mode)
        first = int.from_bytes(check_iv(iv, block.block_size), "big")
        self._stream = KeyStream(block.keyed(key, wrong_key), first)
        self._whole_blocks = whole_blocks

    def update(self, data: Buffer, last: bool) -> bytes:
        if self._whole_blocks and len(data) % 16:
            code = gp.TEE_ERROR_NOT_SUPPORTED if last else gp.TEE_ERROR_BAD_PARAMETERS
            raise TeeError(code, f"SM4-CTR takes whole blocks of 16 bytes, not {len(data)} bytes")
        return self._stream.update(data)

    def copy(self) -> "Ctr":
        twin = Ctr.__new__(Ctr)
        twin._stream = self._stream.copy()
        twin._whole_blocks = self._whole_blocks
        return twin
