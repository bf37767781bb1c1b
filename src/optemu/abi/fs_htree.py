"""Files of the REE file system: core/include/tee/fs_htree.h, core/tee/fs_htree.c, fs_dirfile.c and tee_ree_fs.c.

A file is a head, then nodes and blocks in groups; of each there are two copies, one of them committed. All numbers
are little endian.
"""

import struct
from typing import Final

TEE_FS_HTREE_HASH_SIZE: Final = 32
TEE_FS_HTREE_IV_SIZE: Final = 16
TEE_FS_HTREE_FEK_SIZE: Final = 16
TEE_FS_HTREE_TAG_SIZE: Final = 16
REE_FS_BLOCK_SIZE: Final = 4096

# struct tee_fs_htree_node_image: hash, iv, tag, flags
NODE_IMAGE: Final = struct.Struct("<32s16s16sH")
# What of it the hash counts: iv, tag, flags
NODE_BODY: Final = struct.Struct("<16s16sH")
HTREE_NODE_COMMITTED_BLOCK: Final = 1
HTREE_NODE_COMMITTED_CHILD: Final = (2, 4)
"""By the lowest bit of the child's number."""

# struct tee_fs_htree_image: iv, tag, enc_fek, imeta (encrypted), counter
IMAGE: Final = struct.Struct("<16s16s16s16sI")
# struct tee_fs_htree_imeta: meta.length, max_node_id
IMETA: Final = struct.Struct("<QI4x")
# struct tee_fs_htree_meta: length
META: Final = struct.Struct("<Q")
COUNTER: Final = struct.Struct("<I")

# struct dirfile_entry: uuid (as in memory), oid, oidlen, hash, file_number
DIRFILE_ENTRY: Final = struct.Struct("<16s64sI32sI")
OID_EMPTY_NAME: Final = 1
"""First octet of oid where the identifier is empty; an entry where it is zero is free."""
DIRFILE_NAME: Final = b"dirf.db"
