"""Symmetric ciphers. Mirrors syscall_cipher_* of core/tee/tee_svc_cryp.c and tee_do_cipher_update of tee_cryp_utl.c."""

from typing import TYPE_CHECKING, Final

from optemu.abi import cryp, gp
from optemu.errors import TeeError
from optemu.secure_world.core.tee_cryp_state import TeeCrypState
from optemu.secure_world.syscalls.cryp_state import bb_memdup_user, secret_key

if TYPE_CHECKING:
    from optemu.secure_world.core.user_ta import UserTaCtx

_MODES: Final = (cryp.TEE_MODE_ENCRYPT, cryp.TEE_MODE_DECRYPT)
_ANY_SIZE: Final = frozenset({cryp.TEE_ALG_AES_CTR, cryp.TEE_ALG_AES_XTS, cryp.TEE_ALG_AES_CTS, cryp.TEE_ALG_SM4_XTS})
"""Algorithms whose last data need not be whole blocks."""


def syscall_cipher_init(ta: "UserTaCtx", state: int, iv: int, iv_len: int) -> int:
    cs = ta.cryp_states.of(state)
    if cs.alg.op_class != cryp.TEE_OPERATION_CIPHER:
        raise TeeError(gp.TEE_ERROR_BAD_STATE, f"{cs.alg.name} is no cipher")
    key1 = secret_key(ta, cs.key1)
    vector = bb_memdup_user(ta, iv, iv_len)
    key2 = secret_key(ta, cs.key2) if cs.key2 else b""
    if cs.mode not in _MODES:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"a cipher has no mode {cs.mode}")
    assert cs.factory is not None
    cs.ctx = cs.factory(cs.mode, key1, key2, vector)
    cs.initialized = True
    return gp.TEE_SUCCESS


def _check_size(cs: TeeCrypState, size: int, last: bool) -> None:
    """What tee_do_cipher_update makes of data that are not whole blocks."""
    if cs.alg.op_class != cryp.TEE_OPERATION_CIPHER:
        # Upstream takes the context of any operation for a cipher's.
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"{cs.alg.name} is no cipher")
    if cs.ctx is None:
        raise TeeError(gp.TEE_ERROR_BAD_STATE, "the operation has ended: init it again")
    if not size % cs.ctx.block_size:
        return
    algo = cs.alg.number
    if not last and algo != cryp.TEE_ALG_AES_CTR:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"{size} bytes are not whole blocks of {cs.alg.name}")
    if algo == cryp.TEE_ALG_SM4_CTR:
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, f"{size} bytes are not whole blocks of {cs.alg.name}")
    if algo not in _ANY_SIZE:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"{size} bytes are not whole blocks of {cs.alg.name}")


def _update(ta: "UserTaCtx", state: int, last: bool, src: int, src_len: int, dst: int, dst_len: int) -> int:
    """tee_svc_cipher_update_helper: as many octets out as in, and their number at ``dst_len`` unless that is NULL."""
    cs = ta.cryp_states.of(state)
    if not cs.initialized:
        raise TeeError(gp.TEE_ERROR_BAD_STATE, "the operation is not initialized")
    space = ta.space
    data = space.source(src, src_len)
    room = space.get_user_u64(dst_len) if dst_len else 0
    out = space.target(dst, room)
    if room < src_len:
        if dst_len:
            space.put_user_u64(dst_len, src_len)
        return gp.TEE_ERROR_SHORT_BUFFER
    try:
        if src_len:
            _check_size(cs, src_len, last)
            out[:src_len] = cs.ctx.update(data, last)
    finally:
        if last and cs.alg.op_class == cryp.TEE_OPERATION_CIPHER:
            cs.ctx = None
    if dst_len:
        space.put_user_u64(dst_len, src_len)
    return gp.TEE_SUCCESS


def syscall_cipher_update(ta: "UserTaCtx", state: int, src: int, src_len: int, dst: int, dst_len: int) -> int:
    return _update(ta, state, False, src, src_len, dst, dst_len)


def syscall_cipher_final(ta: "UserTaCtx", state: int, src: int, src_len: int, dst: int, dst_len: int) -> int:
    """No data are fine: they end the operation."""
    return _update(ta, state, True, src, src_len, dst, dst_len)
