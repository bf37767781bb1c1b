"""GlobalPlatform numbers: result codes, origins, parameter types, logins, UUIDs.

Sources: TEE Internal Core API 1.3.1 (section 3.3.3, 4.3), TEE Client API 1.0 (section 4.4).
"""

import struct
from typing import Final

# --- TEE_Result -----------------------------------------------------------------------------------
TEE_SUCCESS: Final = 0x00000000
TEE_ERROR_CORRUPT_OBJECT: Final = 0xF0100001
TEE_ERROR_CORRUPT_OBJECT_2: Final = 0xF0100002
TEE_ERROR_STORAGE_NOT_AVAILABLE: Final = 0xF0100003
TEE_ERROR_STORAGE_NOT_AVAILABLE_2: Final = 0xF0100004
TEE_ERROR_UNSUPPORTED_VERSION: Final = 0xF0100005
TEE_ERROR_CIPHERTEXT_INVALID: Final = 0xF0100006
TEE_ERROR_GENERIC: Final = 0xFFFF0000
TEE_ERROR_ACCESS_DENIED: Final = 0xFFFF0001
TEE_ERROR_CANCEL: Final = 0xFFFF0002
TEE_ERROR_ACCESS_CONFLICT: Final = 0xFFFF0003
TEE_ERROR_EXCESS_DATA: Final = 0xFFFF0004
TEE_ERROR_BAD_FORMAT: Final = 0xFFFF0005
TEE_ERROR_BAD_PARAMETERS: Final = 0xFFFF0006
TEE_ERROR_BAD_STATE: Final = 0xFFFF0007
TEE_ERROR_ITEM_NOT_FOUND: Final = 0xFFFF0008
TEE_ERROR_NOT_IMPLEMENTED: Final = 0xFFFF0009
TEE_ERROR_NOT_SUPPORTED: Final = 0xFFFF000A
TEE_ERROR_NO_DATA: Final = 0xFFFF000B
TEE_ERROR_OUT_OF_MEMORY: Final = 0xFFFF000C
TEE_ERROR_BUSY: Final = 0xFFFF000D
TEE_ERROR_COMMUNICATION: Final = 0xFFFF000E
TEE_ERROR_SECURITY: Final = 0xFFFF000F
TEE_ERROR_SHORT_BUFFER: Final = 0xFFFF0010
TEE_ERROR_EXTERNAL_CANCEL: Final = 0xFFFF0011
TEE_ERROR_OVERFLOW: Final = 0xFFFF300F
TEE_ERROR_TARGET_DEAD: Final = 0xFFFF3024
TEE_ERROR_STORAGE_NO_SPACE: Final = 0xFFFF3041
TEE_ERROR_MAC_INVALID: Final = 0xFFFF3071
TEE_ERROR_SIGNATURE_INVALID: Final = 0xFFFF3072
TEE_ERROR_TIME_NOT_SET: Final = 0xFFFF5000
TEE_ERROR_TIME_NEEDS_RESET: Final = 0xFFFF5001

_RESULT_NAMES: Final[dict[int, str]] = {
    value: name for name, value in list(globals().items()) if name.startswith(("TEE_SUCCESS", "TEE_ERROR_"))
}


def result_name(code: int) -> str:
    """``TEE_ERROR_BUSY`` for 0xFFFF000D; the hexadecimal number when the code has no name."""
    return _RESULT_NAMES.get(code & 0xFFFFFFFF) or f"0x{code & 0xFFFFFFFF:08x}"


# --- origins (TEE Client API 4.4.3) -----------------------------------------------------------------
TEE_ORIGIN_API: Final = 1
TEE_ORIGIN_COMMS: Final = 2
TEE_ORIGIN_TEE: Final = 3
TEE_ORIGIN_TRUSTED_APP: Final = 4
ORIGIN_NAMES: Final = {1: "API", 2: "COMMS", 3: "TEE", 4: "TRUSTED_APP"}

# --- parameters -----------------------------------------------------------------------------------
TEE_NUM_PARAMS: Final = 4
TEE_PARAM_TYPE_NONE: Final = 0
TEE_PARAM_TYPE_VALUE_INPUT: Final = 1
TEE_PARAM_TYPE_VALUE_OUTPUT: Final = 2
TEE_PARAM_TYPE_VALUE_INOUT: Final = 3
TEE_PARAM_TYPE_MEMREF_INPUT: Final = 5
TEE_PARAM_TYPE_MEMREF_OUTPUT: Final = 6
TEE_PARAM_TYPE_MEMREF_INOUT: Final = 7
PARAM_TYPE_NAMES: Final = {
    0: "none",
    1: "value_in",
    2: "value_out",
    3: "value_inout",
    5: "memref_in",
    6: "memref_out",
    7: "memref_inout",
}

# --- logins ----------------------------------------------------------------------------------------
TEE_LOGIN_PUBLIC: Final = 0
TEE_LOGIN_USER: Final = 1
TEE_LOGIN_GROUP: Final = 2
TEE_LOGIN_APPLICATION: Final = 4
TEE_LOGIN_APPLICATION_USER: Final = 5
TEE_LOGIN_APPLICATION_GROUP: Final = 6
TEE_LOGIN_REE_KERNEL: Final = 0x80000000
TEE_LOGIN_TRUSTED_APP: Final = 0xF0000000

# --- memory access rights (Internal Core API 4.11) ----------------------------------------------------
TEE_MEMORY_ACCESS_READ: Final = 1
TEE_MEMORY_ACCESS_WRITE: Final = 2
TEE_MEMORY_ACCESS_ANY_OWNER: Final = 4

TEE_TIMEOUT_INFINITE: Final = 0xFFFFFFFF

# --- UUIDs --------------------------------------------------------------------------------------------
# A UUID is kept as 16 octets in RFC 4122 order (time_low first, big endian) wherever Python holds it;
# TEE_UUID in memory is the C struct, little endian in its first three fields.
_TEE_UUID = struct.Struct("<IHH8s")
_RFC4122 = struct.Struct(">IHH8s")
NIL_UUID: Final = bytes(16)


def uuid_from_memory(raw: bytes) -> bytes:
    """TEE_UUID as it lies in memory (16 bytes) to RFC 4122 octets."""
    return _RFC4122.pack(*_TEE_UUID.unpack(raw))


def uuid_to_memory(octets: bytes) -> bytes:
    """RFC 4122 octets to TEE_UUID as it lies in memory (16 bytes)."""
    return _TEE_UUID.pack(*_RFC4122.unpack(octets))


def uuid_str(octets: bytes) -> str:
    """``8aaaf200-2450-11e4-abe2-0002a5d5c51b`` for 16 octets."""
    h = octets.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def uuid_octets(text: str) -> bytes:
    """The 16 octets of a textual UUID; ValueError when it is none."""
    try:
        octets = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        octets = b""
    if len(octets) != 16 or uuid_str(octets) != text.lower():
        raise ValueError(f"{text!r} is not a UUID (8-4-4-4-12 hexadecimal digits)")
    return octets
