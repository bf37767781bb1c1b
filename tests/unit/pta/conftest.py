"""Static TAs on a machine of their own, called through the Python libteec, and as the kernel's drivers call them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from pta_kit import Kernel, Script, result

from optemu.board.config import Config
from optemu.machine import Machine
from optemu.normal_world.libteec import Context, Session
from optemu.secure_world.core.thread import Thread


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


@pytest.fixture
def script_machine(config: Config) -> Iterator[Machine]:
    """A machine with the Script TA only; at its end no shared memory is left over."""
    with Machine(config, pseudo_tas=(Script,)) as m:
        yield m
        assert m.tee.threads.busy == 0
        assert len(m.tee.shm) == len(m.optee._arg_pages)


@pytest.fixture
def run(session: Callable[[bytes], Session]) -> Callable[[Callable[[Thread], object]], int]:
    """``run(function)`` calls it in the secure world, with its thread: TEE_Result. ``machine`` has the Script TA."""
    pta = session(Script.uuid)

    def run_one(function: Callable[[Thread], object]) -> int:
        Script.script = staticmethod(function)
        return result(pta.invoke, 0)

    return run_one
