import gc
import os
import threading
from collections.abc import Iterator

import pytest
from gate_fakes import FakeDriver, wait_until

from optemu.normal_world.gate import support
from optemu.normal_world.gate.gate import Gate


def _threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("optemu-gate")}


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


@pytest.fixture
def gate(driver: FakeDriver) -> Iterator[Gate]:
    """A gate that must leave nothing behind: no thread, descriptor, file or shared memory."""
    reason = support.check().reason
    if reason:
        pytest.skip(reason)
    gc.collect()  # what other tests left holds descriptors until then
    before = _descriptors()
    gate = Gate(driver)
    yield gate
    gate.stop()
    driver.interrupted.clear()  # the tasks in it hold descriptors
    driver.waiting.clear()
    assert not _threads()
    assert _descriptors() == before
    assert wait_until(lambda: not driver.files and not driver.memories), (driver.files, driver.memories)
    assert not driver.inside
