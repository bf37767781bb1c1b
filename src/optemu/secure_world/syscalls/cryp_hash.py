"""Digests and MACs. Mirrors syscall_hash_* of core/tee/tee_svc_cryp.c."""

from typing import TYPE_CHECKING

from optemu.abi import cryp, gp
from optemu.errors import TeeError
from optemu.secure_world.core.tee_cryp_state import TeeCrypState
from optemu.secure_world.syscalls.cryp_state import secret_key

if TYPE_CHECKING:
    from optemu.secure_world.core.user_ta import UserTaCtx

_DIGEST, _MAC = cryp.TEE_OPERATION_DIGEST, cryp.TEE_OPERATION_MAC


def syscall_hash_init(ta: "UserTaCtx", state: int, iv: int, iv_len: int) -> int:
    """As upstream it takes no initialization vector, whatever the TA says."""
    cs = ta.cryp_states.of(state)
    if cs.alg.op_class == _DIGEST:
        assert cs.factory is not None
        cs.ctx = cs.factory()
    elif cs.alg.op_class == _MAC:
        assert cs.factory is not None
        cs.ctx = cs.factory(secret_key(ta, cs.key1))
    else:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"{cs.alg.name} is no digest and no MAC")
    cs.initialized = True
    return gp.TEE_SUCCESS


def _running(ta: "UserTaCtx", state: int) -> TeeCrypState:
    cs = ta.cryp_states.of(state)
    if not cs.initialized:
        raise TeeError(gp.TEE_ERROR_BAD_STATE, "the operation is not initialized")
    if cs.alg.op_class not in (_DIGEST, _MAC):
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"{cs.alg.name} is no digest and no MAC")
    return cs


def _check_chunk(chunk: int, chunk_size: int) -> None:
    if not chunk and chunk_size:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, "data of some size at NULL")


def syscall_hash_update(ta: "UserTaCtx", state: int, chunk: int, chunk_size: int) -> int:
    _check_chunk(chunk, chunk_size)
    if not chunk_size:
        return gp.TEE_SUCCESS
    data = ta.space.source(chunk, chunk_size)
    _running(ta, state).ctx.update(data)
    return gp.TEE_SUCCESS


def syscall_hash_final(ta: "UserTaCtx", state: int, chunk: int, chunk_size: int, digest: int, digest_len: int) -> int:
    """The digest and its size; of an extendable-output function as many octets as there is room for, at each call."""
    _check_chunk(chunk, chunk_size)
    space = ta.space
    data = space.source(chunk, chunk_size)
    room = space.get_user_u64(digest_len)
    out = space.target(digest, room)
    cs = _running(ta, state)
    ctx = cs.ctx
    is_xof = cs.alg.op_class == _DIGEST and not ctx.digest_size
    size = room if is_xof else ctx.digest_size
    if room < size:
        space.put_user_u64(digest_len, size)
        return gp.TEE_ERROR_SHORT_BUFFER
    if chunk_size:
        ctx.update(data)
    if is_xof:
        out[:size] = ctx.final(size)
        return gp.TEE_SUCCESS
    out[:size] = ctx.final()
    space.put_user_u64(digest_len, size)
    return gp.TEE_SUCCESS
