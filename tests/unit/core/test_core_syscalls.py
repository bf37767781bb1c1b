"""System calls of a TA served without Arm code: log, cancellation, random numbers, caches, clocks, properties."""

import logging
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from core_fakes import PAGE, FakeCpu, Program, TaRoom, fake_engines, shared

from optemu.abi import gp
from optemu.abi import optee_rpc_cmd as rpc
from optemu.abi import syscalls as scn
from optemu.abi.ta_head import TA_FLAG_CACHE_MAINTENANCE
from optemu.board.entropy import Entropy
from optemu.secure_world.core.param import Memref, TaParams
from optemu.secure_world.syscalls import misc
from optemu.secure_world.syscalls.table import SYSCALLS

DENIED, BAD = gp.TEE_ERROR_ACCESS_DENIED, gp.TEE_ERROR_BAD_PARAMETERS
CODE, DATA = 0x40100000, 0x40101000
TEE = scn.TEE_PROPSET_TEE_IMPLEMENTATION


@pytest.fixture
def room() -> Iterator[TaRoom]:
    with fake_engines():
        yield TaRoom()


class World:
    """The normal world of a TA's thread: a clock of its own, in milliseconds."""

    def __init__(self, room: TaRoom) -> None:
        self.room = room
        self.now = 0
        self.slept: list[int] = []
        self.refuse = 0
        room.tee.board.clock.counter_ns = lambda: self.now * 1_000_000  # type: ignore[method-assign]

    def connect(self) -> None:
        thread: Any = self.room.ctx.thread
        thread.rpc_cmd = self.rpc_cmd

    def rpc_cmd(self, cmd: int, params: Any) -> int:
        if cmd == rpc.OPTEE_RPC_CMD_SUSPEND:
            self.slept.append(params[0].a)
            self.now += params[0].a
        elif cmd == rpc.OPTEE_RPC_CMD_GET_TIME:
            params[0].a, params[0].b = 0x5_0000_0064, 999_999_999 + (7 << 32)
        return self.refuse


def run(room: TaRoom, program: Any, params: TaParams | None = None) -> None:
    """``program(cpu, memory)`` as a command of a TA; it asserts by itself."""

    def ta(cpu: FakeCpu, func: int, session: int, params: int, cmd: int) -> Program:
        yield from program(cpu)
        return 0

    assert room.run(ta, params) == (0, gp.TEE_ORIGIN_TRUSTED_APP)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"I/TA: hello\n\0", "I/TA: hello"),
        (b"no end", "no end"),
        (b"one\0two", "one"),
        (b"\xff\xc3\xa4\0", "\ufffd\u00e4"),
        (b"\n\n\0", ""),
    ],
)
def test_log(room: TaRoom, caplog: pytest.LogCaptureFixture, text: bytes, shown: str) -> None:
    def program(cpu: FakeCpu) -> Program:
        cpu.store(DATA, text)
        assert (yield (scn.TEE_SCN_LOG, DATA, len(text))) == 0
        return 0

    with caplog.at_level(logging.INFO, "optemu.console"):
        run(room, program)
    assert [r.getMessage() for r in caplog.records if r.name == "optemu.console"] == [shown]


def test_log_of_nothing_and_of_what_is_not_there(room: TaRoom) -> None:
    def program(cpu: FakeCpu) -> Program:
        assert (yield (scn.TEE_SCN_LOG, 0, 0)) == 0
        assert (yield (scn.TEE_SCN_LOG, 0, 1)) == DENIED
        assert (yield (scn.TEE_SCN_LOG, DATA + PAGE - 1, 2)) == DENIED
        assert (yield (scn.TEE_SCN_LOG, DATA, 1 << 63)) == DENIED
        return 0

    run(room, program)


def test_cancellation_mask_and_flag(room: TaRoom) -> None:
    def program(cpu: FakeCpu) -> Program:
        session = room.ctx.session
        assert session is not None
        seen = []
        session.cancel = True
        for call in (scn.TEE_SCN_UNMASK_CANCELLATION, scn.TEE_SCN_UNMASK_CANCELLATION, scn.TEE_SCN_MASK_CANCELLATION):
            assert (yield (call, DATA)) == 0
            seen.append(cpu.load(DATA, 4)[0])
            assert (yield (scn.TEE_SCN_GET_CANCELLATION_FLAG, DATA)) == 0
            seen.append(cpu.load(DATA, 4)[0])
        assert seen == [1, 1, 0, 1, 0, 0], "what the mask was, and whether the call is cancelled"
        for call in (scn.TEE_SCN_MASK_CANCELLATION, scn.TEE_SCN_GET_CANCELLATION_FLAG):
            assert (yield (call, CODE)) == DENIED
        return 0

    run(room, program)


def test_random_numbers(room: TaRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(misc, "_RANDOM_AT_ONCE", 64)

    def program(cpu: FakeCpu) -> Program:
        room.tee.board.entropy = Entropy(1)
        again = Entropy(1)
        assert (yield (scn.TEE_SCN_CRYP_RANDOM_NUMBER_GENERATE, DATA + 1, 150)) == 0
        assert cpu.load(DATA, 152) == b"d" + b"".join(again.read(n) for n in (64, 64, 22)) + b"\0"
        assert (yield (scn.TEE_SCN_CRYP_RANDOM_NUMBER_GENERATE, DATA, 0)) == 0
        before = cpu.load(DATA, PAGE)
        assert (yield (scn.TEE_SCN_CRYP_RANDOM_NUMBER_GENERATE, DATA, PAGE + 1)) == DENIED
        assert cpu.load(DATA, PAGE) == before, "all or nothing"
        return 0

    run(room, program)


@pytest.mark.parametrize("allowed", [False, True])
def test_cache_maintenance_is_for_parameters(room: TaRoom, allowed: bool) -> None:
    lent = Memref(shared(room.tee.board.memory, PAGE), 0, PAGE)

    def program(cpu: FakeCpu) -> Program:
        room.ctx.flags = TA_FLAG_CACHE_MAINTENANCE if allowed else 0
        param = 0xA0000000
        for op in (scn.TEE_CACHECLEAN, scn.TEE_CACHEFLUSH, scn.TEE_CACHEINVALIDATE):
            expected = 0 if allowed else gp.TEE_ERROR_NOT_SUPPORTED
            assert (yield (scn.TEE_SCN_CACHE_OPERATION, param, PAGE, op)) == expected
        if allowed:
            for va, size in ((DATA, 4), (param - 4, 8), (param + PAGE - 4, 8), (0, 4)):
                assert (yield (scn.TEE_SCN_CACHE_OPERATION, va, size, 0)) == DENIED
        assert (yield (scn.TEE_SCN_CACHE_OPERATION, param, PAGE, 3)) == gp.TEE_ERROR_NOT_SUPPORTED
        return 0

    run(room, program, TaParams(gp.TEE_PARAM_TYPE_MEMREF_INOUT, [lent, None, None, None]))


# --- time -----------------------------------------------------------------------------------------------------------------


def test_waiting_looks_up_now_and_then(room: TaRoom) -> None:
    world = World(room)

    def program(cpu: FakeCpu) -> Program:
        world.connect()
        assert (yield (scn.TEE_SCN_WAIT, 120)) == 0
        assert world.slept == [50, 50, 20]
        assert (yield (scn.TEE_SCN_WAIT, 0)) == 0
        assert len(world.slept) == 3
        return 0

    run(room, program)


def test_waiting_ends_when_cancelled(room: TaRoom) -> None:
    world = World(room)

    def program(cpu: FakeCpu) -> Program:
        world.connect()
        session = room.ctx.session
        assert session is not None
        yield (scn.TEE_SCN_UNMASK_CANCELLATION, DATA)
        session.cancel_time = 120 * 1_000_000
        assert (yield (scn.TEE_SCN_WAIT, gp.TEE_TIMEOUT_INFINITE)) == gp.TEE_ERROR_CANCEL
        assert world.now == 150
        return 0

    run(room, program)


def test_waiting_for_nobody_any_more(room: TaRoom) -> None:
    world = World(room)

    def program(cpu: FakeCpu, *args: int) -> Program:
        world.connect()
        thread: Any = room.ctx.thread
        thread.abandoned = True
        yield (scn.TEE_SCN_WAIT, 1000)

    assert room.run(program) == (gp.TEE_ERROR_TARGET_DEAD, gp.TEE_ORIGIN_TEE)
    assert world.slept == []


def test_three_clocks(room: TaRoom) -> None:
    world = World(room)

    def program(cpu: FakeCpu) -> Program:
        def get(category: int) -> Program:
            ret = yield (scn.TEE_SCN_GET_TIME, category, DATA)
            return ret, struct.unpack("<II", cpu.load(DATA, 8))  # type: ignore[return-value]

        world.connect()
        world.now = 12_345
        assert (yield from get(scn.UTEE_TIME_CAT_SYSTEM)) == (0, (12, 345))
        assert (yield from get(scn.UTEE_TIME_CAT_REE))[1][0] == 100, "the normal world's, cut to what fits"
        assert (yield from get(scn.UTEE_TIME_CAT_TA_PERSISTENT))[0] == gp.TEE_ERROR_TIME_NOT_SET
        assert (yield from get(3))[0] == BAD
        cpu.store(DATA, struct.pack("<II", 0xFFFFFFFF, 900))
        assert (yield (scn.TEE_SCN_SET_TA_TIME, DATA)) == 0
        assert (yield from get(scn.UTEE_TIME_CAT_TA_PERSISTENT)) == (0, (0xFFFFFFFF, 900))
        world.now += 200
        assert (yield from get(scn.UTEE_TIME_CAT_TA_PERSISTENT)) == (gp.TEE_ERROR_OVERFLOW, (0, 100))
        cpu.store(DATA, struct.pack("<II", 1, 1000))
        assert (yield (scn.TEE_SCN_SET_TA_TIME, DATA)) == BAD
        world.refuse = gp.TEE_ERROR_COMMUNICATION
        assert (yield from get(scn.UTEE_TIME_CAT_REE))[0] == gp.TEE_ERROR_COMMUNICATION
        return 0

    run(room, program)


# --- properties ---------------------------------------------------------------------------------------------------------------


def test_properties_by_name_and_by_index(room: TaRoom) -> None:
    name_at, len_at, buf_at, size_at, type_at = DATA, DATA + 0x100, DATA + 0x200, DATA + 0x300, DATA + 0x310

    def program(cpu: FakeCpu) -> Program:
        name = b"gpd.tee.description\0"
        cpu.store(name_at, name)
        assert (yield (scn.TEE_SCN_GET_PROPERTY_NAME_TO_INDEX, TEE, name_at, len(name), len_at)) == 0
        (index,) = struct.unpack("<I", cpu.load(len_at, 4))
        for room_for, ret in ((100, 0), (6, 0), (5, gp.TEE_ERROR_SHORT_BUFFER), (0, gp.TEE_ERROR_SHORT_BUFFER)):
            cpu.store(size_at, struct.pack("<I", room_for))
            cpu.store(buf_at, bytes(6))
            assert (yield (scn.TEE_SCN_GET_PROPERTY, TEE, index, 0, 0, buf_at, size_at, type_at)) == ret
            assert cpu.load(size_at, 4) == struct.pack("<I", 6)
            assert cpu.load(buf_at, 6) == (b"OPTEE\0" if not ret else bytes(6))
        assert cpu.load(type_at, 4) == struct.pack("<I", scn.USER_TA_PROP_TYPE_STRING)
        cpu.store(len_at, struct.pack("<I", 64))
        assert (yield (scn.TEE_SCN_GET_PROPERTY, TEE, index, name_at, len_at, 0, 0, 0)) == 0
        assert cpu.load(name_at, len(name)) == name
        return 0

    run(room, program)


def test_properties_that_are_not_there(room: TaRoom) -> None:
    def program(cpu: FakeCpu) -> Program:
        missing = gp.TEE_ERROR_ITEM_NOT_FOUND
        cpu.store(DATA, b"gpd.tee.nothing\0")
        assert (yield (scn.TEE_SCN_GET_PROPERTY_NAME_TO_INDEX, TEE, DATA, 16, DATA + 64)) == missing
        assert (yield (scn.TEE_SCN_GET_PROPERTY_NAME_TO_INDEX, 5, DATA, 16, DATA + 64)) == missing
        assert (yield (scn.TEE_SCN_GET_PROPERTY_NAME_TO_INDEX, TEE, 0, 16, DATA + 64)) == BAD
        assert (yield (scn.TEE_SCN_GET_PROPERTY_NAME_TO_INDEX, TEE, DATA, 1 << 20, DATA)) == gp.TEE_ERROR_OUT_OF_MEMORY
        for index in (1000, 0xFFFFFFFF, (1 << 64) - 1):
            assert (yield (scn.TEE_SCN_GET_PROPERTY, TEE, index, 0, 0, 0, 0, 0)) == missing
        assert (yield (scn.TEE_SCN_GET_PROPERTY, 5, 0, 0, 0, 0, 0, 0)) == missing
        assert (yield (scn.TEE_SCN_GET_PROPERTY, TEE, 0, 0, 0, CODE, CODE, 0)) == DENIED
        return 0

    run(room, program)


def test_the_table_is_whole() -> None:
    assert [row.number for row in sorted(SYSCALLS, key=lambda row: row.number)] == list(range(scn.TEE_SCN_MAX + 1))
    assert len({row.name for row in SYSCALLS}) == len(SYSCALLS)
    assert all(row.note for row in SYSCALLS if row.support != "full")
