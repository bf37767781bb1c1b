"""Small TA images made by hand, in the shape the upstream linker script gives them."""

import struct
from dataclasses import dataclass, field

from optemu.abi import elf, gp
from optemu.abi.ta_head import TA_HEAD

UUID = gp.uuid_octets("8aaaf200-2450-11e4-abe2-0002a5d5c51b")
PAGE = 0x1000
CODE = 0x20
TA_HEAD_AT = 0x40
TABLES_AT = 0x100
TEXT_PAGES = 2
DATA = TEXT_PAGES * PAGE
"""Where the writable segment begins."""
STACK_SIZE = 4096
FLAGS = 0xC

OBJECT, FUNC, TLS = elf.STT_OBJECT, elf.STT_FUNC, elf.STT_TLS
GLOBAL, WEAK, LOCAL = elf.STB_GLOBAL, elf.STB_WEAK, elf.STB_LOCAL


@dataclass
class Symbol:
    name: str
    value: int = 0
    st_type: int = OBJECT
    binding: int = GLOBAL
    defined: bool = True


@dataclass
class Elf:
    """``bits`` 64 or 32. Relocations are (place, type, symbol's index from 1 on, addend)."""

    bits: int = 64
    symbols: list[Symbol] = field(default_factory=lambda: [Symbol("ta_head", TA_HEAD_AT)])
    relocations: list[tuple[int, int, int, int]] = field(default_factory=list)
    data: bytes = bytes(range(64))
    bss: int = 0x2000
    needed: list[str] = field(default_factory=list)
    soname: str = ""
    dynamic: list[tuple[int, int]] = field(default_factory=list)
    head: bytes = b""
    entry: int = CODE
    bti: bool = False
    tls: tuple[int, int, int] | None = None
    """vaddr, bytes in the file, bytes in memory."""
    text_flags: int = elf.PF_R | elf.PF_X
    loads: list[tuple[int, int, int, int, int]] | None = None
    """(offset, vaddr, filesz, memsz, flags) instead of the two segments that there are."""
    text_offset: int = PAGE
    hash_style: str = "sysv"
    """"sysv", "gnu", anything else for none; in GNU's the undefined symbols must come first."""
    hash_table: bytes | None = None
    """Instead of the right one."""

    @property
    def layout(self) -> elf.Layout:
        return elf.ELF64 if self.bits == 64 else elf.ELF32

    def build(self) -> bytes:
        text = bytearray(TEXT_PAGES * PAGE)
        text[TA_HEAD_AT : TA_HEAD_AT + TA_HEAD.size] = self.head or ta_head()
        at = TABLES_AT
        strings = bytearray(b"\0")

        def put(blob: bytes) -> tuple[int, int]:
            nonlocal at
            start, at = at, (at + len(blob) + 15) // 16 * 16
            text[start : start + len(blob)] = blob
            return start, len(blob)

        def name(s: str) -> int:
            strings.extend(s.encode() + b"\0")
            return len(strings) - len(s.encode()) - 1

        symbols = bytes(self.layout.sym.size) + b"".join(self._symbol(s, name(s.name)) for s in self.symbols)
        dynamic = [(elf.DT_NEEDED, name(n)) for n in self.needed]
        if self.soname:
            dynamic.append((elf.DT_SONAME, name(self.soname)))
        dynstr = put(bytes(strings))
        dynamic += [(elf.DT_STRTAB, dynstr[0]), (elf.DT_STRSZ, dynstr[1]), *self.dynamic, (0, 0)]
        dynsym = put(symbols)
        hashed = put(self._hash() if self.hash_table is None else self.hash_table)
        rel = put(b"".join(self._relocation(*r) for r in self.relocations))
        dyn = put(b"".join(self.layout.dyn.pack(*d) for d in dynamic))
        note = put(bti_note(self.bti))
        return self._file(bytes(text), dynsym, dynstr, hashed, rel, dyn, note)

    def _file(
        self,
        text: bytes,
        dynsym: tuple[int, int],
        dynstr: tuple[int, int],
        hashed: tuple[int, int],
        rel: tuple[int, int],
        dyn: tuple[int, int],
        note: tuple[int, int],
    ) -> bytes:
        base = self.text_offset
        rw = elf.PF_R | elf.PF_W
        loads = self.loads or [
            (base, 0, len(text), len(text), self.text_flags),
            (base + DATA, DATA, len(self.data), len(self.data) + self.bss, rw),
        ]
        phdrs = [self._phdr(elf.PT_LOAD, *load, PAGE) for load in loads]
        phdrs.append(self._phdr(elf.PT_DYNAMIC, base + dyn[0], dyn[0], dyn[1], dyn[1], rw, 8))
        phdrs.append(self._phdr(elf.PT_GNU_PROPERTY, base + note[0], note[0], note[1], note[1], elf.PF_R, 8))
        if self.tls:
            vaddr, filesz, memsz = self.tls
            phdrs.append(self._phdr(elf.PT_TLS, base + vaddr, vaddr, filesz, memsz, elf.PF_R, 8))
        kind, entsize = self._rel_kind
        sections = [
            self._shdr(0, (0, 0), 0, 0),
            self._shdr(elf.SHT_DYNSYM, dynsym, 2, self.layout.sym.size),
            self._shdr(3, dynstr, 0, 0),
            self._shdr(kind, rel, 1, entsize),
        ]
        hash_type = {"sysv": elf.SHT_HASH, "gnu": elf.SHT_GNU_HASH}.get(self.hash_style)
        if hash_type is not None:
            sections.append(self._shdr(hash_type, hashed, 1, 4))
        body = bytes(base)[self.layout.ehdr.size + sum(map(len, phdrs)) :] + text + self.data
        shoff = self.layout.ehdr.size + sum(map(len, phdrs)) + len(body)
        return self._ehdr(len(phdrs), shoff, len(sections)) + b"".join(phdrs) + body + b"".join(sections)

    def _hash(self) -> bytes:
        """One bucket for all: the loader looks names up by the symbols a table covers."""
        count = len(self.symbols) + 1
        if self.hash_style != "gnu":
            chain = [*range(1, count), 0]
            return struct.pack(f"<{3 + count}I", 1, count, min(1, count - 1), 0, *chain[1:])
        first = 1 + sum(not s.defined for s in self.symbols)
        words = [1, first, 1, 0] + [0xFFFFFFFF] * (self.bits // 32) + [first if first < count else 0]
        words += [gnu_hash(s.name) & ~1 for s in self.symbols[first - 1 : -1]]
        words += [gnu_hash(s.name) | 1 for s in self.symbols[first - 1 :][-1:]]
        return struct.pack(f"<{len(words)}I", *words)

    @property
    def _rel_kind(self) -> tuple[int, int]:
        if self.bits == 64:
            return elf.SHT_RELA, self.layout.rela.size
        return elf.SHT_REL, self.layout.rel.size

    def _ehdr(self, phnum: int, shoff: int, shnum: int) -> bytes:
        wide = self.bits == 64
        ident = elf.ELFMAG + bytes([2 if wide else 1, 1, 1]) + bytes(9)
        size, phsize, shsize = self.layout.ehdr.size, self.layout.phdr.size, self.layout.shdr.size
        machine = elf.EM_AARCH64 if wide else elf.EM_ARM
        flags = 0 if wide else elf.EF_ARM_ABI_V5
        return self.layout.ehdr.pack(
            ident, elf.ET_DYN, machine, 1, self.entry, size, shoff, flags, size, phsize, phnum, shsize, shnum, 0
        )

    def _phdr(self, kind: int, offset: int, vaddr: int, filesz: int, memsz: int, flags: int, align: int) -> bytes:
        if self.bits == 64:
            return self.layout.phdr.pack(kind, flags, offset, vaddr, vaddr, filesz, memsz, align)
        return self.layout.phdr.pack(kind, offset, vaddr, vaddr, filesz, memsz, flags, align)

    def _shdr(self, kind: int, where: tuple[int, int], link: int, entsize: int) -> bytes:
        return self.layout.shdr.pack(0, kind, 2, where[0], self.text_offset + where[0], where[1], link, 0, 8, entsize)

    def _symbol(self, s: Symbol, name: int) -> bytes:
        info, shndx = s.binding << 4 | s.st_type, 1 if s.defined else elf.SHN_UNDEF
        if self.bits == 64:
            return self.layout.sym.pack(name, info, 0, shndx, s.value, 8)
        return self.layout.sym.pack(name, s.value, 4, info, 0, shndx)

    def _relocation(self, place: int, kind: int, sym: int, addend: int) -> bytes:
        info = sym << self.layout.sym_shift | kind
        if self.bits == 64:
            return self.layout.rela.pack(place, info, addend)
        return self.layout.rel.pack(place, info)


def gnu_hash(name: str) -> int:
    h = 5381
    for c in name.encode():
        h = h * 33 + c & 0xFFFFFFFF
    return h


def ta_head(stack_size: int = STACK_SIZE, flags: int = FLAGS, depr_entry: int = (1 << 64) - 1) -> bytes:
    return TA_HEAD.pack(gp.uuid_to_memory(UUID), stack_size, flags, depr_entry)


def bti_note(bti: bool) -> bytes:
    return struct.pack("<III4sIIII", 4, 16, 5, b"GNU\0", 0xC0000000, 4, 1 if bti else 0, 0)


def word(image_bits: int, value: int) -> bytes:
    return (value % (1 << image_bits)).to_bytes(image_bits // 8, "little")
