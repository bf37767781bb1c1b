"""What both word sizes share: one engine, its memory, and the way into and out of EL0.

How a run ends. An exception in the guest calls two hooks, and both are functions of the library itself, so no Python
runs inside the engine, no exception can be lost there, and the interpreter lock changes hands once per run:

* ``uc_query(engine, exception number, &cell)``. The number is taken for a kind of query, and what is written into the
  cell tells a system call, exception 2, from the rest: query 2 is the page size.
* ``uc_emu_stop(engine)``.

A run is stopped from outside at the beginning of a block of code: see switch.py.

For anything but a system call the syndrome and the fault address are read out of the engine's saved state. Unicorn has
no register for them; where they lie is found by provoking a fault with a known address, once per process.

The address at which a run should end (``until``) is 0: any other value makes the engine look for translations to drop
after each run, which costs time and overwrites the fault address. So nothing at address 0 itself can be executed.
"""

import ctypes
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import IntEnum
from functools import cache
from typing import ClassVar

from unicorn import unicorn_const as uc

from . import native
from .native import emu_start, reg_read_batch, reg_write, reg_write_batch
from .page_table import PAGE, PageTable, Prot
from .switch import switch

TRANSLATION_BUFFER = 8 << 20
TABLE_BASE = 0x80_0000_0000  # physical; boards put their memory below 2^36
ARGS = 8

_UNTIL = ctypes.c_uint64(0)
_NO_TIMEOUT = ctypes.c_uint64(0)
_NO_COUNT = ctypes.c_size_t(0)
_SYSCALL_QUERY = uc.UC_QUERY_PAGE_SIZE  # == the number of the exception a system call takes
_NONE = (1 << 64) - 1
_EXCEPTION = struct.Struct("<IIQ")  # syndrome, AArch32 fault status, address
_WRITE_NOT_READ = 1 << 6
_X = int(Prot.X)


class Stop(IntEnum):
    """Why a run ended."""

    SVC = 0
    UNDEFINED = 1
    PREFETCH_ABORT = 2
    DATA_ABORT = 3
    BREAKPOINT = 4
    STOPPED = 5
    CRASH = 6


# Exception classes of the syndrome register (Arm ARM, ESR_EL1.EC); all others are kinds of UNDEFINED.
_STOP_BY_CLASS = {
    0x20: Stop.PREFETCH_ABORT,
    0x21: Stop.PREFETCH_ABORT,
    0x24: Stop.DATA_ABORT,
    0x25: Stop.DATA_ABORT,
    0x38: Stop.BREAKPOINT,
    0x3C: Stop.BREAKPOINT,
}
_ABORTS = (Stop.PREFETCH_ABORT, Stop.DATA_ABORT)


class Slots:
    """Registers by number and a 64-bit value each, laid out once for the engine's batch functions."""

    __slots__ = ("_ids", "_pointers", "_store", "args", "values")

    def __init__(self, engine: ctypes.c_void_p, ids: Sequence[int]) -> None:
        count = len(ids)
        self._ids = (ctypes.c_int * count)(*ids)
        self._store = (ctypes.c_uint64 * count)()
        base = ctypes.addressof(self._store)
        self._pointers = (ctypes.c_void_p * count)(*range(base, base + 8 * count, 8))
        self.values = memoryview(self._store).cast("B").cast("Q")
        self.args = (
            engine,
            ctypes.c_void_p(ctypes.addressof(self._ids)),
            ctypes.c_void_p(ctypes.addressof(self._pointers)),
            ctypes.c_int(count),
        )

    def cell(self, index: int) -> ctypes.c_uint64:
        """The ctypes object of one value, sharing its memory."""
        return ctypes.c_uint64.from_buffer(self._store, index * 8)


class Saved:
    """All registers at one moment, for ``Cpu.restore`` of the same Cpu."""

    __slots__ = ("context", "owner")

    def __init__(self, owner: "Cpu", context: native.Context) -> None:
        self.owner, self.context = owner, context


class Cpu(ABC):
    """One processor in EL0 with an address space of 4 GiB over physical memory of 2^39 bytes.

    Any thread may use it, one at a time; ``request_stop`` alone may be called while another thread runs it.
    After SVC ``number`` and ``args`` are the call's; ``pc`` is behind the SVC, after a fault at the instruction.
    """

    word: ClassVar[int]
    registers_of_arch: ClassVar[dict[str, int]]
    _arch: ClassVar[int]
    _model: ClassVar[int]
    _pc_register: ClassVar[int]
    _result_register: ClassVar[int]
    _entry_registers: ClassVar[tuple[int, ...]]
    _stop_registers: ClassVar[tuple[int, ...]]

    number: int
    args: list[int]

    def __init__(self) -> None:
        self.number, self.args = 0, [0] * ARGS
        self.syndrome = 0
        self.status = 0
        self._fault = 0
        self._stopping = False
        self._stale = self._code_stale = False
        self._lock = threading.RLock()
        self._backed: dict[int, tuple[int, int]] = {}
        self._code: set[tuple[int, int]] = set()
        self._table = PageTable(TABLE_BASE)
        self._engine: ctypes.c_void_p | None = native.open_engine(self._arch, self._model, TRANSLATION_BUFFER)
        self._connect(self._engine)
        self._set_up()

    def _connect(self, engine: ctypes.c_void_p) -> None:
        """Kept argument lists for the calls of the hot path, and the two hooks."""
        native.map_host(engine, self._table.base, self._table.host, self._table.size)
        cell = ctypes.c_uint64(0)
        native.hook_interrupts(engine, native.QUERY, ctypes.addressof(cell))
        native.hook_interrupts(engine, native.EMU_STOP)
        self._switch = switch(engine)
        native.query(engine, _SYSCALL_QUERY, ctypes.addressof(cell))
        self._page_size = cell.value  # what the first hook writes for a system call
        self._cause = memoryview(cell).cast("B").cast("Q")
        self._entry = Slots(engine, self._entry_registers)
        self._stop = Slots(engine, self._stop_registers)
        self._at_stop = self._stop.values
        self._begin = self._begin_cell()
        self._run_args = (engine, self._begin, _UNTIL, _NO_TIMEOUT, _NO_COUNT)
        self._read_args = self._stop.args
        result = ctypes.c_void_p(ctypes.addressof(self._stop.cell(0)))
        self._result_args = (engine, ctypes.c_int(self._result_register), result)

    # Architecture.

    @abstractmethod
    def _set_up(self) -> None:
        """EL0, the MMU, and what EL0 is allowed."""

    @abstractmethod
    def _begin_cell(self) -> ctypes.c_uint64:
        """Where the address of the next instruction is kept, in the form ``emu_start`` takes."""

    @abstractmethod
    def _landed(self) -> None:
        """Take number, args and the next instruction from the registers of a stop."""

    # Memory.

    def back(self, pa: int, host: int, size: int) -> None:
        """Make ``size`` bytes of host memory at address ``host`` the physical memory at ``pa``.

        The caller keeps that memory alive until ``unback`` or ``close``. Doing the same again does nothing.
        EngineError when it overlaps other memory. Costs tens of us: keep it out of calls.
        """
        if self._backed.get(pa) == (host, size):
            return
        native.map_host(self._live(), pa, host, size)
        self._backed[pa] = (host, size)

    def unback(self, pa: int) -> None:
        """Undo ``back``. Mappings of it must be gone by the next run. KeyError when nothing begins at ``pa``."""
        _, size = self._backed[pa]
        native.unmap_host(self._live(), pa, size)
        del self._backed[pa]
        # The engine takes ``pa`` for a virtual address when it looks for what to forget.
        self._stale = True
        gone = {(start, end) for start, end in self._code if start < pa + size and pa < end}
        self._code -= gone
        self._code_stale |= bool(gone)

    def map(self, va: int, pa: int, size: int, prot: Prot) -> None:
        """Show physical memory at ``va``, from the next run on. ValueError when unaligned or beyond 4 GiB."""
        self._table.map(va, pa, size, prot)
        self._stale = True
        if int(prot) & _X:
            self._code.add((pa, pa + size))

    def unmap(self, va: int, size: int) -> None:
        """Take pages away, from the next run on. ValueError when unaligned or beyond 4 GiB."""
        self._table.unmap(va, size)
        self._stale = True

    def _refresh(self) -> None:
        """Drop what the engine remembers of page tables and, where needed, of code."""
        engine = self._live()
        native.flush_tlb(engine)
        if self._code_stale:
            native.flush_code(engine)
            self._code_stale = False
        self._stale = False

    # Running.

    def enter(self, pc: int, sp: int, a0: int = 0, a1: int = 0, a2: int = 0, a3: int = 0) -> Stop:
        """Begin at ``pc`` with four arguments and every other general register zero."""
        values = self._entry.values
        values[0], values[1], values[2], values[3], values[4] = a0, a1, a2, a3, sp
        reg_write_batch(*self._entry.args)
        self._begin.value = pc
        return self._run()

    def resume(self, x0: int) -> Stop:
        """Go on behind the SVC with its result."""
        self._at_stop[0] = x0
        reg_write(*self._result_args)
        return self._run()

    def continue_(self) -> Stop:
        """Go on where the last run stopped."""
        return self._run()

    def _run(self) -> Stop:
        if self._stale:
            self._refresh()
        if self._stopping:
            return self._stop_before()
        self._cause[0] = _NONE
        status = emu_start(*self._run_args)
        reg_read_batch(*self._read_args)
        self._landed()
        if self._cause[0] == self._page_size:
            return Stop.SVC
        return self._reason(status)

    def _reason(self, status: int) -> Stop:
        """Why a run ended that did not end in a system call."""
        self.status = status
        if status:
            return Stop.UNDEFINED if status == uc.UC_ERR_INSN_INVALID else Stop.CRASH
        taken = self._cause[0] != _NONE
        if not taken and self._stopping:
            return Stop.STOPPED
        image = native.Context(self._live()).image()
        self.syndrome, _, address = _EXCEPTION.unpack_from(image, exception_offset(type(self)))
        reason = _STOP_BY_CLASS.get(self.syndrome >> 26, Stop.UNDEFINED)
        self._fault = address if reason in _ABORTS else 0
        # The first hook leaves the cell alone for a breakpoint, as for no exception at all.
        return reason if taken or reason is Stop.BREAKPOINT else Stop.CRASH

    @property
    def pc(self) -> int:
        """Address of the next instruction."""
        return self._begin.value

    @abstractmethod
    def counter(self) -> int:
        """The physical counter as the code at EL0 reads it, in its own ticks."""

    @property
    @abstractmethod
    def sp(self) -> int:
        """The stack pointer when the last run ended."""

    def fault_address(self) -> int:
        """After DATA_ABORT or PREFETCH_ABORT: the virtual address that could not be used."""
        return self._fault

    @property
    def fault_is_write(self) -> bool:
        """After DATA_ABORT: whether it was a store."""
        return bool(self.syndrome & _WRITE_NOT_READ)

    @property
    def crash_reason(self) -> str:
        """After CRASH: the engine's words for it."""
        return native.message(self.status) if self.status else "the engine stopped for no reason it names"

    # Stopping.

    def request_stop(self) -> None:
        """Make the run in progress, or else the next one, end with STOPPED; and all after it until ``clear_stop``.

        For any thread. All registers are as the code left them: ``continue_`` goes on as if nothing had happened. A run
        that ends otherwise at the same moment says so; the next one is then STOPPED.
        """
        with self._lock:
            if self._engine is not None:
                self._stopping = True
                self._switch.turn(True)

    def clear_stop(self) -> None:
        """Forget the request."""
        with self._lock:
            if self._engine is not None:
                self._switch.turn(False)
            self._stopping = False

    def _stop_before(self) -> Stop:
        """STOPPED in place of a run, with all registers as that run would have found them."""
        reg_write(self._live(), ctypes.c_int(self._pc_register), ctypes.byref(self._begin))
        self._reread()
        return Stop.STOPPED

    def _reread(self) -> None:
        reg_read_batch(*self._read_args)
        self._landed()

    # State.

    def registers(self) -> dict[str, int]:
        """General registers by their names, for dumps."""
        slots = Slots(self._live(), tuple(self.registers_of_arch.values()))
        native.check(reg_read_batch(*slots.args), "cannot read registers")
        return dict(zip(self.registers_of_arch, slots.values, strict=True))

    def save(self) -> Saved:
        """All registers, vectors included; no memory and no mappings. About 1 us."""
        return Saved(self, native.Context(self._live()))

    def restore(self, ctx: Saved) -> None:
        """Registers as they were. ValueError when they are another Cpu's."""
        if ctx.owner is not self:
            raise ValueError("registers of another Cpu")
        native.check(native.context_restore(self._live(), ctx.context.handle), "cannot restore registers")
        self._reread()

    def close(self) -> None:
        """Give everything back. Engines leak about 70 KiB each: keep them for the next user instead."""
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is None:
            return
        native.close_engine(engine)
        for name in ("_entry", "_run_args", "_read_args", "_result_args"):
            # Whoever runs it after this gets an AttributeError rather than freed memory.
            self.__dict__.pop(name, None)

    def __del__(self) -> None:
        if getattr(self, "_engine", None) is not None:
            self.close()

    def _live(self) -> ctypes.c_void_p:
        if self._engine is None:
            raise native.EngineError("this Cpu is closed")
        return self._engine

    @classmethod
    @abstractmethod
    def probe(cls) -> bytes:
        """Code that loads from the first argument + 0x678: a fault whose address is in no register."""


_PROBE_AT = 0x10_0000
_PROBE_OFFSET = 0x678


@cache
def exception_offset(kind: type[Cpu]) -> int:
    """Where in a saved state of this kind of Cpu the syndrome, fault status and fault address are, in bytes."""
    code = ctypes.create_string_buffer(2 * PAGE)
    host = -(-ctypes.addressof(code) // PAGE) * PAGE
    cpu = kind()
    ctypes.memmove(host, kind.probe(), len(kind.probe()))
    cpu.back(0, host, PAGE)
    cpu.map(_PROBE_AT, 0, PAGE, Prot.R | Prot.X)
    found = _find_exception(cpu, 0x1234_5000) & _find_exception(cpu, 0x7654_3000)
    cpu.close()
    if len(found) != 1:
        raise native.EngineError(f"this version of Unicorn keeps fault addresses elsewhere ({len(found)} places)")
    return found.pop()


def _find_exception(cpu: Cpu, base: int) -> set[int]:
    """All places that look like a data abort at ``base`` + the probe's offset."""
    engine = cpu._live()
    cpu._refresh()
    cpu._entry.values[0] = base
    reg_write_batch(*cpu._entry.args)
    cpu._begin.value = _PROBE_AT
    emu_start(*cpu._run_args)
    image = native.Context(engine).image()
    wanted = (base + _PROBE_OFFSET).to_bytes(8, "little")
    places = (at - 8 for at in range(8, len(image) - 7, 4) if image[at : at + 8] == wanted)
    return {at for at in places if _EXCEPTION.unpack_from(image, at)[0] >> 26 in (0x24, 0x25)}
