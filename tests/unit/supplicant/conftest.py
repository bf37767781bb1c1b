"""A supplicant on a driver of bytes, with a state directory of its own."""

import pytest
from fake_supp import FakeSupp

from optemu.normal_world.device import EmulatedDevice
from optemu.normal_world.supplicant import Supplicant


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def supp(state, tmp_path):
    """The driver's side: ``call`` makes a request and waits for its answer."""
    driver = FakeSupp()
    supplicant = Supplicant(
        lambda: EmulatedDevice(driver, "/dev/teepriv0"), [], state=state, plugin_dir=tmp_path / "plugins"
    )
    supplicant.start()
    driver.supplicant = supplicant
    yield driver
    supplicant.stop()
    assert driver.live() == []
