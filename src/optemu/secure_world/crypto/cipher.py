"""The symmetric ciphers by number. Mirrors crypto_cipher_alloc_ctx in core/crypto/crypto.c.

Lengths are refused with the codes of tee_do_cipher_update and of each cipher's own init and update.
"""

from functools import partial
from typing import Final

from optemu.abi import cryp, gp
from optemu.secure_world.crypto.block import AES, DES, DES3, SM4
from optemu.secure_world.crypto.cbc import Cbc
from optemu.secure_world.crypto.ctr import Ctr
from optemu.secure_world.crypto.cts import Cts
from optemu.secure_world.crypto.ecb import Ecb
from optemu.secure_world.crypto.provider import CipherFactory
from optemu.secure_world.crypto.xts import Xts

_BAD_PARAMETERS: Final = gp.TEE_ERROR_BAD_PARAMETERS

CIPHERS: Final[dict[int, CipherFactory]] = {
    cryp.TEE_ALG_AES_ECB_NOPAD: partial(Ecb, AES),
    cryp.TEE_ALG_AES_CBC_NOPAD: partial(Cbc, AES),
    cryp.TEE_ALG_AES_CTR: partial(Ctr, AES),
    cryp.TEE_ALG_AES_CTS: partial(Cts, AES),
    cryp.TEE_ALG_AES_XTS: partial(Xts, AES),
    cryp.TEE_ALG_DES_ECB_NOPAD: partial(Ecb, DES),
    cryp.TEE_ALG_DES_CBC_NOPAD: partial(Cbc, DES),
    cryp.TEE_ALG_DES3_ECB_NOPAD: partial(Ecb, DES3),
    cryp.TEE_ALG_DES3_CBC_NOPAD: partial(Cbc, DES3),
    cryp.TEE_ALG_SM4_ECB_NOPAD: partial(Ecb, SM4),
    cryp.TEE_ALG_SM4_CBC_NOPAD: partial(Cbc, SM4, wrong_key=_BAD_PARAMETERS),
    cryp.TEE_ALG_SM4_CTR: partial(Ctr, SM4, wrong_key=_BAD_PARAMETERS, whole_blocks=True),
    cryp.TEE_ALG_SM4_XTS: partial(Xts, SM4, wrong_size=gp.TEE_ERROR_BAD_STATE),
}
"""TEE_ALG_* to (mode, key, second key, vector) to a context; TEE_ERROR_BAD_STATE and _BAD_PARAMETERS."""
