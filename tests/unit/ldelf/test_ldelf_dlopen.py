"""Libraries added to a TA that runs, and what its runtime is told of them."""

import pytest
from build_elf import DATA, TA_HEAD_AT, Elf, Symbol, word

from optemu.abi import elf, gp
from optemu.abi import ta_head as th
from optemu.errors import TeeError
from optemu.secure_world.ldelf import ElfImage, Module, Segment, dlopen, link, map_elf, place

BASE = 0x4010_0000
HEAD = Symbol("ta_head", TA_HEAD_AT)
INFO, ARRAYS = DATA + 64, DATA + 128
both = pytest.mark.parametrize("bits", [64, 32])


class Memory:
    """The TA's memory: segments loaded, then changed."""

    def __init__(self) -> None:
        self._segments: dict[int, bytearray] = {}

    def add(self, segments: "tuple[Segment, ...] | list[Segment]") -> None:
        for s in segments:
            self._segments[s.va] = bytearray(s.data.ljust(s.size, b"\0"))

    def read(self, va: int, size: int) -> bytes:
        base, data = next((b, d) for b, d in self._segments.items() if b <= va < b + len(d))
        return bytes(data[va - base : va - base + size])

    def write(self, va: int, value: bytes) -> None:
        base, data = next((b, d) for b, d in self._segments.items() if b <= va < b + len(d))
        data[va - base : va - base + len(value)] = value


def opened(ta: Elf, *libraries: Elf) -> tuple[Memory, ElfImage]:
    image = link([map_elf(ta.build(), BASE)])
    memory = Memory()
    memory.add(image.segments)
    new = [map_elf(e.build()) for e in libraries]
    place(new, image.segments[-1].va + image.segments[-1].size)
    image, segments, patches = dlopen(image, new, memory.read)
    memory.add(segments)
    for va, data in patches:
        memory.write(va, data)
    return memory, image


@both
def test_a_library_finds_what_is_there(bits: int) -> None:
    glob_dat = 1025 if bits == 64 else 21
    library = Elf(bits, symbols=[Symbol("ta_head", defined=False), Symbol("new", 0x18)])
    library.relocations = [(DATA, glob_dat, 1, 0), (DATA + 8, glob_dat, 2, 0)]
    memory, image = opened(Elf(bits), library)
    base = image.modules[1].base
    assert memory.read(base + DATA, bits // 8) == word(bits, BASE + TA_HEAD_AT)
    assert memory.read(base + DATA + 8, bits // 8) == word(bits, base + 0x18)
    assert image.symbol("new") == base + 0x18


@both
def test_the_runtime_is_told_anew(bits: int) -> None:
    block = (DATA, 8, 24)
    ta = Elf(bits, symbols=[HEAD, Symbol("__elf_phdr_info", INFO)], tls=block, data=bytes(256))
    memory, image = opened(ta, Elf(bits, symbols=[], soname="a"), Elf(bits, symbols=[], soname="b", tls=block))
    info, row = (th.ELF_PHDR_INFO_64, th.DL_PHDR_INFO_64) if bits == 64 else (th.ELF_PHDR_INFO_32, th.DL_PHDR_INFO_32)
    _, count, _, _, table = info.unpack(memory.read(BASE + INFO, info.size))
    rows = [row.unpack(memory.read(table + n * row.size, row.size)) for n in range(count)]
    assert [r[0] for r in rows] == [m.base for m in image.modules]
    assert [memory.read(r[1], 2).split(b"\0")[0] for r in rows] == [b"", b"a", b"b"]
    assert [r[6] for r in rows] == ([0, 0, 0] if bits == 64 else [1, 0, 2])
    assert image.modules[2].tls_tcb_offs == (16 + 24 if bits == 64 else 0)


@both
def test_the_runtime_of_3_9_keeps_its_notes(bits: int) -> None:
    """struct __init_fini_info: a row for each module; what has run already stays so."""
    info, row = (th.INIT_FINI_INFO_64, th.INIT_FINI_64) if bits == 64 else (th.INIT_FINI_INFO_32, th.INIT_FINI_32)
    size = 2 * bits // 8
    arrays = [(elf.DT_INIT_ARRAY, ARRAYS), (elf.DT_INIT_ARRAYSZ, size)]
    ta = Elf(bits, symbols=[HEAD, Symbol("__init_fini_info", INFO)], dynamic=arrays, data=bytes(256))
    image = link([map_elf(ta.build(), BASE)])
    memory = Memory()
    memory.add(image.segments)
    _, count, _, table = info.unpack(memory.read(BASE + INFO, info.size))
    assert (count, row.unpack(memory.read(table, row.size))) == (1, (1, 2, 0, BASE + ARRAYS, 0))
    memory.write(table, b"\3")  # the runtime: INIT_HAS_RUN
    library = map_elf(Elf(bits, symbols=[], dynamic=arrays, data=bytes(256)).build())
    place([library], image.segments[-1].va + image.segments[-1].size)
    _, segments, patches = dlopen(image, [library], memory.read)
    memory.add(segments)
    (where, data), *_ = patches
    assert where == BASE + INFO
    _, count, _, table = info.unpack(data)
    assert count == 2
    assert memory.read(table, 1) == b"\3"
    assert row.unpack(memory.read(table + row.size, row.size)) == (1, 2, 0, library.base + ARRAYS, 0)


def test_what_the_ta_has_made_of_its_variable_is_looked_at() -> None:
    ta = Elf(symbols=[HEAD, Symbol("__elf_phdr_info", INFO)], data=bytes(256))
    image = link([map_elf(ta.build(), BASE)])
    library = map_elf(Elf(symbols=[]).build(), 0x4100_0000)
    with pytest.raises(TeeError, match="version 7") as caught:
        dlopen(image, [library], lambda va, size: b"\7".ljust(size, b"\0"))
    assert caught.value.code == gp.TEE_ERROR_NOT_SUPPORTED


def test_place_keeps_gaps_and_bounds() -> None:
    modules: list[Module] = [map_elf(Elf().build()) for _ in range(2)]
    gaps = iter([0x3000, 0x5000])
    place(modules, BASE, lambda: next(gaps))
    assert [m.base for m in modules] == [BASE + 0x3000, BASE + 0x3000 + modules[0].span + 0x5000]
    with pytest.raises(TeeError) as caught:
        place(modules, 0xFFFF_F000)
    assert caught.value.code == gp.TEE_ERROR_OUT_OF_MEMORY
