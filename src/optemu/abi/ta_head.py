"""What a TA's ELF image tells about itself: lib/libutee/include/user_ta_header.h, lib/libutils/isoc/include/link.h.

Word size matters in the structures that hold pointers: each exists for 64 and for 32 bits.
"""

import struct
from dataclasses import dataclass
from typing import Final

from optemu.abi import gp

TA_FLAG_SINGLE_INSTANCE: Final = 1 << 2
TA_FLAG_MULTI_SESSION: Final = 1 << 3
TA_FLAG_INSTANCE_KEEP_ALIVE: Final = 1 << 4
TA_FLAG_SECURE_DATA_PATH: Final = 1 << 5
TA_FLAG_CACHE_MAINTENANCE: Final = 1 << 7
TA_FLAG_CONCURRENT: Final = 1 << 8
TA_FLAG_DEVICE_ENUM: Final = 1 << 9
TA_FLAG_DEVICE_ENUM_SUPP: Final = 1 << 10
TA_FLAG_DONT_CLOSE_HANDLE_ON_CORRUPT_OBJECT: Final = 1 << 11
TA_FLAG_DEVICE_ENUM_TEE_STORAGE_PRIVATE: Final = 1 << 12
TA_FLAG_INSTANCE_KEEP_CRASHED: Final = 1 << 13
TA_FLAGS_MASK: Final = (1 << 14) - 1

TA_FLAG_NAMES: Final[dict[int, str]] = {
    value: name.removeprefix("TA_FLAG_") for name, value in list(globals().items()) if name.startswith("TA_FLAG_")
}


def flag_names(flags: int) -> list[str]:
    """``["SINGLE_INSTANCE", "MULTI_SESSION"]`` for 0xc; unknown bits as one hexadecimal number."""
    names = [name for bit, name in TA_FLAG_NAMES.items() if flags & bit]
    unknown = flags & ~sum(TA_FLAG_NAMES)
    return [*names, f"0x{unknown:x}"] if unknown else names


# struct ta_head: uuid, stack_size, flags, depr_entry
TA_HEAD: Final = struct.Struct("<16sIIQ")
DEPR_ENTRY_UNUSED: Final = 0xFFFFFFFFFFFFFFFF
"""depr_entry when the entry is the ELF header's. Anything else is the entry itself, of a legacy TA."""


@dataclass(frozen=True, slots=True)
class TaHead:
    """struct ta_head; ``uuid`` in RFC 4122 octets, ``stack_size`` in bytes."""

    uuid: bytes
    stack_size: int
    flags: int
    depr_entry: int

    @property
    def legacy(self) -> bool:
        """Entered at ``depr_entry``, which is an address after relocation, not at the ELF's entry."""
        return self.depr_entry != DEPR_ENTRY_UNUSED


def parse_ta_head(raw: bytes) -> TaHead:
    """A struct ta_head of TA_HEAD.size bytes."""
    uuid, stack_size, flags, depr_entry = TA_HEAD.unpack(raw)
    return TaHead(gp.uuid_from_memory(uuid), stack_size, flags, depr_entry)


# --- properties -----------------------------------------------------------------------------------------------
# struct user_ta_property: name, type, value; two pointers. The types are USER_TA_PROP_TYPE_* in abi.syscalls.
USER_TA_PROPERTY_64: Final = struct.Struct("<QI4xQ")
USER_TA_PROPERTY_32: Final = struct.Struct("<III")

TA_PROP_STR_SINGLE_INSTANCE: Final = "gpd.ta.singleInstance"
"""The name of the first property in every TA's table."""

# --- loaded modules, for __elf_phdr_info in libutee -------------------------------------------------------------
# struct __elf_phdr_info: reserved, count, reserved2, zero (the empty string of modules without a name), dlpi
ELF_PHDR_INFO_64: Final = struct.Struct("<IHBBQ")
ELF_PHDR_INFO_32: Final = struct.Struct("<IHBBI")
ELF_PHDR_INFO_ZERO: Final = 7
"""Offset of the member ``zero``."""

# struct dl_phdr_info: addr, name, phdr, phnum, adds, subs, tls_modid, tls_data
DL_PHDR_INFO_64: Final = struct.Struct("<QQQH6xQQQQ")
DL_PHDR_INFO_32: Final = struct.Struct("<IIIH2xQQII")

# struct __init_fini_info of libutee in OP-TEE 3.9.0: reserved, size, pad, ifs
INIT_FINI_INFO_64: Final = struct.Struct("<IHHQ")
INIT_FINI_INFO_32: Final = struct.Struct("<IHHI")
# struct __init_fini: flags, init_size, fini_size, init, fini
INIT_FINI_64: Final = struct.Struct("<IHHQQ")
INIT_FINI_32: Final = struct.Struct("<IHHII")
IFS_VALID: Final = 1
