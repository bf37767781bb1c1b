"""Shared memory the supplicant gives to the secure world: RPC SHM_ALLOC and SHM_FREE. Mirrors tee_supplicant.c."""

import contextlib
import mmap
import struct
import threading
from dataclasses import dataclass
from typing import Final

from optemu.abi import gp
from optemu.abi import tee_ioctl as abi
from optemu.errors import TeeError, explain
from optemu.normal_world.device import DeviceFile, Pin
from optemu.normal_world.supplicant.params import Param, bad_parameters

_ARGUMENT_SIZE: Final = max(abi.SHM_ALLOC_DATA.size, abi.SHM_REGISTER_DATA.size)


@dataclass(slots=True)
class _Shm:
    memory: mmap.mmap
    fd: int
    pin: Pin | None
    size: int


class SharedMemory:
    """The allocations alive, by the driver's id; registered memory of ours if ``reg_mem``, else the driver's."""

    def __init__(self, device: DeviceFile, reg_mem: bool) -> None:
        self._device = device
        self._reg_mem = reg_mem
        self._shms: dict[int, _Shm] = {}
        self._lock = threading.Lock()
        # Room for the argument of one ioctl at a time: to pin each by itself costs more than the ioctl.
        self._argument = device.pin(bytearray(_ARGUMENT_SIZE))
        self._argument_lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._shms)

    def alloc(self, size: int) -> int:
        """``size`` bytes for the secure world: their id. TeeError(TEE_ERROR_OUT_OF_MEMORY) also for size 0."""
        try:
            shm_id, shm = self._register(size) if self._reg_mem else self._alloc(size)
        except (OSError, ValueError, OverflowError, MemoryError) as error:
            message = f"{size} bytes of shared memory: {explain(error)}"
            raise TeeError(gp.TEE_ERROR_OUT_OF_MEMORY, message) from error
        with self._lock:
            self._shms[shm_id] = shm
        return shm_id

    def _register(self, size: int) -> tuple[int, _Shm]:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        pin = self._device.pin(memory)
        try:
            fd, _, _, _, shm_id = self._ioctl(abi.TEE_IOC_SHM_REGISTER, abi.SHM_REGISTER_DATA, pin.address, size, 0, -1)
        except OSError:
            self._device.unpin(pin)
            raise
        return shm_id, _Shm(memory, fd, pin, size)

    def _alloc(self, size: int) -> tuple[int, _Shm]:
        if size >> 63:
            raise MemoryError("too large")
        fd, _, _, shm_id = self._ioctl(abi.TEE_IOC_SHM_ALLOC, abi.SHM_ALLOC_DATA, size, 0, -1)
        try:
            return shm_id, _Shm(self._device.mmap(fd, size), fd, None, size)
        except (OSError, ValueError, OverflowError):
            self._device.close_fd(fd)
            raise

    def _ioctl(self, cmd: int, layout: struct.Struct, *argument: int) -> tuple[int, ...]:
        """The descriptor it returns, and the fields of the argument as they are then."""
        view = self._argument.view
        with self._argument_lock:
            layout.pack_into(view, 0, *argument)
            return self._device.ioctl(cmd, self._argument.address), *layout.unpack_from(view)

    def free(self, shm_id: int) -> None:
        with self._lock:
            shm = self._shms.pop(shm_id, None)
        if shm is None:
            raise bad_parameters(f"shared memory {shm_id} is not the supplicant's")
        self._release(shm)

    def _release(self, shm: _Shm) -> None:
        """The mapping goes with ``shm``, or when another request that fills it right now is done."""
        if shm.pin is not None:
            self._device.unpin(shm.pin)
        # When the device is closed, so are its descriptors.
        with contextlib.suppress(OSError):
            self._device.close_fd(shm.fd)

    def view(self, ref: Param) -> memoryview | None:
        """The bytes a memory reference means; None for memory that is not there, which asks for a size."""
        shm = self._shms.get(ref.c)
        if shm is None:
            if ref.attr & abi.TEE_IOCTL_PARAM_ATTR_TYPE_MASK == abi.TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_INPUT:
                raise bad_parameters(f"input in shared memory {ref.c}, which is not the supplicant's")
            return None
        begin = ref.a
        end = begin + ref.b
        if end > shm.size:
            raise bad_parameters(f"{ref.b} bytes at {begin} of shared memory of {shm.size}")
        return memoryview(shm.memory)[begin:end]

    def close(self) -> None:
        with self._lock:
            shms, self._shms = list(self._shms.values()), {}
        for shm in shms:
            self._release(shm)
        self._device.unpin(self._argument)
