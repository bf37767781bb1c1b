"""Loading a TA: its modules relocated against each other, in one address space. Mirrors ldelf/main.c."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from optemu.abi import elf, gp
from optemu.abi import ta_head as th
from optemu.errors import TeeError

from .image import ElfImage, Segment
from .module import PAGE, Module, Prot, bad, round_up
from .ta_elf import ADDRESS_END, DEFAULT_LIMIT, Image, map_elf
from .ta_elf_rel import not_found, relocate

# bti c; ldr x0, [x0, #8]; ret. Called with a TLS descriptor, it must leave every register but x0 alone.
_TLSDESC_RESOLVE: Final = bytes.fromhex("5f2403d5 000440f9 c0035fd6")
_TCB_HEAD_SIZE: Final = 16
_STACK_ALIGNMENT: Final = {32: 8, 64: 16}


def load(image: Image, base: int = 0, limit: int = DEFAULT_LIMIT, strict: bool = True) -> ElfImage:
    """Map and relocate ``image`` at ``base`` (page aligned), at most ``limit`` bytes. TeeError says what is wrong.

    Not ``strict``, it is only looked at: libraries may be missing, symbols that nobody defines are 0.
    """
    module = map_elf(image, base, limit)
    if module.needed and strict:
        names = ", ".join(module.needed)
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, f"the image needs the libraries {names}, which is not supported yet")
    return link([module], strict)


def link(modules: Sequence[Module], strict: bool = True) -> ElfImage:
    """Relocate ``modules``, the TA first, then its libraries, each mapped where no other is.

    They are changed by it: map anew to link again.
    """
    main = modules[0]
    _check_modules(modules)
    head_at = (main.symbol("ta_head") or main.base) - main.base
    head = _ta_head(main, head_at)
    _assign_tls(modules)
    loader = _Loader(modules, strict)
    for module in modules:
        relocate(module, loader, head.legacy)
    loader.set_elf_phdr_info()
    if head.legacy:
        head = _ta_head(main, head_at)  # its entry is an address, which was relocated
    entry = head.depr_entry if head.legacy else main.base + main.entry
    if not _executable(main, entry - main.base):
        raise bad(f"the entry 0x{entry:x} is not in executable memory")
    segments = [*(s for m in modules for s in _segments(m)), *loader.segments()]
    return ElfImage(tuple(modules), entry, head, tuple(sorted(segments, key=lambda s: s.va)))


def _check_modules(modules: Sequence[Module]) -> None:
    main = modules[0]
    if main.file_offset < PAGE:
        raise bad("the ELF header is part of a load segment: this is a library, a TA has its first segment behind it")
    if main.symbol("__init_fini_info") is not None and main.has_constructors:
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, "constructors in a TA built with the kit of OP-TEE 3.9.0")
    if any(m.machine != main.machine for m in modules):
        raise bad(f"a library for another machine: the TA is for {elf.MACHINE_NAMES[main.machine]}")
    placed = sorted(modules, key=lambda m: m.base)
    if any(low.end > high.base for low, high in pairwise(placed)):
        raise ValueError("two modules are mapped over each other")


def _ta_head(main: Module, at: int) -> th.TaHead:
    """struct ta_head, with what ta_elf_load_main checks in it."""
    raw = main.locate(at, th.TA_HEAD.size, "struct ta_head").read(at, th.TA_HEAD.size)
    head = th.parse_ta_head(raw)
    alignment = _STACK_ALIGNMENT[main.layout.bits]
    if not head.stack_size or head.stack_size % alignment:
        raise bad(f"stack of {head.stack_size} bytes, a multiple of {alignment} is wanted")
    wrong = head.flags & (~th.TA_FLAGS_MASK | th.TA_FLAG_CONCURRENT)
    if wrong:
        raise bad(f"TA flags 0x{wrong:x} are not for TAs of this kind")
    return head


def _executable(module: Module, vaddr: int) -> bool:
    segment = module.find(vaddr & -2, 4)  # bit 0 says Thumb
    return segment is not None and bool(segment.prot & Prot.X)


def _segments(module: Module) -> Iterator[Segment]:
    for m in module.mappings:
        yield Segment(module.base + m.vaddr, m.size, m.prot, bytes(m.data))


def _assign_tls(modules: Sequence[Module]) -> None:
    """Module numbers for Arm32, offsets from the thread pointer for AArch64 (assign_tls_mod_id, set_tls_offset)."""
    number, offset = 1, _TCB_HEAD_SIZE
    for module in modules:
        tls = module.header(elf.PT_TLS)
        if tls is not None and module.arch == "arm":
            module.tls_mod_id = number
            number += 1
        elif tls is not None and tls.p_vaddr:
            module.tls_tcb_offs = offset
            offset += tls.p_memsz


class _Loader:
    """The scope symbols are looked up in, and a page or two of the loader's own behind the modules."""

    def __init__(self, modules: Sequence[Module], strict: bool) -> None:
        self._modules = modules
        self._strict = strict
        self._va = max(m.end for m in modules)
        self._data = bytearray()
        self._prot = Prot.R
        self._resolver: int | None = None

    def resolve(self, name: bytes) -> tuple[Module, int] | None:
        for module in self._modules:
            value = module.symbol(name)
            if value is not None:
                return module, value
        return None

    def unresolved(self, module: Module, name: bytes) -> None:
        if self._strict:
            raise not_found(module, name)

    def tlsdesc_resolver(self) -> int:
        if self._resolver is None:
            self._resolver = self._add(_TLSDESC_RESOLVE)
            self._prot |= Prot.X | Prot.BTI
        return self._resolver

    def _add(self, data: bytes) -> int:
        """Put ``data`` into the loader's own memory; its va."""
        self._data += bytes(-len(self._data) % 8)
        va = self._va + len(self._data)
        self._data += data
        return va

    def segments(self) -> Iterator[Segment]:
        if self._data:
            size = round_up(len(self._data))
            if self._va + size > ADDRESS_END:
                raise bad(f"no room at 0x{self._va:x} for what the loader leaves behind the image")
            yield Segment(self._va, size, self._prot, bytes(self._data))

    def set_elf_phdr_info(self) -> None:
        """Tell the TA's runtime of all modules, for thread-local storage and dl_iterate_phdr().

        ta_elf_set_elf_phdr_info. TAs from before OP-TEE 3.10 have no such variable.
        """
        found = self.resolve(b"__elf_phdr_info")
        if found is None:
            return
        module, va = found
        wide = module.layout.bits == 64
        info = th.ELF_PHDR_INFO_64 if wide else th.ELF_PHDR_INFO_32
        mapping = module.locate(va - module.base, info.size, "__elf_phdr_info")
        reserved = info.unpack(mapping.read(va - module.base, info.size))[0]
        if reserved:
            raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, f"__elf_phdr_info of version {reserved}")
        if not mapping.prot & Prot.W:
            raise bad("__elf_phdr_info is in a read-only segment")
        dlpi = self._add(b"".join(self._dl_phdr_info(m, va + th.ELF_PHDR_INFO_ZERO) for m in self._modules))
        mapping.write(va - module.base, info.pack(0, len(self._modules), 0, 0, dlpi))

    def _dl_phdr_info(self, module: Module, no_name: int) -> bytes:
        """struct dl_phdr_info of ``module``; one without a name gets the empty string at ``no_name``."""
        wide = module.layout.bits == 64
        tls = module.header(elf.PT_TLS)
        return (th.DL_PHDR_INFO_64 if wide else th.DL_PHDR_INFO_32).pack(
            module.base,
            no_name if module.soname is None else module.base + module.soname,
            self._add(module.raw_phdrs),
            len(module.phdrs),
            1,  # loaded
            0,  # never unloaded
            module.tls_mod_id,
            tls.p_vaddr if tls is not None and wide else 0,
        )
