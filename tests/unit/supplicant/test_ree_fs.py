"""OPTEE_RPC_CMD_FS at byte level: upstream's eleven operations, and names that try to leave the directory."""

import os
import stat

import pytest
from fake_supp import FakeSupp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optemu.abi import gp
from optemu.abi import optee_rpc_cmd as rpc
from optemu.errors import TeeError
from optemu.normal_world.device import EmulatedDevice
from optemu.normal_world.supplicant import Supplicant
from optemu.normal_world.supplicant.ree_fs import ReeFs

FS = rpc.OPTEE_RPC_CMD_FS
OPEN, CREATE, CLOSE, READ, WRITE, TRUNCATE, REMOVE, RENAME, OPENDIR, CLOSEDIR, READDIR = range(11)
IN, OUT, MEM_IN, MEM_OUT = 1, 2, 5, 6
NO_SHM = (1 << 64) - 1
OK, BAD, NOT_FOUND = gp.TEE_SUCCESS, gp.TEE_ERROR_BAD_PARAMETERS, gp.TEE_ERROR_ITEM_NOT_FOUND


class Files:
    """The secure world's view: operations on names and numbers."""

    def __init__(self, driver):
        self.driver = driver

    def call(self, op, b, c, *rest):
        """``rest`` are parameters, or (attr, bytes) for memory that holds them: (ret, parameters, memory after)."""
        ids, params = [], []
        for p in rest:
            if len(p) == 2:
                ids.append(self.driver.shm(p[1]))
                p = (p[0], 0, len(p[1]), ids[-1])
            params.append(p)
        ret, answer = self.driver.call(FS, (IN, op, b, c), *params)
        after = [self.driver.read(shm, 0, 4096) for shm in ids]
        for shm in ids:
            self.driver.free(shm)
        return ret, answer[1:], after

    def handle(self, op, name):
        ret, params, _ = self.call(op, 0, 0, (MEM_IN, name + b"\0"), (OUT, 0, 0, 0))
        return ret, params[1][1]

    def create(self, name, content=b""):
        ret, fd = self.handle(CREATE, name)
        assert ret == OK
        if content:
            assert self.write(fd, 0, content) == OK
        return fd

    def numbered(self, op, number, c=0):
        return self.call(op, number, c)[0]

    def read(self, fd, offset, size):
        ret, params, after = self.call(READ, fd, offset, (MEM_OUT, bytes(size)))
        return ret, after[0][: params[0][2]] if ret == OK else b""

    def write(self, fd, offset, data):
        return self.call(WRITE, fd, offset, (MEM_IN, data))[0]

    def remove(self, name):
        return self.call(REMOVE, 0, 0, (MEM_IN, name + b"\0"))[0]

    def rename(self, old, new, overwrite):
        return self.call(RENAME, overwrite, 0, (MEM_IN, old + b"\0"), (MEM_IN, new + b"\0"))[0]

    def readdir(self, handle, room=64):
        ret, params, after = self.call(READDIR, handle, 0, (MEM_OUT, bytes(room)))
        return ret, after[0][: params[0][2]] if ret == OK else params[0][2]


@pytest.fixture
def files(supp):
    return Files(supp)


def test_a_file_from_its_creation_to_its_end(files, state):
    fd = files.create(b"/0", b"0123456789")
    path = state / "tee" / "0"
    assert path.read_bytes() == b"0123456789"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((state / "tee").stat().st_mode) == stat.S_IMODE(state.stat().st_mode) == 0o700
    assert files.read(fd, 2, 4) == (OK, b"2345")
    assert files.read(fd, 8, 4) == (OK, b"89")
    assert files.read(fd, 10, 4) == (OK, b"")
    assert files.read(fd, 0, 0) == (OK, b"")
    assert files.numbered(TRUNCATE, fd, 3) == OK
    assert files.write(fd, 5, b"x") == OK
    assert path.read_bytes() == b"012\0\0x"
    assert files.numbered(CLOSE, fd) == OK
    assert files.numbered(CLOSE, fd) == gp.TEE_ERROR_GENERIC
    ret, fd = files.handle(OPEN, b"0")
    assert ret == OK
    assert files.read(fd, 0, 100) == (OK, b"012\0\0x")
    assert files.remove(b"/0") == OK
    assert not path.exists()
    assert files.handle(OPEN, b"/0")[0] == NOT_FOUND


def test_create_empties_what_is_there(files, state):
    files.create(b"a", b"old")
    files.create(b"a")
    assert (state / "tee" / "a").read_bytes() == b""


def test_a_file_that_cannot_be_written_is_opened_to_read(files, state):
    files.create(b"a", b"text")
    (state / "tee" / "a").chmod(0o400)
    ret, fd = files.handle(OPEN, b"a")
    assert ret == OK
    assert files.read(fd, 0, 9) == (OK, b"text")
    if os.geteuid():
        assert files.write(fd, 0, b"x") == gp.TEE_ERROR_GENERIC


def test_directories_come_and_go_with_their_files(files, state):
    """Up to two of them, as upstream makes and removes."""
    tee = state / "tee"
    files.create(b"/ta/dir/file")
    assert stat.S_IMODE((tee / "ta" / "dir").stat().st_mode) == 0o700
    files.create(b"/ta/other")
    assert files.remove(b"/ta/dir/file") == OK
    assert sorted(os.listdir(tee / "ta")) == ["other"]
    assert files.remove(b"/ta/other") == OK
    assert os.listdir(tee) == []
    assert files.handle(CREATE, b"/a/b/c/file")[0] == NOT_FOUND
    assert os.listdir(tee) == []


def test_directories_made_for_a_file_that_fails_are_removed(files, state):
    for name in (b"/a/b/" + b"n" * 300, b"/a/" + b"n" * 300 + b"/file"):
        assert files.handle(CREATE, name)[0] == gp.TEE_ERROR_GENERIC
        assert os.listdir(state / "tee") == []


def test_rename(files, state):
    tee = state / "tee"
    files.create(b"a", b"1")
    files.create(b"b", b"2")
    assert files.rename(b"a", b"b", 0) == gp.TEE_ERROR_ACCESS_CONFLICT
    assert (tee / "a").read_bytes() == b"1"
    assert files.rename(b"a", b"b", 1) == OK
    assert files.rename(b"b", b"c", 0) == OK
    assert {p.name: p.read_bytes() for p in tee.iterdir()} == {"c": b"1"}
    assert files.rename(b"none", b"d", 1) == NOT_FOUND
    assert files.rename(b"none", b"d", 0) == NOT_FOUND


def test_reading_a_directory(files, state):
    for name in (b"/d/one", b"/d/two", b"/d/.hidden"):
        files.create(name)
    ret, handle = files.handle(OPENDIR, b"/d")
    assert ret == OK
    names = {files.readdir(handle)[1], files.readdir(handle)[1]}
    assert names == {b"one\0", b"two\0"}
    assert files.readdir(handle)[0] == NOT_FOUND
    assert files.numbered(CLOSEDIR, handle) == OK
    assert files.numbered(CLOSEDIR, handle) == BAD
    ret, handle = files.handle(OPENDIR, b"/")
    assert (ret, files.readdir(handle, 1)) == (OK, (gp.TEE_ERROR_SHORT_BUFFER, 2))


def test_an_empty_directory_is_not_there(files, state):
    files.create(b"/d/.hidden")
    assert files.handle(OPENDIR, b"/d")[0] == NOT_FOUND
    assert files.handle(OPENDIR, b"/none")[0] == NOT_FOUND
    fd = files.create(b"/file")
    assert files.handle(OPENDIR, b"/file")[0] == NOT_FOUND
    assert files.readdir(fd)[0] == BAD


@pytest.mark.parametrize(
    "name", [b"..", b"../x", b"/../x", b"a/../../x", b"a/..", b"./../x", b"x" * 4094, b"/" + b"y/" * 2047]
)
def test_names_that_cannot_be(files, state, name):
    for op in (OPEN, CREATE, OPENDIR):
        assert files.handle(op, name)[0] in (BAD, NOT_FOUND)
    assert files.remove(name) in (BAD, NOT_FOUND)
    files.create(b"ok")
    assert files.rename(b"ok", name, 1) in (BAD, NOT_FOUND)
    assert os.listdir(state) == ["tee"]
    assert os.listdir(state / "tee") == ["ok"]


def test_the_root_is_no_file(files, state):
    for name in (b"", b"/", b".", b"//./"):
        assert files.handle(OPEN, name)[0] == NOT_FOUND
        assert files.handle(CREATE, name)[0] == NOT_FOUND
        assert files.remove(name) == NOT_FOUND
    assert (state / "tee").is_dir()


def test_symbolic_links_lead_nowhere(files, state, tmp_path):
    files.create(b"real", b"mine")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (state / "tee" / "dir").symlink_to(outside)
    (state / "tee" / "file").symlink_to(outside / "secret")
    assert files.handle(OPEN, b"/dir/secret")[0] == NOT_FOUND
    assert files.handle(OPEN, b"/file")[0] == NOT_FOUND
    assert files.handle(CREATE, b"/file")[0] == gp.TEE_ERROR_GENERIC
    assert files.handle(CREATE, b"/dir/new")[0] == gp.TEE_ERROR_GENERIC
    assert files.handle(OPENDIR, b"/dir")[0] == NOT_FOUND
    assert files.rename(b"/real", b"/dir/real", 1) == gp.TEE_ERROR_GENERIC
    assert files.rename(b"/real", b"/file", 1) == OK
    assert os.listdir(outside) == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"


def test_a_fifo_does_not_hold_the_supplicant(files, state):
    files.create(b"real")
    os.mkfifo(state / "tee" / "fifo")
    assert files.numbered(CLOSE, files.handle(OPEN, b"fifo")[1]) == OK


def test_numbers_that_are_not_open(files):
    """Descriptors of the process, above all its standard streams, are none of the secure world's."""
    fd = files.create(b"a")
    for number in {1, 2, fd + 1, fd + 2, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 63) + 1} - {fd}:
        assert files.read(number, 0, 4)[0] == gp.TEE_ERROR_GENERIC
        assert files.write(number, 0, b"x") == gp.TEE_ERROR_GENERIC
        assert files.numbered(TRUNCATE, number, 0) == gp.TEE_ERROR_GENERIC
        assert files.numbered(CLOSE, number) == gp.TEE_ERROR_GENERIC


def test_a_number_means_a_file_to_one_supplicant(tmp_path):
    """What the core still has open by it is not what the next supplicant opens."""
    one, next_one = ReeFs(tmp_path), ReeFs(tmp_path)
    numbers = [fs.open_items.add(os.open(tmp_path, os.O_RDONLY)) for fs in (one, one, next_one, next_one)]
    assert len({*numbers}) == 4
    with pytest.raises(TeeError, match="is open"):
        next_one.open_items.file(numbers[0])
    for fs in (one, next_one):
        fs.close()


def test_offsets_that_cannot_be(files):
    fd = files.create(b"a")
    for offset in (1 << 63, (1 << 64) - 1):
        assert files.read(fd, offset, 4)[0] == gp.TEE_ERROR_GENERIC
        assert files.write(fd, offset, b"x") == gp.TEE_ERROR_GENERIC
        assert files.numbered(TRUNCATE, fd, offset) == gp.TEE_ERROR_GENERIC


def test_no_room_on_the_disk(files, monkeypatch):
    fd = files.create(b"a")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    assert files.write(fd, 0, b"x") == gp.TEE_ERROR_STORAGE_NO_SPACE


def test_short_writes_and_reads_go_on(files, state, monkeypatch):
    pwrite, preadv = os.pwrite, os.preadv
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:3], at))
    monkeypatch.setattr(os, "preadv", lambda fd, views, at: preadv(fd, [views[0][:3]], at))
    fd = files.create(b"a", b"0123456789")
    assert (state / "tee" / "a").read_bytes() == b"0123456789"
    assert files.read(fd, 0, 64) == (OK, b"0123456789")


def test_where_files_cannot_be_kept(tmp_path, caplog):
    (tmp_path / "state").write_bytes(b"no directory")
    for state, says in ((None, "no state directory"), (tmp_path / "state", "--state")):
        driver = FakeSupp()
        supplicant = Supplicant(lambda d=driver: EmulatedDevice(d, "/dev/teepriv0"), [], state=state)
        supplicant.start()
        assert driver.call(FS, (IN, CLOSE, 0, 0))[0] == gp.TEE_ERROR_STORAGE_NOT_AVAILABLE
        supplicant.stop()
        assert says in caplog.text


def test_nothing_stays_open(supp, files):
    before = len(os.listdir("/proc/self/fd"))
    for n in range(20):
        files.create(b"d%d/file" % n)
    services = supp.supplicant._services
    assert len(services.fs.open_items) == 20
    supp.supplicant.stop()
    assert len(services.fs.open_items) == 0
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize(
    "params",
    [
        [],
        [(MEM_IN, 0, 0, NO_SHM)],
        [(IN, 11, 0, 0)],
        [(IN, 1 << 32, 0, 0)],
        [(IN, OPEN, 0, 0), (MEM_IN, 0, 4, NO_SHM), (OUT, 0, 0, 0)],
        [(IN, OPEN, 0, 0), (MEM_OUT, 0, 4, NO_SHM), (OUT, 0, 0, 0)],
        [(IN, OPEN, 0, 0)],
        [(OUT, CLOSE, 0, 0)],
        [(IN, READ, 0, 0), (MEM_OUT, 0, 4, NO_SHM)],
        [(IN, READ, 0, 0), (MEM_IN, 0, 4, NO_SHM)],
        [(IN, READDIR, 0, 0), (MEM_OUT, 0, 4, NO_SHM)],
        [(IN, CLOSE, 0, 0), (IN, 0, 0, 0)],
    ],
)
def test_malformed_requests(supp, params):
    assert supp.call(FS, *params) == (BAD, params)


def test_a_name_without_end(supp):
    shm = supp.shm(b"name")
    assert supp.call(FS, (IN, OPEN, 0, 0), (MEM_IN, 0, 4, shm), (OUT, 0, 0, 0))[0] == BAD


_parts = st.sampled_from([b"", b"/", b".", b"..", b"a", b"link", b"\xff", b"\0", b"a\0b", b"x" * 255, b"x" * 256])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.lists(_parts, max_size=8).map(b"/".join), st.sampled_from([OPEN, CREATE, OPENDIR, REMOVE, RENAME]))
def test_no_name_leaves_the_directory(files, state, tmp_path, name, op):
    outside = tmp_path / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "a").write_bytes(b"secret")
    files.create(b"mine", b"mine")
    link = state / "tee" / "link"
    if not link.is_symlink():
        link.unlink(missing_ok=True)
        link.symlink_to(outside)
    if op == REMOVE:
        ret = files.remove(name)
    elif op == RENAME:
        ret = files.rename(b"mine", name, 1)
    else:
        ret, handle = files.handle(op, name)
        if ret == OK and op != OPENDIR:
            assert files.read(handle, 0, 16)[1] != b"secret"
            files.numbered(CLOSE, handle)
    assert ret in (OK, BAD, NOT_FOUND, gp.TEE_ERROR_GENERIC)
    assert os.listdir(outside) == ["a"]
    assert (outside / "a").read_bytes() == b"secret"
    assert sorted(os.listdir(state)) == ["tee"]


word = st.sampled_from([0, 1, 2, 3, 4, 100, 1 << 31, 1 << 32, 1 << 63, NO_SHM])
param = st.tuples(st.sampled_from([0, 1, 2, 3, 5, 6, 7]), word, word, word)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.integers(0, 12), st.lists(param, max_size=4))
def test_no_request_brings_it_down(files, op, params):
    rest = [(attr, b"a".ljust(100, b"\0")) if attr > 3 and b == 100 else (attr, a, b, c) for attr, a, b, c in params]
    ret, answer, _ = files.call(op, 1, 2, *rest)
    assert [p[0] for p in answer] == [p[0] for p in params]
    assert ret in (OK, BAD, NOT_FOUND, gp.TEE_ERROR_GENERIC, gp.TEE_ERROR_SHORT_BUFFER, gp.TEE_ERROR_ACCESS_CONFLICT)
