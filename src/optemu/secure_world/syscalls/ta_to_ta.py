"""A TA that calls another. Mirrors the last third of core/tee/tee_svc.c."""

import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from optemu.abi import gp
from optemu.abi.utee import UTEE_PARAMS
from optemu.errors import TeeError
from optemu.secure_world.core.mobj import Mobj, Run
from optemu.secure_world.core.param import MEMREF_TYPES, Memref, TaParams, Value
from optemu.secure_world.core.pseudo_ta import PseudoTaCtx
from optemu.secure_world.core.session import Identity
from optemu.secure_world.core.vm import AddressSpace

if TYPE_CHECKING:
    from optemu.secure_world.core.user_ta import UserTaCtx

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_U64_PAIR = struct.Struct("<QQ")
_READ_WRITE = gp.TEE_MEMORY_ACCESS_READ | gp.TEE_MEMORY_ACCESS_WRITE | gp.TEE_MEMORY_ACCESS_ANY_OWNER


def _identity(ta: "UserTaCtx") -> Identity:
    return Identity(gp.TEE_LOGIN_TRUSTED_APP, ta.uuid)


def copy_params(ta: "UserTaCtx", params_va: int, to_pseudo: bool) -> TaParams:
    """tee_svc_copy_param: the caller's struct utee_params as parameters of the core.

    A user TA is never shown the caller's private memory (its runtime makes a shared copy where it must);
    a static TA, which is the core itself, borrows it.
    """
    if not params_va:
        return TaParams()
    space = ta.space
    if space.check_access_rights(_READ_WRITE, params_va, UTEE_PARAMS.size):
        raise TeeError(gp.TEE_ERROR_ACCESS_DENIED, f"struct utee_params at 0x{params_va:x} is not the TA's")
    types, *vals = UTEE_PARAMS.unpack(space.copy_from_user(params_va, UTEE_PARAMS.size))
    params = TaParams(types & 0xFFFF)
    for n in range(gp.TEE_NUM_PARAMS):
        kind = types >> (4 * n) & 0xF
        a, b = vals[2 * n], vals[2 * n + 1]
        if kind in (gp.TEE_PARAM_TYPE_VALUE_INPUT, gp.TEE_PARAM_TYPE_VALUE_INOUT):
            params.u[n] = Value(a & 0xFFFFFFFF, b & 0xFFFFFFFF)
        elif kind == gp.TEE_PARAM_TYPE_VALUE_OUTPUT:
            params.u[n] = Value()
        elif kind in MEMREF_TYPES:
            params.u[n] = _memref(space, kind, a, b, to_pseudo)
    return params


def _memref(space: AddressSpace, kind: int, va: int, size: int, to_pseudo: bool) -> Memref:
    if not va:
        if size:
            raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, "a NULL memory reference of some size")
        return Memref(None, 0, 0)
    rights = gp.TEE_MEMORY_ACCESS_READ | gp.TEE_MEMORY_ACCESS_ANY_OWNER
    if kind != gp.TEE_PARAM_TYPE_MEMREF_INPUT:
        rights |= gp.TEE_MEMORY_ACCESS_WRITE
    if space.check_access_rights(rights, va, size):
        raise TeeError(gp.TEE_ERROR_ACCESS_DENIED, f"0x{size:x} bytes at 0x{va:x} are not the TA's")
    if not size:
        return Memref(None, 0, 0)
    if not to_pseudo and space.is_private(va, size):
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, "a TA cannot show its private memory to another")
    return Memref(_mobj(space, va, size), 0, size)


def _mobj(space: AddressSpace, va: int, size: int) -> Mobj:
    """The memory behind a user address (vm_buf_to_mboj_offs, mobj_virt), for the length of one call."""
    runs = []
    at, end = va & -4096, va + size
    while at < end:
        r = space.find(at)
        if r is None:
            raise TeeError(gp.TEE_ERROR_ACCESS_DENIED)
        take = min(-(-end // 4096) * 4096, r.end) - at
        runs.append(Run(r.region, r.pa + at - r.va, take))
        at += take
    return Mobj(tuple(runs), va & 4095, size, 0)


def update_out_params(ta: "UserTaCtx", params: TaParams, params_va: int) -> None:
    """tee_svc_update_out_param: outputs and sizes into the caller's struct utee_params."""
    for n, p in enumerate(params.u):
        if params.types >> (4 * n) & 2:  # OUTPUT or INOUT, of either sort
            at = params_va + 8 + 16 * n
            if type(p) is Value:
                ta.space.copy_to_user(at, _U64_PAIR.pack(p.a & 0xFFFFFFFF, p.b & 0xFFFFFFFF))
            elif type(p) is Memref:
                ta.space.copy_to_user(at + 8, _U64.pack(p.size))


def _put(ta: "UserTaCtx", va: int, value: int) -> None:
    """A number for a caller who may have no use for it: libutee passes NULL for the origin where it needs none."""
    with suppress(TeeError):
        ta.space.copy_to_user_private(va, _U32.pack(value))


def syscall_open_ta_session(
    ta: "UserTaCtx", dest: int, timeout: int, params_va: int, session_va: int, origin_va: int
) -> int:
    assert ta.thread is not None
    origin = gp.TEE_ORIGIN_TEE
    session_id = 0
    try:
        uuid = gp.uuid_from_memory(ta.space.copy_from_user_private(dest, 16))
        params = copy_params(ta, params_va, to_pseudo=False)
        ret, origin, session_id = ta.tee.manager.open_session(
            ta.thread, ta.open_sessions, uuid, _identity(ta), timeout & 0xFFFFFFFF, params
        )
        if ret == gp.TEE_SUCCESS:
            update_out_params(ta, params, params_va)
    except TeeError as e:
        ret = e.code
    if ret == gp.TEE_SUCCESS:
        _put(ta, session_va, session_id)
    _put(ta, origin_va, origin)
    return ret


def syscall_close_ta_session(ta: "UserTaCtx", session_id: int) -> int:
    assert ta.thread is not None
    return ta.tee.manager.close_session(ta.thread, session_id & 0xFFFFFFFF, ta.open_sessions, _identity(ta))


def syscall_invoke_ta_command(
    ta: "UserTaCtx", session_id: int, timeout: int, cmd: int, params_va: int, origin_va: int
) -> int:
    assert ta.thread is not None
    manager = ta.tee.manager
    session = manager.get_session(ta.thread, session_id & 0xFFFFFFFF, ta.open_sessions)
    if session is None:
        return gp.TEE_ERROR_BAD_PARAMETERS
    origin = gp.TEE_ORIGIN_TEE
    try:
        params = copy_params(ta, params_va, to_pseudo=isinstance(session.ctx, PseudoTaCtx))
        ret, origin = manager.invoke_command(
            ta.thread, session, _identity(ta), timeout & 0xFFFFFFFF, cmd & 0xFFFFFFFF, params
        )
        if ret != gp.TEE_ERROR_TARGET_DEAD and params_va:
            update_out_params(ta, params, params_va)
    except TeeError as e:
        ret, origin = e.code, gp.TEE_ORIGIN_TEE
    finally:
        manager.put_session(ta.thread, session)
    _put(ta, origin_va, origin)
    return ret
