"""Static TAs: what boot demands of them, and what their entry points see of a caller's parameters."""

from typing import Any

import pytest
from core_fakes import PAGE, Recorder, Threads, new_tee, shared

from optemu.abi import gp
from optemu.abi.ta_head import (
    TA_FLAG_CACHE_MAINTENANCE,
    TA_FLAG_CONCURRENT,
    TA_FLAG_INSTANCE_KEEP_ALIVE,
    TA_FLAG_MULTI_SESSION,
    TA_FLAG_SINGLE_INSTANCE,
)
from optemu.board.board import Board
from optemu.errors import TeeError
from optemu.secure_world.core import pseudo_ta as room_of_ptas
from optemu.secure_world.core.mobj import Mobj, Run
from optemu.secure_world.core.param import Memref, TaParams, Value, param_types
from optemu.secure_world.core.pseudo_ta import (
    PTA_ALLOWED_FLAGS,
    PTA_DEFAULT_FLAGS,
    PseudoTa,
    PseudoTas,
    PtaMemref,
    pseudo_ta,
    registered,
    verify_conformance,
)
from optemu.secure_world.core.session import NSAPP_IDENTITY, Identity, SessionList
from optemu.secure_world.core.tee import Tee
from optemu.secure_world.core.tee_ta_manager import TaManager
from optemu.trace import Tracer

UUID = "01234567-89ab-cdef-0123-456789abcdef"
PUBLIC = Identity(gp.TEE_LOGIN_PUBLIC, gp.NIL_UUID)
IN, OUT, INOUT = gp.TEE_PARAM_TYPE_MEMREF_INPUT, gp.TEE_PARAM_TYPE_MEMREF_OUTPUT, gp.TEE_PARAM_TYPE_MEMREF_INOUT
FROM_TA, FROM_TEE = gp.TEE_ORIGIN_TRUSTED_APP, gp.TEE_ORIGIN_TEE


# --- conformance -----------------------------------------------------------------------------------------------------


def make(invoke: bool = True, **attributes: Any) -> type[PseudoTa]:
    entry = {"invoke_command": lambda *args: None} if invoke else {}
    right = {"uuid": bytes(15) + b"\1", "name": "test.pta", "flags": PTA_DEFAULT_FLAGS}
    return type("TestPta", (PseudoTa,), right | attributes | entry)


def test_the_right_ones_pass() -> None:
    verify_conformance(())
    verify_conformance((make(), make(uuid=bytes(15) + b"\2")))
    verify_conformance((make(flags=PTA_ALLOWED_FLAGS),))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ([make(), make(name="other.pta")], "'other.pta' .* has the UUID of 'test.pta'"),
        ([make(name="")], "'TestPta' .* has no name"),
        ([make(flags=PTA_DEFAULT_FLAGS & ~TA_FLAG_SINGLE_INSTANCE)], "must be single instance.* flags 0x18"),
        ([make(flags=PTA_DEFAULT_FLAGS & ~TA_FLAG_MULTI_SESSION)], "must be single instance"),
        ([make(flags=PTA_DEFAULT_FLAGS & ~TA_FLAG_INSTANCE_KEEP_ALIVE)], "must be single instance"),
        ([make(flags=PTA_DEFAULT_FLAGS | TA_FLAG_CACHE_MAINTENANCE)], "cannot have: 0x80"),
        ([make(flags=PTA_DEFAULT_FLAGS | 1 << 31)], "cannot have: 0x80000000"),
        ([make(invoke=False)], "has no invoke_command"),
        ([type("Bare", (PseudoTa,), {})], "'Bare' has no UUID: register it with @pseudo_ta"),
    ],
)
def test_every_way_to_be_wrong_stops_the_boot(wrong: list[type[PseudoTa]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        verify_conformance(tuple(wrong))
    with pytest.raises(ValueError, match=words):
        Tee(Board(), tuple(wrong))


def test_registering_enters_a_class_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_of_ptas, "_registered", [])

    @pseudo_ta(uuid=UUID, name="mine.pta", flags=PTA_DEFAULT_FLAGS | TA_FLAG_CONCURRENT)
    class Mine(PseudoTa):
        def invoke_command(self, *args: Any) -> None: ...

    assert registered() == (Mine,)
    assert (Mine.uuid, Mine.name, Mine.flags) == (gp.uuid_octets(UUID), "mine.pta", 0x11C)
    for wrong in ("not-a-uuid", "0123", UUID.replace("-", "")):
        with pytest.raises(ValueError, match=f"{wrong!r} is not a UUID"):
            pseudo_ta(uuid=wrong, name="x")(Mine)


# --- in use -------------------------------------------------------------------------------------------------------------


class Spy(PseudoTa):
    """Does what a test says: ``action`` is called with the session, command, types and parameters."""

    uuid, name, flags = gp.uuid_octets(UUID), "spy.pta", PTA_DEFAULT_FLAGS

    def __init__(self, tee: Tee) -> None:
        super().__init__(tee)
        self.seen: list[Any] = []
        self.action: Any = lambda *args: None
        self.refuse = dict[str, int]()

    def _at(self, what: str, *more: Any) -> None:
        self.seen.append((what, *more) if more else what)
        if what in self.refuse:
            raise TeeError(self.refuse[what], "refused by the test")

    def create(self) -> None:
        self._at("create")

    def destroy(self) -> None:
        self._at("destroy")

    def open_session(self, thread: Any, client: Any, types: int, params: Any) -> object:
        self._at("open")
        return f"session {self.seen.count('open')}"

    def close_session(self, thread: Any, session: object) -> None:
        self._at("close", session)

    def invoke_command(self, thread: Any, session: object, cmd: int, types: int, params: Any) -> Any:
        return self.action(session, cmd, types, params)


class Room:
    def __init__(self, trace: Tracer | None = None) -> None:
        self.tee = new_tee(trace)
        self.ptas = PseudoTas(self.tee, (Spy,))
        self.manager = TaManager([self.ptas], self.tee.board.clock, self.tee.trace)
        self.spy: Any = self.ptas.all()[0]
        self.threads = Threads()
        self.sessions = SessionList()

    def open(self, params: TaParams | None = None) -> tuple[int, int, int]:
        result: tuple[int, int, int] = self.threads.start(
            self.manager.open_session, self.sessions, Spy.uuid, PUBLIC, 0xFFFFFFFF, params or TaParams()
        ).result
        return result

    def invoke(self, number: int, params: TaParams, cmd: int = 0) -> tuple[int, int]:
        s = self.sessions[number]
        call = self.manager.invoke_command
        result: tuple[int, int] = self.threads.start(call, s, NSAPP_IDENTITY, 0xFFFFFFFF, cmd, params).result
        return result

    def close(self, number: int) -> None:
        self.threads.start(self.manager.close_session, number, self.sessions, NSAPP_IDENTITY)


@pytest.fixture
def room() -> Room:
    return Room()


def test_entry_points_in_order(room: Room) -> None:
    """Created before the first session, destroyed after the last, each session its own."""
    one, two = room.open()[2], room.open()[2]
    seen = []
    room.spy.action = lambda session, *rest: seen.append(session)
    room.invoke(two, TaParams())
    room.invoke(one, TaParams())
    room.close(one)
    room.close(two)
    room.open()
    assert seen == ["session 2", "session 1"]
    closes = [("close", "session 1"), ("close", "session 2")]
    assert room.spy.seen == ["create", "open", "open", *closes, "destroy", "create", "open"]


@pytest.mark.parametrize("what", ["create", "open"])
def test_refused_sessions(room: Room, what: str) -> None:
    room.spy.refuse[what] = gp.TEE_ERROR_ACCESS_DENIED
    assert room.open() == (gp.TEE_ERROR_ACCESS_DENIED, FROM_TA, 0)
    assert room.spy.seen[0] == "create"
    assert room.spy.seen[-1] == "destroy"
    assert ("open" in room.spy.seen) is (what == "open")
    room.spy.refuse.clear()
    assert room.open()[0] == gp.TEE_SUCCESS


def test_results(room: Room) -> None:
    number = room.open()[2]

    def refuse(*args: Any) -> None:
        raise TeeError(gp.TEE_ERROR_NO_DATA)

    for action, ret in ((lambda *args: None, 0), (lambda *args: 0x1234, 0x1234), (refuse, gp.TEE_ERROR_NO_DATA)):
        room.spy.action = action
        assert room.invoke(number, TaParams()) == (ret, FROM_TA)


def test_values_and_memory_are_the_callers_own(room: Room) -> None:
    number = room.open()[2]
    mobj = shared(room.tee.board.memory, 200, offset=0x30)
    mobj.write(100, b"question")

    def answer(session: Any, cmd: int, types: int, params: Any) -> None:
        value, memref, null, none = params
        assert (cmd, types) == (9, kinds)
        assert (value.a, value.b) == (1, 2)
        assert bytes(memref.buffer) == b"question"
        assert (null.buffer, null.size, none) == (None, 0, None)
        value.a = 77
        memref.buffer[:4] = b"answ"
        memref.size = 4

    room.spy.action = answer
    kinds = param_types(gp.TEE_PARAM_TYPE_VALUE_INOUT, INOUT, OUT)
    u: list[Any] = [Value(1, 2), Memref(mobj, 100, 8), Memref(None, 0, 0), None]
    assert room.invoke(number, TaParams(kinds, u), 9) == (0, FROM_TA)
    assert (u[0].a, u[1].size, u[1].lent) == (77, 4, 8)
    assert mobj.read(100, 8) == b"answtion"


def test_memory_in_two_pieces_is_refused_by_the_core(room: Room) -> None:
    number = room.open()[2]
    regions = [room.tee.board.memory.allocate(PAGE, secure=False) for _ in range(2)]
    mobj = Mobj(tuple(Run(r, r.base, r.size) for r in regions), 0, 2 * PAGE, 1)
    across = TaParams(IN, [Memref(mobj, PAGE - 4, 8), None, None, None])
    assert room.invoke(number, across) == (gp.TEE_ERROR_BAD_PARAMETERS, FROM_TEE)
    inside = TaParams(IN, [Memref(mobj, PAGE, 8), None, None, None])
    room.spy.action = lambda session, cmd, types, params: len(params[0].buffer)
    assert room.invoke(number, inside) == (8, FROM_TA)
    room.close(number)
    room.spy.seen.clear()
    assert room.open(across) == (gp.TEE_ERROR_BAD_PARAMETERS, FROM_TEE, 0)
    assert room.spy.seen == ["create", ("close", None), "destroy"]


def test_a_static_ta_that_writes_beyond_the_reference(room: Room) -> None:
    """It is part of the core: its mistake is a defect, not a way into other memory."""
    number = room.open()[2]
    mobj = shared(room.tee.board.memory, 16)

    def overrun(session: Any, cmd: int, types: int, params: list[PtaMemref]) -> None:
        assert params[0].buffer is not None
        params[0].buffer[0:9] = bytes(9)

    room.spy.action = overrun
    with pytest.raises(ValueError, match="memoryview assignment"):
        room.invoke(number, TaParams(INOUT, [Memref(mobj, 0, 8), None, None, None]))


def test_traced() -> None:
    trace = Recorder()
    room = Room(trace)
    room.close(room.open()[2])
    names = [name for name in trace.seen if "pseudo" in name]
    assert names == [
        "> pseudo_ta_enter_open_session",
        "< pseudo_ta_enter_open_session",
        "> pseudo_ta_enter_close_session",
        "< pseudo_ta_enter_close_session",
    ]
