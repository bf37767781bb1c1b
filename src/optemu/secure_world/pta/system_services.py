"""The commands of system.pta that do not concern the TA's address space. Mirrors core/pta/system.c.

Entropy, keys, the TPM event log, and the supplicant's plugins (core/tee/tee_supp_plugin_rpc.c).
"""

import struct
from collections.abc import Callable

from optemu.abi import gp
from optemu.abi import optee_rpc_cmd as rpc
from optemu.abi.optee_msg import (
    OPTEE_MSG_ATTR_TYPE_RMEM_INOUT,
    OPTEE_MSG_ATTR_TYPE_VALUE_INOUT,
    OPTEE_MSG_ATTR_TYPE_VALUE_INPUT,
)
from optemu.errors import TeeError
from optemu.secure_world.core.param import Value, param_types
from optemu.secure_world.core.pseudo_ta import PtaMemref, PtaParam
from optemu.secure_world.core.thread import RpcParam, Thread
from optemu.secure_world.core.user_ta import UserTaCtx
from optemu.secure_world.crypto.huk_subkey import HUK_SUBKEY_UNIQUE_TA, huk_subkey_derive

PTA_SYSTEM_ADD_RNG_ENTROPY = 0
PTA_SYSTEM_DERIVE_TA_UNIQUE_KEY = 1
PTA_SYSTEM_GET_TPM_EVENT_LOG = 12
PTA_SYSTEM_SUPP_PLUGIN_INVOKE = 13

TA_DERIVED_KEY_MIN_SIZE = 16
TA_DERIVED_KEY_MAX_SIZE = 32
TA_DERIVED_EXTRA_DATA_MAX_SIZE = 1024

_UUID_SIZE = 16
_WORDS = struct.Struct("<4I")


def _add_rng_entropy(thread: Thread, caller: UserTaCtx, types: int, params: list[PtaParam]) -> int:
    """[in] memref: bytes for the random generator."""
    if types != param_types(gp.TEE_PARAM_TYPE_MEMREF_INPUT):
        return gp.TEE_ERROR_BAD_PARAMETERS
    data = params[0]
    assert isinstance(data, PtaMemref)
    if not data.size or data.buffer is None:
        return gp.TEE_ERROR_BAD_PARAMETERS
    caller.tee.board.entropy.add(data.read())
    return gp.TEE_SUCCESS


def _derive_ta_unique_key(thread: Thread, caller: UserTaCtx, types: int, params: list[PtaParam]) -> int:
    """[in] memref: extra data. [out] memref: a key of this device, this TA and that data; in secure memory only."""
    if types != param_types(gp.TEE_PARAM_TYPE_MEMREF_INPUT, gp.TEE_PARAM_TYPE_MEMREF_OUTPUT):
        return gp.TEE_ERROR_BAD_PARAMETERS
    extra, key = params[:2]
    assert isinstance(extra, PtaMemref)
    assert isinstance(key, PtaMemref)
    fits = TA_DERIVED_KEY_MIN_SIZE <= key.size <= TA_DERIVED_KEY_MAX_SIZE
    if extra.size > TA_DERIVED_EXTRA_DATA_MAX_SIZE or not fits:
        return gp.TEE_ERROR_BAD_PARAMETERS
    if key.buffer is None or not key.secure:
        raise TeeError(gp.TEE_ERROR_SECURITY, "a derived key would lie in non-secure memory")
    huk = caller.tee.board.config.huk
    const_data = gp.uuid_to_memory(caller.uuid) + extra.read()
    key.buffer[:] = huk_subkey_derive(huk, HUK_SUBKEY_UNIQUE_TA, key.size, const_data)
    return gp.TEE_SUCCESS


def _get_tpm_event_log(thread: Thread, caller: UserTaCtx, types: int, params: list[PtaParam]) -> int:
    """[out] memref: what the firmware measured. Without a log, as where upstream is built without it."""
    if types != param_types(gp.TEE_PARAM_TYPE_MEMREF_OUTPUT):
        return gp.TEE_ERROR_BAD_PARAMETERS
    out = params[0]
    assert isinstance(out, PtaMemref)
    log = caller.tee.board.tpm_event_log
    if log is None:
        return gp.TEE_ERROR_NOT_SUPPORTED
    if out.buffer is None:
        out.size = len(log)
        return gp.TEE_ERROR_BAD_PARAMETERS
    return out.give(log)


def _supp_plugin_invoke(thread: Thread, caller: UserTaCtx, types: int, params: list[PtaParam]) -> int:
    """[in] memref: TEE_UUID; value: command, sub-command. [inout] memref: data. [out] value: bytes of it written."""
    wanted = (
        gp.TEE_PARAM_TYPE_MEMREF_INPUT,
        gp.TEE_PARAM_TYPE_VALUE_INPUT,
        gp.TEE_PARAM_TYPE_MEMREF_INOUT,
        gp.TEE_PARAM_TYPE_VALUE_OUTPUT,
    )
    if types != param_types(*wanted):
        return gp.TEE_ERROR_BAD_PARAMETERS
    uuid, cmd, data, written = params
    assert isinstance(uuid, PtaMemref)
    assert isinstance(cmd, Value)
    assert isinstance(data, PtaMemref)
    assert isinstance(written, Value)
    if uuid.size != _UUID_SIZE:
        return gp.TEE_ERROR_BAD_PARAMETERS
    plugin = gp.uuid_from_memory(uuid.read())
    ret, written.a = tee_invoke_supp_plugin_rpc(thread, plugin, cmd.a, cmd.b, data.buffer)
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


SERVICES: dict[int, Callable[[Thread, UserTaCtx, int, list[PtaParam]], int]] = {
    PTA_SYSTEM_ADD_RNG_ENTROPY: _add_rng_entropy,
    PTA_SYSTEM_DERIVE_TA_UNIQUE_KEY: _derive_ta_unique_key,
    PTA_SYSTEM_GET_TPM_EVENT_LOG: _get_tpm_event_log,
    PTA_SYSTEM_SUPP_PLUGIN_INVOKE: _supp_plugin_invoke,
}
