"""RPMB requests and frames: tee-supplicant/src/rpmb.c, core/tee/tee_rpmb_fs.c, JEDEC JESD84-B51 section 6.6.22."""

import struct
from typing import Final

# struct rpmb_req: cmd, dev_id, block_count (little endian); data frames follow
RPMB_REQ: Final = struct.Struct("<HHH")
RPMB_CMD_DATA_REQ: Final = 0
RPMB_CMD_GET_DEV_INFO: Final = 1

# struct rpmb_dev_info: cid, rpmb_size_mult (EXT_CSD 168), rel_wr_sec_c (EXT_CSD 222), ret_code
RPMB_DEV_INFO: Final = struct.Struct("<16sBBB")
RPMB_CMD_GET_DEV_INFO_RET_OK: Final = 0

# struct rpmb_data_frame (big endian): stuff bytes, key or MAC, data, nonce, write counter, address, block count,
# result, message type
RPMB_DATA_FRAME: Final = struct.Struct(">196s32s256s16sIHHHH")
RPMB_FRAME_SIZE: Final = RPMB_DATA_FRAME.size
RPMB_MSG_TYPE_OFFSET: Final = RPMB_FRAME_SIZE - 2

RPMB_MSG_TYPE_REQ_AUTH_KEY_PROGRAM: Final = 0x0001
RPMB_MSG_TYPE_REQ_WRITE_COUNTER_VAL_READ: Final = 0x0002
RPMB_MSG_TYPE_REQ_AUTH_DATA_WRITE: Final = 0x0003
RPMB_MSG_TYPE_REQ_AUTH_DATA_READ: Final = 0x0004
RPMB_MSG_TYPE_REQ_RESULT_READ: Final = 0x0005
