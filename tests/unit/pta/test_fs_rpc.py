"""Files by RPC, all the way: a static TA for this test, the secure thread, the driver, the supplicant, the disk."""

import os
from pathlib import Path

import pytest
from pta_kit import result

from optemu.abi import gp
from optemu.abi import optee_rpc_cmd as rpc
from optemu.errors import TeeError
from optemu.machine import Machine
from optemu.normal_world.driver.params import MEMREFS
from optemu.normal_world.libteec import Value
from optemu.secure_world.core import tee_fs_rpc as fs
from optemu.secure_world.core.pseudo_ta import PTA_DEFAULT_FLAGS, PseudoTa

COMMUNICATION = gp.TEE_ERROR_COMMUNICATION


class Script(PseudoTa):
    """Runs what the test put in ``script``."""

    uuid = gp.uuid_octets("b3ff4ab5-7e2a-4a5c-bb0b-8e5d0b1c2f11")
    name = "script"
    flags = PTA_DEFAULT_FLAGS
    script = staticmethod(lambda thread: None)

    def invoke_command(self, thread, session, cmd, types, params):
        Script.script(thread)


@pytest.fixture
def machine(config):
    with Machine(config, pseudo_tas=(Script,)) as m:
        yield m
        assert m.tee.threads.busy == 0
        assert len(m.tee.shm) == len(m.optee._arg_pages)


@pytest.fixture
def run(session):
    """``run(function)`` calls it in the secure world, with its thread: TEE_Result."""
    pta = session(Script.uuid)

    def run_one(function):
        Script.script = staticmethod(function)
        return result(pta.invoke, 0, Value.input(0))

    return run_one


@pytest.fixture
def tee(config) -> Path:
    return config.state / "tee"


def test_all_eleven_operations(run, tee):
    def script(thread):
        fd = fs.tee_fs_rpc_create(thread, b"/ta/0")
        fs.tee_fs_rpc_write(thread, fd, 0, b"0123456789" * 1000)
        assert fs.tee_fs_rpc_read(thread, fd, 9_995, 100) == b"56789"
        fs.tee_fs_rpc_truncate(thread, fd, 5)
        fs.tee_fs_rpc_close(thread, fd)
        fs.tee_fs_rpc_rename(thread, b"/ta/0", b"/ta/1", overwrite=False)
        fd = fs.tee_fs_rpc_open(thread, b"/ta/1")
        assert fs.tee_fs_rpc_read(thread, fd, 0, 4096) == b"01234"
        fs.tee_fs_rpc_close(thread, fd)
        fs.tee_fs_rpc_close(thread, fs.tee_fs_rpc_create(thread, b"/ta/2"))
        with pytest.raises(TeeError) as caught:
            fs.tee_fs_rpc_rename(thread, b"/ta/1", b"/ta/2", overwrite=False)
        assert caught.value.code == gp.TEE_ERROR_ACCESS_CONFLICT
        handle = fs.tee_fs_rpc_opendir(thread, b"/ta")
        assert sorted(fs.tee_fs_rpc_readdir(thread, handle) for _ in range(2)) == [b"1", b"2"]
        with pytest.raises(TeeError) as caught:
            fs.tee_fs_rpc_readdir(thread, handle)
        assert caught.value.code == gp.TEE_ERROR_ITEM_NOT_FOUND
        fs.tee_fs_rpc_closedir(thread, handle)
        fs.tee_fs_rpc_remove(thread, b"/ta/2")

    assert run(script) == gp.TEE_SUCCESS
    assert (tee / "ta" / "1").read_bytes() == b"01234"
    assert os.listdir(tee / "ta") == ["1"]


def test_shared_memory_is_kept_during_a_call_and_given_back_after_it(run, machine):
    seen = []

    def script(thread):
        fd = fs.tee_fs_rpc_create(thread, b"/0")
        for _ in range(5):
            fs.tee_fs_rpc_write(thread, fd, 0, bytes(1000))
        seen.append(len(machine.supplicant._services.shm))
        fs.tee_fs_rpc_write(thread, fd, 0, bytes(10_000))
        seen.append(len(machine.supplicant._services.shm))
        fs.tee_fs_rpc_close(thread, fd)

    assert run(script) == gp.TEE_SUCCESS
    assert seen == [1, 1]
    assert len(machine.supplicant._services.shm) == 0


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda thread: fs.tee_fs_rpc_open(thread, b"/none"), gp.TEE_ERROR_ITEM_NOT_FOUND),
        (lambda thread: fs.tee_fs_rpc_open(thread, b"../etc/passwd"), gp.TEE_ERROR_BAD_PARAMETERS),
        (lambda thread: fs.tee_fs_rpc_open(thread, b"x" * 350), gp.TEE_ERROR_BAD_PARAMETERS),
        (lambda thread: fs.tee_fs_rpc_read(thread, 1, 0, 10), gp.TEE_ERROR_GENERIC),
        (lambda thread: fs.tee_fs_rpc_read(thread, 1, -1, 10), gp.TEE_ERROR_BAD_PARAMETERS),
        (lambda thread: fs.tee_fs_rpc_read(thread, 1, 0, 0), gp.TEE_ERROR_OUT_OF_MEMORY),
        (lambda thread: fs.tee_fs_rpc_read(thread, 1, 0, 1 << 40), gp.TEE_ERROR_OUT_OF_MEMORY),
    ],
)
def test_errors_come_through(run, call, code):
    assert run(call) == code


def test_a_supplicant_that_lies_about_sizes(run, machine, monkeypatch):
    honest = machine.optee.supp.thrd_req

    def lie(func, params, gone):
        ret = honest(func, params, gone)
        for p in params:
            if func == rpc.OPTEE_RPC_CMD_FS and p.attr in MEMREFS:
                p.b = (1 << 64) - 1
        return ret

    def script(thread):
        fd = fs.tee_fs_rpc_create(thread, b"/0")
        monkeypatch.setattr(machine.optee.supp, "thrd_req", lie)
        fs.tee_fs_rpc_read(thread, fd, 0, 100)

    assert run(script) == COMMUNICATION


def test_a_supplicant_that_goes_away(run, machine):
    """The file is open, then nobody answers any more: an error, and the next call works with the next supplicant."""

    def script(thread):
        fd = fs.tee_fs_rpc_create(thread, b"/0")
        machine.supplicant._services.device.close()
        fs.tee_fs_rpc_write(thread, fd, 0, b"x")

    gone = machine.optee.caller_is_gone
    machine.optee.caller_is_gone = lambda ctx: machine.optee.supp.ctx is None or gone(ctx)
    assert run(script) in (COMMUNICATION, gp.TEE_ERROR_OUT_OF_MEMORY)
    machine.optee.caller_is_gone = gone
    assert run(lambda thread: None) == gp.TEE_SUCCESS
