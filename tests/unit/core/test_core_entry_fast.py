"""Fast calls: the table of them, and what each leaves in the registers."""

from typing import Any

import pytest
from core_fakes import PAGE, new_tee

from optemu.abi import optee_msg
from optemu.abi import optee_smc as smc
from optemu.secure_world.core.entry_fast import FAST_CALLS
from optemu.secure_world.core.tee import Tee


@pytest.fixture
def tee() -> Tee:
    return new_tee()


def call(tee: Tee, number: int, *args: int) -> tuple[int, ...]:
    regs: Any = (number, *args, *[0] * (7 - len(args)))
    result = tee.fast_smc_entry(regs)
    assert result[0] == smc.TEESMC_OPTEED_RETURN_CALL_DONE
    return result[1:5]


def test_who_is_there(tee: Tee) -> None:
    assert call(tee, smc.OPTEE_SMC_CALLS_UID) == optee_msg.OPTEE_MSG_UID
    assert call(tee, smc.OPTEE_SMC_CALL_GET_OS_UUID) == optee_msg.OPTEE_MSG_OS_OPTEE_UUID
    assert call(tee, smc.OPTEE_SMC_CALLS_REVISION, 1, 2, 3) == (2, 0, 2, 3)
    assert call(tee, smc.OPTEE_SMC_CALL_GET_OS_REVISION)[:2] == (4, 10)
    assert call(tee, smc.OPTEE_SMC_CALLS_COUNT)[0] == len(FAST_CALLS)
    assert call(tee, smc.OPTEE_SMC_GET_THREAD_COUNT)[:2] == (0, 4)


def test_numbers_outside_the_table_change_nothing(tee: Tee) -> None:
    for number in (smc.OPTEE_SMC_L2CC_MUTEX, smc.OPTEE_SMC_VM_CREATED, 0xB200FFFF, 0):
        assert call(tee, number, 1, 2, 3) == (smc.OPTEE_SMC_RETURN_UNKNOWN_FUNCTION, 1, 2, 3)


def test_capabilities(tee: Tee) -> None:
    ret, caps, most, params = call(tee, smc.OPTEE_SMC_EXCHANGE_CAPABILITIES, smc.OPTEE_SMC_NSEC_CAP_UNIPROCESSOR)
    assert (ret, most, params) == (0, 68, 4)
    assert caps & smc.OPTEE_SMC_SEC_CAP_DYNAMIC_SHM
    assert not caps & smc.OPTEE_SMC_SEC_CAP_HAVE_RESERVED_SHM
    for unknown in (2, 1 << 31, 3):
        assert call(tee, smc.OPTEE_SMC_EXCHANGE_CAPABILITIES, unknown)[0] == smc.OPTEE_SMC_RETURN_ENOTAVAIL


def test_what_this_platform_has_not(tee: Tee) -> None:
    for number in (smc.OPTEE_SMC_GET_SHM_CONFIG, smc.OPTEE_SMC_BOOT_SECONDARY):
        assert call(tee, number, 1, 2, 3) == (smc.OPTEE_SMC_RETURN_ENOTAVAIL, 1, 2, 3)


def test_the_shm_cache_is_emptied_one_by_one(tee: Tee) -> None:
    enable, disable = smc.OPTEE_SMC_ENABLE_SHM_CACHE, smc.OPTEE_SMC_DISABLE_SHM_CACHE
    assert call(tee, enable)[0] == 0
    page = tee.board.memory.allocate(PAGE, secure=False).base
    for thread, cookie in zip(tee.threads._all[1:3], (0x5_0000_0007, 9), strict=True):
        thread.rpc_mobj = tee.shm.single_page(page, cookie)
    assert call(tee, disable)[:3] == (0, 5, 7)
    assert call(tee, disable)[:3] == (0, 0, 9)
    assert call(tee, disable)[0] == smc.OPTEE_SMC_RETURN_ENOTAVAIL
    assert not tee.threads.prealloc_rpc_cache
    busy = tee.threads._free.pop()
    assert call(tee, enable)[0] == call(tee, disable)[0] == smc.OPTEE_SMC_RETURN_EBUSY
    tee.threads._free.append(busy)


def test_asynchronous_notifications(tee: Tee) -> None:
    fetch = smc.OPTEE_SMC_GET_ASYNC_NOTIF_VALUE
    assert call(tee, fetch)[:3] == (0, 0, 0)
    assert call(tee, smc.OPTEE_SMC_ENABLE_ASYNC_NOTIF)[0] == 0
    assert tee.notif.enabled
    tee.notif.send_async(3)
    tee.notif.send_async(1)
    valid, pending = smc.OPTEE_SMC_ASYNC_NOTIF_VALID, smc.OPTEE_SMC_ASYNC_NOTIF_PENDING
    assert [call(tee, fetch)[1:3] for _ in range(3)] == [(1, valid | pending), (3, valid), (0, 0)]


def test_abandoning_a_call_stops_the_innermost_ta(tee: Tee) -> None:
    abandon = smc.OPTEMU_SMC_ABANDON
    assert call(tee, abandon, 1, 2, 3)[0] == smc.OPTEE_SMC_RETURN_ENOTAVAIL
    thread = tee.threads._all[2]
    thread.ended, thread.call = False, (1, 2, 3)
    assert call(tee, abandon, 1, 2, 3)[0] == 0, "also while it serves no TA"
    stopped: list[str] = []

    class Ctx:
        def stop(self) -> None:
            stopped.append("inner")

    class Session:
        ctx = Ctx()

    thread.session = Session()  # type: ignore[assignment]
    assert call(tee, abandon, 1, 2, 3)[0] == 0
    assert (stopped, thread.abandoned) == (["inner"], True)
    assert call(tee, abandon, 1, 2, 4)[0] == smc.OPTEE_SMC_RETURN_ENOTAVAIL


def test_the_table_has_the_names_of_the_abi() -> None:
    for number, row in FAST_CALLS.items():
        assert row.number == number
        assert number & smc.SMC_FAST_CALL
        assert number == smc.OPTEMU_SMC_ABANDON or smc.SMC_NAMES[number].endswith(row.name)
