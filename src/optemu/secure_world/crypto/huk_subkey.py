"""Keys derived from the hardware unique key. Mirrors core/kernel/huk_subkey.c.

Upstream's default, CFG_CORE_HUK_SUBKEY_COMPAT, derives the keys of RPMB and secure storage (usage 0 and 1) in a way
of their own; the usages here are the others.
"""

import hmac
import struct
from typing import Final

HUK_SUBKEY_DIE_ID: Final = 2
HUK_SUBKEY_UNIQUE_TA: Final = 3
HUK_SUBKEY_TA_ENC: Final = 4
HUK_SUBKEY_SE050: Final = 5

HUK_SUBKEY_MAX_LEN: Final = 32
_U32 = struct.Struct("<I")


def huk_subkey_derive(huk: bytes, usage: int, size: int, const_data: bytes = b"") -> bytes:
    """``size`` bytes (up to HUK_SUBKEY_MAX_LEN) of HMAC-SHA-256 over usage and ``const_data``, keyed with ``huk``."""
    return hmac.digest(huk, _U32.pack(usage) + const_data, "sha256")[:size]
