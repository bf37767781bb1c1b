"""A small static TA to read, to copy, and to test with: it adds, echoes and remembers."""

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.core.param import Value, param_types
from optemu.secure_world.core.pseudo_ta import PTA_DEFAULT_FLAGS, PseudoTa, PtaMemref, PtaParam
from optemu.secure_world.core.session import Identity
from optemu.secure_world.core.thread import Thread

DEMO_CMD_NOP = 0
DEMO_CMD_ADD = 1
DEMO_CMD_ECHO = 2
DEMO_CMD_COUNT = 3
DEMO_CMD_FAIL = 4


class DemoPta(PseudoTa):
    """demo.pta, commands: 0 nothing; 1 a += b; 2 copy input to output; 3 calls in this session; 4 fail with a."""

    uuid = gp.uuid_octets("e3a1d2c0-5b0f-4f0c-9d3e-6f7074656d75")
    name = "demo.pta"
    flags = PTA_DEFAULT_FLAGS

    def open_session(self, thread: Thread, client: Identity, types: int, params: list[PtaParam]) -> list[int]:
        return [0]

    def invoke_command(
        self, thread: Thread, session: object, cmd: int, types: int, params: list[PtaParam]
    ) -> int | None:
        assert isinstance(session, list)
        session[0] += 1
        match cmd, params:
            case 0, _:
                return None
            case 1, [Value() as value, *_] if types == param_types(gp.TEE_PARAM_TYPE_VALUE_INOUT):
                value.a = value.a + value.b & 0xFFFFFFFF
            case 2, [PtaMemref() as source, PtaMemref() as target, *_]:
                _echo(source, target)
            case 3, [Value() as value, *_]:
                value.a = session[0]
            case 4, [Value() as value, *_]:
                raise TeeError(value.a & 0xFFFFFFFF, "asked to fail")
            case _:
                return gp.TEE_ERROR_BAD_PARAMETERS
        return None


def _echo(source: PtaMemref, target: PtaMemref) -> None:
    room, target.size = target.size, source.size
    if room < source.size:
        raise TeeError(gp.TEE_ERROR_SHORT_BUFFER)
    if source.buffer is not None and target.buffer is not None:
        target.buffer[: source.size] = source.buffer
