"""What the secure world asks in the middle of a call: each RPC, right, wrong and hostile."""

import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from driver_fakes import PAGE, Message, Normal, Param, Rpcs, until
from hypothesis import given
from hypothesis import strategies as st

from optemu.abi import gp, optee_msg
from optemu.abi import optee_rpc_cmd as rpc
from optemu.abi import optee_smc as smc
from optemu.normal_world.driver.rpc import RPC_COMMANDS
from optemu.normal_world.driver.supp import Request

VALUE_IN, VALUE_OUT, VALUE_INOUT = 1, 2, 3
NONCONTIG = optee_msg.OPTEE_MSG_ATTR_TYPE_TMEM_OUTPUT | optee_msg.OPTEE_MSG_ATTR_NONCONTIG
BAD, OK = gp.TEE_ERROR_BAD_PARAMETERS, gp.TEE_SUCCESS
APPL, KERNEL, GLOBAL = 0, 1, 2
UNANSWERED = 0x1234
TOP = (1 << 64) - 1
SECOND = 10**9


class Room(Normal):
    """A session whose calls do RPCs: ``rpc`` does one with its argument behind the call's message."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.number = self.session()
        self.asked: list[tuple[int, list[int]]] = []
        self.answer: Any = lambda func, params: 0
        self.optee.supp.thrd_req = self._thrd_req  # type: ignore[method-assign]

    def _thrd_req(self, request: Request, gone: Any) -> int:
        self.asked.append((request.func, request.params.copy()))
        return int(self.answer(request.func, request.params))

    def during_a_call(self, script: Any) -> None:
        """One invoke whose serving is ``script(message)``, a generator of RPCs."""
        self.secure.serve = script
        assert self.invoke(self.number)[0] == 0

    def rpc(self, cmd: int, *params: Param, count: int | None = None) -> tuple[int, list[Param]]:
        """(ret, parameters) of one RPC_CMD."""
        view: Any = None

        def script(message: Message) -> Rpcs:
            nonlocal view
            view = message.view[optee_msg.msg_arg_size(0) :]
            write(view, cmd, params, count)
            regs = yield smc.OPTEE_SMC_RETURN_RPC_CMD, 0, 0
            assert regs[1:3] == (0, 0)
            result.append(struct.unpack_from("<I", view, 20)[0])
            message.answer()

        result: list[int] = []
        self.during_a_call(script)
        return result[0], [optee_msg.MSG_PARAM.unpack_from(view, 32 + 32 * n) for n in range(len(params))]  # type: ignore[misc]

    def raw(self, r0: int, r1: int = 0, r2: int = 0) -> tuple[int, ...]:
        """One RPC by its registers: a1 to a5 with which the thread is resumed."""
        result: list[tuple[int, ...]] = []

        def script(message: Message) -> Rpcs:
            result.append((yield r0, r1, r2)[1:6])
            message.answer()

        self.during_a_call(script)
        return result[0]


def write(view: memoryview, cmd: int, params: tuple[Param, ...], count: int | None = None) -> None:
    optee_msg.MSG_ARG.pack_into(view, 0, cmd, 0, 0, 0, 0, UNANSWERED, 0, len(params) if count is None else count)
    for n, p in enumerate(params):
        optee_msg.MSG_PARAM.pack_into(view, 32 + 32 * n, *p)


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    room.close()


# --- by registers -----------------------------------------------------------------------------------------------------


def test_memory_for_arguments(room: Room) -> None:
    used = room.board.memory.count(secure=False)
    high, low, thread, cookie_high, cookie_low = room.raw(smc.OPTEE_SMC_RETURN_RPC_ALLOC, 160)
    pa, cookie = high << 32 | low, cookie_high << 32 | cookie_low
    assert (pa % PAGE, thread) == (0, 0)
    assert len(room.secure.memory(pa)) == PAGE
    assert room.optee.by_cookie[cookie].size == PAGE
    for _ in range(2):
        assert room.raw(smc.OPTEE_SMC_RETURN_RPC_FREE, cookie_high, cookie_low)[:2] == (0, 0)
    assert room.board.memory.count(secure=False) == used


@pytest.mark.parametrize("size", [PAGE + 1, 0xFFFFFFFF, TOP])
def test_more_than_a_page_is_not_given(room: Room, size: int) -> None:
    high, low, _, cookie_high, cookie_low = room.raw(smc.OPTEE_SMC_RETURN_RPC_ALLOC, size)
    assert (high, low, cookie_high, cookie_low) == (0, 0, 0, 0)


@pytest.mark.parametrize("r0", [smc.OPTEE_SMC_RETURN_RPC_FOREIGN_INTR, 0xFFFF0001, 0xFFFF0099, 0xFFFFFFFE])
def test_interrupts_and_what_nobody_knows_resume_the_thread(room: Room, r0: int) -> None:
    high, low, *_ = room.raw(r0, 1, 2)
    assert (high, low) == (0, 0)


def test_an_argument_in_memory_of_its_own() -> None:
    """As from a secure world without RPC_ARG: nothing behind the message, a cookie in the registers."""
    room = Room()
    room.optee.rpc_param_count = 0
    times: list[Param] = []

    def script(message: Message) -> Rpcs:
        regs = yield smc.OPTEE_SMC_RETURN_RPC_ALLOC, 160, 0
        view = room.secure.memory(regs[1] << 32 | regs[2])
        write(view, rpc.OPTEE_RPC_CMD_GET_TIME, ((VALUE_OUT, 0, 0, 0),))
        yield smc.OPTEE_SMC_RETURN_RPC_CMD, regs[4], regs[5]
        times.append(optee_msg.MSG_PARAM.unpack_from(view, 32))  # type: ignore[arg-type]
        yield smc.OPTEE_SMC_RETURN_RPC_FREE, regs[4], regs[5]
        message.answer()

    room.during_a_call(script)
    assert abs(times[0][1] - time.time()) < 60


def test_an_argument_in_memory_that_is_none(room: Room) -> None:
    room.optee.rpc_param_count = 0
    room.raw(smc.OPTEE_SMC_RETURN_RPC_CMD, 1, 2)
    room.shm_alloc(16)
    cookie = room.task.shms[0].cookie
    room.raw(smc.OPTEE_SMC_RETURN_RPC_CMD, cookie >> 32, cookie & 0xFFFFFFFF)
    assert bytes(room.task.shms[0].view) == bytes(16), "too small for one"


@pytest.mark.parametrize("count", [5, 16, 17, 0x07FFFFFF, 0xFFFFFFFF])
def test_more_parameters_than_there_is_room_for(room: Room, count: int) -> None:
    ret, _ = room.rpc(rpc.OPTEE_RPC_CMD_GET_TIME, (VALUE_OUT, 0, 0, 0), count=count)
    assert ret == (BAD if count <= 14 else UNANSWERED)


# --- served by the driver -------------------------------------------------------------------------------------------------


def test_time() -> None:
    ret, [(attr, seconds, nanos, _)] = Room(clock_offset=-1000).rpc(rpc.OPTEE_RPC_CMD_GET_TIME, (VALUE_OUT, 0, 0, 0))
    assert (ret, attr) == (OK, VALUE_OUT)
    assert abs(seconds + 1000 - time.time()) < 60
    assert 0 <= nanos < SECOND


@pytest.mark.parametrize("cmd", sorted(set(RPC_COMMANDS) - {rpc.OPTEE_RPC_CMD_I2C_TRANSFER}))
def test_wrong_parameters(room: Room, cmd: int) -> None:
    right = (VALUE_OUT if cmd == rpc.OPTEE_RPC_CMD_GET_TIME else VALUE_IN, 1, 1, 0)
    for wrong in ([], [right, right], [(VALUE_INOUT, 0, 0, 0)], [(5, 0, 0, 0)], [(0, 0, 0, 0)], [(0xFF, 1, 1, 1)]):
        assert room.rpc(cmd, *wrong) == (BAD, wrong)
    assert room.asked == []


def test_a_bus_that_is_not_there(room: Room) -> None:
    assert room.rpc(rpc.OPTEE_RPC_CMD_I2C_TRANSFER)[0] == gp.TEE_ERROR_NOT_SUPPORTED


def notify(room: Room, what: int, key: int) -> int:
    return room.rpc(rpc.OPTEE_RPC_CMD_NOTIFICATION, (VALUE_IN, what, key, 0))[0]


def test_sleeping_until_woken() -> None:
    sleeper, waker = Room(), Room()
    waker.optee.notifications = sleeper.optee.notifications
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(notify(sleeper, 0, 64)), daemon=True)
    thread.start()
    until(lambda: 64 in sleeper.optee.notifications)
    assert notify(waker, 1, 65) == OK
    assert thread.is_alive(), "another one's"
    assert notify(waker, 1, 64) == OK
    thread.join(10)
    assert results == [OK]


def test_a_wake_up_before_the_sleep_is_kept(room: Room) -> None:
    assert notify(room, 1, 64) == OK
    assert notify(room, 0, 64) == OK
    assert not room.optee.notifications[64].is_set(), "and used up"
    assert notify(room, 2, 64) == BAD


def test_suspending(room: Room) -> None:
    assert room.rpc(rpc.OPTEE_RPC_CMD_SUSPEND, (VALUE_IN, 1, 0, 0))[0] == OK
    room.optee.powering_off = True
    assert room.rpc(rpc.OPTEE_RPC_CMD_SUSPEND, (VALUE_IN, TOP, 0, 0))[0] == OK, "not for ages when nobody waits"


# --- shared memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 5000, 600 * PAGE])
def test_kernel_memory(room: Room, size: int) -> None:
    used = room.board.memory.count(secure=False)
    pages: list[int] = []

    def script(message: Message) -> Iterator[Any]:
        view = message.view[32:]
        write(view, rpc.OPTEE_RPC_CMD_SHM_ALLOC, ((VALUE_IN, KERNEL, size, 8),))
        yield smc.OPTEE_SMC_RETURN_RPC_CMD, 0, 0
        attr, buf_ptr, got, cookie = optee_msg.MSG_PARAM.unpack_from(view, 32)
        assert (view[20], attr, got) == (0, NONCONTIG, size)
        pages.extend(room.secure.page_list(buf_ptr, got))
        assert len({page for page in pages if room.secure.memory(page)}) == -(-size // PAGE)
        write(view, rpc.OPTEE_RPC_CMD_SHM_FREE, ((VALUE_IN, KERNEL, cookie, 0),))
        yield smc.OPTEE_SMC_RETURN_RPC_CMD, 0, 0
        assert view[20] == 0
        message.answer()

    room.during_a_call(script)
    assert pages
    assert room.board.memory.count(secure=False) == used, "neither memory nor page list is left"


def test_one_page_list_is_kept_at_a_time(room: Room) -> None:
    """It must last until the secure world has read it: until the next one, or the end of the call."""
    idle: list[int] = []

    def script(message: Message) -> Iterator[Any]:
        for _ in range(3):
            write(message.view[32:], rpc.OPTEE_RPC_CMD_SHM_ALLOC, ((VALUE_IN, KERNEL, PAGE, 8),))
            yield smc.OPTEE_SMC_RETURN_RPC_CMD, 0, 0
            idle.append(len(room.optee.pool._pages))
        message.answer()

    before = len(room.optee.pool._pages)
    room.during_a_call(script)
    assert idle == [before - 1] * 3
    assert len(room.optee.pool._pages) == before


@pytest.mark.parametrize("what", [(KERNEL, 0), (KERNEL, (1 << 24) + 1), (KERNEL, TOP), (GLOBAL, 100), (3, 100)])
def test_kernel_memory_that_is_not_given(room: Room, what: tuple[int, int]) -> None:
    sent = (VALUE_IN, *what, 8)
    assert room.rpc(rpc.OPTEE_RPC_CMD_SHM_ALLOC, sent) == (BAD, [sent])
    assert room.rpc(rpc.OPTEE_RPC_CMD_SHM_FREE, (VALUE_IN, 2, 5, 0))[0] == BAD


def test_memory_of_the_supplicant(room: Room) -> None:
    priv = room.device.open("/dev/teepriv0", room.task)
    room.ioctl(0xC010A401, struct.pack("<QIi", 5000, 0, -1), priv)
    [shm] = room.task.shms

    def give(func: int, params: list[int]) -> int:
        params[3] = shm.id
        return 0

    room.answer = give
    ret, [(attr, _, size, cookie)] = room.rpc(rpc.OPTEE_RPC_CMD_SHM_ALLOC, (VALUE_IN, APPL, 5000, 8))
    assert (ret, attr, size, cookie) == (OK, NONCONTIG, 5000, shm.cookie)
    assert room.asked == [(rpc.OPTEE_RPC_CMD_SHM_ALLOC, [VALUE_INOUT, APPL, 5000, 0])]
    assert shm.refs == 2
    freeing = (VALUE_IN, APPL, cookie, 0)
    assert room.rpc(rpc.OPTEE_RPC_CMD_SHM_FREE, freeing)[0] == OK
    assert room.asked[-1] == (rpc.OPTEE_RPC_CMD_SHM_FREE, [VALUE_INOUT, APPL, shm.id, 0])
    assert shm.refs == 1
    assert room.rpc(rpc.OPTEE_RPC_CMD_SHM_FREE, freeing)[0] == BAD, "once"


def test_a_supplicant_that_gives_none(room: Room) -> None:
    asking = (VALUE_IN, APPL, 5000, 8)
    room.answer = lambda func, params: gp.TEE_ERROR_OUT_OF_MEMORY
    assert room.rpc(rpc.OPTEE_RPC_CMD_SHM_ALLOC, asking) == (gp.TEE_ERROR_OUT_OF_MEMORY, [asking])
    room.answer = lambda func, params: 0  # and no supplicant has such an object
    assert room.rpc(rpc.OPTEE_RPC_CMD_SHM_ALLOC, asking) == (gp.TEE_ERROR_OUT_OF_MEMORY, [asking])
    room.device.open("/dev/teepriv0", room.task)
    assert room.rpc(rpc.OPTEE_RPC_CMD_SHM_ALLOC, asking) == (gp.TEE_ERROR_OUT_OF_MEMORY, [asking])


# --- for the supplicant -----------------------------------------------------------------------------------------------------


def test_everything_else_is_the_supplicants(room: Room) -> None:
    def answer(func: int, params: list[int]) -> int:
        for at in range(0, len(params), 4):
            params[at + 1 : at + 4] = 7, 8, 9
        return 0xFFFF0008

    room.answer = answer
    ret, params = room.rpc(12, (VALUE_IN, 1, 2, 3), (VALUE_OUT, 0, 0, 0), (VALUE_INOUT, 4, 5, 6), (0, 1, 1, 1))
    assert ret == 0xFFFF0008
    assert params == [(1, 1, 2, 3), (2, 7, 8, 9), (3, 7, 8, 9), (0, 1, 1, 1)]
    assert room.asked[0][1][::4] == [1, 2, 3, 0]


def test_references_to_shared_memory(room: Room) -> None:
    room.shm_alloc(100)
    [shm] = room.task.shms
    base, cookie = shm.region.base, shm.cookie
    sent: list[Param] = [(6, 10, 90, cookie), (7, 0, 5, 0), (9, base + 20, 80, cookie), (0x20A, 0, 6, 0)]

    def answer(func: int, params: list[int]) -> int:
        params[2::4] = [77] * 4
        return 0

    room.answer = answer
    assert room.rpc(2, *sent) == (0, [(6, 10, 77, cookie), (7, 0, 77, 0), sent[2], (0x20A, 0, 77, 0)])
    assert room.asked[0][1] == [6, 10, 90, shm.id, 7, 0, 5, TOP, 5, 20, 80, shm.id, 6, 0, 6, TOP]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda base, cookie: (5, 0, 10, cookie + 1),
        lambda base, cookie: (5, 0, 101, cookie),
        lambda base, cookie: (6, 101, 0, cookie),
        lambda base, cookie: (7, TOP, 2, cookie),
        lambda base, cookie: (9, base - 1, 2, cookie),
        lambda base, cookie: (10, base + 50, 51, cookie),
        lambda base, cookie: (4, 0, 0, 0),
        lambda base, cookie: (12, 0, 0, 0),
        lambda base, cookie: (0xFF, 0, 0, 0),
    ],
)
def test_references_that_do_not_reach_the_supplicant(room: Room, wrong: Any) -> None:
    room.shm_alloc(100)
    [shm] = room.task.shms
    sent = wrong(shm.region.base, shm.cookie)
    assert room.rpc(2, (VALUE_IN, 0, 0, 0), sent) == (BAD, [(VALUE_IN, 0, 0, 0), sent])
    assert room.asked == []


def test_no_memory_left(room: Room) -> None:
    window = room.board.memory._windows[False]
    window.end = window.next
    assert room.raw(smc.OPTEE_SMC_RETURN_RPC_ALLOC, 160)[:2] == (0, 0)
    asking = (VALUE_IN, KERNEL, 5000, 8)
    assert room.rpc(rpc.OPTEE_RPC_CMD_SHM_ALLOC, asking) == (gp.TEE_ERROR_OUT_OF_MEMORY, [asking])


def test_a_defect_of_ours_is_an_answer(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    room.answer = lambda func, params: 1 // 0
    assert room.rpc(2)[0] == gp.TEE_ERROR_GENERIC
    assert "this is a bug of optemu" in caplog.text
    assert room.file.calls == set()


_U64 = st.integers(0, TOP)
_ATTRS = st.one_of(st.integers(0, 12), _U64)
_COMMANDS = st.one_of(st.integers(0, 25), st.integers(0, (1 << 32) - 1)).filter(
    lambda cmd: cmd not in (rpc.OPTEE_RPC_CMD_NOTIFICATION, rpc.OPTEE_RPC_CMD_SUSPEND)
)
_ROOM = Room()


@given(_COMMANDS, st.lists(st.tuples(_ATTRS, st.one_of(st.integers(0, 3), _U64), _U64, _U64), max_size=4))
def test_any_rpc_is_answered(cmd: int, params: list[Param]) -> None:
    used = _ROOM.board.memory.count(secure=False)
    ret, _ = _ROOM.rpc(cmd, *params)
    assert ret != UNANSWERED
    for cookie, shm in list(_ROOM.optee.by_cookie.items()):
        if shm.fd < 0 and shm.ctx is None and shm not in _ROOM.optee._arg_pages:
            _ROOM.rpc(rpc.OPTEE_RPC_CMD_SHM_FREE, (VALUE_IN, KERNEL, cookie, 0))
    assert _ROOM.board.memory.count(secure=False) == used
