"""ELF images into address spaces (shim until the room is finished)."""

from dataclasses import dataclass

from optemu.abi import elf, gp
from optemu.abi.ta_head import TA_HEAD, TaHead, parse_ta_head
from optemu.secure_world.cpu import Prot

from .module import PAGE, Module, bad, round_up
from .ta_elf import map_elf
from .ta_elf_rel import not_found, relocate


@dataclass(frozen=True, slots=True)
class Segment:
    va: int
    size: int
    prot: Prot
    data: bytes
    writable: bool


@dataclass(slots=True)
class ElfImage:
    module: Module
    entry: int
    ta_head: TaHead
    segments: tuple

    @property
    def arch(self): return self.module.arch
    @property
    def base(self): return self.module.base
    @property
    def needed(self): return self.module.needed
    @property
    def bti(self): return self.module.bti
    def symbol(self, name): return self.module.symbol(name)
    def properties(self): return []


class _Scope:
    def __init__(self, m): self.m = m
    def resolve(self, name):
        va = self.m.symbol(name)
        return None if va is None else (self.m, va)
    def unresolved(self, module, name): raise not_found(module, name)
    def tlsdesc_resolver(self): return 0


def load(image, base, limit=256 << 20):
    m = map_elf(image, base, limit)
    at = m.symbol("ta_head")
    off = at - base if at is not None else 0
    raw = m.locate(off, TA_HEAD.size, "ta_head").read(off, TA_HEAD.size)
    head = parse_ta_head(raw)
    relocate(m, _Scope(m), head.legacy)
    segs = []
    for x in m.mappings:
        p = Prot(int(x.prot) & 7)
        if int(x.prot) & 8: p |= Prot.GUARDED
        segs.append(Segment(base + x.vaddr, round_up(x.size), p, bytes(x.data), bool(p & Prot.W)))
    return ElfImage(m, base + m.entry, head, tuple(segs))
