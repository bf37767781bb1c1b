"""Static TAs on a machine of their own, called through the Python libteec, and as the kernel's drivers call them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from pta_kit import Kernel

from optemu.board.config import Config
from optemu.machine import Machine
from optemu.normal_world.libteec import Context, Session


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(state=tmp_path / "state", log_level="none")


@pytest.fixture
def machine(config: Config) -> Iterator[Machine]:
    with Machine(config) as m:
        yield m
        assert m.tee.threads.busy == 0


@pytest.fixture
def context(machine: Machine) -> Iterator[Context]:
    with machine.connect() as c:
        yield c


@pytest.fixture
def session(context: Context) -> Iterator[Callable[[bytes], Session]]:
    """``session(uuid)`` opens a session, closed at the end."""
    opened = []

    def open_one(uuid: bytes) -> Session:
        opened.append(context.OpenSession(UUID(bytes=uuid)))
        return opened[-1]

    yield open_one
    for s in opened:
        s.CloseSession()


@pytest.fixture
def kernel(machine: Machine) -> Callable[[bytes], Kernel]:
    return lambda uuid: Kernel(machine, uuid)
