"""Fast calls. Mirrors core/arch/arm/tee/entry_fast.c."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optemu.abi import optee_msg
from optemu.abi import optee_smc as smc
from optemu.secure_world.core.notif import NOTIF_SYNC_VALUE_BASE
from optemu.secure_world.core.thread import THREAD_RPC_MAX_NUM_PARAMS, Registers

if TYPE_CHECKING:
    from optemu.secure_world.core.tee import Tee

Results = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class FastCall:
    """One row of the table of fast calls: x0 to x3 after the call, from the registers before."""

    number: int
    name: str
    handler: Callable[["Tee", Registers], Results]
    note: str = ""


def _calls_count(tee: "Tee", regs: Registers) -> Results:
    return (len(FAST_CALLS), regs[1], regs[2], regs[3])


def _revision(tee: "Tee", regs: Registers) -> Results:
    return (*optee_msg.OPTEE_MSG_REVISION, regs[2], regs[3])


def _os_revision(tee: "Tee", regs: Registers) -> Results:
    major, minor, build = tee.os_revision
    return (major, minor, build, regs[3])


def _exchange_capabilities(tee: "Tee", regs: Registers) -> Results:
    if regs[1] & ~smc.OPTEE_SMC_NSEC_CAP_UNIPROCESSOR:
        return (smc.OPTEE_SMC_RETURN_ENOTAVAIL, regs[1], regs[2], regs[3])
    caps = (
        smc.OPTEE_SMC_SEC_CAP_DYNAMIC_SHM
        | smc.OPTEE_SMC_SEC_CAP_MEMREF_NULL
        | smc.OPTEE_SMC_SEC_CAP_ASYNC_NOTIF
        | smc.OPTEE_SMC_SEC_CAP_RPC_ARG
    )
    # NOTIF_VALUE_MAX: each secure thread may wait for a notification of its own.
    notif_value_max = NOTIF_SYNC_VALUE_BASE + tee.threads.count
    return (smc.OPTEE_SMC_RETURN_OK, caps, notif_value_max, THREAD_RPC_MAX_NUM_PARAMS)


def _shm_config(tee: "Tee", regs: Registers) -> Results:
    # No reserved shared memory on this platform: all of it is dynamic.
    return (smc.OPTEE_SMC_RETURN_ENOTAVAIL, regs[1], regs[2], regs[3])


def _disable_shm_cache(tee: "Tee", regs: Registers) -> Results:
    cookie = tee.threads.disable_prealloc_rpc_cache()
    if cookie is None:
        return (smc.OPTEE_SMC_RETURN_EBUSY, regs[1], regs[2], regs[3])
    if not cookie:
        return (smc.OPTEE_SMC_RETURN_ENOTAVAIL, regs[1], regs[2], regs[3])
    return (smc.OPTEE_SMC_RETURN_OK, cookie >> 32, cookie & 0xFFFFFFFF, regs[3])


def _enable_shm_cache(tee: "Tee", regs: Registers) -> Results:
    done = tee.threads.enable_prealloc_rpc_cache()
    return (smc.OPTEE_SMC_RETURN_OK if done else smc.OPTEE_SMC_RETURN_EBUSY, regs[1], regs[2], regs[3])


def _boot_secondary(tee: "Tee", regs: Registers) -> Results:
    # Secondary cores are released by the firmware (PSCI), as upstream without CFG_BOOT_SECONDARY_REQUEST.
    return (smc.OPTEE_SMC_RETURN_ENOTAVAIL, regs[1], regs[2], regs[3])


def _thread_count(tee: "Tee", regs: Registers) -> Results:
    return (smc.OPTEE_SMC_RETURN_OK, tee.threads.count, regs[2], regs[3])


def _enable_async_notif(tee: "Tee", regs: Registers) -> Results:
    tee.notif.enabled = True
    return (smc.OPTEE_SMC_RETURN_OK, regs[1], regs[2], regs[3])


def _abandon(tee: "Tee", regs: Registers) -> Results:
    """The innermost TA of the call is stopped where it is; one that waits in the normal world sees it on return."""
    thread = tee.threads.abandon(regs[1:4])
    session = thread.session if thread is not None else None
    if session is not None and session.ctx is not None:
        session.ctx.stop()
    return (smc.OPTEE_SMC_RETURN_OK if thread else smc.OPTEE_SMC_RETURN_ENOTAVAIL, regs[1], regs[2], regs[3])


def _async_notif_value(tee: "Tee", regs: Registers) -> Results:
    value, valid, pending = tee.notif.get_value()
    flags = smc.OPTEE_SMC_ASYNC_NOTIF_VALID * valid | smc.OPTEE_SMC_ASYNC_NOTIF_PENDING * pending
    return (smc.OPTEE_SMC_RETURN_OK, value, flags, regs[3])


FAST_CALLS = {
    row.number: row
    for row in (
        FastCall(smc.OPTEE_SMC_CALLS_COUNT, "CALLS_COUNT", _calls_count),
        FastCall(smc.OPTEE_SMC_CALLS_UID, "CALLS_UID", lambda tee, regs: optee_msg.OPTEE_MSG_UID),
        FastCall(smc.OPTEE_SMC_CALLS_REVISION, "CALLS_REVISION", _revision),
        FastCall(smc.OPTEE_SMC_CALL_GET_OS_UUID, "GET_OS_UUID", lambda tee, regs: optee_msg.OPTEE_MSG_OS_OPTEE_UUID),
        FastCall(smc.OPTEE_SMC_CALL_GET_OS_REVISION, "GET_OS_REVISION", _os_revision),
        FastCall(smc.OPTEE_SMC_GET_SHM_CONFIG, "GET_SHM_CONFIG", _shm_config, "no reserved memory: ENOTAVAIL"),
        FastCall(smc.OPTEE_SMC_EXCHANGE_CAPABILITIES, "EXCHANGE_CAPABILITIES", _exchange_capabilities),
        FastCall(smc.OPTEE_SMC_DISABLE_SHM_CACHE, "DISABLE_SHM_CACHE", _disable_shm_cache),
        FastCall(smc.OPTEE_SMC_ENABLE_SHM_CACHE, "ENABLE_SHM_CACHE", _enable_shm_cache),
        FastCall(smc.OPTEE_SMC_BOOT_SECONDARY, "BOOT_SECONDARY", _boot_secondary, "cores come up by PSCI: ENOTAVAIL"),
        FastCall(smc.OPTEE_SMC_GET_THREAD_COUNT, "GET_THREAD_COUNT", _thread_count),
        FastCall(smc.OPTEE_SMC_ENABLE_ASYNC_NOTIF, "ENABLE_ASYNC_NOTIF", _enable_async_notif),
        FastCall(smc.OPTEE_SMC_GET_ASYNC_NOTIF_VALUE, "GET_ASYNC_NOTIF_VALUE", _async_notif_value),
        FastCall(smc.OPTEMU_SMC_ABANDON, "ABANDON", _abandon, "ours: ends a TA whose client has died"),
    )
}


def tee_entry_fast(tee: "Tee", regs: Registers) -> Results:
    """Serve one fast call; OPTEE_SMC_RETURN_UNKNOWN_FUNCTION for numbers outside the table."""
    row = FAST_CALLS.get(regs[0])
    if row is None:
        return (smc.OPTEE_SMC_RETURN_UNKNOWN_FUNCTION, regs[1], regs[2], regs[3])
    return row.handler(tee, regs)
