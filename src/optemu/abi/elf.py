"""ELF for little-endian Arm: the numbers and layouts that a TA's image uses.

Sources: System V gABI chapter 4 and 5; ELF for the Arm Architecture (AAELF32), for the Arm 64-bit Architecture
(AAELF64). Records are named tuples with the same field names for both word sizes, in each size's own order.
"""

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

ELFMAG: Final = b"\x7fELF"
EI_NIDENT: Final = 16
ELFCLASS32: Final = 1
ELFCLASS64: Final = 2
ELFDATA2LSB: Final = 1
EV_CURRENT: Final = 1
ELFOSABI_NONE: Final = 0
ELFOSABI_ARM: Final = 97

ET_DYN: Final = 3
EM_ARM: Final = 40
EM_AARCH64: Final = 183
MACHINE_NAMES: Final = {3: "x86", EM_ARM: "Arm", 62: "x86-64", EM_AARCH64: "AArch64", 243: "RISC-V"}
EF_ARM_ABIMASK: Final = 0xFF000000
EF_ARM_ABI_UNKNOWN: Final = 0
EF_ARM_ABI_V5: Final = 0x05000000

PT_LOAD: Final = 1
PT_DYNAMIC: Final = 2
PT_TLS: Final = 7
PT_GNU_PROPERTY: Final = 0x6474E553
PT_ARM_EXIDX: Final = 0x70000001
PF_X: Final = 1
PF_W: Final = 2
PF_R: Final = 4

SHT_RELA: Final = 4
SHT_HASH: Final = 5
SHT_REL: Final = 9
SHT_DYNSYM: Final = 11
SHT_GNU_HASH: Final = 0x6FFFFFF6

DT_NEEDED: Final = 1
DT_STRTAB: Final = 5
DT_STRSZ: Final = 10
DT_SONAME: Final = 14
DT_INIT_ARRAY: Final = 25
DT_FINI_ARRAY: Final = 26
DT_INIT_ARRAYSZ: Final = 27
DT_FINI_ARRAYSZ: Final = 28

SHN_UNDEF: Final = 0
SHN_XINDEX: Final = 0xFFFF
STB_LOCAL: Final = 0
STB_GLOBAL: Final = 1
STB_WEAK: Final = 2
STT_NOTYPE: Final = 0
STT_OBJECT: Final = 1
STT_FUNC: Final = 2
STT_TLS: Final = 6

NT_GNU_PROPERTY_TYPE_0: Final = 5
NOTE_NAME_GNU: Final = b"GNU\0"
GNU_PROPERTY_AARCH64_FEATURE_1_AND: Final = 0xC0000000
GNU_PROPERTY_AARCH64_FEATURE_1_BTI: Final = 1
# Elf_Note: namesz, descsz, type
NOTE: Final = struct.Struct("<III")
# Elf_Prop: pr_type, pr_datasz
PROP: Final = struct.Struct("<II")


class Ehdr(NamedTuple):
    e_ident: bytes
    e_type: int
    e_machine: int
    e_version: int
    e_entry: int
    e_phoff: int
    e_shoff: int
    e_flags: int
    e_ehsize: int
    e_phentsize: int
    e_phnum: int
    e_shentsize: int
    e_shnum: int
    e_shstrndx: int


class Phdr32(NamedTuple):
    p_type: int
    p_offset: int
    p_vaddr: int
    p_paddr: int
    p_filesz: int
    p_memsz: int
    p_flags: int
    p_align: int


class Phdr64(NamedTuple):
    p_type: int
    p_flags: int
    p_offset: int
    p_vaddr: int
    p_paddr: int
    p_filesz: int
    p_memsz: int
    p_align: int


class Shdr(NamedTuple):
    sh_name: int
    sh_type: int
    sh_flags: int
    sh_addr: int
    sh_offset: int
    sh_size: int
    sh_link: int
    sh_info: int
    sh_addralign: int
    sh_entsize: int


class Sym32(NamedTuple):
    st_name: int
    st_value: int
    st_size: int
    st_info: int
    st_other: int
    st_shndx: int


class Sym64(NamedTuple):
    st_name: int
    st_info: int
    st_other: int
    st_shndx: int
    st_value: int
    st_size: int


Phdr = Phdr32 | Phdr64
Sym = Sym32 | Sym64


@dataclass(frozen=True, slots=True)
class Layout:
    """The structures of one word size. REL is r_offset, r_info; RELA has r_addend (signed) after them."""

    bits: int
    word: struct.Struct
    ehdr: struct.Struct
    phdr: struct.Struct
    shdr: struct.Struct
    sym: struct.Struct
    rel: struct.Struct
    rela: struct.Struct
    dyn: struct.Struct
    phdr_type: type[Phdr32] | type[Phdr64]
    sym_type: type[Sym32] | type[Sym64]
    sym_shift: int
    """r_info is the symbol's index shifted left by this, and the type below it."""


_S = struct.Struct
ELF32: Final = Layout(
    bits=32,
    word=_S("<I"),
    ehdr=_S("<16sHHIIIIIHHHHHH"),
    phdr=_S("<8I"),
    shdr=_S("<10I"),
    sym=_S("<IIIBBH"),
    rel=_S("<II"),
    rela=_S("<IIi"),
    dyn=_S("<II"),
    phdr_type=Phdr32,
    sym_type=Sym32,
    sym_shift=8,
)
ELF64: Final = Layout(
    bits=64,
    word=_S("<Q"),
    ehdr=_S("<16sHHIQQQIHHHHHH"),
    phdr=_S("<II6Q"),
    shdr=_S("<IIQQQQIIQQ"),
    sym=_S("<IBBHQQ"),
    rel=_S("<QQ"),
    rela=_S("<QQq"),
    dyn=_S("<QQ"),
    phdr_type=Phdr64,
    sym_type=Sym64,
    sym_shift=32,
)
