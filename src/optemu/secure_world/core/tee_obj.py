"""Objects and operations a TA holds in the core. Mirrors core/tee/tee_obj.c and struct tee_cryp_state.

A TA names them by numbers that mean nothing else: what it made up is not found (TEE_ERROR_BAD_PARAMETERS).
"""

import itertools
from typing import TYPE_CHECKING, Generic, TypeVar

from optemu.abi import cryp, gp
from optemu.errors import TeeError

if TYPE_CHECKING:
    from optemu.secure_world.storage.tee_fs import FileHandle, Pobj

_handles = itertools.count(0x1000, 0x10)


class TeeObj:
    """struct tee_obj: a transient object, or an open persistent one."""

    __slots__ = (
        "attrs",
        "busy",
        "data_size",
        "ds_pos",
        "fh",
        "handle",
        "handle_flags",
        "have_attrs",
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
        self.native: object | None = None
        """The provider's key made of ``attrs``; whoever changes those sets it to None."""
        self.data_size = 0
        self.ds_pos = 0
        """Position in the data stream."""
        self.pobj: Pobj | None = None
        self.fh: FileHandle | None = None

    def wipe(self) -> None:
        """tee_obj_attr_clear: no key material stays behind, as far as Python allows."""
        for value in self.attrs.values():
            if isinstance(value, bytearray):
                value[:] = bytes(len(value))
        self.attrs = {}
        self.have_attrs = 0
        self.native = None


_T = TypeVar("_T")


class Handles(dict[int, _T], Generic[_T]):
    """What a TA holds of one sort, by handle. ``limit`` bounds it: a TA may forget what it should free."""

    def __init__(self, limit: int, what: str) -> None:
        super().__init__()
        self._limit, self._what = limit, what

    def of(self, handle: int) -> _T:
        """tee_obj_get and its like."""
        found = self.get(handle)
        if found is None:
            raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"0x{handle:x} is no {self._what} of this TA")
        return found

    def room(self) -> None:
        if len(self) >= self._limit:
            raise TeeError(gp.TEE_ERROR_OUT_OF_MEMORY, f"the TA holds {len(self)} {self._what}s and frees none")

    def add(self, handle: int, item: _T) -> None:
        self.room()
        self[handle] = item


def new_handle() -> int:
    """A handle for whatever is not an object."""
    return next(_handles)
