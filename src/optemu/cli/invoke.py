"""``optemu invoke``: call one command of a TA from the shell."""

import argparse
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from optemu.board.config import ConfigError
from optemu.cli.common import add_machine_options, config_from, fail, make_machine, start_log
from optemu.cli.tracing import Tracing, add_trace_options

if TYPE_CHECKING:
    from uuid import UUID

    from optemu.normal_world.libteec import Parameter

T = TypeVar("T")
_LARGEST_OUTPUT = 1 << 30
_PATIENCE = 1.0
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
    p.add_argument("cmd", metavar="CMD", help="the command's number")
    p.add_argument("params", metavar="PARAM", nargs="*", default=[], help="see below")
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
            return TempMemref.output(bytearray(_number(rest, _LARGEST_OUTPUT)))
        case "inout":
            return TempMemref.inout(bytearray(_bytes(rest)))
    raise ValueError("no such parameter; see optemu invoke --help")


def _read(what: str, convert: Callable[[str], T], text: str) -> T:
    """``convert(text)``; its ValueError says which word of the command line is wrong."""
    try:
        return convert(text)
    except ValueError as e:
        raise ValueError(f"{what}: {e}") from None


def _number(text: str, largest: int = 0xFFFFFFFF) -> int:
    try:
        number = int(text, 0)
    except ValueError:
        raise ValueError(f"{text!r} is no number (decimal or 0x...)") from None
    if not 0 <= number <= largest:
        raise ValueError(f"{text} is out of range: 0 to {largest}")
    return number


def _numbers(text: str) -> tuple[int, int]:
    a, _, b = text.partition(",")
    return _number(a), _number(b) if b else 0


def _uuid(text: str) -> "UUID":
    from uuid import UUID

    try:
        return UUID(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a UUID (8-4-4-4-12 hexadecimal digits)") from None


def _bytes(text: str) -> bytes:
    return Path(text[1:]).read_bytes() if text.startswith("@") else text.encode()


def run(args: argparse.Namespace) -> int:
    from optemu.normal_world.libteec import TeecError

    try:
        config = config_from(args)
        uuid = _uuid(args.uuid)
        cmd = _read("CMD is the number of one of the TA's commands", _number, args.cmd)
        params = [_read(text, parse_param, text) for text in args.params]
        if len(params) > 4:
            raise ValueError(f"{len(params)} parameters; there can be four")
        start_log(config, args.log)
        tracing = Tracing(args)
    except (ConfigError, ValueError, OSError) as e:
        return fail("invoke", e)
    with tracing, make_machine(config, args, tracing.tracer) as machine:
        tracing.start()

        def call() -> None:
            with machine.connect() as context, context.OpenSession(uuid) as session:
                session.invoke(cmd, *params)

        try:
            _interruptible(call, machine.abandon_calls)
        except TeecError as e:
            print(f"optemu invoke: {e}{_what_is_short(params)}", file=sys.stderr)
            return 1
    for n, p in enumerate(params):
        _show(n, p)
    return 0


def _interruptible(call: Callable[[], None], abandon: Callable[[], None]) -> None:
    """``call`` on a thread of its own: a thread that is inside a TA would never see a ^C."""
    done: Future[None] = Future()

    def work() -> None:
        try:
            call()
        except BaseException as e:
            done.set_exception(e)
        else:
            done.set_result(None)

    thread = threading.Thread(target=work, name="optemu-invoke", daemon=True)
    thread.start()
    try:
        done.result()
    except KeyboardInterrupt:
        abandon()
        thread.join(_PATIENCE)
        raise


def _what_is_short(params: "list[Parameter | None]") -> str:
    """After a short buffer: what the TA asks for."""
    from optemu.normal_world.libteec import TempMemref

    short = [
        f"; param {n} needs {p.size} bytes"
        for n, p in enumerate(params)
        if isinstance(p, TempMemref) and p.buffer is not None and p.size > p.buffer.nbytes
    ]
    return "".join(short)


def _show(n: int, p: "Parameter | None") -> None:
    """What came back in an output parameter."""
    from optemu.normal_world import libteec as c

    if isinstance(p, c.Value) and p.kind != c.TEEC_VALUE_INPUT:
        print(f"param {n}: value {p.a} {p.b} (0x{p.a:x} 0x{p.b:x})")
    elif isinstance(p, c.TempMemref) and p.kind != c.TEEC_MEMREF_TEMP_INPUT:
        print(f"param {n}: {p.size} bytes {p.data.hex(' ', -4)}" + (f"  {p.data!r}" if p.data.isascii() else ""))
