"""The commands of system.pta that do not concern the TA's address space. Mirrors core/pta/system.c.

Entropy, keys, the TPM event log, and the supplicant's plugins (core/tee/tee_supp_plugin_rpc.c).
"""

import struct

from optemu.abi import gp
from optemu.abi import optee_rpc_cmd as rpc
from optemu.abi.optee_msg import (
    OPTEE_MSG_ATTR_TYPE_RMEM_INOUT,
    OPTEE_MSG_ATTR_TYPE_VALUE_INOUT,
    OPTEE_MSG_ATTR_TYPE_VALUE_INPUT,
)
from optemu.errors import TeeError
from optemu.secure_world.core.param import param_types
from optemu.secure_world.core.pseudo_ta import PseudoTa, PtaCall, PtaCommand, PtaMemref
from optemu.secure_world.core.thread import RpcParam, Thread
from optemu.secure_world.crypto.huk_subkey import HUK_SUBKEY_UNIQUE_TA, huk_subkey_derive
from optemu.secure_world.pta.caller import calling_user_ta

PTA_SYSTEM_ADD_RNG_ENTROPY = 0
PTA_SYSTEM_DERIVE_TA_UNIQUE_KEY = 1
PTA_SYSTEM_GET_TPM_EVENT_LOG = 12
PTA_SYSTEM_SUPP_PLUGIN_INVOKE = 13

TA_DERIVED_KEY_MIN_SIZE = 16
TA_DERIVED_KEY_MAX_SIZE = 32
TA_DERIVED_EXTRA_DATA_MAX_SIZE = 1024

_UUID_SIZE = 16
_WORDS = struct.Struct("<4I")


def _add_rng_entropy(pta: PseudoTa, call: PtaCall) -> int:
    """[in] memref: bytes for the random generator."""
    data = call.params[0]
    if not data.size or data.buffer is None:
        return gp.TEE_ERROR_BAD_PARAMETERS
    pta.tee.board.entropy.add(data.read())
    return gp.TEE_SUCCESS


def _derive_ta_unique_key(pta: PseudoTa, call: PtaCall) -> int:
    """[in] memref: extra data. [out] memref: a key of this device, this TA and that data; in secure memory only."""
    extra, key, *_ = call.params
    fits = TA_DERIVED_KEY_MIN_SIZE <= key.size <= TA_DERIVED_KEY_MAX_SIZE
    if extra.size > TA_DERIVED_EXTRA_DATA_MAX_SIZE or not fits:
        return gp.TEE_ERROR_BAD_PARAMETERS
    if key.buffer is None or not key.secure:
        raise TeeError(gp.TEE_ERROR_SECURITY, "a derived key would lie in non-secure memory")
    huk = pta.tee.board.config.huk
    const_data = gp.uuid_to_memory(calling_user_ta(call.thread, pta.name).uuid) + extra.read()
    key.buffer[:] = huk_subkey_derive(huk, HUK_SUBKEY_UNIQUE_TA, key.size, const_data)
    return gp.TEE_SUCCESS


def _get_tpm_event_log(pta: PseudoTa, call: PtaCall) -> int:
    """[out] memref: what the firmware measured. Without a log, as where upstream is built without it."""
    out: PtaMemref = call.params[0]
    log = pta.tee.board.tpm_event_log
    if log is None:
        return gp.TEE_ERROR_NOT_SUPPORTED
    if out.buffer is None:
        out.size = len(log)
        return gp.TEE_ERROR_BAD_PARAMETERS
    return out.give(log)


def _supp_plugin_invoke(pta: PseudoTa, call: PtaCall) -> int:
    """[in] memref: TEE_UUID; value: command, sub-command. [inout] memref: data. [out] value: bytes of it written."""
    uuid, cmd, data, written = call.params
    if uuid.buffer is None or uuid.size != _UUID_SIZE:
        return gp.TEE_ERROR_BAD_PARAMETERS
    plugin = gp.uuid_from_memory(uuid.read())
    ret, written.a = tee_invoke_supp_plugin_rpc(call.thread, plugin, cmd.a, cmd.b, data.buffer)
    return ret


def tee_invoke_supp_plugin_rpc(
    thread: Thread, uuid: bytes, cmd: int, sub_cmd: int, data: memoryview | None
) -> tuple[int, int]:
    """Have a plugin work on ``data``, or on nothing: (TEE_Result, bytes it says it wrote, which may exceed it)."""
    size = len(data) if data is not None else 0
    if data is not None and not size:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, "data of no size for a plugin")
    words = _WORDS.unpack(uuid)
    value = OPTEE_MSG_ATTR_TYPE_VALUE_INPUT
    sub = RpcParam(OPTEE_MSG_ATTR_TYPE_VALUE_INOUT, sub_cmd)
    mobj = thread.rpc_alloc(size) if size else None
    try:
        if mobj is not None and data is not None:
            mobj.write(0, data)
        request = [
            RpcParam(value, rpc.OPTEE_RPC_SUPP_PLUGIN_INVOKE, words[0], words[1]),
            RpcParam(value, words[2], words[3], cmd),
            sub,
            RpcParam(OPTEE_MSG_ATTR_TYPE_RMEM_INOUT, 0, size, mobj=mobj),
        ]
        ret = thread.rpc_cmd(rpc.OPTEE_RPC_CMD_SUPP_PLUGIN, request)
        if mobj is not None and data is not None:
            done = min(sub.b, size)
            data[:done] = mobj.read(0, done)
    finally:
        if mobj is not None:
            thread.rpc_free_mobj(mobj)
    return ret, sub.b & 0xFFFFFFFF


_IN, _OUT = gp.TEE_PARAM_TYPE_VALUE_INPUT, gp.TEE_PARAM_TYPE_VALUE_OUTPUT
_MEM_IN, _MEM_OUT = gp.TEE_PARAM_TYPE_MEMREF_INPUT, gp.TEE_PARAM_TYPE_MEMREF_OUTPUT
_MEM_INOUT = gp.TEE_PARAM_TYPE_MEMREF_INOUT
SERVICES = (
    PtaCommand(PTA_SYSTEM_ADD_RNG_ENTROPY, "ADD_RNG_ENTROPY", param_types(_MEM_IN), _add_rng_entropy),
    PtaCommand(
        PTA_SYSTEM_DERIVE_TA_UNIQUE_KEY, "DERIVE_TA_UNIQUE_KEY", param_types(_MEM_IN, _MEM_OUT), _derive_ta_unique_key
    ),
    PtaCommand(PTA_SYSTEM_GET_TPM_EVENT_LOG, "GET_TPM_EVENT_LOG", param_types(_MEM_OUT), _get_tpm_event_log),
    PtaCommand(
        PTA_SYSTEM_SUPP_PLUGIN_INVOKE,
        "SUPP_PLUGIN_INVOKE",
        param_types(_MEM_IN, _IN, _MEM_INOUT, _OUT),
        _supp_plugin_invoke,
    ),
)
