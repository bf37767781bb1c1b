"""The recording half and the drain. Where threads are involved the test waits for what must come, never for a time."""

import threading
from collections.abc import Iterator

import pytest

from optemu.trace import EL, Point, Tracer, World, drain
from optemu.trace.event import Event

OUTER = Point("outer", World.NORMAL, EL.EL1, "tee", args="n:dec", result="ret:tee_result")
INNER = Point("inner", World.SECURE, EL.S_EL1, "entry")


class Sink:
    """Keeps what it gets; ``seen`` is released at each event, idle and close."""

    def __init__(self) -> None:
        self.log: list[object] = []
        self.events: list[Event] = []
        self.seen = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    def event(self, event: Event) -> None:
        self.gate.wait(30)
        self.events.append(event)
        self.log.append(event.point.name)
        self.seen.release()

    def dropped(self, count: int) -> None:
        self.log.append(count)

    def idle(self) -> None:
        self.log.append("idle")
        self.seen.release()

    def close(self) -> None:
        self.log.append("close")
        self.seen.release()


@pytest.fixture
def tracer() -> Iterator[Tracer]:
    tracer = Tracer()
    yield tracer
    tracer.close()


def wait_for(sink: Sink, what: object) -> None:
    while what not in sink.log:
        assert sink.seen.acquire(timeout=30), sink.log


def test_a_new_tracer_is_off_and_needs_no_thread() -> None:
    before = threading.active_count()
    tracer = Tracer()
    assert not tracer.on
    tracer.flush()
    tracer.close()
    assert threading.active_count() == before


def test_events_are_kept_raw(tracer: Tracer) -> None:
    tracer.enter(OUTER, 1)
    tracer.mark(INNER)
    tracer.exit(OUTER, 0)
    assert [(phase, point, args) for _, _, phase, point, args in tracer.events] == [
        ("enter", OUTER, (1,)),
        ("mark", INNER, ()),
        ("exit", OUTER, (0,)),
    ]
    times = [ts for ts, *_ in tracer.events]
    assert times == sorted(times)
    assert {ident for _, ident, *_ in tracer.events} == {threading.get_ident()}


def test_decoded_events_reach_every_sink(tracer: Tracer) -> None:
    sinks = Sink(), Sink()
    tracer.start(*sinks)
    assert tracer.on
    tracer.enter(OUTER, 7)
    tracer.exit(OUTER, 0xFFFF0008)
    tracer.close()
    assert not tracer.on
    for sink in sinks:
        assert [e.fields for e in sink.events] == [(("n", "7", 7),), (("ret", "TEE_ERROR_ITEM_NOT_FOUND", 0xFFFF0008),)]
        assert sink.log[-1] == "close"


def test_they_come_by_themselves_when_it_is_quiet(tracer: Tracer) -> None:
    sink = Sink()
    tracer.start(sink)
    for _ in range(3):
        tracer.enter(OUTER, 1)
        wait_for(sink, "outer")
        wait_for(sink, "idle")
        sink.log.clear()


def test_the_thread_sleeps_when_there_is_nothing_to_write(tracer: Tracer) -> None:
    sink = Sink()
    tracer.start(sink)
    tracer.enter(OUTER, 1)
    wait_for(sink, "idle")
    for _ in range(1000):
        if tracer.asleep:
            break
        threading.Event().wait(0.01)
    assert tracer.asleep
    tracer.exit(OUTER, 0)
    assert not tracer.asleep


def test_flush_returns_when_all_is_written(tracer: Tracer) -> None:
    sink = Sink()
    tracer.start(sink)
    for n in range(500):
        tracer.enter(OUTER, n)
    tracer.flush()
    assert [e.fields[0][2] for e in sink.events] == list(range(500))


def test_threads_are_numbered_and_each_keeps_its_order(tracer: Tracer) -> None:
    sink = Sink()
    tracer.start(sink)

    def work(name: int) -> None:
        for n in range(2000):
            tracer.enter(OUTER, name * 10_000 + n)

    workers = [threading.Thread(target=work, args=(n,)) for n in (1, 2, 3)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    tracer.close()
    numbers = [int(e.fields[0][1]) for e in sink.events]
    assert len(numbers) == 6000
    for name in (1, 2, 3):
        mine = [n for n in numbers if n // 10_000 == name]
        assert mine == sorted(mine)
        assert len({e.thread for e in sink.events if int(e.fields[0][1]) // 10_000 == name}) == 1
    assert {e.thread for e in sink.events} <= {1, 2, 3}


def test_what_cannot_be_written_in_time_is_dropped_and_counted(
    tracer: Tracer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(drain, "MANY", 100)
    monkeypatch.setattr(drain, "TOO_MANY", 300)
    sink = Sink()
    sink.gate.clear()
    tracer.start(sink)
    for n in range(200):
        tracer.enter(OUTER, n)
    while len(tracer.events) == 200:
        threading.Event().wait(0.001)
    taken = 200 - len(tracer.events)
    for n in range(1000):
        tracer.enter(OUTER, n)
    sink.gate.set()
    tracer.close()
    dropped = [n for n in sink.log if isinstance(n, int)]
    assert len(dropped) == 1
    assert dropped[0] + len(sink.events) == 1200
    assert len(sink.events) >= taken
    assert sink.log.index(dropped[0]) == len([x for x in sink.log[: sink.log.index(dropped[0])] if x == "outer"])
    assert f"{dropped[0]} events dropped" in caplog.text


def test_a_sink_that_fails_is_given_up_alone(tracer: Tracer, caplog: pytest.LogCaptureFixture) -> None:
    class Full(Sink):
        def event(self, event: Event) -> None:
            raise OSError("No space left on device")

    full, good = Full(), Sink()
    tracer.start(full, good)
    tracer.enter(OUTER, 1)
    tracer.exit(OUTER, 0)
    tracer.flush()
    assert len(good.events) == 2
    assert tracer.on
    assert "Full stopped" in caplog.text
    assert "No space left on device" in caplog.text


def test_recording_stops_when_no_sink_is_left(tracer: Tracer) -> None:
    class Broken(Sink):
        def idle(self) -> None:
            raise BrokenPipeError

    tracer.start(Broken())
    tracer.enter(OUTER, 1)
    tracer.flush()
    assert not tracer.on


def test_start_again(tracer: Tracer) -> None:
    first, second = Sink(), Sink()
    tracer.start(first)
    tracer.enter(OUTER, 1)
    tracer.start(second)
    tracer.enter(INNER)
    tracer.close()
    assert first.log[-2:] == ["outer", "close"] or first.log[-1] == "close"
    assert [e.point for e in first.events] == [OUTER]
    assert [e.point for e in second.events] == [INNER]
