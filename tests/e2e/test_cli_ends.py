"""``optemu run`` and ``optemu invoke`` when something around them is missing: an end, a stream, a disk, descriptors."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tas.constants import PROBE, PROBE_UUID

COMMAND = [sys.executable, "-m", "optemu"]


def sh(line: str) -> "subprocess.CompletedProcess[str]":
    """``line`` with optemu in the place of ``optemu``."""
    line = line.replace("optemu ", shlex.join(COMMAND) + " ", 1)
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)


def test_ctrl_c_ends_an_endless_call(built: Path, tmp_path: Path) -> None:
    record = tmp_path / "trace.jsonl"
    command = [*COMMAND, "invoke", "--ta-dir", built, "-o", record, PROBE_UUID, str(PROBE["PROBE_CMD_LOOP"])]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            while not record.exists() or "TA_InvokeCommandEntryPoint" not in record.read_text():
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)  # for a failing test only
        finally:
            process.kill()
    assert process.returncode == 130
    ends = [e["name"] for e in map(json.loads, record.read_text().splitlines()) if e.get("ph") == "exit"]
    assert "user_ta_enter_invoke_cmd" in ends, "the call has been ended"
    assert ends.count("tee_release") == 2, "and the server shut down"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(built: Path, client: Path, closed: str) -> None:
    assert sh(f"optemu run -- sh -c 'exit 3' {closed}").returncode == 3
    assert sh(f"optemu run --trace --ta-dir {built} -- {client} {closed}").returncode == 0


def test_a_program_finds_closed_what_was_closed() -> None:
    look = "import os,sys; os._exit(sum(os.path.exists(f'/proc/self/fd/{fd}') << fd for fd in (0, 1, 2)))"
    done = sh(f'optemu run -- {sys.executable} -I -S -c "{look}" <&- 2>&-')
    # Python opens no stream in place of a missing one
    assert done.returncode == 2


@pytest.mark.parametrize("log", ["/dev/full", "/dev/fd/{}"])
def test_a_log_that_cannot_be_written(built: Path, client: Path, log: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    log = log.format(writing)
    argv = [*COMMAND, "run", "--log-level", "debug", "--log", log, "--ta-dir", built, "--", client]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, pass_fds=[writing])
    os.close(writing)
    assert done.returncode == 0
    assert "The TA gets 42" in done.stdout
    [said] = done.stderr.splitlines()
    assert said.startswith(f"optemu: --log {log}: ")
    assert said.endswith("; nothing more is logged")


def test_a_trace_that_cannot_be_written(built: Path, client: Path) -> None:
    said = "optemu: the trace in /dev/full is not complete: No space left on device\n"
    done = sh(f"optemu run --log-level none -o /dev/full --ta-dir {built} -- {client}")
    assert (done.returncode, done.stderr) == (0, said)
    assert done.stdout.startswith("The TA gets 42")
    done = sh(f"optemu run -o /dev/full --ta-dir {built} -- sh -c '{client}; exit 5' 2>/dev/null")
    assert done.returncode == 5


@pytest.mark.parametrize("most", [6, 7, 8, 9, 10, 16])
def test_few_descriptors(tmp_path: Path, most: int) -> None:
    """The client does not run when there would be nobody to serve it."""
    done = sh(f"ulimit -n {most}; optemu run -- touch {tmp_path}/ran")
    assert done.returncode == 126
    assert done.stderr.startswith("optemu run: touch: Too many open files: ")
    assert done.stderr.endswith(f"ulimit -n is {most}\n")
    assert not list(tmp_path.iterdir())


def test_descriptors_that_are_enough(built: Path, client: Path) -> None:
    assert sh(f"ulimit -n 48; optemu run --ta-dir {built} -- {client}").returncode == 0
