"""Images that want to hurt: refused with a reason, whatever they hold."""

import struct
import tracemalloc
from itertools import pairwise

import pytest
from build_elf import DATA, PAGE, TA_HEAD_AT, Elf, Symbol
from hypothesis import given
from hypothesis import strategies as st

from optemu.abi import elf, gp
from optemu.errors import TeeError
from optemu.secure_world.ldelf import dlopen, link, load, map_elf, place

BASE = 0x4010_0000
RELOCATED = {
    64: [(DATA, 1027, 0, 4), (DATA + 8, 1025, 2, 0), (DATA + 16, 257, 1, 0), (DATA + 32, 1031, 0, 0)],
    32: [(DATA, 23, 0, 0), (DATA + 8, 21, 2, 0), (DATA + 16, 2, 1, 0), (DATA + 20, 17, 0, 0)],
}
SYMBOLS = [Symbol("ta_head", TA_HEAD_AT), Symbol("__elf_phdr_info", DATA + 64)]
GOOD = {
    bits: Elf(bits, symbols=SYMBOLS, relocations=RELOCATED[bits], tls=(DATA, 8, 16), bti=True, soname="so").build()
    for bits in (64, 32)
}
both = pytest.mark.parametrize("bits", [64, 32])
PANIC = gp.TEE_ERROR_GENERIC
"""Upstream's ldelf stops at an assertion."""


def refused(raw: bytes, code: int = gp.TEE_ERROR_BAD_FORMAT, limit: int = 1 << 20) -> str:
    with pytest.raises(TeeError) as caught:
        load(raw, BASE, limit)
    assert caught.value.code == code, caught.value
    return str(caught.value)


def survive(raw: bytes) -> None:
    """Loaded or refused, nothing else; and what was loaded can be looked at."""
    try:
        image = load(raw, BASE, 1 << 20)
    except TeeError:
        return
    image.properties()
    assert all(s.va >= BASE and s.va % PAGE == s.size % PAGE == 0 and len(s.data) <= s.size for s in image.segments)
    ends = [s.va + s.size for s in image.segments]
    assert all(end <= s.va for end, s in zip(ends, image.segments[1:], strict=False))
    assert sum(s.size for s in image.segments) <= (1 << 20) + 2 * PAGE


@both
def test_the_good_one_is_good(bits: int) -> None:
    assert len(load(GOOD[bits], BASE).segments) == {64: 4, 32: 3}[bits]


@given(st.binary(max_size=300))
def test_noise(raw: bytes) -> None:
    survive(raw)
    survive(b"\x7fELF" + raw)


@given(st.sampled_from([64, 32]), st.data())
def test_any_changes(bits: int, data: st.DataObject) -> None:
    """Anywhere, but most where structures are."""
    raw = bytearray(GOOD[bits])
    header = st.integers(0, 0x1F0)
    tables = st.integers(PAGE, PAGE + 0x400)
    sections = st.integers(len(raw) - 4 * 64, len(raw) - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(header | tables | sections | st.integers(0, len(raw) - 1))
        new = data.draw(st.sampled_from([b"\xff" * 8, bytes(8), b"\0\0\0\x80", b"\xff" * 4]) | st.binary(max_size=8))
        raw[at : at + len(new)] = new
    survive(bytes(raw))


LIBRARIES = {
    bits: Elf(
        bits,
        symbols=[Symbol("ta_head", defined=False), Symbol("own", 8), Symbol("tls", 4, st_type=elf.STT_TLS)],
        relocations=[(place, kind, min(sym, 3) + (sym == 2), a) for place, kind, sym, a in RELOCATED[bits]],
        tls=(DATA, 8, 16),
        soname="library",
        dynamic=[(elf.DT_INIT_ARRAY, DATA), (elf.DT_INIT_ARRAYSZ, 8)],
        hash_style="gnu",
    ).build()
    for bits in (64, 32)
}


def changed(raw: bytes, data: st.DataObject) -> bytes:
    copy = bytearray(raw)
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(
            st.integers(0, 0x1F0) | st.integers(PAGE, PAGE + 0x400) | st.integers(len(raw) - 320, len(raw) - 1)
        )
        new = data.draw(st.sampled_from([b"\xff" * 8, bytes(8), b"\0\0\0\x80"]) | st.binary(max_size=8))
        copy[at : at + len(new)] = new
    return bytes(copy)


@given(st.sampled_from([64, 32]), st.data())
def test_any_changes_in_ta_and_libraries(bits: int, data: st.DataObject) -> None:
    """Linked together, and the second one opened later: a TeeError, or segments that do not overlap."""
    try:
        first, second, third = (
            map_elf(changed(raw, data), limit=1 << 20) for raw in (GOOD[bits], LIBRARIES[bits], LIBRARIES[bits])
        )
        place([first, second], BASE)
        image = link([first, second])
        place([third], image.segments[-1].va + image.segments[-1].size)
        image, _, patches = dlopen(image, [third], lambda va, size: data.draw(st.binary(min_size=size, max_size=size)))
    except TeeError:
        return
    assert all(a.va + a.size <= b.va for a, b in pairwise(image.segments))
    assert all(
        any(s.writable and s.va <= va and va + len(d) <= s.va + s.size for s in image.segments) for va, d in patches
    )


@both
def test_the_good_ones_are_good_together(bits: int) -> None:
    first, second, third = (map_elf(raw) for raw in (GOOD[bits], LIBRARIES[bits], LIBRARIES[bits]))
    place([first, second], BASE)
    image = link([first, second])
    place([third], image.segments[-1].va + image.segments[-1].size)
    image, segments, patches = dlopen(image, [third], lambda va, size: bytes(size))
    assert len(image.modules) == 3
    assert [va for va, _ in patches] == [BASE + DATA + 64]
    assert len(segments) == {64: 4, 32: 3}[bits]


@both
def test_every_byte_of_the_structures(bits: int) -> None:
    raw = bytearray(GOOD[bits])
    for at in (*range(0x1F0), *range(PAGE, PAGE + 0x300), *range(len(raw) - 256, len(raw))):
        for value in (0xFF, 0x80, 1):
            raw[at] ^= value
            survive(bytes(raw))
            raw[at] ^= value


@both
def test_every_truncation(bits: int) -> None:
    raw = GOOD[bits]
    for size in (*range(0x200), *range(0x200, len(raw), 61)):
        refused(raw[:size])


def test_machine_is_named() -> None:
    raw = bytearray(Elf().build())
    raw[18:20] = (62).to_bytes(2, "little")
    said = refused(bytes(raw))
    assert "x86-64" in said
    assert "AArch64" in said


@pytest.mark.parametrize(
    ("at", "value"), [(0, 0), (4, 3), (5, 2), (6, 0), (7, 9), (16, 2), (48, 1), (54, 57), (58, 65)]
)
def test_header_fields(at: int, value: int) -> None:
    raw = bytearray(Elf().build())
    raw[at] = value
    refused(bytes(raw))


@pytest.mark.parametrize("at", [7, 39])
def test_header_fields_of_arm(at: int) -> None:
    raw = bytearray(Elf(32).build())
    raw[at] ^= 3
    refused(bytes(raw))


BAD = gp.TEE_ERROR_BAD_FORMAT
R, W, X = elf.PF_R, elf.PF_W, elf.PF_X
TEXT = (PAGE, 0, DATA, DATA, R | X)


@pytest.mark.parametrize(
    ("segment", "why", "code"),
    [
        ((PAGE + DATA, DATA - PAGE, 16, 64, R | W), "overlaps", PANIC),
        ((PAGE, DATA, 16, 64, R | W), "overlaps", PANIC),
        ((PAGE + DATA, DATA, 64, 16, R | W), "0x10 bytes of memory for 0x40", BAD),
        ((PAGE + DATA, DATA, 0, 0, R | W), "0x0 bytes of memory", BAD),
        ((PAGE + DATA + 8, DATA, 16, 64, R | W), "place of a page", PANIC),
        ((PAGE + DATA, DATA, 1 << 40, 1 << 41, R | W), "0x", BAD),
        ((PAGE + DATA, (1 << 64) - PAGE, 16, PAGE, R | W), "memory ends", BAD),
        ((PAGE + DATA, DATA, 16, (1 << 64) - 1, R | W), "memory ends", BAD),
        ((PAGE + DATA, 1 << 32, 16, 64, R | W), "memory ends", BAD),
        ((1 << 63, DATA, 16, 64, R | W), "truncated", BAD),
        ((PAGE + DATA, DATA, 16, 64, R), "read-only", BAD),
    ],
)
def test_segments(segment: tuple[int, int, int, int, int], why: str, code: int) -> None:
    e = Elf(loads=[TEXT, segment], symbols=[Symbol("ta_head", TA_HEAD_AT)], data=b"")
    assert why in refused(e.build(), code)


def test_unreadable_segment() -> None:
    refused(Elf(text_flags=X).build(), gp.TEE_ERROR_NOT_SUPPORTED)


def test_no_segment_at_all() -> None:
    raw = bytearray(Elf().build())
    raw[56:58] = bytes(2)
    assert "no loadable" in refused(bytes(raw))


def test_headers_in_a_load_segment_make_a_library() -> None:
    raw = bytearray(Elf(loads=[(0, 0, PAGE + DATA, PAGE + DATA, R | X)], entry=PAGE + 0x20).build())
    raw[0x48:0x50] = bytes(8)
    assert "library" in refused(bytes(raw), PANIC)


def test_memory_is_bounded_before_it_is_taken() -> None:
    huge = Elf(bss=1 << 30).build()
    tracemalloc.start()
    try:
        said = refused(huge, gp.TEE_ERROR_OUT_OF_MEMORY)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert "0x100000" in said
    assert load(Elf(bss=1 << 19).build(), BASE, 1 << 20).segments[1].size >= 1 << 19


REL_AT = 0x160
"""Where build_elf puts the relocations of an image with one symbol."""


def test_relocation_sections_over_each_other() -> None:
    """Sixty thousand times the same table would be work without end."""
    raw = Elf(relocations=[(DATA, 1027, 0, 0)] * 150).build()
    table = elf.ELF64.shdr.pack(0, elf.SHT_RELA, 2, REL_AT, PAGE + REL_AT, 24 * 100, 1, 0, 8, 24)
    many = bytearray(raw + table * 60000)
    many[60:62] = (60005).to_bytes(2, "little")
    assert "overlap" in refused(bytes(many))


def test_section_headers_behind_the_end() -> None:
    raw = bytearray(Elf().build())
    struct.pack_into("<Q", raw, 0x28, (1 << 64) - 64)
    assert "section headers" in refused(bytes(raw))


def test_names_without_end() -> None:
    symbols = [Symbol("ta_head", TA_HEAD_AT), Symbol("x" * 5000, 8)]
    e = Elf(symbols=symbols, relocations=[(DATA, 1025, 2, 0)])
    assert "no end" in refused(e.build())


def test_read_only_segments_that_share_a_page_of_the_file() -> None:
    """What lld lays out by itself; ldelf has no way to map it."""
    loads = [(PAGE, 0, 0x1800, 0x1800, R | X), (PAGE + 0x1800, DATA + 0x800, 64, 64, R)]
    assert "shares a page of the file" in refused(Elf(loads=loads).build(), PANIC)
