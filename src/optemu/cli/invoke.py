"""``optemu invoke``: call one command of a TA from the shell."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from optemu.board.config import ConfigError
from optemu.cli.common import add_machine_options, config_from, fail, make_machine, start_log
from optemu.cli.tracing import Tracing, add_trace_options

if TYPE_CHECKING:
    from optemu.normal_world.libteec import Parameter

_HELP = """\
parameters, four at most:
  value:A,B       two numbers in (decimal or 0x...)
  valueout        two numbers out
  valueio:A,B     two numbers in and out
  in:TEXT         memory in; in:@FILE its contents
  out:N           N bytes of memory out
  inout:TEXT      memory in and out; inout:@FILE its contents
  none            nothing
"""


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    p = verbs.add_parser(
        "invoke",
        help="call one command of a TA",
        description="Open a session with a TA, invoke one command, print what comes back, close.",
        epilog=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("uuid", metavar="UUID", help="the TA")
    p.add_argument("cmd", metavar="CMD", type=lambda s: int(s, 0), help="the command's number")
    p.add_argument("params", metavar="PARAM", nargs="*", help="see below")
    add_machine_options(p)
    add_trace_options(p)
    p.set_defaults(run=run)


def parse_param(text: str) -> "Parameter | None":
    """One parameter of the command line; ValueError says what is wrong with it."""
    from optemu.normal_world.libteec import TempMemref, Value

    kind, _, rest = text.partition(":")
    match kind:
        case "none":
            return None
        case "value":
            return Value.input(*_numbers(rest))
        case "valueout":
            return Value.output()
        case "valueio":
            return Value.inout(*_numbers(rest))
        case "in":
            return TempMemref.input(_bytes(rest))
        case "out":
            return TempMemref.output(bytearray(int(rest, 0)))
        case "inout":
            return TempMemref.inout(bytearray(_bytes(rest)))
    raise ValueError(f"{text!r} is no parameter; see optemu invoke --help")


def _numbers(text: str) -> tuple[int, int]:
    a, _, b = text.partition(",")
    return int(a, 0), int(b, 0) if b else 0


def _bytes(text: str) -> bytes:
    return Path(text[1:]).read_bytes() if text.startswith("@") else text.encode()


def run(args: argparse.Namespace) -> int:
    from uuid import UUID

    from optemu.normal_world.libteec import TeecError

    try:
        config = config_from(args)
        uuid = UUID(args.uuid)
        params = [parse_param(text) for text in args.params]
        if len(params) > 4:
            raise ValueError(f"{len(params)} parameters; there can be four")
        start_log(config, args.log)
        tracing = Tracing(args)
    except (ConfigError, ValueError, OSError) as e:
        return fail("invoke", e)
    with tracing, make_machine(config, args, tracing.tracer) as machine:
        tracing.start()
        try:
            with machine.connect() as context, context.OpenSession(uuid) as session:
                session.invoke(args.cmd, *params)
        except TeecError as e:
            print(f"optemu invoke: {e}", file=sys.stderr)
            return 1
    for n, p in enumerate(params):
        _show(n, p)
    return 0


def _show(n: int, p: "Parameter | None") -> None:
    """What came back in an output parameter."""
    from optemu.normal_world import libteec as c

    if isinstance(p, c.Value) and p.kind != c.TEEC_VALUE_INPUT:
        print(f"param {n}: value {p.a} {p.b} (0x{p.a:x} 0x{p.b:x})")
    elif isinstance(p, c.TempMemref) and p.kind != c.TEEC_MEMREF_TEMP_INPUT:
        print(f"param {n}: {p.size} bytes {p.data.hex(' ', -4)}" + (f"  {p.data!r}" if p.data.isascii() else ""))
