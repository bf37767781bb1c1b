"""Secure monitor calls between the driver and OP-TEE, and between OP-TEE and the monitor.

Sources: core/arch/arm/include/sm/optee_smc.h, teesmc_opteed.h; Arm DEN0028 (SMC Calling Convention).
"""

from typing import Final

SMC_FAST_CALL: Final = 0x80000000
SMC_64: Final = 0x40000000
SMC_OWNER_SHIFT: Final = 24
SMC_OWNER_MASK: Final = 0x3F
SMC_FUNC_MASK: Final = 0xFFFF
SMC_UNKNOWN: Final = 0xFFFFFFFF
OWNER_ARCH: Final = 0
OWNER_SIP: Final = 2
OWNER_STANDARD: Final = 4
OWNER_TRUSTED_OS: Final = 50
OWNER_TRUSTED_OS_OPTEED: Final = 62
OWNER_TRUSTED_OS_API: Final = 63


def _fast(owner: int, func: int) -> int:
    return SMC_FAST_CALL | owner << SMC_OWNER_SHIFT | func


def _std(func: int) -> int:
    return OWNER_TRUSTED_OS << SMC_OWNER_SHIFT | func


# --- standard (yielding) calls -------------------------------------------------------------------------
OPTEE_SMC_CALL_RETURN_FROM_RPC: Final = _std(3)
OPTEE_SMC_CALL_WITH_ARG: Final = _std(4)
OPTEE_SMC_CALL_WITH_RPC_ARG: Final = _std(18)
OPTEE_SMC_CALL_WITH_REGD_ARG: Final = _std(19)

# --- fast calls ----------------------------------------------------------------------------------------
OPTEE_SMC_CALLS_COUNT: Final = _fast(OWNER_TRUSTED_OS_API, 0xFF00)
OPTEE_SMC_CALLS_UID: Final = _fast(OWNER_TRUSTED_OS_API, 0xFF01)
OPTEE_SMC_CALLS_REVISION: Final = _fast(OWNER_TRUSTED_OS_API, 0xFF03)
OPTEE_SMC_CALL_GET_OS_UUID: Final = _fast(OWNER_TRUSTED_OS, 0)
OPTEE_SMC_CALL_GET_OS_REVISION: Final = _fast(OWNER_TRUSTED_OS, 1)
OPTEE_SMC_GET_SHM_CONFIG: Final = _fast(OWNER_TRUSTED_OS, 7)
OPTEE_SMC_L2CC_MUTEX: Final = _fast(OWNER_TRUSTED_OS, 8)
OPTEE_SMC_EXCHANGE_CAPABILITIES: Final = _fast(OWNER_TRUSTED_OS, 9)
OPTEE_SMC_DISABLE_SHM_CACHE: Final = _fast(OWNER_TRUSTED_OS, 10)
OPTEE_SMC_ENABLE_SHM_CACHE: Final = _fast(OWNER_TRUSTED_OS, 11)
OPTEE_SMC_BOOT_SECONDARY: Final = _fast(OWNER_TRUSTED_OS, 12)
OPTEE_SMC_VM_CREATED: Final = _fast(OWNER_TRUSTED_OS, 13)
OPTEE_SMC_VM_DESTROYED: Final = _fast(OWNER_TRUSTED_OS, 14)
OPTEE_SMC_GET_THREAD_COUNT: Final = _fast(OWNER_TRUSTED_OS, 15)
OPTEE_SMC_ENABLE_ASYNC_NOTIF: Final = _fast(OWNER_TRUSTED_OS, 16)
OPTEE_SMC_GET_ASYNC_NOTIF_VALUE: Final = _fast(OWNER_TRUSTED_OS, 17)
OPTEMU_SMC_ABANDON: Final = _fast(OWNER_TRUSTED_OS, 0xE000)
"""Ours, not upstream's: kill the TA that serves the standard call made with this a1 to a3; its client has died.

A board's kernel would wait for such a TA for ever.
"""

# --- return values ---------------------------------------------------------------------------------------
OPTEE_SMC_RETURN_OK: Final = 0x0
OPTEE_SMC_RETURN_ETHREAD_LIMIT: Final = 0x1
OPTEE_SMC_RETURN_EBUSY: Final = 0x2
OPTEE_SMC_RETURN_ERESUME: Final = 0x3
OPTEE_SMC_RETURN_EBADADDR: Final = 0x4
OPTEE_SMC_RETURN_EBADCMD: Final = 0x5
OPTEE_SMC_RETURN_ENOMEM: Final = 0x6
OPTEE_SMC_RETURN_ENOTAVAIL: Final = 0x7
OPTEE_SMC_RETURN_UNKNOWN_FUNCTION: Final = 0xFFFFFFFF
OPTEE_SMC_RETURN_RPC_PREFIX: Final = 0xFFFF0000
OPTEE_SMC_RETURN_RPC_ALLOC: Final = 0xFFFF0000
OPTEE_SMC_RETURN_RPC_FREE: Final = 0xFFFF0002
OPTEE_SMC_RETURN_RPC_FOREIGN_INTR: Final = 0xFFFF0004
OPTEE_SMC_RETURN_RPC_CMD: Final = 0xFFFF0005


def is_rpc(a0: int) -> bool:
    """OPTEE_SMC_RETURN_IS_RPC: the call has not ended, secure world asks for a service."""
    return a0 & 0xFFFF0000 == OPTEE_SMC_RETURN_RPC_PREFIX and a0 != OPTEE_SMC_RETURN_UNKNOWN_FUNCTION


# --- capabilities ----------------------------------------------------------------------------------------
OPTEE_SMC_NSEC_CAP_UNIPROCESSOR: Final = 1 << 0
OPTEE_SMC_SEC_CAP_HAVE_RESERVED_SHM: Final = 1 << 0
OPTEE_SMC_SEC_CAP_UNREGISTERED_SHM: Final = 1 << 1
OPTEE_SMC_SEC_CAP_DYNAMIC_SHM: Final = 1 << 2
OPTEE_SMC_SEC_CAP_VIRTUALIZATION: Final = 1 << 3
OPTEE_SMC_SEC_CAP_MEMREF_NULL: Final = 1 << 4
OPTEE_SMC_SEC_CAP_ASYNC_NOTIF: Final = 1 << 5
OPTEE_SMC_SEC_CAP_RPC_ARG: Final = 1 << 6
OPTEE_SMC_SEC_CAP_RPMB_PROBE: Final = 1 << 7

OPTEE_SMC_ASYNC_NOTIF_VALID: Final = 1 << 0
OPTEE_SMC_ASYNC_NOTIF_PENDING: Final = 1 << 1

# --- what OP-TEE tells the monitor when it leaves the secure world (teesmc_opteed.h) --------------------------
TEESMC_OPTEED_RETURN_ENTRY_DONE: Final = _fast(OWNER_TRUSTED_OS_OPTEED, 0)
TEESMC_OPTEED_RETURN_CALL_DONE: Final = _fast(OWNER_TRUSTED_OS_OPTEED, 5)

SMC_NAMES: Final[dict[int, str]] = {
    value: name.removeprefix("OPTEE_SMC_")
    for name, value in list(globals().items())
    if name.startswith(("OPTEE_SMC_CALL", "OPTEE_SMC_GET", "OPTEE_SMC_EX", "OPTEE_SMC_L2"))
    or name.endswith(("_SHM_CACHE", "BOOT_SECONDARY", "ASYNC_NOTIF_VALUE", "VM_CREATED", "VM_DESTROYED"))
    or name in ("OPTEE_SMC_ENABLE_ASYNC_NOTIF", "TEESMC_OPTEED_RETURN_CALL_DONE", "TEESMC_OPTEED_RETURN_ENTRY_DONE")
}
RETURN_NAMES: Final = {
    0x0: "OK",
    0x1: "ETHREAD_LIMIT",
    0x2: "EBUSY",
    0x3: "ERESUME",
    0x4: "EBADADDR",
    0x5: "EBADCMD",
    0x6: "ENOMEM",
    0x7: "ENOTAVAIL",
    0xFFFFFFFF: "UNKNOWN_FUNCTION",
    0xFFFF0000: "RPC_ALLOC",
    0xFFFF0002: "RPC_FREE",
    0xFFFF0004: "RPC_FOREIGN_INTR",
    0xFFFF0005: "RPC_CMD",
}
