"""A static TA in Python, in the core itself, and a client that calls it.

.venv/bin/python examples/static_ta/tally.py
"""

from uuid import UUID

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.machine import Machine
from optemu.normal_world.libteec import TeecError, Value
from optemu.secure_world.core.param import param_types
from optemu.secure_world.core.pseudo_ta import PseudoTa, PtaCall, PtaCommand, pseudo_ta

TALLY_UUID = "6f1c1c2e-3b5e-4c55-9a0a-5a2f0b8b7d10"
TALLY_CMD_ADD = 0
TALLY_CMD_TOTAL = 1
LIMIT = 100


def add(pta: PseudoTa, call: PtaCall) -> None:
    """p0 value_in: a more. TEE_ERROR_OVERFLOW beyond LIMIT."""
    total = call.session[0] + call.params[0].a
    if total > LIMIT:
        raise TeeError(gp.TEE_ERROR_OVERFLOW, f"{total} is more than {LIMIT}")
    call.session[0] = total


def total(pta: PseudoTa, call: PtaCall) -> None:
    """p0 value_out: a is the total of this session."""
    call.params[0].a = call.session[0]


@pseudo_ta(uuid=TALLY_UUID, name="tally.pta")
class Tally(PseudoTa):
    """Keeps a total for each session."""

    commands = (
        PtaCommand(TALLY_CMD_ADD, "ADD", param_types(gp.TEE_PARAM_TYPE_VALUE_INPUT), add),
        PtaCommand(TALLY_CMD_TOTAL, "TOTAL", param_types(gp.TEE_PARAM_TYPE_VALUE_OUTPUT), total),
    )

    def open_session(self, *_: object) -> list[int]:
        return [0]


def main() -> None:
    with Machine() as machine, machine.connect() as context, context.OpenSession(UUID(TALLY_UUID)) as session:
        for number in (40, 2):
            session.invoke(TALLY_CMD_ADD, Value.input(number))
        answer = Value.output()
        session.invoke(TALLY_CMD_TOTAL, answer)
        print(f"40 and 2 are {answer.a}")
        try:
            session.invoke(TALLY_CMD_ADD, Value.input(LIMIT))
        except TeecError as e:
            print(f"{LIMIT} more: {e}")


if __name__ == "__main__":
    main()
