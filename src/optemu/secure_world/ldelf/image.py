"""A TA's image, ready to run: mapped, relocated, its head and properties read. Mirrors ldelf/ta_elf.c and ldelf/main.c.

One image stands alone so far: shared-library TAs and thread-local storage are refused with a reason.
"""

from dataclasses import dataclass

from optemu.abi import gp
from optemu.abi import syscalls as scn
from optemu.abi.ta_head import (
    TA_HEAD,
    TA_PROP_STR_SINGLE_INSTANCE,
    USER_TA_PROPERTY_32,
    USER_TA_PROPERTY_64,
    TaHead,
    parse_ta_head,
)
from optemu.errors import TeeError

from .module import Module, Prot, bad, round_up, shown
from .ta_elf import DEFAULT_LIMIT, Image, map_elf
from .ta_elf_rel import not_found, relocate

MAX_PROPERTIES = 1024
LONGEST_STRING = 4096


@dataclass(frozen=True, slots=True)
class Segment:
    """Whole pages of the TA: ``size`` bytes at ``va`` that begin as ``data`` and go on with zeros."""

    va: int
    size: int
    prot: Prot
    data: bytes

    @property
    def writable(self) -> bool:
        return bool(self.prot & Prot.W)


@dataclass(frozen=True, slots=True)
class Property:
    """A property the TA carries itself (struct user_ta_property), its value as text."""

    name: str
    type: int
    value: str


class _Alone:
    """The scope of an image that nothing is linked with."""

    def __init__(self, module: Module) -> None:
        self._module = module

    def resolve(self, name: bytes) -> tuple[Module, int] | None:
        va = self._module.symbol(name)
        return None if va is None else (self._module, va)

    def unresolved(self, module: Module, name: bytes) -> None:
        raise not_found(module, name)

    def tlsdesc_resolver(self) -> int:
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, "the image uses thread-local storage, which is not supported yet")


@dataclass(frozen=True, slots=True)
class ElfImage:
    """One image at its address."""

    module: Module
    entry: int
    ta_head: TaHead
    segments: tuple[Segment, ...]

    @property
    def arch(self) -> str:
        return self.module.arch

    @property
    def base(self) -> int:
        """The load address, which a dump of the TA names."""
        return self.module.base

    @property
    def needed(self) -> tuple[str, ...]:
        return self.module.needed

    @property
    def bti(self) -> bool:
        return self.module.bti

    def symbol(self, name: str) -> int | None:
        """The va of a symbol the image defines."""
        return self.module.symbol(name)

    def read(self, va: int, size: int, what: str) -> bytes:
        """Bytes of the image as loaded; TeeError names ``what`` when they are not all in one segment."""
        vaddr = va - self.base
        return self.module.locate(vaddr, size, what).read(vaddr, size)

    def string(self, va: int) -> str:
        """The C string at ``va``."""
        vaddr = va - self.base
        segment = self.module.locate(vaddr, 1, "string")
        raw = segment.read(vaddr, min(LONGEST_STRING, segment.end - vaddr))
        return shown(raw.split(b"\0")[0])

    def properties(self) -> list[Property]:
        """The TA's own properties (``ta_props``, struct user_ta_property); none when there is no such table."""
        layout = USER_TA_PROPERTY_64 if self.arch == "aarch64" else USER_TA_PROPERTY_32
        at = self._find_properties()
        found: list[Property] = []
        while at is not None and len(found) < MAX_PROPERTIES:
            try:
                name, kind, value = layout.unpack(self.read(at, layout.size, "ta_props"))
                if not name or kind > scn.USER_TA_PROP_TYPE_U64:
                    break
                found.append(Property(self.string(name), kind, self._value(kind, value)))
            except TeeError:
                break  # behind the last row, whose number no symbol tells
            at += layout.size
        return found

    def _find_properties(self) -> int | None:
        """The va of the table: images export no symbol for it, but its first row is the same in every TA."""
        named = self.symbol("ta_props")
        if named is not None:
            return named
        first = TA_PROP_STR_SINGLE_INSTANCE.encode() + b"\0"
        name_at = next((s.va + s.data.find(first) for s in self.segments if first in s.data), None)
        if name_at is None:
            return None
        word = 8 if self.arch == "aarch64" else 4
        row = name_at.to_bytes(word, "little") + bytes(4)  # USER_TA_PROP_TYPE_BOOL is 0
        return next((s.va + s.data.find(row) for s in self.segments if row in s.data), None)

    def _value(self, kind: int, at: int) -> str:
        match kind:
            case scn.USER_TA_PROP_TYPE_BOOL:
                return "true" if self.read(at, 1, "property") != b"\0" else "false"
            case scn.USER_TA_PROP_TYPE_U32:
                return str(int.from_bytes(self.read(at, 4, "property"), "little"))
            case scn.USER_TA_PROP_TYPE_U64:
                return str(int.from_bytes(self.read(at, 8, "property"), "little"))
            case scn.USER_TA_PROP_TYPE_UUID:
                return gp.uuid_str(gp.uuid_from_memory(self.read(at, 16, "property")))
            case scn.USER_TA_PROP_TYPE_IDENTITY:
                raw = self.read(at, 20, "property")
                return f"{int.from_bytes(raw[:4], 'little'):08x}:{gp.uuid_str(gp.uuid_from_memory(raw[4:]))}"
        return self.string(at)


def load(image: Image, base: int, limit: int = DEFAULT_LIMIT) -> ElfImage:
    """Map and relocate ``image`` at ``base`` (page aligned), at most ``limit`` bytes. TeeError says what is wrong."""
    module = map_elf(image, base, limit)
    if module.needed:
        names = ", ".join(module.needed)
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, f"the image needs the libraries {names}, which is not supported yet")
    head_at = (module.symbol("ta_head") or base) - base
    legacy = _ta_head(module, head_at).legacy
    relocate(module, _Alone(module), legacy)
    head = _ta_head(module, head_at)
    entry = head.depr_entry if legacy else base + module.entry
    if not _executable(module, entry - base):
        raise bad(f"the entry 0x{entry:x} is not in executable memory")
    segments = (Segment(base + m.vaddr, round_up(m.size), m.prot, bytes(m.data)) for m in module.mappings)
    return ElfImage(module, entry, head, tuple(segments))


def _ta_head(module: Module, at: int) -> TaHead:
    return parse_ta_head(module.locate(at, TA_HEAD.size, "struct ta_head").read(at, TA_HEAD.size))


def _executable(module: Module, vaddr: int) -> bool:
    segment = module.find(vaddr & -2, 4)  # bit 0 says Thumb
    return segment is not None and bool(segment.prot & Prot.X)
