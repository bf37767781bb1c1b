"""What the RPMB file system keeps in the device's blocks: core/tee/tee_rpmb_fs.c."""

import struct
from typing import Final

RPMB_STORAGE_START_ADDRESS: Final = 0
RPMB_FS_FAT_START_ADDRESS: Final = 512
RPMB_FS_MAGIC: Final = 0x52504D42
FS_VERSION: Final = 2

# struct rpmb_fs_partition: magic, version, write counter (unused), address of the first FAT entry, reserved
RPMB_FS_PARTITION: Final = struct.Struct("<IIII112s")

# struct rpmb_fat_entry: start address and size of the data, flags, unused, encrypted FEK, file name
RPMB_FAT_ENTRY: Final = struct.Struct("<IIII16s224s")
FILE_IS_ACTIVE: Final = 1 << 0
FILE_IS_LAST_ENTRY: Final = 1 << 1
TEE_RPMB_FS_FILENAME_LENGTH: Final = 224

RPMB_ROOT_NAME: Final = b"/dirfile.db.hash"
"""The file with the REE file system's root, CFG_REE_FS_INTEGRITY_RPMB (core/tee/tee_ree_fs.c)."""
