"""The ring of a traced TA, seen from the core: nothing in it is believed that was not checked."""

import struct
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from core_fakes import PAGE, fake_engines, image, new_tee, shared
from hypothesis import given
from hypothesis import strategies as st

from optemu.abi import gp
from optemu.abi.ftrace import (
    BEGIN_TIME_AT,
    CURR_IDX_AT,
    FTRACE_BUF,
    FTRACE_INFO,
    FTRACE_MAGIC,
    OVERFLOW_AT,
    RET_IDX_AT,
    RET_STACK_AT,
)
from optemu.errors import TeeError
from optemu.secure_world.core.ftrace import FtraceBuf, ftrace_init
from optemu.secure_world.core.mobj import Mobj
from optemu.secure_world.core.ta_image import TaInstance
from optemu.secure_world.core.tee import Tee

A = b"A" * 16
DATA = 0x40101000
RING, RING_END, RETURN = DATA + 64, DATA + PAGE, 0x40100040
U64 = st.integers(0, (1 << 64) - 1)
U32 = st.integers(0, (1 << 32) - 1)


class Room:
    """A TA with a page of data, and a normal world that keeps what it is sent."""

    def __init__(self, tee: Tee) -> None:
        self.tee = tee
        self.instance: TaInstance = image(tee, A).take()[0]
        self.instance.elf = SimpleNamespace(  # type: ignore[assignment]
            symbol=lambda name: DATA if name == "__ftrace_info" else None,
            base=self.instance.elf.base,
            modules=self.instance.elf.modules,
        )
        self.sent: list[tuple[int, bytes]] = []
        self.answer = gp.TEE_SUCCESS
        self._mobj: Mobj | None = None

    @property
    def cpu(self) -> Any:
        return self.instance.cpu

    def ring(self, start: int = RING, end: int = RING_END) -> FtraceBuf | None:
        self.cpu.store(DATA, FTRACE_INFO.pack(start, end, RETURN))
        return ftrace_init(self.instance, A)

    def event(self, *values: int) -> None:
        """As the TA's runtime does."""
        buf_off, max_size = self.u32(CURR_IDX_AT + 12), self.u32(CURR_IDX_AT + 4)
        for value in values:
            n = self.u32(CURR_IDX_AT)
            self.cpu.store(RING + buf_off + 8 * n, struct.pack("<Q", value))
            wrapped = (n + 2) * 8 > max_size
            self.cpu.store(RING + CURR_IDX_AT, struct.pack("<I", 0 if wrapped else n + 1))
            if wrapped:
                self.cpu.store(RING + OVERFLOW_AT, b"\1")

    def u32(self, offset: int) -> int:
        return int.from_bytes(self.cpu.load(RING + offset, 4), "little")

    # --- the thread ---

    def rpc_alloc(self, size: int) -> Mobj:
        self._mobj = shared(self.tee.board.memory, size)
        return self._mobj

    def rpc_cmd(self, cmd: int, params: list[Any]) -> int:
        number, who, what = params
        assert cmd == 11
        assert who.mobj.read(who.a, who.b) == gp.uuid_to_memory(A)
        self.sent.append((number.a, bytes(what.mobj.read(what.a, what.b))))
        number.a = 7
        return self.answer

    def rpc_free_mobj(self, mobj: Mobj) -> None:
        assert mobj is self._mobj
        self._mobj = None

    def dump(self, ring: FtraceBuf) -> list[tuple[int, bytes]]:
        """What is sent: number of the file, bytes."""
        self.sent = []
        ring.dump(self)  # type: ignore[arg-type]
        assert self._mobj is None
        return self.sent


@pytest.fixture
def room() -> Iterator[Room]:
    with fake_engines():
        yield Room(new_tee())


def made(room: Room) -> FtraceBuf:
    ring = room.ring()
    assert ring is not None
    return ring


def u64s(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def test_the_head_goes_first_and_once(room: Room) -> None:
    ring = made(room)
    room.event(1, 2)
    ((number, content),) = room.dump(ring)
    assert number == 0
    head, _, events = content.partition(FTRACE_MAGIC)
    assert head.rstrip(b"\0").decode().splitlines() == [
        "TEE load address @ 0x0",
        f"region  0: va 0x40100000 pa 0x{room.instance.space.regions[1].pa:08x} size 0x001000 flags r-xs [0]",
        f"region  1: va 0x40101000 pa 0x{room.instance.space.regions[2].pa:08x} size 0x001000 flags rw-s [0]",
        f" [0] {gp.uuid_str(A)} @ 0x40100000",
        f"Function graph for TA: {gp.uuid_str(A)} @ 40100000",
    ]
    assert events == u64s(1, 2)
    room.event(3)
    assert room.dump(ring) == [(7, u64s(3))]
    assert room.dump(ring) == []


def test_a_full_ring_is_sent_oldest_first(room: Room) -> None:
    ring = made(room)
    room.dump(ring)
    places = room.u32(CURR_IDX_AT + 4) // 8
    room.event(*range(places + 5))
    assert room.dump(ring) == [(7, u64s(*range(5, places + 5)))]
    room.event(*range(places))  # full to the last place: the next one is the first again
    assert room.dump(ring) == [(7, u64s(*range(places)))]


def test_what_the_normal_world_refuses_is_gone(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    ring = made(room)
    room.answer = gp.TEE_ERROR_STORAGE_NO_SPACE
    room.event(1)
    assert len(room.dump(ring)) == 1
    assert "TEE_ERROR_STORAGE_NO_SPACE" in caplog.text
    room.answer = gp.TEE_SUCCESS
    room.event(2)
    ((number, content),) = room.dump(ring)
    assert (number, content.partition(FTRACE_MAGIC)[2]) == (0, u64s(2))


def test_no_memory_from_the_normal_world(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    ring = made(room)

    def none(size: int) -> Mobj:
        raise TeeError(gp.TEE_ERROR_OUT_OF_MEMORY, "nothing left")

    room.rpc_alloc = none  # type: ignore[method-assign]
    assert room.dump(ring) == []
    assert "nothing left" in caplog.text


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (RING, RING),
        (RING, RING + 1023),
        (RING_END, RING),
        (RING, RING_END + 8),
        (0, PAGE),
        (0x40100000, 0x40101000),
        (0x40100800, 0x40101800),
        ((1 << 64) - 2048, (1 << 64) - 1),
        (0x3FFF_E000, 0x4010_2000),
    ],
)
def test_rings_that_cannot_be(room: Room, start: int, end: int) -> None:
    assert room.ring(start, end) is None


def test_a_ta_without_a_ring(room: Room) -> None:
    room.instance.elf.symbol = lambda name: None  # type: ignore[method-assign]
    assert ftrace_init(room.instance, A) is None
    room.instance.elf.symbol = lambda name: 0x5000  # type: ignore[method-assign]
    assert ftrace_init(room.instance, A) is None


def test_any_ring_and_any_content() -> None:
    with fake_engines():
        room = Room(new_tee())

        @given(st.tuples(U64, U64) | st.tuples(st.just(RING), st.integers(RING, RING_END)), st.binary(max_size=848))
        def check(where: tuple[int, int], content: bytes) -> None:
            ring = room.ring(*where)
            if ring is None:
                return
            start, end = where
            assert start >= DATA
            assert end - start >= 1024
            assert end <= RING_END
            room.cpu.store(start, content)
            for _, sent in room.dump(ring):
                assert len(sent) < PAGE + 500
            ring.suspend()
            ring.resume()
            placeholder, returns = ring.return_addresses()
            assert placeholder == RETURN
            assert len(returns) <= 50

        room.cpu.counter = lambda: 5
        check()


@given(U32, st.booleans())
def test_how_full_a_ring_says_it_is(used: int, overflow: bool) -> None:
    with fake_engines():
        room = Room(new_tee())
        ring = made(room)
        room.dump(ring)
        places = room.u32(CURR_IDX_AT + 4) // 8
        room.cpu.store(RING + CURR_IDX_AT, struct.pack("<I", used))
        room.cpu.store(RING + OVERFLOW_AT, bytes([overflow]))
        wanted = 0 if used > places else places if overflow else used
        assert [len(sent) for _, sent in room.dump(ring)] == ([8 * wanted] if wanted else [])
        assert room.dump(ring) == []


def test_functions_do_not_take_the_time_of_others(room: Room) -> None:
    ring = made(room)
    room.cpu.store(RING + RET_IDX_AT, struct.pack("<I", 2))
    room.cpu.store(RING + BEGIN_TIME_AT, u64s(10, 20, 30))
    ticks = iter((100, 140))
    room.cpu.counter = lambda: next(ticks)
    ring.suspend()
    ring.resume()
    assert room.cpu.load(RING + BEGIN_TIME_AT, 24) == u64s(50, 60, 30)


def test_return_addresses(room: Room) -> None:
    ring = made(room)
    room.cpu.store(RING + RET_STACK_AT, u64s(1, 2, 3))
    room.cpu.store(RING + RET_IDX_AT, struct.pack("<I", 2))
    assert ring.return_addresses() == (RETURN, [2, 1])


def test_the_layout_is_upstreams() -> None:
    assert (FTRACE_BUF.size, RET_IDX_AT, BEGIN_TIME_AT, CURR_IDX_AT, OVERFLOW_AT) == (848, 408, 416, 824, 846)
