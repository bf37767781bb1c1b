"""Trace points of the core: what is entered and left on the secure side, with upstream's names."""

from optemu.trace import EL, Point, World

STD_SMC = Point(
    "thread_handle_std_smc",
    World.SECURE,
    EL.S_EL1,
    "thread",
    args="a0:smc a1:hex a2:hex a3:hex",
    result="a0:smc_return",
)
FAST_SMC = Point("thread_handle_fast_smc", World.SECURE, EL.S_EL1, "thread", args="a0:smc", result="a0:hex")
ENTRY_STD = Point("tee_entry_std", World.SECURE, EL.S_EL1, "entry", args="thread:dec cmd:msg_cmd", result="")
ENTRY_OPEN = Point(
    "entry_open_session",
    World.SECURE,
    EL.S_EL1,
    "entry",
    args="uuid:uuid login:login",
    result="ret:tee_result origin:origin session:dec",
)
ENTRY_INVOKE = Point(
    "entry_invoke_command",
    World.SECURE,
    EL.S_EL1,
    "entry",
    args="session:dec func:dec types:param_types",
    result="ret:tee_result origin:origin",
)
ENTRY_CLOSE = Point("entry_close_session", World.SECURE, EL.S_EL1, "entry", args="session:dec", result="ret:tee_result")
ENTRY_CANCEL = Point("entry_cancel", World.SECURE, EL.S_EL1, "entry", args="session:dec", result="ret:tee_result")
ENTRY_REGISTER_SHM = Point(
    "register_shm", World.SECURE, EL.S_EL1, "entry", args="cookie:hex size:size", result="ret:tee_result"
)
ENTRY_UNREGISTER_SHM = Point(
    "unregister_shm", World.SECURE, EL.S_EL1, "entry", args="cookie:hex", result="ret:tee_result"
)
TA_OPEN = Point(
    "tee_ta_open_session", World.SECURE, EL.S_EL1, "session", args="uuid:uuid", result="ret:tee_result session:dec"
)
TA_INVOKE = Point(
    "tee_ta_invoke_command", World.SECURE, EL.S_EL1, "session", args="session:dec cmd:dec", result="ret:tee_result"
)
TA_CLOSE = Point("tee_ta_close_session", World.SECURE, EL.S_EL1, "session", args="session:dec", result="ret:tee_result")
TA_CANCEL = Point(
    "tee_ta_cancel_command", World.SECURE, EL.S_EL1, "session", args="session:dec", result="ret:tee_result"
)
PTA_OPEN = Point("pseudo_ta_enter_open_session", World.SECURE, EL.S_EL1, "ta", args="name:str", result="ret:tee_result")
PTA_INVOKE = Point(
    "pseudo_ta_enter_invoke_cmd", World.SECURE, EL.S_EL1, "ta", args="name:str cmd:dec", result="ret:tee_result"
)
PTA_CLOSE = Point("pseudo_ta_enter_close_session", World.SECURE, EL.S_EL1, "ta", args="name:str", result="")
UTA_OPEN = Point("user_ta_enter_open_session", World.SECURE, EL.S_EL1, "ta", args="uuid:uuid", result="ret:tee_result")
UTA_INVOKE = Point(
    "user_ta_enter_invoke_cmd", World.SECURE, EL.S_EL1, "ta", args="uuid:uuid cmd:dec", result="ret:tee_result"
)
UTA_CLOSE = Point(
    "user_ta_enter_close_session", World.SECURE, EL.S_EL1, "ta", args="uuid:uuid", result="ret:tee_result"
)
UTA_MEMSTATS = Point(
    "user_ta_enter_dump_memstats", World.SECURE, EL.S_EL1, "ta", args="uuid:uuid", result="ret:tee_result"
)
USER_MODE = Point(
    "thread_enter_user_mode", World.SECURE, EL.S_EL1, "user mode", args="entry:ptr sp:ptr", result="ret:tee_result"
)
UNWIND = Point("thread_unwind_user_mode", World.SECURE, EL.S_EL1, "user mode", args="ret:tee_result panicked:bool")
TA_ENTRY = Point(
    "__ta_entry", World.SECURE, EL.S_EL0, "TA", args="func:entry_func session:dec params:ptr cmd:dec", result="by:str"
)
RPC = Point("thread_rpc", World.SECURE, EL.S_EL1, "rpc", args="func:smc_return a1:hex a2:hex", result="")
RPC_CMD = Point("thread_rpc_cmd", World.SECURE, EL.S_EL1, "rpc", args="cmd:rpc_cmd", result="ret:tee_result")
EARLY_TA_OPEN = Point(
    "early_ta_open", World.SECURE, EL.S_EL1, "ta store", args="uuid:uuid", result="ret:tee_result size:size"
)
STORE_OPEN = Point(
    "ree_fs_ta_open", World.SECURE, EL.S_EL1, "ta store", args="uuid:uuid", result="ret:tee_result size:size"
)
VERIFY = Point(
    "shdr_verify_signature", World.SECURE, EL.S_EL1, "ta store", args="size:size", result="ret:tee_result key:str"
)
LDELF = Point("ldelf_init", World.SECURE, EL.S_EL1, "ldelf", args="uuid:uuid how:str", result="entry:ptr")
