"""Files by RPC, all the way: a static TA for tests, the secure thread, the driver, the supplicant, the disk."""

import os
from pathlib import Path

import pytest

from optemu.abi import gp
from optemu.abi import optee_rpc_cmd as rpc
from optemu.errors import TeeError
from optemu.normal_world.device import EmulatedDevice
from optemu.normal_world.driver.params import MEMREFS
from optemu.normal_world.supplicant import Supplicant
from optemu.secure_world.core.tee_fs_rpc import RpcFiles

COMMUNICATION = gp.TEE_ERROR_COMMUNICATION


@pytest.fixture
def tee(config) -> Path:
    return config.state / "tee"


@pytest.fixture
def machine(script_machine):
    return script_machine


def test_all_eleven_operations(run, tee):
    def script(thread):
        files = RpcFiles(thread)
        fd = files.create(b"/ta/0")
        files.write(fd, 0, b"0123456789" * 1000)
        assert files.read(fd, 9_995, 100) == b"56789"
        files.truncate(fd, 5)
        files.close(fd)
        files.rename(b"/ta/0", b"/ta/1", overwrite=False)
        fd = files.open(b"/ta/1")
        assert files.read(fd, 0, 4096) == b"01234"
        files.close(fd)
        files.close(files.create(b"/ta/2"))
        with pytest.raises(TeeError) as caught:
            files.rename(b"/ta/1", b"/ta/2", overwrite=False)
        assert caught.value.code == gp.TEE_ERROR_ACCESS_CONFLICT
        handle = files.opendir(b"/ta")
        assert sorted(files.readdir(handle) for _ in range(2)) == [b"1", b"2"]
        with pytest.raises(TeeError) as caught:
            files.readdir(handle)
        assert caught.value.code == gp.TEE_ERROR_ITEM_NOT_FOUND
        files.closedir(handle)
        files.remove(b"/ta/2")

    assert run(script) == gp.TEE_SUCCESS
    assert (tee / "ta" / "1").read_bytes() == b"01234"
    assert os.listdir(tee / "ta") == ["1"]


def test_shared_memory_is_kept_during_a_call_and_given_back_after_it(run, machine):
    seen = []

    def script(thread):
        files = RpcFiles(thread)
        fd = files.create(b"/0")
        for _ in range(5):
            files.write(fd, 0, bytes(1000))
        seen.append(len(machine.supplicant._services.shm))
        files.write(fd, 0, bytes(10_000))
        seen.append(len(machine.supplicant._services.shm))
        files.close(fd)

    assert run(script) == gp.TEE_SUCCESS
    assert seen == [1, 1]
    assert len(machine.supplicant._services.shm) == 0


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda thread: RpcFiles(thread).open(b"/none"), gp.TEE_ERROR_ITEM_NOT_FOUND),
        (lambda thread: RpcFiles(thread).open(b"../etc/passwd"), gp.TEE_ERROR_BAD_PARAMETERS),
        (lambda thread: RpcFiles(thread).open(b"x" * 350), gp.TEE_ERROR_BAD_PARAMETERS),
        (lambda thread: RpcFiles(thread).read(1, 0, 10), gp.TEE_ERROR_GENERIC),
        (lambda thread: RpcFiles(thread).read(1, -1, 10), gp.TEE_ERROR_BAD_PARAMETERS),
        (lambda thread: RpcFiles(thread).read(1, 0, 1 << 40), gp.TEE_ERROR_OUT_OF_MEMORY),
    ],
)
def test_errors_come_through(run, call, code):
    assert run(call) == code


def test_a_supplicant_that_lies_about_sizes(run, machine, monkeypatch):
    honest = machine.optee.supp.thrd_req

    def lie(request, gone):
        ret = honest(request, gone)
        for at in request.outputs:
            if request.func == rpc.OPTEE_RPC_CMD_FS and request.params[at] in MEMREFS:
                request.params[at + 2] = (1 << 64) - 1
        return ret

    def script(thread):
        files = RpcFiles(thread)
        fd = files.create(b"/0")
        monkeypatch.setattr(machine.optee.supp, "thrd_req", lie)
        files.read(fd, 0, 100)

    assert run(script) == COMMUNICATION


def test_a_supplicant_that_goes_away(run, machine, config):
    """The file is open, then nobody answers any more: an error, and the next supplicant serves the next call."""

    def script(thread):
        files = RpcFiles(thread)
        fd = files.create(b"/0")
        machine.supplicant.stop()
        files.write(fd, 0, b"x")

    gone = machine.optee.caller_is_gone
    # As on a board the caller waits for another supplicant; let it give up at once.
    machine.optee.caller_is_gone = lambda ctx: machine.optee.supp.ctx is None or gone(ctx)
    assert run(script) in (COMMUNICATION, gp.TEE_ERROR_OUT_OF_MEMORY)
    machine.optee.caller_is_gone = gone
    machine.supplicant = Supplicant(
        lambda: EmulatedDevice(machine.device, "/dev/teepriv0"), [], state=config.state_dir()
    )
    machine.supplicant.start()
    assert run(lambda thread: RpcFiles(thread).open(b"/0")) == gp.TEE_SUCCESS
