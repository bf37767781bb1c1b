"""``optemu build``: compile and sign a TA, compile its client."""

import argparse
from pathlib import Path

from optemu.board.config import LOG_LEVELS
from optemu.cli.common import fail


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    p = subparsers.add_parser(
        "build",
        help="compile and sign a TA, and compile its client",
        description="Build DIR/ta, and the shared libraries that DIR/optemu-build.toml names, into DIR/out/<uuid>.ta "
        "(signed) and <uuid>.elf (with symbols), and DIR/host into a client program. Needs the compiler in the ziglang "
        "wheel: pip install 'optemu[sdk]'.",
    )
    p.add_argument("dir", metavar="DIR", type=Path, help="project directory with ta/ and host/")
    p.add_argument("--out", metavar="DIR", type=Path, help="where the results go (default DIR/out)")
    p.add_argument("--key", metavar="PEM", type=Path, help="RSA key to sign with (default: optemu's own)")
    p.add_argument("--algo", choices=("pkcs1", "pss"), default="pss", help="signature scheme (default pss)")
    p.add_argument("-D", dest="defines", metavar="NAME[=VALUE]", action="append", default=[], help="define a macro")
    p.add_argument(
        "--log-level",
        choices=LOG_LEVELS,
        default="info",
        help="messages compiled into the TA: none, error, info (default), debug, flow",
    )
    p.add_argument("--arch", choices=("aarch64", "arm"), help="of the TA (default: as the project says, or aarch64)")
    p.add_argument("--libc", choices=("gnu", "musl"), help="C library of the client: gnu, or musl and static")
    p.add_argument("--no-ta", dest="ta", action="store_false", help="build the client only")
    p.add_argument("--no-host", dest="host", action="store_false", help="build the TA only")
    p.add_argument("-v", "--verbose", action="store_true", help="print the commands")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from optemu import sign
    from optemu.sdk import build as sdk
    from optemu.sdk.toolchain import TARGETS

    options = sdk.Options(
        out=args.out,
        key=args.key or sign.DEV_KEY,
        algo=args.algo,
        log_level=LOG_LEVELS[args.log_level],
        libc=args.libc or sdk.default_libc(),
        defines=tuple(args.defines),
        target=TARGETS[args.arch] if args.arch else None,
        ta=args.ta,
        host=args.host,
        verbose=args.verbose,
    )
    try:
        built = sdk.build(args.dir, options)
    except (sdk.BuildError, sign.SignKeyError, OSError) as e:
        return fail("build", e)
    for path in (*built.libs, built.ta, built.elf, built.client):
        if path:
            print(path)
    return 0
