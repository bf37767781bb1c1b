"""Parameters of a request to the supplicant inside the driver: struct tee_param."""

import errno

from optemu.abi import optee_msg
from optemu.normal_world.driver.tee_shm import TeeShm

VALUES = frozenset((1, 2, 3))
MEMREFS = frozenset((5, 6, 7))
OUTPUTS = frozenset((2, 3, 6, 7))


class TeeParam:
    """``attr`` and (a, b, c) of a value, or (shm_offs, size, -) of a memory reference to ``shm``."""

    __slots__ = ("a", "attr", "b", "c", "shm")

    def __init__(self, attr: int, a: int = 0, b: int = 0, c: int = 0, shm: TeeShm | None = None) -> None:
        self.attr = attr
        self.a = a
        self.b = b
        self.c = c
        self.shm = shm


def from_msg_params(params: list[tuple[int, int, int, int]], by_cookie: dict[int, TeeShm]) -> list[TeeParam]:
    """optee_from_msg_param, for what the secure world sends; OSError(EINVAL)."""
    found = []
    for attr, a, b, c in params:
        kind = attr & optee_msg.OPTEE_MSG_ATTR_TYPE_MASK
        if kind in VALUES:
            found.append(TeeParam(kind, a, b, c))
        elif kind:
            found.append(_from_msg_memref(kind, a, b, c, by_cookie))
        else:
            found.append(TeeParam(0))
    return found


def _from_msg_memref(kind: int, a: int, b: int, c: int, by_cookie: dict[int, TeeShm]) -> TeeParam:
    registered = kind in MEMREFS
    if not registered and not 9 <= kind <= 11:
        raise OSError(errno.EINVAL, f"a message parameter of type 0x{kind:x}")
    if not registered:
        kind -= 4
    if not c:
        return TeeParam(kind, 0, b)
    shm = by_cookie.get(c)
    if shm is None:
        raise OSError(errno.EINVAL, f"the secure world names shared memory 0x{c:x}, which does not exist")
    offset = a if registered else a - shm.region.base
    if offset < 0 or offset + b > shm.size:
        raise OSError(errno.EINVAL, f"0x{a:x}+0x{b:x} exceeds shared memory of 0x{shm.size:x} bytes")
    return TeeParam(kind, offset, b, 0, shm)
