import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trace_sample import invoke, two_threads

from optemu.trace.event import Event
from optemu.trace.jsonl import Jsonl, TraceFormatError, replay
from optemu.trace.kinds import decode
from optemu.trace.perfetto import Perfetto
from optemu.trace.point import EL, Point, World
from optemu.trace.text import Text


class Collect:
    def __init__(self) -> None:
        self.events: list[Event | int] = []

    def event(self, event: Event) -> None:
        self.events.append(event)

    def dropped(self, count: int) -> None:
        self.events.append(count)

    def idle(self) -> None: ...

    def close(self) -> None: ...


def record(events: list[Event]) -> str:
    out = io.StringIO()
    sink = Jsonl(out)
    for event in events:
        sink.event(event)
    sink.close()
    return out.getvalue()


def lines(text: str) -> list[bytes]:
    return text.encode().splitlines(keepends=True)


def plain(event: Event | int) -> Any:
    """What must survive: everything but the raw bytes, which the record holds in hex."""
    if isinstance(event, int):
        return event
    p = event.point
    fields = [(label, text, int(raw) if isinstance(raw, int) else None) for label, text, raw in event.fields]
    return (event.ts, event.thread, event.phase, p.name, p.world, p.el, p.layer, p.where, p.upstream, fields)


def test_one_line_reads_by_itself() -> None:
    header, first, *_ = map(json.loads, record(invoke().events[3:]).splitlines())
    assert header["optemu_trace"] == 1
    assert first == {
        "ts": 1_004_200, "thread": 1, "world": "normal", "el": "EL1", "layer": "driver", "ph": "enter", "name": "smc",
        "args": {"a0": "CALL_WITH_REGD_ARG", "a1": "0x0", "a2": "0x55000", "a3": "0x0"},
        "raw": {"a0": 0x32000013, "a1": 0, "a2": 0x55000, "a3": 0},
    }  # fmt: skip


@pytest.mark.parametrize("script", [invoke, two_threads])
def test_a_replayed_trace_looks_as_it_did_live(script: Any) -> None:
    recorded = lines(record(script().events))
    live, again = io.StringIO(), io.StringIO()
    script().feed(Text(live, 120, False))
    sink = Text(again, 120, False)
    replay(recorded, sink)
    sink.close()
    assert again.getvalue() == live.getvalue()
    live_pf, again_pf = io.BytesIO(), io.BytesIO()
    script().feed(Perfetto(live_pf))
    replay(recorded, Perfetto(again_pf))
    assert again_pf.getvalue() == live_pf.getvalue()


_TEXTS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
_KINDS = st.sampled_from(["dec", "hex", "size", "str", "bytes", "uuid", "tee_result", "msg_cmd", "bool", "nothing"])
_RAW = st.one_of(st.integers(-(2**64), 2**64), st.binary(max_size=40), st.text(max_size=40), st.none(), st.booleans())
_ANY_EVENTS = st.builds(
    lambda ts, thread, phase, point, spec: Event(
        ts, thread, phase, point, decode(" ".join(f"l{n}:{k}" for n, (k, _) in enumerate(spec)), [v for _, v in spec])
    ),
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**31 - 1),
    st.sampled_from(["enter", "exit", "mark"]),
    st.builds(Point, _TEXTS, st.sampled_from(World), st.sampled_from(EL), _TEXTS, where=_TEXTS, upstream=_TEXTS),
    st.lists(st.tuples(_KINDS, _RAW), max_size=4),
)


@given(st.lists(_ANY_EVENTS, max_size=5))
def test_round_trip(events: list[Event]) -> None:
    text = record(events)
    back = Collect()
    replay(lines(text), back)
    assert list(map(plain, back.events)) == list(map(plain, events))
    assert record([e for e in back.events if isinstance(e, Event)]) == text


def test_missing_events_are_kept() -> None:
    out = io.StringIO()
    Jsonl(out).dropped(5)
    back = Collect()
    replay(lines(out.getvalue()), back)
    assert back.events == [5]


_GOOD = json.loads(record(invoke().events[:1]).splitlines()[1])


@pytest.mark.parametrize(("change", "says"), [
    ({"ts": None}, '"ts"'),
    ({"ts": -1}, '"ts"'),
    ({"ts": True}, '"ts"'),
    ({"ts": 1.5}, '"ts"'),
    ({"ts": 2**63}, '"ts"'),
    ({"thread": 10**40}, '"thread"'),
    ({"world": "middle"}, "'middle', not one of normal, monitor, secure"),
    ({"world": ["normal"]}, '"world"'),
    ({"el": "EL9"}, "EL9"),
    ({"ph": "B"}, "not enter, exit or mark"),
    ({"name": 3}, '"name"'),
    ({"args": []}, '"args"'),
    ({"args": {"x": 1.5}}, "'x'"),
    ({"args": {"x": None}}, "'x'"),
    ({"raw": {"pid": []}}, "'pid'"),
    ({"dropped": "many"}, '"dropped"'),
])  # fmt: skip
def test_a_bad_field_is_named_with_its_line(change: dict[str, Any], says: str) -> None:
    text = record(invoke().events[:1]) + json.dumps(_GOOD | change) + "\n"
    with pytest.raises(TraceFormatError, match="line 3: ") as e:
        replay(lines(text), Collect())
    assert says in str(e.value)


_HEADER = b'{"optemu_trace": 1}\n'


@pytest.mark.parametrize(("data", "line"), [
    ([], 1),
    ([b"\n"], 1),
    ([b"hello\n"], 1),
    ([b"[1]\n"], 1),
    ([b'{"traceEvents": []}\n'], 1),
    ([b'{"optemu_trace": 2}\n'], 1),
    ([_HEADER, b"\xff\xfe\n"], 2),
    ([_HEADER, b'{"ts": 1, "thr'], 2),
    ([_HEADER, b"[" * 100_000], 2),
    ([_HEADER, b'{"ts": ' + b"9" * 10_000 + b"}"], 2),
    ([_HEADER, b"{}\n"], 2),
])  # fmt: skip
def test_what_is_no_trace_is_refused_with_its_line(data: list[bytes], line: int) -> None:
    with pytest.raises(TraceFormatError) as e:
        replay(data, Collect())
    assert e.value.line == line


_JSON = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)), st.lists)


@settings(max_examples=40)
@given(st.lists(st.one_of(st.binary(max_size=60), st.dictionaries(st.sampled_from([*_GOOD, "raw", "dropped"]), _JSON).map(
    lambda d: json.dumps(_GOOD | d).encode())), max_size=4))  # fmt: skip
def test_any_input_is_read_or_refused(data: list[bytes]) -> None:
    out = io.StringIO()
    sinks = Text(out, 100, False), Perfetto(io.BytesIO()), Jsonl(io.StringIO())
    for sink in sinks:
        try:
            replay([_HEADER, *data], sink)
        except TraceFormatError as e:
            assert 2 <= e.line <= len(data) + 1
        sink.close()
    assert out.getvalue().replace("\n", "").isprintable()
