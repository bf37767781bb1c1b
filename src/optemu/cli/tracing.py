"""The options that turn the trace on, and where it goes."""

import argparse
import contextlib
import sys
from collections.abc import Iterator

from optemu.trace import Tracer

FORMATS = ("text", "jsonl", "perfetto")


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


@contextlib.contextmanager
def tracing(args: argparse.Namespace) -> Iterator[Tracer | None]:
    """The tracer the options ask for, None when they ask for none; what it saw is written by the end."""
    if not args.trace and not args.output:
        yield None
        return
    raise NotImplementedError
