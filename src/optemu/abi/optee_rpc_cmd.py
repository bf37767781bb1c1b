"""What the secure world asks of the normal world: core/include/optee_rpc_cmd.h."""

from typing import Final

OPTEE_RPC_CMD_LOAD_TA: Final = 0
OPTEE_RPC_CMD_RPMB: Final = 1
OPTEE_RPC_CMD_FS: Final = 2
OPTEE_RPC_CMD_GET_TIME: Final = 3
OPTEE_RPC_CMD_NOTIFICATION: Final = 4
OPTEE_RPC_NOTIFICATION_WAIT: Final = 0
OPTEE_RPC_NOTIFICATION_SEND: Final = 1
OPTEE_RPC_CMD_SUSPEND: Final = 5
OPTEE_RPC_CMD_SHM_ALLOC: Final = 6
OPTEE_RPC_SHM_TYPE_APPL: Final = 0
OPTEE_RPC_SHM_TYPE_KERNEL: Final = 1
OPTEE_RPC_SHM_TYPE_GLOBAL: Final = 2
OPTEE_RPC_CMD_SHM_FREE: Final = 7
OPTEE_RPC_CMD_GPROF: Final = 9
OPTEE_RPC_CMD_SOCKET: Final = 10
OPTEE_RPC_CMD_FTRACE: Final = 11
OPTEE_RPC_CMD_SUPP_PLUGIN: Final = 12
OPTEE_RPC_CMD_BENCH_REG: Final = 20
OPTEE_RPC_CMD_I2C_TRANSFER: Final = 21
OPTEE_RPC_CMD_RPMB_PROBE_RESET: Final = 22
OPTEE_RPC_CMD_RPMB_PROBE_NEXT: Final = 23
OPTEE_RPC_CMD_RPMB_FRAMES: Final = 24

RPC_CMD_NAMES: Final[dict[int, str]] = {
    value: name.removeprefix("OPTEE_RPC_CMD_")
    for name, value in list(globals().items())
    if name.startswith("OPTEE_RPC_CMD_")
}
