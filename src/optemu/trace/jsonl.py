"""The record: one JSON object per line, each readable by itself. A header line first, then

    {"ts": ns, "thread": 1, "world": "normal", "el": "EL1", "layer": "driver", "ph": "enter", "name": "smc",
     "args": {"a0": "CALL_WITH_ARG"}, "raw": {"a0": 838860804}}

``args`` are decoded (numbers that read as such stay numbers), ``raw`` is what was recorded where that is not the same
(bytes in hex); ``where`` and ``upstream`` name the code, if the trace point does. ``{"dropped": n}`` says that n
events are missing at that place.
"""

import json
from collections.abc import Iterable
from typing import Any, Final, TextIO, TypeVar

from optemu import __version__
from optemu.trace.event import ENTER, EXIT, MARK, Event
from optemu.trace.kinds import Field, printable
from optemu.trace.point import EL, Point, World
from optemu.trace.sink import Sink

VERSION: Final = 1
_LAST_TS: Final = 2**63 - 1
_LAST_THREAD: Final = 2**31 - 1
_E = TypeVar("_E", World, EL)


class TraceFormatError(ValueError):
    """A line that is not what this module writes; ``line`` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line


class Jsonl:
    """Sink."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._write({"optemu_trace": VERSION, "clock": "ns, monotonic, one for both worlds", "optemu": __version__})

    def event(self, event: Event) -> None:
        point = event.point
        args, raw = _to_json(event.fields)
        line: dict[str, Any] = {
            "ts": event.ts,
            "thread": event.thread,
            "world": point.world.value,
            "el": point.el.value,
            "layer": point.layer,
            "ph": event.phase,
            "name": point.name,
            "args": args,
        }
        optional = {"raw": raw, "where": point.where, "upstream": point.upstream}
        self._write(line | {key: value for key, value in optional.items() if value})

    def dropped(self, count: int) -> None:
        self._write({"dropped": count})

    def idle(self) -> None:
        self._out.flush()

    def close(self) -> None:
        self._out.flush()

    def _write(self, line: dict[str, Any]) -> None:
        self._out.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")


def _to_json(fields: tuple[Field, ...]) -> tuple[dict[str, str | int], dict[str, str | int]]:
    args: dict[str, str | int] = {}
    raw: dict[str, str | int] = {}
    for label, text, value in fields:
        if isinstance(value, int) and str(int(value)) == text:
            args[label] = int(value)
            continue
        args[label] = text
        if isinstance(value, int):
            raw[label] = int(value)
        elif isinstance(value, bytes):
            raw[label] = value.hex()
        elif value is not None and printable(value) != text:
            raw[label] = printable(value)
    return args, raw


# --- reading it back -------------------------------------------------------------------------------------------------


def replay(lines: Iterable[bytes], sink: Sink) -> None:
    """Hand the events of a record to ``sink``, as they once came. TraceFormatError at the first bad line."""
    number = 0
    for number, data in enumerate(lines, 1):
        try:
            line = _parse(data)
            if number == 1:
                _check_header(line)
            elif "dropped" in line:
                sink.dropped(_int(line, "dropped", _LAST_TS))
            else:
                sink.event(_event(line))
        except ValueError as e:
            raise TraceFormatError(number, str(e)) from None
    if number == 0:
        raise TraceFormatError(1, "the file is empty")


def _parse(data: bytes) -> dict[str, Any]:
    try:
        line = json.loads(data.decode())
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except (ValueError, RecursionError) as e:
        raise ValueError(f"not JSON ({e})") from None
    if not isinstance(line, dict):
        raise ValueError("not a JSON object")
    return line


def _check_header(line: dict[str, Any]) -> None:
    version = line.get("optemu_trace")
    if version is None:
        raise ValueError('not an optemu trace: no {"optemu_trace": 1} in its first line')
    if version != VERSION:
        raise ValueError(f"trace format {_shown(version)}; this optemu reads format {VERSION}")


def _event(line: dict[str, Any]) -> Event:
    phase = _str(line, "ph")
    if phase not in (ENTER, EXIT, MARK):
        raise ValueError(f'"ph" is {_shown(phase)}, not enter, exit or mark')
    point = Point(
        _str(line, "name"),
        _one_of(World, line, "world"),
        _one_of(EL, line, "el"),
        _str(line, "layer"),
        where=_str(line, "where", ""),
        upstream=_str(line, "upstream", ""),
    )
    return Event(_int(line, "ts", _LAST_TS), _int(line, "thread", _LAST_THREAD), phase, point, _fields(line))


def _fields(line: dict[str, Any]) -> tuple[Field, ...]:
    args, raw = line.get("args", {}), line.get("raw", {})
    if not isinstance(args, dict) or not isinstance(raw, dict):
        raise ValueError('"args" and "raw" must be objects')
    return tuple(_field(label, value, raw.get(label)) for label, value in args.items())


def _field(label: str, value: Any, raw: Any) -> Field:
    if not isinstance(value, str | int) or not isinstance(raw, str | int | None):
        raise ValueError(f"argument {_shown(label)} is neither a string nor a whole number")
    if raw is None:
        raw = value
    return printable(label), printable(str(value), longest=10_000), raw


def _one_of(choices: type[_E], line: dict[str, Any], key: str) -> _E:
    value = _str(line, key)
    try:
        return choices(value)
    except ValueError:
        raise ValueError(f'"{key}" is {_shown(value)}, not one of {", ".join(c.value for c in choices)}') from None


def _str(line: dict[str, Any], key: str, default: str | None = None) -> str:
    value = line.get(key, default)
    if not isinstance(value, str):
        raise ValueError(f'"{key}" is missing or not a string')
    return printable(value)


def _int(line: dict[str, Any], key: str, last: int) -> int:
    value = line.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= last:
        raise ValueError(f'"{key}" is missing or not a whole number from 0 to {last}')
    return value


def _shown(value: object) -> str:
    return printable(repr(value), longest=60)
