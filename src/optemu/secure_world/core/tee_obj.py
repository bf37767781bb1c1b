"""Objects and operations a TA holds in the core. Mirrors core/tee/tee_obj.c and struct tee_cryp_state.

A TA names them by numbers that mean nothing else: what it made up is not found.
"""

import itertools
import logging
from typing import TYPE_CHECKING, Generic, TypeVar

from optemu.abi import cryp, gp
from optemu.abi.obj import TEE_HANDLE_FLAG_PERSISTENT
from optemu.errors import TeeError

if TYPE_CHECKING:
    from optemu.secure_world.core.thread import Thread
    from optemu.secure_world.core.user_ta import UserTaCtx
    from optemu.secure_world.storage.tee_fs import FileHandle, Pobj

log = logging.getLogger("optemu.core")

OBJECTS_HEAP = 1 << 20
"""Octets that one TA's objects may take of the core's heap, which is upstream's CFG_CORE_HEAP_SIZE: 96 to 512 KiB
on most boards, for all TAs."""
OBJECT_HEAP = 112
"""What an object takes of it by itself (struct tee_obj)."""
_LARGEST_OBJECT = 8 << 10

_HANDLES = (1 << 28) - 0x100


def _handle(n: int) -> int:
    """As upstream's look: 32 bits, no two alike before they are used up, and never TEE_HANDLE_NULL."""
    return 0x1000 + n % _HANDLES * 0x10


_handles = map(_handle, itertools.count())


class NativeKey:
    """Room for the provider's key, which copies of an object share: loading one can take longer than its use."""

    __slots__ = ("key",)

    def __init__(self) -> None:
        self.key: object | None = None


class TeeObj:
    """struct tee_obj: a transient object, or an open persistent one."""

    __slots__ = (
        "attrs",
        "busy",
        "data_offset",
        "data_size",
        "ds_pos",
        "fh",
        "handle",
        "handle_flags",
        "have_attrs",
        "heap",
        "max_object_size",
        "native",
        "object_size",
        "object_type",
        "pobj",
        "usage",
    )

    def __init__(self, object_type: int = 0, max_object_size: int = 0) -> None:
        self.handle = next(_handles)
        self.object_type = object_type
        self.object_size = 0
        """Bits of the key that is set."""
        self.max_object_size = max_object_size
        self.usage = cryp.TEE_USAGE_DEFAULT
        """objectUsage of a transient object; a persistent one's is its pobj's."""
        self.handle_flags = 0
        self.busy = False
        """In use by an operation."""
        self.have_attrs = 0
        """Which of the type's attributes are set, by their place in its table."""
        self.attrs: dict[int, bytearray | int] = {}
        """What is set, by TEE_ATTR_*: octets in bytearrays, so that they can be wiped."""
        self.heap = OBJECT_HEAP
        """What it takes of the core's heap on a board, in octets."""
        self.native = NativeKey()
        """Of the key that ``attrs`` are; whoever changes those puts another in its place."""
        self.data_size = 0
        self.ds_pos = 0
        """Position in the data stream."""
        self.data_offset = 0
        """Where the data stream begins in the octets of a persistent object."""
        self.pobj: Pobj | None = None
        self.fh: FileHandle | None = None

    def wipe(self) -> None:
        """tee_obj_attr_clear: no key material stays behind, as far as Python allows."""
        for value in self.attrs.values():
            if isinstance(value, bytearray):
                value[:] = bytes(len(value))
        self.attrs = {}
        self.have_attrs = 0
        self.native = NativeKey()


_T = TypeVar("_T")


class Handles(dict[int, _T], Generic[_T]):
    """What a TA holds of one sort, by handle. ``limit`` bounds it: a TA may forget what it should free."""

    def __init__(self, limit: int, what: str, unknown: int = gp.TEE_ERROR_BAD_PARAMETERS) -> None:
        super().__init__()
        self._limit, self._what, self._unknown = limit, what, unknown

    def of(self, handle: int) -> _T:
        """What tee_obj_get and its like do; TeeError(``unknown``)."""
        found = self.get(handle & 0xFFFFFFFF)
        if found is None:
            raise TeeError(self._unknown, f"0x{handle:x} is no {self._what} of this TA")
        return found

    def room(self) -> None:
        """TeeError(TEE_ERROR_OUT_OF_MEMORY) unless one more can be added."""
        if len(self) >= self._limit:
            raise TeeError(gp.TEE_ERROR_OUT_OF_MEMORY, f"the TA holds {len(self)} {self._what}s and frees none")

    def add(self, handle: int, item: _T) -> None:
        self.room()
        if handle in self:
            raise TeeError(gp.TEE_ERROR_OUT_OF_MEMORY, f"handle 0x{handle:x} is in use since all others have been")
        self[handle] = item


class TeeObjs(Handles[TeeObj]):
    """The objects of a TA. They are bounded by what they would take of a core's heap."""

    def __init__(self) -> None:
        super().__init__(OBJECTS_HEAP // OBJECT_HEAP, "object", gp.TEE_ERROR_BAD_STATE)

    def room(self) -> None:
        if len(self) * _LARGEST_OBJECT >= OBJECTS_HEAP and sum(o.heap for o in self.values()) >= OBJECTS_HEAP:
            raise TeeError(gp.TEE_ERROR_OUT_OF_MEMORY, f"the TA holds {len(self)} objects and frees none")


def tee_obj_close(ta: "UserTaCtx", thread: "Thread", o: TeeObj) -> None:
    """Forget ``o``, whatever goes wrong with its file, and wipe it."""
    del ta.objs[o.handle]
    try:
        if o.handle_flags & TEE_HANDLE_FLAG_PERSISTENT:
            ta.tee.storage.close(thread, o)
    finally:
        o.wipe()


def tee_obj_close_all(ta: "UserTaCtx", thread: "Thread") -> None:
    """The TA is gone: so are its objects."""
    while ta.objs:
        o = next(iter(ta.objs.values()))
        try:
            tee_obj_close(ta, thread, o)
        except TeeError as e:
            log.error("TA %s: cannot close object 0x%x: %s", gp.uuid_str(ta.uuid), o.handle, e)


def new_handle() -> int:
    """A handle for whatever is not an object."""
    return next(_handles)
