"""An open TEE device with what a context needs round it: capabilities and prepared argument blocks."""

import contextlib
import mmap
import struct
from typing import Any, Final

from optemu.abi import tee_ioctl as abi
from optemu.normal_world.device import DeviceFile
from optemu.normal_world.libteec.constants import TEEC_CONFIG_PAYLOAD_REF_COUNT

PARAMS_SIZE: Final = TEEC_CONFIG_PAYLOAD_REF_COUNT * abi.PARAM.size
INVOKE_SIZE: Final = abi.INVOKE_ARG.size + PARAMS_SIZE
OPEN_SESSION_SIZE: Final = abi.OPEN_SESSION_ARG.size + PARAMS_SIZE

# An argument block: invoke (tee_ioctl_buf_data, argument, parameters), open session (the same), a small struct.
INVOKE_ARG_AT: Final = abi.BUF_DATA.size
INVOKE_PARAMS_AT: Final = INVOKE_ARG_AT + abi.INVOKE_ARG.size
OPEN_SESSION_AT: Final = INVOKE_ARG_AT + INVOKE_SIZE
OPEN_SESSION_ARG_AT: Final = OPEN_SESSION_AT + abi.BUF_DATA.size
OPEN_SESSION_PARAMS_AT: Final = OPEN_SESSION_ARG_AT + abi.OPEN_SESSION_ARG.size
SMALL_AT: Final = OPEN_SESSION_ARG_AT + OPEN_SESSION_SIZE
_BLOCK_SIZE: Final = SMALL_AT + 24


class Block:
    """Argument bytes of one call under way; pinned once, used again by later calls."""

    __slots__ = ("address", "buf")

    def __init__(self, device: DeviceFile) -> None:
        self.buf = bytearray(_BLOCK_SIZE)
        self.address = device.pin(self.buf).address
        abi.BUF_DATA.pack_into(self.buf, 0, self.address + INVOKE_ARG_AT, INVOKE_SIZE)
        open_session = self.address + OPEN_SESSION_ARG_AT
        abi.BUF_DATA.pack_into(self.buf, OPEN_SESSION_AT, open_session, OPEN_SESSION_SIZE)


class Channel:
    """``version`` is (impl_id, impl_caps, gen_caps) as TEE_IOC_VERSION answers; OSError when it does not."""

    __slots__ = ("_lingering", "blocks", "device", "memref_null", "reg_mem", "version")

    def __init__(self, device: DeviceFile) -> None:
        self.device = device
        # Calls take a block and bring it back: no two threads, nor a call from a signal handler, share one.
        self.blocks: list[Block] = []
        self._lingering: list[tuple[mmap.mmap, int]] = []
        _, values = self.call(abi.TEE_IOC_VERSION, abi.VERSION_DATA, 0, 0, 0)
        self.version: tuple[int, int, int] = (values[0], values[1], values[2])
        self.reg_mem = bool(values[2] & abi.TEE_GEN_CAP_REG_MEM)
        self.memref_null = bool(values[2] & abi.TEE_GEN_CAP_MEMREF_NULL)

    def take(self) -> Block:
        try:
            return self.blocks.pop()
        except IndexError:
            return Block(self.device)

    def call(self, cmd: int, layout: struct.Struct, *values: int) -> tuple[int, tuple[Any, ...]]:
        """An ioctl whose argument is one small struct: what it returned, and the struct afterwards."""
        block = self.take()
        try:
            layout.pack_into(block.buf, SMALL_AT, *values)
            ret = self.device.ioctl(cmd, block.address + SMALL_AT)
            return ret, layout.unpack_from(block.buf, SMALL_AT)
        finally:
            self.blocks.append(block)

    def close_fd(self, fd: int) -> None:
        """As close(2) in the C library: that the device is gone already is nobody's error."""
        with contextlib.suppress(OSError):
            self.device.close_fd(fd)

    def unmap(self, mapping: mmap.mmap, fd: int) -> None:
        """Give shared memory back; later, if somebody still holds a view of it."""
        self._lingering.append((mapping, fd))
        for _ in range(len(self._lingering)):
            try:
                # Taken out while we look at it: another thread may be giving memory back as well.
                item = self._lingering.pop(0)
            except IndexError:
                return
            try:
                item[0].close()
            except BufferError:
                self._lingering.append(item)
                continue
            self.close_fd(item[1])
