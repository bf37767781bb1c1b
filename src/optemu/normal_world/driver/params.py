"""Parameters of a request to the supplicant: the numbers of struct tee_ioctl_param, four each."""

import errno
from collections.abc import Iterable
from typing import TypeAlias

from optemu.abi import optee_msg
from optemu.abi.tee_ioctl import TEE_MEMREF_NULL
from optemu.normal_world.driver.tee_shm import TeeShm

VALUES = frozenset((1, 2, 3))
MEMREFS = frozenset((5, 6, 7))
_OUTPUT = 2
"""In the type of every parameter that brings something back, of any sort."""
_TEMPORARY = optee_msg.OPTEE_MSG_ATTR_TYPE_TMEM_INPUT - optee_msg.OPTEE_MSG_ATTR_TYPE_RMEM_INPUT
Copied: TypeAlias = list[tuple[int, TeeShm]]
"""Memory that the supplicant has registered of its own, and where among the numbers the reference to it begins."""


def from_msg_params(
    params: Iterable[tuple[int, int, int, int]], by_cookie: dict[int, TeeShm]
) -> tuple[list[int], list[int], Copied]:
    """optee_from_msg_param: (numbers for the supplicant, where among them outputs begin, ...). OSError(EINVAL)."""
    numbers: list[int] = []
    outputs: list[int] = []
    copied: Copied = []
    for attr, a, b, c in params:
        kind = attr & optee_msg.OPTEE_MSG_ATTR_TYPE_MASK
        if kind & _OUTPUT:
            outputs.append(len(numbers))
        if kind in VALUES:
            numbers += (kind, a, b, c)
        elif not kind:
            numbers += (0, 0, 0, 0)
        else:
            offset, shm = from_msg_memref(kind, a, b, c, by_cookie)
            if shm is not None and shm.user_addr is not None:
                copied.append((len(numbers), shm))
            # Memory of the kernel has no id: to the supplicant that is none.
            number = shm.id & TEE_MEMREF_NULL if shm is not None else TEE_MEMREF_NULL
            numbers += (kind if kind in MEMREFS else kind - _TEMPORARY, offset, b, number)
    return numbers, outputs, copied


def from_msg_memref(kind: int, a: int, b: int, c: int, by_cookie: dict[int, TeeShm]) -> tuple[int, TeeShm | None]:
    """Where the ``b`` bytes of a memory reference begin, and in what memory: None for NULL. OSError(EINVAL)."""
    if kind not in MEMREFS and kind - _TEMPORARY not in MEMREFS:
        raise OSError(errno.EINVAL, f"a message parameter of type 0x{kind:x}")
    if not c:
        return 0, None
    shm = by_cookie.get(c)
    if shm is None:
        raise OSError(errno.EINVAL, f"the secure world names shared memory 0x{c:x}, which does not exist")
    offset = a if kind in MEMREFS else a - shm.region.base
    if offset < 0 or offset + b > shm.size:
        raise OSError(errno.EINVAL, f"0x{a:x}+0x{b:x} exceeds shared memory of 0x{shm.size:x} bytes")
    return offset, shm
