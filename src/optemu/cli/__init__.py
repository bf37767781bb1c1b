"""The ``optemu`` command: one file per verb."""

import argparse
import sys
from importlib import import_module

from optemu import __version__
from optemu.cli.sign import with_verb

_VERBS = ("demo", "run", "serve", "invoke", "build", "sign", "ta", "syscalls", "trace", "doctor")


def parser() -> argparse.ArgumentParser:
    """The whole command line, all verbs of it."""
    top = argparse.ArgumentParser(
        prog="optemu",
        description="OP-TEE without the board: run programs that use a TEE, their trusted applications and everything "
        "between them, step by step.",
    )
    top.add_argument("--version", action="version", version=f"optemu {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in _VERBS:
        import_module(f"optemu.cli.{verb}").add_parser(verbs)
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one verb; the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["sign"]:
        argv = ["sign", *with_verb(argv[1:])]
    args = parser().parse_args(argv)
    try:
        status: int = args.run(args)
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except KeyboardInterrupt:
        return 130
    return status
