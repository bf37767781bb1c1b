"""``optemu demo``: build the hello_world example, run it, and show the road its calls travelled."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from optemu import sign
from optemu.cli.common import fail

EXAMPLE = Path(__file__).parents[3] / "examples" / "hello_world"


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    p = verbs.add_parser(
        "demo",
        help="build an example, run it, show its trace",
        description="Build the hello_world example (trusted application and client), run the client against it, then "
        "show what happened between the two, world by world.",
    )
    p.add_argument("dir", metavar="DIR", nargs="?", type=Path, default=EXAMPLE, help="another project to show")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from optemu.sdk import build as sdk

    if not args.dir.is_dir():
        return fail("demo", f"{args.dir}: no such project; the example comes with optemu's source tree")
    _title("building", f"{args.dir.name}: a trusted application and its client")
    try:
        built = sdk.build(args.dir, sdk.Options(libc=sdk.default_libc()))
    except (sdk.BuildError, sign.SignKeyError, OSError) as e:
        return fail("demo", e)
    if built.client is None or built.ta is None:
        return fail("demo", f"{args.dir} has no client or no trusted application")
    _title("running", f"{built.client.name}: an unmodified program that opens /dev/tee0")
    with tempfile.TemporaryDirectory(prefix="optemu-demo-") as scratch:
        record = Path(scratch) / "trace.jsonl"
        command = [sys.executable, "-m", "optemu", "run", "-o", str(record)]
        command += ["--state", scratch, "--ta-dir", str(built.ta.parent), "--", str(built.client)]
        status = subprocess.run(command, check=False).returncode
        if status:
            return fail("demo", f"the client ended with status {status}")
        _title("tracing", "where its calls left the normal world, and where they came out")
        _show(record)
    return 0


def _title(step: str, what: str) -> None:
    print(f"\n== {step} {what}", flush=True)


def _show(record: Path) -> None:
    from optemu.trace.jsonl import replay
    from optemu.trace.text import Text

    sink = Text(sys.stdout)
    with record.open("rb") as lines:
        replay(lines, sink)
    sink.close()
