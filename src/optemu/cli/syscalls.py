"""``optemu syscalls``: the table of system calls a TA can make, and how far each is supported."""

import argparse
import json

from optemu.cli.common import fail


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    p = verbs.add_parser(
        "syscalls",
        help="list the system calls of TAs and their support",
        description="The table of system calls a trusted application can make: number, name, support, arguments.",
    )
    p.add_argument("--json", action="store_true", help="as JSON, one list of objects")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from optemu.secure_world.syscalls.table import SYSCALLS

    rows = sorted(SYSCALLS, key=lambda row: row.number)
    if not rows:
        return fail("syscalls", "the table is empty")
    if args.json:
        print(
            json.dumps(
                [
                    {"number": r.number, "name": r.name, "support": r.support, "args": r.args.split(), "note": r.note}
                    for r in rows
                ],
                indent=1,
            )
        )
        return 0
    print(f"{'no':>3}  {'name':<36} {'support':<10} arguments or note")
    for row in rows:
        names = ", ".join(arg.split(":")[0] for arg in row.args.split())
        print(f"{row.number:>3}  {row.name:<36} {row.support:<10} {names or row.note}".rstrip())
    full = sum(row.support == "full" for row in rows)
    print(f"{full} of {len(rows)} in full")
    return 0
