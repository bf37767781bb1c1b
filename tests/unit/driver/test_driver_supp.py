"""The supplicant's protocol: requests received and answered, out of turn, wrongly, or not at all."""

import errno
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from driver_fakes import Normal, Param, pack, unpack, until

from optemu.abi import tee_ioctl as ioc
from optemu.normal_world.driver.supp import TEEC_ERROR_COMMUNICATION, Request, Supp

META, META_VALUE = 0x100, 0x103
NULL = ioc.TEE_MEMREF_NULL


class Room(Normal):
    """A driver with an open /dev/teepriv0, and callers that ask."""

    def __init__(self) -> None:
        super().__init__()
        self.priv = self.device.open("/dev/teepriv0", self.task)
        self.gone = False
        self.results: dict[int, tuple[int, list[Param]]] = {}

    @property
    def supp(self) -> Supp:
        return self.optee.supp

    def ask(self, func: int, *params: Param, copied: Any = ()) -> threading.Thread:
        """A caller that waits for the supplicant's answer to ``func``."""

        def call() -> None:
            numbers = [number for param in params for number in param]
            outputs = [at for at in range(0, len(numbers), 4) if numbers[at] in (2, 3, 6, 7)]
            ret = self.supp.thrd_req(Request(func, numbers, outputs, list(copied)), lambda: self.gone)
            self.results[func] = ret, [*zip(*[iter(numbers)] * 4, strict=True)]

        queued = len(self.supp._queue)
        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        until(lambda: len(self.supp._queue) > queued or not thread.is_alive())
        return thread

    def recv(self, *params: Param, count: int | None = None) -> tuple[int, Any, list[Param]]:
        """TEE_IOC_SUPPL_RECV: (result, func, parameters)."""
        count = len(params) if count is None else count
        rc, block = self.buf_ioctl(
            ioc.TEE_IOC_SUPPL_RECV, ioc.SUPP_RECV_ARG.pack(0, count) + pack([*params]), self.priv
        )
        func, got = ioc.SUPP_RECV_ARG.unpack_from(block)
        return rc, func, unpack(block, 8)[:got]

    def send(self, ret: int, *params: Param, count: int | None = None) -> int:
        count = len(params) if count is None else count
        block = ioc.SUPP_SEND_ARG.pack(ret, count) + pack([*params])
        return self.buf_ioctl(ioc.TEE_IOC_SUPPL_SEND, block, self.priv)[0]


FREE: Param = (0, 0, 0, 0)
WITH_META: Param = (META, 0, 0, 0)


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    room.close()


# --- one request ------------------------------------------------------------------------------------------------------


def test_without_meta_parameters(room: Room) -> None:
    caller = room.ask(2, (1, 10, 11, 12), (2, 0, 0, 0), (3, 20, 21, 22))
    assert room.recv(FREE, FREE, FREE, FREE) == (0, 2, [(1, 10, 11, 12), (2, 0, 0, 0), (3, 20, 21, 22)])
    assert room.send(0xFFFF0001, (1, 7, 7, 7), (2, 30, 31, 32), (3, 40, 41, 42)) == 0
    caller.join(10)
    ret, params = room.results[2]
    assert ret == 0xFFFF0001
    assert params == [(1, 10, 11, 12), (2, 30, 31, 32), (3, 40, 41, 42)], "outputs only"


def test_with_meta_parameters_requests_overlap(room: Room) -> None:
    callers = [room.ask(n, (3, n, 0, 0)) for n in (5, 6)]
    taken = [room.recv(WITH_META, FREE) for _ in callers]
    assert [(rc, func, params[1]) for rc, func, params in taken] == [(0, 5, (3, 5, 0, 0)), (0, 6, (3, 6, 0, 0))]
    first, second = (params[0] for _, _, params in taken)
    assert first[0] == second[0] == META_VALUE
    assert first[1] != second[1]
    assert room.send(0, second, (3, 66, 0, 0)) == 0
    assert room.send(0, first, (3, 55, 0, 0)) == 0
    for caller in callers:
        caller.join(10)
    assert {func: params[0][1] for func, (_, params) in room.results.items()} == {5: 55, 6: 66}


def test_references_go_by_id_and_come_back_as_sizes(room: Room) -> None:
    rc, _ = room.ioctl(ioc.TEE_IOC_SHM_ALLOC, ioc.SHM_ALLOC_DATA.pack(100, 0, -1), room.priv)
    assert rc > 0
    [shm] = room.task.shms
    caller = room.ask(0, (6, 10, 90, shm.id), (7, 0, 5, NULL))
    assert room.recv(FREE, FREE)[2] == [(6, 10, 90, shm.id), (7, 0, 5, NULL)]
    room.send(0, (6, 99, 50, 99), (7, 99, 60, 99))
    caller.join(10)
    assert room.results[0][1] == [(6, 10, 50, shm.id), (7, 0, 60, NULL)]


def test_memory_that_the_supplicant_registered_is_copied(room: Room) -> None:
    """To it with the request, and back with the answer where that says so."""
    addr = room.task.BASE + 0x3000
    assert room.ioctl(ioc.TEE_IOC_SHM_REGISTER, ioc.SHM_REGISTER_DATA.pack(addr, 8, 0, -1), room.priv)[0] >= 0
    [shm] = room.task.shms
    for kind, seen in ((5, b"of the r"), (6, b"of the p")):
        shm.view[:] = b"of the r"
        caller = room.ask(0, (kind, 0, 8, shm.id), copied=[(0, shm)])
        assert room.recv(FREE)[2] == [(kind, 0, 8, shm.id)]
        assert room.task.read(addr, 8) == b"of the r"
        room.task.write(addr, b"of the p")
        assert room.send(0, (kind, 0, 8, shm.id)) == 0
        caller.join(10)
        assert bytes(shm.view) == seen


def test_memory_of_the_supplicant_is_not_registered_by_itself(room: Room) -> None:
    before = len(room.secure.messages)
    room.ioctl(ioc.TEE_IOC_SHM_ALLOC, ioc.SHM_ALLOC_DATA.pack(100, 0, -1), room.priv)
    assert len(room.secure.messages) == before


def test_a_supplicant_in_this_process_serves_on_the_callers_thread(room: Room) -> None:
    def serve() -> None:
        served.append(threading.current_thread())
        _, _, params = room.recv(WITH_META, FREE)
        assert room.send(0, params[0], (3, 42, 0, 0)) == 0

    served: list[threading.Thread] = []
    room.supp.lend(serve, [9])
    param = [3, 1, 0, 0]
    assert room.supp.thrd_req(Request(9, param, [0], []), lambda: False) == 0
    assert param == [3, 42, 0, 0]
    assert served == [threading.current_thread()]


# --- against the protocol -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [[(1, 0, 0, 0)], [FREE, (3, 0, 0, 0)], [(META_VALUE, 0, 0, 0)], [(5, 0, 0, 0)], [(0x200, 0, 0, 0)], [(4, 0, 0, 0)]],
)
def test_recv_carries_nothing_in(room: Room, params: list[Param]) -> None:
    assert room.recv(*params)[0] == -errno.EINVAL


def test_blocks_of_the_wrong_size(room: Room) -> None:
    room.ask(1)
    assert room.recv(FREE, count=2)[0] == -errno.EINVAL
    assert room.recv(FREE, count=0)[0] == -errno.EINVAL
    assert room.recv(FREE, count=0xFFFFFFFF)[0] == -errno.EINVAL
    assert room.recv(FREE)[0] == 0
    assert room.send(0, count=1) == -errno.EINVAL
    assert room.send(0, count=0xFFFFFFFF) == -errno.EINVAL
    for cmd in (ioc.TEE_IOC_SUPPL_RECV, ioc.TEE_IOC_SUPPL_SEND):
        assert room.buf_ioctl(cmd, bytes(7), room.priv)[0] == -errno.EINVAL
        assert room.ioctl(cmd, ioc.BUF_DATA.pack(room.task.BASE, 4097), room.priv)[0] == -errno.EINVAL
        assert room.ioctl(cmd, ioc.BUF_DATA.pack(0, 8), room.priv)[0] == -errno.EFAULT
        assert room.priv.ioctl(cmd, 0, room.task) == -errno.EFAULT
    assert room.send(0) == 0


def test_no_room_for_the_parameters(room: Room) -> None:
    for sent in ([FREE], [WITH_META, FREE]):
        caller = room.ask(3, (1, 0, 0, 0), (2, 0, 0, 0))
        assert room.recv(*sent)[0] == -errno.EINVAL
        caller.join(10)
        assert room.results[3][0] == TEEC_ERROR_COMMUNICATION, "its caller does not wait for a better supplicant"


def test_answers_that_fit_no_request(room: Room) -> None:
    caller = room.ask(4, (2, 0, 0, 0))
    assert room.send(0) == -errno.EINVAL, "which one?"
    assert room.send(0, (META_VALUE, 99, 0, 0), (2, 0, 0, 0)) == -errno.ENOENT
    meta = room.recv(WITH_META, FREE)[2][0]
    for wrong in ([], [(2, 0, 0, 0)], [(META, *meta[1:]), (2, 0, 0, 0)], [(3, *meta[1:]), (2, 0, 0, 0)]):
        assert room.send(0, *wrong) == -errno.EINVAL
    for count in (0, 2, 3):
        assert room.send(0, meta, *[(2, 0, 0, 0)] * count) == -errno.EINVAL
    for attr in (4, 8, 0x203, 1 << 32):
        assert room.send(0, meta, (attr, 0, 0, 0)) == -errno.EINVAL
    assert caller.is_alive(), "none of this has ended its wait"
    assert room.send(0, meta, (2, 0, 0, 0)) == 0
    assert room.send(0, meta, (2, 0, 0, 0)) == -errno.ENOENT
    caller.join(10)


def test_one_at_a_time_without_meta(room: Room) -> None:
    """Neither style may take a second request while one is taken without meta: its answer would be mistaken."""
    callers = [room.ask(n) for n in (1, 2)]
    assert room.recv(FREE)[:2] == (0, 1)
    assert room.recv(FREE)[0] == -errno.EINVAL
    assert room.recv(WITH_META)[0] == -errno.EINVAL
    assert room.send(0) == 0
    assert room.recv(WITH_META)[:2] == (0, 2)
    room.priv.close()
    for caller in callers:
        caller.join(10)
    assert [room.results[n][0] for n in (1, 2)] == [0, TEEC_ERROR_COMMUNICATION]


# --- who goes away ----------------------------------------------------------------------------------------------------------


def waiting(room: Room, call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(call()), daemon=True)
    thread.start()
    until(lambda: len(room.supp._cond._waiters) > 0)  # type: ignore[attr-defined]
    return thread, results


def test_recv_waits_for_a_request(room: Room) -> None:
    thread, results = waiting(room, lambda: room.recv(FREE))
    caller = threading.Thread(target=lambda: room.supp.thrd_req(Request(8, [], [], []), lambda: False), daemon=True)
    caller.start()
    thread.join(10)
    assert results == [(0, 8, [])]
    assert room.send(0) == 0
    caller.join(10)


def test_a_supplicant_that_dies_while_it_waits(room: Room) -> None:
    thread, results = waiting(room, lambda: room.recv(FREE))
    room.priv.interrupted(room.task)
    thread.join(10)
    assert results[0][0] == -errno.EINTR


@pytest.mark.parametrize("taken", [False, True])
def test_a_supplicant_that_closes_owes_nothing(room: Room, taken: bool) -> None:
    caller = room.ask(1)
    if taken:
        room.recv(FREE)
    room.priv.close()
    caller.join(10)
    assert room.results[1][0] == TEEC_ERROR_COMMUNICATION
    room.priv = room.device.open("/dev/teepriv0", room.task)
    room.ask(2)
    assert room.recv(FREE)[:2] == (0, 2)
    assert room.send(0) == 0


def test_who_asks_before_there_is_a_supplicant_waits_for_one(room: Room) -> None:
    room.priv.close()
    caller = room.ask(7)
    room.priv = room.device.open("/dev/teepriv0", room.task)
    assert room.recv(FREE)[:2] == (0, 7)
    room.send(5)
    caller.join(10)
    assert room.results[7][0] == 5


@pytest.mark.parametrize("meta", [False, True])
@pytest.mark.parametrize("taken", [False, True])
def test_a_caller_that_is_gone_withdraws(room: Room, taken: bool, meta: bool) -> None:
    how = WITH_META if meta else FREE
    caller = room.ask(1)
    answer = room.recv(how)[2] if taken else []
    room.gone = True
    caller.join(10)
    assert room.results[1][0] == TEEC_ERROR_COMMUNICATION
    room.gone = False
    if taken:
        assert room.send(0, *answer) == -errno.ENOENT, "nobody wants it any more"
    caller = room.ask(2)
    rc, func, answer = room.recv(how)
    assert (rc, func) == (0, 2), "the supplicant goes on with the next"
    assert room.send(0, *answer) == 0
    caller.join(10)
    assert room.results[2][0] == 0
