"""``make fuzz``: a million hostile inputs, or as many as ``--count`` says, divided over the campaigns."""

import argparse
import faulthandler
import os
import sys
import tempfile
import time
from pathlib import Path

from campaigns.all import CAMPAIGNS, build_tas


def main() -> None:
    p = argparse.ArgumentParser(prog="campaigns", description=__doc__)
    p.add_argument("--count", type=int, default=1_000_000, help="inputs in all")
    p.add_argument("--seed", type=int, default=int(time.time()), help="by default another one every time")
    p.add_argument("--first", type=int, default=0, help="number of the first input of each campaign")
    p.add_argument("--only", choices=[c.name for c in CAMPAIGNS], help="this campaign alone")
    args = p.parse_args()
    chosen = [c for c in CAMPAIGNS if args.only in (None, c.name)]
    whole = sum(c.share for c in chosen)
    with tempfile.TemporaryDirectory() as scratch:
        build_tas(Path(scratch))
        for kind in chosen:
            count = max(1, args.count * kind.share // whole)
            campaign = kind(Path(scratch))

            def hang(number: int, name: str = kind.name) -> None:
                print(f"campaign {name}, seed {args.seed}, input {number}: hangs", file=sys.stderr, flush=True)
                faulthandler.dump_traceback()
                os._exit(3)

            start = time.monotonic()
            campaign.run(args.seed, args.first, count, hang)
            campaign.close()
            took = time.monotonic() - start
            print(f"{kind.name:<12} {count:>9,} inputs  seed {args.seed}  {count / took:>8,.0f}/s", flush=True)


if __name__ == "__main__":
    main()
