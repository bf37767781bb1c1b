"""RPCs as a secure thread makes them: notifications, RPMB, buses that are not there, and answers that cannot be."""

import threading

import pytest

from optemu.abi import gp
from optemu.abi import optee_rpc_cmd as rpc
from optemu.normal_world.driver.params import MEMREFS
from optemu.secure_world.core.param import Value
from optemu.secure_world.core.pseudo_ta import PtaCall, PtaMemref
from optemu.secure_world.core.thread import RpcParam
from optemu.secure_world.pta import socket
from optemu.secure_world.pta.system_services import tee_invoke_supp_plugin_rpc

IN, OUT, INOUT, MEM_IN, MEM_OUT, MEM_INOUT = 1, 2, 3, 5, 6, 7
OK, BAD, NOT_FOUND = gp.TEE_SUCCESS, gp.TEE_ERROR_BAD_PARAMETERS, gp.TEE_ERROR_ITEM_NOT_FOUND
WAIT, SEND = rpc.OPTEE_RPC_NOTIFICATION_WAIT, rpc.OPTEE_RPC_NOTIFICATION_SEND


@pytest.fixture
def machine(script_machine):
    return script_machine


@pytest.fixture
def ask(run):
    """``ask(cmd, params...)``: (TEE_Result of the RPC, parameters after it)."""

    def ask_one(cmd, *params):
        answers = []

        def script(thread):
            rpc_params = [RpcParam(*p) for p in params]
            ret = thread.rpc_cmd(cmd, rpc_params)
            answers.append((ret, [(p.a, p.b, p.c) for p in rpc_params]))

        assert run(script) == OK
        return answers[0]

    return ask_one


def test_notifications(ask, machine):
    notify = rpc.OPTEE_RPC_CMD_NOTIFICATION
    assert ask(notify, (IN, SEND, 10))[0] == OK
    assert ask(notify, (IN, WAIT, 10))[0] == OK
    assert ask(notify, (IN, WAIT, 10, 20))[0] == BAD
    most = 64 + machine.board.config.threads
    for what in (SEND, WAIT):
        assert ask(notify, (IN, what, most + 1))[0] == BAD
        assert ask(notify, (IN, what, 1 << 40))[0] == BAD
    assert ask(notify, (IN, SEND, most))[0] == OK
    assert ask(notify, (IN, 2, 10))[0] == BAD
    assert ask(notify, (OUT, WAIT, 10))[0] == BAD
    assert ask(notify)[0] == BAD


def test_a_wait_with_a_limit_that_is_woken(ask, machine):
    timer = threading.Timer(0.05, lambda: machine.optee.notifications[7].set())
    timer.start()
    assert ask(rpc.OPTEE_RPC_CMD_NOTIFICATION, (IN, WAIT, 7, 60_000))[0] == OK
    timer.join()


def test_rpmb_of_the_kernel(ask):
    """The road is there, the device is not."""
    assert ask(rpc.OPTEE_RPC_CMD_RPMB_PROBE_RESET, (OUT, 9, 9)) == (OK, [(rpc.OPTEE_RPC_SHM_TYPE_KERNEL, 0, 0)])
    assert ask(rpc.OPTEE_RPC_CMD_RPMB_PROBE_NEXT, (OUT,), (MEM_OUT, 0, 16))[0] == BAD, "no memory"
    assert ask(rpc.OPTEE_RPC_CMD_RPMB_FRAMES, (MEM_IN, 0, 512), (MEM_OUT, 0, 512))[0] == NOT_FOUND
    assert ask(rpc.OPTEE_RPC_CMD_RPMB_PROBE_RESET, (IN,))[0] == BAD
    assert ask(rpc.OPTEE_RPC_CMD_RPMB_PROBE_NEXT, (OUT,), (MEM_IN, 0, 16))[0] == BAD
    assert ask(rpc.OPTEE_RPC_CMD_RPMB_FRAMES, (MEM_IN, 0, 512))[0] == BAD


def test_what_nobody_serves(ask):
    transfer = [(IN, 0, 1, 2), (IN, 0), (MEM_INOUT, 0, 4), (OUT,)]
    assert ask(rpc.OPTEE_RPC_CMD_I2C_TRANSFER, *transfer)[0] == gp.TEE_ERROR_NOT_SUPPORTED
    for cmd in (8, 13, 20, 99, 0xFFFFFFFF):
        assert ask(cmd, (IN, 1, 2, 3))[0] == gp.TEE_ERROR_NOT_SUPPORTED


def test_suspended_for_a_while(ask, machine):
    before = machine.tee.time.system()
    assert ask(rpc.OPTEE_RPC_CMD_SUSPEND, (IN, 30))[0] == OK
    assert machine.tee.time.system() - before >= 29


@pytest.fixture
def lies(machine, monkeypatch):
    """From now on the supplicant answers ``number`` wherever it answers a number."""

    def lie_with(number):
        def lie(request, gone):
            if request.func in (rpc.OPTEE_RPC_CMD_SHM_ALLOC, rpc.OPTEE_RPC_CMD_SHM_FREE):
                return honest(request, gone)
            for at in request.outputs:
                if request.params[at] in MEMREFS:
                    request.params[at + 2] = number
                else:
                    request.params[at + 1 : at + 4] = [number] * 3
            return OK

        honest = machine.optee.supp.thrd_req
        monkeypatch.setattr(machine.optee.supp, "thrd_req", lie)

    return lie_with


@pytest.mark.parametrize("number", [0, 5, 0xFFFFFFFF, 1 << 32, (1 << 64) - 1])
def test_numbers_that_cannot_be(run, lies, number):
    """Nothing is written beyond what was lent, and no number exceeds its 32 bits."""
    lies(number)
    low = number & 0xFFFFFFFF

    def script(thread):
        def command(handler, *params):
            return handler(None, PtaCall(thread, 1, 0, list(params)))

        memory = bytearray(b"\xaa" * 8)
        data = PtaMemref(memoryview(memory)[:4], 4)
        assert command(socket._recv, Value(0, 0), data, None, None) == OK
        assert data.size == low
        argument = PtaMemref(memoryview(memory)[:4], 4)
        assert command(socket._ioctl, Value(0, 0), argument, None, None) == OK
        assert argument.size == low
        sent, handle = Value(), Value()
        assert command(socket._send, Value(0, 0), PtaMemref(memoryview(b"abc"), 3), sent, None) == OK
        assert command(socket._open, Value(), PtaMemref(memoryview(b"a\0"), 2), Value(), handle) == OK
        assert (sent.a, handle.a) == (low, low)
        assert tee_invoke_supp_plugin_rpc(thread, bytes(16), 0, 0, memoryview(memory)[:4]) == (OK, low)
        assert memory[4:] == b"\xaa" * 4

    assert run(script) == OK
