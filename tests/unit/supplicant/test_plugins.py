"""OPTEE_RPC_CMD_SUPP_PLUGIN at byte level: real shared libraries, good and bad, through upstream's plugin ABI."""

import struct

import pytest
from fake_supp import FakeSupp
from plugin_sources import UUID, compile_plugin

from optemu.abi import gp
from optemu.abi import optee_rpc_cmd as rpc
from optemu.normal_world.device import EmulatedDevice
from optemu.normal_world.supplicant import Supplicant
from optemu.normal_world.supplicant.plugins import Plugins

IN, INOUT, MEM_INOUT = 1, 3, 7
NO_SHM = (1 << 64) - 1
OK, BAD = gp.TEE_SUCCESS, gp.TEE_ERROR_BAD_PARAMETERS
WORDS = struct.unpack("<4I", gp.uuid_octets(UUID))


@pytest.fixture(scope="module")
def plugin_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("plugins")
    for name, source in (("a", "test"), ("b", "no_method"), ("c", "no_invoke"), ("d", "bad_init")):
        compile_plugin(source, directory / f"{name}.plugin")
    (directory / "e.plugin").write_bytes(b"no library")
    return directory


@pytest.fixture
def supp(plugin_dir):
    driver = FakeSupp()
    supplicant = Supplicant(lambda: EmulatedDevice(driver, "/dev/teepriv0"), [], plugin_dir=plugin_dir)
    supplicant.start()
    driver.supplicant = supplicant
    yield driver
    supplicant.stop()
    assert driver.live() == []


def invoke(supp, cmd, sub_cmd=0, data=None, words=WORDS):
    """(ret, size told, memory after)."""
    shm = supp.shm(data) if data else 0
    memory = (MEM_INOUT, 0, len(data), shm) if data else (MEM_INOUT, 0, 0, NO_SHM)
    ret, params = supp.call(
        rpc.OPTEE_RPC_CMD_SUPP_PLUGIN,
        (IN, 0, words[0], words[1]),
        (IN, words[2], words[3], cmd),
        (INOUT, sub_cmd, 0, 0),
        memory,
    )
    return ret, params[2][2], supp.read(shm, 0, len(data)) if data else b""


def test_the_good_one_is_called_and_the_bad_ones_are_named(supp, caplog):
    assert len(supp.supplicant.plugins) == 1
    assert invoke(supp, 0) == (OK, 0, b"")
    assert invoke(supp, 1, ord("+"), struct.pack("<II", 5, 7)) == (OK, 4, struct.pack("<II", 12, 7))
    assert invoke(supp, 1, ord("-"), struct.pack("<II", 7, 5)) == (OK, 4, struct.pack("<II", 2, 5))
    assert invoke(supp, 2, 0, bytes(range(6))) == (OK, 1, b"\x0f\1\2\3\4\5")
    assert invoke(supp, 3, 0, bytes(18)) == (OK, 18, b"Array from plugin\0")
    assert invoke(supp, 3, 0, bytes(17)) == (gp.TEE_ERROR_GENERIC, 0, bytes(17))
    assert invoke(supp, 4, 0xFFFF000D)[0] == gp.TEE_ERROR_BUSY
    assert invoke(supp, 5, 0xFFFFFFFF, b"xy") == (OK, 0xFFFFFFFF, b"xy")
    assert invoke(supp, 99)[0] == gp.TEE_ERROR_NOT_SUPPORTED


def test_why_plugins_are_left_out(plugin_dir, caplog):
    supplicant = Supplicant(lambda: EmulatedDevice(FakeSupp(), "/dev/teepriv0"), [], plugin_dir=plugin_dir)
    supplicant.plugins.load_all()
    said = {record.args[0].name: str(record.args[1]) for record in caplog.records}
    assert sorted(said) == ["b.plugin", "c.plugin", "d.plugin", "e.plugin"]
    assert "plugin_method" in said["b.plugin"]
    assert "no invoke" in said["c.plugin"]
    assert "TEE_ERROR_OUT_OF_MEMORY" in said["d.plugin"]


def test_a_plugin_that_is_not_there(supp):
    assert invoke(supp, 0, words=(1, 2, 3, 4))[0] == gp.TEE_ERROR_ITEM_NOT_FOUND


def test_malformed_requests(supp):
    head = [(IN, 0, WORDS[0], WORDS[1]), (IN, WORDS[2], WORDS[3], 0), (INOUT, 0, 0, 0)]
    for params in (
        [],
        head,
        [*head, (5, 0, 4, NO_SHM)],
        [*head, (MEM_INOUT, 0, 4, NO_SHM)],
        [(INOUT, 0, 0, 0), *head[1:], (MEM_INOUT, 0, 0, NO_SHM)],
    ):
        assert supp.call(rpc.OPTEE_RPC_CMD_SUPP_PLUGIN, *params) == (BAD, params)
    other = [(IN, 1, WORDS[0], WORDS[1]), *head[1:], (MEM_INOUT, 0, 0, NO_SHM)]
    assert supp.call(rpc.OPTEE_RPC_CMD_SUPP_PLUGIN, *other) == (gp.TEE_ERROR_NOT_SUPPORTED, other)


def test_no_directory_is_no_error(tmp_path, caplog):
    driver = FakeSupp()
    supplicant = Supplicant(lambda: EmulatedDevice(driver, "/dev/teepriv0"), [], plugin_dir=tmp_path / "none")
    supplicant.start()
    driver.supplicant = supplicant
    assert invoke(driver, 0)[0] == gp.TEE_ERROR_ITEM_NOT_FOUND
    supplicant.stop()
    assert str(tmp_path / "none") in caplog.text


def test_what_is_no_library_is_named_once(tmp_path, caplog):
    (tmp_path / "x.plugin").write_text("text")
    Plugins(tmp_path).load_all()
    [record] = caplog.records
    assert record.getMessage() == f"plugin {tmp_path / 'x.plugin'} is left out: file too short"
