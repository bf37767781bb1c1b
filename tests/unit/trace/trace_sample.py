"""A made-up trace that looks like a true one: one invoke of a user TA, with an RPC in the middle."""

from typing import Any

from optemu.abi import gp, optee_smc
from optemu.trace.event import Decoder, Event
from optemu.trace.point import EL, Point, World
from optemu.trace.sink import Sink

HELLO = gp.uuid_octets("8aaaf200-2450-11e4-abe2-0002a5d5c51b")


def _normal(name: str, layer: str, args: str = "", result: str = "") -> Point:
    return Point(name, World.NORMAL, EL.EL1, layer, args, result)


def _secure(name: str, layer: str, args: str = "", result: str = "ret:tee_result", upstream: str = "") -> Point:
    return Point(name, World.SECURE, EL.S_EL1, layer, args, result, upstream=upstream)


_REGISTERS = "a0:smc a1:hex a2:hex a3:hex"
POINTS = {
    p.name: p
    for p in (
        _normal("TEE_IOC_INVOKE", "tee", "pid:dec", "rc:errno_rc"),
        _normal("optee_invoke_func", "driver", "session:dec func:dec", "ret:tee_result origin:origin"),
        _normal("optee_do_call_with_arg", "driver", "cmd:msg_cmd", "rc:smc_return"),
        _normal("optee_handle_rpc", "driver", "func:smc_return"),
        _normal("optee_supp_thrd_req", "driver", "func:rpc_cmd", "ret:tee_result"),
        _normal("smc", "driver", _REGISTERS, "a0:smc_return"),
        Point("opteed_smc_handler", World.MONITOR, EL.EL3, "monitor", "smc_fid:smc", "x0:smc_return"),
        _secure("thread_handle_std_smc", "thread", _REGISTERS, "a0:smc_return"),
        _secure("thread_handle_fast_smc", "thread", "a0:smc", "a0:smc_return"),
        _secure("tee_entry_std", "entry", "thread:dec cmd:msg_cmd", "", "core/tee/entry_std.c"),
        _secure(
            "entry_invoke_command",
            "entry",
            "session:dec func:dec types:param_types",
            "ret:tee_result origin:origin",
            "core/tee/entry_std.c",
        ),
        _secure("tee_ta_invoke_command", "session", "session:dec cmd:dec"),
        _secure("user_ta_enter_invoke_cmd", "ta", "uuid:uuid cmd:dec"),
        _secure("thread_enter_user_mode", "user mode", "entry:ptr sp:ptr"),
        _secure("thread_unwind_user_mode", "user mode", "ret:tee_result panicked:bool"),
        _secure("syscall_log", "syscall", "buf:ptr len:size"),
        _secure("syscall_open_ta_session", "syscall", "dest:ptr"),
        _secure("thread_rpc_cmd", "rpc", "cmd:rpc_cmd"),
        _secure("thread_rpc", "rpc", "func:smc_return a1:hex a2:hex", ""),
        Point(
            "__ta_entry",
            World.SECURE,
            EL.S_EL0,
            "TA",
            "func:entry_func session:dec params:ptr cmd:dec",
            "by:syscall",
            upstream="lib/libutee/user_ta_header.c",
        ),
    )
}


class Script:
    """Events, one after the other, at made-up times."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._now = 1_000_000
        self._decode = Decoder()

    def do(self, ns: int, phase: str, name: str, *args: Any, thread: int = 7) -> None:
        self._now += ns
        self.events.append(self._decode((self._now, thread, phase, POINTS[name], args)))

    def cross(self, ns: int, function: int, thread: int = 7, fast: bool = False) -> None:
        entry = "thread_handle_fast_smc" if fast else "thread_handle_std_smc"
        self.do(ns, "enter", "smc", function, 0, 0x55000, 0, thread=thread)
        self.do(500, "enter", "opteed_smc_handler", function, thread=thread)
        self.do(450, "enter", entry, *((function,) if fast else (function, 0, 0x55000, 0)), thread=thread)

    def back(self, ns: int, code: int, thread: int = 7, fast: bool = False) -> None:
        self.do(ns, "exit", "thread_handle_fast_smc" if fast else "thread_handle_std_smc", code, thread=thread)
        self.do(400, "exit", "opteed_smc_handler", code, thread=thread)
        self.do(350, "exit", "smc", code, thread=thread)

    def feed(self, sink: Sink) -> None:
        for event in self.events:
            sink.event(event)
        sink.close()


def invoke() -> Script:
    s = Script()
    s.do(0, "enter", "TEE_IOC_INVOKE", 4711)
    s.do(2100, "enter", "optee_invoke_func", 1, 0)
    s.do(900, "enter", "optee_do_call_with_arg", 1)
    s.cross(1200, optee_smc.OPTEE_SMC_CALL_WITH_REGD_ARG)
    s.do(1400, "enter", "tee_entry_std", 0, 1)
    s.do(1400, "enter", "entry_invoke_command", 1, 0, 0x3)
    s.do(900, "enter", "tee_ta_invoke_command", 1, 0)
    s.do(700, "enter", "user_ta_enter_invoke_cmd", HELLO, 0)
    s.do(900, "enter", "thread_enter_user_mode", 0x40011000, 0x4003F000)
    s.do(400, "enter", "__ta_entry", 2, 1, 0x4003F000, 0)
    s.do(5400, "enter", "syscall_log", 0x40031234, 47)
    s.do(1500, "exit", "syscall_log", 0)
    s.do(3000, "enter", "syscall_open_ta_session", 0x4003EE00)
    s.do(500, "enter", "thread_rpc_cmd", 0)
    s.do(500, "enter", "thread_rpc", optee_smc.OPTEE_SMC_RETURN_RPC_CMD, 0, 0x8000)
    s.back(700, optee_smc.OPTEE_SMC_RETURN_RPC_CMD)
    s.do(800, "enter", "optee_handle_rpc", optee_smc.OPTEE_SMC_RETURN_RPC_CMD)
    s.do(700, "enter", "optee_supp_thrd_req", 0)
    s.do(9_100_000, "exit", "optee_supp_thrd_req", gp.TEE_ERROR_ITEM_NOT_FOUND)
    s.do(700, "exit", "optee_handle_rpc")
    s.cross(800, optee_smc.OPTEE_SMC_CALL_RETURN_FROM_RPC)
    s.do(950, "exit", "thread_rpc")
    s.do(850, "exit", "thread_rpc_cmd", gp.TEE_ERROR_ITEM_NOT_FOUND)
    s.do(650, "exit", "syscall_open_ta_session", gp.TEE_ERROR_ITEM_NOT_FOUND)
    s.do(2650, "exit", "__ta_entry", 0)
    s.do(300, "mark", "thread_unwind_user_mode", 0, False)
    s.do(650, "exit", "thread_enter_user_mode", 0)
    s.do(650, "exit", "user_ta_enter_invoke_cmd", 0)
    s.do(650, "exit", "tee_ta_invoke_command", 0)
    s.do(450, "exit", "entry_invoke_command", 0, 4)
    s.do(650, "exit", "tee_entry_std")
    s.back(350, 0)
    s.do(350, "exit", "optee_do_call_with_arg", 0)
    s.do(650, "exit", "optee_invoke_func", 0, 4)
    s.do(950, "exit", "TEE_IOC_INVOKE", 0)
    return s


def two_threads() -> Script:
    """What else there is: two threads, a fast call, calls that an exception passed, an entry that was not seen."""
    s = Script()
    s.do(0, "exit", "TEE_IOC_INVOKE", -22)
    s.do(900, "enter", "TEE_IOC_INVOKE", 4711)
    s.do(500, "enter", "TEE_IOC_INVOKE", 4712, thread=8)
    s.cross(1000, optee_smc.OPTEE_SMC_GET_THREAD_COUNT, fast=True)
    s.back(900, 0, fast=True)
    s.cross(700, optee_smc.OPTEE_SMC_CALL_WITH_ARG, thread=8)
    s.do(600, "enter", "tee_entry_std", 1, 1, thread=8)
    s.do(300, "enter", "entry_invoke_command", 2, 9, 0x7651, thread=8)
    s.do(300, "exit", "TEE_IOC_INVOKE", 0)
    s.do(300, "exit", "tee_entry_std", thread=8)
    s.back(500, 0, thread=8)
    s.do(650, "exit", "TEE_IOC_INVOKE", -4, thread=8)
    return s
