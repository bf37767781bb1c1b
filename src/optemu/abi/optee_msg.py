"""Messages in shared memory between the driver and OP-TEE: core/include/optee_msg.h."""

import struct
from typing import Final

OPTEE_MSG_ATTR_TYPE_NONE: Final = 0x0
OPTEE_MSG_ATTR_TYPE_VALUE_INPUT: Final = 0x1
OPTEE_MSG_ATTR_TYPE_VALUE_OUTPUT: Final = 0x2
OPTEE_MSG_ATTR_TYPE_VALUE_INOUT: Final = 0x3
OPTEE_MSG_ATTR_TYPE_RMEM_INPUT: Final = 0x5
OPTEE_MSG_ATTR_TYPE_RMEM_OUTPUT: Final = 0x6
OPTEE_MSG_ATTR_TYPE_RMEM_INOUT: Final = 0x7
OPTEE_MSG_ATTR_TYPE_TMEM_INPUT: Final = 0x9
OPTEE_MSG_ATTR_TYPE_TMEM_OUTPUT: Final = 0xA
OPTEE_MSG_ATTR_TYPE_TMEM_INOUT: Final = 0xB
OPTEE_MSG_ATTR_TYPE_MASK: Final = 0xFF
OPTEE_MSG_ATTR_META: Final = 1 << 8
OPTEE_MSG_ATTR_NONCONTIG: Final = 1 << 9
OPTEE_MSG_NONCONTIG_PAGE_SIZE: Final = 4096
PAGELIST_ENTRIES_PER_PAGE: Final = OPTEE_MSG_NONCONTIG_PAGE_SIZE // 8 - 1
"""A page of a page list holds this many page addresses, then the address of the next such page."""

ATTR_TYPE_NAMES: Final = {
    0x0: "none",
    0x1: "value_in",
    0x2: "value_out",
    0x3: "value_inout",
    0x5: "rmem_in",
    0x6: "rmem_out",
    0x7: "rmem_inout",
    0x9: "tmem_in",
    0xA: "tmem_out",
    0xB: "tmem_inout",
}

# struct optee_msg_arg: cmd, func, session, cancel_id, pad, ret, ret_origin, num_params
MSG_ARG: Final = struct.Struct("<8I")
# struct optee_msg_param: attr, then a, b, c (value) | buf_ptr, size, shm_ref (tmem) | offs, size, shm_ref (rmem)
MSG_PARAM: Final = struct.Struct("<4Q")
MSG_ARG_RET: Final = struct.Struct("<II")
MSG_ARG_RET_OFFSET: Final = 20
MSG_ARG_SESSION_OFFSET: Final = 8
MSG_ARG_NUM_PARAMS_OFFSET: Final = 28

OPTEE_MSG_MAX_NUM_PARAMS: Final = (OPTEE_MSG_NONCONTIG_PAGE_SIZE - MSG_ARG.size) // MSG_PARAM.size
MSG_ARGS: Final = [struct.Struct(f"<8I{4 * n}Q") for n in range(OPTEE_MSG_MAX_NUM_PARAMS + 1)]
"""A whole message by its number of parameters: the eight numbers of MSG_ARG, then four of each MSG_PARAM."""


def msg_arg_size(num_params: int) -> int:
    """OPTEE_MSG_GET_ARG_SIZE: bytes of an optee_msg_arg with ``num_params`` parameters."""
    return MSG_ARG.size + MSG_PARAM.size * num_params


OPTEE_MSG_UID: Final = (0x384FB3E0, 0xE7F811E3, 0xAF630002, 0xA5D5C51B)
OPTEE_MSG_REVISION: Final = (2, 0)
OPTEE_MSG_OS_OPTEE_UUID: Final = (0x486178E0, 0xE7F811E3, 0xBC5E0002, 0xA5D5C51B)

OPTEE_MSG_CMD_OPEN_SESSION: Final = 0
OPTEE_MSG_CMD_INVOKE_COMMAND: Final = 1
OPTEE_MSG_CMD_CLOSE_SESSION: Final = 2
OPTEE_MSG_CMD_CANCEL: Final = 3
OPTEE_MSG_CMD_REGISTER_SHM: Final = 4
OPTEE_MSG_CMD_UNREGISTER_SHM: Final = 5
OPTEE_MSG_CMD_DO_BOTTOM_HALF: Final = 6
OPTEE_MSG_CMD_STOP_ASYNC_NOTIF: Final = 7

CMD_NAMES: Final = {
    0: "OPEN_SESSION",
    1: "INVOKE_COMMAND",
    2: "CLOSE_SESSION",
    3: "CANCEL",
    4: "REGISTER_SHM",
    5: "UNREGISTER_SHM",
    6: "DO_BOTTOM_HALF",
    7: "STOP_ASYNC_NOTIF",
}
