"""Secure threads: standard calls, and leaving for the normal world and coming back.

Mirrors core/arch/arm/kernel/thread.c and thread_optee_smc.c. A secure thread is a greenlet on the OS thread
that made the SMC: ``rpc`` switches back to the monitor with an RPC code in the registers, a call of
OPTEE_SMC_CALL_RETURN_FROM_RPC switches in again.
"""

import logging
import struct
import threading
from collections.abc import Callable, Sequence
from enum import IntEnum, auto
from typing import TYPE_CHECKING, Protocol

from greenlet import getcurrent, greenlet

from optemu.abi import gp, optee_msg
from optemu.abi import optee_rpc_cmd as rpc_abi
from optemu.abi import optee_smc as smc_abi
from optemu.board.memory import round_up
from optemu.errors import TaPanic, TeeError
from optemu.secure_world.core import points
from optemu.secure_world.core.mobj import Mobj, ShmRegistry
from optemu.secure_world.core.notif import NOTIF_SYNC_VALUE_BASE
from optemu.trace import Tracer

if TYPE_CHECKING:
    from optemu.secure_world.core.session import Session

log = logging.getLogger("optemu.core")

Registers = tuple[int, int, int, int, int, int, int, int]
THREAD_RPC_MAX_NUM_PARAMS = 4
_RPC_ARG_SIZE = optee_msg.msg_arg_size(THREAD_RPC_MAX_NUM_PARAMS)
_UNUSED = (0, 0, 0)
_NO_CALL: tuple[int, ...] = ()
_U32 = struct.Struct("<I")


class ShmCacheUser(IntEnum):
    """enum thread_shm_cache_user: who keeps shared memory with a thread."""

    SOCKET = auto()
    FS = auto()
    RPMB = auto()
    RPMB_KERNEL = auto()


_VALUE_OUTPUTS = (optee_msg.OPTEE_MSG_ATTR_TYPE_VALUE_OUTPUT, optee_msg.OPTEE_MSG_ATTR_TYPE_VALUE_INOUT)
_MEMREF_OUTPUTS = (optee_msg.OPTEE_MSG_ATTR_TYPE_RMEM_OUTPUT, optee_msg.OPTEE_MSG_ATTR_TYPE_RMEM_INOUT)
_MEMREFS = (optee_msg.OPTEE_MSG_ATTR_TYPE_RMEM_INPUT, *_MEMREF_OUTPUTS)
# A NULL memory reference travels as temporary memory without an address.
_TO_NULL = optee_msg.OPTEE_MSG_ATTR_TYPE_TMEM_INPUT - optee_msg.OPTEE_MSG_ATTR_TYPE_RMEM_INPUT

_SHM_CACHE_LEAST = 32 << 10
"""What a small object needs in all: who begins with a file's name need not ask again for its content."""
_SHM_KINDS = {ShmCacheUser.RPMB_KERNEL: rpc_abi.OPTEE_RPC_SHM_TYPE_KERNEL}
"""Whose memory is not the supplicant's."""


class StdEntry(Protocol):
    """tee_entry_std: serves the message at ``at`` of ``view``; the number of parameters has been checked."""

    def __call__(self, thread: "Thread", view: memoryview, at: int, num_params: int) -> int: ...


class RpcParam:
    """One parameter of an RPC (struct thread_param): a value (a, b, c) or (offs, size, mobj)."""

    __slots__ = ("a", "attr", "b", "c", "mobj")

    def __init__(self, attr: int, a: int = 0, b: int = 0, c: int = 0, mobj: Mobj | None = None) -> None:
        self.attr = attr
        self.a = a
        self.b = b
        self.c = c
        self.mobj = mobj


class Thread:
    """One of the CFG_NUM_THREADS secure threads (struct thread_ctx and its thread_specific_data)."""

    __slots__ = (
        "_pool",
        "abandoned",
        "call",
        "ended",
        "greenlet",
        "id",
        "os_thread",
        "rpc_arg",
        "rpc_mobj",
        "session",
        "shm_cache",
        "suspended",
        "syscall_recursion",
    )

    def __init__(self, pool: "Threads", number: int) -> None:
        self._pool = pool
        self.id = number
        self.greenlet: greenlet | None = None
        self.os_thread = 0
        self.ended = True
        self.suspended = False
        self.abandoned = False
        self.call = _NO_CALL
        """a1 to a3 of the standard call that the thread serves."""
        self.rpc_arg: memoryview | None = None
        self.rpc_mobj: Mobj | None = None
        self.shm_cache: dict[ShmCacheUser, Mobj] = {}
        """Shared memory kept from RPC to RPC until the standard call ends."""
        self.session: Session | None = None
        self.syscall_recursion = 0

    # --- remote procedure calls ---------------------------------------------------------------------

    def rpc(self, func: int, a1: int = 0, a2: int = 0) -> Registers:
        """thread_rpc: leave for the normal world; the registers it comes back with."""
        trace = self._pool.trace
        if trace.on:
            trace.enter(points.RPC, func, a1, a2)
        assert self.greenlet is not None
        self.suspended = True
        regs: Registers = self.greenlet.parent.switch((func, a1, a2, self.id))
        if trace.on:
            trace.exit(points.RPC)
        return regs

    def rpc_cmd(self, cmd: int, params: list[RpcParam]) -> int:
        """thread_rpc_cmd: have the normal world do ``cmd``; its TEE_Result, outputs written to ``params``.

        TeeError(TEE_ERROR_OUT_OF_MEMORY) when there is no memory to ask in.
        """
        numbers: list[int] = []
        for p in params:
            if p.mobj is not None:
                numbers += (p.attr, p.a, p.b, p.mobj.cookie)
            else:
                numbers += (p.attr + _TO_NULL if p.attr in _MEMREFS else p.attr, p.a, p.b, p.c)
        ret, answer = self.rpc_msg(cmd, numbers)
        for at, p in zip(range(0, len(answer), 4), params, strict=True):
            if p.attr in _VALUE_OUTPUTS:
                p.a, p.b, p.c = answer[at + 1 : at + 4]
            elif p.attr in _MEMREF_OUTPUTS:
                p.b = answer[at + 2]
        return ret

    def rpc_msg(self, cmd: int, params: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        """``rpc_cmd`` with the numbers of a message's parameters, four each: (TEE_Result, as they come back)."""
        trace = self._pool.trace
        if trace.on:
            trace.enter(points.RPC_CMD, cmd)
        arg = self.rpc_arg or self._get_rpc_arg()
        count = len(params) >> 2
        message = optee_msg.MSG_ARGS[count]
        message.pack_into(arg, 0, cmd, 0, 0, 0, 0, gp.TEE_ERROR_GENERIC, 0, count, *params)
        cookie = self.rpc_mobj.cookie if self.rpc_mobj is not None else 0
        self.rpc(smc_abi.OPTEE_SMC_RETURN_RPC_CMD, cookie >> 32, cookie & 0xFFFFFFFF)
        answer = message.unpack_from(arg, 0)
        if trace.on:
            trace.exit(points.RPC_CMD, answer[5])
        return answer[5], answer[8:]

    def _get_rpc_arg(self) -> memoryview:
        if self.rpc_arg is not None:
            return self.rpc_arg
        regs = self.rpc(smc_abi.OPTEE_SMC_RETURN_RPC_ALLOC, _RPC_ARG_SIZE)
        cookie = (regs[4] & 0xFFFFFFFF) << 32 | regs[5] & 0xFFFFFFFF
        mobj = self._pool.shm.single_page((regs[1] & 0xFFFFFFFF) << 32 | regs[2] & 0xFFFFFFFF, cookie)
        if mobj is None:
            if cookie:
                self.rpc(smc_abi.OPTEE_SMC_RETURN_RPC_FREE, cookie >> 32, cookie & 0xFFFFFFFF)
            raise TeeError(gp.TEE_ERROR_OUT_OF_MEMORY, "the normal world gave no memory for an RPC argument")
        assert mobj.view is not None
        self.rpc_mobj = mobj
        self.rpc_arg = mobj.view[:_RPC_ARG_SIZE]
        return self.rpc_arg

    def rpc_alloc(self, size: int, kind: int = rpc_abi.OPTEE_RPC_SHM_TYPE_APPL) -> Mobj:
        """thread_rpc_alloc: shared memory from the normal world; TeeError(OUT_OF_MEMORY) when it gives none."""
        request = (optee_msg.OPTEE_MSG_ATTR_TYPE_VALUE_INPUT, kind, size, 8)
        ret, (attr, buf_ptr, got, cookie) = self.rpc_msg(rpc_abi.OPTEE_RPC_CMD_SHM_ALLOC, request)
        wanted = optee_msg.OPTEE_MSG_ATTR_TYPE_TMEM_OUTPUT | optee_msg.OPTEE_MSG_ATTR_NONCONTIG
        mobj = None
        if ret == gp.TEE_SUCCESS and attr == wanted:
            mobj = self._pool.shm.from_noncontig(buf_ptr, got, cookie) if got >= size else None
            if mobj is None or not self._pool.shm.register(mobj):
                self.rpc_free(cookie, kind)
                mobj = None
        if mobj is None:
            raise TeeError(
                gp.TEE_ERROR_OUT_OF_MEMORY,
                f"the normal world gave no shared memory of {size} bytes ({gp.result_name(ret)}, attr 0x{attr:x})",
            )
        return mobj

    def rpc_free_mobj(self, mobj: Mobj, kind: int = rpc_abi.OPTEE_RPC_SHM_TYPE_APPL) -> None:
        """thread_rpc_free_payload: give memory from ``rpc_alloc`` back."""
        self._pool.shm.release_by_cookie(mobj.cookie)
        self.rpc_free(mobj.cookie, kind)

    def rpc_shm_cache_alloc(self, user: ShmCacheUser, size: int) -> Mobj:
        """thread_rpc_shm_cache_alloc: at least ``size`` bytes that ``user`` need not free. TeeError(OUT_OF_MEMORY)."""
        if not size:
            raise TeeError(gp.TEE_ERROR_OUT_OF_MEMORY, "shared memory of no size")
        mobj = self.shm_cache.get(user)
        if mobj is None or mobj.size < size:
            kind = _SHM_KINDS.get(user, rpc_abi.OPTEE_RPC_SHM_TYPE_APPL)
            self.shm_cache.pop(user, None)
            if mobj is not None:
                self.rpc_free_mobj(mobj, kind)
            mobj = self.shm_cache[user] = self.rpc_alloc(max(round_up(size), _SHM_CACHE_LEAST), kind)
        return mobj

    def clear_shm_cache(self) -> None:
        """thread_rpc_shm_cache_clear."""
        for user in list(self.shm_cache):
            kind = _SHM_KINDS.get(user, rpc_abi.OPTEE_RPC_SHM_TYPE_APPL)
            self.rpc_free_mobj(self.shm_cache.pop(user), kind)

    def rpc_free(self, cookie: int, kind: int) -> None:
        """Tell the normal world that the memory it calls ``cookie`` is no longer used."""
        self.rpc_msg(rpc_abi.OPTEE_RPC_CMD_SHM_FREE, (optee_msg.OPTEE_MSG_ATTR_TYPE_VALUE_INPUT, kind, cookie, 0))

    def _notification(self, what: int, thread_id: int) -> None:
        request = (optee_msg.OPTEE_MSG_ATTR_TYPE_VALUE_INPUT, what, NOTIF_SYNC_VALUE_BASE + thread_id, 0)
        self.rpc_msg(rpc_abi.OPTEE_RPC_CMD_NOTIFICATION, request)

    def sleep(self) -> None:
        """Wait in the normal world until somebody wakes this thread."""
        self._notification(rpc_abi.OPTEE_RPC_NOTIFICATION_WAIT, self.id)

    def wake(self, other: object) -> None:
        """Have the normal world wake ``other``."""
        assert isinstance(other, Thread)
        self._notification(rpc_abi.OPTEE_RPC_NOTIFICATION_SEND, other.id)

    def foreign_interrupt(self) -> None:
        """The time slice is over: let the normal world schedule."""
        self.rpc(smc_abi.OPTEE_SMC_RETURN_RPC_FOREIGN_INTR)
        self.check_abandoned()

    def check_abandoned(self) -> None:
        """TaPanic when nobody waits for this call any more."""
        if self.abandoned:
            raise TaPanic(gp.TEE_ERROR_CANCEL, "the client of this call is gone")

    def clear_rpc_cache(self) -> None:
        """clear_prealloc_rpc_cache."""
        if self.rpc_mobj is not None:
            cookie = self.rpc_mobj.cookie
            self.rpc_mobj = None
            self.rpc_arg = None
            self.rpc(smc_abi.OPTEE_SMC_RETURN_RPC_FREE, cookie >> 32, cookie & 0xFFFFFFFF)


def _stack(job: "tuple[Threads, Thread, Registers] | None") -> None:
    """One secure stack: a call after the other. Between calls it holds on to nothing of the machine."""
    leave = getcurrent().parent.switch
    while True:
        assert job is not None
        threads, thread, regs = job
        job = None
        out = threads.serve(thread, regs)
        del threads, thread, regs
        job = leave(out)


class Threads:
    """The pool, and the handler of standard calls (thread_handle_std_smc)."""

    def __init__(self, count: int, shm: ShmRegistry, entry: StdEntry, trace: Tracer) -> None:
        self.trace = trace
        self.shm = shm
        self.prealloc_rpc_cache = False
        self._entry = entry
        self._all = [Thread(self, n) for n in range(count)]
        self._free = self._all[::-1]
        self._lock = threading.Lock()
        self._local = threading.local()
        self._std_entries: dict[int, Callable[[Thread, int, int, int], int]] = {
            smc_abi.OPTEE_SMC_CALL_WITH_ARG: lambda t, a1, a2, a3: self._with_parg(t, a1 << 32 | a2, False),
            smc_abi.OPTEE_SMC_CALL_WITH_RPC_ARG: lambda t, a1, a2, a3: self._with_parg(t, a1 << 32 | a2, True),
            smc_abi.OPTEE_SMC_CALL_WITH_REGD_ARG: self._with_regd_arg,
        }

    @property
    def count(self) -> int:
        return len(self._all)

    @property
    def busy(self) -> int:
        return len(self._all) - len(self._free)

    def handle_std_smc(self, regs: Registers) -> tuple[int, int, int, int]:
        """thread_handle_std_smc: start a thread or resume one; what the normal world gets in x0 to x3."""
        message: object = regs
        if regs[0] == smc_abi.OPTEE_SMC_CALL_RETURN_FROM_RPC:
            thread = self._suspended(regs[3])
            if thread is None:
                return (smc_abi.OPTEE_SMC_RETURN_ERESUME, *_UNUSED)
            thread.suspended = False
        else:
            try:
                thread = self._free.pop()
            except IndexError:
                return (smc_abi.OPTEE_SMC_RETURN_ETHREAD_LIMIT, *_UNUSED)
            thread.os_thread = threading.get_ident()
            thread.ended = False
            thread.abandoned = False
            thread.call = regs[1:4]
            thread.greenlet = self._stack()
            message = (self, thread, regs)
        green = thread.greenlet
        assert green is not None
        # It runs until it has ended or asks for something.
        out: tuple[int, int, int, int] = green.switch(message)
        if thread.ended:
            thread.greenlet = None
            self._local.idle.append(green)
            self._free.append(thread)
        return out

    def _suspended(self, number: int) -> Thread | None:
        """The thread that waits on this core for its RPC to return. One resumes it once, and on the core it left."""
        thread = self._all[number] if number < len(self._all) else None
        if thread is None or thread.os_thread != threading.get_ident() or not thread.suspended:
            log.error("RETURN_FROM_RPC for thread %d, which waits for nothing on this core", number)
            return None
        return thread

    def _stack(self) -> greenlet:
        """A greenlet of this OS thread; a new one costs more than a whole call, so they are kept."""
        local = self._local
        try:
            idle: greenlet = local.idle.pop()
            return idle
        except (AttributeError, IndexError):
            if not hasattr(local, "idle"):
                local.idle = []
            return greenlet(_stack)

    def serve(self, thread: Thread, regs: Registers) -> tuple[int, int, int, int]:
        """A standard call from its beginning to its end, on the thread's own stack."""
        try:
            return self._std_smc_entry(thread, regs)
        except Exception:
            log.exception("a standard call failed inside the core: this is a bug of optemu")
            return (smc_abi.OPTEE_SMC_RETURN_EBADCMD, *_UNUSED)
        finally:
            thread.ended = True

    def _std_smc_entry(self, thread: Thread, regs: Registers) -> tuple[int, int, int, int]:
        """__thread_std_smc_entry, on the thread's own stack."""
        entry = self._std_entries.get(regs[0])
        if entry is None:
            log.error("Unknown SMC 0x%x", regs[0])
            return (smc_abi.OPTEE_SMC_RETURN_EBADCMD, *_UNUSED)
        return (entry(thread, regs[1] & 0xFFFFFFFF, regs[2] & 0xFFFFFFFF, regs[3]), *_UNUSED)

    def _with_parg(self, thread: Thread, parg: int, with_rpc_arg: bool) -> int:
        mobj = self.shm.single_page(parg)
        if mobj is None:
            log.error("Bad arg address 0x%x: not a page of non-secure memory", parg)
            return smc_abi.OPTEE_SMC_RETURN_EBADADDR
        return self._call_entry_std(thread, mobj, 0, with_rpc_arg)

    def _with_regd_arg(self, thread: Thread, a1: int, a2: int, offset: int) -> int:
        mobj = self.shm.get_by_cookie(a1 << 32 | a2)
        if mobj is None:
            log.error("Bad arg cookie 0x%x: no such registered shared memory", a1 << 32 | a2)
            return smc_abi.OPTEE_SMC_RETURN_EBADADDR
        return self._call_entry_std(thread, mobj, offset, True)

    def _call_entry_std(self, thread: Thread, mobj: Mobj, offset: int, with_rpc_arg: bool) -> int:
        """get_msg_arg and call_entry_std."""
        view = mobj.view
        end = offset + optee_msg.MSG_ARG.size
        if view is None or offset & 7 or end > mobj.size:
            return smc_abi.OPTEE_SMC_RETURN_EBADADDR
        (num_params,) = _U32.unpack_from(view, end - 4)
        end = offset + optee_msg.msg_arg_size(num_params)
        rpc_end = end + _RPC_ARG_SIZE if with_rpc_arg else end
        if num_params > optee_msg.OPTEE_MSG_MAX_NUM_PARAMS or rpc_end > mobj.size:
            return smc_abi.OPTEE_SMC_RETURN_EBADADDR
        if with_rpc_arg:
            if thread.rpc_mobj is not None:
                thread.clear_rpc_cache()
            thread.rpc_arg = view[end:rpc_end]
        try:
            ret = self._entry(thread, view, offset, num_params)
        finally:
            if thread.shm_cache:
                thread.clear_shm_cache()
            if with_rpc_arg:
                thread.rpc_arg = None
            elif not self.prealloc_rpc_cache:
                thread.clear_rpc_cache()
        return smc_abi.OPTEE_SMC_RETURN_EBADCMD if ret else smc_abi.OPTEE_SMC_RETURN_OK

    def abandon(self, call: tuple[int, ...]) -> Thread | None:
        """Nobody waits for the standard call made with these a1 to a3: the thread that serves it, if there is one."""
        for thread in self._all:
            if not thread.ended and thread.call == call:
                thread.abandoned = True
                return thread
        return None

    # --- the RPC argument cache ------------------------------------------------------------------------

    def enable_prealloc_rpc_cache(self) -> bool:
        """thread_enable_prealloc_rpc_cache: False while any thread is busy."""
        with self._lock:
            if self.busy:
                return False
            self.prealloc_rpc_cache = True
            return True

    def disable_prealloc_rpc_cache(self) -> int | None:
        """thread_disable_prealloc_rpc_cache: a cookie to free, 0 when all are given, None while a thread is busy."""
        with self._lock:
            if self.busy:
                return None
            for thread in self._all:
                if thread.rpc_mobj is not None:
                    cookie = thread.rpc_mobj.cookie
                    thread.rpc_mobj = None
                    thread.rpc_arg = None
                    return cookie
            self.prealloc_rpc_cache = False
            return 0
