"""The address space of a user TA. Mirrors core/mm/vm.c and core/kernel/user_access.c.

The region table here is the only way to a TA's memory: syscalls copy through it, TEE_CheckMemoryAccessRights
asks it, and the page tables of the engine are written from it.
"""

import struct
from bisect import bisect_right
from dataclasses import dataclass, field, replace

from optemu.abi import gp
from optemu.board.memory import PAGE_MASK, PAGE_SIZE, PhysicalMemory, Region, round_up
from optemu.errors import TeeError
from optemu.secure_world.core.mobj import Mobj
from optemu.secure_world.core.param import Memref, TaParams
from optemu.secure_world.cpu import Cpu, Prot

MAP_BASE = 0x9000_0000
"""Where the core puts memory that a TA asks for without saying where."""
PARAM_BASE = 0xA000_0000
PARAM_END = 0xF000_0000
ADDRESS_END = 1 << 32

TEXT, DATA = "text", "data"
"""Labels of what an image brings along."""
ZI, DL = "zi", "library"
"""Labels of what a TA adds while it runs: memory, and the libraries it opens."""

TEE_MEMORY_ACCESS_NONSECURE = 0x10000000
TEE_MEMORY_ACCESS_SECURE = 0x20000000
_READ_WRITE = gp.TEE_MEMORY_ACCESS_READ | gp.TEE_MEMORY_ACCESS_WRITE
_READ_ANY = gp.TEE_MEMORY_ACCESS_READ | gp.TEE_MEMORY_ACCESS_ANY_OWNER
_WRITE_ANY = gp.TEE_MEMORY_ACCESS_WRITE | gp.TEE_MEMORY_ACCESS_ANY_OWNER
_U64 = struct.Struct("<Q")


@dataclass(slots=True)
class VmRegion:
    """``size`` bytes of ``region`` from ``offset`` on, seen by the TA at ``va`` (all page aligned)."""

    va: int
    size: int
    prot: Prot
    region: Region
    offset: int
    label: str
    private: bool = True
    """Whether it is the TA's own; parameters and shareable memory are not."""
    rights: int = field(init=False)
    """TEE_MEMORY_ACCESS_READ and WRITE, as far as ``prot`` has them."""

    def __post_init__(self) -> None:
        read = gp.TEE_MEMORY_ACCESS_READ if self.prot & Prot.R else 0
        self.rights = read | (gp.TEE_MEMORY_ACCESS_WRITE if self.prot & Prot.W else 0)

    @property
    def end(self) -> int:
        return self.va + self.size

    @property
    def pa(self) -> int:
        return self.region.base + self.offset

    def flags(self) -> str:
        """As upstream prints them: r, w, x, then s for secure memory."""
        prot = self.prot
        bits = ((Prot.R, "r"), (Prot.W, "w"), (Prot.X, "x"))
        return "".join(c if prot & bit else "-" for bit, c in bits) + ("s" if self.region.secure else "-")


ParamKey = list[tuple[Region, int, int]]


class _Span:
    """Whole pages of ``mobj``, counted in bytes from the first of them, that a call's parameters need."""

    __slots__ = ("end", "mobj", "start")

    def __init__(self, mobj: Mobj, at: int, size: int) -> None:
        self.mobj = mobj
        # Of a reference to nothing, at the very end, the last page: it gets an address as well.
        self.start = min(at, mobj.page_offset + mobj.size - 1) & ~PAGE_MASK
        self.end = round_up(max(at + size, self.start + 1))

    def runs(self) -> list[tuple[Region, int, int]]:
        """(region, offset in it, size) of the memory behind it."""
        found = []
        at = 0
        for run in self.mobj.runs:
            first, end = max(self.start, at), min(self.end, at + run.size)
            if first < end:
                found.append((run.region, run.pa - run.region.base + first - at, end - first))
            at += run.size
        return found


def _add_span(spans: list[_Span], span: _Span) -> None:
    """Spans of one object that overlap or touch become one, as in vm_map_param."""
    for other in spans[:]:
        if other.mobj is span.mobj and other.start <= span.end and span.start <= other.end:
            spans.remove(other)
            span.start, span.end = min(span.start, other.start), max(span.end, other.end)
    spans.append(span)


class AddressSpace:
    """What one instance of a TA can see."""

    def __init__(self, cpu: Cpu) -> None:
        self._cpu = cpu
        self._backed: dict[int, Region] = {}
        self._fixed: list[VmRegion] = []
        self._params: list[VmRegion] = []
        self._param_key: ParamKey = []
        self.regions: list[VmRegion] = []
        self._starts: list[int] = []

    # --- mapping ------------------------------------------------------------------------------------------

    def map(self, va: int, region: Region, offset: int, size: int, prot: Prot, label: str) -> None:
        """vm_map at a fixed address, for as long as the instance lives. TeeError when something is there."""
        if va & PAGE_MASK or va < PAGE_SIZE or va + size > PARAM_BASE:
            raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"cannot map 0x{size:x} bytes at 0x{va:x}")
        if any(va < r.end and r.va < va + size for r in self._fixed):
            raise TeeError(gp.TEE_ERROR_ACCESS_CONFLICT, f"0x{va:x}+0x{size:x} is mapped already")
        self._fixed.append(VmRegion(va, size, prot, region, offset, label))
        self._activate(self._fixed[-1])
        self._rebuild()

    def map_zi(self, memory: PhysicalMemory, va: int, size: int, shareable: bool, pad_begin: int, pad_end: int) -> int:
        """Zero-initialised memory for the TA, at ``va`` or where there is room; its address (vm_map_pad)."""
        size = round_up(size)
        if (va | pad_begin | pad_end) & PAGE_MASK:
            raise TeeError(gp.TEE_ERROR_ACCESS_CONFLICT, "address and padding must be multiples of the page size")
        if size > PARAM_BASE - MAP_BASE:
            raise TeeError(gp.TEE_ERROR_OUT_OF_MEMORY, f"0x{size:x} bytes exceed the address space")
        va = va or self._find_room(pad_begin, size + pad_end)
        if va - pad_begin < PAGE_SIZE or va + size + pad_end > PARAM_BASE:
            raise TeeError(gp.TEE_ERROR_ACCESS_CONFLICT, f"no room for 0x{size:x} bytes at 0x{va:x}")
        if any(va - pad_begin < r.end and r.va < va + size + pad_end for r in self._fixed):
            raise TeeError(gp.TEE_ERROR_ACCESS_CONFLICT, f"0x{va:x}+0x{size:x} and its padding are not free")
        try:
            region = memory.allocate(size, secure=True)
        except MemoryError as e:
            raise TeeError(gp.TEE_ERROR_OUT_OF_MEMORY, str(e)) from e
        self.map(va, region, 0, size, Prot.R | Prot.W, ZI)
        self._fixed[-1].private = not shareable
        return va

    def _find_room(self, before: int, size: int) -> int:
        """The lowest address from MAP_BASE on with ``before`` bytes free below it and ``size`` from there."""
        va = MAP_BASE + before
        for r in self.regions:
            if r.va < va + size and va - before < r.end:
                va = r.end + before
        return va

    def unmap_zi(self, memory: PhysicalMemory, va: int, size: int) -> None:
        """Take memory from ``map_zi`` back, any whole pages of it (vm_unmap).

        TeeError(TEE_ERROR_BAD_PARAMETERS) for what the TA has not mapped itself.
        """
        end = va + round_up(size)
        gone = [r for r in self.regions if r.label == ZI and r.va < end and va < r.end]
        covered = sum(min(r.end, end) - max(r.va, va) for r in gone)
        if va & PAGE_MASK or not size or covered != end - va:
            raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"0x{size:x} bytes at 0x{va:x} were not mapped by the TA")
        self._cpu.unmap(va, end - va)
        for r in gone:
            self._cut(r, va, end)
        self._rebuild()
        held = {id(r.region) for r in self._fixed}
        for r in gone:
            if id(r.region) not in held:
                memory.free(r.region)

    def _cut(self, r: VmRegion, va: int, end: int) -> None:
        """Take ``va`` to ``end`` out of a region: what is left of it are up to two (split_vm_range)."""
        self._fixed.remove(r)
        if r.va < va:
            self._fixed.append(replace(r, size=va - r.va))
        if end < r.end:
            self._fixed.append(replace(r, va=end, size=r.end - end, offset=r.offset + end - r.va))

    def unmap_added(self, memory: PhysicalMemory) -> None:
        """The TA is gone: whatever it had mapped, and the libraries it had opened, go too."""
        added = [r for r in self._fixed if r.label in (ZI, DL)]
        if not added:
            return
        for r in added:
            self._cpu.unmap(r.va, r.size)
            self._fixed.remove(r)
            memory.free(r.region)
        self._rebuild()

    def _activate(self, r: VmRegion) -> None:
        if self._backed.get(r.region.base) is not r.region:
            self._forget_dead(r.region)
            self._cpu.back(r.region.base, r.region.host, r.region.size)
            self._backed[r.region.base] = r.region
        self._cpu.map(r.va, r.pa, r.size, r.prot)

    def _forget_dead(self, new: Region) -> None:
        """Let go of memory that has left the board, in any case of what lies where ``new`` comes."""
        for base, old in list(self._backed.items()):
            if not old.alive or (base < new.base + new.size and new.base < base + old.size):
                self._cpu.unback(base)
                del self._backed[base]

    def _rebuild(self) -> None:
        self.regions = sorted(self._fixed + self._params, key=lambda r: r.va)
        self._starts = [r.va for r in self.regions]

    # --- parameters of the call under way --------------------------------------------------------------------

    def map_param(self, params: TaParams) -> list[int]:
        """vm_map_param: show the TA the memory of its parameters; their addresses, 0 where there is none.

        The mapping of the call before is kept when this one needs the same: the TA has not run in between.
        """
        vas = [0, 0, 0, 0]
        spans: list[_Span] = []
        refs: list[tuple[int, Mobj, int]] = []
        for n, p in enumerate(params.u):
            if type(p) is Memref and p.mobj is not None:
                at = p.mobj.page_offset + p.offs
                refs.append((n, p.mobj, at))
                _add_span(spans, _Span(p.mobj, at, p.size))
        if not refs:
            if self._param_key:
                self.clean_param()
            return vas
        key: ParamKey = []
        for span in spans:
            key += span.runs()
        if key != self._param_key or not all(region.alive for region, _, _ in key):
            self._remap_params(key)
        va = PARAM_BASE
        for span in spans:
            for n, mobj, at in refs:
                if mobj is span.mobj and span.start <= at <= span.end:
                    vas[n] = va + at - span.start
            va += span.end - span.start
        return vas

    def _remap_params(self, key: ParamKey) -> None:
        """One run behind the other, so that the TA sees each span in one piece."""
        self.clean_param()
        va = PARAM_BASE
        try:
            for region, offset, size in key:
                if va + size > PARAM_END:
                    raise TeeError(gp.TEE_ERROR_OUT_OF_MEMORY, "the parameters of one call exceed the TA's window")
                r = VmRegion(va, size, Prot.R | Prot.W, region, offset, "param", private=False)
                self._activate(r)
                self._params.append(r)
                va += size
        except TeeError:
            self.clean_param()
            raise
        self._param_key = key
        self._rebuild()

    def clean_param(self) -> None:
        """vm_clean_param: the TA sees no parameter memory any more."""
        for r in self._params:
            self._cpu.unmap(r.va, r.size)
        self._params.clear()
        self._param_key = []
        self._rebuild()

    # --- looking ---------------------------------------------------------------------------------------------

    def find(self, va: int) -> VmRegion | None:
        """The region that holds ``va``."""
        at = bisect_right(self._starts, va)
        if not at:
            return None
        r = self.regions[at - 1]
        return r if va < r.va + r.size else None

    def check_access_rights(self, flags: int, va: int, size: int) -> int:
        """vm_check_access_rights: TEE_SUCCESS or TEE_ERROR_ACCESS_DENIED."""
        denied = gp.TEE_ERROR_ACCESS_DENIED
        if flags & TEE_MEMORY_ACCESS_NONSECURE and flags & TEE_MEMORY_ACCESS_SECURE:
            return denied
        if not size:
            return gp.TEE_SUCCESS
        at, end = va, va + size
        if end > ADDRESS_END:
            return denied
        while at < end:
            r = self.find(at)
            if r is None or not _allows(r, flags):
                return denied
            at = r.va + r.size
            # What is the TA's own lies in one region.
            if not flags & gp.TEE_MEMORY_ACCESS_ANY_OWNER and (not r.private or end > at):
                return denied
        return gp.TEE_SUCCESS

    def is_private(self, va: int, size: int) -> bool:
        """vm_buf_is_inside_um_private: inside one region that is the TA's own."""
        r = self.find(va)
        return r is not None and r.private and size > 0 and va + size <= r.end

    def intersects_private(self, va: int, size: int) -> bool:
        """vm_buf_intersects_um_private: does any of it belong to the TA alone?"""
        return any(r.private and va < r.end and r.va < va + size for r in self._fixed)

    # --- copying ------------------------------------------------------------------------------------------------

    def view(self, va: int, size: int, write: bool = False) -> memoryview | None:
        """The bytes themselves where one region holds them all; for data that is moved, not decided on."""
        return self._view(va, size, _WRITE_ANY if write else _READ_ANY)

    def _view(self, va: int, size: int, flags: int) -> memoryview | None:
        """The bytes where one region holds them all and allows ``flags``: whose it is, and reading or writing."""
        r = self.find(va)
        if r is None or va + size > r.va + r.size or flags & _READ_WRITE & ~r.rights:
            return None
        if not flags & gp.TEE_MEMORY_ACCESS_ANY_OWNER and not r.private:
            return None
        start = r.offset + va - r.va
        return r.region.view[start : start + size]

    def copy_from_user(self, va: int, size: int, flags: int = _READ_ANY) -> bytes:
        """A copy of the TA's bytes; TeeError(TEE_ERROR_ACCESS_DENIED) when it may not read them all."""
        if not size:
            return b""
        view = self._view(va, size, flags)
        if view is not None:
            return bytes(view)
        if self.check_access_rights(flags, va, size):
            raise TeeError(gp.TEE_ERROR_ACCESS_DENIED, f"the TA cannot read 0x{size:x} bytes at 0x{va:x}")
        parts = []
        end = va + size
        while va < end:
            r = self.find(va)
            assert r is not None
            take = min(end, r.end) - va
            start = r.offset + va - r.va
            parts.append(bytes(r.region.view[start : start + take]))
            va += take
        return b"".join(parts)

    def copy_to_user(self, va: int, data: bytes, flags: int = _WRITE_ANY) -> None:
        """Store into the TA's memory; TeeError(TEE_ERROR_ACCESS_DENIED) when it may not write all of it."""
        size = len(data)
        if not size:
            return
        view = self._view(va, size, flags)
        if view is not None:
            view[:] = data
            return
        if self.check_access_rights(flags, va, size):
            raise TeeError(gp.TEE_ERROR_ACCESS_DENIED, f"the TA cannot write 0x{size:x} bytes at 0x{va:x}")
        at = 0
        while at < size:
            r = self.find(va + at)
            assert r is not None
            take = min(size - at, r.end - va - at)
            start = r.offset + va + at - r.va
            r.region.view[start : start + take] = data[at : at + take]
            at += take

    def source(self, va: int, size: int) -> "memoryview | bytes":
        """What the TA shows a system call, uncopied where one region holds it all; TEE_ERROR_ACCESS_DENIED.

        For data that is moved, not decided on: others may change it at any time.
        """
        if not size:
            return b""
        return self.view(va, size) or self.copy_from_user(va, size)

    def target(self, va: int, size: int) -> "memoryview | Scattered":
        """Where a system call may put up to ``size`` bytes, by ``target[:n] = data``; TEE_ERROR_ACCESS_DENIED."""
        view = self.view(va, size, write=True)
        if view is None:
            if self.check_access_rights(_READ_ANY | _WRITE_ANY, va, size):
                raise TeeError(gp.TEE_ERROR_ACCESS_DENIED, f"the TA cannot write 0x{size:x} bytes at 0x{va:x}")
            return Scattered(self, va)
        return view

    def get_user_u64(self, va: int) -> int:
        """TEE_ERROR_ACCESS_DENIED where there is none."""
        value: int = _U64.unpack(self.source(va, 8))[0]
        return value

    def put_user_u64(self, va: int, value: int) -> None:
        """TEE_ERROR_ACCESS_DENIED where it cannot be put."""
        self.target(va, 8)[:8] = _U64.pack(value)

    def copy_from_user_private(self, va: int, size: int) -> bytes:
        """As ``copy_from_user``, but only memory of the TA's own."""
        return self.copy_from_user(va, size, gp.TEE_MEMORY_ACCESS_READ)

    def copy_to_user_private(self, va: int, data: bytes) -> None:
        """As ``copy_to_user``, but only memory of the TA's own."""
        self.copy_to_user(va, data, gp.TEE_MEMORY_ACCESS_WRITE)


class Scattered:
    """Bytes of a TA that lie in several regions, as the target of one assignment from the first byte on."""

    def __init__(self, space: AddressSpace, va: int) -> None:
        self._space, self._va = space, va

    def __setitem__(self, first: slice, data: bytes) -> None:
        self._space.copy_to_user(self._va, data)


def _allows(r: VmRegion, flags: int) -> bool:
    if flags & _READ_WRITE & ~r.rights:
        return False
    if flags & TEE_MEMORY_ACCESS_NONSECURE and r.region.secure:
        return False
    return not (flags & TEE_MEMORY_ACCESS_SECURE and not r.region.secure)
