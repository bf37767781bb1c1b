"""The ``optemu`` command: one file per verb."""

import argparse
import os
import sys
from importlib import import_module
from typing import Any

from optemu import __version__
from optemu.cli.sign import with_verb

_VERBS = ("demo", "run", "serve", "invoke", "build", "sign", "ta", "storage", "syscalls", "trace", "doctor")


class _Parser(argparse.ArgumentParser):
    """Each verb shows its own usage for what it does not know; argparse leaves that to the outermost parser."""

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        namespace, unknown = super().parse_known_args(*args, **kwargs)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return namespace, unknown


def parser() -> argparse.ArgumentParser:
    """The whole command line, all verbs of it."""
    top = _Parser(
        prog="optemu",
        description="OP-TEE without the board: run programs that use a TEE, their trusted applications and everything "
        "between them, step by step.",
    )
    top.add_argument("--version", action="version", version=f"optemu {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in _VERBS:
        import_module(f"optemu.cli.{verb}").add_parser(verbs)
    return top


def _open_standard_streams() -> None:
    """Where one was closed by who started us, nothing of ours must get its number. A program still finds it closed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def main(argv: list[str] | None = None) -> int:
    """Run one verb; the exit status."""
    _open_standard_streams()
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
