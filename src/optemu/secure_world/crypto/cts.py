"""AES-CTS: CBC with ciphertext stealing CS3, the last two blocks always swapped. Mirrors core/crypto/aes-cts.c."""

from cryptography.hazmat.primitives.ciphers import modes

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.crypto.block import BlockCipher, start
from optemu.secure_world.crypto.cbc import Cbc
from optemu.secure_world.crypto.provider import Buffer, CipherCtx


class Cts(CipherCtx):
    """Whole blocks at each update, and at the last one more than one block, the last of which may be short."""

    __slots__ = ("_cbc", "_encrypt", "_keyed")
    block_size = 16

    def __init__(self, block: BlockCipher, mode: int, key: Buffer, key2: Buffer, iv: Buffer) -> None:
        self._keyed = block.keyed(key)
        self._cbc = Cbc(block, mode, key, key2, iv)
        self._encrypt = self._cbc.encrypt

    def update(self, data: Buffer, last: bool) -> bytes:
        if not last:
            return self._cbc.update(data, False)
        if len(data) <= 16:
            raise TeeError(gp.TEE_ERROR_BAD_STATE, f"CTS ends with more than one block, not with {len(data)} bytes")
        return self._encrypt_last(data) if self._encrypt else self._decrypt_last(data)

    def _encrypt_last(self, data: Buffer) -> bytes:
        short = len(data) % 16 or 16
        view = memoryview(data)
        head = self._cbc.update(view[: -16 - short], False)
        tail = self._cbc.update(bytes(view[-16 - short :]) + bytes(16 - short), False)
        return b"".join((head, tail[16:], tail[:short]))

    def _decrypt_last(self, data: Buffer) -> bytes:
        short = len(data) % 16 or 16
        view = memoryview(data)
        head, stolen_from, stump = view[: -16 - short], bytes(view[-16 - short : -short]), view[-short:]
        # What the last block stole is the end of what the block before it decrypts to.
        stolen = start(self._keyed, modes.ECB(), False).update(stolen_from)[short:]
        plain = self._cbc.update(head, False)
        tail = self._cbc.update(b"".join((stump, stolen, stolen_from)), False)
        return plain + tail[: 16 + short]

    def copy(self) -> "Cts":
        twin = Cts.__new__(Cts)
        twin._keyed, twin._encrypt = self._keyed, self._encrypt
        twin._cbc = self._cbc.copy()
        return twin
