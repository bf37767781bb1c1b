"""Shared memory of a context: registered, allocated, or shadowed. Mirrors libteec/src/tee_client_api.c."""

import errno
import mmap
import os
from types import TracebackType
from typing import TYPE_CHECKING

from optemu.abi import tee_ioctl as abi
from optemu.errors import explain
from optemu.normal_world.device import Pin
from optemu.normal_world.libteec.channel import Channel
from optemu.normal_world.libteec.constants import (
    TEEC_ERROR_BAD_PARAMETERS,
    TEEC_ERROR_GENERIC,
    TEEC_ERROR_OUT_OF_MEMORY,
    TEEC_MEM_INOUT,
    TEEC_MEM_OUTPUT,
    TEEC_ORIGIN_API,
)
from optemu.normal_world.libteec.errors import TeecError, bad_parameters

if TYPE_CHECKING:
    from typing_extensions import Buffer

_EMPTY_SIZE = 8
"""What libteec asks of the driver for a size of 0, which the driver would refuse."""
_MAX_SIZE = 1 << 62
_PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


class SharedMemory:
    """TEEC_SharedMemory: ``size`` bytes at ``buffer``, usable as TEEC_MEM_* ``flags`` say, until released.

    ``buffer`` is the caller's own memory when registered, ours when allocated, None for a descriptor's. When the
    driver cannot reach it ``shadow`` stands in: filled before a call and copied back after it.
    """

    __slots__ = ("_channel", "_fd", "_mapping", "_pin", "buffer", "flags", "id", "shadow", "size")

    def __init__(self, channel: Channel, buffer: memoryview | None, size: int, flags: int) -> None:
        self._channel = channel
        self.buffer = buffer
        self.size = size
        self.flags = flags
        self.id = -1
        self.shadow: memoryview | None = None
        self._fd = -1
        self._pin: Pin | None = None
        self._mapping: mmap.mmap | None = None

    def __enter__(self) -> "SharedMemory":
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.ReleaseSharedMemory()

    def ReleaseSharedMemory(self) -> None:
        """TEEC_ReleaseSharedMemory. While a view of allocated memory lives on, the driver keeps the memory."""
        if self.id == -1:
            return
        self.id = -1
        self.buffer = self.shadow = None
        pin, self._pin = self._pin, None
        mapping, self._mapping = self._mapping, None
        if pin is not None:
            self._channel.close_fd(self._fd)
            self._channel.device.unpin(pin)
        elif mapping is not None:
            self._channel.unmap(mapping, self._fd)
        else:
            self._channel.close_fd(self._fd)

    def _register(self, pin: Pin) -> None:
        """TEE_IOC_SHM_REGISTER of pinned memory; the pin is ours until release. OSError when refused."""
        values = (pin.address, pin.view.nbytes, 0, -1)
        try:
            self._fd, data = self._channel.call(abi.TEE_IOC_SHM_REGISTER, abi.SHM_REGISTER_DATA, *values)
        except OSError:
            self._channel.device.unpin(pin)
            raise
        self._pin, self.id = pin, data[3]

    def _map(self, size: int) -> memoryview:
        """TEE_IOC_SHM_ALLOC, mapped here. OSError when refused."""
        fd, data = self._channel.call(abi.TEE_IOC_SHM_ALLOC, abi.SHM_ALLOC_DATA, size, 0, -1)
        try:
            self._mapping = self._channel.device.mmap(fd, size)
        except (OSError, ValueError, OverflowError) as error:
            self._channel.device.close_fd(fd)
            raise OSError(errno.ENOMEM, str(error)) from error
        # Kept until release, where upstream closes it now: its close is what tells an emulated driver.
        self._fd, self.id = fd, data[2]
        return memoryview(self._mapping)


def register(channel: Channel, buffer: "Buffer", flags: int) -> SharedMemory:
    """TEEC_RegisterSharedMemory. TypeError for an output buffer that cannot be written."""
    _check_flags(flags)
    view = memoryview(buffer).cast("B")
    if view.readonly and flags & TEEC_MEM_OUTPUT:
        raise TypeError("output memory has to be writable: a bytearray, not bytes")
    shm = SharedMemory(channel, view, view.nbytes, flags)
    if not channel.reg_mem:
        try:
            shm.shadow = shm._map(view.nbytes or _EMPTY_SIZE)
        except OSError as error:
            raise _out_of_memory(error) from error
    elif view.readonly or not view.nbytes or not _registered(shm, view):
        _register_shadow(shm)
    return shm


def _registered(shm: SharedMemory, view: memoryview) -> bool:
    try:
        shm._register(shm._channel.device.pin(view))
    except OSError:
        return False
    return True


def _register_shadow(shm: SharedMemory) -> None:
    """A copy in place of memory that is read-only, empty, or was refused."""
    try:
        shadow = bytearray(shm.size or _EMPTY_SIZE)
        shm._register(shm._channel.device.pin(shadow))
    except MemoryError as error:
        raise _out_of_memory(error) from error
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise _out_of_memory(error) from error
        raise TeecError(TEEC_ERROR_GENERIC, TEEC_ORIGIN_API, f"TEE_IOC_SHM_REGISTER: {error.strerror}") from error
    shm.shadow = memoryview(shadow)


def allocate(channel: Channel, size: int, flags: int) -> SharedMemory:
    """TEEC_AllocateSharedMemory of ``size`` bytes, all zero."""
    _check_flags(flags)
    if size < 0:
        raise ValueError(f"size {size} is negative")
    shm = SharedMemory(channel, None, size, flags)
    try:
        if size > _MAX_SIZE:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        if channel.reg_mem:
            shm._mapping = mmap.mmap(-1, size or _EMPTY_SIZE, flags=_PRIVATE)
            shm._register(channel.device.pin(shm._mapping))
            shm.buffer = memoryview(shm._mapping)[:size]
        else:
            shm.buffer = shm._map(size or _EMPTY_SIZE)[:size]
    except (OSError, ValueError, OverflowError, MemoryError) as error:
        raise _out_of_memory(error) from error
    return shm


def register_fd(channel: Channel, fd: int, flags: int) -> SharedMemory:
    """TEEC_RegisterSharedMemoryFileDescriptor, an extension of OP-TEE's; ``fd`` stays the caller's."""
    _check_flags(flags)
    shm = SharedMemory(channel, None, 0, flags)
    try:
        shm._fd, data = channel.call(abi.TEE_IOC_SHM_REGISTER_FD, abi.SHM_REGISTER_FD_DATA, fd, 0, 0, -1)
    except OSError as error:
        message = f"TEE_IOC_SHM_REGISTER_FD: {error.strerror}"
        raise TeecError(TEEC_ERROR_BAD_PARAMETERS, TEEC_ORIGIN_API, message) from error
    shm.size, shm.id = data[1], data[3]
    return shm


def _check_flags(flags: int) -> None:
    if not flags or flags & ~TEEC_MEM_INOUT:
        raise bad_parameters(f"flags 0x{flags:x} are not TEEC_MEM_INPUT, TEEC_MEM_OUTPUT or both")


def _out_of_memory(error: Exception) -> TeecError:
    return TeecError(TEEC_ERROR_OUT_OF_MEMORY, TEEC_ORIGIN_API, f"shared memory: {explain(error)}")
