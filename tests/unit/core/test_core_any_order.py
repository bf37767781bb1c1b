"""Sessions and contexts under calls in any order: nobody is left waiting, nothing is left behind.

Hypothesis chooses which calls begin, which of those that pause inside a TA go on, and when; TAs call each other and
die on the way. What must hold is the same for all orders.
"""

from typing import Any

from core_fakes import FOREVER, PUBLIC, FakeKind, FakeTa, FakeThread, Threads
from hypothesis import given
from hypothesis import strategies as st

from optemu.abi import gp
from optemu.abi.ta_head import (
    TA_FLAG_CONCURRENT,
    TA_FLAG_INSTANCE_KEEP_ALIVE,
    TA_FLAG_INSTANCE_KEEP_CRASHED,
    TA_FLAG_MULTI_SESSION,
    TA_FLAG_SINGLE_INSTANCE,
)
from optemu.board.clock import Clock
from optemu.secure_world.core.param import TaParams
from optemu.secure_world.core.session import NSAPP_IDENTITY, Identity, Session, SessionList
from optemu.secure_world.core.tee_ta_manager import TaManager
from optemu.trace import Tracer

MULTI = TA_FLAG_SINGLE_INSTANCE | TA_FLAG_MULTI_SESSION
ALIVE = MULTI | TA_FLAG_INSTANCE_KEEP_ALIVE
FLAGS = [0, TA_FLAG_SINGLE_INSTANCE, MULTI, ALIVE, ALIVE | TA_FLAG_INSTANCE_KEEP_CRASHED, ALIVE | TA_FLAG_CONCURRENT]
UUIDS = [bytes([n]) * 16 for n in range(len(FLAGS))]


class Ta(FakeTa):
    """Its commands say what to do: bit 0 pause, bit 1 die, the rest is the TA to open a session with (and keep)."""

    world: "World"

    def __init__(self, uuid: bytes, flags: int) -> None:
        super().__init__(uuid, flags)
        self.inside = 0
        self.destroyed = False
        self.own = SessionList()
        self.on_open = lambda thread, session: self._work(thread, 0)
        self.on_invoke = lambda thread, session, cmd: self._work(thread, cmd)
        self.on_close = lambda thread, session: self._leave(thread)

    def _work(self, thread: Any, cmd: int) -> int:
        assert not self.destroyed
        assert not self.panicked
        self.inside += 1
        assert self.inside == 1 or self.flags & TA_FLAG_CONCURRENT, "two calls in one instance"
        if cmd & 1:
            thread.pause()
        if cmd >> 2:
            identity = Identity(gp.TEE_LOGIN_TRUSTED_APP, self.uuid)
            uuid = UUIDS[(cmd >> 2) % len(UUIDS)]
            self.world.manager.open_session(thread, self.own, uuid, identity, FOREVER, TaParams())
        self.inside -= 1
        if cmd & 2:
            self.panicked = True
        return 0

    def _leave(self, thread: Any) -> None:
        assert not self.destroyed
        thread.pause()

    def release_state(self, thread: Any) -> None:
        self.world.manager.close_all(thread, self.own)

    def destroy(self, thread: Any) -> None:
        assert not self.destroyed, "destroyed twice"
        self.destroyed = True
        self.release_state(thread)


class World:
    def __init__(self) -> None:
        kind = FakeKind(dict(zip(UUIDS, FLAGS, strict=True)), loads=True)
        self.made: list[Ta] = []
        kind.find = self._find  # type: ignore[method-assign]
        kind.on_complete = lambda thread, ctx: thread.pause()
        self.manager = TaManager([kind], Clock(), Tracer())
        self.threads = Threads()
        self.sessions = SessionList()
        self.calls: list[FakeThread] = []

    def _find(self, uuid: bytes) -> Ta:
        ta = Ta(uuid, FLAGS[UUIDS.index(uuid)])
        ta.is_initializing = True
        ta.world = self
        self.made.append(ta)
        return ta

    def begin(self, call: Any, *args: Any) -> None:
        self.calls.append(self.threads.start(call, *args))

    def open(self, n: int) -> None:
        args = (self.sessions, UUIDS[n % len(UUIDS)], PUBLIC, FOREVER, TaParams())
        self.begin(self.manager.open_session, *args)

    def _invoke(self, thread: Any, number: int, cmd: int) -> None:
        s: Session | None = self.manager.get_session(thread, number, self.sessions)
        if s is not None:
            self.manager.invoke_command(thread, s, NSAPP_IDENTITY, FOREVER, cmd, TaParams())
            self.manager.put_session(thread, s)

    def invoke(self, n: int, cmd: int) -> None:
        self.begin(self._invoke, n, cmd)

    def close(self, n: int) -> None:
        self.begin(self.manager.close_session, n, self.sessions, NSAPP_IDENTITY)

    def go_on(self, n: int) -> None:
        waiting = [call for call in self.calls if call.asleep]
        if waiting:
            waiting[n % len(waiting)].go_on()

    def finish(self) -> None:
        """Let everybody go on until nobody is left; who still waits then waits for ever."""
        for _ in range(100):
            waiting = [call for call in self.calls if call.asleep]
            if not waiting:
                return
            for call in waiting:
                if call.asleep:
                    call.go_on()
        raise AssertionError(f"{len(waiting)} calls wait for each other")


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("invoke"), st.integers(1, 6), st.integers(0, 27)),
        st.tuples(st.just("close"), st.integers(1, 6), st.just(0)),
        st.tuples(st.just("go_on"), st.integers(0, 5), st.just(0)),
    ),
    min_size=5,
    max_size=40,
)


@given(_STEPS)
def test_any_order(steps: list[tuple[str, int, int]]) -> None:
    world = World()
    for what, n, cmd in steps:
        getattr(world, what)(*((n, cmd) if what == "invoke" else (n,)))
    world.finish()
    for number in list(world.sessions):
        world.close(number)
    world.finish()
    manager = world.manager
    assert not world.sessions
    assert (manager._single_thread, manager._single_count) == (None, 0)
    held = [s.ctx for ctx in world.made for s in ctx.own.values()]
    for ctx in world.made:
        assert not ctx.busy
        assert ctx.ref_count == held.count(ctx)
        assert ctx.destroyed is (ctx not in manager.contexts and not ctx.ref_count)
        assert not (ctx.destroyed and ctx.own), "its sessions go with it"
    for kept in manager.contexts:
        assert kept.ref_count or kept.flags & TA_FLAG_INSTANCE_KEEP_ALIVE
        assert not kept.panicked or kept.flags & TA_FLAG_INSTANCE_KEEP_CRASHED
