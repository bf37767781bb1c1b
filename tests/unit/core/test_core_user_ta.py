"""User TAs without Arm code: what is handed to __ta_entry and taken back, calls served, and every way to die."""

import struct
from collections.abc import Iterator
from typing import Any

import pytest
from core_fakes import FOREVER, PAGE, PUBLIC, A, B, FakeCpu, Program, Recorder, TaRoom, fake_engines, nothing, shared

from optemu.abi import gp
from optemu.abi import syscalls as scn
from optemu.abi.utee import (
    UTEE_ENTRY_FUNC_CLOSE_SESSION,
    UTEE_ENTRY_FUNC_DUMP_MEMSTATS,
    UTEE_ENTRY_FUNC_INVOKE_COMMAND,
    UTEE_ENTRY_FUNC_OPEN_SESSION,
    UTEE_PARAMS,
)
from optemu.secure_world.core.param import Memref, TaParams, Value, param_types
from optemu.secure_world.core.session import NSAPP_IDENTITY
from optemu.secure_world.core.ta_image import STACK_TOP
from optemu.secure_world.core.user_ta import ABORT_PANIC_CODE, CFG_CORE_MAX_SYSCALL_RECURSION
from optemu.secure_world.cpu import Stop

DEAD = (gp.TEE_ERROR_TARGET_DEAD, gp.TEE_ORIGIN_TEE)
SCRATCH = 0x40101800
"""In the fake TA's page of data."""


@pytest.fixture
def room() -> Iterator[TaRoom]:
    with fake_engines():
        yield TaRoom()


# --- the entry ------------------------------------------------------------------------------------------------------------


def test_each_entry_point_is_named_in_the_first_register(room: TaRoom) -> None:
    room.add(A, nothing)
    number = room.open()
    room.invoke(number, cmd=0x1234)
    cpu: Any = room.ctx.instance.cpu  # type: ignore[union-attr]
    session = room.sessions[number]
    room.threads.start(lambda thread: room.tee.manager.dump_mem_stats(thread, session, TaParams()))
    room.close(number)
    assert [(func, cmd) for _, _, func, _, _, cmd in cpu.entries] == [
        (UTEE_ENTRY_FUNC_OPEN_SESSION, 0),
        (UTEE_ENTRY_FUNC_INVOKE_COMMAND, 0x1234),
        (UTEE_ENTRY_FUNC_DUMP_MEMSTATS, 0),
        (UTEE_ENTRY_FUNC_CLOSE_SESSION, 0),
    ]
    assert {(pc, sp, uref) for pc, sp, _, uref, _, _ in cpu.entries} == {(0x40100000, cpu.stack_ptr, session.uref)}
    assert STACK_TOP - PAGE < cpu.stack_ptr < STACK_TOP
    assert cpu.stack_ptr % 16 == 0


def test_parameters_in(room: TaRoom) -> None:
    seen = {}

    def look(cpu: FakeCpu, func: int, session: int, params: int, cmd: int) -> Program:
        seen["raw"] = UTEE_PARAMS.unpack(cpu.load(params, UTEE_PARAMS.size))
        seen["memory"] = cpu.load(seen["raw"][3], 6)
        return 0
        yield

    mobj = shared(room.tee.board.memory, 100, offset=0x40)
    mobj.write(8, b"memory")
    types = param_types(gp.TEE_PARAM_TYPE_VALUE_INPUT, gp.TEE_PARAM_TYPE_MEMREF_INPUT, gp.TEE_PARAM_TYPE_MEMREF_OUTPUT)
    params = TaParams(types, [Value(7, 0xFFFFFFFF), Memref(mobj, 8, 6), Memref(None, 0, 0), None])
    assert room.run(look, params) == (0, gp.TEE_ORIGIN_TRUSTED_APP)
    got_types, a, b, va, size, *rest = seen["raw"]
    assert (got_types, a, b, size, rest) == (types, 7, 0xFFFFFFFF, 6, [0, 0, 0, 0])
    assert va % PAGE == 0x48
    assert seen["memory"] == b"memory"


def test_parameters_out(room: TaRoom) -> None:
    """Only what is output is taken back; a size may say more than was lent."""

    def write(cpu: FakeCpu, func: int, session: int, params: int, cmd: int) -> Program:
        types, *vals = UTEE_PARAMS.unpack(cpu.load(params, UTEE_PARAMS.size))
        cpu.store(vals[4], b"answer")
        filled = [1, 2, 0xBAD, 0xBAD, vals[4], 9999, 0xBAD, 0xBAD]
        cpu.store(params, UTEE_PARAMS.pack(0xBAD, *filled))
        return gp.TEE_ERROR_SHORT_BUFFER
        yield

    mobj = shared(room.tee.board.memory, 64)
    kinds = (
        gp.TEE_PARAM_TYPE_VALUE_OUTPUT,
        gp.TEE_PARAM_TYPE_VALUE_INPUT,
        gp.TEE_PARAM_TYPE_MEMREF_INOUT,
        gp.TEE_PARAM_TYPE_MEMREF_INPUT,
    )
    u: list[Any] = [Value(), Value(5, 6), Memref(mobj, 0, 32), Memref(mobj, 32, 16)]
    ret = room.run(write, TaParams(param_types(*kinds), u))
    assert ret == (gp.TEE_ERROR_SHORT_BUFFER, gp.TEE_ORIGIN_TRUSTED_APP)
    assert [(u[0].a, u[0].b), (u[1].a, u[1].b), u[2].size, u[3].size] == [(1, 2), (5, 6), 9999, 16]
    assert mobj.read(0, 6) == b"answer"


def test_the_next_call_does_not_see_the_memory_of_the_last(room: TaRoom) -> None:
    def read(cpu: FakeCpu, func: int, session: int, params: int, cmd: int) -> Program:
        if func == UTEE_ENTRY_FUNC_INVOKE_COMMAND and cmd:
            try:
                cpu.load(0xA0000000, 1)
            except KeyError:
                return (yield Stop.DATA_ABORT)
        return 0

    room.add(A, read)
    number = room.open()
    lent = TaParams(gp.TEE_PARAM_TYPE_MEMREF_INPUT, [Memref(shared(room.tee.board.memory, 64), 0, 8), None, None, None])
    assert room.invoke(number, lent, 1)[0] == 0
    assert room.invoke(number, None, 1) == DEAD


# --- system calls -----------------------------------------------------------------------------------------------------------


def test_a_syscall_reads_and_writes_the_tas_memory(room: TaRoom) -> None:
    def program(cpu: FakeCpu, *args: int) -> Program:
        assert (yield (scn.TEE_SCN_CRYP_RANDOM_NUMBER_GENERATE, SCRATCH, 16)) == 0
        assert cpu.load(SCRATCH, 16) != bytes(16)
        assert (yield (scn.TEE_SCN_CRYP_RANDOM_NUMBER_GENERATE, 0x40100000, 16)) == gp.TEE_ERROR_ACCESS_DENIED
        assert (yield (scn.TEE_SCN_UNMASK_CANCELLATION, SCRATCH)) == 0
        assert cpu.load(SCRATCH, 4) == b"\1\0\0\0"
        return (yield (scn.TEE_SCN_CHECK_ACCESS_RIGHTS, gp.TEE_MEMORY_ACCESS_WRITE, 0x40100000, 4))

    assert room.run(program) == (gp.TEE_ERROR_ACCESS_DENIED, gp.TEE_ORIGIN_TRUSTED_APP)


@pytest.mark.parametrize("number", [55, 71, 0xFFFFFFFFFFFFFFFF])
def test_what_is_not_there_is_said_and_kills_nobody(
    room: TaRoom, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    def program(cpu: FakeCpu, *args: int) -> Program:
        return (yield (number, 1, 2, 3, 4, 5, 6, 7, 8))

    assert room.run(program) == (gp.TEE_ERROR_NOT_SUPPORTED, gp.TEE_ORIGIN_TRUSTED_APP)
    assert "not supported yet" in caplog.text or "does not exist" in caplog.text


def test_every_syscall_of_the_table_survives_arguments_of_ones(room: TaRoom) -> None:
    ends: dict[int, int] = {}

    def program(cpu: FakeCpu, *args: int) -> Program:
        for number in range(1, scn.TEE_SCN_MAX + 1):
            if number not in (scn.TEE_SCN_PANIC, scn.TEE_SCN_WAIT):
                ends[number] = yield (number, *[0xFFFFFFFFFFFFFFFF] * 8)
        return 0

    assert room.run(program)[0] == 0
    assert len(ends) == scn.TEE_SCN_MAX - 2
    assert all(ret >= 0xF0000000 for ret in ends.values()), "an error each"


def test_the_last_word_is_a_tee_result(room: TaRoom) -> None:
    def program(cpu: FakeCpu, *args: int) -> Program:
        yield (scn.TEE_SCN_RETURN, 0x1_0000_0007)
        raise AssertionError("the call has ended")

    assert room.run(program) == (7, gp.TEE_ORIGIN_TRUSTED_APP)


# --- death --------------------------------------------------------------------------------------------------------------------


def test_panic(room: TaRoom, caplog: pytest.LogCaptureFixture) -> None:
    def program(cpu: FakeCpu, *args: int) -> Program:
        yield (scn.TEE_SCN_PANIC, 0xFFFF0006)

    assert room.run(program) == DEAD
    assert (room.ctx.panicked, room.ctx.panic_code) == (True, 0xFFFF0006)
    assert "TA panicked with code 0xffff0006" in caplog.text
    assert room.ctx.instance is None, "its memory and engine are given back at once"


@pytest.mark.parametrize(
    ("stop", "words"),
    [
        (Stop.DATA_ABORT, "data-abort"),
        (Stop.PREFETCH_ABORT, "prefetch-abort"),
        (Stop.UNDEFINED, "undef"),
        (Stop.BREAKPOINT, "breakpoint"),
        (Stop.CRASH, "crash"),
    ],
)
def test_aborts(room: TaRoom, caplog: pytest.LogCaptureFixture, stop: Stop, words: str) -> None:
    def program(cpu: FakeCpu, *args: int) -> Program:
        yield stop

    assert room.run(program) == DEAD
    assert room.ctx.panic_code == ABORT_PANIC_CODE
    assert words in caplog.text
    assert gp.uuid_str(A) in caplog.text
    assert "rw-s" in caplog.text, "the region list"


@pytest.mark.parametrize("abandoned", [False, True])
def test_interrupted(room: TaRoom, caplog: pytest.LogCaptureFixture, abandoned: bool) -> None:
    """It leaves for the normal world and goes on, unless nobody waits for it there any more."""
    threads = []

    def program(cpu: FakeCpu, *args: int) -> Program:
        thread: Any = room.ctx.thread
        threads.append(thread)
        thread.abandoned = abandoned
        room.ctx.stop()
        yield (scn.TEE_SCN_LOG, 0, 0)
        return 7

    assert room.run(program) == (DEAD if abandoned else (7, gp.TEE_ORIGIN_TRUSTED_APP))
    assert threads[0].interrupts == 1
    assert ("the client of this call is gone" in caplog.text) == abandoned
    assert room.ctx.panic_code == (gp.TEE_ERROR_CANCEL if abandoned else 0)


def test_a_defect_of_ours_leaves_the_ta_to_others(room: TaRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    def program(cpu: FakeCpu, func: int, session: int, params: int, cmd: int) -> Program:
        if cmd:
            yield (scn.TEE_SCN_LOG, 0, 0)
        return 0

    room.add(A, program)
    number = room.open()
    monkeypatch.setattr(room.tee.syscalls, "call", lambda *args: 1 // 0)
    s = room.sessions[number]

    def call(thread: Any) -> str:
        try:
            room.tee.manager.invoke_command(thread, s, NSAPP_IDENTITY, FOREVER, 1, TaParams())
        except ZeroDivisionError:
            return f"{thread.session} {thread.syscall_recursion}"
        return "no error"

    assert room.threads.start(call).result == "None 0"
    assert (room.ctx.busy, room.ctx.session, room.ctx.panicked) == (False, None, False)
    assert room.invoke(number) == (0, gp.TEE_ORIGIN_TRUSTED_APP)


# --- TAs that call TAs ----------------------------------------------------------------------------------------------------------


def opening(uuid: bytes) -> Any:
    """Open a session with ``uuid`` at each entry that is no close; its result and session id are the answer."""

    def program(cpu: FakeCpu, func: int, session: int, params: int, cmd: int) -> Program:
        if func == UTEE_ENTRY_FUNC_CLOSE_SESSION:
            return 0
        cpu.store(SCRATCH, gp.uuid_to_memory(uuid))
        ret = yield (scn.TEE_SCN_OPEN_TA_SESSION, SCRATCH, FOREVER, 0, SCRATCH + 16, SCRATCH + 20)
        depths.append(struct.unpack("<II", cpu.load(SCRATCH + 16, 8)))
        return ret

    depths: list[tuple[int, int]] = []
    program.depths = depths  # type: ignore[attr-defined]
    return program


def test_nesting_has_a_limit(room: TaRoom, caplog: pytest.LogCaptureFixture) -> None:
    endless = opening(A)
    room.add(A, endless)
    manager, sessions = room.tee.manager, room.sessions
    ret, origin, _ = room.threads.start(
        lambda thread: manager.open_session(thread, sessions, A, PUBLIC, FOREVER, TaParams())
    ).result
    assert (ret, origin) == (gp.TEE_ERROR_OUT_OF_MEMORY, gp.TEE_ORIGIN_TRUSTED_APP)
    assert len(endless.depths) == CFG_CORE_MAX_SYSCALL_RECURSION
    assert endless.depths[0][1] == gp.TEE_ORIGIN_TEE, "refused by the core, not by a TA"
    assert "nested too deeply" in caplog.text
    assert not manager.contexts


def test_sessions_a_ta_left_open_go_with_it(room: TaRoom) -> None:
    room.add(A, opening(B))
    room.add(B, nothing)
    number = room.open(A)
    inner, outer = room.tas.made[1], room.tas.made[0]
    assert len(outer.open_sessions) == 1
    assert inner.uuid == B
    room.close(number)
    assert not outer.open_sessions
    assert not room.tee.manager.contexts
    assert inner.instance is None


def test_cancellation_is_forgotten_with_the_call(room: TaRoom) -> None:
    seen: list[int] = []
    masks: list[int] = []

    def program(cpu: FakeCpu, func: int, session: int, params: int, cmd: int) -> Program:
        if func == UTEE_ENTRY_FUNC_INVOKE_COMMAND:
            if cmd:
                assert room.ctx.session is not None
                room.tee.manager.cancel_command(room.ctx.session, NSAPP_IDENTITY)
            yield (scn.TEE_SCN_GET_CANCELLATION_FLAG, SCRATCH)
            seen.append(cpu.load(SCRATCH, 1)[0])
            yield (scn.TEE_SCN_UNMASK_CANCELLATION, SCRATCH)
            masks.append(cpu.load(SCRATCH, 1)[0])
            yield (scn.TEE_SCN_GET_CANCELLATION_FLAG, SCRATCH)
            seen.append(cpu.load(SCRATCH, 1)[0])
        return 0

    room.add(A, program)
    number = room.open()
    assert room.invoke(number, cmd=1)[0] == room.invoke(number, cmd=0)[0] == 0
    assert seen == [0, 1, 0, 0]
    assert masks == [1, 1], "each call begins masked"


def test_the_road_of_a_call_is_traced() -> None:
    with fake_engines():
        trace = Recorder()
        room = TaRoom(trace)
        room.add(A, nothing)
        number = room.open()
        trace.seen.clear()
        room.invoke(number)
    assert trace.seen == [
        "> tee_ta_invoke_command",
        "> user_ta_enter_invoke_cmd",
        "> thread_enter_user_mode",
        "> __ta_entry",
        "< __ta_entry",
        "* thread_unwind_user_mode",
        "< thread_enter_user_mode",
        "< user_ta_enter_invoke_cmd",
        "< tee_ta_invoke_command",
    ]
