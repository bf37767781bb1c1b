"""Keys of trusted storage: HUK and chip id -> SSK -> TSK -> FEK. Mirrors core/tee/tee_fs_key_manager.c.

The secure storage key (SSK) is the device's; a TA storage key (TSK) belongs to the TA with a UUID, or to none
(``None``: the database of the REE file system). It encrypts the key of each file (FEK), which is stored so.
"""

import hashlib
import hmac
import struct
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB

from optemu.abi import gp
from optemu.secure_world.crypto.huk_subkey import COMPAT_CHIP_ID, HUK_SUBKEY_SSK, huk_subkey_derive
from optemu.secure_world.crypto.provider import Rng

TEE_FS_KM_SSK_SIZE: Final = 32
TEE_FS_KM_FEK_SIZE: Final = 16
_BLOCK_INDEX = struct.Struct("<H14x")
_TSK_KEPT = 256


class KeyManager:
    """``huk``: 16 bytes; ``chip_id`` as for huk_subkey_derive."""

    def __init__(self, huk: bytes, chip_id: bytes | None = COMPAT_CHIP_ID) -> None:
        self._ssk = huk_subkey_derive(huk, HUK_SUBKEY_SSK, TEE_FS_KM_SSK_SIZE, chip_id=chip_id)
        self._tsks: dict[bytes | None, tuple[CipherContext, CipherContext]] = {}
        self._last_file: tuple[tuple[bytes | None, bytes], AES, CipherContext] | None = None
        """Whose block was encrypted or decrypted last, and with what: files have many blocks."""

    def _tsk(self, uuid: bytes | None) -> tuple[CipherContext, CipherContext]:
        """AES with the TSK of ``uuid`` (RFC 4122 octets), to encrypt and to decrypt; blocks have nothing to do with
        each other."""
        tsk = self._tsks.get(uuid)
        if tsk is None:
            if len(self._tsks) >= _TSK_KEPT:
                self._tsks.clear()
            # One octet, so that no UUID has the key that is no TA's.
            owner = b"\0" if uuid is None else gp.uuid_to_memory(uuid)
            aes = Cipher(AES(hmac.digest(self._ssk, owner, "sha256")), ECB())
            tsk = self._tsks[uuid] = aes.encryptor(), aes.decryptor()
        return tsk

    def encrypt_fek(self, uuid: bytes | None, fek: bytes) -> bytes:
        """tee_fs_fek_crypt(TEE_MODE_ENCRYPT)"""
        return self._tsk(uuid)[0].update(fek)

    def decrypt_fek(self, uuid: bytes | None, enc_fek: bytes) -> bytes:
        """tee_fs_fek_crypt(TEE_MODE_DECRYPT). Whether it was the right key shows when data are verified with it."""
        return self._tsk(uuid)[1].update(enc_fek)

    def generate_fek(self, uuid: bytes | None, rng: Rng) -> bytes:
        """tee_fs_generate_fek: a new FEK, encrypted."""
        return self.encrypt_fek(uuid, rng.read(TEE_FS_KM_FEK_SIZE))

    def encrypt_block(self, uuid: bytes | None, data: bytes, block: int, enc_fek: bytes) -> bytes:
        """tee_fs_crypt_block(TEE_MODE_ENCRYPT): AES-CBC with ESSIV, for blocks of the RPMB file system."""
        return self._cbc(uuid, block, enc_fek).encryptor().update(data)

    def decrypt_block(self, uuid: bytes | None, data: bytes, block: int, enc_fek: bytes) -> bytes:
        """tee_fs_crypt_block(TEE_MODE_DECRYPT)"""
        return self._cbc(uuid, block, enc_fek).decryptor().update(data)

    def _cbc(self, uuid: bytes | None, block: int, enc_fek: bytes) -> Cipher[CBC]:
        last = self._last_file
        if last is None or last[0] != (uuid, enc_fek):
            fek = self.decrypt_fek(uuid, enc_fek)
            essiv = Cipher(AES(hashlib.sha256(fek).digest()[:16]), ECB()).encryptor()
            last = self._last_file = (uuid, enc_fek), AES(fek), essiv
        _, aes, essiv = last
        return Cipher(aes, CBC(essiv.update(_BLOCK_INDEX.pack(block & 0xFFFF))))
