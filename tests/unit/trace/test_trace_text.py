"""The text sink against checked-in sheets (golden/, written anew by pytest --regenerate)."""

import io
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trace_sample import POINTS, Script, invoke, two_threads

from optemu.trace.event import Decoder
from optemu.trace.point import EL, Point, World
from optemu.trace.text import Text


def render(script: Script, width: int, color: bool = False) -> str:
    out = io.StringIO()
    script.feed(Text(out, width, color))
    return out.getvalue()


@pytest.mark.parametrize(("name", "script", "width"), [
    ("invoke-140", invoke, 140),
    ("invoke-100", invoke, 100),
    ("two-threads-120", two_threads, 120),
])  # fmt: skip
def test_golden(golden: Callable[[str, str], None], name: str, script: object, width: int) -> None:
    assert callable(script)
    golden(f"{name}.txt", render(script(), width))


def test_every_line_fits_and_columns_stand_straight() -> None:
    for width in (72, 99, 133, 200):
        lines = render(invoke(), width).splitlines()[1:]
        assert max(map(len, lines)) <= width
        borders = {tuple(m.start() for m in re.finditer("[┃╋]", line)) for line in lines}
        assert len(borders) == 1
        assert len(borders.pop()) == 2


def test_each_crossing_is_one_arrow_and_shows_both_ends() -> None:
    lines = render(invoke(), 140).splitlines()
    into = [line for line in lines if line.count("━▶") == 2]
    out = [line for line in lines if line.count("◀") == 2]
    assert len(into) == len(out) == 2
    for line in into + out:
        assert re.search(r"smc .*opteed_smc_handler.*thread_handle_std_smc", line)
    assert "CALL_WITH_REGD_ARG" in into[0]
    assert "CALL_RETURN_FROM_RPC" in into[1]
    assert out[0].count("→ RPC_CMD") == 2


def test_the_suspended_thread_is_seen_waiting_during_its_rpc() -> None:
    served = next(line for line in render(invoke(), 140).splitlines() if "optee_supp_thrd_req" in line)
    assert served.rstrip().endswith("┊" * 9)


def test_colours_change_nothing_else() -> None:
    plain, colored = render(invoke(), 140), render(invoke(), 140, color=True)
    assert "\x1b[" in colored
    bare = re.sub(r"\x1b\[[\d;]*m", "", colored)
    assert [line.rstrip() for line in bare.splitlines()] == plain.splitlines()


def test_ascii_terminal() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    invoke().feed(Text(out, 140, False))
    assert b"===+=>+ opteed_smc_handler" in raw.getvalue()


def test_missing_events_are_said() -> None:
    out = io.StringIO()
    sink = Text(out, 100, False)
    events = invoke().events
    for event in events[:12]:
        sink.event(event)
    sink.dropped(12345)
    sink.event(events[-1])
    sink.close()
    assert " 12,345 events are missing here" in out.getvalue()
    assert out.getvalue().splitlines()[-1].split()[1:5] == ["└", "TEE_IOC_INVOKE", "→", "0"]


def test_what_is_held_back_shows_when_idle() -> None:
    out = io.StringIO()
    sink = Text(out, 100, False)
    sink.event(invoke().events[0])
    assert "TEE_IOC_INVOKE" not in out.getvalue()
    sink.idle()
    assert "┌ TEE_IOC_INVOKE" in out.getvalue()


def test_hostile_text_does_not_reach_the_terminal() -> None:
    point = Point("tee_open", World.NORMAL, EL.EL1, "tee", args="path:str")
    out = io.StringIO()
    sink = Text(out, 180, False)
    sink.event(Decoder()((1, 1, "enter", point, ("/dev/tee0\x1b[2J\r\n",))))
    sink.close()
    assert "\x1b" not in out.getvalue()
    assert r"\x1b[2J\r\n" in out.getvalue()


_EVENTS = st.lists(
    st.tuples(
        st.integers(0, 10_000_000),
        st.integers(1, 2),
        st.sampled_from(["enter", "exit", "mark"]),
        st.sampled_from(sorted(POINTS)),
        st.lists(st.one_of(st.integers(), st.binary(max_size=40), st.text(max_size=40)), max_size=4),
    ),
    max_size=40,
)


@given(_EVENTS, st.sampled_from([0, 80, 140, 200]))
def test_any_order_of_events_can_be_shown(steps: list[tuple[int, int, str, str, list[object]]], width: int) -> None:
    script = Script()
    for ns, thread, phase, name, args in steps:
        script.do(ns, phase, name, *args, thread=thread)
    lines = render(script, width).splitlines()
    assert max(map(len, lines), default=0) <= max(width, 72)
    if width >= 140:
        assert all(e.point.name[:3] in "".join(lines) for e in script.events)


def test_deep_calls_keep_inside_their_column() -> None:
    script = Script()
    for _ in range(200):
        script.do(10, "enter", "tee_ta_invoke_command", 1, 2)
    assert max(map(len, render(script, 100).splitlines())) <= 100
