"""Clients with the preload library in them: natively, and AArch64 ones under qemu-user."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from test_main_job import optemu

from optemu.sdk.toolchain import SDK, Toolchain, cache_dir

HELLO = ["The TA gets 42", "one more is 43", "one less is 42"]
HOST = Path(__file__).parents[2] / "examples" / "hello_world"


def test_hello_world(built: Path, client: Path) -> None:
    done = optemu("run", "-v", "--via", "preload", "--ta-dir", built, "--", client)
    assert done.stdout.splitlines() == HELLO
    assert "by way of the preload library (as asked)" in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("road", ["gate", "preload"])
def test_registered_memory(built: Path, client: Path, tmp_path: Path, road: str) -> None:
    """Also the supplicant's, which then is copied around its calls: the TA is loaded through it."""
    config = tmp_path / "optemu.toml"
    config.write_text("[normal_world]\nreg_mem = true\n")
    done = optemu("run", "--config", config, "--via", road, "--ta-dir", built, "--", client)
    assert done.stdout.splitlines() == HELLO, done.stderr


def test_status_and_streams(client: Path) -> None:
    done = optemu("run", "--via", "preload", "--", "sh", "-c", "cat; echo err >&2; exit 42", input="in")
    assert (done.stdout, done.stderr, done.returncode) == ("in", "err\n", 42)
    assert optemu("run", "--via", "preload", "--", "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM
    assert optemu("run", "--via", "preload", "--", "/no/such/program").returncode == 127


def test_the_trace_is_the_same(built: Path, client: Path) -> None:
    done = optemu("run", "--trace", "--via", "preload", "--ta-dir", built, "--", client)
    assert "TEE_IOC_INVOKE" in done.stderr
    assert "__ta_entry" in done.stderr


def _sysroot() -> str:
    """A directory with the arm64 C library; skips where there is none."""
    if shutil.which("qemu-aarch64") is None:
        pytest.skip("qemu-aarch64 is not installed: apt-get install qemu-user")
    conformance = sorted((cache_dir() / "conformance").glob("*/sysroot"))
    for place in (os.environ.get("QEMU_LD_PREFIX", ""), "/usr/aarch64-linux-gnu", *map(str, conformance)):
        if place and (Path(place) / "lib" / "ld-linux-aarch64.so.1").exists():
            return place
    pytest.skip("no arm64 C library: apt-get install libc6-arm64-cross, or make conformance, which fetches one")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hello_world client for AArch64."""
    program = tmp_path_factory.mktemp("foreign") / "hello_world"
    includes = [f"-I{SDK / 'include' / 'client'}", f"-I{HOST / 'ta' / 'include'}"]
    sources = [HOST / "host" / "main.c", *(SDK / "libteec").glob("*.c")]
    target = ["-target", "aarch64-linux-gnu.2.34", "-O2"]
    Toolchain(print).run("cc", [*target, *includes, *sources, "-o", program])
    return program


def test_an_aarch64_client_under_qemu(built: Path, foreign: Path) -> None:
    sysroot = _sysroot()
    done = optemu("run", "-v", "--ta-dir", built, "--", "qemu-aarch64", "-L", sysroot, foreign)
    assert done.stdout.splitlines() == HELLO, done.stderr
    assert "(qemu-aarch64 runs it)" in done.stderr


def test_an_aarch64_client_by_itself(built: Path, foreign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.uname().machine == "aarch64":
        pytest.skip("it is no foreign program here")
    monkeypatch.setenv("QEMU_LD_PREFIX", _sysroot())
    done = optemu("run", "-v", "--ta-dir", built, "--", foreign)
    assert done.stdout.splitlines() == HELLO, done.stderr
    assert "(it is aarch64)" in done.stderr
