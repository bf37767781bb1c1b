"""The examples beside hello_world."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_static_ta() -> None:
    example = ROOT / "examples" / "static_ta" / "tally.py"
    done = subprocess.run([sys.executable, str(example)], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == [
        "40 and 2 are 42",
        "100 more: TEEC_ERROR_OVERFLOW (origin TRUSTED_APP): invoke command 0",
    ]
    assert done.returncode == 0, done.stderr
