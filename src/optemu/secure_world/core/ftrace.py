"""Function traces of TAs built with -pg. Mirrors ldelf/ftrace.c and user_ta_dump_ftrace of core/kernel/user_ta.c.

The TA's own runtime stores an event at each entry to a function and each return from one, in a ring in the TA's
memory. What the core has to know of that ring it keeps for itself; of what the TA says there, only how full the
ring is counts, and is checked.
"""

import logging
import struct
from typing import TYPE_CHECKING

from optemu.abi import gp
from optemu.abi import optee_rpc_cmd as rpc
from optemu.abi.ftrace import (
    BEGIN_TIME_AT,
    CURR_IDX_AT,
    FTRACE_BUF,
    FTRACE_EVENT_SIZE,
    FTRACE_INFO,
    FTRACE_INFO_SYMBOL,
    FTRACE_MAGIC,
    FTRACE_RETFUNC_DEPTH,
    OVERFLOW_AT,
    RET_IDX_AT,
    RET_STACK_AT,
)
from optemu.abi.optee_msg import OPTEE_MSG_ATTR_TYPE_RMEM_INPUT, OPTEE_MSG_ATTR_TYPE_VALUE_INOUT
from optemu.errors import TeeError
from optemu.secure_world.core.thread import RpcParam, Thread
from optemu.secure_world.ldelf.dump import module_lines, region_lines

if TYPE_CHECKING:
    from optemu.secure_world.core.ta_image import TaInstance

log = logging.getLogger("optemu.core")

MIN_FTRACE_BUF_SIZE = 1024
_UUID_SIZE = 16
_U32 = struct.Struct("<I")
_RETURNS = struct.Struct(f"<{FTRACE_RETFUNC_DEPTH}Q")
_U64_MASK = (1 << 64) - 1


def ftrace_init(instance: "TaInstance", uuid: bytes) -> "FtraceBuf | None":
    """Prepare the ring of a TA that has one; None for all others. ``uuid`` is what the TA was asked for by."""
    info = instance.elf.symbol(FTRACE_INFO_SYMBOL)
    if info is None:
        return None
    who = gp.uuid_str(uuid)
    space = instance.space
    try:
        start, end, ret_func = FTRACE_INFO.unpack(space.copy_from_user_private(info, FTRACE_INFO.size))
        if end - start < MIN_FTRACE_BUF_SIZE:
            log.info("TA %s is not traced: its buffer is smaller than %d bytes", who, MIN_FTRACE_BUF_SIZE)
            return None
        if space.check_access_rights(gp.TEE_MEMORY_ACCESS_READ | gp.TEE_MEMORY_ACCESS_WRITE, start, end - start):
            raise TeeError(gp.TEE_ERROR_ACCESS_DENIED, f"0x{start:x} to 0x{end:x} is not all its own memory")
        return FtraceBuf(instance, uuid, start, end - start, ret_func)
    except TeeError as e:
        log.error("TA %s is not traced: %s", who, e.message)
        return None


class FtraceBuf:
    """The ring of one instance (struct ftrace_buf), at least MIN_FTRACE_BUF_SIZE bytes of the TA's own memory."""

    __slots__ = ("_dump_id", "_events_at", "_head", "_instance", "_max_size", "_ret_func", "_suspended", "_uuid", "_va")

    def __init__(self, instance: "TaInstance", uuid: bytes, va: int, size: int, ret_func: int) -> None:
        head = f"Function graph for TA: {gp.uuid_str(uuid)} @ {instance.elf.base:x}\n".encode()
        head += bytes(-(va + FTRACE_BUF.size + len(head)) % FTRACE_EVENT_SIZE) + FTRACE_MAGIC
        self._instance = instance
        self._uuid = uuid
        self._va = va
        self._ret_func = ret_func
        self._head = head
        buf_off = FTRACE_BUF.size + len(head)
        self._events_at = va + buf_off
        self._max_size = (size - buf_off) & -FTRACE_EVENT_SIZE
        self._dump_id = 0
        """The normal world's number of the file; 0 as long as there is none."""
        self._suspended = 0
        nothing = [0] * FTRACE_RETFUNC_DEPTH
        sizes = (self._max_size, FTRACE_BUF.size, buf_off)
        struct_ = FTRACE_BUF.pack(ret_func, *nothing, 0, 0, *nothing, 0, 0, *sizes, 0, False, False, False)
        instance.space.copy_to_user_private(va, struct_ + head)

    def dump(self, thread: Thread) -> None:
        """Send what was traced since the last time; the first time, what it takes to read it goes before it."""
        try:
            events = self._take()
            content = events if self._dump_id else self._mappings() + self._head + events
            if content:
                self._send(thread, content)
        except TeeError as e:
            who = gp.uuid_str(self._uuid)
            log.error("Ftrace dump of TA %s failed: %s (%s)", who, e.message, gp.result_name(e.code))

    def _take(self) -> bytes:
        """The events, oldest first; the ring is empty then."""
        space, at, most = self._instance.space, self._events_at, self._max_size
        used = self._get_u32(CURR_IDX_AT) * FTRACE_EVENT_SIZE
        overflow = space.copy_from_user_private(self._va + OVERFLOW_AT, 1) != b"\0"
        space.copy_to_user_private(self._va + CURR_IDX_AT, bytes(4))
        space.copy_to_user_private(self._va + OVERFLOW_AT, bytes(1))
        if used > most:
            raise TeeError(gp.TEE_ERROR_BAD_STATE, f"the TA says it has {used} bytes in a ring of {most}")
        events = space.copy_from_user_private(at, used)
        return space.copy_from_user_private(at + used, most - used) + events if overflow else events

    def _get_u32(self, offset: int) -> int:
        value: int = _U32.unpack(self._instance.space.copy_from_user_private(self._va + offset, 4))[0]
        return value

    def _mappings(self) -> bytes:
        """As upstream has them, but for the core's address: it has none a TA's trace could name."""
        instance = self._instance
        images = [r for r in instance.dump_regions() if r.label.isdigit()]
        modules = [(gp.uuid_str(m.uuid), m.base) for m in instance.elf.modules]
        lines = ["TEE load address @ 0x0", *region_lines(images), *module_lines(modules)]
        return "".join(f"{line}\n" for line in lines).encode()

    def _send(self, thread: Thread, content: bytes) -> None:
        """[inout] value: file. [in] memref: UUID. [in] memref: what to append."""
        mobj = thread.rpc_alloc(_UUID_SIZE + len(content))
        try:
            mobj.write(0, gp.uuid_to_memory(self._uuid) + content)
            number = RpcParam(OPTEE_MSG_ATTR_TYPE_VALUE_INOUT, self._dump_id)
            who = RpcParam(OPTEE_MSG_ATTR_TYPE_RMEM_INPUT, 0, _UUID_SIZE, mobj=mobj)
            what = RpcParam(OPTEE_MSG_ATTR_TYPE_RMEM_INPUT, _UUID_SIZE, len(content), mobj=mobj)
            ret = thread.rpc_cmd(rpc.OPTEE_RPC_CMD_FTRACE, [number, who, what])
        finally:
            thread.rpc_free_mobj(mobj)
        if ret:
            raise TeeError(ret, "the normal world does not take it")
        self._dump_id = number.a & 0xFFFFFFFF

    # --- while the TA does not run ------------------------------------------------------------------------

    def suspend(self) -> None:
        """tee_ta_ftrace_update_times_suspend: the time slice is over."""
        self._suspended = self._instance.cpu.counter()

    def resume(self) -> None:
        """tee_ta_ftrace_update_times_resume: what others did meanwhile is not the functions' time."""
        space, at = self._instance.space, self._va + BEGIN_TIME_AT
        passed = self._instance.cpu.counter() - self._suspended
        times = _RETURNS.unpack(space.copy_from_user_private(at, _RETURNS.size))
        depth = self._get_u32(RET_IDX_AT)
        later = (t + passed & _U64_MASK if n < depth else t for n, t in enumerate(times))
        space.copy_to_user_private(at, _RETURNS.pack(*later))

    def return_addresses(self) -> tuple[int, list[int]]:
        """ftrace_map_lr: the address that stands on the stack instead of these, the innermost first."""
        raw = self._instance.space.copy_from_user_private(self._va + RET_STACK_AT, _RETURNS.size)
        depth = min(self._get_u32(RET_IDX_AT), FTRACE_RETFUNC_DEPTH)
        return self._ret_func, list(_RETURNS.unpack(raw)[:depth][::-1])
