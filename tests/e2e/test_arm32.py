"""What only Arm32 TAs do: arguments of system calls on their stack, call stacks by their unwinding tables."""

import logging
import re
import struct
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from tas.constants import PROBE, PROBE_ARM_UUID

from optemu.abi import elf
from optemu.normal_world.libteec import Context, Session, TeecError, TempMemref, Value

SUCCESS, GENERIC, ACCESS_DENIED, ITEM_NOT_FOUND = 0, 0xFFFF0000, 0xFFFF0001, 0xFFFF0008
GET_PROPERTY = 3
TEE_SET = 0xFFFFFFFD
P3 = PROBE["PROBE_ARG_P3"]


@pytest.fixture
def arm(context: Context) -> Iterator[Session]:
    with context.OpenSession(UUID(PROBE_ARM_UUID)) as session:
        yield session


def raw(arm: Session, number: int, *args: int, memory: bytes = bytes(64)) -> tuple[int, bytes]:
    result, p3 = Value.output(), TempMemref.inout(bytearray(memory))
    packed = struct.pack("<8Q", *args, *[0] * (8 - len(args)))
    arm.invoke(PROBE["PROBE_CMD_RAW_SYSCALL"], Value.input(number), TempMemref.input(packed), result, p3)
    return result.a, bytes(p3.data)


def test_seven_arguments(arm: Session) -> None:
    """syscall_get_property: the name's room, the value, the value's room; and the type, the seventh, is not wanted."""
    room = struct.pack("<II", 16, 16)
    name, value = P3 + 8, P3 + 32
    code, memory = raw(arm, GET_PROPERTY, TEE_SET, 1, name, P3, value, P3 + 4, 0, memory=room + bytes(56))
    assert code == 0xFFFF0010, "the name is too long for its room"
    assert memory[32:38] == b"OPTEE\0"
    assert struct.unpack_from("<II", memory) == (len("gpd.tee.description") + 1, 6)


def on_stack(arm: Session, words: int, at: int) -> int:
    return raw(arm, words << 16 | GET_PROPERTY, TEE_SET, 1, 0, 0, at)[0]


def test_arguments_on_a_stack_that_is_none(arm: Session) -> None:
    assert on_stack(arm, 3, P3) == SUCCESS
    assert on_stack(arm, 3, 0x10) == ACCESS_DENIED
    assert on_stack(arm, 3, 0xFFFF_FFFC) == ACCESS_DENIED


def test_more_arguments_than_there_can_be(arm: Session) -> None:
    assert on_stack(arm, 4, P3) == SUCCESS
    assert on_stack(arm, 5, P3) == GENERIC
    assert on_stack(arm, 0xFFFF, P3) == GENERIC
    assert raw(arm, 5 << 16 | 70, 0, 0, 0, 0, P3)[0] == GENERIC, "for a call that takes three, too"


def test_arguments_that_are_not_passed_are_zero(arm: Session) -> None:
    """One word on the stack: the value's address alone, no room for it; so there is no value, and no error."""
    memory = struct.pack("<I", P3 & 0xFFFF_FFFF) + bytes(60)
    code, after = raw(arm, 1 << 16 | GET_PROPERTY, TEE_SET, 1, 0, 0, P3, memory=memory)
    assert (code, after) == (SUCCESS, memory)


def functions(path: Path) -> list[tuple[int, str]]:
    """(address, name) of the functions in an ELF file with symbols, ascending."""
    raw = path.read_bytes()
    ehdr = elf.Ehdr(*elf.ELF32.ehdr.unpack_from(raw))
    sections = [elf.Shdr(*elf.ELF32.shdr.unpack_from(raw, ehdr.e_shoff + n * 40)) for n in range(ehdr.e_shnum)]
    symtab = next(s for s in sections if s.sh_type == 2)
    names = sections[symtab.sh_link].sh_offset
    found = []
    for at in range(symtab.sh_offset, symtab.sh_offset + symtab.sh_size, elf.ELF32.sym.size):
        symbol = elf.Sym32(*elf.ELF32.sym.unpack_from(raw, at))
        if symbol.st_info & 0xF == elf.STT_FUNC:
            start = names + symbol.st_name
            found.append((symbol.st_value & ~1, raw[start : raw.index(0, start)].decode()))
    return sorted(found)


BOTTOM = ["probe_damage", "__utee_entry", "__ta_entry_c", "__ta_entry"]


@pytest.mark.parametrize(
    ("command", "innermost"),
    [
        ("PANIC", ["_utee_panic"]),
        ("WRITE_NULL", ["misbehave"]),
        ("JUMP_NULL", ["misbehave"]),
        ("ASSERT", ["_utee_panic", "stop", "__assert_failed", "misbehave"]),
    ],
)
def test_the_call_stack_is_unwound_to_its_bottom(
    built: Path, arm: Session, caplog: pytest.LogCaptureFixture, command: str, innermost: list[str]
) -> None:
    with caplog.at_level(logging.ERROR, "optemu.ta"), pytest.raises(TeecError):
        arm.invoke(PROBE[f"PROBE_CMD_{command}"], *([Value.input(1)] if command == "PANIC" else []))
    match = re.search(r"\[0\] [0-9a-f-]{36} @ 0x([0-9a-f]+)", caplog.text)
    assert match
    base, known = int(match[1], 16), functions(built / "arm" / f"{PROBE_ARM_UUID}.elf")
    stack = [int(a, 16) - base for a in re.findall(r" (0x[0-9a-f]{8})$", caplog.text.split("Call stack:")[1], re.M)]
    # Return addresses are behind the call, which may be the last instruction of its function.
    names = [known[bisect_right(known, (a - 2, "~")) - 1][1] for a in stack if a > 0]
    assert names == innermost + BOTTOM
