"""One case of xtest, run by itself: a fresh machine and fresh storage, and a time limit of its own."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from conformance.plugin import plugin_dir

OK, FAILED, TIMEOUT, CRASHED = "OK", "FAILED", "TIMEOUT", "CRASHED"
SKIPPED, EMPTY, ABSENT = "skipped", "empty", "absent"
_TA_DIRS = ("usr/lib/optee_armtz", "usr/lib/optee-os-dev/vexpress-qemu_armv8a/ta")
_SKIP = re.compile(r"skip(?!ped$)", re.IGNORECASE | re.MULTILINE)
_SUBTESTS = re.compile(r"^(\d+) subtests? of which (\d+) failed", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """``why`` is the line that says most about a failure, or about what was skipped."""

    case: str
    result: str
    seconds: float
    subtests: int
    why: str = ""


def run_case(case: str, sysroot: Path, limit: float, logs: Path) -> Outcome:
    """Everything the run printed goes to ``logs``/CASE.log."""
    log = logs / f"{case}.log"
    with tempfile.TemporaryDirectory(prefix="optemu-conformance-") as state, log.open("wb") as out:
        begin = time.monotonic()
        process = subprocess.Popen(
            _command(case, sysroot, Path(state), _again(sysroot)),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            status = None
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        seconds = time.monotonic() - begin
    return judge(case, log.read_text(errors="replace"), status, seconds)


def _again(sysroot: Path) -> Path:
    """What xtest takes for its own name: it starts itself a second time (pkcs11_1028), and that needs the emulator."""
    script = sysroot.parent / "xtest"
    if not script.exists():
        script.write_text(f'#!/bin/sh\nexec qemu-aarch64 -L {sysroot} {sysroot}/usr/bin/xtest "$@"\n')
        script.chmod(0o755)
    return script


def _command(case: str, sysroot: Path, state: Path, name: Path) -> list[str]:
    places = [str(sysroot / directory) for directory in _TA_DIRS]
    optemu = [sys.executable, "-m", "optemu", "run", "--state", str(state)]
    optemu += ["--plugin-dir", str(plugin_dir(sysroot.parent))]
    optemu += [word for place in places for word in ("--ta-dir", place)]
    xtest = [str(sysroot / "usr" / "bin" / "xtest"), "-t", case.partition("_")[0], case]
    return [*optemu, "--", "qemu-aarch64", "-0", str(name), "-L", str(sysroot), *xtest]


def judge(case: str, text: str, status: int | None, seconds: float) -> Outcome:
    """What xtest's output and exit status mean. A case that skips anything, or checks nothing, has not passed."""
    counted = _SUBTESTS.findall(text)
    subtests = int(counted[-1][0]) if counted else 0
    lines = text.splitlines()
    if status is None:
        return Outcome(case, TIMEOUT, seconds, subtests, f"no end after {seconds:.0f} s")
    verdict = next((line for line in reversed(lines) if re.match(rf"{re.escape(case)} (OK|FAILED)", line)), "")
    if not verdict:
        if status == 0 and "0 test cases of which 0 failed" in text:
            return Outcome(case, ABSENT, seconds, 0, "this xtest does not have it")
        return Outcome(case, CRASHED, seconds, subtests, f"xtest ended with status {status} and no verdict")
    if "FAILED" in verdict or status:
        return Outcome(case, FAILED, seconds, subtests, _first_failure(lines))
    skips = [line.strip() for line in lines if _SKIP.search(line)]
    if skips:
        return Outcome(case, SKIPPED, seconds, subtests, skips[0])
    if not subtests:
        return Outcome(case, EMPTY, seconds, 0, "it found nothing to check")
    return Outcome(case, OK, seconds, subtests)


def _first_failure(lines: list[str]) -> str:
    """The TEE's own complaint where there is one, else xtest's."""
    for pattern in (r"[EW]/TC:.*(not supported|Failed for TA|panicked)", r"E/", r".*has an unexpected value"):
        for line in lines:
            if re.match(pattern, line):
                return line
    return ""
