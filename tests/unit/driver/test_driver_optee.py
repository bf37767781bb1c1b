"""The driver's side of a call: probing, messages, where they lie, and waiting for a thread."""

import errno
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from driver_fakes import PAGE, FakeSecureWorld, Message, Normal, until

from optemu.abi import gp, optee_msg
from optemu.abi import optee_smc as smc
from optemu.board.board import Board
from optemu.normal_world.driver.optee import SHM_ENTRY_SIZE, CallQueue, Optee
from optemu.normal_world.driver.tee_shm import TeeShm

META = 0x101
UUID = bytes.fromhex("8aaaf200245011e4abe20002a5d5c51b")


@pytest.fixture
def normal() -> Iterator[Normal]:
    normal = Normal()
    yield normal
    normal.close()


# --- probing ----------------------------------------------------------------------------------------------------------


def test_what_the_secure_world_says_of_itself(normal: Normal) -> None:
    optee = normal.optee
    assert (optee.os_revision, optee.thread_count, optee.rpc_param_count) == ((4, 10, 0xABC), 2, 4)
    assert smc.OPTEE_SMC_ENABLE_SHM_CACHE in [regs[0] for regs in normal.secure.fast_calls]


@pytest.mark.parametrize(
    ("call", "answer", "words"),
    [
        (smc.OPTEE_SMC_CALLS_UID, (1, 2, 3, 4), "does not have OP-TEE's API UID"),
        (smc.OPTEE_SMC_CALLS_UID, (smc.OPTEE_SMC_RETURN_UNKNOWN_FUNCTION,), "does not have OP-TEE's API UID"),
        (smc.OPTEE_SMC_CALLS_REVISION, (1, 9), "revision 1.9 is too old"),
        (smc.OPTEE_SMC_EXCHANGE_CAPABILITIES, (0, smc.OPTEE_SMC_SEC_CAP_HAVE_RESERVED_SHM), "no dynamic shared memory"),
        (smc.OPTEE_SMC_EXCHANGE_CAPABILITIES, (smc.OPTEE_SMC_RETURN_ENOTAVAIL,), "no dynamic shared memory"),
    ],
)
def test_a_secure_world_that_is_not_op_tee(call: int, answer: tuple[int, ...], words: str) -> None:
    board = Board()
    secure = FakeSecureWorld(board)
    secure.fast[call] = answer
    with pytest.raises(OSError, match=words) as caught:
        Optee(board, secure)
    assert caught.value.errno == errno.ENODEV


# --- messages ---------------------------------------------------------------------------------------------------------


def test_the_messages_of_a_session(normal: Normal) -> None:
    normal.secure.serve = lambda message: message.answer(session=9)
    normal.open(UUID, [(1, 10, 20, 30)])
    normal.invoke(9, 0x55, [(2, 0, 0, 0)])
    normal.optee.cancel_req(normal.file, 77, 9)
    normal.optee.close_session(normal.file, 9)
    opened, invoked, cancelled, closed = normal.secure.messages[1:]  # the first registers the page they lie in
    low, high = (int.from_bytes(half, "little") for half in (UUID[:8], UUID[8:]))
    assert (opened.cmd, opened.params) == (0, [(META, low, high, 0), (META, 0, 0, 0), (1, 10, 20, 30)])
    assert (invoked.cmd, invoked.func, invoked.session, invoked.params) == (1, 0x55, 9, [(2, 0, 0, 0)])
    assert (cancelled.cmd, cancelled.session, cancelled.cancel_id, cancelled.params) == (3, 9, 77, [])
    assert (closed.cmd, closed.session, closed.params) == (2, 9, [])


def test_results_and_outputs_come_back(normal: Normal) -> None:
    session = normal.session()
    normal.secure.serve = lambda message: message.answer(0xFFFF000A, 4, params=[(2, 5, 6, 7)])
    assert normal.invoke(session, 0, [(2, 0, 0, 0)]) == (0, (0xFFFF000A, 4), [(2, 5, 6, 7)])


@pytest.mark.parametrize("code", [smc.OPTEE_SMC_RETURN_EBADCMD, smc.OPTEE_SMC_RETURN_EBADADDR, 0x1234])
def test_a_call_that_fails_below_the_message(normal: Normal, code: int) -> None:
    session = normal.session()
    normal.secure.result = code
    failed = (gp.TEE_ERROR_COMMUNICATION, gp.TEE_ORIGIN_COMMS)
    assert normal.invoke(session, 0, [(2, 8, 9, 0)]) == (0, failed, [(2, 8, 9, 0)])
    assert normal.open()[:4] == (0, 0, *failed)


def test_messages_of_calls_at_once_do_not_share_memory(normal: Normal) -> None:
    """Entries of 512 bytes, eight to a page; used again when their call is over."""
    session = normal.session()

    def nest(message: Message) -> None:
        if message.func < 9:
            assert normal.optee.invoke_func(normal.file, message.func + 1, session, 0, ())[0] == message.func + 1
        message.answer(message.func)

    normal.secure.serve = nest
    normal.optee.invoke_func(normal.file, 0, session, 0, ())
    pages = [m for m in normal.secure.messages if m.cmd == optee_msg.OPTEE_MSG_CMD_REGISTER_SHM]
    assert len(pages) == 2, "ten at once need a second page"
    offsets = sorted(entry.offset for entry in normal.optee._entries)
    assert offsets == sorted([*range(0, PAGE, SHM_ENTRY_SIZE)] * 2)
    normal.secure.serve = lambda message: message.answer()
    normal.optee.invoke_func(normal.file, 0, session, 0, ())
    assert len(normal.optee._entries) == 16


def test_more_parameters_than_a_message_takes(normal: Normal) -> None:
    session = normal.session()
    before = len(normal.secure.messages)
    assert normal.invoke(session, 0, [(1, 0, 0, 0)] * 7)[0] == -errno.EINVAL
    assert normal.open(UUID, [(1, 0, 0, 0)] * 5)[0] == -errno.EINVAL
    assert len(normal.secure.messages) == before
    assert normal.invoke(session, 0, [(1, 0, 0, 0)] * 6)[0] == 0, "what is too many is the core's to say"


# --- the call queue -----------------------------------------------------------------------------------------------------


def test_no_thread_free_waits_for_a_call_to_end(normal: Normal) -> None:
    session = normal.session()
    inside, go_on, results = threading.Event(), threading.Event(), []

    def hold(message: Message) -> None:
        if message.func == 1:
            inside.set()
            assert go_on.wait(10)
        message.answer(message.func)

    def invoke(func: int) -> None:
        results.append(normal.optee.invoke_func(normal.file, func, session, 0, ())[0])

    normal.secure.serve = hold
    first = threading.Thread(target=invoke, args=(1,))
    first.start()
    assert inside.wait(10)
    normal.secure.no_thread = 1
    second = threading.Thread(target=invoke, args=(2,))
    second.start()
    until(lambda: normal.optee._queue._waiting == 1)
    assert normal.secure.no_thread == 0
    go_on.set()
    first.join(10)
    second.join(10)
    assert sorted(results) == [1, 2]
    assert normal.optee._queue._waiting == 0


def test_a_call_that_ended_meanwhile_is_not_missed() -> None:
    """Between the refusal and the wait the only call under way may end: then there is nothing to wait for."""
    queue = CallQueue()
    seen = queue.completed
    queue.complete()
    queue.wait(seen)


def test_each_end_lets_one_go_on() -> None:
    queue = CallQueue()
    left: list[int] = []

    def wait(n: int) -> None:
        queue.wait(queue.completed)
        left.append(n)

    threads = [threading.Thread(target=wait, args=(n,)) for n in range(3)]
    for n, thread in enumerate(threads, 1):
        thread.start()
        until(lambda n=n: queue._waiting == n)  # type: ignore[misc]
    for n in range(1, 4):
        queue.complete()
        until(lambda n=n: len(left) >= n)  # type: ignore[misc]
        assert len(left) == n
    for thread in threads:
        thread.join(10)


# --- page lists and the end of a caller -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pages", [1, 2, 511, 512, 1300])
def test_registered_memory_is_named_page_by_page(normal: Normal, pages: int) -> None:
    shm = TeeShm(normal.board.memory.allocate(pages * PAGE, secure=False), pages * PAGE - 5, lambda shm: None)
    used = normal.board.memory.count(secure=False)
    normal.optee.shm_register(shm)
    base = shm.region.base
    assert normal.secure.registered[shm.cookie] == ([base + n * PAGE for n in range(pages)], 0, shm.size)
    assert normal.board.memory.count(secure=False) <= used + 1, "the list is not kept"
    normal.optee.shm_unregister(shm)
    normal.optee.shm_unregister(shm)
    assert shm.cookie not in normal.secure.registered
    assert [m.cmd for m in normal.secure.messages].count(optee_msg.OPTEE_MSG_CMD_UNREGISTER_SHM) == 1


def test_memory_the_secure_world_refuses(normal: Normal) -> None:
    shm = TeeShm(normal.board.memory.allocate(PAGE, secure=False), PAGE, lambda shm: None)
    normal.secure.result = smc.OPTEE_SMC_RETURN_EBADADDR
    with pytest.raises(OSError, match="does not take the memory") as caught:
        normal.optee.shm_register(shm)
    assert caught.value.errno == errno.EINVAL
    assert shm.cookie not in normal.optee.by_cookie


def test_calls_of_the_dead_are_cancelled_and_then_abandoned(normal: Normal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optemu.normal_world.driver.optee.ABANDON_AFTER_SECONDS", 0)
    session = normal.session()
    go_on = threading.Event()

    def loop(message: Message) -> Any:
        if message.cmd == optee_msg.OPTEE_MSG_CMD_INVOKE_COMMAND:
            assert go_on.wait(10)
        message.answer()

    def abandon(*regs: int) -> Any:
        if regs[0] == smc.OPTEMU_SMC_ABANDON:
            abandoned.append(regs[1:])
            go_on.set()
        return normal.secure(*regs)

    abandoned: list[tuple[int, ...]] = []
    normal.optee.invoke_fn = abandon
    normal.secure.serve = loop
    call = threading.Thread(target=normal.optee.invoke_func, args=(normal.file, 0, session, 0, ()))
    call.start()
    until(lambda: bool(normal.file.calls))
    [arg] = normal.file.calls
    normal.file.interrupted(normal.task)
    call.join(10)
    assert not call.is_alive()
    assert set(abandoned) == {arg.call[1:]}, "named by the registers it was made with"
    assert normal.secure.messages[-1].cmd == optee_msg.OPTEE_MSG_CMD_CANCEL
    assert not normal.file.calls
