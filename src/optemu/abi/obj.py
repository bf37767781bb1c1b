"""Objects and trusted storage as a TA sees them: lib/libutee/include/tee_api_defines.h, utee_types.h."""

import struct
from typing import Final

# struct utee_attribute: a (or pointer), b (or length), attribute id; padded to eight bytes on both word sizes
UTEE_ATTRIBUTE: Final = struct.Struct("<QQI4x")
# struct utee_object_info: type, size, maximum size, usage, data size, data position, handle flags
UTEE_OBJECT_INFO: Final = struct.Struct("<7I")

# struct tee_svc_storage_head: attribute size, size, maximum size, usage, type, which attributes are set
TEE_SVC_STORAGE_HEAD: Final = struct.Struct("<6I")
TEE_SVC_STORAGE_HEAD_USAGE: Final = 12

# --- storage -------------------------------------------------------------------------------------------------
TEE_STORAGE_PRIVATE: Final = 0x00000001
TEE_STORAGE_PRIVATE_REE: Final = 0x80000000
TEE_STORAGE_PRIVATE_RPMB: Final = 0x80000100

# --- how an object is opened ---------------------------------------------------------------------------------
TEE_DATA_FLAG_ACCESS_READ: Final = 0x1
TEE_DATA_FLAG_ACCESS_WRITE: Final = 0x2
TEE_DATA_FLAG_ACCESS_WRITE_META: Final = 0x4
TEE_DATA_FLAG_SHARE_READ: Final = 0x10
TEE_DATA_FLAG_SHARE_WRITE: Final = 0x20
TEE_DATA_FLAG_OVERWRITE: Final = 0x400
TEE_DATA_MAX_POSITION: Final = 0xFFFFFFFF
TEE_OBJECT_ID_MAX_LEN: Final = 64

# --- what a handle is ----------------------------------------------------------------------------------------
TEE_HANDLE_FLAG_PERSISTENT: Final = 0x10000
TEE_HANDLE_FLAG_INITIALIZED: Final = 0x20000
TEE_HANDLE_FLAG_KEY_SET: Final = 0x40000
TEE_HANDLE_FLAG_EXPECT_TWO_KEYS: Final = 0x80000
TEE_HANDLE_FLAG_EXTRACTING: Final = 0x100000

# --- seeking -------------------------------------------------------------------------------------------------
TEE_DATA_SEEK_SET: Final = 0
TEE_DATA_SEEK_CUR: Final = 1
TEE_DATA_SEEK_END: Final = 2
