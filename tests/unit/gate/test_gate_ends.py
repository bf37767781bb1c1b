"""Start and end: exit status, signals, job control, leftovers, nesting, and the death of either side."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from gate_fakes import PRELUDE, FakeDriver, client, read_soon, wait_until

from optemu.normal_world.gate import support
from optemu.normal_world.gate.gate import Gate

HERE = Path(__file__).parent

SERVER = """
import sys
sys.path[:0] = {path!r}
from gate_fakes import FakeDriver, client
from optemu.normal_world.gate.gate import Gate
from optemu.normal_world.gate.launcher import exit_as
driver = FakeDriver()
gate = Gate(driver)
status = gate.run(client({body!r}))
gate.stop()
print("closed", len(driver.closed), "interrupted", len(driver.interrupted), flush=True)
exit_as(status)
"""


def server_code(body: str) -> str:
    path = [str(HERE), *(entry for entry in sys.path if entry)]
    return SERVER.format(path=path, body=textwrap.dedent(body))


def server(body: str, **options: object) -> "subprocess.Popen[str]":
    """A server of its own, as `optemu run` would be, in a process group of its own."""
    if not support.check().ok:
        pytest.skip(support.check().reason)
    argv = [sys.executable, "-I", "-c", server_code(body)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True, **options)  # type: ignore[call-overload,no-any-return]


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_exit_status(gate: Gate, status: int) -> None:
    assert gate.run(client(f"sys.exit({status})")) == status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV, signal.SIGPIPE])
def test_death_by_signal(gate: Gate, number: signal.Signals) -> None:
    code = f"resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); signal.signal({number:d}, signal.SIG_DFL)"
    code = code if number != signal.SIGKILL else ""
    assert gate.run(client(f"{code}\nos.kill(os.getpid(), {number:d})")) == -number


def test_programs_that_cannot_be_executed(gate: Gate, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        gate.run(["no-such-program"])
    plain = tmp_path / "plain"
    plain.write_text("not a program")
    with pytest.raises(PermissionError):
        gate.run([str(plain)])
    plain.chmod(0o755)
    with pytest.raises(OSError, match="Exec format"):
        gate.run([str(plain)])


def test_found_by_the_clients_own_path(gate: Gate, tmp_path: Path) -> None:
    program = tmp_path / "only-here"
    program.write_text("#!/bin/sh\nexit $ANSWER\n")
    program.chmod(0o755)
    assert gate.run(["only-here"], {"PATH": str(tmp_path), "ANSWER": "9"}) == 9


@pytest.mark.gate_only
def test_the_client_gets_a_clean_start(gate: Gate) -> None:
    """Default signals, no descriptor of ours, our limits and directory, privileges that cannot grow."""
    before = os.environ.get("PATH")
    resource_limit = subprocess.run(["sh", "-c", "ulimit -n"], capture_output=True, text=True, check=True).stdout
    assert (
        gate.run(
            client(f"""
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        # Python ignores these two itself, and INT is its own; 32 and 33 are the C library's
        ignored = int(status["SigIgn"], 16) & ~(3 << 31)
        assert ignored == 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1, status["SigIgn"]
        assert int(status["SigBlk"], 16) == 0
        assert status["NoNewPrivs"].strip() == "1"
        assert os.getcwd() == {os.getcwd()!r}
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 256
        paths = ["/proc/self/fd/" + fd for fd in os.listdir("/proc/self/fd")]
        links = [os.readlink(path) for path in paths if os.path.islink(path)]  # not the one of listdir itself
        assert not any(word in link for link in links for word in ("seccomp", "eventpoll", "inotify", "eventfd")), links
    """)
        )
        == 0
    )
    assert os.environ.get("PATH") == before
    assert resource_limit


def test_standard_streams(gate: Gate, capfd: pytest.CaptureFixture[str]) -> None:
    assert gate.run(["sh", "-c", "echo out; echo err >&2"]) == 0
    assert capfd.readouterr() == ("out\n", "err\n")


def test_standard_output_ends_with_the_client() -> None:
    """The keeper holds no pipe open, though a process left over (which does not either) keeps it alive."""
    process = server("""
        if os.fork() == 0:
            for fd in (0, 1, 2): os.close(fd)
            time.sleep(1)
            os._exit(0)
    """)
    output, _ = process.communicate(timeout=10)
    assert output == "closed 0 interrupted 0\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_forwarded_signals(number: signal.Signals) -> None:
    process = server(f"""
        signal.signal({number:d}, lambda *_: sys.exit(33))
        print("ready", flush=True)
        while True: time.sleep(1)
    """)
    assert line(process) == "ready"
    process.send_signal(number)
    assert process.wait(10) == 33
    assert line(process) == "closed 0 interrupted 0"


def test_a_signal_that_ends_the_client_ends_us_alike() -> None:
    process = server("print('ready', flush=True); time.sleep(20)")
    assert line(process) == "ready"
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == -signal.SIGTERM


def test_interrupt_from_the_terminal_is_the_clients() -> None:
    """It goes to the whole process group; whether to end is for the client to say."""
    process = server("""
        count = []
        signal.signal(signal.SIGINT, lambda *_: count.append(1))
        fd = tee()
        print("ready", flush=True)
        while not count: time.sleep(0.01)
        assert version(fd)
        print("alive", flush=True)
        while len(count) < 2: time.sleep(0.01)
        sys.exit(11)
    """)
    assert line(process) == "ready"
    os.killpg(process.pid, signal.SIGINT)
    assert line(process) == "alive"
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(10) == 11
    assert line(process) == "closed 1 interrupted 0"


def test_interrupt_ends_a_call_that_waits() -> None:
    process = server("""
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        fd = tee()
        print("ready", flush=True)
        call(fd, BLOCK, 0)
    """)
    assert line(process) == "ready"
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(10) == -signal.SIGINT
    assert line(process) in ("closed 1 interrupted 1", "closed 1 interrupted 0")


def test_job_control() -> None:
    """The group stops as one and goes on as one."""
    process = server(
        """
        fd = tee()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        print(os.getpid(), flush=True)
        sys.stdin.readline()
        assert version(fd)
        sys.exit(6)
    """,
        stdin=subprocess.PIPE,
    )
    pid = int(line(process))
    # a group without a parent outside it in its session is orphaned, and may not stop by TSTP: as the shell would, STOP
    os.killpg(process.pid, signal.SIGSTOP)
    assert wait_until(lambda: state(pid) == "T" and state(process.pid) == "T")
    os.killpg(process.pid, signal.SIGCONT)
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.wait(10) == 6


def test_ignored_signals_stay_ignored() -> None:
    """As nohup does it."""
    argv = [
        "sh",
        "-c",
        'trap "" HUP; exec "$@"',
        "-",
        sys.executable,
        "-I",
        "-c",
        server_code("""
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    """),
    ]
    assert subprocess.run(argv, timeout=20, check=False).returncode == 0


def test_leftovers_are_served_until_stop(gate: Gate, driver: FakeDriver) -> None:
    """And find no device afterwards, while everything else goes on."""
    reading, writing = os.pipe()
    done, finish = os.pipe()
    for fd in (writing, done):
        os.set_inheritable(fd, True)
    assert (
        gate.run(
            client(f"""
        fd = tee()
        if os.fork(): os._exit(0)
        os.setsid()
        assert version(fd)
        os.write({writing}, b"served")
        os.read({done}, 1)
        assert errno_of(version, fd) == errno.ENODEV
        unprivileged()
        assert errno_of(tee) == errno_of(tee, "/dev/tee0", os.O_CREAT) == errno.ENOENT
        assert os.read(os.open("/dev/null", os.O_RDWR), 1) == b""
        os.write({writing}, b"ended")
    """)
        )
        == 0
    )
    try:
        assert read_soon(reading) == b"served"
        gate.stop()
        assert len(driver.closed) == 1
        os.write(finish, b"x")
        assert read_soon(reading) == b"ended"
    finally:
        for fd in (reading, writing, done, finish):
            os.close(fd)


def test_the_servers_death_leaves_clients_without_a_device() -> None:
    """A call it was serving, one that waits, later ones; other files go on."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    process = server(
        f"""
        fd = tee()
        unprivileged()
        results = []
        thread = threading.Thread(target=lambda: results.append(errno_of(call, fd, BLOCK, 0)))
        thread.start()
        until(fd, WAITING, 1)
        print("ready", flush=True)
        thread.join()
        results.append(errno_of(version, fd))
        results += errno_of(tee), errno_of(tee, "/dev/tee0", os.O_CREAT)
        os.open("/dev/null", os.O_RDWR)
        os.write({writing}, repr(results).encode())
    """,
        pass_fds=[writing],
    )
    os.close(writing)
    assert line(process) == "ready"
    process.kill()
    process.wait()
    with os.fdopen(reading) as pipe:
        assert pipe.read() == repr([errno.ENODEV, errno.ENODEV, errno.ENOENT, errno.ENOENT])


@pytest.mark.gate_only
def test_nested(gate: Gate, driver: FakeDriver) -> None:
    """The outer gate serves the client of the inner one."""
    inner = server_code("assert version(tee())[1] == 1; sys.exit(8)")
    assert gate.run([sys.executable, "-I", "-c", inner]) == 8
    assert len(driver.closed) == 1


@pytest.mark.gate_only
def test_a_static_environment_is_not_needed(gate: Gate) -> None:
    """Nothing is preloaded or set: the filter alone does it."""
    assert gate.run(client("assert not set(os.environ) - {'LC_CTYPE'}, os.environ; assert version(tee())"), {}) == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_as_an_ordinary_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    """With an interpreter everybody may read; undumpable clients find no device there."""
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if python is None or not support.check().ok:
        pytest.skip("no interpreter that others may use")
    source = _readable_copy(tmp_path_factory.mktemp("user"))
    code = server_code("""
        assert os.getuid() == 65534
        fd = tee()
        assert version(fd) and invoke(fd, bytes(20000) + b"x")[:1] == b"x"
        shm, _ = alloc(fd, 4096)
        assert call(fd, REGISTER_FD, bytearray(struct.pack("<qQIi", shm, 0, 0, 0))) == 4096
        if os.fork() == 0:
            ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
            os._exit(errno_of(lambda: version(tee())))
        assert os.waitstatus_to_exitcode(os.wait()[1]) != 0
        sys.exit(21)
    """).replace(repr([str(HERE), *(entry for entry in sys.path if entry)]), repr([str(source)]))
    done = subprocess.run(
        [python, "-I", "-c", code], user=65534, group=65534, extra_groups=[], cwd="/",
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (21, "closed 1 interrupted 0\n"), done.stderr
    assert "must not be looked into" in done.stderr


def _readable_copy(target: Path) -> Path:
    import optemu

    shutil.copytree(Path(optemu.__file__).parent, target / "optemu", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HERE / "gate_fakes.py", target)
    for path in [target, *target.parents]:
        if path != Path("/") and path.stat().st_uid == os.getuid():
            path.chmod(path.stat().st_mode | 0o55)
    return target


def test_prelude_compiles() -> None:
    compile(PRELUDE, "prelude", "exec")
