"""``python -m conformance``: runs cases of xtest and compares them with the claimed list and the real thing."""

import argparse
import shutil
import sys
import time
from pathlib import Path

from conformance import report
from conformance.packages import FetchError, sysroot
from conformance.suite import Outcome, run_case


def main() -> int:
    p = argparse.ArgumentParser(prog="conformance", description=__doc__)
    p.add_argument("cases", metavar="CASE", nargs="*", help="these cases only (default: all)")
    p.add_argument("--claimed", action="store_true", help="only the cases that are claimed to pass")
    p.add_argument("--limit", type=float, default=180, metavar="SECONDS", help="for each case (default 180)")
    p.add_argument("--claim", action="store_true", help="add what passes to the claimed list")
    p.add_argument("--page", action="store_true", help="write docs/conformance.md; all cases must have run")
    args = p.parse_args()
    wanted = [case for case in report.cases() if not args.cases or case.name in args.cases]
    unknown = set(args.cases) - {case.name for case in wanted}
    if unknown:
        p.error(f"no such case: {', '.join(sorted(unknown))}; conformance/cases.tsv has them all")
    if args.claimed:
        wanted = [case for case in wanted if case.claim == "yes"]
    if args.page and len(wanted) != len(report.cases()):
        p.error("--page needs a run of all cases")
    if shutil.which("qemu-aarch64") is None:
        print("conformance: qemu-aarch64 is not installed: apt-get install qemu-user", file=sys.stderr)
        return 2
    try:
        root = sysroot()
    except FetchError as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    return _run(wanted, root, args)


def _run(wanted: list[report.Case], root: Path, args: argparse.Namespace) -> int:
    logs = root.parent / "logs"
    logs.mkdir(exist_ok=True)
    theirs = report.reference()
    outcomes: dict[str, Outcome] = {}
    begin = time.monotonic()
    print(report.HEAD)
    for case in wanted:
        outcomes[case.name] = run_case(case.name, root, args.limit, logs)
        print(report.line(case, outcomes[case.name], theirs.get(case.name)), flush=True)
    wall = time.monotonic() - begin
    passed = [case for case in wanted if report.passes(case, outcomes[case.name])]
    broken = [case.name for case in wanted if case.claim == "yes" and case not in passed]
    print(f"{len(passed)} of {len(wanted)} cases pass, in {wall:.0f} s; logs in {logs}")
    if args.claim:
        print(f"{report.add_claims(outcomes)} more are claimed")
    if args.page:
        report.write_page(outcomes, wall)
    if broken:
        print(f"claimed, and does not pass: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
