"""The options that turn the trace on, and where it goes."""

import argparse
import contextlib
import sys
from typing import IO, Any

from optemu.trace import Tracer


def add_trace_options(p: argparse.ArgumentParser) -> None:
    """``--trace`` and ``-o``."""
    p.add_argument("--trace", action="store_true", help="show what moves between the worlds, on stderr")
    p.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write the trace there: .jsonl the record, .pftrace for ui.perfetto.dev, anything else text",
    )


def format_of(path: str) -> str:
    """The format that a file's name asks for."""
    if path.endswith((".jsonl", ".json")):
        return "jsonl"
    return "perfetto" if path.endswith((".pftrace", ".perfetto-trace", ".perfetto")) else "text"


def open_sink(path: str, kind: str) -> tuple[Any, IO[Any]]:
    """A sink of ``kind`` on the file ``path``; the file is the caller's to close. OSError."""
    from optemu.trace.jsonl import Jsonl
    from optemu.trace.perfetto import Perfetto
    from optemu.trace.text import Text

    if kind == "perfetto":
        binary = open(path, "wb")  # noqa: SIM115
        return Perfetto(binary), binary
    text = open(path, "w", encoding="utf-8")  # noqa: SIM115
    return (Jsonl(text) if kind == "jsonl" else Text(text)), text


class Tracing:
    """The trace of one run. Nothing starts before ``start``: the gate must fork without threads around."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._sinks: list[Any] = []
        self._files: list[IO[Any]] = []
        self._started = False
        self.tracer: Tracer | None = None
        if args.output:
            sink, file = open_sink(args.output, format_of(args.output))
            self._sinks.append(sink)
            self._files.append(file)
        elif args.trace:
            from optemu.trace.text import Text

            self._sinks.append(Text(sys.stderr))
        if self._sinks:
            self.tracer = Tracer()

    def start(self) -> None:
        """Record from now on."""
        if self.tracer is not None and not self._started:
            self._started = True
            self.tracer.start(*self._sinks)

    def __enter__(self) -> "Tracing":
        return self

    def __exit__(self, *exc: object) -> None:
        """Everything seen is written."""
        if self.tracer is not None and self._started:
            self.tracer.close()
        for file in self._files:
            with contextlib.suppress(OSError):
                file.close()
