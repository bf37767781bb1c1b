"""Verified TA images and their instances: load once, reset in microseconds.

An image is known by the hash that its signature covers, once that is verified. Its read-only segments are one
region that all instances share; an instance has memory of its own for the writable segments and the stack, and an
engine that keeps its translations when the memory is set back.
"""

import ctypes
import mmap
import sys
import threading
from collections.abc import Callable

from optemu.abi import gp
from optemu.abi.utee import UTEE_PARAMS
from optemu.board.memory import PhysicalMemory, Region, round_up
from optemu.errors import TeeError
from optemu.secure_world.core.vm import DATA, DL, MAP_BASE, TEXT, AddressSpace, VmRegion
from optemu.secure_world.cpu import Cpu, Prot, engine
from optemu.secure_world.ldelf import ElfImage, Module, Segment, dlopen, link, place
from optemu.secure_world.ldelf.dump import DumpRegion

STACK_TOP = 0x4000_0000
LOAD_BASE = 0x4010_0000
STACK_ALIGNMENT = 16
PARAMS_ROOM = (UTEE_PARAMS.size + STACK_ALIGNMENT - 1) & -STACK_ALIGNMENT
"""Octets at the beginning of the stack, for a call's parameters."""
MAX_IDLE_INSTANCES = 8
MAX_TA_MEMORY = 1 << 30
_LARGE = 1 << 20


class TaInstance:
    """One engine with one TA in it, ready to be entered (what upstream keeps in struct user_mode_ctx)."""

    def __init__(self, image: "TaImage", memory: PhysicalMemory) -> None:
        self.image = image
        self.elf = image.elf
        """What is loaded: the image, and the libraries that the TA has opened since."""
        self.memory = memory
        self.stack_size = image.stack_size
        self.params_at = image.elf.ta_head.stack_size - PARAMS_ROOM
        """Where in ``region``, and in the stack, a call's struct utee_params lies. Not the last page's end: upstream
        maps whole pages and starts the stack where the TA's size ends."""
        self.sp = STACK_TOP - self.stack_size + self.params_at
        self.region: Region = memory.allocate(self.stack_size + image.writable_size, secure=True)
        self.cpu: Cpu = engine(image.elf.arch, image.new_key())
        self.space = AddressSpace(self.cpu)
        self._map()
        self.reset()
        self._fresh = self.cpu.save()

    def _map(self) -> None:
        space, image = self.space, self.image
        space.map(STACK_TOP - self.stack_size, self.region, 0, self.stack_size, Prot.R | Prot.W, "stack")
        writable_at = self.stack_size
        read_only_at = 0
        for segment in image.elf.segments:
            if segment.writable:
                space.map(segment.va, self.region, writable_at, segment.size, Prot(segment.prot), DATA)
                writable_at += segment.size
            else:
                assert image.read_only is not None
                space.map(segment.va, image.read_only, read_only_at, segment.size, Prot(segment.prot), TEXT)
                read_only_at += segment.size

    def reset(self) -> None:
        """Memory as the image has it, registers as at power-on, no parameters."""
        self.space.clean_param()
        self.space.unmap_added(self.memory)
        self.elf = self.image.elf
        if self.region.size > _LARGE:
            # Untouched pages stay untouched: the kernel takes the others back.
            self.region.mem.madvise(mmap.MADV_DONTNEED)
        else:
            ctypes.memset(self.region.host, 0, self.region.size)
        at = self.stack_size
        for segment in self.image.writable:
            segment.store(self.region.view[at : at + segment.size])
            at += segment.size
        self.cpu.clear_stop()

    def dlopen(self, libraries: list[Module], gap: Callable[[], int]) -> None:
        """Add ``libraries`` to the TA, until it is reset. TeeError and MemoryError leave all as it was."""
        place(libraries, max(r.end for r in self.space.regions if r.va < MAP_BASE), gap)
        elf, segments, patches = dlopen(self.elf, libraries, self.space.copy_from_user_private)
        if segments[-1].va + segments[-1].size > MAP_BASE:
            raise TeeError(gp.TEE_ERROR_OUT_OF_MEMORY, "no addresses left for another library")
        for segment, region in zip(segments, self._allocate(segments), strict=True):
            segment.store(region.view)
            self.space.map(segment.va, region, 0, segment.size, Prot(segment.prot), DL)
        for va, data in patches:
            self.space.copy_to_user_private(va, data)
        self.elf = elf

    def _allocate(self, segments: list[Segment]) -> list[Region]:
        """Memory for each of ``segments``, or none at all."""
        regions: list[Region] = []
        try:
            regions += (self.memory.allocate(segment.size, secure=True) for segment in segments)
        except MemoryError:
            for region in regions:
                self.memory.free(region)
            raise
        return regions

    def dump_regions(self) -> list[DumpRegion]:
        """What the TA sees, for dumps."""
        return [DumpRegion(r.va, r.pa, r.size, r.flags(), self._label(r)) for r in self.space.regions]

    def _label(self, r: VmRegion) -> str:
        """The number of the image it belongs to, or else what it is; the loader's own pages are in no image."""
        image = next((str(n) for n, m in enumerate(self.elf.modules) if m.base <= r.va < m.end), None)
        return image or ("ldelf" if r.label in (TEXT, DATA, DL) else r.label)

    def recycle(self) -> None:
        self.reset()
        self.cpu.restore(self._fresh)

    def close(self) -> None:
        self.space.unmap_added(self.memory)
        self.cpu.close()
        self.memory.free(self.region)
        self.image.limit.one_less()


class InstanceLimit:
    """How many instances there may be of all images together; ``let_go`` closes an idle one, False if there is none."""

    def __init__(self, most: int, let_go: Callable[[], bool]) -> None:
        self.most = most
        self._let_go = let_go
        self._lock = threading.Lock()
        self._count = 0

    def one_more(self) -> None:
        """TeeError when there are as many as there may be, all in use."""
        while not self._try():
            if not self._let_go():
                what = f"all {self.most} instances of TAs are in use; [tee] instances = {2 * self.most} allows more"
                raise TeeError(gp.TEE_ERROR_OUT_OF_MEMORY, what)

    def _try(self) -> bool:
        with self._lock:
            if self._count >= self.most:
                return False
            self._count += 1
            return True

    def one_less(self) -> None:
        with self._lock:
            self._count -= 1


class TaImage:
    """A verified image: relocated once, and the instances of it that wait to be used again."""

    def __init__(
        self,
        elf: ElfImage,
        memory: PhysicalMemory,
        new_key: Callable[[], bytes | None] = lambda: None,
        limit: InstanceLimit | None = None,
    ) -> None:
        self.elf = elf
        self.limit = limit or InstanceLimit(sys.maxsize, lambda: False)
        self.new_key = new_key
        """Gives the pointer authentication key of an instance, None when it has none."""
        self._memory = memory
        self.stack_size = round_up(elf.ta_head.stack_size)
        self.writable: list[Segment] = [s for s in elf.segments if s.writable]
        self.writable_size = sum(s.size for s in self.writable)
        if elf.ta_head.stack_size < PARAMS_ROOM:
            why = f"a stack of {elf.ta_head.stack_size} bytes has no room for a call's parameters: raise TA_STACK_SIZE"
            raise TeeError(gp.TEE_ERROR_ACCESS_DENIED, why)
        if self.stack_size >= STACK_TOP or self.stack_size + self.writable_size > MAX_TA_MEMORY:
            raise TeeError(gp.TEE_ERROR_OUT_OF_MEMORY, "the TA wants more memory than the board has")
        self.read_only = self._load_read_only()
        self._idle: list[TaInstance] = []

    def _load_read_only(self) -> Region | None:
        segments = [s for s in self.elf.segments if not s.writable]
        if not segments:
            return None
        region = self._memory.allocate(sum(s.size for s in segments), secure=True)
        at = 0
        for segment in segments:
            segment.store(region.view[at : at + segment.size])
            at += segment.size
        return region

    def take(self) -> tuple[TaInstance, bool]:
        """An instance as fresh as a new one, and whether it is one that was used before. TeeError, MemoryError."""
        try:
            return self._idle.pop(), True
        except IndexError:
            self.limit.one_more()
        try:
            return TaInstance(self, self._memory), False
        except BaseException:
            self.limit.one_less()
            raise

    def give_back(self, instance: TaInstance) -> None:
        """Keep the instance for the next session, or let it go when enough are kept."""
        if len(self._idle) < MAX_IDLE_INSTANCES:
            instance.recycle()
            self._idle.append(instance)
        else:
            instance.close()

    def let_go(self) -> bool:
        """Close an instance that is not in use, if there is one."""
        try:
            self._idle.pop().close()
        except IndexError:
            return False
        return True

    def close(self) -> None:
        """Let all instances go that are not in use, and the memory they share."""
        while self.let_go():
            pass
        if self.read_only is not None:
            self._memory.free(self.read_only)

    @property
    def idle(self) -> int:
        return len(self._idle)


def load_modules(modules: list[Module], gap: Callable[[], int]) -> ElfImage:
    """ldelf's work on verified payloads, the TA's first: place and relocate. TeeError says what is wrong with them."""
    place(modules, LOAD_BASE, gap)
    elf = link(modules)
    if elf.segments[-1].va + elf.segments[-1].size > MAP_BASE:
        raise TeeError(gp.TEE_ERROR_OUT_OF_MEMORY, "the TA and its libraries exceed the address space")
    return elf
