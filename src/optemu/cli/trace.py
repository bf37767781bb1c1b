"""``optemu trace``: recorded traces in other forms."""

import argparse
import os
import sys
from contextlib import nullcontext

from optemu.errors import explain
from optemu.trace.jsonl import TraceFormatError, replay
from optemu.trace.output import FORMATS, format_of, open_sink


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    p = subparsers.add_parser("trace", help="recorded traces", description="Work with recorded traces.")
    verbs = p.add_subparsers(metavar="VERB", required=True)
    convert = verbs.add_parser(
        "convert",
        help="show a recorded trace, or turn it into a file for ui.perfetto.dev",
        description="Read a trace that 'optemu run --trace -o FILE.jsonl' recorded and write it as text (what "
        "'optemu run --trace' prints), as JSONL, or as a file that ui.perfetto.dev opens.",
    )
    convert.add_argument("input", metavar="IN.jsonl", help="the recorded trace; - for standard input")
    convert.add_argument(
        "-f", "--format", choices=FORMATS, help="default: by the name of OUT (.jsonl, .pftrace), text for others"
    )
    convert.add_argument("-o", "--output", metavar="OUT", help="default: standard output")
    convert.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit status 2 when the input is no trace (what comes before the bad line is converted), 1 for other errors."""
    name = "standard input" if args.input == "-" else args.input
    try:
        if args.output and args.input != "-" and _same_file(args.input, args.output):
            raise ValueError(f"{args.output} is the input itself: choose another name for the output")
        with (
            nullcontext(sys.stdin.buffer) if args.input == "-" else open(args.input, "rb") as lines,
            open_sink(args.output, args.format) as sink,
        ):
            try:
                replay(lines, sink)
            except TraceFormatError:
                sink.close()
                raise
    except TraceFormatError as e:
        wanted = "; this reads the .jsonl record of a trace" if format_of(name) == "perfetto" else ""
        print(f"optemu trace convert: {name}, {e}{wanted}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as e:
        print(f"optemu trace convert: {explain(e)}", file=sys.stderr)
        return 1
    return 0


def _same_file(a: str, b: str) -> bool:
    return os.path.exists(b) and os.path.samefile(a, b)
