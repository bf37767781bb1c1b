"""Sessions: held by one at a time, closed under those that wait, cancelled, and used by their owner only."""

import threading
from typing import Any

import pytest
from core_fakes import FakeKind, Threads

from optemu.abi import gp
from optemu.abi.ta_head import TA_FLAG_CONCURRENT, TA_FLAG_MULTI_SESSION, TA_FLAG_SINGLE_INSTANCE
from optemu.board.clock import Clock
from optemu.secure_world.core.param import TaParams
from optemu.secure_world.core.session import KERN_IDENTITY, NEVER, NSAPP_IDENTITY, Identity, Session, SessionList
from optemu.secure_world.core.sync import Condvar, wake
from optemu.secure_world.core.tee_ta_manager import TaManager
from optemu.trace import Tracer

A = b"A" * 16
SHARED = TA_FLAG_SINGLE_INSTANCE | TA_FLAG_MULTI_SESSION
PUBLIC = Identity(gp.TEE_LOGIN_PUBLIC, gp.NIL_UUID)
TA_B = Identity(gp.TEE_LOGIN_TRUSTED_APP, b"B" * 16)
TA_C = Identity(gp.TEE_LOGIN_TRUSTED_APP, b"C" * 16)
FOREVER = gp.TEE_TIMEOUT_INFINITE


class Room:
    def __init__(self, flags: int = SHARED, owner: Identity = PUBLIC, clock: Any = None) -> None:
        self.kind = FakeKind({A: flags})
        self.manager = TaManager([self.kind], clock or Clock(), Tracer())
        self.threads = Threads()
        self.sessions = SessionList()
        self.owner = owner
        self.number = self.open()

    def open(self) -> int:
        def call(thread: Any) -> int:
            ret, _, number = self.manager.open_session(thread, self.sessions, A, self.owner, FOREVER, TaParams())
            assert ret == gp.TEE_SUCCESS
            return number

        number: int = self.threads.start(call).result
        return number

    @property
    def session(self) -> Session:
        return self.sessions[self.number]

    def hold(self, thread: Any, *, exclusive: bool = True) -> str:
        """Get the session, pause, put it back."""
        s = self.manager.get_session(thread, self.number, self.sessions, exclusive=exclusive)
        if s is None:
            return "gone"
        thread.pause()
        self.manager.put_session(thread, s)
        return "held"

    def close(self, thread: Any, client: Identity = NSAPP_IDENTITY) -> int:
        return self.manager.close_session(thread, self.number, self.sessions, client)

    def invoke(self, thread: Any, client: Identity, timeout: int = FOREVER) -> tuple[int, int]:
        s = self.manager.get_session(thread, self.number, self.sessions)
        assert s is not None
        result = self.manager.invoke_command(thread, s, client, timeout, 0, TaParams())
        self.manager.put_session(thread, s)
        return result


# --- held by one ------------------------------------------------------------------------------------------------------


def test_an_exclusive_holder_keeps_others_waiting_in_order() -> None:
    room = Room()
    holders = [room.threads.start(room.hold) for _ in range(3)]
    assert [room.session.lock_thread is t for t in holders] == [True, False, False]
    assert room.session.ref_count == 3
    for n, holder in enumerate(holders):
        holder.go_on()
        assert holder.result == "held"
        assert [t.done for t in holders] == [True] * (n + 1) + [False] * (2 - n)
    assert (room.session.ref_count, room.session.lock_thread) == (0, None)


def test_others_may_look_at_a_held_session() -> None:
    """So that a call can be cancelled while it is under way."""
    room = Room()
    holder = room.threads.start(room.hold)
    looker = room.threads.start(room.hold, exclusive=False)
    assert room.session.ref_count == 2
    looker.go_on()
    assert looker.result == "held"
    assert room.session.lock_thread is holder, "whoever looked did not take the lock along"
    holder.go_on()
    assert room.session.ref_count == 0


def test_no_such_session() -> None:
    room = Room()
    for number in (0, room.number + 1, 0xFFFFFFFF, -1):
        assert room.manager.get_session(room.threads.start(lambda t: 0), number, room.sessions) is None  # type: ignore


# --- closing under others ----------------------------------------------------------------------------------------------


def test_who_waits_for_a_session_that_closes_is_turned_away() -> None:
    room = Room()
    ctx = room.kind.made[0]
    ctx.on_close = lambda thread, s: thread.pause()
    closer = room.threads.start(room.close)
    waiting = [room.threads.start(room.hold) for _ in range(2)]
    closer.go_on()
    assert closer.result == gp.TEE_SUCCESS
    assert [w.result for w in waiting] == ["gone", "gone"]
    assert not room.sessions
    assert ctx.seen[-1] == "destroy"


def test_closing_waits_for_the_call_under_way() -> None:
    room = Room()
    ctx = room.kind.made[0]

    def work(thread: Any, session: Any, cmd: int) -> int:
        thread.pause()
        return 0

    ctx.on_invoke = work
    call = room.threads.start(room.invoke, NSAPP_IDENTITY)
    closer = room.threads.start(room.close)
    assert "close" not in ctx.seen
    call.go_on()
    assert call.result == (0, gp.TEE_ORIGIN_TRUSTED_APP)
    assert ctx.seen == ["open", "invoke 0", "close", "destroy"]
    assert closer.result == gp.TEE_SUCCESS


def test_closing_waits_for_who_still_looks() -> None:
    room = Room()
    looker = room.threads.start(room.hold, exclusive=False)
    closer = room.threads.start(room.close)
    assert closer.asleep
    assert room.session.unlink
    assert room.threads.start(room.hold, exclusive=False).result == "gone"
    looker.go_on()
    assert closer.done
    assert not room.sessions


def test_closed_twice_is_not_found() -> None:
    room = Room()
    first, second = room.threads.start(room.close), room.threads.start(room.close)
    assert (first.result, second.result) == (gp.TEE_SUCCESS, gp.TEE_ERROR_ITEM_NOT_FOUND)
    assert room.kind.made[0].seen.count("close") == 1


def test_close_all_takes_the_oldest_first() -> None:
    room = Room()
    room.open()
    room.open()
    closed: list[int] = []
    room.kind.made[0].on_close = lambda thread, s: closed.append(s.id)
    room.threads.start(room.manager.close_all, room.sessions)
    assert (closed, dict(room.sessions)) == ([1, 2, 3], {})


# --- whose it is ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "client", "allowed"),
    [
        (PUBLIC, NSAPP_IDENTITY, True),
        (Identity(gp.TEE_LOGIN_USER, b"u" * 16), NSAPP_IDENTITY, True),
        (TA_B, NSAPP_IDENTITY, False),  # the normal world does not get into a session between TAs
        (TA_B, TA_B, True),
        (TA_B, TA_C, False),
        (PUBLIC, TA_B, False),
        (TA_B, KERN_IDENTITY, True),
    ],
)
def test_only_its_owner_uses_it(owner: Identity, client: Identity, allowed: bool) -> None:
    room = Room(owner=owner)
    ctx = room.kind.made[0]
    refused = gp.TEE_ERROR_BAD_PARAMETERS
    ret, origin = room.threads.start(room.invoke, client).result
    assert (ret, origin) == ((0, gp.TEE_ORIGIN_TRUSTED_APP) if allowed else (refused, gp.TEE_ORIGIN_TEE))
    assert ctx.seen == ["open", "invoke 0"] if allowed else ["open"]
    assert room.manager.cancel_command(room.session, client) == (0 if allowed else refused)
    assert room.threads.start(room.close, client).result == (0 if allowed else refused)
    assert bool(room.sessions) is not allowed


# --- cancellation ----------------------------------------------------------------------------------------------------------


class StoppedClock(Clock):
    now = 1000

    def counter_ns(self) -> int:
        return self.now


def test_a_cancelled_call_knows_it_only_unmasked() -> None:
    room = Room()
    s = room.session
    assert not s.is_cancelled(0)
    room.manager.cancel_command(s, NSAPP_IDENTITY)
    assert not s.is_cancelled(0), "masked, as every call begins"
    s.cancel_mask = False
    assert s.is_cancelled(0)


def test_a_timeout_is_a_cancellation() -> None:
    clock = StoppedClock()
    room = Room(clock=clock)
    seen: list[tuple[bool, bool]] = []

    def look(thread: Any, s: Session, cmd: int) -> int:
        s.cancel_mask = False
        end = s.cancel_time
        seen.append((s.is_cancelled(end - 1), s.is_cancelled(end)))
        assert end == 1000 + 250 * 1_000_000
        return 0

    room.kind.made[0].on_invoke = look
    room.threads.start(room.invoke, NSAPP_IDENTITY, 250)
    assert seen == [(False, True)]
    room.kind.made[0].on_invoke = lambda thread, s, cmd: s.cancel_time == NEVER
    assert room.threads.start(room.invoke, NSAPP_IDENTITY, FOREVER).result[0] == 1, "no timeout, no end"


def test_memory_statistics_of_what_has_none() -> None:
    room = Room(flags=SHARED | TA_FLAG_CONCURRENT)
    ask = room.threads.start(lambda thread: room.manager.dump_mem_stats(thread, room.session, TaParams()))
    assert ask.result == gp.TEE_ERROR_NOT_SUPPORTED
    room.kind.made[0].is_initializing = True
    ask = room.threads.start(lambda thread: room.manager.dump_mem_stats(thread, room.session, TaParams()))
    assert ask.result == gp.TEE_ERROR_BAD_STATE


# --- ids and waiting ---------------------------------------------------------------------------------------------------------


def test_ids_are_never_zero_and_never_in_use() -> None:
    sessions = SessionList()
    assert [sessions.new_id(), sessions.new_id()] == [1, 2]
    sessions.last_id = 0xFFFFFFFE
    sessions[0xFFFFFFFF] = sessions[1] = None  # type: ignore[assignment]
    assert sessions.new_id() == 2


def test_a_condition_variable_wakes_one_or_all() -> None:
    threads, lock, cv = Threads(), threading.Lock(), Condvar()

    def wait(thread: Any) -> None:
        with lock:
            cv.wait(thread, lock)
            assert lock.locked()

    waiters = [threads.start(wait) for _ in range(4)]
    assert not lock.locked(), "nobody sleeps with the lock"

    def signal(thread: Any, everyone: bool) -> None:
        with lock:
            woken = cv.take(everyone=everyone)
        wake(thread, woken)

    threads.start(signal, False)
    assert [w.done for w in waiters] == [True, False, False, False]
    waiters[1].go_on()
    assert waiters[1].asleep, "a wake-up that nobody meant is slept over"
    threads.start(signal, True)
    assert all(w.done for w in waiters)
    assert cv.take() == []
