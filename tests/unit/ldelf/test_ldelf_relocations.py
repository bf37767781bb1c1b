"""Each relocation by its ABI's formula, symbols across modules, and what the runtime is told of them."""

import pytest
from build_elf import DATA, PAGE, TA_HEAD_AT, TLS, WEAK, Elf, Symbol, word

from optemu.abi import elf, gp
from optemu.abi import ta_head as th
from optemu.errors import TeeError
from optemu.secure_world.ldelf import ElfImage, Module, Prot, link, load, map_elf

BASE = 0x4010_0000
PLACE = DATA + 16
IN_PLACE = 0x11223344
HEAD = Symbol("ta_head", TA_HEAD_AT)
HERE, ELSEWHERE, NOWHERE = 2, 3, 4
"""Symbols of the TA: its own, one of the library, a weak one that nobody defines."""
OWN_VALUE, LIBRARY_VALUE = 0x148, 0x158
UNDEFINED_WEAK = Symbol("nowhere", binding=WEAK, defined=False)
SYMBOLS = [HEAD, Symbol("here", OWN_VALUE), Symbol("elsewhere", defined=False), UNDEFINED_WEAK]
LIBRARY_BASE = BASE + DATA + 6 * PAGE


def linked(bits: int, relocations: list[tuple[int, int, int, int]], tls: bool = False) -> ElfImage:
    """A TA with its library behind it; the word at PLACE is IN_PLACE at first."""
    data = bytearray(64)
    data[16:20] = IN_PLACE.to_bytes(4, "little")
    block = (DATA, 8, 40) if tls else None
    ta = Elf(bits, symbols=SYMBOLS, relocations=relocations, data=bytes(data), tls=block)
    exported = Symbol("elsewhere", 0x18 if tls else LIBRARY_VALUE, TLS if tls else elf.STT_OBJECT)
    library = Elf(bits, symbols=[exported, Symbol("here", 0x999)], tls=(DATA, 8, 24) if tls else None)
    return link([map_elf(ta.build(), BASE), map_elf(library.build(), LIBRARY_BASE)])


def stored(bits: int, kind: int, sym: int, addend: int, tls: bool = False) -> int:
    """What one relocation leaves at PLACE."""
    image = linked(bits, [(PLACE, kind, sym, addend)], tls)
    return int.from_bytes(image.read(BASE + PLACE, bits // 8, "word"), "little")


@pytest.mark.parametrize(
    ("kind", "sym", "addend", "expected"),
    [
        (0, 0, 5, IN_PLACE),
        (257, HERE, 5, BASE + OWN_VALUE + 5),
        (257, ELSEWHERE, -5, LIBRARY_BASE + LIBRARY_VALUE - 5),
        (257, NOWHERE, 0, 0),
        (1025, HERE, 0, BASE + OWN_VALUE),
        (1025, ELSEWHERE, 0, LIBRARY_BASE + LIBRARY_VALUE),
        (1026, ELSEWHERE, 0, LIBRARY_BASE + LIBRARY_VALUE),
        (1026, NOWHERE, 0, 0),
        (1027, 0, 0x77, BASE + 0x77),
        (1027, 0, -BASE - 1, (1 << 64) - 1),
    ],
)
def test_aarch64(kind: int, sym: int, addend: int, expected: int) -> None:
    assert stored(64, kind, sym, addend) == expected


@pytest.mark.parametrize(
    ("kind", "sym", "expected"),
    [
        (0, 0, IN_PLACE),
        (2, HERE, BASE + OWN_VALUE + IN_PLACE),
        (2, ELSEWHERE, LIBRARY_BASE + LIBRARY_VALUE + IN_PLACE),
        (3, HERE, OWN_VALUE + IN_PLACE - PLACE),
        (21, ELSEWHERE, LIBRARY_BASE + LIBRARY_VALUE),
        (21, NOWHERE, 0),
        (22, ELSEWHERE, LIBRARY_BASE + LIBRARY_VALUE),
        (23, 0, BASE + IN_PLACE),
    ],
)
def test_arm(kind: int, sym: int, expected: int) -> None:
    assert stored(32, kind, sym, 0) == expected % (1 << 32)


def test_thread_local_storage_of_aarch64() -> None:
    """Offsets from the thread pointer: two words, the TA's block (40 bytes), then the library's."""
    assert stored(64, 1030, 0, 4, tls=True) == 16 + 4
    assert stored(64, 1030, ELSEWHERE, 4, tls=True) == 16 + 40 + 0x18 + 4


def test_tls_descriptor() -> None:
    """A function of ours, executable and position independent, and the offset it returns."""
    image = linked(64, [(PLACE, 1031, ELSEWHERE, 4)], tls=True)
    pair = image.read(BASE + PLACE, 16, "pair")
    resolver, offset = int.from_bytes(pair[:8], "little"), int.from_bytes(pair[8:], "little")
    assert offset == 16 + 40 + 0x18 + 4
    own = next(s for s in image.segments if s.va <= resolver < s.va + s.size)
    assert own.prot == Prot.R | Prot.X | Prot.BTI
    assert own.va == LIBRARY_BASE + DATA + 3 * PAGE
    assert own.data[resolver - own.va :][:12] == bytes.fromhex("5f2403d5 000440f9 c0035fd6")


def test_thread_local_storage_of_arm() -> None:
    assert stored(32, 17, 0, 0, tls=True) == 1
    assert stored(32, 17, ELSEWHERE, 0, tls=True) == 2
    assert stored(32, 18, ELSEWHERE, 0, tls=True) == (0x18 + IN_PLACE)


def test_the_first_module_wins() -> None:
    image = linked(64, [])
    assert image.symbol("here") == BASE + OWN_VALUE
    assert image.symbol("elsewhere") == LIBRARY_BASE + LIBRARY_VALUE


def test_relocations_into_zeros_make_room() -> None:
    place = DATA + PAGE
    image = load(Elf(relocations=[(place, 1027, 0, 9)]).build(), BASE)
    assert image.segments[1].data[PAGE : PAGE + 8] == word(64, BASE + 9)
    assert len(image.segments[1].data) == PAGE + 8


def test_a_value_behind_a_large_heap_takes_a_page() -> None:
    """And one over the border of two pages takes two; the zeros before them are nowhere."""
    size = 64 << 20
    places = (DATA + size, DATA + size + PAGE - 4, DATA + (64 << 10) + PAGE - 4)
    e = Elf(bss=size + 2 * PAGE, relocations=[(place, 1027, 0, place) for place in places])
    image = load(e.build(), BASE)
    segment = image.segments[1]
    assert len(segment.data) + sum(len(page) for _, page in segment.late) < 100 << 10
    memory = memoryview(bytearray(segment.size))
    segment.store(memory)
    for place in places:
        assert bytes(memory[place - DATA :][:8]) == word(64, BASE + place)
        assert image.read(BASE + place, 8, "place") == word(64, BASE + place)
    assert image.read(BASE + DATA + size - 8, 24, "around") == bytes(8) + word(64, BASE + DATA + size) + bytes(8)


@pytest.mark.parametrize("bits", [64, 32])
def test_the_runtime_learns_of_all_modules(bits: int) -> None:
    """__elf_phdr_info: a count, and for each module its address, name, program headers and TLS block."""
    where = DATA + 64
    symbols = [HEAD, Symbol("__elf_phdr_info", where)]
    block = (DATA, 8, 40)
    ta, library = Elf(bits, symbols=symbols, tls=block), Elf(bits, symbols=[], soname="the-library")
    image = link([map_elf(ta.build(), BASE), map_elf(library.build(), LIBRARY_BASE)])
    info, dlpi = (th.ELF_PHDR_INFO_64, th.DL_PHDR_INFO_64) if bits == 64 else (th.ELF_PHDR_INFO_32, th.DL_PHDR_INFO_32)

    def read(va: int, size: int) -> bytes:
        s = next(s for s in image.segments if s.va <= va < s.va + s.size)
        return s.data[va - s.va :].ljust(size, b"\0")[:size]

    reserved, count, _, zero, table = info.unpack(read(BASE + where, info.size))
    assert (reserved, count, zero) == (0, 2, 0)
    first = dlpi.unpack(read(table, dlpi.size))
    second = dlpi.unpack(read(table + dlpi.size, dlpi.size))
    assert (first[0], second[0]) == (BASE, LIBRARY_BASE)
    assert read(first[1], 1) == b"\0"
    assert read(second[1], 12) == b"the-library\0"
    for (_, _, phdr, phnum, *_), source in ((first, ta), (second, library)):
        raw, size = source.build(), source.layout.phdr.size
        assert read(phdr, phnum * size) == raw[source.layout.ehdr.size :][: phnum * size]
    assert first[4:6] == (1, 0)
    assert first[6:] == ((0, DATA) if bits == 64 else (1, 0))
    assert image.segments[-1].prot == Prot.R | Prot.W


def test_a_ta_without_the_variable_gets_no_memory_of_the_loader() -> None:
    assert len(load(Elf().build(), BASE).segments) == 2


def test_phdr_info_of_the_future_is_refused() -> None:
    symbols = [HEAD, Symbol("__elf_phdr_info", DATA)]
    with pytest.raises(TeeError, match="__elf_phdr_info") as caught:
        load(Elf(symbols=symbols, data=b"\1" * 16).build(), BASE)
    assert caught.value.code == gp.TEE_ERROR_NOT_SUPPORTED


@pytest.mark.parametrize(
    ("bits", "relocation", "why"),
    [
        (64, (CODE_PLACE := 0x20, 1027, 0, 0), "read-only"),
        (32, (CODE_PLACE, 23, 0, 0), "read-only"),
        (64, (DATA + 3 * PAGE, 1027, 0, 0), "outside"),
        (64, (DATA + 3 * PAGE - 8, 1027, 0, 0), "outside"),
        (64, (DATA + 3 * PAGE - 16, 1031, 0, 0), "outside"),
        (64, ((1 << 64) - 4, 1027, 0, 0), "outside"),
        (32, ((1 << 32) - 2, 23, 0, 0), "outside"),
        (64, (DATA - 4, 1027, 0, 0), "outside"),
        (64, (DATA, 1028, 0, 0), "type 1028"),
        (32, (DATA, 1, 0, 0), "type 1 "),
        (64, (DATA, 1025, 77, 0), "symbol 77"),
        (32, (DATA, 3, 77, 0), "symbol 77"),
    ],
)
def test_wild_relocations(bits: int, relocation: tuple[int, int, int, int], why: str) -> None:
    with pytest.raises(TeeError, match=why) as caught:
        load(Elf(bits, relocations=[relocation]).build(), BASE)
    assert caught.value.code == (gp.TEE_ERROR_GENERIC if why == "read-only" else gp.TEE_ERROR_BAD_FORMAT)


def test_a_relocation_behind_a_good_one_is_checked_too() -> None:
    end = DATA + 3 * PAGE
    with pytest.raises(TeeError, match="outside"):
        load(Elf(relocations=[(DATA, 1027, 0, 0), (end - 8, 1027, 0, 0)]).build(), BASE)


def test_symbols_behind_the_image_or_of_odd_types() -> None:
    for symbol, code in (
        (Symbol("wild", 1 << 40), gp.TEE_ERROR_BAD_FORMAT),
        (Symbol("odd", 0, st_type=10), gp.TEE_ERROR_NOT_SUPPORTED),
    ):
        raw = Elf(symbols=[HEAD, symbol], relocations=[(DATA, 1025, 2, 0)]).build()
        with pytest.raises(TeeError, match=symbol.name) as caught:
            load(raw, BASE)
        assert caught.value.code == code


def test_modules_must_fit_each_other() -> None:
    def ta() -> Module:
        return map_elf(Elf().build(), BASE)

    with pytest.raises(TeeError, match="another machine"):
        link([ta(), map_elf(Elf(32).build(), LIBRARY_BASE)])
    with pytest.raises(ValueError, match="over each other"):
        link([ta(), map_elf(Elf().build(), BASE + PAGE)])
