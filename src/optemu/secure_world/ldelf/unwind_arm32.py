"""The call stack of an Arm32 TA, by its unwinding tables. Mirrors lib/libunw/unwind_arm32.c.

Tables and their instructions are those of "Exception Handling ABI for the Arm Architecture" (EHABI), sections 6 to 10.
Everything read is the TA's own to write: each step is bounded, and what makes no sense ends the stack.
"""

from collections.abc import Callable, Mapping
from typing import Final

Read = Callable[[int, int], bytes | None]
"""(va, size) to the TA's bytes, None where it has none."""
FindExidx = Callable[[int], tuple[int, int] | None]
"""An address of code to the index table (va, size in bytes) of the module it is in."""

MAX_FRAMES: Final = 64
_SP, _LR, _PC = 13, 14, 15
_CANTUNWIND: Final = 1
_MAX_WORDS: Final = 64
_FINISH: Final = 0xB0
_ADDRESS: Final = 0xFFFF_FFFF


class _End(Exception):
    """The stack ends here: by its tables, or because they are wrong."""


def call_stack(regs: Mapping[str, int], read: Read, find_exidx: FindExidx) -> list[int]:
    """Where the TA was, innermost first. Registers by their names, as a dump has them."""
    frame = _Frame([*(regs[f"r{n}"] for n in range(13)), regs["sp"], regs["lr"], regs["pc"]], read)
    stack = [frame.regs[_PC]]
    if find_exidx(frame.regs[_PC]) is None and frame.regs[_LR]:
        frame.regs[_PC] = frame.regs[_LR]  # it jumped to where no code is: it was called all the same
        stack.append(frame.regs[_PC])
    try:
        while len(stack) < MAX_FRAMES:
            frame.unwind(find_exidx)
            stack.append(frame.regs[_PC])
    except _End:
        pass
    return stack


class _Frame:
    """Registers r0 to r15 of a call, changed to its caller's by ``unwind``."""

    def __init__(self, regs: list[int], read: Read) -> None:
        self.regs = regs
        self._read = read

    def _word(self, va: int) -> int:
        raw = self._read(va & _ADDRESS, 4)
        if raw is None:
            raise _End
        return int.from_bytes(raw, "little")

    def unwind(self, find_exidx: FindExidx) -> None:
        # The instruction before: a call that does not return may be the last one of its function.
        pc = self.regs[_PC]
        table = find_exidx(pc - 2)
        if table is None:
            raise _End
        code = _Code(self._word, self._entry(*table, pc - 2))
        self.regs[_PC] = 0
        while (op := code.next()) != _FINISH:
            self._execute(op, code)
        self.regs[_PC] = self.regs[_PC] or self.regs[_LR]
        if self.regs[_PC] in (0, pc):
            raise _End

    def _entry(self, start: int, size: int, pc: int) -> int:
        """Where the instructions for ``pc`` are: the row with the largest address that does not exceed it."""
        low, high = 0, size // 8
        while low < high - 1:
            middle = (low + high) // 2
            at = start + 8 * middle
            if _prel31(at, self._word(at)) <= pc:
                low = middle
            else:
                high = middle
        at = start + 8 * low + 4
        data = self._word(at)
        if data == _CANTUNWIND:
            raise _End
        return at if data >> 31 else _prel31(at, data)

    def _execute(self, op: int, code: "_Code") -> None:
        """One instruction (EHABI table 4)."""
        regs = self.regs
        if op < 0x80:
            step = ((op & 0x3F) << 2) + 4
            regs[_SP] = regs[_SP] + step & _ADDRESS if op < 0x40 else regs[_SP] - step & _ADDRESS
        elif op < 0x90:
            mask = (op & 0xF) << 8 | code.next()
            if not mask:
                raise _End  # "refuse to unwind"
            self._pop([4 + n for n in range(12) if mask >> n & 1])
        elif op < 0xA0:
            if op & 0xF in (_SP, _PC):
                raise _End
            regs[_SP] = regs[op & 0xF]
        elif op < 0xB0:
            self._pop([*range(4, 5 + (op & 7)), *([_LR] if op & 8 else [])])
        elif op == 0xB1:
            mask = code.next()
            if not mask or mask & 0xF0:
                raise _End
            self._pop([n for n in range(4) if mask >> n & 1])
        elif op == 0xB2:
            regs[_SP] = regs[_SP] + 0x204 + (code.uleb128() << 2) & _ADDRESS
        elif op == 0xB3:
            self._skip((code.next() & 0xF) + 1, 4)
        elif 0xB8 <= op < 0xC0:
            self._skip((op & 7) + 1, 4)
        elif op in (0xC8, 0xC9):
            self._skip((code.next() & 0xF) + 1, 0)
        elif 0xD0 <= op < 0xD8:
            self._skip((op & 7) + 1, 0)
        else:
            raise _End

    def _pop(self, numbers: list[int]) -> None:
        vsp = self.regs[_SP]
        for number in numbers:
            self.regs[number] = self._word(vsp)
            vsp += 4
        if _SP not in numbers:
            self.regs[_SP] = vsp & _ADDRESS

    def _skip(self, doubles: int, more: int) -> None:
        """Over floating point registers, which nobody asks for."""
        self.regs[_SP] = self.regs[_SP] + 8 * doubles + more & _ADDRESS


class _Code:
    """The bytes of an entry: most significant one first, FINISH without end behind them."""

    def __init__(self, word: Callable[[int], int], at: int) -> None:
        first = word(at)
        if not first >> 31:  # a personality routine, and then what the compact ones have
            at += 4
            first = word(at)
            words, inline = first >> 24, 3
        elif first >> 24 & 0xF == 0:
            words, inline = 0, 3
        elif first >> 24 & 0xF in (1, 2):
            words, inline = first >> 16 & 0xFF, 2
        else:
            raise _End
        if words > _MAX_WORDS:
            raise _End
        data = first.to_bytes(4, "big")[4 - inline :]
        self._bytes = data + b"".join(word(at + 4 + 4 * n).to_bytes(4, "big") for n in range(words))
        self._at = 0

    def next(self) -> int:
        if self._at == len(self._bytes):
            return _FINISH
        self._at += 1
        return self._bytes[self._at - 1]

    def uleb128(self) -> int:
        value = shift = 0
        while True:
            byte = self.next()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80 or shift > 28:
                return value


def _prel31(at: int, word: int) -> int:
    """A place relative to its own: 31 bits with a sign."""
    offset = word & 0x7FFF_FFFF
    return at + offset - ((offset & 0x4000_0000) << 1) & _ADDRESS
