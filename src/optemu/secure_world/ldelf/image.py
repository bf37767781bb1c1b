"""A TA ready to be mapped and entered, and what it says about itself."""

from dataclasses import dataclass

from optemu.abi import gp
from optemu.abi import syscalls as scn
from optemu.abi.ta_head import (
    TA_PROP_STR_SINGLE_INSTANCE,
    USER_TA_PROPERTY_32,
    USER_TA_PROPERTY_64,
    TaHead,
)
from optemu.errors import TeeError

from .module import Module, Prot, shown

MAX_PROPERTIES = 1024
LONGEST_STRING = 4096


@dataclass(frozen=True, slots=True)
class Segment:
    """Whole pages of the TA: ``size`` bytes at ``va`` that begin as ``data`` and go on with zeros.

    Among them are the pages of ``late``, (offset, bytes). The data are the module's own, not to be changed.
    """

    va: int
    size: int
    prot: Prot
    data: bytes | bytearray
    late: tuple[tuple[int, bytearray], ...] = ()

    @property
    def writable(self) -> bool:
        return bool(self.prot & Prot.W)

    def store(self, memory: memoryview) -> None:
        """Make zeroed ``memory`` of ``size`` bytes what the segment is."""
        memory[: len(self.data)] = self.data
        for at, page in self.late:
            memory[at : at + len(page)] = page


@dataclass(frozen=True, slots=True)
class Property:
    """A property the TA carries itself (struct user_ta_property), its value as text."""

    name: str
    type: int
    value: str


@dataclass(frozen=True, slots=True)
class ElfImage:
    """The outcome of loading: the TA is ``modules[0]``, after it come its shared libraries."""

    modules: tuple[Module, ...]
    entry: int
    """The va to start at; bit 0 is set for Thumb."""
    ta_head: TaHead
    segments: tuple[Segment, ...]
    """Of all modules, and what the loader leaves for the TA's runtime; in the order of their addresses."""

    @property
    def module(self) -> Module:
        return self.modules[0]

    @property
    def arch(self) -> str:
        return self.module.arch

    @property
    def base(self) -> int:
        """The load address, which a dump of the TA names."""
        return self.module.base

    @property
    def needed(self) -> tuple[str, ...]:
        """Names (UUIDs) of the libraries the TA itself needs."""
        return self.module.needed

    @property
    def bti(self) -> bool:
        return self.module.bti

    def symbol(self, name: str) -> int | None:
        """The va of an exported symbol: the first definition, in the order of the modules."""
        return next((va for m in self.modules if (va := m.symbol(name)) is not None), None)

    def read(self, va: int, size: int, what: str) -> bytes:
        """Bytes of the TA as loaded; TeeError names ``what`` when they are not all in one segment."""
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
