"""How many instances of TAs there may be at a time: ``[tee] instances``."""

import logging
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from tas.constants import PROBE_UUID, QUIET_UUID

from optemu.board.config import Config
from optemu.machine import Machine
from optemu.normal_world.libteec import TEEC_ERROR_OUT_OF_MEMORY, TEEC_ORIGIN_TEE, Context, Session, TeecError

MOST = 3


@pytest.fixture
def machine(built: Path) -> Iterator[Machine]:
    with Machine(Config(instances=MOST), ta_dirs=[built]) as m:
        yield m


def fill(context: Context) -> list[Session]:
    return [context.OpenSession(UUID(PROBE_UUID)) for _ in range(MOST)]


def test_one_more_is_out_of_memory(context: Context, caplog: pytest.LogCaptureFixture) -> None:
    sessions = fill(context)
    for uuid in (PROBE_UUID, QUIET_UUID):
        with caplog.at_level(logging.ERROR, "optemu.core"), pytest.raises(TeecError) as caught:
            context.OpenSession(UUID(uuid))
        assert (caught.value.code, caught.value.origin) == (TEEC_ERROR_OUT_OF_MEMORY, TEEC_ORIGIN_TEE)
        assert "all 3 instances of TAs are in use; [tee] instances = 6 allows more" in caplog.text
    sessions.pop().CloseSession()
    sessions.append(context.OpenSession(UUID(QUIET_UUID)))
    for session in sessions:
        session.CloseSession()


def test_idle_instances_make_room(machine: Machine, context: Context) -> None:
    for session in fill(context):
        session.CloseSession()
    assert machine.tee.user_tas.idle_instances == MOST
    with context.OpenSession(UUID(QUIET_UUID)):
        assert machine.tee.user_tas.idle_instances == MOST - 1
    assert machine.tee.user_tas.idle_instances == MOST


def test_what_could_not_be_made_does_not_count(machine: Machine, context: Context) -> None:
    window = machine.board.memory._windows[True]
    with context.OpenSession(UUID(PROBE_UUID)):
        end, window.end = window.end, window.next
        for _ in range(MOST):
            with pytest.raises(TeecError):
                context.OpenSession(UUID(PROBE_UUID))
        window.end = end
    for session in fill(context):
        session.CloseSession()
