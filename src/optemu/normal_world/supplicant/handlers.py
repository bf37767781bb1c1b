"""The commands of tee-supplicant: decode, check, one call, encode. Mirrors tee-supplicant/src/tee_supplicant.c."""

from dataclasses import dataclass

from optemu.abi import gp
from optemu.normal_world.device import DeviceFile
from optemu.normal_world.supplicant.params import Param, exactly, memref, uuid_octets, value
from optemu.normal_world.supplicant.shm import SharedMemory
from optemu.normal_world.supplicant.ta_load import TaDirs


@dataclass(frozen=True, slots=True)
class Services:
    """What handlers work with; later commands add theirs here."""

    device: DeviceFile
    shm: SharedMemory
    ta_dirs: TaDirs


def load_ta(services: Services, params: list[Param]) -> int:
    """[in] value: UUID. [out] memref: the image; without shared memory behind it, only its size."""
    exactly(params, 2)
    uuid, image = value(params, 0), memref(params, 1)
    buffer = services.shm.view(image)
    content = services.ta_dirs.load(uuid_octets(uuid))
    if content is None:
        return gp.TEE_ERROR_ITEM_NOT_FOUND
    image.b = len(content)
    if buffer is None:
        return gp.TEE_SUCCESS
    if len(content) > len(buffer):
        return gp.TEE_ERROR_SHORT_BUFFER
    buffer[: len(content)] = content
    return gp.TEE_SUCCESS


def shm_alloc(services: Services, params: list[Param]) -> int:
    """[inout] value: b size, c the id of the new memory."""
    exactly(params, 1)
    request = value(params, 0)
    request.c = services.shm.alloc(request.b)
    return gp.TEE_SUCCESS


def shm_free(services: Services, params: list[Param]) -> int:
    """[in] value: b the id of memory from shm_alloc."""
    exactly(params, 1)
    services.shm.free(value(params, 0).b)
    return gp.TEE_SUCCESS
