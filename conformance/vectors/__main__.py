"""``python -m conformance.vectors``: published test vectors, put to the TEE through a trusted application."""

import argparse
import logging
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from conformance.packages import FetchError
from conformance.vectors import asymmetric, private, short, symmetric
from conformance.vectors.case import Calls, Group
from conformance.vectors.packages import unpacked
from conformance.vectors.run import HEAD, Row, run_group, write_section
from conformance.vectors.tee import ARCHITECTURES, trusted_application

GROUPS = (*symmetric.GROUPS, *asymmetric.GROUPS, *private.GROUPS, *short.GROUPS)
SAMPLE = {"a64": 1, "a32": 10}
"""Of what AArch64 runs, Arm32 runs every so manieth: the core's side of it is the same."""
_NAMED = 5


def main() -> int:
    p = argparse.ArgumentParser(prog="conformance.vectors", description=__doc__)
    p.add_argument("--group", default="", metavar="TEXT", help="only the groups with this in their name")
    p.add_argument(
        "--arch", choices=ARCHITECTURES, help="of the trusted application (default: first one, then the other)"
    )
    p.add_argument("--all", action="store_true", help="every vector, of the long lists too and for both architectures")
    p.add_argument("--page", action="store_true", help="write the section in docs/conformance.md")
    args = p.parse_args()
    logging.disable(logging.CRITICAL)  # what must be refused makes the TA panic, and the core says so at length
    groups = [group for group in GROUPS if args.group.lower() in group.name.lower()]
    if not groups:
        p.error(f"no group has {args.group!r} in its name")
    if args.page and (args.group or args.arch):
        p.error("--page needs a run of all groups and both architectures")
    try:
        root = unpacked()
    except FetchError as error:
        print(f"conformance.vectors: {error}", file=sys.stderr)
        return 2
    rows: dict[str, list[Row]] = {}
    for arch in [args.arch] if args.arch else ARCHITECTURES:
        with trusted_application(arch) as calls:
            rows[arch] = _run(arch, groups, root, calls, 0 if args.all else SAMPLE[arch])
    if args.page:
        write_section(rows)
    return 1 if any(row.wrong for some in rows.values() for row in some) else 0


def _run(arch: str, groups: Iterable[Group], root: Path, calls: Calls, sample: int) -> list[Row]:
    """Prints the table as it goes. ``sample`` 0: all vectors."""
    print(HEAD.format(arch=arch))
    rows = []
    begin = time.monotonic()
    for group in groups:
        stride = group.stride * sample if group.files else 1
        rows.append(run_group(group, root, calls, stride or 1))
        print(rows[-1], *_named(rows[-1].wrong), sep="\n    ", flush=True)
    run, agreed, differ = (sum(getattr(row, of) for row in rows) for of in ("run", "agreed", "differ"))
    known = f" and {differ} differ as they must" if differ else ""
    print(f"{agreed} of {run} vectors agree{known}, in {time.monotonic() - begin:.0f} s\n")
    return rows


def _named(wrong: Sequence[str]) -> list[str]:
    more = len(wrong) - _NAMED
    return [*wrong[:_NAMED], *([f"and {more} more"] if more > 0 else [])]


if __name__ == "__main__":
    sys.exit(main())
