"""The sheet that text.py writes on: three columns, wrapping, arrows, colours."""

import os
import shutil
from dataclasses import dataclass
from typing import Final, NamedTuple, TextIO

from optemu.trace.point import World

COLUMNS: Final = (World.NORMAL, World.MONITOR, World.SECURE)
_TITLES: Final = {
    World.NORMAL: "normal world · EL0 EL1",
    World.MONITOR: "monitor · EL3",
    World.SECURE: "secure world · S-EL1 S-EL0",
}
_LEGEND: Final = "┌ call   └ return → result   ╶ call and return   • event   ━▶ into another world   ┊ waits meanwhile"
_GUTTER: Final = 21
_PAD: Final = 2
_ARROW_ROOM: Final = 2
_NARROWEST: Final = 72
_WIDTH_OF_A_FILE: Final = 140

NAME, ARG, OK, ERROR, NOTE, DIM, ARROW = "name", "arg", "ok", "error", "note", "dim", "arrow"
_SGR: Final = {NAME: "1", ARG: "", OK: "32", ERROR: "1;31", NOTE: "35", DIM: "2", ARROW: "1;33"}
_WORLD_SGR: Final = {World.NORMAL: "36", World.MONITOR: "33", World.SECURE: "32"}
_ASCII: Final = str.maketrans("│┊┌└╶•×━╋┻▶◀┃→…·", "|:+`-*x=++><|>~.")


class Word(NamedTuple):
    """A piece of text that is not broken unless it is longer than its column."""

    text: str
    style: str = ""


@dataclass(slots=True)
class Cell:
    """One world's part of a row. ``guides`` stand before the glyph, ``after`` before what is wrapped."""

    guides: str
    after: str
    glyph: str
    words: list[Word]


Line = list[Word]


class Page:
    def __init__(self, out: TextIO, width: int | None, color: bool | None) -> None:
        self._out = out
        tty = out.isatty()
        if width is None:
            width = shutil.get_terminal_size((_WIDTH_OF_A_FILE, 24)).columns if tty else _file_width()
        self._width = max(width, _NARROWEST)
        self._color = (tty and "NO_COLOR" not in os.environ) if color is None else color
        self._encoding = (getattr(out, "encoding", None) or "utf-8").lower().replace("-", "")
        self._columns = _column_widths(self._width)

    def head(self) -> None:
        self._line([Word(_LEGEND[: self._width], DIM)])
        line = [Word("   at us took us   ".ljust(_GUTTER), DIM)]
        rule = [Word("━" * _GUTTER, DIM)]
        for n, world in enumerate(COLUMNS):
            line += [Word("┃", DIM)] if n else []
            rule += [Word("╋", DIM)] if n else []
            width = self._columns[world]
            line.append(Word(("  " + _TITLES[world])[:width].ljust(width), world.name))
            rule.append(Word("━" * width, DIM))
        self._line(line)
        self._line(rule)

    def note(self, text: str) -> None:
        self._line([Word(f" {text} ".center(self._width, "·"), ERROR)])

    def flush(self) -> None:
        self._out.flush()

    def row(
        self,
        times: tuple[int, int | None],
        label: str,
        cells: dict[World, Cell],
        guides: dict[World, str],
        arrows: list[tuple[World, World]],
    ) -> None:
        columns = [self._lines(w, cells[w], arrows) if w in cells else [[Word(guides[w], DIM)]] for w in COLUMNS]
        ends = [Word(cells[w].after if w in cells else guides[w], self._guide_style(w, w in cells)) for w in COLUMNS]
        for n in range(max(map(len, columns))):
            gutter = f"{times[0] / 1000:>9.1f} {_took(times[1]):>7} {label:<3}" if n == 0 else " " * _GUTTER
            parts = [lines[n] if n < len(lines) else [end] for lines, end in zip(columns, ends, strict=True)]
            self._line([Word(gutter, DIM), *self._join(parts, arrows if n == 0 else [])])

    # --- one cell -----------------------------------------------------------------------------------------------

    def _guide_style(self, world: World, active: bool) -> str:
        return world.name if active else DIM

    def _lines(self, world: World, cell: Cell, arrows: list[tuple[World, World]]) -> list[Line]:
        room = self._columns[world] - _PAD
        limit = room * 2 // 3
        guides, after = cell.guides[:limit], cell.after[: limit + 1]
        touched = any(world in arrow for arrow in arrows)
        head = [Word(guides + cell.glyph, world.name)]
        first = room - len(guides) - 2 - (_ARROW_ROOM if touched else 0)
        lines = _wrap(cell.words, first, room - len(after) - 2)
        out = [[*head, *_spaced(lines[0])]]
        out += [[Word(after + " ", world.name), *_spaced(line)] for line in lines[1:]]
        return out

    # --- the columns of one line ------------------------------------------------------------------------------------

    def _join(self, parts: list[Line], arrows: list[tuple[World, World]]) -> Line:
        """The three columns side by side; an arrow runs over what lies between its ends."""
        over: set[int] = set()
        """Borders crossed, n for the one between columns n and n + 1."""
        heads: dict[int, str] = {}
        for source, target in arrows:
            a, b = COLUMNS.index(source), COLUMNS.index(target)
            over |= set(range(min(a, b), max(a, b)))
            heads[b] = "▶" if a < b else "◀"
        line: Line = []
        for n, (world, part) in enumerate(zip(COLUMNS, parts, strict=True)):
            entered = n - 1 in over
            line += [Word("╋", ARROW) if entered else Word("┃", DIM)] if n else []
            line += _pad(entered, heads.get(n) == "▶")
            through = entered and n in over and len(part) == 1
            line += _fill([] if through else part, self._columns[world] - _PAD, n in over, heads.get(n) == "◀")
        return line

    def _line(self, words: Line) -> None:
        if self._color:
            text = "".join(_paint(w) for w in words)
        else:
            text = "".join(w.text for w in words).rstrip()
        if self._encoding not in ("utf8", "utf16", "utf32"):
            text = text.translate(_ASCII).encode(self._encoding, "backslashreplace").decode(self._encoding)
        self._out.write(text + "\n")


def _column_widths(width: int) -> dict[World, int]:
    body = width - _GUTTER - 2
    monitor = 24 if body > 95 else 12
    normal = (body - monitor) * 24 // 50
    return {World.NORMAL: normal, World.MONITOR: monitor, World.SECURE: body - monitor - normal}


def _took(ns: int | None) -> str:
    """In us, as all times; with their unit when they are long."""
    if ns is None:
        return ""
    us = max(ns, 0) / 1000
    if us < 100_000:
        return f"{us:.1f}"
    return f"{us / 1000:.0f} ms" if us < 10_000_000 else f"{us / 1_000_000:.0f} s"


def _file_width() -> int:
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and len(columns) < 5 else _WIDTH_OF_A_FILE


def _wrap(words: list[Word], first: int, rest: int) -> list[Line]:
    """``words`` on as many lines as they need, the first ``first`` wide, the others ``rest``."""
    lines: list[Line] = [[]]
    room = first
    for word in words:
        if lines[-1] and len(word.text) + 1 > room:
            lines.append([])
            room = rest
        if word.style in (NAME, DIM) and len(word.text) > room:
            word = Word(word.text[: max(room - 1, 1)] + "…", word.style)
        while len(word.text) > max(room, 1):
            cut = max(room, 1)
            lines[-1].append(Word(word.text[:cut], word.style))
            word = Word(word.text[cut:], word.style)
            lines.append([])
            room = rest
        lines[-1].append(word)
        room -= len(word.text) + 1
    return lines


def _spaced(words: Line) -> Line:
    return [w for word in words for w in (Word(" "), word)]


def _length(line: Line) -> int:
    return sum(len(w.text) for w in line)


def _pad(entered: bool, head: bool) -> Line:
    if not entered:
        return [Word(" " * _PAD)]
    return [Word("━▶" if head else "━━", ARROW)]


def _fill(part: Line, width: int, crossed: bool, head: bool) -> Line:
    """``part`` brought to ``width``, with an arrow if it leaves or comes in at the right."""
    room = width - _length(part)
    if not crossed:
        return [*part, Word(" " * room)]
    if not part or not _length(part):
        return [*part, Word("━" * room, ARROW)]
    return [*part, Word(" " + ("◀" if head else "━") + "━" * (room - 2), ARROW)]


def _paint(word: Word) -> str:
    code = _WORLD_SGR[World[word.style]] if word.style in World.__members__ else _SGR.get(word.style, "")
    return f"\x1b[{code}m{word.text}\x1b[0m" if code and word.text.strip() else word.text
