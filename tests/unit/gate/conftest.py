import gc
import os
import threading
from collections.abc import Iterator

import pytest
from gate_fakes import ROADS, AnyGate, FakeDriver, wait_until

from optemu.normal_world.gate import support


def _threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("optemu-")}


def _descriptors() -> dict[str, str]:
    links = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            links[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue
    return links


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What reaches the driver must look the same to it and to the client, whichever road it took."""
    if "gate" in metafunc.fixturenames:
        only = metafunc.definition.get_closest_marker("gate_only")
        metafunc.parametrize("gate", ["gate"] if only else list(ROADS), indirect=True)


@pytest.fixture
def gate(driver: FakeDriver, request: pytest.FixtureRequest) -> Iterator[AnyGate]:
    """A gate that must leave nothing behind: no thread, descriptor, file or shared memory."""
    if request.param != "preload" and not support.check().ok:
        pytest.skip(support.check().reason)
    gc.collect()  # what other tests left holds descriptors until then
    before = _descriptors()
    gate: AnyGate = ROADS[request.param](driver)
    yield gate
    gate.stop()
    driver.interrupted.clear()  # the tasks in it hold descriptors
    driver.waiting.clear()
    assert not _threads()
    assert _descriptors() == before
    assert wait_until(lambda: not driver.files and not driver.memories), (driver.files, driver.memories)
    assert not driver.inside
