"""Where a trace goes: a format, and a file or a stream of ours."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final, TextIO

from optemu.trace.jsonl import Jsonl
from optemu.trace.perfetto import Perfetto
from optemu.trace.sink import Sink
from optemu.trace.text import Text

FORMATS: Final = ("text", "jsonl", "perfetto")
_SUFFIXES: Final = {
    ".jsonl": "jsonl",
    ".perfetto": "perfetto",
    ".perfetto-trace": "perfetto",
    ".pftrace": "perfetto",
}


def format_of(path: str | None) -> str:
    """The format that a file's name asks for: text unless it ends like one of the others."""
    return _SUFFIXES.get(Path(path).suffix, "text") if path else "text"


@contextmanager
def open_sink(path: str | None, fmt: str | None = None, stream: TextIO | None = None) -> Iterator[Sink]:
    """A sink for ``fmt`` (default: by the name) into the file ``path``, or ``stream`` (stdout) when it is None.

    OSError when the file cannot be written; ValueError for binary output to a terminal.
    """
    fmt = fmt or format_of(path)
    stream = stream or sys.stdout
    if fmt == "perfetto":
        if path is None and stream.isatty():
            raise ValueError("perfetto output is binary: name a file to write it to")
        with open(path, "wb") if path else nullcontext(stream.buffer) as binary:
            sink: Sink = Perfetto(binary)
            yield sink
            sink.close()
        return
    with open(path, "w", encoding="utf-8") if path else nullcontext(stream) as out:
        sink = Jsonl(out) if fmt == "jsonl" else Text(out)
        yield sink
        sink.close()
