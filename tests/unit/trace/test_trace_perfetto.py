"""The Perfetto file, read back by a small protobuf reader of the test's own."""

import io
from collections import defaultdict
from typing import Any

from trace_sample import Script, invoke, two_threads

from optemu.trace.perfetto import Perfetto, varint

BEGIN, END, INSTANT = 1, 2, 3


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def message(data: bytes) -> dict[int, list[Any]]:
    """Field number to the values it has: numbers, or bytes."""
    fields: dict[int, list[Any]] = defaultdict(list)
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        value: int | bytes
        if key & 7 == 0:
            value, at = read_varint(data, at)
        elif key & 7 == 1:
            value, at = int.from_bytes(data[at : at + 8], "little"), at + 8
        else:
            assert key & 7 == 2
            size, at = read_varint(data, at)
            value, at = data[at : at + size], at + size
            assert len(value) == size
        fields[key >> 3].append(value)
    return fields


class Trace:
    def __init__(self, script: Script) -> None:
        out = io.BytesIO()
        script.feed(Perfetto(out))
        self.packets = [message(p) for p in message(out.getvalue())[1]]
        descriptors = [message(p[60][0]) for p in self.packets if 60 in p]
        self.tracks = {d[1][0]: d for d in descriptors}
        self.events = [(p[8][0], message(p[11][0])) for p in self.packets if 11 in p]

    def name(self, uuid: int) -> str:
        return str(self.tracks[uuid][2][0].decode())

    def path(self, uuid: int) -> list[str]:
        parent = self.tracks[uuid].get(5)
        return [*(self.path(parent[0]) if parent else []), self.name(uuid)]


def annotations(event: dict[int, list[Any]]) -> dict[str, Any]:
    out = {}
    for note in map(message, event[4]):
        name = note.pop(10)[0].decode()
        ((field, (value,)),) = note.items()
        out[name] = value.decode() if field == 6 else value
    return out


def test_varint() -> None:
    assert varint(0) == b"\0"
    assert varint(300) == b"\xac\x02"
    assert varint(-1) == b"\xff" * 9 + b"\x01"


def test_sequence_starts_with_cleared_state() -> None:
    trace = Trace(invoke())
    assert trace.packets[0][13] == [1]
    assert all(p[10] == [1] for p in trace.packets)


def test_a_track_per_world_and_one_per_layer_below() -> None:
    trace = Trace(invoke())
    assert [trace.path(u) for u in sorted(trace.tracks)[:4]] == [
        ["optemu"],
        ["optemu", "normal world"],
        ["optemu", "monitor"],
        ["optemu", "secure world"],
    ]
    layers = {"/".join(trace.path(u)[1:]) for u in sorted(trace.tracks)[4:]}
    assert layers >= {"normal world/EL1 driver", "monitor/EL3 monitor", "secure world/S-EL0 TA"}
    assert all(event[11][0] in trace.tracks for _, event in trace.events)


def test_tracks_of_a_second_thread_are_its_own() -> None:
    trace = Trace(two_threads())
    names = {trace.name(u) for u in trace.tracks}
    assert {"EL1 driver", "EL1 driver (thread 2)"} <= names


def test_slices_nest_on_every_track() -> None:
    for script in (invoke(), two_threads()):
        trace = Trace(script)
        depth: dict[int, int] = defaultdict(int)
        for _, event in sorted(trace.events, key=lambda e: e[0]):
            depth[event[11][0]] += {BEGIN: 1, END: -1, INSTANT: 0}[event[9][0]]
            assert min(depth.values()) >= 0
        assert not any(depth.values())


def test_durations_are_those_of_the_calls() -> None:
    trace = Trace(invoke())
    open_: dict[int, list[tuple[str, int]]] = defaultdict(list)
    took = {}
    for ts, event in trace.events:
        track = event[11][0]
        if event[9] == [BEGIN]:
            open_[track].append((event[23][0].decode(), ts))
        elif event[9] == [END]:
            name, start = open_[track].pop()
            took[name] = ts - start
    assert took["syscall_log"] == 1500
    assert took["optee_supp_thrd_req"] == 9_100_000
    assert took["entry_invoke_command"] > took["__ta_entry"] > 9_100_000


def test_an_arrow_at_every_switch() -> None:
    trace = Trace(invoke())
    tails = {f: (ts, e[11][0]) for ts, e in trace.events for f in e[47]}
    heads = {f: (ts, e[11][0]) for ts, e in trace.events for f in e[48]}
    assert tails.keys() == heads.keys()
    crossings = [(trace.path(tails[f][1])[1], trace.path(heads[f][1])[1]) for f in sorted(tails)]
    n, m, s = "normal world", "monitor", "secure world"
    assert crossings == [(n, m), (m, s), (s, m), (m, n)] * 2
    assert all(tails[f][0] <= heads[f][0] for f in tails)


def test_arguments_are_annotations() -> None:
    trace = Trace(invoke())
    begin = next(e for _, e in trace.events if e.get(23) == [b"entry_invoke_command"])
    assert annotations(begin) == {
        "session": 1, "func": 0, "types": "value_inout", "upstream": "core/tee/entry_std.c",
    }  # fmt: skip
    user = next(e for _, e in trace.events if e.get(23) == [b"thread_enter_user_mode"])
    assert annotations(user) == {"entry": 0x40011000, "sp": 0x4003F000}


def test_missing_events_end_what_was_open() -> None:
    out = io.BytesIO()
    sink = Perfetto(out)
    for event in invoke().events[:5]:
        sink.event(event)
    sink.dropped(99)
    events = [message(message(p)[11][0]) for p in message(out.getvalue())[1] if 11 in message(p)]
    kinds = [e[9][0] for e in events]
    assert kinds.count(BEGIN) == kinds.count(END) == 5
    assert events[-1][23] == [b"99 events are missing here"]
