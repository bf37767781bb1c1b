"""RPMB all the way, on both roads: a secure thread, the driver or the supplicant, the device's file; its figures."""

import struct
from uuid import UUID

import pytest
from pta_kit import Script

from optemu.abi import gp
from optemu.abi import rpmb as abi
from optemu.abi.obj import TEE_STORAGE_PRIVATE_RPMB
from optemu.board.config import Config
from optemu.errors import TeeError
from optemu.machine import Machine
from optemu.normal_world.emmc.rpmb_device import CID
from optemu.normal_world.libteec import TempMemref, Value
from optemu.normal_world.libteec import constants as c
from optemu.secure_world.core.rpmb_rpc import RpmbRpc
from optemu.secure_world.pta.stats import STATS_CMD_ALLOC_STATS, StatsPta
from optemu.secure_world.storage.tee_fs import Pobj

TA = bytes(range(16))


@pytest.fixture
def config(tmp_path):
    return Config(state=tmp_path / "state", log_level="none", rpmb=True)


@pytest.fixture
def machine(script_machine):
    return script_machine


def put_and_get(machine, thread, name):
    fs = machine.tee.storage.file_ops(TEE_STORAGE_PRIVATE_RPMB)
    with machine.tee.storage.ree(thread) as ree:
        fs.create(ree, Pobj(fs, TA, name), True, b"", b"", b"data" * 200)
        size, fh = fs.open(ree, Pobj(fs, TA, name))
        assert fs.read(ree, fh, 0, size) == b"data" * 200
        return sorted(fs.objects(ree, TA))


def test_by_the_supplicant_and_then_by_the_kernel(run, machine, config):
    assert run(lambda thread: put_and_get(machine, thread, b"1")) == gp.TEE_SUCCESS
    fs = machine.tee.storage.file_ops(TEE_STORAGE_PRIVATE_RPMB)
    assert fs._rpmb._device.kernel is False, "the key is programmed by the supplicant's road"
    assert (config.state / "rpmb").stat().st_mode & 0o777 == 0o600
    machine.power_off()
    config.rpmb_write_key = False
    names = []
    with Machine(config, pseudo_tas=(Script,)) as again:
        Script.script = staticmethod(lambda thread: names.append(put_and_get(again, thread, b"2")))
        with again.connect() as context:
            context.OpenSession(UUID(bytes=Script.uuid)).invoke(0)
        fs = again.tee.storage.file_ops(TEE_STORAGE_PRIVATE_RPMB)
        assert fs._rpmb._device.kernel is True
    assert names == [[b"1", b"2"]]


def test_both_roads_lead_to_one_device(run, machine):
    answers = []

    def script(thread):
        frames = RpmbRpc(thread)
        answers.append(frames.dev_info())
        frames.probe_reset()
        answers.append(frames.probe_next())
        request = bytes(484) + b"n" * 16 + bytes(10) + b"\0\2"
        answers.append([frames.data_request(request, 1, kernel)[500:512] for kernel in (False, True)])
        for raw, count in ((bytes(512), 1), (request, 2), (request[:-1], 1)):
            for kernel in (False, True):
                with pytest.raises(TeeError):
                    frames.data_request(raw, count, kernel)
        with pytest.raises(TeeError) as caught:
            frames.probe_next()
        assert caught.value.code == gp.TEE_ERROR_ITEM_NOT_FOUND

    assert run(script) == gp.TEE_SUCCESS
    info = abi.RPMB_DEV_INFO.pack(CID, 2, 1, 0)
    not_programmed = struct.pack(">IHHHH", 0, 0, 0, 7, 0x200)
    assert answers == [info, info, [not_programmed, not_programmed]]


def test_figures(config):
    with Machine(config) as machine, machine.connect() as context:
        stats = context.OpenSession(UUID(bytes=StatsPta.uuid))
        out = bytearray(64)
        stats.invoke(STATS_CMD_ALLOC_STATS, Value.input(5), TempMemref(out, c.TEEC_MEMREF_TEMP_OUTPUT))
        desc, _, used, most, size, *rest = struct.unpack("<32sQ6I", out)
    assert (desc.rstrip(b"\0"), used, most, size, rest) == (b"RPMB secure storage", 0, 0, 1023 * 256, [0, 0, 0])
