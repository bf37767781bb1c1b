"""One ELF file in memory, before and while it is relocated. Mirrors struct ta_elf of ldelf/ta_elf.h."""

import struct
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Final

from optemu.abi import elf, gp
from optemu.errors import TeeError

PAGE: Final = 4096
LONGEST_NAME: Final = 4096
"""Longer symbol names are taken for damage, so that no image can make us compare megabytes over and over."""
_NEAR: Final = 64 << 10


class Prot(IntFlag):
    """What a TA may do with a page. ``BTI``: indirect branches must land on a BTI instruction."""

    R = 1
    W = 2
    X = 4
    BTI = 8


def bad(message: str) -> TeeError:
    """TEE_ERROR_BAD_FORMAT, which is what ldelf says of nearly every defect."""
    return TeeError(gp.TEE_ERROR_BAD_FORMAT, message)


def broken(message: str) -> TeeError:
    """TEE_ERROR_GENERIC, for what ldelf's assertions catch: it panics, and that is what its caller is told."""
    return TeeError(gp.TEE_ERROR_GENERIC, message)


def round_up(size: int) -> int:
    return -(-size // PAGE) * PAGE


def shown(name: bytes) -> str:
    """A name out of the image, fit for a message."""
    return name.decode("ascii", "backslashreplace")


@dataclass(slots=True)
class Mapping:
    """A load segment. ``vaddr`` as in the file, page aligned; zeros follow ``data`` up to ``size``.

    ``data`` grows up to ``near`` bytes to take values in. What is farther off gets pages of its own, ``late`` by their
    offsets: a heap of 64 MiB may lie before them.
    """

    vaddr: int
    size: int
    prot: Prot
    data: bytearray
    late: dict[int, bytearray] = field(default_factory=dict)
    near: int = 0

    def __post_init__(self) -> None:
        self.near = round_up(len(self.data)) + _NEAR

    @property
    def end(self) -> int:
        return self.vaddr + self.size

    def read(self, vaddr: int, size: int) -> bytes:
        at = vaddr - self.vaddr
        found = bytearray(self.data[at : at + size].ljust(size, b"\0"))
        for offset, page in self.late.items():
            if offset < at + size and at < offset + PAGE:
                start, end = max(at, offset), min(at + size, offset + PAGE)
                found[start - at : end - at] = page[start - offset : end - offset]
        return bytes(found)

    def write(self, vaddr: int, value: bytes) -> None:
        """Store ``value``, all of which is in the segment."""
        at = vaddr - self.vaddr
        near = max(0, min(len(value), self.near - at))
        if near:
            if at > len(self.data):
                self.data.extend(bytes(at - len(self.data)))
            self.data[at : at + near] = value[:near]
        while near < len(value):
            offset = at + near & -PAGE
            page = self.late.setdefault(offset, bytearray(PAGE))
            take = min(len(value) - near, offset + PAGE - (at + near))
            page[at + near - offset : at + near - offset + take] = value[near : near + take]
            near += take


@dataclass(slots=True)
class Module:
    """An ELF file mapped at ``base``. Addresses are the file's own (vaddr) unless they are called va."""

    layout: elf.Layout
    machine: int
    base: int
    entry: int
    phdrs: tuple[elf.Phdr, ...]
    raw_phdrs: bytes
    sections: list[elf.Shdr]
    mappings: list[Mapping]
    file_offset: int
    """Where in the file the first load segment begins."""
    uuid: bytes = b""
    """What it was asked for by, RFC 4122 octets."""
    needed: tuple[str, ...] = ()
    soname: int | None = None
    dynamic: dict[int, int] = field(default_factory=dict)
    """The first value of each tag in the dynamic section."""
    bti: bool = False
    tls_mod_id: int = 0
    tls_tcb_offs: int = 0
    _dynsym: "SymbolTable | None" = field(default=None, repr=False)
    _exports: dict[int, int] | None = field(default=None, repr=False)

    @property
    def is_library(self) -> bool:
        """Whether a load segment begins with the ELF header; ldelf cannot load such a file as a TA."""
        return self.file_offset < PAGE

    @property
    def arch(self) -> str:
        return "aarch64" if self.machine == elf.EM_AARCH64 else "arm"

    @property
    def span(self) -> int:
        """Bytes of address space from ``base`` on, a multiple of the page size."""
        return self.mappings[-1].end

    @property
    def end(self) -> int:
        """The first va after the module, where the next one can go."""
        return self.base + self.span

    def header(self, p_type: int) -> elf.Phdr | None:
        """The first program header of that type."""
        return next((p for p in self.phdrs if p.p_type == p_type), None)

    def find(self, vaddr: int, size: int) -> Mapping | None:
        """The segment that all of ``vaddr``..``vaddr + size`` lies in."""
        for m in self.mappings:
            if m.vaddr <= vaddr and vaddr + size <= m.end:
                return m
        return None

    def locate(self, vaddr: int, size: int, what: str) -> Mapping:
        """As ``find``; TeeError names ``what`` when it is not all mapped."""
        m = self.find(vaddr, size)
        if m is None:
            raise bad(f"{what}: 0x{vaddr:x}..0x{vaddr + size:x} is not within one load segment")
        return m

    def in_file(self, vaddr: int, size: int, what: str) -> bytes:
        """Memory without the zeros at its end that the file does not hold."""
        m = self.locate(vaddr, size, what)
        at = vaddr - m.vaddr
        return bytes(m.data[at : at + size])

    def symtab(self, index: int) -> "SymbolTable":
        """The symbol table in section ``index``."""
        if not 0 < index < len(self.sections):
            raise bad(f"symbol table in section {index} of {len(self.sections)}")
        return SymbolTable(self, self.sections[index])

    def symbol(self, name: str | bytes) -> int | None:
        """The va of a global or else weak symbol defined here (of a TLS symbol, the offset in its block).

        0 for one that is weak and defined by nobody, if the hash table has it: whoever asks looks no further.
        """
        raw = name.encode() if isinstance(name, str) else name
        if self._exports is None:
            self._dynsym, self._exports = self._index_exports()
        index = self._exports.get(hash(raw))
        if index is None or self._dynsym is None:
            return None
        found = self._dynsym[index]
        return self._address(raw, found) if self._dynsym.name(found) == raw else None

    def _index_exports(self) -> "tuple[SymbolTable | None, dict[int, int]]":
        """What the module's hash table leads to. Upstream walks its chains; they may be made to have no end.

        Hashes of names, not names: strings in the file may overlap and be gigabytes when copied.
        """
        dynsym = next((n for n, s in enumerate(self.sections) if s.sh_type == elf.SHT_DYNSYM), None)
        table = self.symtab(dynsym) if dynsym is not None else None
        first = self._first_hashed()
        if table is None or first is None:
            return None, {}
        gnu = self._section(elf.SHT_GNU_HASH) is not None
        exports: dict[int, int] = {}
        symbols = [(n, table[n]) for n in range(first, table.count)]
        for binding in (elf.STB_GLOBAL, elf.STB_WEAK):
            for n, s in symbols:
                if s.st_info >> 4 != binding or not s.st_name or s.st_shndx == elf.SHN_XINDEX:
                    continue
                if s.st_shndx != elf.SHN_UNDEF or (binding == elf.STB_WEAK and not gnu):
                    exports.setdefault(hash(table.name(s)), n)
        return table, exports

    def _section(self, sh_type: int) -> elf.Shdr | None:
        """The last section of that type."""
        return next((s for s in reversed(self.sections) if s.sh_type == sh_type), None)

    def _first_hashed(self) -> int | None:
        """The first symbol in the hash table, None when nothing can be found (save_hashtab, with its checks)."""
        sysv, gnu = self._section(elf.SHT_HASH), self._section(elf.SHT_GNU_HASH)
        first = None
        if sysv is not None:
            buckets, chains = self._hash_words(sysv, 2, "DT_HASH")
            self._hash_words(sysv, 2 + buckets + chains, "DT_HASH")
            first = 1 if buckets else None
        if gnu is not None:
            buckets, symoffset, bloom, _ = self._hash_words(gnu, 4, "DT_GNU_HASH")
            words = 4 + buckets + bloom * (self.layout.bits // 32)
            if gnu.sh_size < 4 * words:
                raise bad(f"DT_GNU_HASH of 0x{gnu.sh_size:x} bytes with {buckets} buckets and {bloom} words of bloom")
            first = symoffset if buckets and bloom else None
        return first

    def _hash_words(self, section: elf.Shdr, words: int, what: str) -> tuple[int, ...]:
        if section.sh_addr % 4:
            raise bad(f"{what} at 0x{section.sh_addr:x}, which is not a multiple of 4")
        m = self.locate(section.sh_addr, 4 * words, what)
        return struct.unpack("<4I", m.read(section.sh_addr, 16))[: min(words, 4)]

    def _address(self, name: bytes, symbol: elf.Sym) -> int:
        if symbol.st_shndx == elf.SHN_UNDEF:
            return 0
        st_type = symbol.st_info & 0xF
        if st_type == elf.STT_TLS:
            return symbol.st_value
        if st_type not in (elf.STT_NOTYPE, elf.STT_OBJECT, elf.STT_FUNC):
            raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, f"symbol {shown(name)} has type {st_type}")
        if symbol.st_value > self.span:
            raise bad(f"symbol {shown(name)} at 0x{symbol.st_value:x}, the image ends at 0x{self.span:x}")
        return self.base + symbol.st_value


class SymbolTable:
    """A section of Elf_Sym with its strings, looked at where it lies in the module's memory."""

    __slots__ = ("_at", "_data", "_names", "_sym", "_sym_type", "count")

    def __init__(self, module: Module, section: elf.Shdr) -> None:
        sym = self._sym = module.layout.sym
        self._sym_type = module.layout.sym_type
        if section.sh_entsize != sym.size:
            raise broken(f"symbol table with entries of {section.sh_entsize} bytes")
        if section.sh_size % sym.size:
            raise bad(f"symbol table of 0x{section.sh_size:x} bytes with entries of {section.sh_entsize}")
        if section.sh_link >= len(module.sections):
            raise bad(f"symbol names in section {section.sh_link} of {len(module.sections)}")
        symbols = module.locate(section.sh_addr, section.sh_size, "symbol table")
        self._data, self._at = symbols.data, section.sh_addr - symbols.vaddr
        self.count = max(0, min(section.sh_size, len(symbols.data) - self._at)) // sym.size
        strings = module.sections[section.sh_link]
        names = module.locate(strings.sh_addr, strings.sh_size, "symbol names")
        self._names = NameTable(names.data, strings.sh_addr - names.vaddr, strings.sh_size)

    def __getitem__(self, index: int) -> elf.Sym:
        if index >= self.count:
            raise bad(f"symbol {index} of {self.count}")
        return self._sym_type(*self._sym.unpack_from(self._data, self._at + index * self._sym.size))

    def name(self, symbol: elf.Sym) -> bytes:
        return self._names[symbol.st_name]


class NameTable:
    """Strings that end in a NUL byte, in ``size`` bytes of ``data`` from ``at`` on."""

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: bytes | bytearray, at: int, size: int) -> None:
        self._data, self._at, self._end = data, at, min(at + size, len(data))

    def __getitem__(self, offset: int) -> bytes:
        start = self._at + offset
        end = self._data.find(0, start, min(start + LONGEST_NAME, self._end))
        if end < 0:
            raise bad(f"name at 0x{offset:x} of {max(0, self._end - self._at)} bytes of names has no end")
        return bytes(self._data[start:end])
