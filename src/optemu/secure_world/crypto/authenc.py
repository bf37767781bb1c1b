"""Authenticated encryption by number. Mirrors crypto_authenc_alloc_ctx in core/crypto/crypto.c."""

from typing import Final

from optemu.abi import cryp
from optemu.secure_world.crypto.ccm import Ccm
from optemu.secure_world.crypto.gcm import Gcm
from optemu.secure_world.crypto.provider import AuthencFactory

AUTHENCS: Final[dict[int, AuthencFactory]] = {
    cryp.TEE_ALG_AES_CCM: Ccm,
    cryp.TEE_ALG_AES_GCM: Gcm,
}
"""TEE_ALG_* to (mode, key, nonce, lengths of tag, additional data and payload) to a context."""
