"""TAs that call TAs: whose memory may be shown to whom, what comes back, and who dies."""

import struct
from collections.abc import Iterator
from typing import Any

import pytest
from core_fakes import FOREVER, PAGE, A, B, FakeCpu, Program, TaRoom, fake_engines, nothing, shared

from optemu.abi import gp
from optemu.abi import syscalls as scn
from optemu.abi.utee import UTEE_ENTRY_FUNC_INVOKE_COMMAND, UTEE_PARAMS
from optemu.secure_world.core.param import Memref, TaParams, param_types
from optemu.secure_world.core.pseudo_ta import PTA_DEFAULT_FLAGS, PseudoTa, PseudoTas
from optemu.secure_world.core.session import Identity

IN, OUT, INOUT = gp.TEE_PARAM_TYPE_MEMREF_INPUT, gp.TEE_PARAM_TYPE_MEMREF_OUTPUT, gp.TEE_PARAM_TYPE_MEMREF_INOUT
VALUE_IN, VALUE_OUT, VALUE_INOUT = 1, 2, 3
CODE, DATA = 0x40100000, 0x40101000
UUID_AT, SESSION_AT, ORIGIN_AT, PARAMS_AT = DATA + 0x400, DATA + 0x410, DATA + 0x414, DATA + 0x500
PTA = b"P" * 16
BAD, DENIED = gp.TEE_ERROR_BAD_PARAMETERS, gp.TEE_ERROR_ACCESS_DENIED
FROM_TEE, FROM_TA = gp.TEE_ORIGIN_TEE, gp.TEE_ORIGIN_TRUSTED_APP


class Mirror(PseudoTa):
    """A static TA that turns the bytes of its first memory reference round."""

    uuid, name, flags = PTA, "mirror.pta", PTA_DEFAULT_FLAGS

    def invoke_command(self, thread: Any, session: object, cmd: int, types: int, params: Any) -> int | None:
        buffer = params[0].buffer
        if buffer is None:
            return 0x123
        buffer[:] = bytes(buffer)[::-1]
        return None


class Caller:
    """What TA A does: opens sessions and invokes commands by system calls, as its runtime would."""

    def __init__(self, cpu: FakeCpu) -> None:
        self.cpu = cpu

    def open(self, uuid: bytes, params: int = 0) -> Program:
        """(TEE_Result, origin, session)"""
        self.cpu.store(UUID_AT, gp.uuid_to_memory(uuid))
        self.cpu.store(SESSION_AT, bytes(8))
        ret = yield (scn.TEE_SCN_OPEN_TA_SESSION, UUID_AT, FOREVER, params, SESSION_AT, ORIGIN_AT)
        session, origin = struct.unpack("<II", self.cpu.load(SESSION_AT, 8))
        return ret, origin, session  # type: ignore[return-value]

    def invoke(self, session: int, types: int = 0, *vals: int, cmd: int = 0) -> Program:
        """(TEE_Result, origin, values afterwards)"""
        self.cpu.store(PARAMS_AT, UTEE_PARAMS.pack(types, *vals, *[0] * (8 - len(vals))))
        self.cpu.store(ORIGIN_AT, bytes(4))
        ret = yield (scn.TEE_SCN_INVOKE_TA_COMMAND, session, FOREVER, cmd, PARAMS_AT, ORIGIN_AT)
        after = UTEE_PARAMS.unpack(self.cpu.load(PARAMS_AT, UTEE_PARAMS.size))[1:]
        return ret, struct.unpack("<I", self.cpu.load(ORIGIN_AT, 4))[0], after  # type: ignore[return-value]


@pytest.fixture
def room() -> Iterator[TaRoom]:
    with fake_engines():
        room = TaRoom()
        room.tee.manager._kinds.insert(0, PseudoTas(room.tee, (Mirror,)))
        yield room


def answering(program: Any) -> Any:
    """TA B: ``program`` for its commands, nothing for the rest."""

    def ta(cpu: FakeCpu, func: int, session: int, params: int, cmd: int) -> Program:
        if func != UTEE_ENTRY_FUNC_INVOKE_COMMAND:
            return 0
        return (yield from program(cpu, params, cmd))

    return ta


def test_values_and_results(room: TaRoom) -> None:
    seen: list[Any] = []

    def b(cpu: FakeCpu, params: int, cmd: int) -> Program:
        types, *vals = UTEE_PARAMS.unpack(cpu.load(params, UTEE_PARAMS.size))
        seen.append((cmd, types, vals))
        cpu.store(params + 8, struct.pack("<6Q", *[0x5_0000_0009] * 6))
        return gp.TEE_ERROR_NO_DATA
        yield

    def a(cpu: FakeCpu, *args: int) -> Program:
        ret, origin, session = yield from Caller(cpu).open(B)
        assert (ret, origin) == (0, FROM_TA)
        types = param_types(VALUE_IN, VALUE_INOUT, VALUE_OUT)
        wide = 0x7_0000_0001
        got = yield from Caller(cpu).invoke(session, types, wide, wide, wide, 4, 5, 6, cmd=0x42)
        assert got == (gp.TEE_ERROR_NO_DATA, FROM_TA, (wide, wide, 9, 9, 9, 9, 0, 0))
        assert (yield (scn.TEE_SCN_CLOSE_TA_SESSION, session)) == 0
        assert (yield (scn.TEE_SCN_CLOSE_TA_SESSION, session)) == gp.TEE_ERROR_ITEM_NOT_FOUND
        return 0

    room.add(B, answering(b))
    assert room.run(a) == (0, FROM_TA)
    assert seen == [(0x42, 0x231, [1, 1, 1, 4, 0, 0, 0, 0])]
    assert [ctx.uuid for ctx in room.tee.manager.contexts] == [A]


def test_memory_of_the_clients_is_passed_on(room: TaRoom) -> None:
    """A shows B a part of what it was shown itself: the same bytes, and B's size comes back."""

    def b(cpu: FakeCpu, params: int, cmd: int) -> Program:
        _, va, size, *_ = UTEE_PARAMS.unpack(cpu.load(params, UTEE_PARAMS.size))
        cpu.store(va, cpu.load(va, size).upper())
        cpu.store(params + 16, struct.pack("<Q", 3))
        return 0
        yield

    def a(cpu: FakeCpu, func: int, session: int, params: int, cmd: int) -> Program:
        _, va, size, *_ = UTEE_PARAMS.unpack(cpu.load(params, UTEE_PARAMS.size))
        _, _, session = yield from Caller(cpu).open(B)
        ret, origin, after = yield from Caller(cpu).invoke(session, INOUT, va + 2, size - 2)
        assert (ret, origin, after[:2]) == (0, FROM_TA, (va + 2, 3))
        return 0

    mobj = shared(room.tee.board.memory, 2 * PAGE, offset=PAGE - 4)
    mobj.write(0, b"client's")
    room.add(B, answering(b))
    lent = TaParams(INOUT, [Memref(mobj, 0, 8), None, None, None])
    assert room.run(a, lent) == (0, FROM_TA)
    assert mobj.read(0, 8) == b"clIENT'S"


def test_private_memory_is_shown_to_the_core_only(room: TaRoom) -> None:
    def a(cpu: FakeCpu, *args: int) -> Program:
        cpu.store(DATA, b"private")
        _, _, b_session = yield from Caller(cpu).open(B)
        _, _, pta_session = yield from Caller(cpu).open(PTA)
        assert (yield from Caller(cpu).invoke(b_session, IN, DATA, 7))[:2] == (BAD, FROM_TEE)
        assert (yield from Caller(cpu).invoke(b_session, IN, DATA, 0))[:2] == (0, FROM_TA), "nothing is shown"
        assert (yield from Caller(cpu).invoke(pta_session, INOUT, DATA, 7))[:2] == (0, FROM_TA)
        assert cpu.load(DATA, 7) == b"etavirp"
        return 0

    room.add(B, nothing)
    assert room.run(a) == (0, FROM_TA)


def test_memory_a_ta_made_shareable(room: TaRoom) -> None:
    """Two pieces of it, side by side in A, are one for B."""

    def b(cpu: FakeCpu, params: int, cmd: int) -> Program:
        _, va, size, *_ = UTEE_PARAMS.unpack(cpu.load(params, UTEE_PARAMS.size))
        return int(cpu.load(va, size) == b"0123456789")
        yield

    def a(cpu: FakeCpu, *args: int) -> Program:
        space, memory = room.ctx.space, room.tee.board.memory
        first = space.map_zi(memory, 0, PAGE, True, 0, 0)
        assert space.map_zi(memory, 0, PAGE, True, 0, 0) == first + PAGE
        cpu.store(first + PAGE - 5, b"0123456789")
        _, _, session = yield from Caller(cpu).open(B)
        return (yield from Caller(cpu).invoke(session, IN, first + PAGE - 5, 10))[0]

    room.add(B, answering(b))
    assert room.run(a) == (1, FROM_TA)


@pytest.mark.parametrize(
    ("types", "va", "size", "expected"),
    [
        (IN, 0, 0, (0x123, FROM_TA)),  # NULL
        (IN, 0, 1, (BAD, FROM_TEE)),
        (OUT, CODE, 4, (DENIED, FROM_TEE)),
        (INOUT, CODE, 4, (DENIED, FROM_TEE)),
        (INOUT, DATA + PAGE - 2, 4, (DENIED, FROM_TEE)),
        (IN, 0x5000_0000, 4, (DENIED, FROM_TEE)),
        (IN, DATA, 1 << 63, (DENIED, FROM_TEE)),
        (IN, (1 << 64) - 2, 4, (DENIED, FROM_TEE)),
    ],
)
def test_references_of_a_ta(room: TaRoom, types: int, va: int, size: int, expected: Any) -> None:
    def a(cpu: FakeCpu, *args: int) -> Program:
        _, _, session = yield from Caller(cpu).open(PTA)
        outcomes.append((yield from Caller(cpu).invoke(session, types, va, size))[:2])
        return 0

    outcomes: list[Any] = []
    assert room.run(a)[0] == 0
    assert outcomes == [expected]


@pytest.mark.parametrize("kind", [4, 8, 12, 13, 14, 15])
def test_types_that_are_none_carry_nothing(room: TaRoom, kind: int) -> None:
    def a(cpu: FakeCpu, *args: int) -> Program:
        _, _, session = yield from Caller(cpu).open(B)
        ret, origin, after = yield from Caller(cpu).invoke(session, kind, 0x5000_0000, 4)
        assert after == (0x5000_0000, 4, 0, 0, 0, 0, 0, 0)
        assert (ret, origin) == (0, FROM_TA)
        return 0

    room.add(B, nothing)
    assert room.run(a)[0] == 0


def test_pointers_of_a_ta(room: TaRoom) -> None:
    """To its UUID and parameters: memory of its own, or an error. Session and origin are lost, as upstream."""

    def a(cpu: FakeCpu, *args: int) -> Program:
        cpu.store(UUID_AT, gp.uuid_to_memory(PTA))
        right = [UUID_AT, FOREVER, 0, SESSION_AT, ORIGIN_AT]
        for n in (0, 2, 3, 4):
            for wild in (0x5000_0000, CODE if n else 1, (1 << 64) - 1):
                words = [*right[:n], wild, *right[n + 1 :]]
                expected = DENIED if n < 3 else 0
                assert (yield (scn.TEE_SCN_OPEN_TA_SESSION, *words)) == expected, (n, hex(wild))
        for words in ([1, FOREVER, 0, 0, ORIGIN_AT], [0, 0, 0, 0, ORIGIN_AT], [99, 0, 0, 0, ORIGIN_AT]):
            assert (yield (scn.TEE_SCN_INVOKE_TA_COMMAND, words[0] + 1000, *words[1:])) == BAD
        return 0

    assert room.run(a) == (0, FROM_TA)


def test_a_ta_that_is_nowhere(room: TaRoom) -> None:
    def a(cpu: FakeCpu, *args: int) -> Program:
        assert (yield from Caller(cpu).open(b"nobody has this!")) == (gp.TEE_ERROR_ITEM_NOT_FOUND, FROM_TEE, 0)
        return 0

    assert room.run(a) == (0, FROM_TA)


def test_who_calls_is_known(room: TaRoom) -> None:
    def a(cpu: FakeCpu, *args: int) -> Program:
        yield from Caller(cpu).open(B)
        identities.extend(s.clnt_id for s in room.tas.made[0].open_sessions.values())
        return 0

    identities: list[Identity] = []
    room.add(B, nothing)
    room.run(a)
    assert identities == [Identity(gp.TEE_LOGIN_TRUSTED_APP, A)]


def test_the_called_one_dies_the_caller_lives(room: TaRoom) -> None:
    def b(cpu: FakeCpu, params: int, cmd: int) -> Program:
        cpu.store(params + 8, bytes(16))
        yield (scn.TEE_SCN_PANIC, 0xBAD)

    def a(cpu: FakeCpu, *args: int) -> Program:
        _, _, session = yield from Caller(cpu).open(B)
        for _ in range(2):
            got = yield from Caller(cpu).invoke(session, VALUE_INOUT, 1, 2)
            assert got == (gp.TEE_ERROR_TARGET_DEAD, FROM_TEE, (1, 2, 0, 0, 0, 0, 0, 0))
        assert (yield (scn.TEE_SCN_CLOSE_TA_SESSION, session)) == 0
        assert (yield from Caller(cpu).open(B))[0] == 0, "a new instance"
        return 7

    room.add(B, answering(b))
    assert room.run(a) == (7, FROM_TA)
    assert [ctx.panicked for ctx in room.tas.made] == [False, True, False]
