"""RPMB requests and frames: tee-supplicant/src/rpmb.c, core/tee/tee_rpmb_fs.c, JEDEC JESD84-B51 section 6.6.22."""

import struct
from typing import Final

# struct rpmb_req: cmd, dev_id, block_count (little endian); data frames follow
RPMB_REQ: Final = struct.Struct("<HHH")
RPMB_CMD_DATA_REQ: Final = 0
RPMB_CMD_GET_DEV_INFO: Final = 1

# One device, whatever number it has: CFG_RPMB_FS_DEV_ID
RPMB_DEV_ID: Final = 0

# struct rpmb_dev_info: cid, rpmb_size_mult (EXT_CSD 168), rel_wr_sec_c (EXT_CSD 222), ret_code
RPMB_DEV_INFO: Final = struct.Struct("<16sBBB")
RPMB_CMD_GET_DEV_INFO_RET_OK: Final = 0
RPMB_EMMC_CID_SIZE: Final = 16
RPMB_SIZE_SINGLE: Final = 128 * 1024
"""Octets for each unit of rpmb_size_mult."""

# struct rpmb_data_frame (big endian): stuff bytes, key or MAC, data, nonce, write counter, address, block count,
# result, message type
RPMB_DATA_FRAME: Final = struct.Struct(">196s32s256s16sIHHHH")
RPMB_FRAME_SIZE: Final = RPMB_DATA_FRAME.size
RPMB_MSG_TYPE_OFFSET: Final = RPMB_FRAME_SIZE - 2
RPMB_STUFF_DATA_SIZE: Final = 196
RPMB_KEY_MAC_SIZE: Final = 32
RPMB_DATA_OFFSET: Final = RPMB_STUFF_DATA_SIZE + RPMB_KEY_MAC_SIZE
"""From here on a frame is under its MAC."""
RPMB_DATA_SIZE: Final = 256
RPMB_NONCE_SIZE: Final = 16

RPMB_MSG_TYPE_REQ_AUTH_KEY_PROGRAM: Final = 0x0001
RPMB_MSG_TYPE_REQ_WRITE_COUNTER_VAL_READ: Final = 0x0002
RPMB_MSG_TYPE_REQ_AUTH_DATA_WRITE: Final = 0x0003
RPMB_MSG_TYPE_REQ_AUTH_DATA_READ: Final = 0x0004
RPMB_MSG_TYPE_REQ_RESULT_READ: Final = 0x0005
RPMB_MSG_TYPE_RESP_AUTH_KEY_PROGRAM: Final = 0x0100
RPMB_MSG_TYPE_RESP_WRITE_COUNTER_VAL_READ: Final = 0x0200
RPMB_MSG_TYPE_RESP_AUTH_DATA_WRITE: Final = 0x0300
RPMB_MSG_TYPE_RESP_AUTH_DATA_READ: Final = 0x0400

RPMB_RESULT_OK: Final = 0x00
RPMB_RESULT_GENERAL_FAILURE: Final = 0x01
RPMB_RESULT_AUTH_FAILURE: Final = 0x02
RPMB_RESULT_COUNTER_FAILURE: Final = 0x03
RPMB_RESULT_ADDRESS_FAILURE: Final = 0x04
RPMB_RESULT_WRITE_FAILURE: Final = 0x05
RPMB_RESULT_READ_FAILURE: Final = 0x06
RPMB_RESULT_AUTH_KEY_NOT_PROGRAMMED: Final = 0x07
RPMB_RESULT_MASK: Final = 0x3F
RPMB_RESULT_WR_CNT_EXPIRED: Final = 0x80
RPMB_WRITE_COUNTER_MAX: Final = 0xFFFFFFFF
