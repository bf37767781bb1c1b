"""A TA that computes for long is interrupted at each time slice, and goes on as if nothing had happened."""

import threading
from pathlib import Path
from uuid import UUID

import pytest
from tas.constants import PROBE, PROBE_UUID, QUIET, QUIET_UUID

from optemu.abi.optee_smc import OPTEE_SMC_RETURN_RPC_FOREIGN_INTR
from optemu.board.config import Config
from optemu.machine import Machine
from optemu.normal_world.libteec import Context, TeecError, TempMemref, Value

ROUNDS = 60_000_000
SEED = 0x2545F491


def xorshift32(rounds: int, x: int) -> int:
    for _ in range(rounds):
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
    return x


def interrupts_of(machine: Machine) -> list[int]:
    """Counts, from now on, how often the secure world has left for a foreign interrupt."""
    count = [0]
    smc = machine.optee.invoke_fn

    def counting(*regs: int) -> tuple[int, ...]:
        result = smc(*regs)
        count[0] += result[0] == OPTEE_SMC_RETURN_RPC_FOREIGN_INTR
        return result

    machine.optee.invoke_fn = counting
    return count


def test_the_result_is_that_of_an_uninterrupted_run(machine: Machine, context: Context) -> None:
    interrupts = interrupts_of(machine)
    with context.OpenSession(UUID(QUIET_UUID)) as session:
        short = Value.inout(100_000, SEED)
        session.invoke(QUIET["QUIET_CMD_WORK"], short)
        assert short.b == xorshift32(100_000, SEED)
        # Two halves in one call or in two: the same, wherever the interrupts fell.
        whole, half = Value.inout(ROUNDS, SEED), Value.inout(ROUNDS // 2, SEED)
        session.invoke(QUIET["QUIET_CMD_WORK"], whole)
        session.invoke(QUIET["QUIET_CMD_WORK"], half)
        half.a = ROUNDS // 2
        session.invoke(QUIET["QUIET_CMD_WORK"], half)
    assert whole.b == half.b
    assert interrupts[0] > 0


def test_an_endless_ta_starves_nobody(built: Path) -> None:
    with (
        Machine(Config(threads=2), ta_dirs=[built]) as machine,
        machine.connect() as context,
        machine.connect() as other,
    ):
        interrupts = interrupts_of(machine)
        endless = context.OpenSession(UUID(PROBE_UUID))

        def call() -> None:
            with pytest.raises(TeecError):
                endless.invoke(PROBE["PROBE_CMD_LOOP"])

        thread = threading.Thread(target=call)
        thread.start()
        while not interrupts[0]:
            with other.OpenSession(UUID(QUIET_UUID)) as session:
                value = Value.inout(1)
                session.invoke(QUIET["QUIET_CMD_INC"], value)
                assert value.a == 2
        assert machine.tee.threads.busy == 1
        machine.abandon_calls()
        thread.join()


def test_interrupts_inside_a_ta_that_another_one_called(machine: Machine, context: Context) -> None:
    interrupts = interrupts_of(machine)
    with context.OpenSession(UUID(PROBE_UUID)) as session:
        request = UUID(QUIET_UUID).bytes + QUIET["QUIET_CMD_WORK"].to_bytes(4, "little")
        stage, value = Value.output(), Value.inout(ROUNDS, SEED)
        session.invoke(PROBE["PROBE_CMD_CALL_TA"], TempMemref.input(request), value, None, stage)
    assert stage.a == 3
    assert interrupts[0] > 0
