"""Objects all the way: the REE file system in a secure thread, its RPCs, the driver, the supplicant, the disk."""

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from pta_kit import Script

from optemu.abi import gp
from optemu.board.config import Config
from optemu.machine import Machine
from optemu.secure_world.core.storage import Storage
from optemu.secure_world.core.thread import Thread
from optemu.secure_world.storage.tee_fs import FileOperations, Pobj

OWNER = bytes(range(16))
Run = Callable[[Callable[[Thread], object]], int]


@pytest.fixture
def machine(script_machine: Machine) -> Machine:
    return script_machine


def private(storage: Storage) -> FileOperations:
    fops = storage.file_ops(1)
    assert fops is not None
    return fops


def put(storage: Storage, thread: Thread, obj_id: bytes, data: bytes) -> None:
    fops = private(storage)
    with storage.ree(thread) as ree:
        fops.close(ree, fops.create(ree, Pobj(fops, OWNER, obj_id), True, b"", b"", data))


def get(storage: Storage, thread: Thread, obj_id: bytes) -> bytes:
    fops = private(storage)
    with storage.ree(thread) as ree:
        size, fh = fops.open(ree, Pobj(fops, OWNER, obj_id))
        try:
            return fops.read(ree, fh, 0, size)
        finally:
            fops.close(ree, fh)


def run_on(machine: Machine, function: Callable[[Thread], object]) -> None:
    """``function`` in the secure world of ``machine``."""
    with machine.connect() as context, context.OpenSession(UUID(bytes=Script.uuid)) as session:
        Script.script = staticmethod(function)
        session.invoke(0)


def test_objects_last(run: Run, machine: Machine, config: Config) -> None:
    contents = os.urandom(10_000)
    assert run(lambda thread: put(machine.tee.storage, thread, b"id", contents)) == gp.TEE_SUCCESS
    assert config.state is not None
    store = config.state / "tee"
    assert sorted(os.listdir(store)) == ["0", "dirf.db"]
    assert stat.S_IMODE(store.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in store.iterdir()} == {0o600}
    assert contents[:64] not in (store / "0").read_bytes()
    machine.power_off()
    seen = []
    with Machine(config, pseudo_tas=(Script,)) as again:
        run_on(again, lambda thread: seen.append(get(again.tee.storage, thread, b"id")))
    assert seen == [contents]


def test_without_a_state_they_last_for_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    seen = []
    with Machine(Config(log_level="none"), pseudo_tas=(Script,)) as machine:
        storage = machine.tee.storage
        run_on(machine, lambda thread: put(storage, thread, b"id", b"contents"))
        run_on(machine, lambda thread: seen.append(get(storage, thread, b"id")))
        [name] = os.listdir(tmp_path)
        assert sorted(os.listdir(tmp_path / name / "tee")) == ["0", "dirf.db"]
    assert seen == [b"contents"]
    assert os.listdir(tmp_path) == []


def test_threads_wait_for_each_other(machine: Machine) -> None:
    """Each client has a secure thread of its own; they are in the middle of RPCs when the others come."""
    storage, failures = machine.tee.storage, []

    def work(thread: Thread) -> None:
        obj_id = b"object %d" % thread.id
        for n in range(10):
            put(storage, thread, obj_id, b"%d" % n * 5000)
            if get(storage, thread, obj_id) != b"%d" % n * 5000:
                failures.append(obj_id)

    Script.script = staticmethod(work)

    def client() -> None:
        with machine.connect() as context, context.OpenSession(UUID(bytes=Script.uuid)) as session:
            session.invoke(0)

    clients = [threading.Thread(target=client) for _ in range(4)]
    for c in clients:
        c.start()
    for c in clients:
        c.join(60)
        assert not c.is_alive(), "a deadlock"
    assert not failures
