"""Secure threads: leaving for the normal world and coming back, and a normal world that answers what it likes."""

import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest
from core_fakes import PAGE, page_list
from hypothesis import given
from hypothesis import strategies as st

from optemu.abi import gp, optee_msg
from optemu.abi import optee_rpc_cmd as rpc
from optemu.abi import optee_smc as smc
from optemu.board.memory import PhysicalMemory
from optemu.errors import TaPanic, TeeError
from optemu.secure_world.core.mobj import ShmRegistry
from optemu.secure_world.core.notif import NOTIF_SYNC_VALUE_BASE, Notif
from optemu.secure_world.core.thread import RpcParam, Thread, Threads
from optemu.trace import Tracer

VALUE_IN, VALUE_OUT, VALUE_INOUT = 1, 2, 3
RMEM_IN, RMEM_OUT = 5, 6
NONCONTIG = optee_msg.OPTEE_MSG_ATTR_TYPE_TMEM_OUTPUT | optee_msg.OPTEE_MSG_ATTR_NONCONTIG
HEAD, PARAM = optee_msg.MSG_ARG, optee_msg.MSG_PARAM
COOKIE = 0xABCD_0000_0001


class World:
    """A pool of secure threads that do ``work``, and a normal world with a page for messages and one for RPCs."""

    def __init__(self, count: int = 2) -> None:
        self.memory = PhysicalMemory()
        self.shm = ShmRegistry(self.memory)
        self.work: Callable[[Thread], Any] = lambda thread: 0
        self.threads = Threads(count, self.shm, self._entry, Tracer())
        self.page = self.memory.allocate(PAGE, secure=False)
        self.rpc_page = self.memory.allocate(PAGE, secure=False)
        self.outcome: Any = None

    def _entry(self, thread: Thread, view: memoryview, at: int, num_params: int) -> int:
        try:
            self.outcome = self.work(thread)
        except TeeError as e:
            self.outcome = e.code
        return 0

    def enter(self, a0: int, a1: int = 0, a2: int = 0, a3: int = 0, a4: int = 0, a5: int = 0) -> tuple[int, ...]:
        return self.threads.handle_std_smc((a0, a1, a2, a3, a4, a5, 0, 0))

    def call(self, a0: int = smc.OPTEE_SMC_CALL_WITH_ARG) -> tuple[int, ...]:
        return self.enter(a0, self.page.base >> 32, self.page.base & 0xFFFFFFFF)

    def resume(self, thread: int, a1: int = 0, a2: int = 0, a4: int = 0, a5: int = 0) -> tuple[int, ...]:
        return self.enter(smc.OPTEE_SMC_CALL_RETURN_FROM_RPC, a1, a2, thread, a4, a5)

    def give_rpc_page(self, thread: int, pa: int | None = None, cookie: int = COOKIE) -> tuple[int, ...]:
        pa = self.rpc_page.base if pa is None else pa
        return self.resume(thread, pa >> 32, pa & 0xFFFFFFFF, cookie >> 32, cookie & 0xFFFFFFFF)

    def rpc_message(self) -> tuple[int, list[tuple[int, ...]]]:
        """(command, parameters) of the RPC under way."""
        head = HEAD.unpack_from(self.rpc_page.view)
        count = head[7]
        return head[0], [PARAM.unpack_from(self.rpc_page.view, HEAD.size + n * PARAM.size) for n in range(count)]

    def answer(self, ret: int, *params: tuple[int, int, int, int]) -> None:
        struct.pack_into("<I", self.rpc_page.view, optee_msg.MSG_ARG_RET_OFFSET, ret)
        for n, p in enumerate(params):
            PARAM.pack_into(self.rpc_page.view, HEAD.size + n * PARAM.size, *p)


@pytest.fixture
def world() -> World:
    return World()


# --- calls that never leave -----------------------------------------------------------------------------------------


def test_a_call_comes_and_goes(world: World) -> None:
    assert world.call() == (smc.OPTEE_SMC_RETURN_OK, 0, 0, 0)
    assert (world.outcome, world.threads.busy) == (0, 0)


def test_an_unknown_call(world: World) -> None:
    assert world.enter(0x32000099)[0] == smc.OPTEE_SMC_RETURN_EBADCMD
    assert world.threads.busy == 0


def test_messages_that_are_not_there(world: World) -> None:
    secure = world.memory.allocate(PAGE, secure=True)
    for pa in (0, world.page.base + 8, world.page.base + 0x10_0000, secure.base, (1 << 64) - PAGE):
        for kind in (smc.OPTEE_SMC_CALL_WITH_ARG, smc.OPTEE_SMC_CALL_WITH_RPC_ARG):
            assert world.enter(kind, pa >> 32, pa & 0xFFFFFFFF)[0] == smc.OPTEE_SMC_RETURN_EBADADDR
    assert world.threads.busy == 0


def test_messages_in_registered_memory(world: World) -> None:
    mobj = world.shm.from_noncontig(page_list(world.memory, [world.page.base]).base, PAGE, 7)
    assert mobj is not None
    world.shm.register(mobj)
    regd = smc.OPTEE_SMC_CALL_WITH_REGD_ARG
    for offset in (0, 8, 512, PAGE - 32 - 160):
        assert world.enter(regd, 0, 7, offset)[0] == smc.OPTEE_SMC_RETURN_OK
    for offset in (4, PAGE - 32, PAGE - 32 - 152, PAGE, 1 << 31, (1 << 64) - 8):
        assert world.enter(regd, 0, 7, offset)[0] == smc.OPTEE_SMC_RETURN_EBADADDR
    assert world.enter(regd, 0, 8, 0)[0] == smc.OPTEE_SMC_RETURN_EBADADDR
    assert world.enter(regd, 7, 0, 0)[0] == smc.OPTEE_SMC_RETURN_EBADADDR


@pytest.mark.parametrize(("count", "fits"), [(0, True), (122, True), (127, False), (128, False), (0xFFFFFFFF, False)])
def test_as_many_parameters_as_the_page_holds(world: World, count: int, fits: bool) -> None:
    struct.pack_into("<I", world.page.view, optee_msg.MSG_ARG_NUM_PARAMS_OFFSET, count)
    expected = smc.OPTEE_SMC_RETURN_OK if fits else smc.OPTEE_SMC_RETURN_EBADADDR
    assert world.call(smc.OPTEE_SMC_CALL_WITH_RPC_ARG)[0] == expected


def test_a_defect_ends_the_call_only(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.work = lambda thread: 1 // 0
    assert world.call()[0] == smc.OPTEE_SMC_RETURN_EBADCMD
    assert "ZeroDivisionError" in caplog.text
    world.work = lambda thread: 5
    assert world.call()[0] == smc.OPTEE_SMC_RETURN_OK
    assert (world.outcome, world.threads.busy) == (5, 0)


# --- out and in again -----------------------------------------------------------------------------------------------


def ask_time(thread: Thread) -> tuple[int, int, int]:
    out = RpcParam(VALUE_OUT)
    return thread.rpc_cmd(rpc.OPTEE_RPC_CMD_GET_TIME, [out]), out.a, out.b


def test_an_rpc_with_memory_asked_for(world: World) -> None:
    world.work = ask_time
    r0, size, _, thread = world.call()
    assert (r0, size) == (smc.OPTEE_SMC_RETURN_RPC_ALLOC, optee_msg.msg_arg_size(4))
    assert world.threads.busy == 1
    r0, high, low, _ = world.give_rpc_page(thread)
    assert (r0, high << 32 | low) == (smc.OPTEE_SMC_RETURN_RPC_CMD, COOKIE)
    assert world.rpc_message() == (rpc.OPTEE_RPC_CMD_GET_TIME, [(VALUE_OUT, 0, 0, 0)])
    world.answer(0, (VALUE_OUT, 1234, 5678, 0))
    r0, high, low, _ = world.resume(thread)
    assert (r0, high << 32 | low) == (smc.OPTEE_SMC_RETURN_RPC_FREE, COOKIE), "without the cache it is given back"
    assert world.resume(thread)[0] == smc.OPTEE_SMC_RETURN_OK
    assert (world.outcome, world.threads.busy) == ((0, 1234, 5678), 0)


def test_an_rpc_in_the_memory_behind_the_message(world: World) -> None:
    world.work = ask_time
    r0, high, low, thread = world.call(smc.OPTEE_SMC_CALL_WITH_RPC_ARG)
    assert (r0, high, low) == (smc.OPTEE_SMC_RETURN_RPC_CMD, 0, 0)
    assert HEAD.unpack_from(world.page.view, HEAD.size)[0] == rpc.OPTEE_RPC_CMD_GET_TIME
    assert world.resume(thread)[0] == smc.OPTEE_SMC_RETURN_OK
    assert world.outcome[0] == gp.TEE_ERROR_GENERIC, "what stands there when nobody answers"


def test_the_cache_keeps_the_memory(world: World) -> None:
    assert world.threads.enable_prealloc_rpc_cache()
    world.work = ask_time
    thread = world.call()[3]
    world.give_rpc_page(thread)
    assert world.threads.disable_prealloc_rpc_cache() is None, "a thread is busy"
    assert not world.threads.enable_prealloc_rpc_cache()
    assert world.resume(thread)[0] == smc.OPTEE_SMC_RETURN_OK
    assert world.call()[0] == smc.OPTEE_SMC_RETURN_RPC_CMD, "no second request"
    world.resume(thread)
    assert world.threads.disable_prealloc_rpc_cache() == COOKIE
    assert world.threads.disable_prealloc_rpc_cache() == 0, "nothing left"
    assert world.call()[0] == smc.OPTEE_SMC_RETURN_RPC_ALLOC
    world.give_rpc_page(thread)
    assert world.resume(thread)[0] == smc.OPTEE_SMC_RETURN_RPC_FREE


def test_a_call_that_brings_memory_gives_the_cached_back(world: World) -> None:
    world.threads.enable_prealloc_rpc_cache()
    world.work = ask_time
    thread = world.call()[3]
    world.give_rpc_page(thread)
    world.resume(thread)
    r0, high, low, _ = world.call(smc.OPTEE_SMC_CALL_WITH_RPC_ARG)
    assert (r0, high << 32 | low) == (smc.OPTEE_SMC_RETURN_RPC_FREE, COOKIE)
    assert world.resume(thread)[0] == smc.OPTEE_SMC_RETURN_RPC_CMD
    assert world.resume(thread)[0] == smc.OPTEE_SMC_RETURN_OK


def test_only_outputs_come_back(world: World) -> None:
    """Whatever the normal world writes over inputs, attributes and counts."""
    params = [RpcParam(VALUE_IN, 1, 2, 3), RpcParam(VALUE_INOUT, 4, 5, 6), RpcParam(RMEM_OUT), RpcParam(RMEM_IN)]
    world.work = lambda thread: thread.rpc_cmd(99, params)
    thread = world.call()[3]
    world.give_rpc_page(thread)
    sent = world.rpc_message()[1]
    assert [p[0] for p in sent] == [VALUE_IN, VALUE_INOUT, 0xA, 0x9], "NULL travels as temporary memory"
    world.answer(0, *[(VALUE_INOUT, 70, 80, 90)] * 4)
    struct.pack_into("<I", world.rpc_page.view, optee_msg.MSG_ARG_NUM_PARAMS_OFFSET, 0xFFFFFFFF)
    world.resume(thread)
    assert [(p.a, p.b, p.c) for p in params] == [(1, 2, 3), (70, 80, 90), (0, 80, 0), (0, 0, 0)]


def test_resuming_what_does_not_wait(world: World, caplog: pytest.LogCaptureFixture) -> None:
    for number in (0, 1, 2, 0xFFFFFFFF, (1 << 64) - 1):
        assert world.resume(number)[0] == smc.OPTEE_SMC_RETURN_ERESUME
    world.work = ask_time
    thread = world.call()[3]
    assert world.resume(thread ^ 1)[0] == smc.OPTEE_SMC_RETURN_ERESUME
    results: list[int] = []
    other = threading.Thread(target=lambda: results.append(world.give_rpc_page(thread)[0]))
    other.start()
    other.join()
    assert results == [smc.OPTEE_SMC_RETURN_ERESUME], "a call stays on its core"
    assert "waits for nothing on this core" in caplog.text
    assert world.give_rpc_page(thread)[0] == smc.OPTEE_SMC_RETURN_RPC_CMD, "and none of it has hurt"
    while smc.is_rpc(world.resume(thread)[0]):
        pass
    assert world.resume(thread)[0] == smc.OPTEE_SMC_RETURN_ERESUME, "it has ended"


def test_no_thread_is_free(world: World) -> None:
    world.work = ask_time
    busy = [world.call()[3], world.call()[3]]
    assert busy == [0, 1]
    assert world.call()[0] == smc.OPTEE_SMC_RETURN_ETHREAD_LIMIT
    for thread in busy:
        world.give_rpc_page(thread)
        world.resume(thread)
        assert world.resume(thread)[0] == smc.OPTEE_SMC_RETURN_OK
    assert world.threads.busy == 0
    assert world.call()[0] == smc.OPTEE_SMC_RETURN_RPC_ALLOC


# --- a hostile normal world -------------------------------------------------------------------------------------------


def test_memory_for_rpcs_that_is_none(world: World) -> None:
    world.work = ask_time
    secure = world.memory.allocate(PAGE, secure=True)
    for pa in (0, 0x123, world.rpc_page.base + 8, secure.base, (1 << 64) - PAGE):
        thread = world.call()[3]
        r0, high, low, _ = world.give_rpc_page(thread, pa)
        assert (r0, high << 32 | low) == (smc.OPTEE_SMC_RETURN_RPC_FREE, COOKIE)
        assert world.resume(thread)[0] == smc.OPTEE_SMC_RETURN_OK
        assert world.outcome == gp.TEE_ERROR_OUT_OF_MEMORY
        world.call()
        assert world.give_rpc_page(thread, pa, cookie=0)[0] == smc.OPTEE_SMC_RETURN_OK, "nothing to give back"


def allocate(world: World, size: int, ret: int, param: tuple[int, int, int, int]) -> tuple[Any, list[int]]:
    """One rpc_alloc answered with ``param``: what it came to, and the RPC commands that it took."""
    world.work = lambda thread: thread.rpc_alloc(size)
    commands = []
    r0, _, _, thread = world.call()
    while smc.is_rpc(r0):
        if r0 == smc.OPTEE_SMC_RETURN_RPC_ALLOC:
            r0 = world.give_rpc_page(thread)[0]
            continue
        if r0 == smc.OPTEE_SMC_RETURN_RPC_CMD:
            commands.append(world.rpc_message()[0])
            world.answer(ret if commands == [rpc.OPTEE_RPC_CMD_SHM_ALLOC] else 0, param)
        r0 = world.resume(thread)[0]
    return world.outcome, commands


def test_shared_memory_as_promised(world: World) -> None:
    pages = world.memory.allocate(3 * PAGE, secure=False)
    listed = page_list(world.memory, [pages.base, pages.base + 2 * PAGE])
    mobj, commands = allocate(world, 5000, 0, (NONCONTIG, listed.base, 2 * PAGE, 5))
    assert (mobj.size, mobj.cookie, commands) == (2 * PAGE, 5, [rpc.OPTEE_RPC_CMD_SHM_ALLOC])
    assert world.shm.get_by_cookie(5) is mobj
    world.work = lambda thread: thread.rpc_free_mobj(mobj)
    world.call()
    world.give_rpc_page(0)
    assert world.rpc_message() == (rpc.OPTEE_RPC_CMD_SHM_FREE, [(VALUE_IN, 0, 5, 0)])
    assert len(world.shm) == 0


def test_shared_memory_not_as_promised(world: World) -> None:
    pages = world.memory.allocate(2 * PAGE, secure=False)
    listed = page_list(world.memory, [pages.base, pages.base + PAGE]).base
    secure = page_list(world.memory, [world.memory.allocate(PAGE, secure=True).base]).base
    good = (NONCONTIG, listed, 2 * PAGE, 5)
    free = [rpc.OPTEE_RPC_CMD_SHM_ALLOC, rpc.OPTEE_RPC_CMD_SHM_FREE]
    no_memory = gp.TEE_ERROR_OUT_OF_MEMORY
    assert allocate(world, PAGE, gp.TEE_ERROR_GENERIC, good) == (no_memory, free[:1])
    for attr in (0, VALUE_OUT, 0xA, 0x9 | 0x200, 0x100 | NONCONTIG):
        assert allocate(world, PAGE, 0, (attr, *good[1:])) == (no_memory, free[:1])
    assert allocate(world, 2 * PAGE + 1, 0, good) == (no_memory, free), "too small"
    assert allocate(world, PAGE, 0, (NONCONTIG, secure, PAGE, 5)) == (no_memory, free)
    assert allocate(world, PAGE, 0, (NONCONTIG, listed, (1 << 64) - 1, 5)) == (no_memory, free)
    assert allocate(world, PAGE, 0, (NONCONTIG, listed, PAGE, 0)) == (no_memory, free), "no cookie"
    mobj, _ = allocate(world, PAGE, 0, good)
    assert allocate(world, PAGE, 0, good) == (no_memory, free), "a cookie in use"
    assert world.shm.get_by_cookie(5) is mobj


@given(st.integers(0, 1 << 20), st.tuples(*[st.integers(0, (1 << 64) - 1)] * 4), st.sampled_from([0, 0xFFFF0000]))
def test_any_answer_to_an_allocation(size: int, param: tuple[int, int, int, int], ret: int) -> None:
    world = World()
    world.threads.enable_prealloc_rpc_cache()
    outcome, _ = allocate(world, size, ret, (NONCONTIG, *param[1:]) if param[0] & 1 else param)
    assert outcome == gp.TEE_ERROR_OUT_OF_MEMORY
    assert (world.threads.busy, len(world.shm)) == (0, 0)


# --- waiting, waking, giving up -----------------------------------------------------------------------------------------


def test_sleeping_and_waking_name_the_thread(world: World) -> None:
    others = world.threads._all
    world.work = lambda thread: (thread.sleep(), thread.wake(others[1]))
    thread = world.call()[3]
    world.give_rpc_page(thread)
    assert world.rpc_message() == (4, [(VALUE_IN, rpc.OPTEE_RPC_NOTIFICATION_WAIT, NOTIF_SYNC_VALUE_BASE + 0, 0)])
    world.resume(thread)
    assert world.rpc_message() == (4, [(VALUE_IN, rpc.OPTEE_RPC_NOTIFICATION_SEND, NOTIF_SYNC_VALUE_BASE + 1, 0)])


def test_abandoned_calls(world: World) -> None:
    def wait(thread: Thread) -> str:
        ask_time(thread)
        try:
            thread.check_abandoned()
        except TaPanic as e:
            return e.message
        return "goes on"

    world.work = wait
    thread = world.call()[3]
    call = (world.page.base >> 32, world.page.base & 0xFFFFFFFF, 0)
    assert world.threads.abandon((1, 2, 3)) is None
    assert world.threads.abandon(call) is world.threads._all[thread]
    world.give_rpc_page(thread)
    world.resume(thread)
    world.resume(thread)
    assert world.outcome == "the client of this call is gone"
    assert world.threads.abandon(call) is None, "it has ended"
    world.call()
    world.give_rpc_page(thread)
    world.resume(thread)
    assert world.outcome == "goes on", "the next call on that thread is not meant"


def test_notifications_come_out_lowest_first() -> None:
    notif = Notif()
    assert notif.get_value() == (0, False, False)
    for value in (63, 0, 5, 5):
        notif.send_async(value)
    assert [notif.get_value() for _ in range(4)] == [
        (0, True, True),
        (5, True, True),
        (63, True, False),
        (0, False, False),
    ]
