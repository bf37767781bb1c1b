"""Looking for TA images: which file, when it is read again, what is no image."""

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optemu.normal_world.supplicant import ta_load
from optemu.normal_world.supplicant.ta_load import DEFAULT_TA_DIRS, TaDirs

UUID = bytes.fromhex("8aaaf200245011e4abe20002a5d5c51b")
NAME = "8aaaf200-2450-11e4-abe2-0002a5d5c51b.ta"


def later():
    return time.time_ns() + 10**10


def test_first_directory_wins(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / NAME).write_bytes(name.encode())
    assert TaDirs([tmp_path / "a", tmp_path / "b"]).load(UUID) == b"a"
    assert TaDirs([tmp_path / "none", tmp_path / "b", tmp_path / "a"]).load(UUID) == b"b"


def test_default_directories(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).write_bytes(b"here")
    dirs = TaDirs()
    monkeypatch.chdir("/")
    assert dirs.load(UUID) == b"here"
    assert dirs.directories == (str(tmp_path), "/lib/optee_armtz")
    assert DEFAULT_TA_DIRS == (".", "/lib/optee_armtz")


def test_unchanged_file_is_not_read_again(tmp_path, monkeypatch):
    (tmp_path / NAME).write_bytes(b"image")
    dirs = TaDirs([tmp_path], later)
    first = dirs.load(UUID)
    assert dirs.load(UUID) is first
    (tmp_path / NAME).write_bytes(b"other")
    assert dirs.load(UUID) == b"other"
    (tmp_path / "new").write_bytes(b"moved")
    os.utime(tmp_path / "new", ns=(0, (tmp_path / NAME).stat().st_mtime_ns))
    os.replace(tmp_path / "new", tmp_path / NAME)
    assert dirs.load(UUID) == b"moved"
    (tmp_path / NAME).unlink()
    assert dirs.load(UUID) is None


def test_file_changed_within_a_tick_of_its_clock_is_read_again(tmp_path, monkeypatch):
    """Two writes of one size in one tick leave the same times: only the clock tells."""
    status = None

    def frozen(fd):
        nonlocal status
        status = status or real(fd)
        return status

    real = os.fstat
    monkeypatch.setattr(os, "fstat", frozen)
    monkeypatch.setattr(os, "stat", lambda path: frozen(None))
    (tmp_path / NAME).write_bytes(b"one")
    dirs = TaDirs([tmp_path], lambda: status.st_mtime_ns + 1_000_000 if status else 0)
    status = os.lstat(tmp_path / NAME)
    assert dirs.load(UUID) == b"one"
    (tmp_path / NAME).write_bytes(b"two")
    assert dirs.load(UUID) == b"two"


def test_what_is_no_image(tmp_path, monkeypatch, caplog):
    os.mkfifo(tmp_path / NAME)
    dirs = TaDirs([tmp_path])
    assert dirs.load(UUID) is None
    assert dirs.last_failure.tried == ((str(tmp_path / NAME), "is not a regular file"),)
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).symlink_to(NAME)
    assert dirs.load(UUID) is None
    assert "symbolic links" in dirs.last_failure.tried[0][1]
    (tmp_path / NAME).unlink()
    with open(tmp_path / NAME, "wb") as file:
        file.truncate(ta_load.MAX_TA_SIZE + 1)
    assert dirs.load(UUID) is None
    assert "more than" in dirs.last_failure.tried[0][1]
    assert "give the directory" not in caplog.text, "it is there"
    (tmp_path / NAME).unlink()
    assert dirs.load(UUID) is None
    assert f"give the directory that holds {NAME} with --ta-dir" in caplog.text


def test_cache_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(ta_load, "_CACHE_SIZE", 10)
    dirs = TaDirs([tmp_path], later)
    for n in range(4):
        uuid = bytes([n]) * 16
        (tmp_path / f"{ta_load.gp.uuid_str(uuid)}.ta").write_bytes(bytes(4))
        assert dirs.load(uuid) == bytes(4)
    assert len(dirs._cache) == 2
    (tmp_path / NAME).write_bytes(bytes(11))
    assert dirs.load(UUID) == bytes(11)
    assert dirs._cache == {}


@given(st.binary(min_size=16, max_size=16))
def test_no_uuid_leaves_the_directories(uuid):
    dirs = TaDirs(["/nowhere/tas"])
    assert dirs.load(uuid) is None
    [(path, _)] = dirs.last_failure.tried
    assert os.path.dirname(os.path.abspath(path)) == "/nowhere/tas"


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_whole_content(tmp_path, size):
    content = os.urandom(size)
    (tmp_path / NAME).write_bytes(content)
    assert TaDirs([tmp_path]).load(UUID) == content
