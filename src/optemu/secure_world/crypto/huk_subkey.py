"""Keys derived from the hardware unique key. Mirrors core/kernel/huk_subkey.c.

Upstream's default, CFG_CORE_HUK_SUBKEY_COMPAT, derives the keys of RPMB and secure storage in ways of their own, which
are older than this function.
"""

import hmac
import struct
from typing import Final

HUK_SUBKEY_RPMB: Final = 0
HUK_SUBKEY_SSK: Final = 1
HUK_SUBKEY_DIE_ID: Final = 2
HUK_SUBKEY_UNIQUE_TA: Final = 3
HUK_SUBKEY_TA_ENC: Final = 4
HUK_SUBKEY_SE050: Final = 5

HUK_SUBKEY_MAX_LEN: Final = 32
COMPAT_CHIP_ID: Final = b"BEEF" * 8
"""Chip id that the storage key is derived from, as upstream's default has it."""
_U32 = struct.Struct("<I")
_SSK_STRING = b"ONLY_FOR_tee_fs_ssk\0"


def chip_id_of(huk_subkey: str, die_id: bytes) -> bytes | None:
    """What ``huk_subkey_derive`` needs to derive as ``[board] huk_subkey`` says."""
    return {"compat": COMPAT_CHIP_ID, "compat-die-id": die_id, "plain": None}[huk_subkey]


def huk_subkey_derive(
    huk: bytes, usage: int, size: int, const_data: bytes = b"", chip_id: bytes | None = COMPAT_CHIP_ID
) -> bytes:
    """``size`` bytes (up to HUK_SUBKEY_MAX_LEN) of HMAC-SHA-256 over usage and ``const_data``, keyed with ``huk``.

    ``chip_id`` (32 bytes) counts for HUK_SUBKEY_SSK; None: without CFG_CORE_HUK_SUBKEY_COMPAT.
    """
    prefix = _U32.pack(usage)
    if chip_id is not None and usage == HUK_SUBKEY_RPMB:
        prefix = b""
    elif chip_id is not None and usage == HUK_SUBKEY_SSK:
        prefix = chip_id + _SSK_STRING
    return hmac.digest(huk, prefix + const_data, "sha256")[:size]
