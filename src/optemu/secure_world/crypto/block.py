"""The block ciphers under the modes, each by ``cryptography``. Mirrors core/lib/libtomcrypt/des2_key.h and ciphers/."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, CipherContext, algorithms, modes

from optemu.abi import cryp, gp
from optemu.errors import TeeError
from optemu.secure_world.crypto.provider import Buffer

PlainMode: TypeAlias = modes.ECB | modes.CBC | modes.CTR | modes.XTS


@dataclass(frozen=True, slots=True)
class BlockCipher:
    """A block cipher without a key; sizes in octets."""

    name: str
    block_size: int
    key_sizes: tuple[int, ...]
    _algorithm: Callable[[bytes], BlockCipherAlgorithm]

    def keyed(self, key: Buffer, wrong: int = gp.TEE_ERROR_BAD_STATE) -> BlockCipherAlgorithm:
        """The cipher with its key; TeeError(``wrong``) for a key of a size it does not take."""
        if len(key) not in self.key_sizes:
            sizes = ", ".join(map(str, self.key_sizes))
            raise TeeError(wrong, f"a key of {len(key)} bytes; {self.name} takes {sizes}")
        return self._algorithm(bytes(key))


def start(algorithm: BlockCipherAlgorithm, mode: PlainMode, encrypt: bool) -> CipherContext:
    """A running context of the library."""
    cipher = Cipher(algorithm, mode)
    return cipher.encryptor() if encrypt else cipher.decryptor()


def is_encrypt(mode: int) -> bool:
    """TEE_ERROR_BAD_PARAMETERS for what is neither TEE_MODE_ENCRYPT nor TEE_MODE_DECRYPT."""
    if mode not in (cryp.TEE_MODE_ENCRYPT, cryp.TEE_MODE_DECRYPT):
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"mode {mode} is neither encryption nor decryption")
    return mode == cryp.TEE_MODE_ENCRYPT


def check_iv(iv: Buffer, size: int, wrong: int = gp.TEE_ERROR_BAD_PARAMETERS) -> bytes:
    """A copy of the vector; TeeError(``wrong``) unless it has ``size`` octets."""
    if len(iv) != size:
        raise TeeError(wrong, f"an initialization vector of {len(iv)} bytes instead of {size}")
    return bytes(iv)


def check_whole_blocks(data: Buffer, block_size: int, wrong: int = gp.TEE_ERROR_BAD_PARAMETERS) -> None:
    """TeeError(``wrong``) when a block is not full (tee_do_cipher_update)."""
    if len(data) % block_size:
        raise TeeError(wrong, f"{len(data)} bytes are no whole number of blocks of {block_size}")


AES: Final = BlockCipher("AES", 16, (16, 24, 32), algorithms.AES)
SM4: Final = BlockCipher("SM4", 16, (16,), algorithms.SM4)
# Triple DES with one key thrice is DES, and with two keys the third is the first.
DES: Final = BlockCipher("DES", 8, (8,), lambda key: TripleDES(key * 3))
DES3: Final = BlockCipher("DES3", 8, (16, 24), lambda key: TripleDES((key + key[:8])[:24]))
