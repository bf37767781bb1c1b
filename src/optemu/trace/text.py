"""The trace as text: one column per world, calls indented, arrows where a call crosses from one world to another.

A row is usually one event. Two things share a row: a call and its return when nothing came between them; and the
steps of one crossing (smc, the monitor, the secure world's entry; or their returns), which is the arrow.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TextIO

from optemu.trace.event import ENTER, EXIT, Event
from optemu.trace.kinds import Field
from optemu.trace.nesting import Frame, Nesting, Switches
from optemu.trace.page import ARG, COLUMNS, DIM, ERROR, NAME, NOTE, OK, Cell, Page, Word
from optemu.trace.point import EL, World
from optemu.trace.sink import QUIET_NS

_LEVEL: Final = {World.NORMAL: EL.EL1, World.MONITOR: EL.EL3, World.SECURE: EL.S_EL1}
_RESULT_LABELS: Final = frozenset(("ret", "rc", "a0", "x0", "by"))


@dataclass(slots=True)
class Row:
    """What becomes one line (or more, when arguments wrap)."""

    ts: int
    thread: int
    phase: str
    last_ts: int
    guides: dict[World, str]
    """Of the worlds that have no cell: their open calls, which wait."""
    cells: dict[World, Cell] = field(default_factory=dict)
    arrows: list[tuple[World, World]] = field(default_factory=list)
    tail: Frame | None = None
    """The call that was entered last: its return may join this row."""
    took: int | None = None
    """ns of the call that returned last."""
    whole: bool = False


class Text:
    """Sink. ``width`` in characters and ``color`` are found out from the terminal when not given."""

    def __init__(self, out: TextIO, width: int | None = None, color: bool | None = None) -> None:
        self._page = Page(out, width, color)
        self._start: int | None = None
        self._nesting = Nesting()
        self._switches = Switches()
        self._row: Row | None = None
        self._threads: set[int] = set()

    def event(self, event: Event) -> None:
        if self._start is None:
            self._start = event.ts
            self._page.head()
        self._threads.add(event.thread)
        before = self._switches.seen(event)
        if event.phase == ENTER:
            self._enter(event, before)
        elif event.phase == EXIT:
            self._exit(event, before)
        else:
            self._add(event, before, self._mark_cell(event))

    def dropped(self, count: int) -> None:
        self._flush()
        self._nesting.clear()
        self._switches.clear()
        self._page.note(f"{count:,} events are missing here: they came faster than they could be written")

    def idle(self) -> None:
        self._flush()
        self._page.flush()

    def close(self) -> None:
        self.idle()

    # --- events to cells ------------------------------------------------------------------------------------------

    def _enter(self, event: Event, before: Event | None) -> None:
        stack = self._nesting.stack(event.thread, event.point.world)
        outer = stack.frames[-1].event.point.el if stack.frames else _LEVEL[event.point.world]
        frame = self._nesting.enter(event)
        words = [Word(event.point.name, NAME), *_arguments(event.fields)]
        if event.point.el is not outer:
            words.insert(0, Word(event.point.el.value, NOTE))
        guides = "│" * frame.depth
        self._add(event, before, Cell(guides, guides + "│", "┌", words), frame)

    def _exit(self, event: Event, before: Event | None) -> None:
        closed = self._nesting.exit(event)
        for lost in closed.lost:
            guides = "│" * lost.depth
            words = [Word(lost.event.point.name, NAME), Word("did not return", ERROR)]
            self._add(event, None, Cell(guides, guides, "×", words))
        took = None if closed.frame is None else event.ts - closed.frame.event.ts
        row = self._row
        if row and closed.frame and row.tail is closed.frame and event.ts - row.last_ts < QUIET_NS:
            cell = row.cells[event.point.world]
            cell.glyph, cell.after = "╶", cell.guides
            cell.words += _results(event.fields)
            row.tail, row.whole, row.last_ts, row.took = None, True, event.ts, took
            return
        depth = closed.frame.depth if closed.frame else self._depth(event)
        guides = "│" * depth
        words = [Word(event.point.name, DIM), *_results(event.fields)]
        self._add(event, before, Cell(guides, guides, "└", words), took=took)

    def _mark_cell(self, event: Event) -> Cell:
        guides = "│" * self._depth(event)
        return Cell(guides, guides, "•", [Word(event.point.name, NAME), *_arguments(event.fields)])

    def _depth(self, event: Event) -> int:
        frames = self._nesting.stack(event.thread, event.point.world).frames
        return frames[-1].depth + 1 if frames else 0

    # --- cells to rows ----------------------------------------------------------------------------------------------

    def _add(
        self, event: Event, before: Event | None, cell: Cell, tail: Frame | None = None, took: int | None = None
    ) -> None:
        """``cell`` in the row of the crossing it continues, or in one of its own."""
        row = self._row
        if row is None or before is None or not _continues(row, before, event):
            self._flush()
            world = event.point.world
            guides = {w: self._waiting(event.thread, w) for w in World if w is not world}
            row = self._row = Row(event.ts, event.thread, event.phase, event.ts, guides)
        if before is not None:
            row.arrows.append((before.point.world, event.point.world))
        if row.cells:
            _say_once(row.cells, cell, event)
        row.cells[event.point.world] = cell
        row.tail, row.took, row.last_ts = tail, took, event.ts

    def _waiting(self, thread: int, world: World) -> str:
        depths = set(self._nesting.stack(thread, world).depths())
        return "".join("┊" if n in depths else " " for n in range(max(depths, default=-1) + 1))

    def _flush(self) -> None:
        row, self._row = self._row, None
        if row is not None:
            assert self._start is not None
            label = f"T{row.thread}" if len(self._threads) > 1 else ""
            self._page.row((row.ts - self._start, row.took), label, row.cells, row.guides, row.arrows)


def _continues(row: Row, before: Event, event: Event) -> bool:
    """Whether ``event`` is the next step of the crossing that ``row`` shows: same way, same phase, without a pause."""
    world = event.point.world
    if row.whole or row.phase != event.phase or row.thread != event.thread or world in row.cells:
        return False
    step = COLUMNS.index(world) - COLUMNS.index(before.point.world)
    onward = step > 0 if event.phase == ENTER else step < 0
    return onward and before.point.world in row.cells and event.ts - row.last_ts < QUIET_NS


def _say_once(cells: dict[World, Cell], cell: Cell, event: Event) -> None:
    """Registers pass a crossing unchanged: the way in shows them where it begins, the way back at both ends."""
    first = next(iter(cells.values()))
    if event.phase == ENTER or event.point.world is World.MONITOR:
        _unsay(cell, first)
    elif World.MONITOR in cells:
        _unsay(cells[World.MONITOR], cell)


def _unsay(cell: Cell, other: Cell) -> None:
    said = {w.text for w in other.words[1:]}
    cell.words = [w for w in cell.words if w.text not in said and w.text.partition("=")[2] not in said]


def _arguments(fields: tuple[Field, ...]) -> list[Word]:
    return [Word(text if _speaks(label, text) else f"{label}={text}", ARG) for label, text, _ in fields]


def _results(fields: tuple[Field, ...]) -> Iterator[Word]:
    for n, (label, text, _) in enumerate(fields):
        bare = _speaks(label, text) or (n == 0 and label in _RESULT_LABELS)
        shown = text if bare else f"{label}={text}"
        yield Word(shown, ARG) if n else Word(f"→ {shown}", _result_style(text))


def _result_style(text: str) -> str:
    if text.startswith(("TEE_ERROR_", "-E")):
        return ERROR
    return OK if text == "TEE_SUCCESS" else ARG


def _speaks(label: str, text: str) -> bool:
    """Whether the value says by itself what it is, as OPEN_SESSION or a UUID does: no need for its label."""
    if label in ("origin", "login"):
        return False
    if text.startswith("TA_") or (len(text) == 36 and text.count("-") == 4):
        return True
    return len(text) > 1 and text[0].isalpha() and text.isupper() and text.isidentifier()
