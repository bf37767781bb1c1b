"""``make bench [ONLY="calls crypto storage"]``: what calls, cryptography and storage cost, with what to compare it to.

Nothing here asserts a time: machines differ, and so does their load. Compare ratios of one run.
"""

import logging
import sys
import tempfile
from pathlib import Path

from benchmarks import calls, crypto, storage
from benchmarks.common import HERE, Built
from optemu.sdk import build as sdk

QUIET_PROJECT = HERE.parent / "tests" / "e2e" / "tas" / "quiet"
SUBJECTS = {"calls": calls.report, "crypto": crypto.report, "storage": storage.report}


def main(names: list[str]) -> None:
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        for project in (QUIET_PROJECT, HERE / "speed"):
            sdk.build(project, sdk.Options(out=out, host=False))
        client = sdk.build(HERE / "client", sdk.Options(out=out, ta=False, libc=sdk.default_libc())).client
        assert client is not None
        for name in names or SUBJECTS:
            SUBJECTS[name](Built(out, client))


if __name__ == "__main__":
    main(sys.argv[1:])
