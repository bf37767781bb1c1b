"""The directory of what lasts: one machine at a time, and what is on the disk when."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from optemu.board.config import Config
from optemu.machine import Machine
from optemu.normal_world.state import StateDir, StateInUse
from optemu.normal_world.supplicant.unsynced import Unsynced


def test_a_second_one_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "made" / "state"
    with StateDir(path) as first:
        assert first.path == path
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        with pytest.raises(StateInUse, match="--state"):
            StateDir(path)
        with pytest.raises(StateInUse) as caught:
            Machine(Config(state=path))
        assert caught.value.filename == str(path)
    Machine(Config(state=path)).power_off()
    assert os.listdir(path) == [], "the lock is no file"


def test_another_process_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "optemu", "run", "--state", str(tmp_path), "--", "true"]
    with StateDir(tmp_path):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith(f"optemu run: {tmp_path}: another optemu works on this state")
    assert subprocess.run(command, timeout=60, check=False).returncode == 0


def test_the_lock_ends_with_its_holder(tmp_path: Path) -> None:
    hold = (
        "import os, sys, pathlib; from optemu.normal_world.state import StateDir;"
        f"s = StateDir(pathlib.Path({str(tmp_path)!r})); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(StateInUse):
        StateDir(tmp_path)
    holder.kill()
    holder.wait(timeout=60)
    StateDir(tmp_path).close()


def test_a_child_that_has_the_descriptor_does_not_keep_the_lock(tmp_path: Path) -> None:
    read, write = os.pipe()
    state = StateDir(tmp_path)
    child = os.fork()
    if not child:
        os.read(read, 1)
        os._exit(0)
    state.close()
    StateDir(tmp_path).close()
    os.write(write, b"x")
    os.waitpid(child, 0)
    os.close(read)
    os.close(write)


def test_without_one_a_run_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with StateDir(None) as first, StateDir(None) as second:
        assert first.path != second.path
        assert not first.path.exists(), "made when it is needed"
        (first.path / "tee").mkdir(parents=True)
    assert os.listdir(tmp_path) == []


def test_a_state_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="File exists"):
        StateDir(tmp_path / "file")


# --- what is on the disk when --------------------------------------------------------------------------------------


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is synced, in order, by the name of its file."""
    seen: list[str] = []

    def synced(fd: int) -> None:
        seen.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name)

    monkeypatch.setattr("os.fdatasync", synced)
    monkeypatch.setattr("os.fsync", synced)
    return seen


def opened(unsynced: Unsynced, path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    unsynced.opened(fd, os.fsencode(path.name))
    return fd


def test_a_commit_waits_for_what_it_stands_on(tmp_path: Path, disk: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced = Unsynced()
    db, obj = opened(unsynced, tmp_path / "dirf.db"), opened(unsynced, tmp_path / "7")
    parent = os.open(tmp_path, os.O_RDONLY)
    unsynced.renamed(parent)
    for fd, offset in ((obj, 4096), (obj, 0), (db, 4096)):
        unsynced.write(fd, offset, b"x")
    assert disk == [], "no commit yet"
    pwrite = os.pwrite

    def head(fd: int, data: bytes, offset: int) -> int:
        disk.append("head")
        return pwrite(fd, data, offset)

    with monkeypatch.context() as m:
        m.setattr("os.pwrite", head)
        unsynced.write(db, 4095, b"x")
    at = disk.index("head")
    assert sorted(disk[:at]) == sorted(["7", "dirf.db", tmp_path.name])
    assert disk[at + 1 :] == ["dirf.db"]
    disk.clear()
    unsynced.closing(db)
    assert disk == [], "nothing left"
    unsynced.changed(obj)
    unsynced.closing(obj)
    assert disk == ["7"]
    for fd in (db, obj, parent):
        os.close(fd)


def test_few_octets_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr("os.pwrite", lambda fd, data, offset: pwrite(fd, data[:3], offset))
    unsynced = Unsynced()
    for data in (b"0123456789", memoryview(b"abcdefgh"), b""):
        fd = opened(unsynced, tmp_path / "7")
        unsynced.write(fd, 2, data)
        assert (tmp_path / "7").read_bytes()[2 : 2 + len(data)] == data
        os.close(fd)


def test_what_cannot_be_synced_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced = Unsynced()
    db, obj = opened(unsynced, tmp_path / "dirf.db"), opened(unsynced, tmp_path / "7")
    unsynced.changed(obj)

    def refuse(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fdatasync", refuse)
    with pytest.raises(OSError, match="Input/output"):
        unsynced.write(db, 0, b"x")
    assert not (tmp_path / "dirf.db").read_bytes()
    for fd in (db, obj):
        os.close(fd)
