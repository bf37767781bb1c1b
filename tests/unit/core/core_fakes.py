"""What the core's tests stand on: threads that sleep without a normal world, TAs that are Python, a CPU of paper."""

import ctypes
import struct
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from greenlet import getcurrent, greenlet

from optemu.abi import gp
from optemu.abi.ta_head import DEPR_ENTRY_UNUSED, TaHead
from optemu.abi.utee import UTEE_ENTRY_FUNC_INVOKE_COMMAND
from optemu.board.board import Board
from optemu.board.memory import PhysicalMemory, Region
from optemu.board.timer import Timer
from optemu.errors import TaPanic
from optemu.secure_world.core import ta_image
from optemu.secure_world.core.mobj import Mobj, Run
from optemu.secure_world.core.param import TaParams
from optemu.secure_world.core.session import NSAPP_IDENTITY, Identity, Session, SessionList, TaCtx
from optemu.secure_world.core.ta_image import TaImage
from optemu.secure_world.core.tee import Tee
from optemu.secure_world.core.tee_ta_manager import InitSession, TaManager
from optemu.secure_world.core.user_ta import UserTaCtx
from optemu.secure_world.cpu import Prot, Stop
from optemu.secure_world.ldelf import Segment
from optemu.trace import Tracer

PAGE = 4096
A, B = b"A" * 16, b"B" * 16
"""UUIDs of two TAs."""
PUBLIC = Identity(gp.TEE_LOGIN_PUBLIC, gp.NIL_UUID)
FOREVER = gp.TEE_TIMEOUT_INFINITE


class Threads:
    """Secure threads as greenlets of one scheduler: who sleeps stays asleep until somebody wakes it."""

    def __init__(self) -> None:
        self.ready: list[FakeThread] = []
        self.count = 0

    def start(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> "FakeThread":
        """Run ``call(thread, ...)`` on a new thread until it has ended or sleeps; then whoever was woken meanwhile."""
        thread = FakeThread(self)
        thread.greenlet = greenlet(lambda: call(thread, *args, **kwargs))
        self.ready.append(thread)
        self.settle()
        return thread

    def settle(self) -> None:
        while self.ready:
            thread = self.ready.pop(0)
            result = thread.greenlet.switch()
            if thread.done:
                thread.result = result


class FakeThread:
    """A secure thread, as far as sessions, TAs and waiting need one."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        threads.count += 1
        self.id = threads.count
        self.greenlet: Any = None
        self.result: Any = None
        self.session: Session | None = None
        self.syscall_recursion = 0
        self.abandoned = False
        self.interrupts = 0

    @property
    def done(self) -> bool:
        return bool(self.greenlet.dead)

    @property
    def asleep(self) -> bool:
        return not self.done

    def sleep(self) -> None:
        getcurrent().parent.switch()

    pause = sleep
    """In the middle of a TA's work: the test goes on, and ends the pause with ``go_on``."""

    def wake(self, other: "FakeThread") -> None:
        self._threads.ready.append(other)

    def go_on(self) -> None:
        self._threads.ready.append(self)
        self._threads.settle()

    def foreign_interrupt(self) -> None:
        self.interrupts += 1
        self.check_abandoned()

    def check_abandoned(self) -> None:
        if self.abandoned:
            raise TaPanic(gp.TEE_ERROR_CANCEL, "the client of this call is gone")


class FakeTa(TaCtx):
    """A TA whose entry points are whatever a test puts there; ``seen`` is what it was asked, in order."""

    def __init__(self, uuid: bytes, flags: int) -> None:
        super().__init__(uuid, flags)
        self.seen: list[str] = []
        self.on_open: Callable[[Any, Session], int] = lambda thread, session: 0
        self.on_invoke: Callable[[Any, Session, int], int] = lambda thread, session, cmd: 0
        self.on_close: Callable[[Any, Session], None] = lambda thread, session: None

    def enter_open_session(self, thread: Any, session: Session) -> int:
        self.seen.append("open")
        session.err_origin = gp.TEE_ORIGIN_TRUSTED_APP
        return self.on_open(thread, session)

    def enter_invoke_cmd(self, thread: Any, session: Session, cmd: int) -> int:
        self.seen.append(f"invoke {cmd}")
        session.err_origin = gp.TEE_ORIGIN_TRUSTED_APP
        return self.on_invoke(thread, session, cmd)

    def enter_close_session(self, thread: Any, session: Session) -> None:
        self.seen.append("close")
        self.on_close(thread, session)

    def release_state(self, thread: Any) -> None:
        self.seen.append("release_state")

    def destroy(self, thread: Any) -> None:
        self.seen.append("destroy")


class FakeKind(InitSession):
    """A kind of TA: makes a FakeTa with ``flags[uuid]``; the others it does not know."""

    def __init__(self, flags: dict[bytes, int], loads: bool = False) -> None:
        self.flags = flags
        self.loads = loads
        self.made: list[FakeTa] = []
        self.asked: list[bytes] = []
        self.on_complete: Callable[[Any, FakeTa], None] = lambda thread, ctx: None
        self.prepare: Callable[[FakeTa], None] = lambda ctx: None

    def find(self, uuid: bytes) -> FakeTa | None:
        self.asked.append(uuid)
        if uuid not in self.flags:
            return None
        ctx = FakeTa(uuid, self.flags[uuid])
        ctx.is_initializing = self.loads
        self.prepare(ctx)
        self.made.append(ctx)
        return ctx

    def complete(self, thread: Any, ctx: Any) -> None:
        self.on_complete(thread, ctx)


# --- a CPU of paper ------------------------------------------------------------------------------------------------

Program = Generator[Any, int, int | None]
"""A TA at EL0: yields (syscall number, arguments...) or a Stop, gets each syscall's result, returns a TEE_Result."""


class FakeCpu:
    """The engine's interface; it runs ``program(cpu, func, session, params_va, cmd)`` instead of Arm code."""

    arch = "aarch64"

    def __init__(self) -> None:
        self.program: Callable[..., Program] = lambda *args: iter(())  # type: ignore[assignment,return-value]
        self.mappings: dict[int, tuple[int, int, Prot]] = {}
        self.backing: dict[int, tuple[int, int]] = {}
        self.number, self.args = 0, [0] * 8
        self.pc, self.stack_ptr = 0x40100000, 0
        self.stopping = self.closed = False
        self.syndrome = 0
        self.entries: list[tuple[int, ...]] = []
        self._run: Program | None = None

    def back(self, base: int, host: int, size: int) -> None:
        self.backing[base] = (host, size)

    def unback(self, base: int) -> None:
        del self.backing[base]

    def map(self, va: int, pa: int, size: int, prot: Prot) -> None:
        for at in range(0, size, PAGE):
            assert va + at not in self.mappings, "mapped over another mapping"
            self.mappings[va + at] = (pa + at, PAGE, prot)

    def unmap(self, va: int, size: int) -> None:
        for at in range(0, size, PAGE):
            del self.mappings[va + at]

    def host(self, va: int) -> int:
        """Where the byte at ``va`` really lies; KeyError is the TA's data abort."""
        pa = self.mappings[va & -PAGE][0] + va % PAGE
        for base, (host, size) in self.backing.items():
            if base <= pa < base + size:
                return host + pa - base
        raise KeyError(va)

    def load(self, va: int, size: int) -> bytes:
        return b"".join(ctypes.string_at(self.host(at), 1) for at in range(va, va + size))

    def store(self, va: int, data: bytes) -> None:
        for n in range(len(data)):
            ctypes.memmove(self.host(va + n), data[n : n + 1], 1)

    def enter(self, pc: int, sp: int, *args: int) -> Stop:
        self.entries.append((pc, sp, *args))
        self.stack_ptr = sp
        self._run = self.program(self, args[0], args[1], args[2], args[3])
        return self._advance(None)

    def resume(self, result: int) -> Stop:
        return self._advance(result)

    def continue_(self) -> Stop:
        return Stop.SVC

    def _advance(self, result: int | None) -> Stop:
        assert self._run is not None
        try:
            what = next(self._run) if result is None else self._run.send(result)
        except StopIteration as e:
            what = (0, e.value or 0)
        if isinstance(what, Stop):
            return what
        self.number, *args = what
        self.args = [*args, *[0] * (8 - len(args))]
        return Stop.STOPPED if self.stopping else Stop.SVC

    def request_stop(self) -> None:
        self.stopping = True

    def clear_stop(self) -> None:
        self.stopping = False

    def save(self) -> str:
        return "fresh"

    def restore(self, saved: object) -> None:
        assert saved == "fresh"

    def registers(self) -> dict[str, int]:
        return {f"x{n}": 0 for n in range(31)} | {"pc": self.pc, "sp": self.stack_ptr, "cpsr": 0}

    def fault_address(self) -> int:
        return 0

    def close(self) -> None:
        self.closed = True


def image(tee: Tee, uuid: bytes = bytes(16), flags: int = 0, stack: int = 2 * PAGE) -> TaImage:
    """A TA of one page of code and one of data."""
    elf = SimpleNamespace(
        arch="aarch64",
        base=0x40100000,
        symbol=lambda name: None,
        entry=0x40100000,
        modules=(SimpleNamespace(uuid=uuid, base=0x40100000, end=0x40102000),),
        ta_head=TaHead(uuid, stack, flags, DEPR_ENTRY_UNUSED),
        segments=(
            Segment(0x40100000, PAGE, Prot.R | Prot.X, b"code"),  # type: ignore[arg-type]
            Segment(0x40101000, PAGE, Prot.R | Prot.W, b"data"),  # type: ignore[arg-type]
        ),
    )
    return TaImage(elf, tee.board.memory)  # type: ignore[arg-type]


class UserTas(InitSession):
    """User TAs with programs of ours instead of images; ``made`` holds their contexts."""

    def __init__(self, tee: Tee) -> None:
        self.tee = tee
        self.programs: dict[bytes, tuple[Callable[..., Program], int]] = {}
        self.made: list[UserTaCtx] = []

    def find(self, uuid: bytes) -> TaCtx | None:
        return UserTaCtx(self.tee, uuid) if uuid in self.programs else None

    def complete(self, thread: Any, ctx: Any) -> None:
        program, ctx.flags = self.programs[ctx.uuid]
        ctx.instance, _ = image(self.tee, ctx.uuid, ctx.flags).take()
        ctx.instance.cpu.program = program
        self.made.append(ctx)


@contextmanager
def fake_engines() -> Iterator[None]:
    """No Unicorn: whoever asks for an engine gets a FakeCpu, which needs no timer to interrupt it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Timer, "wake", lambda timer: None)
        patch.setattr(ta_image, "engine", lambda arch, key: FakeCpu())
        yield


# --- memory and parameters -----------------------------------------------------------------------------------------


def shared(memory: PhysicalMemory, size: int, *, offset: int = 0, cookie: int = 1) -> Mobj:
    """``size`` bytes of new normal-world memory that begin ``offset`` bytes into their first page."""
    region = memory.allocate(offset + size, secure=False)
    return Mobj((Run(region, region.base, region.size),), offset, size, cookie)


def page_list(memory: PhysicalMemory, pages: list[int]) -> Region:
    """The linked list that names ``pages``, as the driver writes it."""
    entries = PAGE // 8 - 1
    chunks = [pages[n : n + entries] for n in range(0, len(pages), entries)]
    region = memory.allocate(len(chunks) * PAGE, secure=False)
    for n, chunk in enumerate(chunks):
        struct.pack_into(f"<{len(chunk)}Q", region.view, n * PAGE, *chunk)
        struct.pack_into("<Q", region.view, n * PAGE + PAGE - 8, region.base + (n + 1) * PAGE)
    return region


class Recorder(Tracer):
    """A tracer that keeps the names of what is entered and left."""

    def __init__(self) -> None:
        super().__init__()
        self.on = True
        self.seen: list[str] = []

    def enter(self, point: Any, *args: Any) -> None:
        self.seen.append(f"> {point.name}")

    def exit(self, point: Any, *args: Any) -> None:
        self.seen.append(f"< {point.name}")

    def mark(self, point: Any, *args: Any) -> None:
        self.seen.append(f"* {point.name}")


def new_tee(trace: Tracer | None = None) -> Tee:
    """A trusted OS on a board of its own, without static TAs."""
    return Tee(Board(trace=trace), ())


def nothing(cpu: FakeCpu, func: int, session: int, params: int, cmd: int) -> Program:
    return 0
    yield


class TaRoom:
    """A trusted OS for TAs that are programs of ours, and the normal world's sessions with them."""

    def __init__(self, trace: Recorder | None = None) -> None:
        self.tee = new_tee(trace)
        self.tas = UserTas(self.tee)
        self.tee.manager = TaManager([self.tas], self.tee.board.clock, self.tee.trace)
        self.threads = Threads()
        self.sessions = SessionList()

    def add(self, uuid: bytes, program: Any, flags: int = 0) -> None:
        self.tas.programs[uuid] = (program, flags)

    def open(self, uuid: bytes = A) -> int:
        def call(thread: Any) -> tuple[int, int, int]:
            return self.tee.manager.open_session(thread, self.sessions, uuid, PUBLIC, FOREVER, TaParams())

        ret, _, number = self.threads.start(call).result
        assert ret == 0
        return int(number)

    def _invoke(self, thread: Any, number: int, params: TaParams, cmd: int) -> tuple[int, int]:
        s = self.tee.manager.get_session(thread, number, self.sessions)
        assert s is not None
        result = self.tee.manager.invoke_command(thread, s, NSAPP_IDENTITY, FOREVER, cmd, params)
        self.tee.manager.put_session(thread, s)
        return result

    def invoke(self, number: int, params: TaParams | None = None, cmd: int = 0) -> tuple[int, int]:
        result: tuple[int, int] = self.threads.start(self._invoke, number, params or TaParams(), cmd).result
        return result

    def close(self, number: int) -> int:
        close = self.tee.manager.close_session
        result: int = self.threads.start(lambda t: close(t, number, self.sessions, NSAPP_IDENTITY)).result
        return result

    @property
    def ctx(self) -> UserTaCtx:
        return self.tas.made[-1]

    def run(self, program: Any, params: TaParams | None = None, cmd: int = 0) -> tuple[int, int]:
        """One command of a new TA that does ``program`` when invoked."""

        def ta(cpu: FakeCpu, func: int, session: int, params: int, cmd: int) -> Program:
            if func == UTEE_ENTRY_FUNC_INVOKE_COMMAND:
                return (yield from program(cpu, func, session, params, cmd)) or 0
            return 0

        self.add(A, ta)
        return self.invoke(self.open(), params, cmd)
