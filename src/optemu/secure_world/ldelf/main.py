"""Loading a TA: its modules relocated against each other, in one address space. Mirrors ldelf/main.c and dl.c."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from optemu.abi import elf, gp
from optemu.abi import ta_head as th
from optemu.errors import TeeError

from .image import ElfImage, Segment
from .module import PAGE, Module, Prot, bad, broken, round_up
from .phdr_info import Patch, Read, runtime_tables
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
        raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, f"the image needs the libraries {', '.join(module.needed)}")
    return link([module], strict)


def place(modules: Sequence[Module], base: int, gap: Callable[[], int] = lambda: 0) -> None:
    """Give ``modules`` their addresses, from ``base`` on and ``gap()`` bytes (whole pages) apart."""
    for module in modules:
        base += gap()
        if base + module.span > ADDRESS_END:
            raise TeeError(gp.TEE_ERROR_OUT_OF_MEMORY, f"no room at 0x{base:x} for a module of 0x{module.span:x} bytes")
        module.base = base
        base = round_up(module.end)


def link(modules: Sequence[Module], strict: bool = True) -> ElfImage:
    """Relocate ``modules``, the TA first, then its libraries, each mapped where no other is.

    They are changed by it: map anew to link again.
    """
    main = modules[0]
    if main.is_library:
        raise broken("the ELF header is in a load segment: this is a library, a TA has its first segment behind it")
    head_at = (main.symbol("ta_head") or main.base) - main.base
    head = _ta_head(main, head_at)
    segments, patches = _add(modules, modules, strict, head.legacy, max(m.end for m in modules), _pristine(modules))
    assert not patches, "all of them are in the modules themselves"
    if head.legacy:
        head = _ta_head(main, head_at)  # its entry is an address, which was relocated
    entry = head.depr_entry if head.legacy else main.base + main.entry
    if not _executable(main, entry - main.base):
        raise bad(f"the entry 0x{entry:x} is not in executable memory")
    return ElfImage(tuple(modules), entry, head, tuple(segments))


def dlopen(image: ElfImage, libraries: Sequence[Module], read: Read) -> tuple[ElfImage, list[Segment], list[Patch]]:
    """Add ``libraries`` to a TA that runs: what it is now, the segments to map, and what to store in its memory.

    ``read`` gives the TA's memory as it is. What was loaded before stays as it is, as upstream's dlopen has it.
    """
    modules = [*image.modules, *libraries]
    end = max(m.end for m in libraries)
    segments, patches = _add(modules, libraries, True, False, end, read)
    known = tuple(sorted((*image.segments, *segments), key=lambda s: s.va))
    return ElfImage(tuple(modules), image.entry, image.ta_head, known), segments, patches


def _add(
    modules: Sequence[Module], new: Sequence[Module], strict: bool, legacy: bool, end: int, read: Read
) -> tuple[list[Segment], list[Patch]]:
    """Relocate the ``new`` ones among ``modules``; their segments, and what else to store in the TA's memory."""
    _check_modules(modules)
    _assign_tls(modules)
    loader = _Loader(modules, strict, end)
    for module in new:
        relocate(module, loader, legacy)
    patches = []
    for va, data in runtime_tables(modules, loader.resolve, loader.add, read):
        owner = next((m for m in new if m.base <= va < m.end), None)
        if owner is None:
            patches.append((va, data))
        else:
            _store(owner, va, data)
    segments = [*(s for m in new for s in _segments(m)), *loader.segments()]
    return sorted(segments, key=lambda s: s.va), patches


def _pristine(modules: Sequence[Module]) -> Read:
    def read(va: int, size: int) -> bytes:
        owner = next((m for m in modules if m.base <= va < m.end), modules[0])
        return owner.locate(va - owner.base, size, "the runtime's table of modules").read(va - owner.base, size)

    return read


def _store(module: Module, va: int, data: bytes) -> None:
    mapping = module.locate(va - module.base, len(data), "the runtime's table of modules")
    if not mapping.prot & Prot.W:
        raise bad("the runtime's table of modules is in a read-only segment")
    mapping.write(va - module.base, data)


def _check_modules(modules: Sequence[Module]) -> None:
    main = modules[0]
    for m in modules:
        if m.machine != main.machine:
            who = gp.uuid_str(m.uuid) if m.uuid else "a library"
            kind, wanted = elf.MACHINE_NAMES[m.machine], elf.MACHINE_NAMES[main.machine]
            raise bad(f"{who} is for another machine: {kind}, and the TA is for {wanted}")
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
        yield Segment(module.base + m.vaddr, m.size, m.prot, m.data, tuple(m.late.items()))


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
    """The scope symbols are looked up in, and a page or two of the loader's own behind the modules.

    Data there is the TA's to write, as ldelf's heap is: the runtime of OP-TEE 3.9 keeps notes in its table.
    """

    def __init__(self, modules: Sequence[Module], strict: bool, va: int) -> None:
        self._modules = modules
        self._strict = strict
        self._code_va = round_up(va)
        self._data_va = self._code_va + PAGE
        self._data = bytearray()
        self._has_code = False

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
        self._has_code = True
        return self._code_va

    def add(self, data: bytes) -> int:
        """Put ``data`` into the loader's own memory; its va."""
        self._data += bytes(-len(self._data) % 8)
        va = self._data_va + len(self._data)
        self._data += data
        return va

    def segments(self) -> Iterator[Segment]:
        if self._data_va + len(self._data) > ADDRESS_END:
            raise bad(f"no room at 0x{self._code_va:x} for what the loader leaves behind the image")
        if self._has_code:
            yield Segment(self._code_va, PAGE, Prot.R | Prot.X | Prot.BTI, _TLSDESC_RESOLVE)
        if self._data:
            yield Segment(self._data_va, round_up(len(self._data)), Prot.R | Prot.W, bytes(self._data))
