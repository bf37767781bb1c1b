"""The options that turn the trace on, and where it goes."""

import argparse
import sys
from contextlib import ExitStack

from optemu.cli.common import complain
from optemu.errors import explain
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


class Tracing:
    """The trace of one run. Nothing starts before ``start``: the gate must fork without threads around."""

    def __init__(self, args: argparse.Namespace) -> None:
        """OSError when the file cannot be written."""
        self._stack = ExitStack()
        self._started = False
        self._where = f"in {args.output}" if args.output else "on stderr"
        self.tracer: Tracer | None = None
        if args.output or args.trace:
            from optemu.trace.output import open_sink

            self._sink = self._stack.enter_context(open_sink(args.output, stream=sys.stderr))
            self.tracer = Tracer()

    def start(self) -> None:
        """Record from now on."""
        if self.tracer is not None and not self._started:
            self._started = True
            self.tracer.start(self._sink)

    def __enter__(self) -> "Tracing":
        return self

    def __exit__(self, *exc: object) -> None:
        """Everything seen is written, or it is said that it is not."""
        failure: Exception | None = None
        if self.tracer is not None and self._started:
            self.tracer.close()
            failure = self.tracer.failure
        try:
            self._stack.close()
        except OSError as e:
            failure = failure or e
        if failure is not None:
            complain(f"optemu: the trace {self._where} is not complete: {explain(failure)}")
