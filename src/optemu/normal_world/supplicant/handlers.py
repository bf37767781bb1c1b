"""The commands of tee-supplicant: decode, check, one call, encode. Mirrors tee-supplicant/src/tee_supplicant.c."""

from dataclasses import dataclass
from pathlib import Path

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.normal_world.device import DeviceFile
from optemu.normal_world.supplicant import prof
from optemu.normal_world.supplicant.params import Param, exactly, memref, uuid_octets, value
from optemu.normal_world.supplicant.plugins import Plugins
from optemu.normal_world.supplicant.ree_fs import ReeFs
from optemu.normal_world.supplicant.rpmb import Rpmb
from optemu.normal_world.supplicant.shm import SharedMemory
from optemu.normal_world.supplicant.sockets import Sockets
from optemu.normal_world.supplicant.ta_load import TaDirs


@dataclass(frozen=True, slots=True)
class Services:
    """What handlers work with. ``state`` is where files are kept; None: nowhere."""

    device: DeviceFile
    shm: SharedMemory
    ta_dirs: TaDirs
    state: Path | None
    fs: ReeFs | None
    sockets: Sockets
    plugins: Plugins
    rpmb: Rpmb

    def close(self) -> None:
        """Let go of everything, and end whoever waits for a socket."""
        self.device.close()
        self.sockets.close()
        if self.fs is not None:
            self.fs.close()
        self.shm.close()


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


def fs(services: Services, params: list[Param]) -> int:
    """[in] value 0.a: one of OPTEE_RPC_FS_*; the rest is its own."""
    if services.fs is None:
        raise _no_state()
    return services.fs.process(services.shm, params)


def socket(services: Services, params: list[Param]) -> int:
    """[in] value 0.a: one of OPTEE_RPC_SOCKET_*; the rest is its own."""
    return services.sockets.process(services.shm, params)


def plugin(services: Services, params: list[Param]) -> int:
    """[in] value 0.a: OPTEE_RPC_SUPP_PLUGIN_INVOKE; the rest is the plugin's."""
    return services.plugins.process(services.shm, params)


def rpmb(services: Services, params: list[Param]) -> int:
    """[in] memref: a request. [out] memref: the device's response."""
    return services.rpmb.process(services.shm, params)


def gprof(services: Services, params: list[Param]) -> int:
    """[inout] value: file; [in] memref: TA; [in] memref: a piece of its profile."""
    return _profile(services, "gmon", params)


def ftrace(services: Services, params: list[Param]) -> int:
    """[inout] value: file; [in] memref: TA; [in] memref: a piece of its function trace."""
    return _profile(services, "ftrace", params)


def _profile(services: Services, prefix: str, params: list[Param]) -> int:
    if services.state is None:
        raise _no_state()
    return prof.process(services.state / "tmp", prefix, services.shm, params)


def _no_state() -> TeeError:
    return TeeError(gp.TEE_ERROR_STORAGE_NOT_AVAILABLE, "the supplicant has no state directory")
