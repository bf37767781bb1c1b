"""Contexts: which TA serves a session, how many share it, when it goes, and who waits for whom."""

from typing import Any

import pytest
from core_fakes import FakeKind, FakeTa, Threads

from optemu.abi import gp
from optemu.abi.ta_head import (
    TA_FLAG_CONCURRENT,
    TA_FLAG_INSTANCE_KEEP_ALIVE,
    TA_FLAG_INSTANCE_KEEP_CRASHED,
    TA_FLAG_MULTI_SESSION,
    TA_FLAG_SINGLE_INSTANCE,
)
from optemu.board.clock import Clock
from optemu.errors import TeeError
from optemu.secure_world.core.param import TaParams
from optemu.secure_world.core.session import NSAPP_IDENTITY, Identity, SessionList
from optemu.secure_world.core.tee_ta_manager import TaManager
from optemu.trace import Tracer

SINGLE, MULTI = TA_FLAG_SINGLE_INSTANCE, TA_FLAG_SINGLE_INSTANCE | TA_FLAG_MULTI_SESSION
ALIVE = MULTI | TA_FLAG_INSTANCE_KEEP_ALIVE
CRASHED = ALIVE | TA_FLAG_INSTANCE_KEEP_CRASHED
CONCURRENT = ALIVE | TA_FLAG_CONCURRENT
A, B, C = b"A" * 16, b"B" * 16, b"C" * 16
PUBLIC = Identity(gp.TEE_LOGIN_PUBLIC, gp.NIL_UUID)
OK = gp.TEE_SUCCESS


class Room:
    """A manager over one static and one dynamic kind of TA, and the client's sessions."""

    def __init__(self, static: dict[bytes, int] | None = None, dynamic: dict[bytes, int] | None = None) -> None:
        self.static, self.dynamic = FakeKind(static or {}), FakeKind(dynamic or {}, loads=True)
        self.manager = TaManager([self.static, self.dynamic], Clock(), Tracer())
        self.threads = Threads()
        self.sessions = SessionList()

    def open_on(self, thread: Any, uuid: bytes, sessions: SessionList | None = None) -> tuple[int, int, int]:
        sessions = self.sessions if sessions is None else sessions
        return self.manager.open_session(thread, sessions, uuid, PUBLIC, gp.TEE_TIMEOUT_INFINITE, TaParams())

    def open(self, uuid: bytes) -> tuple[int, int, int]:
        result: tuple[int, int, int] = self.threads.start(self.open_on, uuid).result
        return result

    def invoke_on(self, thread: Any, number: int, cmd: int = 0) -> tuple[int, int] | None:
        s = self.manager.get_session(thread, number, self.sessions)
        if s is None:
            return None
        try:
            return self.manager.invoke_command(thread, s, NSAPP_IDENTITY, gp.TEE_TIMEOUT_INFINITE, cmd, TaParams())
        finally:
            self.manager.put_session(thread, s)

    def close_on(self, thread: Any, number: int) -> int:
        return self.manager.close_session(thread, number, self.sessions, NSAPP_IDENTITY)

    def close(self, number: int) -> int:
        result: int = self.threads.start(self.close_on, number).result
        return result

    @property
    def made(self) -> list[FakeTa]:
        return self.static.made + self.dynamic.made


def pausing(thread: Any, session: Any, cmd: int) -> int:
    thread.pause()
    return 0


def dying(thread: Any, session: Any, cmd: int = 0) -> int:
    session.ctx.panicked = True
    return gp.TEE_ERROR_TARGET_DEAD


# --- look-up -----------------------------------------------------------------------------------------------------


def test_static_comes_before_dynamic() -> None:
    room = Room(static={A: ALIVE}, dynamic={A: 0, B: 0})
    assert room.open(A) == (OK, gp.TEE_ORIGIN_TRUSTED_APP, 1)
    assert room.open(B)[0] == OK
    assert (room.static.asked, room.dynamic.asked) == ([A, B], [B])


def test_a_context_comes_before_both() -> None:
    room = Room(static={A: ALIVE})
    room.open(A)
    room.open(A)
    assert room.static.asked == [A]
    assert [ctx.ref_count for ctx in room.made] == [2]


def test_nobody_has_it() -> None:
    room = Room()
    assert room.open(A) == (gp.TEE_ERROR_ITEM_NOT_FOUND, gp.TEE_ORIGIN_TEE, 0)
    assert not room.sessions


def test_each_session_an_instance() -> None:
    room = Room(dynamic={A: 0})
    first, second = room.open(A)[2], room.open(A)[2]
    assert len(room.made) == len(room.manager.contexts) == 2
    assert room.close(first) == OK
    assert room.made[0].seen == ["open", "close", "destroy"]
    assert room.made[1].seen == ["open"]
    assert room.close(second) == OK
    assert room.manager.contexts == []


def test_single_instance_takes_one_session_at_a_time() -> None:
    room = Room(dynamic={A: SINGLE})
    first = room.open(A)[2]
    assert room.open(A) == (gp.TEE_ERROR_BUSY, gp.TEE_ORIGIN_TEE, 0)
    room.close(first)
    assert room.open(A)[0] == OK
    assert len(room.made) == 2, "not kept alive: the next one is new"


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        (MULTI, False),
        (ALIVE, True),
        (TA_FLAG_INSTANCE_KEEP_ALIVE, False),  # means nothing without single instance
        (MULTI | TA_FLAG_INSTANCE_KEEP_CRASHED, False),  # means nothing without keep alive
    ],
)
def test_kept_alive_or_not(flags: int, kept: bool) -> None:
    room = Room(dynamic={A: flags})
    room.close(room.open(A)[2])
    assert ("destroy" in room.made[0].seen) is not kept
    room.open(A)
    assert len(room.made) == (1 if kept else 2)


def test_who_comes_while_it_loads_waits_for_it() -> None:
    room = Room(dynamic={A: MULTI})
    room.dynamic.on_complete = lambda thread, ctx: thread.pause()
    first = room.threads.start(room.open_on, A)
    second = room.threads.start(room.open_on, A)
    assert first.asleep
    assert second.asleep
    first.go_on()
    assert (first.result[0], second.result[0]) == (OK, OK)
    assert len(room.made) == 1


def test_a_failed_load_makes_room_for_the_next() -> None:
    room = Room(dynamic={A: MULTI})

    def fail_once(thread: Any, ctx: FakeTa) -> None:
        room.dynamic.on_complete = lambda thread, ctx: None
        thread.pause()
        raise TeeError(gp.TEE_ERROR_SECURITY, "bad signature")

    room.dynamic.on_complete = fail_once
    first = room.threads.start(room.open_on, A)
    second = room.threads.start(room.open_on, A)
    first.go_on()
    assert first.result == (gp.TEE_ERROR_SECURITY, gp.TEE_ORIGIN_TEE, 0)
    assert second.result[0] == OK
    assert len(room.manager.contexts) == len(room.sessions) == 1
    assert room.made[0].seen == ["destroy"]


@pytest.mark.parametrize("fails", ["load", "busy"])
def test_who_waits_for_a_session_that_never_opens_is_turned_away(fails: str) -> None:
    """A hostile client guesses the id of a session that is being opened."""
    room = Room(dynamic={A: SINGLE})

    def load(thread: Any, ctx: FakeTa) -> None:
        thread.pause()
        if fails == "load":
            raise TeeError(gp.TEE_ERROR_SECURITY, "bad signature")

    room.dynamic.on_complete = load
    opening = room.threads.start(room.open_on, A)
    if fails == "busy":
        room.threads.start(room.open_on, A)
    guessing = room.threads.start(room.close_on, room.sessions.last_id)
    assert guessing.asleep
    opening.go_on()
    assert guessing.done
    assert guessing.result == gp.TEE_ERROR_ITEM_NOT_FOUND


# --- entry points and origins --------------------------------------------------------------------------------------


def test_a_ta_that_refuses_the_session() -> None:
    room = Room(dynamic={A: MULTI})
    room.dynamic.prepare = lambda ctx: setattr(ctx, "on_open", lambda thread, s: gp.TEE_ERROR_ACCESS_DENIED)
    assert room.open(A) == (gp.TEE_ERROR_ACCESS_DENIED, gp.TEE_ORIGIN_TRUSTED_APP, 0)
    assert room.made[0].seen == ["open", "close", "destroy"], "upstream closes what was refused"
    assert not room.sessions


def test_invoke_and_its_origin() -> None:
    room = Room(dynamic={A: 0})
    number = room.open(A)[2]
    ctx = room.made[0]
    ctx.on_invoke = lambda thread, s, cmd: gp.TEE_ERROR_SHORT_BUFFER
    assert room.threads.start(room.invoke_on, number, 7).result == (
        gp.TEE_ERROR_SHORT_BUFFER,
        gp.TEE_ORIGIN_TRUSTED_APP,
    )
    assert ctx.seen[-1] == "invoke 7"


# --- panicked contexts -----------------------------------------------------------------------------------------------


def test_a_dead_context_makes_room_for_a_new_one() -> None:
    room = Room(dynamic={A: ALIVE})
    number = room.open(A)[2]
    dead = room.made[0]
    dead.on_invoke = dying
    target_dead = (gp.TEE_ERROR_TARGET_DEAD, gp.TEE_ORIGIN_TEE)
    assert room.threads.start(room.invoke_on, number).result == target_dead
    assert dead not in room.manager.contexts
    assert dead.seen == ["open", "invoke 0", "release_state"]
    assert room.threads.start(room.invoke_on, number, 1).result == target_dead
    assert "invoke 1" not in dead.seen, "the dead are not entered"
    assert room.open(A)[0] == OK
    assert len(room.made) == 2
    assert room.close(number) == OK
    assert dead.seen[-2:] == ["release_state", "destroy"], "released once, destroyed with the last session"


def test_kept_crashed_it_stays_dead() -> None:
    room = Room(dynamic={A: CRASHED})
    number = room.open(A)[2]
    room.made[0].on_invoke = dying
    room.threads.start(room.invoke_on, number)
    room.close(number)
    assert room.open(A) == (gp.TEE_ERROR_TARGET_DEAD, gp.TEE_ORIGIN_TEE, 0)
    assert len(room.made) == 1
    assert not room.sessions
    assert room.made[0].seen == ["open", "invoke 0"]


def test_a_ta_that_dies_when_it_is_opened() -> None:
    room = Room(dynamic={A: MULTI})
    room.dynamic.prepare = lambda ctx: setattr(ctx, "on_open", dying)
    assert room.open(A) == (gp.TEE_ERROR_TARGET_DEAD, gp.TEE_ORIGIN_TEE, 0)
    assert room.made[0].seen == ["open", "release_state", "destroy"], "no close entry for the dead"
    assert (room.manager.contexts, dict(room.sessions)) == ([], {})


def test_who_waits_for_a_ta_that_dies_finds_it_dead() -> None:
    room = Room(dynamic={A: MULTI})
    one, two = room.open(A)[2], room.open(A)[2]
    ctx = room.made[0]

    def die_later(thread: Any, session: Any, cmd: int) -> int:
        thread.pause()
        return dying(thread, session)

    ctx.on_invoke = die_later
    first = room.threads.start(room.invoke_on, one, 1)
    second = room.threads.start(room.invoke_on, two, 2)
    first.go_on()
    assert first.result == second.result == (gp.TEE_ERROR_TARGET_DEAD, gp.TEE_ORIGIN_TEE)
    assert ctx.seen.count("release_state") == 1
    assert "invoke 2" not in ctx.seen


# --- one call at a time ------------------------------------------------------------------------------------------------


def test_an_instance_serves_one_call_at_a_time() -> None:
    room = Room(static={A: ALIVE})
    one, two = room.open(A)[2], room.open(A)[2]
    room.made[0].on_invoke = pausing
    first = room.threads.start(room.invoke_on, one, 1)
    second = room.threads.start(room.invoke_on, two, 2)
    assert room.made[0].seen[-1] == "invoke 1", "the second has not entered"
    first.go_on()
    assert room.made[0].seen[-1] == "invoke 2"
    second.go_on()
    assert first.result == second.result == (OK, gp.TEE_ORIGIN_TRUSTED_APP)
    assert not room.made[0].busy


def test_a_concurrent_one_serves_all_at_once() -> None:
    room = Room(static={A: CONCURRENT})
    one, two = room.open(A)[2], room.open(A)[2]
    room.made[0].on_invoke = pausing
    first = room.threads.start(room.invoke_on, one, 1)
    second = room.threads.start(room.invoke_on, two, 2)
    assert room.made[0].seen[-2:] == ["invoke 1", "invoke 2"]
    second.go_on()
    first.go_on()
    assert first.result == second.result == (OK, gp.TEE_ORIGIN_TRUSTED_APP)


def test_a_ta_that_calls_itself_round_a_corner_gets_busy() -> None:
    """A (single instance) calls B, B calls A: waiting could only dead-lock."""
    room = Room(static={A: MULTI, B: 0})
    inner_sessions = SessionList()
    answers = []

    def call_a(thread: Any, session: Any, cmd: int) -> int:
        answers.append(room.open_on(thread, A, inner_sessions))
        return 0

    def call_b(thread: Any, session: Any, cmd: int) -> int:
        _, _, number = room.open_on(thread, B, inner_sessions)
        room.made[1].on_invoke = call_a
        s = room.manager.get_session(thread, number, inner_sessions)
        assert s is not None
        ret, _ = room.manager.invoke_command(thread, s, PUBLIC, gp.TEE_TIMEOUT_INFINITE, 0, TaParams())
        room.manager.put_session(thread, s)
        return ret

    number = room.open(A)[2]
    room.made[0].on_invoke = call_b
    assert room.threads.start(room.invoke_on, number).result[0] == OK
    assert answers == [(gp.TEE_ERROR_BUSY, gp.TEE_ORIGIN_TEE, 0)]
    assert room.made[0].ref_count == 1
    room.made[0].on_invoke = lambda thread, s, cmd: 0
    assert room.threads.start(room.invoke_on, number).result[0] == OK, "the lock is not left behind"


def test_single_instances_lock_each_other_out() -> None:
    """One thread at a time is inside single-instance TAs: else A-calls-B and B-calls-A could meet half way."""
    room = Room(static={A: ALIVE, B: ALIVE})
    in_a, in_b = room.open(A)[2], room.open(B)[2]
    for ctx in room.made:
        ctx.on_invoke = pausing
    first = room.threads.start(room.invoke_on, in_a)
    second = room.threads.start(room.invoke_on, in_b)
    assert room.made[1].seen == ["open"]
    first.go_on()
    assert first.done
    assert room.made[1].seen == ["open", "invoke 0"]
    second.go_on()
    assert second.done


@pytest.mark.parametrize("flags", [0, MULTI, ALIVE])
def test_a_defect_in_an_entry_point_ends_one_call_only(flags: int) -> None:
    """Law 7: whatever a handler of ours raises, the TA is free again and its sessions can be closed."""

    def defect(*args: Any) -> int:
        raise ZeroDivisionError

    def swallow(thread: Any, call: Any, *args: Any) -> bool:
        try:
            call(thread, *args)
        except ZeroDivisionError:
            return True
        return False

    room = Room(static={A: flags})
    number = room.open(A)[2]
    ctx = room.made[0]
    ctx.on_invoke = defect
    assert room.threads.start(swallow, room.invoke_on, number).result
    ctx.on_invoke = lambda thread, s, cmd: 0
    assert room.threads.start(room.invoke_on, number).result[0] == OK
    ctx.on_close = defect
    assert room.threads.start(swallow, room.close_on, number).result
    assert not room.sessions
    assert not ctx.busy
    room.static.prepare = lambda ctx: setattr(ctx, "on_open", defect)
    ctx.on_open = defect
    ctx.on_close = lambda thread, s: None
    assert room.threads.start(swallow, room.open_on, A).result
    assert not room.sessions
    assert room.manager.contexts == ([ctx] if flags == ALIVE else [])
