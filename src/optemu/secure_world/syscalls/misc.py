"""Logging, memory rights, cancellation, random numbers, caches. Mirrors core/tee/tee_svc.c."""

import logging
import struct
from typing import TYPE_CHECKING

from optemu.abi import gp
from optemu.abi.syscalls import TEE_CACHEINVALIDATE
from optemu.abi.ta_head import TA_FLAG_CACHE_MAINTENANCE

if TYPE_CHECKING:
    from optemu.secure_world.core.user_ta import UserTaCtx

console = logging.getLogger("optemu.console")
_U32 = struct.Struct("<I")
_LONGEST_LINE = 64 << 10
_RANDOM_AT_ONCE = 1 << 20


def syscall_log(ta: "UserTaCtx", buf: int, length: int) -> int:
    """Put a line on the console; what cannot be read is left out, as upstream does."""
    if length:
        text = ta.space.copy_from_user(buf, min(length, _LONGEST_LINE))
        console.info("%s", text.split(b"\0")[0].decode("utf-8", "replace").rstrip("\n"))
    return gp.TEE_SUCCESS


def syscall_check_access_rights(ta: "UserTaCtx", flags: int, buf: int, length: int) -> int:
    result: int = ta.space.check_access_rights(flags, buf, length)
    return result


def syscall_get_cancellation_flag(ta: "UserTaCtx", cancel: int) -> int:
    assert ta.session is not None
    flag = ta.session.is_cancelled(ta.tee.board.clock.counter_ns())
    ta.space.copy_to_user(cancel, _U32.pack(flag))
    return gp.TEE_SUCCESS


def _set_mask(ta: "UserTaCtx", mask: bool, old_mask: int) -> int:
    assert ta.session is not None
    old = ta.session.cancel_mask
    ta.session.cancel_mask = mask
    ta.space.copy_to_user(old_mask, _U32.pack(old))
    return gp.TEE_SUCCESS


def syscall_unmask_cancellation(ta: "UserTaCtx", old_mask: int) -> int:
    return _set_mask(ta, False, old_mask)


def syscall_mask_cancellation(ta: "UserTaCtx", old_mask: int) -> int:
    return _set_mask(ta, True, old_mask)


def syscall_cryp_random_number_generate(ta: "UserTaCtx", buf: int, length: int) -> int:
    """Random bytes from the board; the whole buffer is checked before the first is written."""
    rights = gp.TEE_MEMORY_ACCESS_WRITE
    if ta.space.check_access_rights(rights, buf, length):
        return gp.TEE_ERROR_ACCESS_DENIED
    for at in range(0, length, _RANDOM_AT_ONCE):
        ta.space.copy_to_user(buf + at, ta.tee.board.entropy.read(min(_RANDOM_AT_ONCE, length - at)))
    return gp.TEE_SUCCESS


def syscall_cache_operation(ta: "UserTaCtx", va: int, length: int, op: int) -> int:
    """Caches are coherent here; what is left is who may ask, and for which memory: parameters only."""
    if not ta.flags & TA_FLAG_CACHE_MAINTENANCE:
        return gp.TEE_ERROR_NOT_SUPPORTED
    rights = gp.TEE_MEMORY_ACCESS_READ | gp.TEE_MEMORY_ACCESS_ANY_OWNER
    if ta.space.intersects_private(va, length) or ta.space.check_access_rights(rights, va, length):
        return gp.TEE_ERROR_ACCESS_DENIED
    return gp.TEE_SUCCESS if op <= TEE_CACHEINVALIDATE else gp.TEE_ERROR_NOT_SUPPORTED
