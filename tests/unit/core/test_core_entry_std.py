"""Messages of the normal world: decoded once, checked, answered; whatever their bytes are."""

import struct
from typing import Any

import pytest
from core_fakes import PAGE, Recorder, Threads, page_list, shared
from hypothesis import given
from hypothesis import strategies as st

from optemu.abi import gp, optee_msg
from optemu.board.board import Board
from optemu.errors import TeeError
from optemu.secure_world.core.entry_std import STD_CALLS, Message, copy_in_params, copy_out_params, tee_entry_std
from optemu.secure_world.core.param import Memref, Value
from optemu.secure_world.core.pseudo_ta import PTA_DEFAULT_FLAGS, PseudoTa
from optemu.secure_world.core.tee import Tee
from optemu.trace import Tracer

OPEN, INVOKE, CLOSE, CANCEL, REGISTER, UNREGISTER = range(6)
HEAD, PARAM = optee_msg.MSG_ARG, optee_msg.MSG_PARAM
UUID = bytes(range(16))
META_VALUE = 0x101
NONCONTIG = 0x20A
BAD = gp.TEE_ERROR_BAD_PARAMETERS
FROM_TEE, FROM_TA = gp.TEE_ORIGIN_TEE, gp.TEE_ORIGIN_TRUSTED_APP
Params = list[tuple[int, int, int, int]]


class Answering(PseudoTa):
    """Command 0 adds, 1 fails, 2 is a defect of ours."""

    uuid, name, flags = UUID, "answering.pta", PTA_DEFAULT_FLAGS

    def invoke_command(self, thread: Any, session: object, cmd: int, types: int, params: Any) -> int | None:
        if cmd == 1:
            raise TeeError(gp.TEE_ERROR_NO_DATA)
        if cmd == 2:
            raise ZeroDivisionError("a defect")
        for p in params:
            if isinstance(p, Value):
                p.a += p.b
            elif p is not None:
                p.size += 1
        return None


class Room:
    """A trusted OS with one static TA; messages lie at an odd place of a page."""

    AT = 64

    def __init__(self, trace: Tracer | None = None) -> None:
        self.tee = Tee(Board(trace=trace), (Answering,))
        self.threads = Threads()
        self.page = self.tee.board.memory.allocate(PAGE, secure=False)
        self.mobj = shared(self.tee.board.memory, 2 * PAGE, cookie=77)
        self.tee.shm.register(self.mobj)

    def write(self, cmd: int, func: int = 0, session: int = 0, params: Params | None = None) -> int:
        params = params or []
        HEAD.pack_into(self.page.view, self.AT, cmd, func, session, 0, 0, 0xEEEE, 0xEEEE, len(params))
        for n, p in enumerate(params):
            PARAM.pack_into(self.page.view, self.AT + HEAD.size + n * PARAM.size, *p)
        return len(params)

    def send(self, cmd: int, func: int = 0, session: int = 0, params: Params | None = None) -> tuple[int, int]:
        """One message: (ret, origin)."""
        count = self.write(cmd, func, session, params)
        assert self.threads.start(self._entry, count).result == 0
        head = HEAD.unpack_from(self.page.view, self.AT)
        return head[5], head[6]

    def _entry(self, thread: Any, count: int) -> int:
        return tee_entry_std(self.tee, thread, self.page.view, self.AT, count)

    @property
    def session(self) -> int:
        return int(HEAD.unpack_from(self.page.view, self.AT)[2])

    def params(self, count: int) -> Params:
        at = self.AT + HEAD.size
        return [PARAM.unpack_from(self.page.view, at + n * PARAM.size) for n in range(count)]

    def open(self) -> int:
        assert self.send(OPEN, params=meta()) == (0, FROM_TA)
        return self.session


def meta(uuid: bytes = UUID, login: int = 0, client: bytes = bytes(16)) -> Params:
    pair = struct.Struct("<QQ")
    return [(META_VALUE, *pair.unpack(uuid), 0), (META_VALUE, *pair.unpack(client), login)]


@pytest.fixture
def room() -> Room:
    return Room()


# --- the messages ------------------------------------------------------------------------------------------------------


def test_a_session_from_its_opening_to_its_end(room: Room) -> None:
    number = room.open()
    assert room.send(INVOKE, 0, number, [(3, 40, 2, 9)]) == (0, FROM_TA)
    assert room.params(1) == [(3, 42, 2, 9)], "a and b are written, attr and c are left"
    assert room.send(INVOKE, 1, number) == (gp.TEE_ERROR_NO_DATA, FROM_TA)
    assert room.send(CANCEL, session=number) == (0, FROM_TEE)
    assert room.send(CLOSE, session=number) == (0, FROM_TEE)
    assert room.send(CLOSE, session=number) == (gp.TEE_ERROR_ITEM_NOT_FOUND, FROM_TEE)
    assert room.send(INVOKE, 0, number) == (BAD, FROM_TEE)
    assert room.send(CANCEL, session=number) == (BAD, FROM_TEE)


@pytest.mark.parametrize(
    "params",
    [
        [],
        meta()[:1],
        [(1, 0, 0, 0), *meta()[1:]],
        [*meta()[:1], (1, 0, 0, 0)],
        [(0x102, 0, 0, 0), *meta()[1:]],
        meta(login=8),  # no such login
        meta(login=gp.TEE_LOGIN_TRUSTED_APP),  # not the normal world's to claim
        [*meta(), (META_VALUE, 0, 0, 0)],  # meta beyond the first two
        [*meta(), (0x100, 0, 0, 0)],
        [*meta(), *[(1, 0, 0, 0)] * 5],
    ],
)
def test_sessions_that_are_not_opened(room: Room, params: Params) -> None:
    assert room.send(OPEN, params=params) == (BAD, FROM_TEE)
    assert room.session == 0
    assert not room.tee.open_sessions


@pytest.mark.parametrize(
    ("login", "kept"),
    [(gp.TEE_LOGIN_PUBLIC, False), (gp.TEE_LOGIN_REE_KERNEL, False), (gp.TEE_LOGIN_USER, True), (5, True), (6, True)],
)
def test_who_opens_is_kept(room: Room, login: int, kept: bool) -> None:
    client = b"client's own uid"
    assert room.send(OPEN, params=meta(login=login, client=client))[0] == 0
    identity = room.tee.open_sessions[room.session].clnt_id
    assert (identity.login, identity.uuid) == (login, client if kept else bytes(16))


def test_an_unknown_ta(room: Room) -> None:
    room.tee.manager._kinds.pop()  # static TAs only: nobody is there to serve an RPC
    assert room.send(OPEN, params=meta(b"nobody has this!")) == (gp.TEE_ERROR_ITEM_NOT_FOUND, FROM_TEE)


def test_messages_that_take_no_parameters(room: Room) -> None:
    number = room.open()
    for cmd in (CLOSE, CANCEL):
        assert room.send(cmd, session=number, params=[(0, 0, 0, 0)]) == (BAD, FROM_TEE)
    assert number in room.tee.open_sessions


def test_registering_memory(room: Room) -> None:
    listed = page_list(room.tee.board.memory, [room.page.base]).base
    right = (NONCONTIG, listed | 8, 100, 5)
    for wrong in ([], [right] * 2, [(0xA, *right[1:])], [(0x209, *right[1:])], [(0x30A, *right[1:])]):
        assert room.send(REGISTER, params=wrong) == (BAD, FROM_TEE)
    assert room.send(REGISTER, params=[(NONCONTIG, 0, 100, 5)]) == (BAD, FROM_TEE)
    assert len(room.tee.shm) == 1
    assert room.send(REGISTER, params=[right]) == (0, FROM_TEE)
    assert room.send(REGISTER, params=[right]) == (BAD, FROM_TEE), "the cookie is taken"
    mobj = room.tee.shm.get_by_cookie(5)
    assert mobj is not None
    assert (mobj.size, mobj.page_offset) == (100, 8)
    assert room.send(UNREGISTER) == (BAD, FROM_TEE)
    assert room.send(UNREGISTER, params=[(5, 0, 0, 5)]) == (0, FROM_TEE)
    assert room.send(UNREGISTER, params=[(5, 0, 0, 5)]) == (BAD, FROM_TEE)


def test_notifications_are_acknowledged(room: Room) -> None:
    assert room.send(optee_msg.OPTEE_MSG_CMD_DO_BOTTOM_HALF) == (0, FROM_TEE)
    assert room.send(optee_msg.OPTEE_MSG_CMD_STOP_ASYNC_NOTIF) == (0, FROM_TEE)


@pytest.mark.parametrize("cmd", [8, 0x1234, 0xFFFFFFFF])
def test_an_unknown_message_is_the_callers_mistake(room: Room, cmd: int) -> None:
    count = room.write(cmd)
    assert cmd not in STD_CALLS
    assert room.threads.start(room._entry, count).result == gp.TEE_ERROR_NOT_IMPLEMENTED
    assert HEAD.unpack_from(room.page.view, room.AT)[5] == 0xEEEE, "nothing is answered"


def test_a_defect_of_ours_is_one_error(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    number = room.open()
    assert room.send(INVOKE, 2, number) == (gp.TEE_ERROR_GENERIC, FROM_TEE)
    assert "this is a bug of optemu" in caplog.text
    assert room.send(INVOKE, 0, number) == (0, FROM_TA), "the session is not held for ever"
    assert room.send(CLOSE, session=number) == (0, FROM_TEE)


# --- their parameters ----------------------------------------------------------------------------------------------------


def decode(room: Room, *params: tuple[int, int, int, int]) -> Any:
    """copy_in_params of one message: the parameters, or the code of the error."""
    count = room.write(INVOKE, params=list(params))
    try:
        return copy_in_params(room.tee, Message(None, room.page.view, room.AT, count), 0)  # type: ignore[arg-type]
    except TeeError as e:
        return e.code


@pytest.mark.parametrize("registered", [True, False])
@pytest.mark.parametrize("direction", [1, 2, 3])
def test_memory(room: Room, registered: bool, direction: int) -> None:
    if registered:
        taken = decode(room, (4 + direction, 100, 50, 77))
    else:
        listed = page_list(room.tee.board.memory, [room.page.base]).base
        taken = decode(room, (0x208 + direction, listed | 100, 50, 1234))
    p = taken.u[0]
    assert taken.types == 4 + direction
    assert (p.size, p.lent, p.mobj.page_offset + p.offs) == (50, 50, 100)
    assert len(room.tee.shm) == 1, "temporary memory is not registered"


def test_references_outside_their_memory(room: Room) -> None:
    top = (1 << 64) - 1
    for offs, size in [(0, 2 * PAGE), (2 * PAGE, 0), (100, 2 * PAGE - 100)]:
        assert decode(room, (5, offs, size, 77)).u[0].size == size
    for offs, size in [(0, 2 * PAGE + 1), (2 * PAGE, 1), (1, 2 * PAGE), (top, 1), (1, top), (top, top)]:
        assert decode(room, (5, offs, size, 77)) == gp.TEE_ERROR_SECURITY
    for cookie in (0, 76, top):
        assert decode(room, (5, 0, 0, cookie)) == BAD


def test_null_references(room: Room) -> None:
    p = decode(room, (9, 0, 5, 6), (0x20B, 0, 5, 0))
    assert p.types == 0x75
    assert [(m.mobj, m.size) for m in p.u[:2]] == [(None, 0)] * 2
    assert decode(room, (9, room.page.base, 5, 6)) == BAD, "contiguous memory: there is no reserved pool"


_U64 = st.integers(0, (1 << 64) - 1)
_ATTR = st.one_of(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0x101, 0x200, 0x209, 0x20B]), _U64)
_PARAM = st.tuples(_ATTR, st.one_of(st.integers(0, 9000), _U64), st.one_of(st.integers(0, 9000), _U64), st.just(77))
_ROOM = Room()


@given(st.lists(_PARAM, max_size=6))
def test_any_parameters(params: Params) -> None:
    """They come out as they were sent, inside memory that exists; or the message is refused."""
    taken = decode(_ROOM, *params)
    if isinstance(taken, int):
        assert taken in (BAD, gp.TEE_ERROR_SECURITY)
        return
    for n, (attr, a, b, _) in enumerate(params):
        kind, p = attr & 0xFF, taken.u[n]
        assert taken.types >> 4 * n & 0xF == (kind if kind < 8 else kind - 4)
        if not kind:
            assert p is None
        elif kind <= 3:
            assert (p.a, p.b) == (a, b)
        else:
            assert isinstance(p, Memref)
            assert p.mobj is None or p.offs + p.size <= p.mobj.size


@given(st.lists(_PARAM, max_size=4))
def test_only_outputs_are_written(params: Params) -> None:
    count = _ROOM.write(INVOKE, params=params)
    message = Message(None, _ROOM.page.view, _ROOM.AT, count)  # type: ignore[arg-type]
    try:
        taken = copy_in_params(_ROOM.tee, message, 0)
    except TeeError:
        return
    for p in taken.u:
        if isinstance(p, Value):
            p.a, p.b = 1 << 70, 22
        elif isinstance(p, Memref):
            p.size = 33
    copy_out_params(message, 0, taken)
    for (attr, a, b, c), answer in zip(params, _ROOM.params(count), strict=True):
        kind = attr & 0xFF
        written = {2: (0, 22), 3: (0, 22), 6: (a, 33), 7: (a, 33), 10: (a, 33), 11: (a, 33)}.get(kind, (a, b))
        assert answer == (attr, *written, c)


@given(st.integers(0, 9), st.binary(max_size=28 + 6 * 32), st.integers(0, 6))
def test_any_message(cmd: int, noise: bytes, count: int) -> None:
    room = _ROOM
    room.page.view[room.AT : room.AT + 512] = struct.pack("<I508s", cmd, noise)
    room.tee.manager._kinds[1:] = []  # static TAs only
    ret = room.threads.start(room._entry, count).result
    assert (ret == 0) is (cmd in STD_CALLS)
    for number in list(room.tee.open_sessions):
        assert room.send(CLOSE, session=number)[0] == 0


def test_traced() -> None:
    trace = Recorder()
    room = Room(trace)
    number = room.open()
    trace.seen.clear()
    room.send(CANCEL, session=number)
    room.send(CLOSE, session=number)
    assert [name for name in trace.seen if "pseudo" not in name] == [
        "> tee_entry_std",
        "> entry_cancel",
        "* tee_ta_cancel_command",
        "< entry_cancel",
        "< tee_entry_std",
        "> tee_entry_std",
        "> entry_close_session",
        "> tee_ta_close_session",
        "< tee_ta_close_session",
        "< entry_close_session",
        "< tee_entry_std",
    ]
