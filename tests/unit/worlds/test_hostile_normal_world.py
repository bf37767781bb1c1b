"""Whatever the normal world says, in registers, messages or ioctl arguments: an error, never a crash or a leak."""

import errno
import os
import struct
from collections.abc import Iterator

import pytest
from campaigns.process import Process
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optemu.abi import gp, optee_msg
from optemu.abi import optee_smc as smc
from optemu.abi import tee_ioctl as ioc
from optemu.board.config import Config
from optemu.machine import Machine
from optemu.secure_world.core.pseudo_ta import PseudoTa, verify_conformance
from optemu.secure_world.pta import BUILT_IN

DEMO = gp.uuid_octets("e3a1d2c0-5b0f-4f0c-9d3e-6f7074656d75")
_NO_FIXTURE_RESET = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)


@pytest.fixture(scope="module", params=["armv8", "armv7"])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    with Machine(Config(monitor=request.param)) as m:
        yield m


def test_uid_and_capabilities(machine: Machine) -> None:
    call = machine.monitor.smc
    assert call(smc.OPTEE_SMC_CALLS_UID)[:4] == optee_msg.OPTEE_MSG_UID
    assert call(smc.OPTEE_SMC_CALL_GET_OS_UUID)[:4] == optee_msg.OPTEE_MSG_OS_OPTEE_UUID
    assert call(smc.OPTEE_SMC_CALLS_REVISION)[:2] == (2, 0)
    assert call(smc.OPTEE_SMC_GET_THREAD_COUNT)[:2] == (0, 4)
    assert call(smc.OPTEE_SMC_EXCHANGE_CAPABILITIES, 2)[0] == smc.OPTEE_SMC_RETURN_ENOTAVAIL
    assert call(smc.OPTEE_SMC_GET_ASYNC_NOTIF_VALUE)[:3] == (0, 0, 0)
    assert call(0xB200_7777)[0] == smc.OPTEE_SMC_RETURN_UNKNOWN_FUNCTION
    assert call(0x8400_0000)[0] == smc.SMC_UNKNOWN
    assert call(0x8000_0000)[0] == 0x10002  # SMCCC_VERSION


_FUNCTIONS = st.one_of(st.sampled_from(sorted(smc.SMC_NAMES)), st.integers(0, (1 << 32) - 1))


@_NO_FIXTURE_RESET
@given(_FUNCTIONS, st.lists(st.integers(0, (1 << 64) - 1), min_size=7, max_size=7))
def test_any_registers(machine: Machine, a0: int, rest: list[int]) -> None:
    result = machine.monitor.smc(a0, *rest)
    assert len(result) == 8
    assert machine.tee.threads.busy == 0


@_NO_FIXTURE_RESET
@given(st.binary(max_size=300), st.integers(0, 9), st.integers(0, 6))
def test_any_message(machine: Machine, noise: bytes, cmd: int, count: int) -> None:
    """A page of arbitrary bytes with a plausible head: the call is answered, and nothing stays."""
    page = machine.optee.pool.take_page()
    region, at = page
    head = struct.pack("<8I", cmd, 0, 1, 0, 0, 0, 0, count)
    data = (head + noise).ljust(4096, b"\0")
    region.view[at : at + 4096] = data
    pa = region.base + at
    before = len(machine.tee.open_sessions)
    r0 = machine.monitor.smc(smc.OPTEE_SMC_CALL_WITH_RPC_ARG, pa >> 32, pa & 0xFFFFFFFF)[0]
    while smc.is_rpc(r0):
        r0 = machine.monitor.smc(smc.OPTEE_SMC_CALL_RETURN_FROM_RPC, 0, 0, 3)[0]
    assert r0 in (smc.OPTEE_SMC_RETURN_OK, smc.OPTEE_SMC_RETURN_EBADCMD, smc.OPTEE_SMC_RETURN_ERESUME)
    assert machine.tee.threads.busy == 0
    assert len(machine.tee.open_sessions) == before
    machine.optee.pool.give_page(page)


@_NO_FIXTURE_RESET
@given(st.sampled_from(sorted(ioc.IOCTL_NAMES)), st.binary(min_size=24, max_size=24), st.binary(max_size=400))
def test_any_ioctl(machine: Machine, cmd: int, argument: bytes, block: bytes) -> None:
    if cmd == ioc.TEE_IOC_SHM_ALLOC:
        argument = (int.from_bytes(argument[:2], "little")).to_bytes(8, "little") + argument[8:]
    task = Process()
    file = machine.device.open("/dev/tee0", task)
    task.write(task.BASE, argument)
    task.write(task.BASE + 64, block)
    for arg in (task.BASE, 0, task.BASE + len(task.memory) - 4):
        rc = file.ioctl(cmd, arg, task)
        assert rc >= -4095
    # The same with a block of a fitting length behind it.
    task.write(task.BASE, ioc.BUF_DATA.pack(task.BASE + 64, len(block)))
    assert file.ioctl(cmd, task.BASE, task) >= -4095
    for shm in task.shms:
        shm.released()  # type: ignore[attr-defined]
    file.close()
    assert machine.tee.threads.busy == 0
    assert not machine.tee.open_sessions
    assert all(ctx.privileged for ctx in machine.device.contexts)


def _invoke(file: object, task: Process, session: int, cmd: int, params: list[tuple[int, int, int, int]]) -> int:
    block = ioc.INVOKE_ARG.pack(cmd, session, 0, 0, 0, len(params)) + b"".join(ioc.PARAM.pack(*p) for p in params)
    task.write(task.BASE, ioc.BUF_DATA.pack(task.BASE + 64, len(block)))
    task.write(task.BASE + 64, block)
    return file.ioctl(ioc.TEE_IOC_INVOKE, task.BASE, task)  # type: ignore[attr-defined, no-any-return]


def _open(file: object, task: Process, uuid: bytes, login: int = 0, data: bytes = bytes(16)) -> tuple[int, int, int]:
    block = ioc.OPEN_SESSION_ARG.pack(uuid, data, login, 0, 0, 0, 0, 0)
    task.write(task.BASE, ioc.BUF_DATA.pack(task.BASE + 64, len(block)))
    task.write(task.BASE + 64, block)
    rc = file.ioctl(ioc.TEE_IOC_OPEN_SESSION, task.BASE, task)  # type: ignore[attr-defined]
    _, _, _, _, session, ret, _, _ = ioc.OPEN_SESSION_ARG.unpack(task.read(task.BASE + 64, 56))
    return rc, session, ret


def test_a_call_at_byte_level(machine: Machine) -> None:
    task = Process()
    file = machine.device.open("/dev/tee0", task)
    rc, session, ret = _open(file, task, DEMO)
    assert (rc, ret) == (0, 0)
    assert _invoke(file, task, session, 1, [(3, 40, 2, 0)]) == 0
    func, _, _, ret, origin, _ = ioc.INVOKE_ARG.unpack(task.read(task.BASE + 64, 24))
    assert (func, ret, origin) == (1, 0, 4)
    assert ioc.PARAM.unpack(task.read(task.BASE + 88, 32)) == (3, 42, 2, 0)
    assert _invoke(file, task, session + 1, 1, []) == -errno.EINVAL
    assert _invoke(file, task, session, 1, [(4, 0, 0, 0)]) == -errno.EINVAL
    assert _invoke(file, task, session, 1, [(5, 0, 10, 99)]) == -errno.EINVAL
    other = machine.device.open("/dev/tee0", task)
    assert _invoke(other, task, session, 1, []) == -errno.EINVAL, "a session of somebody else"
    other.close()
    file.close()
    assert not machine.tee.open_sessions, "closing the device closes its sessions"


def test_shared_memory_at_byte_level(machine: Machine) -> None:
    task = Process()
    file = machine.device.open("/dev/tee0", task)
    _, session, _ = _open(file, task, DEMO)
    task.write(task.BASE, ioc.SHM_ALLOC_DATA.pack(5000, 0, 0))
    assert file.ioctl(ioc.TEE_IOC_SHM_ALLOC, task.BASE, task) == 101
    size, _, number = ioc.SHM_ALLOC_DATA.unpack(task.read(task.BASE, 16))
    shm = task.shms[0]
    os.pwrite(shm.fd, b"shared", 4090)  # type: ignore[attr-defined]
    assert size == 5000
    echo = [(5, 4090, 6, number), (6, 0, 100, number)]
    assert _invoke(file, task, session, 2, echo) == 0
    assert os.pread(shm.fd, 6, 0) == b"shared"  # type: ignore[attr-defined]
    assert _invoke(file, task, session, 2, [(5, 4990, 11, number)]) == -errno.EINVAL, "beyond its end"
    shm.released()  # type: ignore[attr-defined]
    assert _invoke(file, task, session, 2, echo) == -errno.EINVAL, "gone"
    file.close()
    assert machine.device.shm_count() == 0


def test_registered_memory_is_copied_in_and_out(machine: Machine) -> None:
    task = Process()
    file = machine.device.open("/dev/tee0", task)
    _, session, _ = _open(file, task, DEMO)
    buffer = task.BASE + 0x8003
    task.write(buffer, b"mine".ljust(100, b"."))
    task.write(task.BASE, ioc.SHM_REGISTER_DATA.pack(buffer, 100, 0, 0))
    assert file.ioctl(ioc.TEE_IOC_SHM_REGISTER, task.BASE, task) > 0
    number = ioc.SHM_REGISTER_DATA.unpack(task.read(task.BASE, 24))[3]
    assert _invoke(file, task, session, 2, [(5, 0, 4, number), (6, 50, 50, number)]) == 0
    assert task.read(buffer + 50, 5) == b"mine."
    file.close()
    task.shms[0].released()  # type: ignore[attr-defined]
    assert machine.device.shm_count() == 0


def test_logins(machine: Machine) -> None:
    task = Process()
    file = machine.device.open("/dev/tee0", task)
    assert _open(file, task, DEMO, gp.TEE_LOGIN_USER)[::2] == (0, 0)
    assert _open(file, task, DEMO, gp.TEE_LOGIN_GROUP, (27).to_bytes(16, "little"))[::2] == (0, 0)
    assert _open(file, task, DEMO, gp.TEE_LOGIN_GROUP, (28).to_bytes(16, "little"))[0] == -errno.EPERM
    assert _open(file, task, DEMO, gp.TEE_LOGIN_APPLICATION)[0] == -errno.EINVAL
    assert _open(file, task, DEMO, gp.TEE_LOGIN_REE_KERNEL)[0] == -errno.EPERM
    file.close()


def test_one_supplicant_only(machine: Machine) -> None:
    with pytest.raises(OSError, match="already running"):
        machine.device.open("/dev/teepriv0", Process())
    with pytest.raises(OSError, match="not a TEE device"):
        machine.device.open("/dev/tee1", Process())


def test_static_tas_conform() -> None:
    class NoInvoke(PseudoTa):
        uuid, name, flags = bytes(16), "none.pta", BUILT_IN[0].flags

    verify_conformance(BUILT_IN)
    with pytest.raises(ValueError, match="has no invoke_command"):
        verify_conformance((NoInvoke,))
    with pytest.raises(ValueError, match="has the UUID of"):
        verify_conformance((BUILT_IN[0], BUILT_IN[0]))
