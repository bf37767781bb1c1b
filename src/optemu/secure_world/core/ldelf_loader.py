"""How user TAs come to be loaded, with their libraries. Mirrors core/kernel/ldelf_loader.c and ldelf's main.c."""

import logging
from typing import TYPE_CHECKING, NamedTuple

from optemu.abi import gp
from optemu.board.memory import PAGE_SIZE
from optemu.errors import TeeError
from optemu.secure_world.core import points
from optemu.secure_world.core.ftrace import ftrace_init
from optemu.secure_world.core.session import TaCtx
from optemu.secure_world.core.ta_image import InstanceLimit, TaImage, load_modules
from optemu.secure_world.core.ta_store import open_bin
from optemu.secure_world.core.tee_ta_manager import InitSession
from optemu.secure_world.core.thread import Thread
from optemu.secure_world.core.user_ta import UserTaCtx
from optemu.secure_world.ldelf import Module, map_elf

if TYPE_CHECKING:
    from optemu.secure_world.core.tee import Tee

log = logging.getLogger("optemu.core")

CFG_TA_ASLR_MAX_OFFSET_PAGES = 128


class Binary(NamedTuple):
    """An ELF file that a store vouches for, and by what name it was asked for."""

    uuid: bytes
    tag: bytes
    payload: bytes | memoryview


class UserTas(InitSession):
    """TAs that are loaded from an image, and their libraries."""

    def __init__(self, tee: "Tee") -> None:
        self._tee = tee
        self._images: dict[tuple[bytes, ...], TaImage] = {}
        """By the hashes of the TA and its libraries, in the order they are loaded."""
        self._needed: dict[bytes, tuple[bytes, ...]] = {}
        """UUIDs of the libraries an image names, by its hash."""
        self._limit = InstanceLimit(tee.board.config.instances, self._let_go)

    def find(self, uuid: bytes) -> TaCtx:
        return UserTaCtx(self._tee, uuid)

    def complete(self, thread: Thread, ctx: TaCtx) -> None:
        """Fetch, verify, map: what ldelf does before a TA's first session."""
        assert isinstance(ctx, UserTaCtx)
        trace = self._tee.trace
        binaries = self._open_all(thread, [ctx.uuid], set())
        key = tuple(b.tag for b in binaries)
        image = self._images.get(key)
        if trace.on:
            trace.enter(points.LDELF, ctx.uuid, "image known" if image else "new image")
        try:
            if image is None:
                elf = load_modules([self._map(b) for b in binaries], self.pad_begin)
                image = self._images[key] = TaImage(elf, self._tee.board.memory, self._pauth_key, self._limit)
            ctx.instance, _ = image.take()
        except MemoryError as e:
            raise TeeError(gp.TEE_ERROR_OUT_OF_MEMORY, str(e)) from e
        if image.elf.ta_head.uuid != ctx.uuid:
            # Possible, as upstream, where nothing that is signed names the TA: in legacy images.
            log.warning("TA %s calls itself %s", gp.uuid_str(ctx.uuid), gp.uuid_str(image.elf.ta_head.uuid))
        ctx.flags = image.elf.ta_head.flags
        ctx.ftrace = ftrace_init(ctx.instance, ctx.uuid)
        self._tee.board.timer.attach(ctx)
        if trace.on:
            trace.exit(points.LDELF, image.elf.entry)

    def _let_go(self) -> bool:
        """Close an instance that waits to be used again, of whichever TA."""
        return any(image.let_go() for image in list(self._images.values()))

    def _open_all(self, thread: Thread, wanted: list[bytes], loaded: set[bytes]) -> list[Binary]:
        """The images ``wanted`` and what they need that is not ``loaded``, breadth first."""
        queue, binaries = list(wanted), []
        for uuid in queue:
            found = open_bin(self._tee, thread, uuid)
            binary = Binary(uuid, found.tag, found.payload)
            binaries.append(binary)
            queue += [u for u in self._names(binary) if u not in queue and u not in loaded]
        return binaries

    def _names(self, binary: Binary) -> tuple[bytes, ...]:
        names = self._needed.get(binary.tag)
        if names is None:
            try:
                found = dict.fromkeys(gp.uuid_octets(name) for name in self._map(binary).needed)
            except ValueError as e:
                who = gp.uuid_str(binary.uuid)
                raise TeeError(gp.TEE_ERROR_BAD_FORMAT, f"{who} needs a library, but {e}") from None
            names = self._needed[binary.tag] = tuple(found)
        return names

    def _map(self, binary: Binary) -> Module:
        try:
            module = map_elf(binary.payload)
        except TeeError as e:
            raise TeeError(e.code, f"{gp.uuid_str(binary.uuid)}: {e.message}") from None
        module.uuid = binary.uuid
        return module

    def pad_begin(self) -> int:
        """Bytes to leave free below an image (get_pad_begin, CFG_TA_ASLR); drawn once, when an image is first seen."""
        if not self._tee.board.config.ta_aslr:
            return 0
        pages = int.from_bytes(self._tee.board.entropy.read(4), "little") % CFG_TA_ASLR_MAX_OFFSET_PAGES
        return pages * PAGE_SIZE

    def _pauth_key(self) -> bytes | None:
        """APIAKey of a new instance (CFG_TA_PAUTH)."""
        return self._tee.board.entropy.read(16) if self._tee.board.config.ta_pauth else None

    # --- while a TA runs ----------------------------------------------------------------------------------

    def dlopen(self, thread: Thread, ctx: UserTaCtx, uuid: bytes) -> None:
        """ldelf_dlopen: load a library into a TA, unless it is there. TeeError says why it cannot be."""
        assert ctx.instance is not None
        loaded = {m.uuid for m in ctx.instance.elf.modules}
        if uuid not in loaded:
            binaries = self._open_all(thread, [uuid], loaded)
            try:
                ctx.instance.dlopen([self._map(b) for b in binaries], self.pad_begin)
            except MemoryError as e:
                raise TeeError(gp.TEE_ERROR_OUT_OF_MEMORY, str(e)) from e

    @staticmethod
    def dlsym(ctx: UserTaCtx, uuid: bytes | None, name: bytes) -> int:
        """ldelf_dlsym: the address of ``name`` in library ``uuid`` and else in all that are loaded."""
        assert ctx.instance is not None
        elf = ctx.instance.elf
        library = next((m for m in elf.modules if m.uuid == uuid), None)
        if uuid is not None and library is None:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, f"library {gp.uuid_str(uuid)} is not loaded")
        modules = elf.modules if library is None else (library, *elf.modules)
        va = next((va for m in modules if (va := m.symbol(name)) is not None), None)
        if va is None:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, f"nobody defines {name.decode('ascii', 'backslashreplace')}")
        return va

    # --- the end ------------------------------------------------------------------------------------------------

    def power_off(self, contexts: list[TaCtx]) -> None:
        """Let go of every engine: those of the TAs kept alive, and those that wait to be used again."""
        for ctx in contexts:
            if isinstance(ctx, UserTaCtx) and ctx.instance is not None:
                ctx.instance.close()
                ctx.instance = None
        for image in self._images.values():
            image.close()
        self._images.clear()

    @property
    def idle_instances(self) -> int:
        return sum(image.idle for image in self._images.values())
