"""``optemu serve`` and ``optemu run --attach``: programs that share one TEE, and a tee-supplicant that is one of them."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_main_job import optemu

from optemu.sdk.toolchain import cache_dir

HELLO = ["The TA gets 42", "one more is 43", "one less is 42"]


class Serve:
    """A server of its own in ``directory``."""

    def __init__(self, directory: Path, *options: str | Path) -> None:
        self.socket = directory / "socket"
        command = [sys.executable, "-m", "optemu", "serve", "--socket", self.socket, "--state", directory, *options]
        self.process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        assert self.process.stderr.readline() == f"optemu serve: listening at {self.socket}\n"

    def run(self, *args: str | Path) -> subprocess.CompletedProcess[str]:
        return optemu("run", "--attach", self.socket, *args)

    def stop(self) -> str:
        """What it has said since."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0
        assert self.process.stderr is not None
        said = self.process.stderr.read()
        self.process.stderr.close()
        return said


@pytest.fixture
def serve(built: Path, tmp_path: Path) -> Iterator[Serve]:
    server = Serve(tmp_path, "--ta-dir", built)
    yield server
    if server.process.poll() is None:
        server.stop()
    assert not server.socket.exists()


def test_both_roads_lead_to_it(serve: Serve, client: Path) -> None:
    for road in ("gate", "preload"):
        done = serve.run("--via", road, "--", client)
        assert (done.stdout.splitlines(), done.returncode) == (HELLO, 0), done.stderr
    said = serve.stop()
    assert said.count("Got value: 42 from NW") == 2
    assert "E/" not in said


def test_two_programs_share_an_instance(serve: Serve) -> None:
    """A single-instance TA that counts, kept alive by the first program while the second one calls it."""
    from tas.constants import SESSIONS, SINGLE_UUID

    code = f"""
import subprocess, sys, uuid
sys.path[:] = {sys.path!r}
from optemu.normal_world.libteec import Context, Value
from optemu.normal_world.device import KernelDevice
s = Context(KernelDevice("/dev/tee0")).OpenSession(uuid.UUID({SINGLE_UUID!r}))
entered, sessions = Value.output(), Value.output()
s.invoke({SESSIONS["SESSIONS_CMD_COUNTS"]}, entered, sessions)
print(sessions.b, flush=True)
sys.stdin.readline()
"""
    command = [sys.executable, "-m", "optemu", "run", "--attach", str(serve.socket), "--", sys.executable, "-c", code]
    first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "1\n"
    assert serve.run("--via", "preload", "--", sys.executable, "-c", code).stdout == "2\n"
    first.kill()
    first.communicate()


def test_what_is_left_behind_goes_on_being_served(serve: Serve, client: Path, tmp_path: Path) -> None:
    go, out = tmp_path / "go", tmp_path / "out"
    os.mkfifo(go)
    script = f"(read x < {go}; {client} > {out}; echo done > {go}) < /dev/null > /dev/null 2>&1 &"
    assert serve.run("--", "sh", "-c", script).returncode == 0
    go.write_text("go\n")
    assert go.read_text() == "done\n"
    assert out.read_text().splitlines() == HELLO


def test_the_end_of_the_server(serve: Serve) -> None:
    code = """
import errno, fcntl, os, sys
fd = os.open("/dev/tee0", os.O_RDWR)
print("open", flush=True)
sys.stdin.readline()
try:
    fcntl.ioctl(fd, 0x800CA400, bytes(12))
except OSError as error:
    sys.exit(99 if error.errno == errno.ENODEV else 1)
"""
    for road in ("gate", "preload"):
        command = [sys.executable, "-m", "optemu", "run", "--attach", str(serve.socket), "--via", road, "--"]
        process = subprocess.Popen(
            [*command, sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        if road == "gate":
            waiting = process
    serve.process.kill()
    serve.process.wait()
    assert process.communicate("\n")[0] == ""
    assert waiting.communicate("\n")[0] == ""
    assert (waiting.returncode, process.returncode) == (99, 99)
    serve.socket.unlink()


def test_a_server_left_dead_and_one_alive(serve: Serve, built: Path, tmp_path: Path, client: Path) -> None:
    second = optemu("serve", "--socket", serve.socket)
    assert second.returncode == 2
    assert f"cannot listen at {serve.socket}" in second.stderr
    serve.process.kill()
    serve.process.wait()
    done = serve.run("--", client)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"no optemu serve answers at {serve.socket}" in done.stderr
    serve.__init__(tmp_path, "--ta-dir", built)  # type: ignore[misc]
    assert serve.run("--", client).returncode == 0


def test_options_of_the_server(serve: Serve, built: Path, client: Path) -> None:
    done = serve.run("--ta-dir", built, "--", client)
    assert done.returncode == 2
    assert "--ta-dir is for optemu serve" in done.stderr
    assert serve.run("--", "/no/such/program").returncode == 127


SUPPLICANT = """
import pathlib, sys, time
sys.path[:] = {path!r}
from optemu.normal_world.device import KernelDevice
from optemu.normal_world.supplicant import Supplicant
Supplicant(lambda: KernelDevice("/dev/teepriv0"), [{tas!r}], state=pathlib.Path({state!r})).start()
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("road", ["gate", "preload"])
def test_a_supplicant_of_ones_own(tmp_path: Path, built: Path, client: Path, road: str) -> None:
    """It loads the TA, as a real process with /dev/teepriv0; when it has gone, the next client waits for one."""
    server = Serve(tmp_path, "--supplicant", "none")
    code = SUPPLICANT.format(path=sys.path, tas=str(built), state=str(tmp_path))
    command = [sys.executable, "-m", "optemu", "run", "--attach", str(server.socket), "--via", road, "--"]
    supplicant = subprocess.Popen([*command, sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert supplicant.stdout is not None
    assert supplicant.stdout.readline() == "ready\n"
    done = server.run("--via", road, "--", client)
    assert (done.stdout.splitlines(), done.returncode) == (HELLO, 0), done.stderr
    supplicant.terminate()
    supplicant.communicate()
    waiting = subprocess.Popen([*command, client], stdout=subprocess.PIPE, text=True)
    again = subprocess.Popen([*command, sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert waiting.communicate(timeout=30)[0].splitlines() == HELLO
    again.terminate()
    again.communicate()
    server.stop()


def test_upstreams_own_supplicant(tmp_path: Path) -> None:
    """As Debian packages it for arm64: it loads xtest's TA, for xtest."""
    sysroots = sorted((cache_dir() / "conformance").glob("*/sysroot"))
    if not sysroots or shutil.which("qemu-aarch64") is None:
        pytest.skip("needs the packages that make conformance fetches, and qemu-user")
    emulated = ["qemu-aarch64", "-L", sysroots[-1]]
    server = Serve(tmp_path, "--supplicant", "none")
    command = ["run", "--attach", server.socket, "--", *emulated, sysroots[-1] / "usr" / "sbin" / "tee-supplicant"]
    supplicant = subprocess.Popen([sys.executable, "-m", "optemu", *map(str, command)])
    done = server.run("--", *emulated, sysroots[-1] / "usr" / "bin" / "xtest", "-t", "regression", "regression_1004")
    assert "regression_1004 OK" in done.stdout, done.stdout
    supplicant.terminate()
    supplicant.wait(20)
    server.stop()


def test_doctor() -> None:
    done = optemu("doctor")
    assert "gate" in done.stdout
    findings = json.loads(optemu("doctor", "--json").stdout)
    assert {"Python", "unicorn", "kernel", "gate", "shared TEE"} <= {finding["what"] for finding in findings}
    assert all(finding["mark"] in ("ok", "--", "NO") for finding in findings)
    assert all(finding["advice"] for finding in findings if finding["mark"] != "ok")
