"""Trace points of the core: what is entered and left on the secure side, with upstream's names."""

from functools import partial

from optemu.trace import EL, Point, World

_core = partial(Point, world=World.SECURE, el=EL.S_EL1)
_RET = "ret:tee_result"

_thread = partial(_core, layer="thread", upstream="core/arch/arm/kernel/thread_optee_smc.c")
STD_SMC = _thread(
    "thread_handle_std_smc",
    args="a0:smc a1:hex a2:hex a3:hex",
    result="a0:smc_return",
    where="core/thread.py Threads.handle_std_smc",
)
FAST_SMC = _thread("thread_handle_fast_smc", args="a0:smc", result="a0:hex", where="core/entry_fast.py tee_entry_fast")

_entry = partial(_core, layer="entry", upstream="core/tee/entry_std.c")
ENTRY_STD = _entry("tee_entry_std", args="thread:dec cmd:msg_cmd", where="core/entry_std.py tee_entry_std")
ENTRY_OPEN = _entry(
    "entry_open_session",
    args="uuid:uuid login:login",
    result=f"{_RET} origin:origin session:dec",
    where="core/entry_std.py entry_open_session",
)
ENTRY_INVOKE = _entry(
    "entry_invoke_command",
    args="session:dec func:dec types:param_types",
    result=f"{_RET} origin:origin",
    where="core/entry_std.py entry_invoke_command",
)
ENTRY_CLOSE = _entry(
    "entry_close_session", args="session:dec", result=_RET, where="core/entry_std.py entry_close_session"
)
ENTRY_CANCEL = _entry("entry_cancel", args="session:dec", result=_RET, where="core/entry_std.py entry_cancel")
ENTRY_REGISTER_SHM = _entry(
    "register_shm", args="cookie:hex size:size", result=_RET, where="core/entry_std.py register_shm"
)
ENTRY_UNREGISTER_SHM = _entry(
    "unregister_shm", args="cookie:hex", result=_RET, where="core/entry_std.py unregister_shm"
)

_session = partial(_core, layer="session", upstream="core/kernel/tee_ta_manager.c")
TA_OPEN = _session(
    "tee_ta_open_session",
    args="uuid:uuid",
    result=f"{_RET} session:dec",
    where="core/tee_ta_manager.py TaManager.open_session",
)
TA_INVOKE = _session(
    "tee_ta_invoke_command",
    args="session:dec cmd:dec",
    result=_RET,
    where="core/tee_ta_manager.py TaManager.invoke_command",
)
TA_CLOSE = _session(
    "tee_ta_close_session", args="session:dec", result=_RET, where="core/tee_ta_manager.py TaManager.close_session"
)
TA_CANCEL = _session(
    "tee_ta_cancel_command", args="session:dec", result=_RET, where="core/tee_ta_manager.py TaManager.cancel_command"
)

_static = partial(_core, layer="ta", upstream="core/kernel/pseudo_ta.c")
PTA_OPEN = _static(
    "pseudo_ta_enter_open_session",
    args="name:str",
    result=_RET,
    where="core/pseudo_ta.py PseudoTaCtx.enter_open_session",
)
PTA_INVOKE = _static(
    "pseudo_ta_enter_invoke_cmd",
    args="name:str cmd:dec",
    result=_RET,
    where="core/pseudo_ta.py PseudoTaCtx.enter_invoke_cmd",
)
PTA_CLOSE = _static(
    "pseudo_ta_enter_close_session", args="name:str", where="core/pseudo_ta.py PseudoTaCtx.enter_close_session"
)

_dynamic = partial(_core, layer="ta", upstream="core/kernel/user_ta.c")
UTA_OPEN = _dynamic(
    "user_ta_enter_open_session", args="uuid:uuid", result=_RET, where="core/user_ta.py UserTaCtx.enter_open_session"
)
UTA_INVOKE = _dynamic(
    "user_ta_enter_invoke_cmd",
    args="uuid:uuid cmd:dec",
    result=_RET,
    where="core/user_ta.py UserTaCtx.enter_invoke_cmd",
)
UTA_CLOSE = _dynamic(
    "user_ta_enter_close_session", args="uuid:uuid", result=_RET, where="core/user_ta.py UserTaCtx.enter_close_session"
)
UTA_MEMSTATS = _dynamic(
    "user_ta_enter_dump_memstats", args="uuid:uuid", result=_RET, where="core/user_ta.py UserTaCtx.dump_mem_stats"
)

_user_mode = partial(_core, layer="user mode", upstream="core/arch/arm/kernel/thread.c")
USER_MODE = _user_mode(
    "thread_enter_user_mode", args="entry:ptr sp:ptr", result=_RET, where="core/user_ta.py UserTaCtx._run"
)
UNWIND = _user_mode("thread_unwind_user_mode", args=f"{_RET} panicked:bool", where="core/user_ta.py UserTaCtx._run")
TA_ENTRY = Point(
    "__ta_entry",
    World.SECURE,
    EL.S_EL0,
    "TA",
    args="func:entry_func session:dec params:ptr cmd:dec",
    result="by:str",
    where="core/user_ta.py UserTaCtx._serve",
    upstream="ta/user_ta_header.c",
)

_rpc = partial(_core, layer="rpc", upstream="core/arch/arm/kernel/thread_optee_smc.c")
RPC = _rpc("thread_rpc", args="func:smc_return a1:hex a2:hex", where="core/thread.py Thread.rpc")
RPC_CMD = _rpc("thread_rpc_cmd", args="cmd:rpc_cmd", result=_RET, where="core/thread.py Thread.rpc_cmd")

_store = partial(_core, layer="ta store")
EARLY_TA_OPEN = _store(
    "early_ta_open",
    args="uuid:uuid",
    result=f"{_RET} size:size",
    where="core/ta_store.py early_ta_open",
    upstream="core/kernel/early_ta.c",
)
SECSTOR_TA_OPEN = _store(
    "secstor_ta_open",
    args="uuid:uuid",
    result=f"{_RET} size:size",
    where="core/ta_store.py secstor_ta_open",
    upstream="core/kernel/secstor_ta.c",
)
STORE_OPEN = _store(
    "ree_fs_ta_open",
    args="uuid:uuid",
    result=f"{_RET} size:size",
    where="core/ta_store.py ree_fs_ta_open",
    upstream="core/kernel/ree_fs_ta.c",
)
VERIFY = _store(
    "shdr_verify_signature",
    args="size:size",
    result=f"{_RET} key:str",
    where="crypto/signed_header.py verify_image",
    upstream="core/crypto/signed_hdr.c",
)
LDELF = _core(
    "ldelf_init",
    layer="ldelf",
    args="uuid:uuid how:str",
    result="entry:ptr",
    where="core/ldelf_loader.py UserTas.complete",
    upstream="core/kernel/ldelf_loader.c",
)
