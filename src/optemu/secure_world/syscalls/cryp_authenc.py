"""Authenticated encryption. Mirrors syscall_authenc_* of core/tee/tee_svc_cryp.c."""

from typing import TYPE_CHECKING

from optemu.abi import cryp, gp
from optemu.errors import TeeError
from optemu.secure_world.core.tee_cryp_state import TeeCrypState
from optemu.secure_world.syscalls.cryp_state import bb_memdup_user, secret_key

if TYPE_CHECKING:
    from optemu.secure_world.core.user_ta import UserTaCtx

_AE = cryp.TEE_OPERATION_AE


def syscall_authenc_init(
    ta: "UserTaCtx", state: int, nonce: int, nonce_len: int, tag_len: int, aad_len: int, payload_len: int
) -> int:
    cs = ta.cryp_states.of(state)
    key = secret_key(ta, cs.key1)
    vector = bb_memdup_user(ta, nonce, nonce_len)
    if cs.alg.op_class != _AE:
        # Upstream takes the context of any operation that has a key for one of this class.
        raise TeeError(gp.TEE_ERROR_BAD_STATE, f"{cs.alg.name} is no authenticated encryption")
    assert cs.factory is not None
    cs.ctx = cs.factory(cs.mode, key, vector, tag_len, aad_len, payload_len)
    cs.initialized = True
    return gp.TEE_SUCCESS


def _running(ta: "UserTaCtx", state: int, mode: int | None = None) -> TeeCrypState:
    cs = ta.cryp_states.of(state)
    if not cs.initialized:
        raise TeeError(gp.TEE_ERROR_BAD_STATE, "the operation is not initialized")
    if mode is not None and cs.mode != mode:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"not in mode {cs.mode}")
    if cs.alg.op_class != _AE:
        raise TeeError(gp.TEE_ERROR_BAD_STATE, f"{cs.alg.name} is no authenticated encryption")
    if cs.ctx is None:
        raise TeeError(gp.TEE_ERROR_BAD_STATE, "the operation has ended: init it again")
    return cs


def syscall_authenc_update_aad(ta: "UserTaCtx", state: int, aad: int, aad_len: int) -> int:
    data = ta.space.source(aad, aad_len)
    _running(ta, state).ctx.update_aad(data)
    return gp.TEE_SUCCESS


def _copied(cs: TeeCrypState, data: memoryview | bytes) -> memoryview | bytes:
    """What is decrypted must be what the tag is checked of: nobody may change it in between."""
    return bytes(data) if cs.mode == cryp.TEE_MODE_DECRYPT else data


def syscall_authenc_update_payload(ta: "UserTaCtx", state: int, src: int, src_len: int, dst: int, dst_len: int) -> int:
    """Of a buffer that is too small the TA is told its size, not the one that is needed, as upstream does."""
    cs = _running(ta, state)
    space = ta.space
    data = space.source(src, src_len)
    room = space.get_user_u64(dst_len)
    out = space.target(dst, room)
    if room < src_len:
        return gp.TEE_ERROR_SHORT_BUFFER
    out[:src_len] = cs.ctx.update_payload(_copied(cs, data))
    space.put_user_u64(dst_len, src_len)
    return gp.TEE_SUCCESS


def syscall_authenc_enc_final(
    ta: "UserTaCtx", state: int, src: int, src_len: int, dst: int, dst_len: int, tag: int, tag_len: int
) -> int:
    cs = _running(ta, state, cryp.TEE_MODE_ENCRYPT)
    space = ta.space
    data = space.source(src, src_len)
    room = space.get_user_u64(dst_len) if dst_len else 0
    out = space.target(dst, room)
    if room < src_len:
        space.put_user_u64(tag_len, 0)
        return gp.TEE_ERROR_SHORT_BUFFER
    tag_room = space.get_user_u64(tag_len)
    tag_out = space.target(tag, tag_room)
    ctx = cs.ctx
    size = ctx.tag_len
    if tag_room < size:
        if cs.alg.number == cryp.TEE_ALG_AES_CCM:  # upstream's has done the data by then, and says what the tag needs
            out[:src_len] = ctx.update_payload(data)
            tag_room = size
        ret = gp.TEE_ERROR_SHORT_BUFFER
    else:
        cs.ctx = None
        out[:src_len], tag_out[:size] = ctx.enc_final(data)
        tag_room, ret = size, gp.TEE_SUCCESS
    if dst_len:
        space.put_user_u64(dst_len, src_len)
    space.put_user_u64(tag_len, tag_room)
    return ret


def syscall_authenc_dec_final(
    ta: "UserTaCtx", state: int, src: int, src_len: int, dst: int, dst_len: int, tag: int, tag_len: int
) -> int:
    """Nothing is written unless the tag is right (TEE_ERROR_MAC_INVALID); upstream writes the plaintext first."""
    cs = _running(ta, state, cryp.TEE_MODE_DECRYPT)
    space = ta.space
    data = space.source(src, src_len)
    room = space.get_user_u64(dst_len) if dst_len else 0
    out = space.target(dst, room)
    if room < src_len:
        return gp.TEE_ERROR_SHORT_BUFFER
    wanted = bytes(space.source(tag, tag_len))
    ctx, cs.ctx = cs.ctx, None
    out[:src_len] = ctx.dec_final(bytes(data), wanted)
    if dst_len:
        space.put_user_u64(dst_len, src_len)
    return gp.TEE_SUCCESS
