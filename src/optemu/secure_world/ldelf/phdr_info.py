"""What a TA's runtime is told of the modules around it: for constructors, thread-local storage, dl_iterate_phdr().

Mirrors ta_elf_set_elf_phdr_info and ta_elf_set_init_fini_info_compat of ldelf/ta_elf.c.
"""

from collections.abc import Callable, Iterator, Sequence

from optemu.abi import elf, gp
from optemu.abi import ta_head as th
from optemu.errors import TeeError

from .module import Module

Read = Callable[[int, int], bytes]
"""(va, size) to the TA's memory as it is now."""
Patch = tuple[int, bytes]
"""va, and what to store there."""
Resolve = Callable[[bytes], tuple[Module, int] | None]
Add = Callable[[bytes], int]
"""Puts bytes into memory of the loader's own, and says at which va."""


def runtime_tables(modules: Sequence[Module], resolve: Resolve, add: Add, read: Read) -> Iterator[Patch]:
    """What to store in the variables of the TA's runtime; a TA has none, one, or (of 3.9.0) the other of them."""
    found = resolve(b"__elf_phdr_info")
    if found is not None:
        yield _elf_phdr_info(modules, found[1], add, read)
    found = resolve(b"__init_fini_info")
    if found is not None:
        yield _init_fini_info(modules, found[1], add, read)


def _wide(modules: Sequence[Module]) -> bool:
    return modules[0].layout.bits == 64


def _elf_phdr_info(modules: Sequence[Module], va: int, add: Add, read: Read) -> Patch:
    """struct __elf_phdr_info, since OP-TEE 3.10."""
    info = th.ELF_PHDR_INFO_64 if _wide(modules) else th.ELF_PHDR_INFO_32
    reserved = info.unpack(read(va, info.size))[0]
    if reserved:
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, f"__elf_phdr_info of version {reserved}")
    rows = [_dl_phdr_info(m, va + th.ELF_PHDR_INFO_ZERO, add) for m in modules]
    return va, info.pack(0, len(modules), 0, 0, add(b"".join(rows)))


def _dl_phdr_info(module: Module, no_name: int, add: Add) -> bytes:
    """struct dl_phdr_info of ``module``; one without a name gets the empty string at ``no_name``."""
    wide = module.layout.bits == 64
    tls = module.header(elf.PT_TLS)
    return (th.DL_PHDR_INFO_64 if wide else th.DL_PHDR_INFO_32).pack(
        module.base,
        no_name if module.soname is None else module.base + module.soname,
        add(module.raw_phdrs),
        len(module.phdrs),
        1,  # loaded
        0,  # never unloaded
        module.tls_mod_id,
        tls.p_vaddr if tls is not None and wide else 0,
    )


def _init_fini_info(modules: Sequence[Module], va: int, add: Add, read: Read) -> Patch:
    """struct __init_fini_info, of OP-TEE 3.9.0 only. Rows that are there already say what has run: they stay."""
    wide = _wide(modules)
    info, row = (th.INIT_FINI_INFO_64, th.INIT_FINI_64) if wide else (th.INIT_FINI_INFO_32, th.INIT_FINI_32)
    reserved, size, pad, ifs = info.unpack(read(va, info.size))
    if reserved:
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, f"__init_fini_info of version {reserved}")
    rows = read(ifs, size * row.size) if size else b""
    rows += b"".join(row.pack(th.IFS_VALID, *_arrays(m)) for m in modules[size:])
    return va, info.pack(0, len(modules), pad, add(rows))


def _arrays(module: Module) -> tuple[int, int, int, int]:
    """Rows in .init_array and .fini_array, and where they are (get_init_fini_array)."""
    word, dynamic = module.layout.word.size, module.dynamic
    init, fini = dynamic.get(elf.DT_INIT_ARRAY), dynamic.get(elf.DT_FINI_ARRAY)
    return (
        dynamic.get(elf.DT_INIT_ARRAYSZ, 0) // word & 0xFFFF,
        dynamic.get(elf.DT_FINI_ARRAYSZ, 0) // word & 0xFFFF,
        0 if init is None else module.base + init,
        0 if fini is None else module.base + fini,
    )
