"""Keys derived from the hardware unique key. Mirrors core/kernel/huk_subkey.c."""

import hmac
import struct

from optemu.abi import gp
from optemu.errors import TeeError

HUK_SUBKEY_RPMB = 0
HUK_SUBKEY_SSK = 1
HUK_SUBKEY_DIE_ID = 2
HUK_SUBKEY_UNIQUE_TA = 3
HUK_SUBKEY_TA_ENC = 4
HUK_SUBKEY_MAX_LEN = 32
_U32 = struct.Struct("<I")


def huk_subkey_derive(huk: bytes, usage: int, size: int, const_data: bytes = b"") -> bytes:
    """``size`` bytes, HUK_SUBKEY_MAX_LEN at most: HMAC-SHA-256 of the usage and ``const_data`` with the unique key."""
    if size > HUK_SUBKEY_MAX_LEN:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"a derived key of {size} bytes")
    return hmac.digest(huk, _U32.pack(usage) + const_data, "sha256")[:size]
