"""The dump of a dead TA, read with the patterns of upstream's scripts/symbolize.py."""

import re
import struct

from hypothesis import given
from hypothesis import strategies as st

from optemu.secure_world.ldelf.dump import DumpRegion, abort_lines, call_stack, state_lines

UUID = "8aaaf200-2450-11e4-abe2-0002a5d5c51b"
BASE = 0x4010_0000
STACK = 0x3FFF_F000
# As the log prints them: every line behind "E/TC:" and a blank.
STACK_ADDR_RE = re.compile(r"[UEIDFM]/(TC|LD):([0-9]+ )?(\?*|[0-9]*) [0-9]* +(?P<addr>0x[0-9a-f]+)")
ABORT_ADDR_RE = re.compile(r"-abort at address (?P<addr>0x[0-9a-f]+)")
REGION_RE = re.compile(
    r"region +[0-9]+: va (?P<addr>0x[0-9a-f]+) pa 0x[0-9a-f]+ size (?P<size>0x[0-9a-f]+)"
    r"( flags .{4} (\[(?P<elf_idx>[0-9]+)\])?)?"
)
ELF_LIST_RE = re.compile(r"\[(?P<idx>[0-9]+)\] (?P<uuid>[0-9a-f\-]+) @ (?P<load_addr>0x[0-9a-f\-]+)")

A64 = {f"x{n}": n * 0x111 for n in range(31)} | {"sp": STACK + 0x100, "pc": BASE + 0x44, "cpsr": 0x80000000}
A32 = {f"r{n}": n for n in range(13)} | {"sp": STACK + 0x100, "lr": BASE + 0x21, "pc": BASE + 0x40, "cpsr": 0x30}
REGIONS = [
    DumpRegion(STACK, 0xE100000, 0x1000, "rw-s", "stack"),
    DumpRegion(BASE, 0xE200000, 0x19000, "r-xs", "0"),
    DumpRegion(0xA000_0000, 0x4200_0000, 0x1000, "rw--", "param"),
]


def logged(lines: list[str]) -> list[str]:
    return [f"E/TC: {line}" for line in lines]


def frames(*links: tuple[int, int, int]) -> dict[int, bytes]:
    """Frame records: where, the next one, the return address."""
    return {at: struct.pack("<QQ", following, back) for at, following, back in links}


def test_symbolize_reads_all_of_it() -> None:
    memory = frames((STACK + 0x200, STACK + 0x300, BASE + 0x1004), (STACK + 0x300, 0, BASE + 0x2004))
    regs = A64 | {"x29": STACK + 0x200}
    lines = abort_lines("data-abort", 0x1234, "translation fault", regs, "aarch64")
    lines += state_lines("aarch64", UUID, REGIONS, [(UUID, BASE)], regs, lambda va, n: memory.get(va))
    text = logged(lines)
    assert [m["addr"] for line in text if (m := ABORT_ADDR_RE.search(line))] == ["0x1234"]
    found = [m.group("addr", "size", "elf_idx") for line in text if (m := REGION_RE.search(line))]
    assert found == [
        ("0x3ffff000", "0x001000", None),
        ("0x40100000", "0x019000", "0"),
        ("0xa0000000", "0x001000", None),
    ]
    listed = [m.groups() for line in text if not REGION_RE.search(line) and (m := ELF_LIST_RE.search(line))]
    assert [(n, uuid, int(at, 16)) for n, uuid, at in listed] == [("0", UUID, BASE)]
    start = next(n for n, line in enumerate(text) if line.endswith("Call stack:"))
    stack = [m["addr"] for line in text[start + 1 :] if (m := STACK_ADDR_RE.search(line))]
    assert [int(a, 16) for a in stack] == [BASE + 0x44, BASE + 0x1000, BASE + 0x2000]
    assert f"Status of TA {UUID}" in lines
    assert " arch: aarch64" in lines


def test_registers_of_both_kinds() -> None:
    wide = "\n".join(abort_lines("prefetch-abort", 0, "x", A64, "aarch64"))
    assert all(f"{value:016x}" in wide for name, value in A64.items() if name != "cpsr")
    assert " x28 0000000000001ddc x29 0000000000001eed" in wide
    narrow = "\n".join(abort_lines("undef-abort", 0, "x", A32, "arm"))
    assert all(re.search(rf" {name} 0x{value:08x}\b", narrow) for name, value in A32.items())


def test_arm32_names_where_it_was_and_who_called() -> None:
    assert call_stack("arm", A32, lambda va, n: None) == [A32["pc"], A32["lr"]]


def test_frames_that_lead_in_circles() -> None:
    loop = frames((STACK, STACK + 16, BASE + 4), (STACK + 16, STACK, BASE + 8))
    assert call_stack("aarch64", A64 | {"x29": STACK}, lambda va, n: loop.get(va)) == [A64["pc"], BASE, BASE + 4]


@given(st.integers(0, 2**64 - 1), st.binary(min_size=16, max_size=16), st.booleans())
def test_any_frame_pointer(fp: int, record: bytes, growing: bool) -> None:
    """Ends, whatever the frames say; a TA can write them as it likes."""

    def read(va: int, n: int) -> bytes:
        return struct.pack("<QQ", (va + 16) % 2**64, 8) if growing else record

    assert 1 <= len(call_stack("aarch64", A64 | {"x29": fp}, read)) <= 64
