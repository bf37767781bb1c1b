"""From the bytes of an ELF file to load segments in memory. Mirrors ldelf/ta_elf.c.

Refusals have upstream's codes: TEE_ERROR_BAD_FORMAT is ldelf's own, TEE_ERROR_GENERIC where an assertion fails in it.
"""

import struct
from dataclasses import dataclass
from typing import Final

from optemu.abi import elf, gp
from optemu.errors import TeeError

from .module import PAGE, Mapping, Module, NameTable, Prot, bad, broken, round_up, shown

ADDRESS_END: Final = 1 << 32
"""TAs of both word sizes live below 4 GiB."""
DEFAULT_LIMIT: Final = 256 << 20

Image = bytes | bytearray | memoryview


def map_elf(image: Image, base: int = 0, limit: int = DEFAULT_LIMIT) -> Module:
    """Step one of loading: ``image`` laid out at ``base`` (page aligned), nothing relocated.

    ``limit`` bounds the bytes of memory its segments may take. TeeError says what is wrong with the image.
    """
    image = memoryview(image)
    layout, ehdr = _parse_ehdr(image)
    raw, phdrs = _program_headers(image, layout, ehdr)
    extents = _extents(phdrs)
    _check_room(extents, layout, base, limit)
    module = Module(
        layout=layout,
        machine=ehdr.e_machine,
        base=base,
        entry=ehdr.e_entry,
        phdrs=phdrs,
        raw_phdrs=raw,
        sections=_sections(image, layout, ehdr),
        mappings=[_populate(image, e) for e in extents],
        file_offset=extents[0].offset,
    )
    _read_dynamic(module)
    if module.arch == "aarch64" and _has_bti(module):
        _add_bti(module)
    return module


# --- headers --------------------------------------------------------------------------------------------------


def _parse_ehdr(image: memoryview) -> tuple[elf.Layout, elf.Ehdr]:
    ident = bytes(image[: elf.EI_NIDENT])
    if not ident.startswith(elf.ELFMAG):
        raise bad(f"not an ELF file: it begins with {ident[:4].hex(' ') or 'nothing'}, not 7f 45 4c 46")
    layout = elf.ELF64 if ident[4:5] == bytes([elf.ELFCLASS64]) else elf.ELF32
    if len(image) < layout.ehdr.size:
        raise bad(f"truncated: {len(image)} bytes do not hold an ELF header of {layout.ehdr.size}")
    ehdr = elf.Ehdr(*layout.ehdr.unpack_from(image))
    complaint = _machine_complaint(layout, ehdr) or _ehdr_complaint(layout, ehdr)
    if complaint:
        raise bad(complaint)
    return layout, ehdr


def _machine_complaint(layout: elf.Layout, ehdr: elf.Ehdr) -> str:
    if (layout.bits, ehdr.e_machine) in ((64, elf.EM_AARCH64), (32, elf.EM_ARM)):
        return ""
    name = elf.MACHINE_NAMES.get(ehdr.e_machine, "machine")
    return (
        f"an ELF file of {layout.bits} bits for {name} ({ehdr.e_machine}); a TA is for AArch64 "
        f"({elf.EM_AARCH64}, 64 bits) or Arm ({elf.EM_ARM}, 32 bits)"
    )


def _ehdr_complaint(layout: elf.Layout, ehdr: elf.Ehdr) -> str:
    _, _, _, _, elf_class, data, version, osabi = struct.unpack_from("8B", ehdr.e_ident)
    abi = ehdr.e_flags & elf.EF_ARM_ABIMASK
    arm = layout.bits == 32
    if elf_class not in (elf.ELFCLASS32, elf.ELFCLASS64) or data != elf.ELFDATA2LSB or version != elf.EV_CURRENT:
        return f"ELF class {elf_class}, data {data}, version {version}: only little-endian ELF version 1 is known"
    if ehdr.e_type != elf.ET_DYN:
        return f"ELF type {ehdr.e_type}: a TA is position independent (type {elf.ET_DYN}, link with -pie)"
    if (arm and (osabi, abi) not in _ARM_ABIS) or (not arm and (osabi or ehdr.e_flags)):
        return f"ELF OS ABI {osabi} with flags 0x{ehdr.e_flags:x} is not for TAs"
    if (ehdr.e_phentsize, ehdr.e_shentsize) != (layout.phdr.size, layout.shdr.size):
        return f"headers of {ehdr.e_phentsize} and {ehdr.e_shentsize} bytes, not {layout.phdr.size}, {layout.shdr.size}"
    return ""


_ARM_ABIS: Final = ((elf.ELFOSABI_NONE, elf.EF_ARM_ABI_V5), (elf.ELFOSABI_ARM, elf.EF_ARM_ABI_UNKNOWN))


def _program_headers(image: memoryview, layout: elf.Layout, ehdr: elf.Ehdr) -> tuple[bytes, tuple[elf.Phdr, ...]]:
    end = ehdr.e_phoff + ehdr.e_phnum * layout.phdr.size
    if end > PAGE:
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, f"program headers end at 0x{end:x}, not in the file's first page")
    if end > len(image):
        raise bad(f"truncated: program headers end at 0x{end:x}, the file at 0x{len(image):x}")
    raw = bytes(image[ehdr.e_phoff : end])
    return raw, tuple(layout.phdr_type(*p) for p in layout.phdr.iter_unpack(raw))


def _sections(image: memoryview, layout: elf.Layout, ehdr: elf.Ehdr) -> list[elf.Shdr]:
    end = ehdr.e_shoff + ehdr.e_shnum * layout.shdr.size
    if end > len(image):
        raise bad(f"truncated: section headers end at 0x{end:x}, the file at 0x{len(image):x}")
    return [elf.Shdr(*s) for s in layout.shdr.iter_unpack(image[ehdr.e_shoff : end])]


# --- segments -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Extent:
    """struct segment: bytes of the file and where in memory they go."""

    vaddr: int
    offset: int
    filesz: int
    memsz: int
    flags: int

    @property
    def end(self) -> int:
        return self.vaddr + self.memsz

    @property
    def offset_end(self) -> int:
        return self.offset + self.filesz


def _extents(phdrs: tuple[elf.Phdr, ...]) -> list[_Extent]:
    """The load segments from page boundaries on; those that share a page are one (adjust_segments)."""
    loads = [p for p in phdrs if p.p_type == elf.PT_LOAD]
    extents: list[_Extent] = []
    for p in loads:
        _check_load(p, loads[0].p_align)
        last = extents[-1] if extents else None
        if last and (p.p_vaddr < last.end or p.p_offset < last.offset_end):
            raise broken(f"load segment at 0x{p.p_vaddr:x} overlaps the one before, or they are out of order")
        pad = p.p_vaddr % PAGE
        if last and p.p_vaddr - pad < last.end:
            _merge(last, p)
            continue
        if last and pad and p.p_offset - pad < last.offset_end and not p.p_flags & elf.PF_W:
            raise broken(f"load segment at 0x{p.p_vaddr:x} shares a page of the file and is not writable")
        extents.append(_Extent(p.p_vaddr - pad, p.p_offset - pad, p.p_filesz + pad, p.p_memsz + pad, p.p_flags))
    if not extents:
        raise bad("no loadable segments")
    return extents


def _check_load(p: elf.Phdr, align: int) -> None:
    where = f"load segment at 0x{p.p_vaddr:x}"
    if not p.p_memsz or p.p_memsz < p.p_filesz:
        raise bad(f"{where}: 0x{p.p_memsz:x} bytes of memory for 0x{p.p_filesz:x} bytes of the file")
    if p.p_align != align or align < PAGE or align & (align - 1):
        raise broken(f"{where}: alignment 0x{p.p_align:x}, all must have the same power of two from 0x{PAGE:x} on")
    if p.p_offset % PAGE != p.p_vaddr % PAGE:
        raise broken(f"{where}: file offset 0x{p.p_offset:x} is not on the same place of a page")
    if not p.p_flags & elf.PF_R:
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, f"{where} is not readable")


def _merge(last: _Extent, p: elf.Phdr) -> None:
    """Make ``last`` reach over ``p``, with the permissions of both: they share a page."""
    if last.memsz != last.filesz or p.p_vaddr - last.vaddr != p.p_offset - last.offset:
        raise broken(f"load segment at 0x{p.p_vaddr:x} shares a page with other bytes of the file")
    last.filesz = p.p_vaddr + p.p_filesz - last.vaddr
    last.memsz = p.p_vaddr + p.p_memsz - last.vaddr
    last.flags |= p.p_flags


def _check_room(extents: list[_Extent], layout: elf.Layout, base: int, limit: int) -> None:
    end = base + round_up(extents[-1].end)
    if end > min(ADDRESS_END, 1 << layout.bits):
        raise bad(f"load segments up to 0x{end:x}, a TA's memory ends at 0x{ADDRESS_END:x}")
    size = sum(round_up(e.memsz) for e in extents)
    if size > limit:
        raise TeeError(
            gp.TEE_ERROR_OUT_OF_MEMORY, f"load segments of 0x{size:x} bytes, at most 0x{limit:x} are allowed"
        )


def _populate(image: memoryview, e: _Extent) -> Mapping:
    if e.offset_end > len(image):
        raise bad(f"truncated: load segment at 0x{e.vaddr:x} ends at 0x{e.offset_end:x}, the file at 0x{len(image):x}")
    if not e.flags & elf.PF_W and e.filesz != e.memsz:
        raise bad(f"load segment at 0x{e.vaddr:x} is read-only and not all of it is in the file")
    prot = Prot.R
    if e.flags & elf.PF_W:
        prot |= Prot.W
    if e.flags & elf.PF_X:
        prot |= Prot.X
    return Mapping(e.vaddr, round_up(e.memsz), prot, bytearray(image[e.offset : e.offset_end]))


# --- dynamic section and properties -----------------------------------------------------------------------------


def _read_dynamic(module: Module) -> None:
    """DT_NEEDED and DT_SONAME, and what else it holds."""
    p = module.header(elf.PT_DYNAMIC)
    if p is None:
        return
    dyn = module.layout.dyn
    if p.p_memsz % dyn.size:
        raise broken(f"dynamic section of 0x{p.p_memsz:x} bytes with entries of {dyn.size}")
    raw = module.in_file(p.p_vaddr, p.p_memsz, "dynamic section")
    entries: list[tuple[int, int]] = list(dyn.iter_unpack(raw[: len(raw) - len(raw) % dyn.size]))
    first = dict(reversed(entries))
    module.dynamic = first
    needed = [value for tag, value in entries if tag == elf.DT_NEEDED]
    if not needed and elf.DT_SONAME not in first:
        return
    strtab, size = first.get(elf.DT_STRTAB, 0), first.get(elf.DT_STRSZ, 0)
    m = module.locate(strtab, size, "dynamic strings")
    names = NameTable(m.data, strtab - m.vaddr, size)
    module.needed = tuple(shown(names[at]) for at in needed)
    if elf.DT_SONAME in first:
        at = first[elf.DT_SONAME]
        module.soname = strtab + at if names[at] else None


def _has_bti(module: Module) -> bool:
    """GNU_PROPERTY_AARCH64_FEATURE_1_BTI in the property note (parse_property_segment)."""
    p = module.header(elf.PT_GNU_PROPERTY)
    if p is None or not p.p_vaddr:
        return False
    raw = module.in_file(p.p_vaddr, p.p_memsz, "property note")
    align = p.p_align
    at = elf.NOTE.size + len(elf.NOTE_NAME_GNU)
    if len(raw) < at or align not in (1, 2, 4, 8, 16):
        return False
    namesz, descsz, n_type = elf.NOTE.unpack_from(raw)
    name = raw[elf.NOTE.size : at]
    if (namesz, name, n_type) != (len(elf.NOTE_NAME_GNU), elf.NOTE_NAME_GNU, elf.NT_GNU_PROPERTY_TYPE_0):
        return False
    start = -(-at // align) * align
    return _features(raw[start : start + descsz], align) & elf.GNU_PROPERTY_AARCH64_FEATURE_1_BTI != 0


def _features(desc: bytes, align: int) -> int:
    """The value of GNU_PROPERTY_AARCH64_FEATURE_1_AND in a description, 0 when it is not there."""
    at = 0
    while at + elf.PROP.size <= len(desc):
        pr_type, pr_datasz = elf.PROP.unpack_from(desc, at)
        if pr_type == elf.GNU_PROPERTY_AARCH64_FEATURE_1_AND:
            return int.from_bytes(desc[at + elf.PROP.size :][:4], "little")
        at += -(-(elf.PROP.size + pr_datasz) // align) * align
    return 0


def _add_bti(module: Module) -> None:
    module.bti = True
    for m in module.mappings:
        if m.prot & Prot.X:
            m.prot |= Prot.BTI
