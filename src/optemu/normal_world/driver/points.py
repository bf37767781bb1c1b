"""Trace points of the normal world's kernel: the TEE subsystem and the OP-TEE driver."""

from optemu.abi import tee_ioctl
from optemu.trace import EL, Point, World

OPEN = Point("tee_open", World.NORMAL, EL.EL1, "tee", args="path:str pid:dec", result="rc:errno_rc")
RELEASE = Point("tee_release", World.NORMAL, EL.EL1, "tee", args="sessions:dec", result="")
IOCTL = {
    number: Point(name, World.NORMAL, EL.EL1, "tee", args="pid:dec", result="rc:errno_rc")
    for number, name in tee_ioctl.IOCTL_NAMES.items()
}
OPEN_SESSION = Point(
    "optee_open_session",
    World.NORMAL,
    EL.EL1,
    "driver",
    args="uuid:uuid login:login",
    result="ret:tee_result origin:origin session:dec",
)
INVOKE_FUNC = Point(
    "optee_invoke_func",
    World.NORMAL,
    EL.EL1,
    "driver",
    args="session:dec func:dec",
    result="ret:tee_result origin:origin",
)
CLOSE_SESSION = Point("optee_close_session", World.NORMAL, EL.EL1, "driver", args="session:dec")
CANCEL_REQ = Point("optee_cancel_req", World.NORMAL, EL.EL1, "driver", args="session:dec cancel_id:dec")
DO_CALL = Point("optee_do_call_with_arg", World.NORMAL, EL.EL1, "driver", args="cmd:msg_cmd", result="rc:smc_return")
HANDLE_RPC = Point("optee_handle_rpc", World.NORMAL, EL.EL1, "driver", args="func:smc_return")
SUPP_REQ = Point("optee_supp_thrd_req", World.NORMAL, EL.EL1, "driver", args="func:rpc_cmd", result="ret:tee_result")
