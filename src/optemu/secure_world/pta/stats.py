"""Figures about the core and the TAs in it. Mirrors core/pta/stats.c."""

import logging
import struct

from optemu.abi import gp
from optemu.abi.obj import TEE_STORAGE_PRIVATE_RPMB
from optemu.board.memory import SEC_WINDOW, Usage
from optemu.errors import TeeError
from optemu.secure_world.core.param import TaParams, Value, param_types
from optemu.secure_world.core.pseudo_ta import PTA_DEFAULT_FLAGS, PseudoTa, PtaCall, PtaCommand
from optemu.secure_world.core.tee_obj import OBJECTS_HEAP
from optemu.secure_world.core.thread import Thread
from optemu.secure_world.core.user_ta import UserTaCtx
from optemu.secure_world.storage.rpmb_fs import RpmbFs

console = logging.getLogger("optemu.console")
log = logging.getLogger("optemu.core")

STATS_CMD_PAGER_STATS = 0
STATS_CMD_ALLOC_STATS = 1
STATS_CMD_MEMLEAK_STATS = 2
STATS_CMD_TA_STATS = 3
STATS_CMD_GET_TIME = 4
STATS_CMD_PRINT_DRIVER_INFO = 5

STATS_NB_POOLS = 5
STATS_DRIVER_TYPE_CLOCK = 0
STATS_DRIVER_TYPE_REGULATOR = 1
ALLOC_ID_HEAP = 1
ALLOC_ID_TA_RAM = 3
ALLOC_ID_RPMB = 5
# struct pta_stats_alloc: desc, free2_sum, allocated, max_allocated, size, three figures about failures
_ALLOC = struct.Struct("<32sQ6I")
# struct pta_stats_ta: uuid, panicked, sess_num, heap
_TA = struct.Struct("<16sII")
_POOLS = {
    ALLOC_ID_HEAP: "Heap",
    2: "Public DDR (deprecated)",
    ALLOC_ID_TA_RAM: "Physical TA memory",
    4: "KHeap (disabled)",
}
_DRIVERS = {STATS_DRIVER_TYPE_CLOCK: "clocks", STATS_DRIVER_TYPE_REGULATOR: "regulators"}
_U32 = 0xFFFFFFFF
_IN, _OUT, _MEM_OUT = gp.TEE_PARAM_TYPE_VALUE_INPUT, gp.TEE_PARAM_TYPE_VALUE_OUTPUT, gp.TEE_PARAM_TYPE_MEMREF_OUTPUT


def _pager(pta: PseudoTa, call: PtaCall) -> None:
    """[out] values: figures of the pager. There is none here: every figure is 0."""
    for p in call.params[:3]:
        p.a = p.b = 0


def _alloc(pta: PseudoTa, call: PtaCall) -> int:
    """[in] value: pool or 0 for all, reset. [out] memref: one struct pta_stats_alloc for each.

    Only TA memory, RPMB, and of the core's heap what TAs' objects take of it, are limited and counted here.
    """
    pool, out, *_ = call.params
    if pool.a > STATS_NB_POOLS:
        return gp.TEE_ERROR_BAD_PARAMETERS
    pools = range(1, STATS_NB_POOLS + 1) if not pool.a else (pool.a,)
    if out.size < len(pools) * _ALLOC.size:
        out.size = len(pools) * _ALLOC.size
        return gp.TEE_ERROR_SHORT_BUFFER
    memory = pta.tee.board.memory.usage(secure=True)
    ret: int = out.give(b"".join(_pool(n, pta, call.thread, memory) for n in pools))
    if pool.b and ALLOC_ID_TA_RAM in pools:
        memory.reset()
    return ret


def _pool(number: int, pta: PseudoTa, thread: Thread, memory: Usage) -> bytes:
    if number == ALLOC_ID_RPMB:
        return _rpmb(pta, thread)
    figures = [0] * 6
    if number == ALLOC_ID_TA_RAM:
        size = SEC_WINDOW[1] - SEC_WINDOW[0]
        figures = [memory.used, memory.peak, size, memory.failures, memory.biggest_failure, memory.used_at_failure]
    elif number == ALLOC_ID_HEAP:
        figures = _objects(pta)
    return _ALLOC.pack(_POOLS[number].encode(), 0, *(min(n, _U32) for n in figures))


def _objects(pta: PseudoTa) -> list[int]:
    """What all TAs' objects take of the heap by a board's measure, and may take; the most ever is not counted."""
    tas = [ctx.objs for ctx in list(pta.tee.manager.contexts) if isinstance(ctx, UserTaCtx)]
    used = sum(o.heap for objs in tas for o in list(objs.values()))
    return [used, used, OBJECTS_HEAP * len(tas), 0, 0, 0]


def _rpmb(pta: PseudoTa, thread: Thread) -> bytes:
    """rpmb_mem_stats."""
    fs = pta.tee.storage.file_ops(TEE_STORAGE_PRIVATE_RPMB)
    try:
        if isinstance(fs, RpmbFs):
            with pta.tee.storage.ree(thread) as ree:
                used, size = fs.mem_stats(ree)
            return _ALLOC.pack(b"RPMB secure storage", 0, used, used, size, 0, 0, 0)
    except TeeError as error:
        log.info("figures of RPMB: %s", error)
    return _ALLOC.pack(b"RPMB secure storage (no data)", 0, *[0] * 6)


def _tas(pta: PseudoTa, call: PtaCall) -> int:
    """[out] memref: one struct pta_stats_ta for each user TA, with the heap figures its runtime gives."""
    out = call.params[0]
    contexts = [ctx for ctx in pta.tee.manager.contexts if isinstance(ctx, UserTaCtx)]
    if not contexts:
        return gp.TEE_ERROR_ITEM_NOT_FOUND
    size = len(contexts) * (_TA.size + _ALLOC.size)
    if out.buffer is None or out.size < size:
        out.size = size
        return gp.TEE_ERROR_SHORT_BUFFER
    ret: int = out.give(b"".join(_ta(call.thread, ctx) for ctx in contexts))
    return ret


def _ta(thread: Thread, ctx: UserTaCtx) -> bytes:
    sessions = [s for s in list(ctx.tee.open_sessions.values()) if s.ctx is ctx]
    head = _TA.pack(gp.uuid_to_memory(ctx.uuid), ctx.panicked, len(sessions))
    heap = _heap(thread, ctx, sessions[0].id) if sessions else [0] * 6
    return head + _ALLOC.pack(b"", 0, *heap)


def _heap(thread: Thread, ctx: UserTaCtx, session_id: int) -> list[int]:
    manager = ctx.tee.manager
    session = manager.get_session(thread, session_id, ctx.tee.open_sessions)
    if session is None:
        return [0] * 6
    out = [Value(), Value(), Value()]
    ret = manager.dump_mem_stats(thread, session, TaParams(param_types(_OUT, _OUT, _OUT), [*out, None]))
    manager.put_session(thread, session)
    if ret:
        return [0] * 6
    return [v & _U32 for p in out for v in (p.a, p.b)]


def _time(pta: PseudoTa, call: PtaCall) -> None:
    """[out] values: REE time and system time, each seconds and milliseconds."""
    ree, system, *_ = call.params
    ree.a, ree.b = divmod(pta.tee.time.ree(call.thread), 1000)
    system.a, system.b = divmod(pta.tee.time.system(), 1000)


def _print_driver_info(pta: PseudoTa, call: PtaCall) -> int:
    """[in] value: STATS_DRIVER_TYPE_*. The board has no drivers of either kind to be printed."""
    drivers = _DRIVERS.get(call.params[0].a)
    if drivers is None:
        return gp.TEE_ERROR_BAD_PARAMETERS
    console.info("I/TC: the board has no %s", drivers)
    return gp.TEE_SUCCESS


class StatsPta(PseudoTa):
    """stats.pta"""

    uuid = gp.uuid_octets("d96a5b40-e2c7-b1af-8794-1002a5d5c61b")
    name = "stats.pta"
    flags = PTA_DEFAULT_FLAGS
    unknown_command = gp.TEE_ERROR_BAD_PARAMETERS
    commands = (
        PtaCommand(STATS_CMD_PAGER_STATS, "PAGER_STATS", param_types(_OUT, _OUT, _OUT), _pager),
        PtaCommand(STATS_CMD_ALLOC_STATS, "ALLOC_STATS", param_types(_IN, _MEM_OUT), _alloc),
        PtaCommand(STATS_CMD_MEMLEAK_STATS, "MEMLEAK_STATS", 0, lambda pta, call: None, "no heap that could leak"),
        PtaCommand(STATS_CMD_TA_STATS, "TA_STATS", param_types(_MEM_OUT), _tas),
        PtaCommand(STATS_CMD_GET_TIME, "GET_TIME", param_types(_OUT, _OUT), _time),
        PtaCommand(STATS_CMD_PRINT_DRIVER_INFO, "PRINT_DRIVER_INFO", param_types(_IN), _print_driver_info),
    )
