"""The trace as a file for ui.perfetto.dev: a track per world, one below it per layer, a flow arrow at each switch.

Native TrackEvent protobuf (protos/perfetto/trace in google/perfetto), written by hand: the numbers below are the
field numbers of the messages named beside them.
"""

from typing import BinaryIO, Final

from optemu.trace.event import ENTER, EXIT, Event
from optemu.trace.nesting import Frame, Nesting, Switches
from optemu.trace.point import EL, World

# Trace
_PACKET: Final = 1
# TracePacket
_TIMESTAMP, _SEQUENCE_ID, _TRACK_EVENT, _SEQUENCE_FLAGS, _TRACK_DESCRIPTOR = 8, 10, 11, 13, 60
_INCREMENTAL_STATE_CLEARED: Final = 1
# TrackDescriptor
_UUID, _NAME, _PARENT_UUID, _CHILD_ORDERING, _SIBLING_ORDER_RANK = 1, 2, 5, 11, 12
_EXPLICIT: Final = 3
# TrackEvent
_ANNOTATION, _TYPE, _TRACK_UUID, _CATEGORY, _EVENT_NAME, _FLOW_IDS, _TERMINATING_FLOW_IDS = 4, 9, 11, 22, 23, 47, 48
_BEGIN, _END, _INSTANT = 1, 2, 3
# DebugAnnotation
_INT_VALUE, _STRING_VALUE, _POINTER_VALUE, _ANNOTATION_NAME = 4, 6, 7, 10

_VARINT, _I64, _LEN = 0, 1, 2
_ROOT: Final = 1
_WORLDS: Final = {World.NORMAL: 2, World.MONITOR: 3, World.SECURE: 4}
_FIRST_LAYER: Final = 16
_LEVELS: Final = (EL.EL0, EL.EL1, EL.EL3, EL.S_EL1, EL.S_EL0)
_WORLD_NAMES: Final = {World.NORMAL: "normal world", World.MONITOR: "monitor", World.SECURE: "secure world"}

TrackKey = tuple[int, World, EL, str]


def varint(value: int) -> bytes:
    """Base 128, least significant group first; negative numbers as 64-bit two's complement."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return varint(field << 3 | _VARINT) + varint(value)


def _fixed64(field: int, value: int) -> bytes:
    return varint(field << 3 | _I64) + value.to_bytes(8, "little")


def _message(field: int, payload: bytes) -> bytes:
    return varint(field << 3 | _LEN) + varint(len(payload)) + payload


def _string(field: int, text: str) -> bytes:
    return _message(field, text.encode("utf-8", "backslashreplace"))


class Perfetto:
    """Sink."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._nesting = Nesting()
        self._switches = Switches()
        self._tracks: dict[TrackKey, int] = {}
        self._flow = 0
        self._last_ts = 0
        self._packet(_number(_SEQUENCE_FLAGS, _INCREMENTAL_STATE_CLEARED))
        self._describe(_ROOT, "optemu", None, 0)
        for rank, (world, uuid) in enumerate(_WORLDS.items()):
            self._describe(uuid, _WORLD_NAMES[world], _ROOT, rank)

    def event(self, event: Event) -> None:
        self._last_ts = max(self._last_ts, event.ts)
        before = self._switches.seen(event)
        flow = self._depart(before, event) if before else b""
        if event.phase == ENTER:
            self._nesting.enter(event)
            self._emit(event, _BEGIN, event.point.name, flow + _annotations(event))
        elif event.phase == EXIT:
            self._exit(event, flow)
        else:
            self._emit(event, _INSTANT, event.point.name, flow + _annotations(event))

    def dropped(self, count: int) -> None:
        self._end(self._nesting.clear(), self._last_ts)
        self._switches.clear()
        payload = _number(_TYPE, _INSTANT) + _number(_TRACK_UUID, _ROOT)
        self._track_event(self._last_ts, payload + _string(_EVENT_NAME, f"{count} events are missing here"))

    def idle(self) -> None:
        self._out.flush()

    def close(self) -> None:
        self._out.flush()

    # --- events -------------------------------------------------------------------------------------------------

    def _depart(self, before: Event, event: Event) -> bytes:
        """An instant where the thread leaves a world, the arrow's tail; the field that makes ``event`` its head."""
        self._flow += 1
        name = f"→ {_WORLD_NAMES[event.point.world]}"
        self._emit(before, _INSTANT, name, _fixed64(_FLOW_IDS, self._flow))
        return _fixed64(_TERMINATING_FLOW_IDS, self._flow)

    def _exit(self, event: Event, flow: bytes) -> None:
        closed = self._nesting.exit(event)
        if flow:
            self._emit(event, _INSTANT, "← back", flow)
        self._end(closed.lost, event.ts)
        if closed.frame is None:
            self._emit(event, _INSTANT, f"{event.point.name} returns", _annotations(event))
        else:
            track = self._track(closed.frame.event)
            self._track_event(event.ts, _number(_TYPE, _END) + _number(_TRACK_UUID, track) + _annotations(event))

    def _end(self, frames: list[Frame], ts: int) -> None:
        """The ends of calls that never returned (an exception passed them), or whose return was not recorded."""
        for frame in frames:
            track = _number(_TRACK_UUID, self._track(frame.event))
            self._track_event(ts, _number(_TYPE, _END) + track + _annotation("returned", "no", None))

    def _emit(self, event: Event, type_: int, name: str, more: bytes) -> None:
        head = _number(_TYPE, type_) + _number(_TRACK_UUID, self._track(event))
        self._track_event(event.ts, head + _string(_CATEGORY, event.point.layer) + _string(_EVENT_NAME, name) + more)

    # --- tracks -------------------------------------------------------------------------------------------------

    def _track(self, event: Event) -> int:
        """The track of the event's layer, one for each thread, described when first needed."""
        point = event.point
        key = (event.thread, point.world, point.el, point.layer)
        uuid = self._tracks.get(key)
        if uuid is None:
            uuid = self._tracks[key] = _FIRST_LAYER + len(self._tracks)
            name = f"{point.el.value} {point.layer}" + (f" (thread {event.thread})" if event.thread > 1 else "")
            rank = (min(event.thread, 1000) * 8 + _LEVELS.index(point.el)) * 100_000 + min(len(self._tracks), 99_999)
            self._describe(uuid, name, _WORLDS[point.world], rank)
        return uuid

    def _describe(self, uuid: int, name: str, parent: int | None, rank: int) -> None:
        payload = _number(_UUID, uuid) + _string(_NAME, name) + _number(_CHILD_ORDERING, _EXPLICIT)
        if parent is not None:
            payload += _number(_PARENT_UUID, parent) + _number(_SIBLING_ORDER_RANK, rank)
        self._packet(_message(_TRACK_DESCRIPTOR, payload))

    # --- packets ------------------------------------------------------------------------------------------------

    def _track_event(self, ts: int, payload: bytes) -> None:
        self._packet(_number(_TIMESTAMP, ts) + _message(_TRACK_EVENT, payload))

    def _packet(self, payload: bytes) -> None:
        self._out.write(_message(_PACKET, payload + _number(_SEQUENCE_ID, 1)))


def _annotations(event: Event) -> bytes:
    out = b"".join(_annotation(*f) for f in event.fields)
    if event.phase != EXIT:
        named = {"where": event.point.where, "upstream": event.point.upstream}
        out += b"".join(_annotation(label, text, None) for label, text in named.items() if text)
    return out


def _annotation(label: str, text: str, raw: int | str | bytes | None) -> bytes:
    value = _string(_STRING_VALUE, text)
    if isinstance(raw, int) and -(2**63) <= raw < 2**63 and text == str(raw):
        value = _number(_INT_VALUE, raw)
    elif isinstance(raw, int) and 0 <= raw < 2**64 and text == f"0x{raw:x}":
        value = _number(_POINTER_VALUE, raw)
    return _message(_ANNOTATION, _string(_ANNOTATION_NAME, label) + value)
