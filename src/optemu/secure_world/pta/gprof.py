"""Profiles of TAs: the call graph that a TA's runtime counts, and samples of its program counter.

Mirrors core/pta/gprof.c.
"""

from optemu.abi import gp
from optemu.abi import optee_rpc_cmd as rpc
from optemu.abi.optee_msg import OPTEE_MSG_ATTR_TYPE_RMEM_INPUT, OPTEE_MSG_ATTR_TYPE_VALUE_INOUT
from optemu.secure_world.core.gprof import SampleBuf
from optemu.secure_world.core.param import param_types
from optemu.secure_world.core.pseudo_ta import PTA_DEFAULT_FLAGS, PseudoTa, PtaCall, PtaCommand, PtaParam
from optemu.secure_world.core.session import Identity, Session
from optemu.secure_world.core.thread import RpcParam, Thread
from optemu.secure_world.pta.caller import calling_user_ta

PTA_GPROF_SEND = 0
PTA_GPROF_START_PC_SAMPLING = 1
PTA_GPROF_STOP_PC_SAMPLING = 2

_UUID_SIZE = 16
_IN, _OUT, _INOUT = gp.TEE_PARAM_TYPE_VALUE_INPUT, gp.TEE_PARAM_TYPE_VALUE_OUTPUT, gp.TEE_PARAM_TYPE_VALUE_INOUT
_MEM_IN, _MEM_INOUT = gp.TEE_PARAM_TYPE_MEMREF_INPUT, gp.TEE_PARAM_TYPE_MEMREF_INOUT


def _send(pta: PseudoTa, call: PtaCall) -> int:
    """[inout] value: file, 0 for a new one. [in] memref: a piece of the profile."""
    file, data, *_ = call.params
    thread = call.thread
    uuid = calling_user_ta(thread, pta.name).uuid
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


def _caller(call: PtaCall) -> Session:
    """ts_get_calling_session."""
    session = call.thread.session
    assert session is not None
    return session


def _start_pc_sampling(pta: PseudoTa, call: PtaCall) -> int:
    """[inout] memref: counters of 16 bits. [in] value: address of the code for the first of them, scale."""
    buffer, where, *_ = call.params
    caller = _caller(call)
    if caller.sbuf is not None:
        return gp.TEE_ERROR_BAD_STATE
    caller.sbuf = SampleBuf(buffer.buffer or memoryview(bytearray()), where.a, where.b)
    return gp.TEE_SUCCESS


def _stop_pc_sampling(pta: PseudoTa, call: PtaCall) -> int:
    """[out] value: samples in a second."""
    caller = _caller(call)
    if caller.sbuf is None:
        return gp.TEE_ERROR_BAD_STATE
    call.params[0].a = caller.sbuf.rate
    caller.sbuf = None
    return gp.TEE_SUCCESS


class GprofPta(PseudoTa):
    """gprof: for user TAs only."""

    uuid = gp.uuid_octets("2f6e0d48-c574-426d-824e-40198cde5cac")
    name = "gprof"
    flags = PTA_DEFAULT_FLAGS
    commands = (
        PtaCommand(PTA_GPROF_SEND, "SEND", param_types(_INOUT, _MEM_IN), _send),
        PtaCommand(PTA_GPROF_START_PC_SAMPLING, "START_PC_SAMPLING", param_types(_MEM_INOUT, _IN), _start_pc_sampling),
        PtaCommand(PTA_GPROF_STOP_PC_SAMPLING, "STOP_PC_SAMPLING", param_types(_OUT), _stop_pc_sampling),
    )

    def open_session(self, thread: Thread, client: Identity, types: int, params: list[PtaParam]) -> None:
        calling_user_ta(thread, self.name)
