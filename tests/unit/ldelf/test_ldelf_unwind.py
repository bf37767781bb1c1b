"""Call stacks of Arm32 TAs: tables as compilers write them, and tables that are wrong."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from optemu.secure_world.ldelf.unwind_arm32 import MAX_FRAMES, call_stack

CODE, TABLE, EXTAB, STACK = 0x4010_0000, 0x4010_8000, 0x4010_9000, 0x3FFF_0000
CANTUNWIND = 1


def prel31(at: int, to: int) -> int:
    return (to - at) & 0x7FFF_FFFF


class Memory:
    """Functions of 0x100 bytes at CODE, each with the unwinding entry given; a stack of words."""

    def __init__(self, *entries: int | list[int], stack: list[int]) -> None:
        self.words = {STACK + 4 * n: word for n, word in enumerate(stack)}
        self.size = 8 * len(entries)
        extab = EXTAB
        for n, entry in enumerate(entries):
            row = TABLE + 8 * n
            self.words[row] = prel31(row, CODE + 0x100 * n)
            if isinstance(entry, int):
                self.words[row + 4] = entry
                continue
            self.words[row + 4] = prel31(row + 4, extab)
            for word in entry:
                self.words[extab] = word
                extab += 4

    def read(self, va: int, size: int) -> bytes | None:
        word = self.words.get(va)
        return None if word is None else struct.pack("<I", word)

    def stack(self, pc: int, lr: int = 0, sp: int = STACK, **more: int) -> list[int]:
        regs = {f"r{n}": more.get(f"r{n}", 0) for n in range(13)} | {"sp": sp, "lr": lr, "pc": pc}
        inside = lambda at: (TABLE, self.size) if CODE <= at < TABLE else None  # noqa: E731
        return call_stack(regs, self.read, inside)


F0, F1, F2 = CODE + 0x10, CODE + 0x110, CODE + 0x210


def test_pop_and_finish() -> None:
    """push {r4, lr}; push {r4-r7, lr}; the bottom."""
    memory = Memory(0x80A8B0B0, 0x80ABB0B0, CANTUNWIND, stack=[4, F1, 4, 5, 6, 7, F2])
    assert memory.stack(F0) == [F0, F1, F2]


def test_a_leaf_has_its_caller_in_lr() -> None:
    memory = Memory(0x80B0B0B0, CANTUNWIND, stack=[])
    assert memory.stack(F0, lr=F1) == [F0, F1]


def test_sp_by_steps_by_register_and_far() -> None:
    """add sp, #8; and from r7; and 0x204 + 4 * 2 bytes; each followed by pop {r14}."""
    memory = Memory(0x8001A8B0, CANTUNWIND, stack=[0, 0, 4, F1])
    assert memory.stack(F0) == [F0, F1]
    memory = Memory(0x8097A8B0, CANTUNWIND, stack=[0, 4, F1])
    assert memory.stack(F0, r7=STACK + 4) == [F0, F1]
    memory = Memory([0x81010000 | 0xB202, 0xA8B0B0B0], CANTUNWIND, stack=[0] * 131 + [4, F1])
    assert memory.stack(F0) == [F0, F1]
    memory = Memory(0x8040A8B0, CANTUNWIND, stack=[4, F1])
    assert memory.stack(F0, sp=STACK + 4) == [F0, F1]


def test_masks_of_registers() -> None:
    """pop {r4, r11, lr}; pop {r0-r3} of the other instruction; pop {sp}, which takes the stack elsewhere."""
    memory = Memory(0x808481B0, CANTUNWIND, stack=[4, 11, F1])
    assert memory.stack(F0) == [F0, F1]
    memory = Memory(0x80B10FB0, CANTUNWIND, stack=[1, 2, 3, 4])
    assert memory.stack(F0, lr=F1) == [F0, F1]
    memory = Memory([0x81010000 | 0x8200, 0xA8B0B0B0], CANTUNWIND, stack=[STACK + 12, 0, 0, 4, F1])
    assert memory.stack(F0) == [F0, F1]


def test_floating_point_registers_are_skipped() -> None:
    """vpush {d8} as FSTMX and as VPUSH, vpush {d8-d9}; then pop {r4, lr}."""
    for first, words in ((0xB8, 3), (0xD1, 4), (0xC9, 4)):
        code = first << 8 | (0x81 if first == 0xC9 else 0xA8)
        rest = 0xA8B0B0B0 if first == 0xC9 else 0xB0B0B0B0
        memory = Memory([0x81010000 | code, rest], CANTUNWIND, stack=[0] * words + [4, F1])
        assert memory.stack(F0) == [F0, F1], hex(first)


def test_tables_of_cplusplus() -> None:
    """A personality routine of the language's own, then the same instructions."""
    memory = Memory([0x0000_1234, 0x00A8B0B0], CANTUNWIND, stack=[4, F1])
    assert memory.stack(F0) == [F0, F1]


def test_a_jump_to_nowhere_was_a_call() -> None:
    memory = Memory(0x80A8B0B0, CANTUNWIND, stack=[4, F1])
    assert memory.stack(0, lr=F0) == [0, F0, F1]
    assert memory.stack(0xDEAD_BEEF) == [0xDEAD_BEEF]


def test_what_ends_a_stack() -> None:
    for entry in (
        CANTUNWIND,
        0x800000B0 & 0xFFFFFFFF | 0x0080_0000,  # refuse to unwind
        0x809DB0B0,  # from sp
        0x80C0B0B0,  # unknown
        0x8F000000,  # no such personality
        [0x81FF0000],  # more words than there are
        [0x0000_1234, 0xFF000000],
    ):
        assert Memory(entry, stack=[]).stack(F0, lr=F0) == [F0]
    assert Memory(0x80A8B0B0, stack=[4]).stack(F0) == [F0], "the stack is not readable"
    assert Memory(0x80B0B0B0, stack=[]).stack(F0, lr=F0) == [F0], "its own caller"


def test_circles_have_an_end() -> None:
    memory = Memory(0x8097A8B0, 0x8097A8B0, stack=[4, F1, 4, F0])
    memory.words[TABLE + 12] = 0x8098A8B0
    assert len(memory.stack(F0, r7=STACK, r8=STACK + 8)) == MAX_FRAMES


@given(
    st.lists(st.integers(0, 2**32 - 1), min_size=15, max_size=15), st.binary(min_size=256, max_size=256), st.integers()
)
def test_any_memory(registers: list[int], content: bytes, size: int) -> None:
    names = [f"r{n}" for n in range(13)] + ["sp", "lr"]
    regs = dict(zip(names, registers, strict=True)) | {"pc": CODE}

    def read(va: int, n: int) -> bytes:
        at = va % 253
        return (content + content)[at : at + n]

    assert 1 <= len(call_stack(regs, read, lambda pc: (TABLE, size % 4096))) <= MAX_FRAMES
