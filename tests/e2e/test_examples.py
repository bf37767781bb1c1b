"""The examples beside hello_world."""

import subprocess
import sys
from pathlib import Path

from optemu.sdk import build as sdk

ROOT = Path(__file__).parents[2]


def test_static_ta() -> None:
    example = ROOT / "examples" / "static_ta" / "tally.py"
    done = subprocess.run([sys.executable, str(example)], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == [
        "40 and 2 are 42",
        "100 more: TEEC_ERROR_OVERFLOW (origin TRUSTED_APP): invoke command 0",
    ]
    assert done.returncode == 0, done.stderr


def test_secure_storage(tmp_path: Path) -> None:
    """Notes last from one run to the next, and are nowhere to be read in the files behind them."""
    out, state = tmp_path / "out", tmp_path / "state"
    sdk.build(ROOT / "examples" / "secure_storage", sdk.Options(out=out, libc=sdk.default_libc()))

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "optemu",
            "run",
            "--state",
            state,
            "--ta-dir",
            out,
            "--",
            out / "secure_storage",
        ]
        return subprocess.run([*map(str, command), *args], capture_output=True, text=True, timeout=60, check=False)

    for name, note in (("pin", "1234-5678"), ("pin", "8765-4321"), ("other", "")):
        assert run("put", name, note).returncode == 0
    assert run("get", "pin").stdout == "8765-4321\n"
    assert sorted(run("list").stdout.split()) == ["other", "pin"]
    assert not any(b"8765-4321" in f.read_bytes() for f in state.rglob("*") if f.is_file())
    assert run("delete", "pin").returncode == 0
    missing = run("get", "pin")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "no note of that name" in missing.stderr
    assert run("list").stdout == "other\n"
