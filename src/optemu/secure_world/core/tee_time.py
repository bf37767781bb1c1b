"""Time in the secure world. Mirrors core/kernel/tee_time.c, tee_time_generic.c and tee_time_ree.c."""

from typing import TYPE_CHECKING

from optemu.abi import gp
from optemu.abi.optee_msg import OPTEE_MSG_ATTR_TYPE_VALUE_INPUT, OPTEE_MSG_ATTR_TYPE_VALUE_OUTPUT
from optemu.abi.optee_rpc_cmd import OPTEE_RPC_CMD_GET_TIME, OPTEE_RPC_CMD_SUSPEND
from optemu.errors import TeeError
from optemu.secure_world.core.thread import RpcParam

if TYPE_CHECKING:
    from optemu.board.board import Board
    from optemu.secure_world.core.thread import Thread

_MILLIS = 1000
_WRAP = _MILLIS << 32
SYS_TIME_PROTECTION_LEVEL = 1000
"""System time is the secure counter, which the normal world cannot set."""


class TeeTime:
    """The three clocks of the Internal Core API. Times are milliseconds."""

    def __init__(self, board: "Board") -> None:
        self._clock = board.clock
        self._ta_offsets: dict[bytes, int] = {}
        """TA UUID -> what to add to system time. Lost at power-off, as upstream's."""

    def system(self) -> int:
        """Since power-on."""
        return self._clock.counter_ns() // 1_000_000

    def ree(self, thread: "Thread") -> int:
        """The normal world's clock, asked by RPC."""
        answer = RpcParam(OPTEE_MSG_ATTR_TYPE_VALUE_OUTPUT)
        ret = thread.rpc_cmd(OPTEE_RPC_CMD_GET_TIME, [answer])
        if ret:
            raise TeeError(ret, "the normal world does not tell the time")
        return (answer.a & 0xFFFFFFFF) * _MILLIS + answer.b % 1_000_000_000 // 1_000_000

    def ta(self, uuid: bytes) -> tuple[int, bool]:
        """TA persistent time, and whether it ran out of 32 bits of seconds (it is then the wrapped time).

        TeeError(TEE_ERROR_TIME_NOT_SET) before the TA has set it.
        """
        offset = self._ta_offsets.get(uuid)
        if offset is None:
            raise TeeError(gp.TEE_ERROR_TIME_NOT_SET)
        millis = self.system() + offset
        return millis % _WRAP, not 0 <= millis < _WRAP

    def set_ta(self, uuid: bytes, millis: int) -> None:
        """From now on ``uuid``'s persistent time is ``millis``."""
        self._ta_offsets[uuid] = millis - self.system()

    def wait(self, thread: "Thread", millis: int) -> None:
        """tee_time_wait: sleep in the normal world."""
        thread.rpc_cmd(OPTEE_RPC_CMD_SUSPEND, [RpcParam(OPTEE_MSG_ATTR_TYPE_VALUE_INPUT, millis)])
