"""Waiting and the clocks. Mirrors syscall_wait, syscall_get_time and syscall_set_ta_time of core/tee/tee_svc.c."""

from typing import TYPE_CHECKING

from optemu.abi import gp
from optemu.abi.syscalls import UTEE_TIME_CAT_REE, UTEE_TIME_CAT_SYSTEM, UTEE_TIME_CAT_TA_PERSISTENT
from optemu.abi.utee import TEE_TIME

if TYPE_CHECKING:
    from optemu.secure_world.core.user_ta import UserTaCtx

WAIT_SLICE_MS = 50
"""A wait looks this often whether it has been cancelled; upstream's tee_time_wait sleeps it all in one."""


def syscall_wait(ta: "UserTaCtx", timeout: int) -> int:
    assert ta.session is not None
    assert ta.thread is not None
    clock, time = ta.tee.board.clock, ta.tee.time
    timeout &= 0xFFFFFFFF
    base = time.system()
    while True:
        ta.thread.check_abandoned()
        if ta.session.is_cancelled(clock.counter_ns()):
            return gp.TEE_ERROR_CANCEL
        waited = time.system() - base
        if timeout != gp.TEE_TIMEOUT_INFINITE and waited >= timeout:
            return gp.TEE_SUCCESS
        time.wait(ta.thread, min(timeout - waited, WAIT_SLICE_MS))


def syscall_get_time(ta: "UserTaCtx", category: int, time_va: int) -> int:
    assert ta.thread is not None
    time = ta.tee.time
    overflow = False
    if category == UTEE_TIME_CAT_SYSTEM:
        millis = time.system()
    elif category == UTEE_TIME_CAT_TA_PERSISTENT:
        millis, overflow = time.ta(ta.uuid)
    elif category == UTEE_TIME_CAT_REE:
        millis = time.ree(ta.thread)
    else:
        return gp.TEE_ERROR_BAD_PARAMETERS
    ta.space.copy_to_user_private(time_va, TEE_TIME.pack(millis // 1000 & 0xFFFFFFFF, millis % 1000))
    return gp.TEE_ERROR_OVERFLOW if overflow else gp.TEE_SUCCESS


def syscall_set_ta_time(ta: "UserTaCtx", time_va: int) -> int:
    seconds, millis = TEE_TIME.unpack(ta.space.copy_from_user_private(time_va, TEE_TIME.size))
    if millis >= 1000:
        return gp.TEE_ERROR_BAD_PARAMETERS
    ta.tee.time.set_ta(ta.uuid, seconds * 1000 + millis)
    return gp.TEE_SUCCESS
