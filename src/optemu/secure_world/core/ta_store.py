"""Where TAs and their libraries come from. Mirrors core/kernel/ts_store.h, early_ta.c, secstor_ta.c and ree_fs_ta.c
(buffered).

An image from the normal world is asked for in two steps, its size first and then its bytes into shared memory; it is
copied into secure memory before anything is looked at, and every decision is made on that copy.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from optemu.abi import gp
from optemu.abi.optee_msg import OPTEE_MSG_ATTR_TYPE_RMEM_OUTPUT, OPTEE_MSG_ATTR_TYPE_VALUE_INPUT
from optemu.abi.optee_rpc_cmd import OPTEE_RPC_CMD_LOAD_TA
from optemu.errors import TeeError
from optemu.secure_world.core import points
from optemu.secure_world.core.thread import RpcParam, Thread

if TYPE_CHECKING:
    from optemu.secure_world.core.tee import Tee

log = logging.getLogger("optemu.core")

MAX_IMAGE_SIZE = 256 << 20
"""No image is larger; what the normal world claims beyond is refused before any memory is asked for."""


def rpc_load(thread: Thread, uuid: bytes) -> bytes:
    """The bytes tee-supplicant gives for ``uuid``, copied out of shared memory. TeeError as it answers."""
    low, high = int.from_bytes(uuid[:8], "little"), int.from_bytes(uuid[8:], "little")
    image = RpcParam(OPTEE_MSG_ATTR_TYPE_RMEM_OUTPUT)
    request = [RpcParam(OPTEE_MSG_ATTR_TYPE_VALUE_INPUT, low, high), image]
    _check(thread.rpc_cmd(OPTEE_RPC_CMD_LOAD_TA, request), uuid)
    size = image.b
    if not size:
        raise TeeError(gp.TEE_ERROR_OUT_OF_MEMORY, f"{gp.uuid_str(uuid)}.ta is empty")
    if size > MAX_IMAGE_SIZE:
        raise TeeError(gp.TEE_ERROR_OUT_OF_MEMORY, f"TA {gp.uuid_str(uuid)} would be {size} bytes large")
    payload = thread.rpc_alloc(size)
    try:
        image.mobj = payload
        image.a, image.b = 0, size
        _check(thread.rpc_cmd(OPTEE_RPC_CMD_LOAD_TA, request), uuid)
        if image.b > size:
            raise TeeError(gp.TEE_ERROR_SHORT_BUFFER, f"TA {gp.uuid_str(uuid)} grew while it was loaded")
        return payload.read(0, image.b)
    finally:
        thread.rpc_free_mobj(payload)


def _check(ret: int, uuid: bytes) -> None:
    if ret == gp.TEE_ERROR_ITEM_NOT_FOUND:
        raise TeeError(ret, f"tee-supplicant has no image {gp.uuid_str(uuid)}.ta")
    if ret:
        raise TeeError(ret, f"tee-supplicant cannot load {gp.uuid_str(uuid)}.ta: {gp.result_name(ret)}")


@dataclass(frozen=True, slots=True)
class TaBinary:
    """An ELF file that a store vouches for; binaries with the same ``tag`` are the same (file_get_by_tag)."""

    tag: bytes
    payload: memoryview | bytes


def early_tas(images: Mapping[bytes, memoryview]) -> dict[bytes, TaBinary]:
    """The TAs linked into the core, by UUID (early_ta_init)."""
    return {uuid: TaBinary(hashlib.sha256(image).digest(), image) for uuid, image in images.items()}


def early_ta_open(tee: "Tee", thread: Thread, uuid: bytes) -> TaBinary:
    """A TA linked into the core, and so as trusted as the core is."""
    ta = tee.early_tas.get(uuid)
    if ta is None:
        raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND)
    if tee.trace.on:
        tee.trace.enter(points.EARLY_TA_OPEN, uuid)
        tee.trace.exit(points.EARLY_TA_OPEN, gp.TEE_SUCCESS, len(ta.payload))
    return ta


def secstor_ta_open(tee: "Tee", thread: Thread, uuid: bytes) -> TaBinary:
    """A TA that was installed in secure storage."""
    ta = tee.ta_records.open(thread, uuid)
    if tee.trace.on:
        tee.trace.enter(points.SECSTOR_TA_OPEN, uuid)
        tee.trace.exit(points.SECSTOR_TA_OPEN, gp.TEE_SUCCESS, len(ta.payload))
    return TaBinary(ta.tag, ta.payload)


def ree_fs_ta_open(tee: "Tee", thread: Thread, uuid: bytes) -> TaBinary:
    """From the normal world's file system, and believed."""
    signed = tee.verify(_ree_fs_image(tee, thread, uuid), uuid)
    tee.ta_records.check_update_versions(thread, signed)
    return TaBinary(signed.hash, signed.payload)


def _ree_fs_image(tee: "Tee", thread: Thread, uuid: bytes) -> bytes:
    """The image of ``uuid`` from the normal world's file system, in secure memory and not yet believed."""
    trace = tee.trace
    if trace.on:
        trace.enter(points.STORE_OPEN, uuid)
    try:
        image = rpc_load(thread, uuid)
    except TeeError as e:
        if trace.on:
            trace.exit(points.STORE_OPEN, e.code, 0)
        raise
    if trace.on:
        trace.exit(points.STORE_OPEN, gp.TEE_SUCCESS, len(image))
    return image


@dataclass(frozen=True, slots=True)
class TaStore:
    """A row of the table of stores (struct ts_store_ops)."""

    priority: int
    description: str
    open: Callable[["Tee", Thread, bytes], TaBinary]


# Upstream's REGISTER_TA_STORE.
TA_STORES: Final = (
    TaStore(2, "early TA", early_ta_open),
    TaStore(4, "Secure Storage TA", secstor_ta_open),
    TaStore(9, "REE [buffered]", ree_fs_ta_open),
)
_LOOK_ON: Final = (gp.TEE_ERROR_ITEM_NOT_FOUND, gp.TEE_ERROR_STORAGE_NOT_AVAILABLE)


def open_bin(tee: "Tee", thread: Thread, uuid: bytes) -> TaBinary:
    """The TA or library ``uuid`` from the first store that has it (ldelf_syscall_open_bin); TeeError as that one fails.

    A store that has it but does not believe it ends the search: no later one takes its place.
    """
    for store in TA_STORES:
        try:
            return store.open(tee, thread, uuid)
        except TeeError as e:
            if e.code not in _LOOK_ON:
                raise
            if log.isEnabledFor(logging.DEBUG):
                log.debug('TA %s: not in store "%s"', gp.uuid_str(uuid), store.description)
            missing = e
    raise missing
