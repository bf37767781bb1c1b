"""``optemu run``: an unmodified client calls a signed TA through every layer, and one can watch."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HELLO_UUID = "8da74583-f878-42c1-b664-0cdca277e348"
DEMO_PTA = "e3a1d2c0-5b0f-4f0c-9d3e-6f7074656d75"


def optemu(*args: str | Path, **kwargs: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "optemu", *map(str, args)]
    env = {**os.environ, "COLUMNS": "160"}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env, **kwargs)  # type: ignore


def test_hello_world(built: Path, client: Path) -> None:
    done = optemu("run", "--ta-dir", built, "--", client)
    assert done.stdout.splitlines() == ["The TA gets 42", "one more is 43", "one less is 42"]
    assert "Got value: 42 from NW" in done.stderr
    assert done.returncode == 0


def test_quiet_console(built: Path, client: Path) -> None:
    assert optemu("run", "--log-level", "none", "--ta-dir", built, "--", client).stderr == ""


def test_exit_status_and_signals_are_the_clients() -> None:
    assert optemu("run", "--", "sh", "-c", "exit 42").returncode == 42
    assert optemu("run", "--", "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM
    assert optemu("run", "--", "/no/such/program").returncode == 127


def test_the_standard_streams_are_the_clients() -> None:
    done = optemu("run", "--", "sh", "-c", "cat; echo err >&2", input="in")
    assert (done.stdout, done.stderr) == ("in", "err\n")


def test_several_ta_dirs(built: Path, client: Path, tmp_path: Path) -> None:
    assert optemu("run", "--ta-dir", tmp_path, "--ta-dir", built, "--", client).returncode == 0


def test_a_missing_ta_names_the_directories(client: Path, tmp_path: Path) -> None:
    done = optemu("run", "--ta-dir", tmp_path, "--", client)
    assert done.returncode == 1
    assert f"{tmp_path}/{HELLO_UUID}.ta" in done.stderr
    assert "0xffff0008" in (done.stdout + done.stderr).lower()


def test_both_monitors(built: Path, client: Path, tmp_path: Path) -> None:
    config = tmp_path / "optemu.toml"
    config.write_text('[board]\nmonitor = "armv7"\nseed = 7\n[tee]\nthreads = 1\n')
    assert optemu("run", "--config", config, "--ta-dir", built, "--", client).returncode == 0


def test_a_wrong_configuration_is_explained(tmp_path: Path) -> None:
    config = tmp_path / "optemu.toml"
    config.write_text('[board]\nhuk = "12"\n')
    done = optemu("run", "--config", config, "--", "true")
    assert done.returncode == 2
    assert "[board] huk = '12': expected 32 hexadecimal digits" in done.stderr


ROAD = [
    "TEE_IOC_INVOKE",
    "optee_invoke_func",
    "optee_do_call_with_arg",
    "smc",
    "opteed_smc_handler",
    "thread_handle_std_smc",
    "tee_entry_std",
    "entry_invoke_command",
    "tee_ta_invoke_command",
    "user_ta_enter_invoke_cmd",
    "thread_enter_user_mode",
    "__ta_entry",
]


def _record(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()][1:]


def test_the_trace_follows_the_road(built: Path, client: Path, tmp_path: Path) -> None:
    """Every function of the road is entered inside the one before, on one clock."""
    record = tmp_path / "trace.jsonl"
    assert optemu("run", "-o", record, "--ta-dir", built, "--", client).returncode == 0
    events = _record(record)
    times = [event["ts"] for event in events]
    assert times == sorted(times)
    start = next(n for n, e in enumerate(events) if e["name"] == "TEE_IOC_INVOKE")
    stack: list[str] = []
    for event in events[start:]:
        if event["ph"] == "enter":
            stack.append(str(event["name"]))
        elif event["ph"] == "exit":
            assert stack.pop() == event["name"]
        if len(stack) == len(ROAD):
            break
    assert stack == ROAD
    names = {event["name"] for event in events}
    assert {
        "syscall_log",
        "thread_unwind_user_mode",
        "thread_rpc",
        "optee_handle_rpc",
        "shdr_verify_signature",
    } <= names


def test_trace_formats(built: Path, client: Path, tmp_path: Path) -> None:
    for name in ("t.txt", "t.pftrace"):
        assert optemu("run", "-o", tmp_path / name, "--ta-dir", built, "--", client).returncode == 0
    text = (tmp_path / "t.txt").read_text()
    assert "┌ TEE_IOC_INVOKE" in text
    assert "━▶" in text
    assert b"user_ta_enter_invoke_cmd" in (tmp_path / "t.pftrace").read_bytes()


def test_trace_to_stderr_and_convert(built: Path, client: Path, tmp_path: Path) -> None:
    done = optemu("run", "--trace", "--ta-dir", built, "--", client)
    assert "TEE_IOC_OPEN_SESSION" in done.stderr
    assert "TEE_IOC" not in done.stdout
    optemu("run", "-o", tmp_path / "t.jsonl", "--ta-dir", built, "--", client)
    converted = optemu("trace", "convert", tmp_path / "t.jsonl", "-f", "text")
    assert converted.returncode == 0
    assert "TEE_IOC_CLOSE_SESSION" in converted.stdout


def test_invoke(built: Path) -> None:
    done = optemu("invoke", "--log-level", "none", "--ta-dir", built, HELLO_UUID, "0", "valueio:41")
    assert done.stdout == "param 0: value 42 0 (0x2a 0x0)\n"
    done = optemu("invoke", DEMO_PTA, "2", "in:hello", "out:8")
    assert done.stdout.startswith("param 1: 5 bytes")
    assert "hello" in done.stdout
    done = optemu("invoke", DEMO_PTA, "2", "in:hello", "nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    done = optemu("invoke", DEMO_PTA, "99")
    assert done.returncode == 1
    assert "BAD_PARAMETERS" in done.stderr


def test_ta_info(built: Path) -> None:
    done = optemu("ta", "info", built / f"{HELLO_UUID}.ta")
    assert f"TA {HELLO_UUID}, aarch64" in done.stdout
    assert "trusted, by optemu-dev-ta.pub.pem" in done.stdout
    assert "gpd.ta.version = " in done.stdout
    plain = json.loads(optemu("ta", "info", "--json", built / f"{HELLO_UUID}.elf").stdout)
    assert plain["signature"] == {"signed": False}
    assert [s["rights"] for s in plain["segments"]] == ["r-x", "rw-"]


def test_syscalls_table() -> None:
    rows = json.loads(optemu("syscalls", "--json").stdout)
    assert [row["number"] for row in rows] == list(range(71))
    assert rows[12]["name"] == "syscall_wait"


@pytest.mark.parametrize(
    "verb",
    [
        "",
        "run",
        "serve",
        "doctor",
        "invoke",
        "build",
        "sign",
        "sign stitch",
        "ta",
        "ta info",
        "syscalls",
        "trace",
        "trace convert",
        "demo",
    ],
)
def test_help(verb: str) -> None:
    done = optemu(*verb.split(), "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: optemu")


@pytest.mark.parametrize("via", [[], ["--via", "preload"]], ids=["gate", "preload"])
def test_interrupt_ends_a_client_whose_ta_loops_for_ever(built: Path, via: list[str]) -> None:
    """^C goes to the process group: the client dies of it, and optemu run with it."""
    from tas.constants import PROBE, PROBE_UUID

    code = f"""
import signal, sys, uuid
signal.signal(signal.SIGINT, signal.SIG_DFL)
sys.path[:] = {sys.path!r}
from optemu.normal_world.libteec import Context
from optemu.normal_world.device import KernelDevice
s = Context(KernelDevice("/dev/tee0")).OpenSession(uuid.UUID({PROBE_UUID!r}))
print("looping", flush=True)
s.invoke({PROBE["PROBE_CMD_LOOP"]})
"""
    command = [sys.executable, "-m", "optemu", "run", *via, "--log-level", "none", "--ta-dir", str(built), "--"]
    process = subprocess.Popen(
        [*command, sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "looping\n"
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) == -signal.SIGINT
