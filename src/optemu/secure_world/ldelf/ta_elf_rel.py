"""Relocation. Mirrors ldelf/ta_elf_rel.c.

Each relocation has the name its ABI gives it, and its formula in the ABI's letters (AAELF64 table 5-15,
AAELF32 table 4-9): S is the symbol's address, A the addend, P the place, B the load address, T is 1 for a Thumb
function (its symbol's value has that bit already), TPREL an offset from the thread pointer. Nothing else is known
to OP-TEE's loader, and what it does not know it refuses.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from optemu.abi import elf, gp
from optemu.errors import TeeError

from .module import Mapping, Module, Prot, SymbolTable, bad, broken, shown


class Scope(Protocol):
    """Where symbols are looked up, and what the loader itself puts into the address space."""

    def resolve(self, name: bytes) -> tuple[Module, int] | None:
        """The module that defines ``name`` and its address there."""

    def unresolved(self, module: Module, name: bytes) -> None:
        """Nobody defines ``name``; raises unless 0 will do."""

    def tlsdesc_resolver(self) -> int:
        """The va of the function that answers for TLS descriptors."""


@dataclass(slots=True)
class Relocator:
    """What formulas are made of, for the relocations in one section."""

    module: Module
    scope: Scope
    symbols: SymbolTable | None
    _found: dict[int, tuple[Module, int]] = field(default_factory=dict)

    @property
    def B(self) -> int:
        return self.module.base

    def _table(self) -> SymbolTable:
        if self.symbols is None:
            raise bad("relocation against a symbol, but there is no symbol table")
        return self.symbols

    def resolve(self, index: int) -> tuple[Module, int]:
        """Symbol ``index`` by its name, in all modules: the first definition wins, even over our own."""
        found = self._found.get(index)
        if found is None:
            symbol = self._table()[index]
            name = self._table().name(symbol)
            found = self.scope.resolve(name)
            if found is None:
                if symbol.st_shndx != elf.SHN_UNDEF or symbol.st_info >> 4 != elf.STB_WEAK:
                    self.scope.unresolved(self.module, name)
                found = self.module, 0
            self._found[index] = found
        return found

    def S(self, index: int) -> int:
        return self.resolve(index)[1]

    def S_local(self, index: int) -> int:
        """As S, but a symbol that is defined in this module is this module's."""
        symbol = self._table()[index]
        return self.S(index) if symbol.st_shndx == elf.SHN_UNDEF else self.B + symbol.st_value

    def tls_module(self, index: int) -> Module:
        """The module whose TLS block symbol ``index`` is in; 0 stands for this module."""
        if not index or self._table()[index].st_shndx != elf.SHN_UNDEF:
            return self.module
        return self.resolve(index)[0]

    def TPREL(self, index: int, addend: int) -> int:
        module, value = self.resolve(index) if index else (self.module, 0)
        return value + module.tls_tcb_offs + addend


Formula = Callable[[Relocator, int, int, int], int | None]
"""(r, symbol, A, P as in the file) to the value to store; None stores nothing."""


class Relocation(NamedTuple):
    name: str
    formula: Formula
    size: int
    """Bytes it stores."""


AARCH64: Final[dict[int, Relocation]] = {}
ARM: Final[dict[int, Relocation]] = {}


def _relocation(table: dict[int, Relocation], number: int, size: int) -> Callable[[Formula], Formula]:
    def add(formula: Formula) -> Formula:
        table[number] = Relocation(getattr(formula, "__name__", "?"), formula, size)
        return formula

    return add


@_relocation(AARCH64, 0, 8)
def R_AARCH64_NONE(r: Relocator, sym: int, a: int, p: int) -> int | None:
    """Nothing."""
    return None


@_relocation(AARCH64, 257, 8)
def R_AARCH64_ABS64(r: Relocator, sym: int, a: int, p: int) -> int:
    """S + A"""
    return r.S_local(sym) + a


@_relocation(AARCH64, 1025, 8)
def R_AARCH64_GLOB_DAT(r: Relocator, sym: int, a: int, p: int) -> int:
    """S + A"""
    return r.S(sym) + a


@_relocation(AARCH64, 1026, 8)
def R_AARCH64_JUMP_SLOT(r: Relocator, sym: int, a: int, p: int) -> int:
    """S + A"""
    return r.S(sym) + a


@_relocation(AARCH64, 1027, 8)
def R_AARCH64_RELATIVE(r: Relocator, sym: int, a: int, p: int) -> int:
    """B + A"""
    return r.B + a


@_relocation(AARCH64, 1030, 8)
def R_AARCH64_TLS_TPREL(r: Relocator, sym: int, a: int, p: int) -> int:
    """TPREL(S + A)"""
    return r.TPREL(sym, a)


@_relocation(AARCH64, 1031, 16)
def R_AARCH64_TLSDESC(r: Relocator, sym: int, a: int, p: int) -> int:
    """TLSDESC(S + A): a function and its argument; ours returns the argument, which is TPREL(S + A)."""
    return r.scope.tlsdesc_resolver() | (r.TPREL(sym, a) % (1 << 64)) << 64


@_relocation(ARM, 0, 4)
def R_ARM_NONE(r: Relocator, sym: int, a: int, p: int) -> int | None:
    """Nothing."""
    return None


@_relocation(ARM, 2, 4)
def R_ARM_ABS32(r: Relocator, sym: int, a: int, p: int) -> int:
    """(S + A) | T"""
    return r.S_local(sym) + a


@_relocation(ARM, 3, 4)
def R_ARM_REL32(r: Relocator, sym: int, a: int, p: int) -> int:
    """((S + A) | T) - P"""
    return r.S_local(sym) + a - (r.B + p)


@_relocation(ARM, 17, 4)
def R_ARM_TLS_DTPMOD32(r: Relocator, sym: int, a: int, p: int) -> int:
    """Module[S]"""
    return r.tls_module(sym).tls_mod_id


@_relocation(ARM, 18, 4)
def R_ARM_TLS_DTPOFF32(r: Relocator, sym: int, a: int, p: int) -> int:
    """S + A - TLS: symbols' values count from the beginning of the block already."""
    return (r.S(sym) if sym else 0) + a


@_relocation(ARM, 21, 4)
def R_ARM_GLOB_DAT(r: Relocator, sym: int, a: int, p: int) -> int:
    """(S + A) | T, where A is 0 whatever the place holds"""
    return r.S(sym)


@_relocation(ARM, 22, 4)
def R_ARM_JUMP_SLOT(r: Relocator, sym: int, a: int, p: int) -> int:
    """(S + A) | T, where A is 0: the place holds the address of the PLT's first entry"""
    return r.S(sym)


@_relocation(ARM, 23, 4)
def R_ARM_RELATIVE(r: Relocator, sym: int, a: int, p: int) -> int:
    """B + A"""
    return r.B + a


def relocate(module: Module, scope: Scope, legacy: bool = False) -> None:
    """Apply all relocations of ``module``. Only a legacy TA may have them in read-only segments."""
    wanted = elf.SHT_RELA if module.arch == "aarch64" else elf.SHT_REL
    budget = sum(len(m.data) for m in module.mappings)
    for section in module.sections:
        if section.sh_type == wanted and section.sh_size:
            budget -= section.sh_size
            if budget < 0:
                raise bad("relocation sections overlap: together they are larger than the image")
            _relocate_section(module, section, scope, legacy)


def _entries(module: Module, section: elf.Shdr) -> Iterator[tuple[int, int, int | None]]:
    """Place, symbol and type, addend (None when it lies at the place)."""
    layout = module.layout
    entry = layout.rela if section.sh_type == elf.SHT_RELA else layout.rel
    if section.sh_entsize != entry.size:
        raise broken(f"relocation entries of {section.sh_entsize} bytes, not {entry.size}")
    raw = module.in_file(section.sh_addr, section.sh_size, "relocation section")
    raw = raw[: len(raw) - len(raw) % entry.size]
    if section.sh_type == elf.SHT_RELA:
        return entry.iter_unpack(raw)
    return ((place, info, None) for place, info in entry.iter_unpack(raw))


def _relocate_section(module: Module, section: elf.Shdr, scope: Scope, legacy: bool) -> None:
    table = AARCH64 if module.arch == "aarch64" else ARM
    shift = module.layout.sym_shift
    type_mask = (1 << shift) - 1
    span = module.span
    r = Relocator(module, scope, module.symtab(section.sh_link) if section.sh_link else None)
    m: Mapping | None = None
    for place, info, addend in _entries(module, section):
        relocation = table.get(info & type_mask)
        if relocation is None:
            raise bad(f"relocation type {info & type_mask} at 0x{place:x} is not one OP-TEE knows")
        name, formula, size = relocation
        if m is None or not m.vaddr <= place <= m.end - size:
            m = module.find(place, size)
        if m is None or place + size >= span:  # the very last word too, as upstream has it
            raise bad(f"{name} at 0x{place:x} is outside of the image's memory (0x{span:x} bytes)")
        a = int.from_bytes(m.read(place, size), "little") if addend is None else addend
        value = formula(r, info >> shift, a, place)
        if value is None:
            continue
        if not (m.prot & Prot.W or legacy):
            raise broken(f"{name} at 0x{place:x} is in a read-only segment")
        m.write(place, (value % (1 << 8 * size)).to_bytes(size, "little"))


def not_found(module: Module, name: bytes) -> TeeError:
    """What to raise for a symbol that nobody defines."""
    libraries = ", ".join(module.needed) or "none"
    return TeeError(
        gp.TEE_ERROR_ITEM_NOT_FOUND, f"symbol {shown(name)} not found (libraries the image needs: {libraries})"
    )
