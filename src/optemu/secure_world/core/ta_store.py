"""Where TA images come from. Mirrors core/kernel/ree_fs_ta.c (buffered).

The image is asked for in two steps, its size first and then its bytes into shared memory; it is copied into
secure memory before anything is looked at, and every decision is made on that copy.
"""

import logging
from typing import TYPE_CHECKING

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


def ree_fs_ta_open(tee: "Tee", thread: Thread, uuid: bytes) -> bytes:
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
