"""Attributes of data objects, which have none."""

from optemu.abi import gp
from optemu.abi.cryp import TEE_TYPE_DATA, TEE_USAGE_DEFAULT
from optemu.errors import TeeError
from optemu.secure_world.core.tee_obj import TeeObj


def tee_obj_set_type(o: TeeObj, object_type: int, max_object_size: int) -> None:
    if object_type != TEE_TYPE_DATA or max_object_size:
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED)
    o.object_type, o.max_object_size = object_type, max_object_size
    if o.pobj is not None:
        o.pobj.usage = TEE_USAGE_DEFAULT


def tee_obj_attr_copy_from(o: TeeObj, src: TeeObj) -> None: ...


def tee_obj_attr_to_binary(o: TeeObj) -> bytes:
    return b""


def tee_obj_attr_from_binary(o: TeeObj, data: bytes) -> None: ...
