"""``optemu syscalls``: the tables of system calls and of algorithms, and how far each is supported."""

import argparse
import json
from typing import TYPE_CHECKING

from optemu.cli.common import fail

if TYPE_CHECKING:
    from optemu.secure_world.crypto.algorithms import Algorithm


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    p = verbs.add_parser(
        "syscalls",
        help="list the system calls of TAs and their support",
        description="The table of system calls a trusted application can make: number, name, support, arguments.",
    )
    p.add_argument("--crypto", action="store_true", help="the algorithms of its operations instead")
    p.add_argument("--json", action="store_true", help="as JSON, one list of objects")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    return _crypto(args.json) if args.crypto else _syscalls(args.json)


def _syscalls(as_json: bool) -> int:
    from optemu.secure_world.syscalls.table import SYSCALLS

    rows = sorted(SYSCALLS, key=lambda row: row.number)
    if not rows:
        return fail("syscalls", "the table is empty")
    if as_json:
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


# --- algorithms ----------------------------------------------------------------------------------------------------

_PAGE = """# Algorithms of cryptographic operations

What the core does for a TA that calls TEE_AllocateOperation: the rows of
`src/optemu/secure_world/crypto/algorithms.py`. The system calls check by the same table, and the tests make their
matrix of it. *full* is what OP-TEE's core serves, with its results for every misuse; *refused* are numbers that
GlobalPlatform gives and OP-TEE's core answers with an error, and so does this one. Keys are object types without
TEE_TYPE_; the second one is enough where a mode needs only the public half (SM2 takes no other there).

This page is written by `pytest tests/cli --regenerate`; `optemu syscalls --crypto` prints the table.
"""


def _columns(row: "Algorithm") -> dict[str, str]:
    """A row in words, without what it does not have."""
    from optemu.abi import cryp
    from optemu.secure_world.crypto.algorithms import ALGORITHMS, CLASS_NAMES, MODE_NAMES

    types = cryp.names("TEE_TYPE_")
    keys = row.key_types
    wanted = (keys.key, keys.public) if keys and row.keys and row.modes else ()
    named = [types[key].removeprefix("TEE_TYPE_") for key in wanted if key]
    digest = ALGORITHMS.get(row.digest)
    return {
        "number": f"0x{row.number:08x}",
        "name": row.name,
        "class": CLASS_NAMES[row.op_class],
        "modes": ", ".join(MODE_NAMES[mode] for mode in row.modes),
        "keys": ", ".join(named) + (" (two)" if row.keys == 2 else ""),
        "digest": digest.name.removeprefix("TEE_ALG_") if digest else "",
        "provider": row.provider,
        "support": row.support,
    }


def crypto_page() -> str:
    """docs/crypto.md."""
    from optemu.secure_world.crypto.algorithms import ALGORITHMS

    rows = [_columns(row) for row in ALGORITHMS.values()]
    lines = [_PAGE, f"| {' | '.join(rows[0])} |", "|---" * len(rows[0]) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row.values())} |" for row in rows), ""])


def _crypto(as_json: bool) -> int:
    from optemu.secure_world.crypto.algorithms import ALGORITHMS, FULL

    rows = [_columns(row) for row in ALGORITHMS.values()]
    if as_json:
        print(json.dumps(rows, indent=1))
        return 0
    widths = {column: max(len(column), *(len(row[column]) for row in rows)) for column in rows[0]}
    print("  ".join(column.ljust(width) for column, width in widths.items()).rstrip())
    for row in rows:
        print("  ".join(row[column].ljust(width) for column, width in widths.items()).rstrip())
    print(f"{sum(row.support == FULL for row in ALGORITHMS.values())} of {len(rows)} in full")
    return 0
