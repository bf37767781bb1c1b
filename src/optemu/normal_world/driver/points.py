"""Trace points of the normal world's kernel: the TEE subsystem and the OP-TEE driver."""

from functools import partial

from optemu.abi import tee_ioctl
from optemu.trace import EL, Point, World

_kernel = partial(Point, world=World.NORMAL, el=EL.EL1)
_RET = "ret:tee_result origin:origin"

_tee = partial(_kernel, layer="tee", upstream="drivers/tee/tee_core.c")
OPEN = _tee("tee_open", args="path:str pid:dec", result="rc:errno_rc", where="driver/tee_core.py TeeSubsystem.open")
RELEASE = _tee("tee_release", args="sessions:dec", where="driver/tee_core.py TeeContext.close")
IOCTL = {
    number: _tee(name, args="pid:dec", result="rc:errno_rc", where="driver/tee_core.py IOCTLS")
    for number, name in tee_ioctl.IOCTL_NAMES.items()
}

_driver = partial(_kernel, layer="driver", upstream="drivers/tee/optee/call.c")
OPEN_SESSION = _driver(
    "optee_open_session",
    args="uuid:uuid login:login",
    result=f"{_RET} session:dec",
    where="driver/optee.py Optee.open_session",
)
INVOKE_FUNC = _driver(
    "optee_invoke_func", args="session:dec func:dec", result=_RET, where="driver/optee.py Optee.invoke_func"
)
CLOSE_SESSION = _driver("optee_close_session", args="session:dec", where="driver/optee.py Optee.close_session")
CANCEL_REQ = _driver("optee_cancel_req", args="session:dec cancel_id:dec", where="driver/optee.py Optee.cancel_req")

_smc_abi = partial(_kernel, layer="driver", upstream="drivers/tee/optee/smc_abi.c")
DO_CALL = _smc_abi(
    "optee_do_call_with_arg",
    args="cmd:msg_cmd",
    result="rc:smc_return",
    where="driver/optee.py Optee.do_call_with_arg",
)
HANDLE_RPC = _smc_abi("optee_handle_rpc", args="func:smc_return", where="driver/rpc.py handle_rpc")
SUPP_REQ = _kernel(
    "optee_supp_thrd_req",
    layer="driver",
    args="func:rpc_cmd",
    result="ret:tee_result",
    where="driver/supp.py Supp.thrd_req",
    upstream="drivers/tee/optee/supp.c",
)
