"""Figures about the core and the TAs in it. Mirrors core/pta/stats.c."""

import logging
import struct

from optemu.abi import gp
from optemu.board.memory import SEC_WINDOW
from optemu.secure_world.core.param import TaParams, Value, param_types
from optemu.secure_world.core.pseudo_ta import PTA_DEFAULT_FLAGS, PseudoTa, PtaMemref, PtaParam
from optemu.secure_world.core.thread import Thread
from optemu.secure_world.core.user_ta import UserTaCtx

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
ALLOC_ID_TA_RAM = 3
# struct pta_stats_alloc: desc, free2_sum, allocated, max_allocated, size, three figures about failures
_ALLOC = struct.Struct("<32sQ6I")
# struct pta_stats_ta: uuid, panicked, sess_num, heap
_TA = struct.Struct("<16sII")
_POOLS = {
    1: "Heap",
    2: "Public DDR (deprecated)",
    ALLOC_ID_TA_RAM: "Physical TA memory",
    4: "KHeap (disabled)",
    5: "RPMB secure storage (no data)",
}
_DRIVERS = {STATS_DRIVER_TYPE_CLOCK: "clocks", STATS_DRIVER_TYPE_REGULATOR: "regulators"}
_U32 = 0xFFFFFFFF
_OUT3 = param_types(*[gp.TEE_PARAM_TYPE_VALUE_OUTPUT] * 3)


def _is(types: int, *wanted: int) -> bool:
    return types == param_types(*wanted)


class StatsPta(PseudoTa):
    """stats.pta"""

    uuid = gp.uuid_octets("d96a5b40-e2c7-b1af-8794-1002a5d5c61b")
    name = "stats.pta"
    flags = PTA_DEFAULT_FLAGS

    def invoke_command(
        self, thread: Thread, session: object, cmd: int, types: int, params: list[PtaParam]
    ) -> int | None:
        match cmd:
            case 0:
                return self._pager(types, params)
            case 1:
                return self._alloc(types, params)
            case 2:
                return gp.TEE_SUCCESS if types == 0 else gp.TEE_ERROR_BAD_PARAMETERS
            case 3:
                return self._tas(thread, types, params)
            case 4:
                return self._time(thread, types, params)
            case 5:
                return _print_driver_info(types, params)
        return gp.TEE_ERROR_BAD_PARAMETERS

    def _pager(self, types: int, params: list[PtaParam]) -> int:
        """There is no pager here: every figure is 0."""
        if types != _OUT3:
            return gp.TEE_ERROR_BAD_PARAMETERS
        for p in params[:3]:
            assert isinstance(p, Value)
            p.a = p.b = 0
        return gp.TEE_SUCCESS

    def _alloc(self, types: int, params: list[PtaParam]) -> int:
        """One struct pta_stats_alloc for each pool asked for; only TA memory is limited and counted here."""
        pool, out = params[0], params[1]
        if not _is(types, gp.TEE_PARAM_TYPE_VALUE_INPUT, gp.TEE_PARAM_TYPE_MEMREF_OUTPUT):
            return gp.TEE_ERROR_BAD_PARAMETERS
        assert isinstance(pool, Value)
        assert isinstance(out, PtaMemref)
        if pool.a > STATS_NB_POOLS:
            return gp.TEE_ERROR_BAD_PARAMETERS
        pools = range(1, STATS_NB_POOLS + 1) if not pool.a else (pool.a,)
        if out.size < len(pools) * _ALLOC.size:
            out.size = len(pools) * _ALLOC.size
            return gp.TEE_ERROR_SHORT_BUFFER
        return out.give(b"".join(self._pool(n, reset=bool(pool.b)) for n in pools))

    def _pool(self, number: int, reset: bool) -> bytes:
        if number != ALLOC_ID_TA_RAM:
            return _ALLOC.pack(_POOLS[number].encode(), *[0] * 7)
        usage = self.tee.board.memory.usage(secure=True)
        figures = (
            usage.used,
            usage.peak,
            SEC_WINDOW[1] - SEC_WINDOW[0],
            usage.failures,
            usage.biggest_failure,
            usage.used_at_failure,
        )
        if reset:
            usage.reset()
        return _ALLOC.pack(_POOLS[number].encode(), 0, *(min(n, _U32) for n in figures))

    def _tas(self, thread: Thread, types: int, params: list[PtaParam]) -> int:
        """One struct pta_stats_ta for each user TA, with the heap figures its runtime gives."""
        out = params[0]
        if not _is(types, gp.TEE_PARAM_TYPE_MEMREF_OUTPUT):
            return gp.TEE_ERROR_BAD_PARAMETERS
        assert isinstance(out, PtaMemref)
        contexts = [ctx for ctx in self.tee.manager.contexts if isinstance(ctx, UserTaCtx)]
        if not contexts:
            return gp.TEE_ERROR_ITEM_NOT_FOUND
        size = len(contexts) * (_TA.size + _ALLOC.size)
        if out.buffer is None or out.size < size:
            out.size = size
            return gp.TEE_ERROR_SHORT_BUFFER
        return out.give(b"".join(self._ta(thread, ctx) for ctx in contexts))

    def _ta(self, thread: Thread, ctx: UserTaCtx) -> bytes:
        sessions = [s for s in list(self.tee.open_sessions.values()) if s.ctx is ctx]
        head = _TA.pack(gp.uuid_to_memory(ctx.uuid), ctx.panicked, len(sessions))
        heap = [0] * 6
        if sessions:
            heap = self._heap(thread, sessions[0].id)
        return head + _ALLOC.pack(b"", 0, *heap)

    def _heap(self, thread: Thread, session_id: int) -> list[int]:
        manager = self.tee.manager
        session = manager.get_session(thread, session_id, self.tee.open_sessions)
        if session is None:
            return [0] * 6
        out = [Value(), Value(), Value()]
        ret = manager.dump_mem_stats(thread, session, TaParams(_OUT3, [*out, None]))
        manager.put_session(thread, session)
        if ret:
            return [0] * 6
        return [v & _U32 for p in out for v in (p.a, p.b)]

    def _time(self, thread: Thread, types: int, params: list[PtaParam]) -> int:
        """REE time and system time, each seconds and milliseconds."""
        if not _is(types, gp.TEE_PARAM_TYPE_VALUE_OUTPUT, gp.TEE_PARAM_TYPE_VALUE_OUTPUT):
            return gp.TEE_ERROR_BAD_PARAMETERS
        for p, millis in zip(params, (self.tee.time.ree(thread), self.tee.time.system()), strict=False):
            assert isinstance(p, Value)
            p.a, p.b = divmod(millis, 1000)
        return gp.TEE_SUCCESS


def _print_driver_info(types: int, params: list[PtaParam]) -> int:
    """[in] value: STATS_DRIVER_TYPE_*. The board has no drivers of either kind to be printed."""
    if not _is(types, gp.TEE_PARAM_TYPE_VALUE_INPUT):
        return gp.TEE_ERROR_BAD_PARAMETERS
    kind = params[0]
    assert isinstance(kind, Value)
    if kind.a not in _DRIVERS:
        return gp.TEE_ERROR_BAD_PARAMETERS
    log.info("the board has no %s", _DRIVERS[kind.a])
    return gp.TEE_SUCCESS
