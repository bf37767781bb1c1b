"""``optemu build``: compile and sign a TA, compile its client."""

import argparse
import sys
from pathlib import Path

from optemu import sign
from optemu.sdk import build as sdk


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    p = subparsers.add_parser(
        "build",
        help="compile and sign a TA, and compile its client",
        description="Build DIR/ta into DIR/out/<uuid>.ta (signed) and <uuid>.elf (with symbols), and DIR/host "
        "into a client program. Needs the compiler in the ziglang wheel: pip install 'optemu[sdk]'.",
    )
    p.add_argument("dir", metavar="DIR", type=Path, help="project directory with ta/ and host/")
    p.add_argument("--out", metavar="DIR", type=Path, help="where the results go (default DIR/out)")
    p.add_argument(
        "--key", metavar="PEM", type=Path, default=sign.DEV_KEY, help="RSA key to sign with (default: optemu's)"
    )
    p.add_argument("--algo", choices=sorted(sign.SIG_ALGOS), default="pss", help="signature scheme (default pss)")
    p.add_argument("-D", dest="defines", metavar="NAME[=VALUE]", action="append", default=[], help="define a macro")
    p.add_argument(
        "--log-level",
        type=int,
        choices=range(5),
        default=2,
        help="0 nothing, 1 errors, 2 information (default), 3 debug, 4 flow",
    )
    p.add_argument("--libc", choices=("gnu", "musl"), help="C library of the client: gnu, or musl and static")
    p.add_argument("--no-ta", dest="ta", action="store_false", help="build the client only")
    p.add_argument("--no-host", dest="host", action="store_false", help="build the TA only")
    p.add_argument("-v", "--verbose", action="store_true", help="print the commands")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    options = sdk.Options(
        out=args.out,
        key=args.key,
        algo=args.algo,
        log_level=args.log_level,
        libc=args.libc or sdk.default_libc(),
        defines=tuple(args.defines),
        ta=args.ta,
        host=args.host,
        verbose=args.verbose,
    )
    try:
        built = sdk.build(args.dir, options)
    except (sdk.BuildError, sign.SignKeyError, OSError) as e:
        print(f"optemu build: {e}", file=sys.stderr)
        return 1
    for path in (built.ta, built.elf, built.client):
        if path:
            print(path)
    return 0
