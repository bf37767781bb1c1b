"""Clear sentences for machines that cannot do it."""

import errno

import pytest
from gate_fakes import FakeDriver, client

from optemu.normal_world.gate import kernel, support
from optemu.normal_world.gate.gate import Gate
from optemu.normal_world.gate.launcher import GateError
from optemu.normal_world.gate.receiver import _must_poll


def _failing(code: int) -> object:
    def seccomp(*_: object) -> int:
        raise OSError(code, "as asked")

    return seccomp


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.EINVAL, "Linux 5.19 or later"), (errno.ENOSYS, "not allowed here"), (errno.EPERM, "not allowed here")],
)
def test_kernels(monkeypatch: pytest.MonkeyPatch, code: int, words: str) -> None:
    monkeypatch.setattr(kernel, "seccomp", _failing(code))
    found = support.check()
    assert not found.ok
    assert words in found.reason
    assert "preload library" in found.reason


def test_probing_changes_nothing() -> None:
    def filters() -> str:
        with open("/proc/self/status") as status:
            return next(line for line in status if line.startswith("Seccomp:"))

    before = filters()
    support.check()
    assert filters() == before


@pytest.mark.parametrize(
    ("scope", "user", "works"), [("0", 1, True), ("1", 1, True), ("2", 1, False), ("2", 0, True), ("3", 0, False)]
)
def test_yama(monkeypatch: pytest.MonkeyPatch, tmp_path: object, scope: str, user: int, works: bool) -> None:
    setting = f"{tmp_path}/ptrace_scope"
    with open(setting, "w") as file:
        file.write(scope + "\n")
    monkeypatch.setattr(support, "_PTRACE_SCOPE", setting)
    monkeypatch.setattr("os.geteuid", lambda: user)
    assert (support._ptrace() == "") == works


def test_other_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support.sys, "platform", "darwin")
    assert "needs Linux" in support.check().reason


def test_the_gate_says_so(monkeypatch: pytest.MonkeyPatch, driver: FakeDriver) -> None:
    monkeypatch.setattr(kernel, "seccomp", _failing(errno.EINVAL))
    with Gate(driver) as gate, pytest.raises(GateError, match=r"5\.19"):
        gate.run(client(""))


@pytest.mark.parametrize(
    ("release", "polls"),
    [("5.19.0", True), ("6.10.3-arch1", True), ("6.11.0", False), ("6.18.44-x", False), ("7.0-rc1", False)],
)
def test_which_kernels_need_a_poll_first(release: str, polls: bool) -> None:
    assert _must_poll(release) == polls


@pytest.mark.parametrize(("scope", "uid", "can"), [(0, 1000, True), (1, 1000, False), (1, 0, True), (2, 1000, False)])
def test_programs_of_other_processes(monkeypatch: pytest.MonkeyPatch, scope: int, uid: int, can: bool) -> None:
    """Where Yama restricts it, a server that is no ancestor of a program may not read its memory."""
    if not support.check().ok:
        pytest.skip(support.check().reason)
    monkeypatch.setattr(support, "ptrace_scope", lambda: scope)
    monkeypatch.setattr("os.geteuid", lambda: uid)
    assert support.check_attached().ok == can
    assert can or "ptrace_scope" in support.check_attached().reason
