"""Profiles of TAs. Mirrors core/pta/gprof.c.

The call graph that a TA's runtime counts is sent for real. Sampling of its program counter is not there: a board
samples when an interrupt of the normal world arrives at EL0, and our engine has no exact counter to show then.
A runtime that cannot sample says so and goes on.
"""

import logging

from optemu.abi import gp
from optemu.abi import optee_rpc_cmd as rpc
from optemu.abi.optee_msg import OPTEE_MSG_ATTR_TYPE_RMEM_INPUT, OPTEE_MSG_ATTR_TYPE_VALUE_INOUT
from optemu.secure_world.core.param import Value, param_types
from optemu.secure_world.core.pseudo_ta import PTA_DEFAULT_FLAGS, PseudoTa, PtaMemref, PtaParam
from optemu.secure_world.core.session import Identity
from optemu.secure_world.core.thread import RpcParam, Thread
from optemu.secure_world.pta.caller import calling_user_ta

log = logging.getLogger("optemu.core")

PTA_GPROF_SEND = 0
PTA_GPROF_START_PC_SAMPLING = 1
PTA_GPROF_STOP_PC_SAMPLING = 2

_UUID_SIZE = 16
_TYPES = {
    PTA_GPROF_SEND: param_types(gp.TEE_PARAM_TYPE_VALUE_INOUT, gp.TEE_PARAM_TYPE_MEMREF_INPUT),
    PTA_GPROF_START_PC_SAMPLING: param_types(gp.TEE_PARAM_TYPE_MEMREF_INOUT, gp.TEE_PARAM_TYPE_VALUE_INPUT),
    PTA_GPROF_STOP_PC_SAMPLING: param_types(gp.TEE_PARAM_TYPE_VALUE_OUTPUT),
}


class GprofPta(PseudoTa):
    """gprof: for user TAs only."""

    uuid = gp.uuid_octets("2f6e0d48-c574-426d-824e-40198cde5cac")
    name = "gprof"
    flags = PTA_DEFAULT_FLAGS

    def open_session(self, thread: Thread, client: Identity, types: int, params: list[PtaParam]) -> None:
        calling_user_ta(thread, self.name)

    def invoke_command(
        self, thread: Thread, session: object, cmd: int, types: int, params: list[PtaParam]
    ) -> int | None:
        if cmd not in _TYPES:
            return gp.TEE_ERROR_NOT_IMPLEMENTED
        if types != _TYPES[cmd]:
            return gp.TEE_ERROR_BAD_PARAMETERS
        if cmd == PTA_GPROF_SEND:
            return _send(thread, calling_user_ta(thread, self.name).uuid, params)
        if cmd == PTA_GPROF_STOP_PC_SAMPLING:
            return gp.TEE_ERROR_BAD_STATE
        log.info("gprof: the program counter is not sampled; the call graph is")
        return gp.TEE_ERROR_NOT_SUPPORTED


def _send(thread: Thread, uuid: bytes, params: list[PtaParam]) -> int:
    """[inout] value: file, 0 for a new one. [in] memref: a piece of the profile."""
    file, data = params[:2]
    assert isinstance(file, Value)
    assert isinstance(data, PtaMemref)
    content = gp.uuid_to_memory(uuid) + data.read()
    mobj = thread.rpc_alloc(len(content))
    try:
        mobj.write(0, content)
        number = RpcParam(OPTEE_MSG_ATTR_TYPE_VALUE_INOUT, file.a)
        who = RpcParam(OPTEE_MSG_ATTR_TYPE_RMEM_INPUT, 0, _UUID_SIZE, mobj=mobj)
        what = RpcParam(OPTEE_MSG_ATTR_TYPE_RMEM_INPUT, _UUID_SIZE, data.size, mobj=mobj)
        ret = thread.rpc_cmd(rpc.OPTEE_RPC_CMD_GPROF, [number, who, what])
    finally:
        thread.rpc_free_mobj(mobj)
    if ret == gp.TEE_SUCCESS:
        file.a = number.a & 0xFFFFFFFF
    return ret
