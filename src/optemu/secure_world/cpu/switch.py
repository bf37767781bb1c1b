"""The switch that stops an engine from another thread, at the beginning of a block of code and nowhere else.

The engine's own stop, ``uc_emu_stop``, also takes effect in the middle of an instruction, behind its access to memory;
such a run cannot go on, for the instruction would be done twice. Called by a hook at the beginning of a block it takes
effect right there. So every block calls a function that stops the engine if the switch is on:

* On x86-64 it is five instructions of ours, which the engine calls directly: 1 to 2 ns a block.
* Elsewhere, and where no memory may be executable, it is a function without effect, until the engine's note of it is
  overwritten with ``uc_emu_stop``: 5 ns a block, since the engine must be kept from calling it directly.
"""

import ctypes
import mmap
import platform
from abc import ABC, abstractmethod
from functools import cache

from . import native

# cmp dword ptr [user_data], 0; jne 1f; ret; 1: movabs rax, uc_emu_stop; jmp rax   (the engine is in rdi already)
_X86_64 = bytes.fromhex("833900 7501 c3 48b8 0000000000000000 ffe0")
_STOP_AT = 8
_HOOK_BYTES = 64


class Switch(ABC):
    """Off at first. ``turn`` takes effect in a run under way, too."""

    @abstractmethod
    def turn(self, on: bool) -> None: ...


class _Flag(Switch):
    """Looked at by our own code."""

    def __init__(self, engine: ctypes.c_void_p, code: int) -> None:
        self._on = ctypes.c_uint32(0)
        native.hook_blocks(engine, code, ctypes.addressof(self._on))

    def turn(self, on: bool) -> None:
        self._on.value = on


class _Overwritten(Switch):
    """The engine's note of the function. Where in the hook, whose handle is its address, it lies is looked up."""

    def __init__(self, engine: ctypes.c_void_p) -> None:
        nothing = native.NOTHING.value or 0
        hook = native.hook_blocks(engine, nothing, 0)
        # An only hook is called directly; of two, this one for address 0 alone, the engine looks up the function.
        native.hook_blocks(engine, nothing, 0, only_at=0)
        content = ctypes.string_at(hook, _HOOK_BYTES)
        places = [at for at in range(0, _HOOK_BYTES, 8) if content[at : at + 8] == nothing.to_bytes(8, "little")]
        if len(places) != 1:
            raise native.EngineError(f"this version of Unicorn keeps hooks in another form ({len(places)} places)")
        self._function = ctypes.c_void_p.from_address(hook + places[0])

    def turn(self, on: bool) -> None:
        self._function.value = native.EMU_STOP.value if on else native.NOTHING.value


@cache
def _own_code() -> int | None:
    """The address of our function, made once per process; None on other processors, or if the system forbids it."""
    if platform.machine() != "x86_64":
        return None
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE)
        page[: len(_X86_64)] = _X86_64
        page[_STOP_AT : _STOP_AT + 8] = (native.EMU_STOP.value or 0).to_bytes(8, "little")
        return native.make_executable(page)
    except OSError:
        return None


def switch(engine: ctypes.c_void_p) -> Switch:
    """A switch for an engine that has translated nothing yet and has no other hook for blocks."""
    code = _own_code()
    return _Overwritten(engine) if code is None else _Flag(engine, code)
