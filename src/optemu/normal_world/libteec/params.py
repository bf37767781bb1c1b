"""The parameters of an operation, to and from struct tee_ioctl_param. Mirrors libteec/src/tee_client_api.c."""

import abc
from typing import TYPE_CHECKING, Final

from optemu.abi.tee_ioctl import PARAM, TEE_MEMREF_NULL
from optemu.normal_world.libteec import constants as c
from optemu.normal_world.libteec import shm as shared_memory
from optemu.normal_world.libteec.channel import Channel
from optemu.normal_world.libteec.errors import bad_parameters
from optemu.normal_world.libteec.shm import SharedMemory

if TYPE_CHECKING:
    from typing_extensions import Buffer

_U32: Final = 0xFFFFFFFF
_VALUE_INPUT: Final = c.TEEC_VALUE_INPUT
_VALUES: Final = (c.TEEC_VALUE_INPUT, c.TEEC_VALUE_OUTPUT, c.TEEC_VALUE_INOUT)
_TEMPS: Final = (c.TEEC_MEMREF_TEMP_INPUT, c.TEEC_MEMREF_TEMP_OUTPUT, c.TEEC_MEMREF_TEMP_INOUT)
_REGISTERED: Final = (
    c.TEEC_MEMREF_WHOLE,
    c.TEEC_MEMREF_PARTIAL_INPUT,
    c.TEEC_MEMREF_PARTIAL_OUTPUT,
    c.TEEC_MEMREF_PARTIAL_INOUT,
)
_pack_into: Final = PARAM.pack_into
_unpack_from: Final = PARAM.unpack_from


class Parameter(abc.ABC):
    """One of an operation's parameters; ``kind`` is its TEEC_* parameter type."""

    __slots__ = ("kind",)
    kind: int

    @abc.abstractmethod
    def pre_process(self, channel: Channel, buf: bytearray, at: int) -> SharedMemory | None:
        """Write the ioctl parameter at ``buf[at:]``; memory made for this call, to be released after it."""

    @abc.abstractmethod
    def post_process(self, buf: bytearray, at: int, temp: SharedMemory | None) -> None:
        """Take the answer over: values, sizes, and shadowed bytes."""


class Value(Parameter):
    """TEEC_Value: ``a`` and ``b``, 32 bits each."""

    __slots__ = ("a", "b")

    def __init__(self, a: int = 0, b: int = 0, kind: int = c.TEEC_VALUE_INOUT) -> None:
        self.a = a
        self.b = b
        self.kind = _checked(kind, _VALUES)

    @classmethod
    def input(cls, a: int, b: int = 0) -> "Value":
        return cls(a, b, c.TEEC_VALUE_INPUT)

    @classmethod
    def output(cls) -> "Value":
        return cls(0, 0, c.TEEC_VALUE_OUTPUT)

    @classmethod
    def inout(cls, a: int, b: int = 0) -> "Value":
        return cls(a, b, c.TEEC_VALUE_INOUT)

    def __repr__(self) -> str:
        return f"Value({self.a:#x}, {self.b:#x}, kind={self.kind})"

    def pre_process(self, channel: Channel, buf: bytearray, at: int) -> None:
        a, b = self.a, self.b
        if (a | b) >> 32:
            raise ValueError(f"{self!r}: a value has two times 32 bits, unsigned")
        _pack_into(buf, at, self.kind, a, b, 0)

    def post_process(self, buf: bytearray, at: int, temp: SharedMemory | None) -> None:
        if self.kind != _VALUE_INPUT:
            _, a, b, _ = _unpack_from(buf, at)
            self.a, self.b = a & _U32, b & _U32


class TempMemref(Parameter):
    """TEEC_TempMemoryReference: the first ``size`` bytes of ``buffer``, shared for the length of one call.

    After the call ``size`` is what the TA made of it; larger than the buffer with TEEC_ERROR_SHORT_BUFFER.
    """

    __slots__ = ("buffer", "size")

    def __init__(self, buffer: "Buffer | None", kind: int, size: int | None = None) -> None:
        self.buffer = None if buffer is None else memoryview(buffer).cast("B")
        self.size = size if size is not None else 0 if self.buffer is None else self.buffer.nbytes
        self.kind = _checked(kind, _TEMPS)

    @classmethod
    def input(cls, buffer: "Buffer | None") -> "TempMemref":
        return cls(buffer, c.TEEC_MEMREF_TEMP_INPUT)

    @classmethod
    def output(cls, buffer: "bytearray | memoryview | int | None") -> "TempMemref":
        """``buffer`` to be written, or the size of one to be made (see ``data``)."""
        return cls(bytearray(buffer) if isinstance(buffer, int) else buffer, c.TEEC_MEMREF_TEMP_OUTPUT)

    @classmethod
    def inout(cls, buffer: "Buffer | None") -> "TempMemref":
        return cls(buffer, c.TEEC_MEMREF_TEMP_INOUT)

    @property
    def data(self) -> bytes:
        """The bytes that ``size`` says are there."""
        return b"" if self.buffer is None else self.buffer[: self.size].tobytes()

    def pre_process(self, channel: Channel, buf: bytearray, at: int) -> SharedMemory | None:
        flags = self.kind - c.TEEC_MEMREF_TEMP_INPUT + c.TEEC_MEM_INPUT
        attr = self.kind
        if self.buffer is None:
            if self.size:
                raise bad_parameters(f"a memory reference of {self.size} bytes without a buffer")
            if channel.memref_null:
                _pack_into(buf, at, attr, 0, 0, TEE_MEMREF_NULL)
                return None
            shm = shared_memory.allocate(channel, 0, flags)
        else:
            if not 0 <= self.size <= self.buffer.nbytes:
                raise bad_parameters(f"size {self.size} of a buffer of {self.buffer.nbytes} bytes")
            shm = shared_memory.register(channel, self.buffer[: self.size], flags)
            if shm.shadow is not None:
                shm.shadow[: self.size] = self.buffer[: self.size]
        _pack_into(buf, at, attr, 0, self.size, shm.id)
        return shm

    def post_process(self, buf: bytearray, at: int, temp: SharedMemory | None) -> None:
        if self.kind == c.TEEC_MEMREF_TEMP_INPUT:
            return
        size: int = _unpack_from(buf, at)[2]
        if self.buffer is not None and temp is not None and temp.shadow is not None:
            used = min(size, self.size)
            self.buffer[:used] = temp.shadow[:used]
        self.size = size


class RegisteredMemref(Parameter):
    """TEEC_RegisteredMemoryReference: all of ``parent``, in the directions its flags say, or a part of it.

    After the call ``size`` is what the TA made of it.
    """

    __slots__ = ("offset", "parent", "size")

    def __init__(
        self, parent: SharedMemory, kind: int = c.TEEC_MEMREF_WHOLE, offset: int = 0, size: int | None = None
    ) -> None:
        self.parent = parent
        self.offset = offset
        self.size = parent.size - offset if size is None else size
        self.kind = _checked(kind, _REGISTERED)

    @classmethod
    def input(cls, parent: SharedMemory, offset: int = 0, size: int | None = None) -> "RegisteredMemref":
        return cls(parent, c.TEEC_MEMREF_PARTIAL_INPUT, offset, size)

    @classmethod
    def output(cls, parent: SharedMemory, offset: int = 0, size: int | None = None) -> "RegisteredMemref":
        return cls(parent, c.TEEC_MEMREF_PARTIAL_OUTPUT, offset, size)

    @classmethod
    def inout(cls, parent: SharedMemory, offset: int = 0, size: int | None = None) -> "RegisteredMemref":
        return cls(parent, c.TEEC_MEMREF_PARTIAL_INOUT, offset, size)

    @property
    def data(self) -> bytes:
        """The bytes that ``offset`` and ``size`` say are there."""
        buffer = self.parent.buffer
        return b"" if buffer is None else buffer[self.offset : self.offset + self.size].tobytes()

    def pre_process(self, channel: Channel, buf: bytearray, at: int) -> None:
        shm = self.parent
        if shm.id == -1:
            raise bad_parameters("the shared memory has been released")
        if self.kind == c.TEEC_MEMREF_WHOLE:
            flags, offset, size = shm.flags, 0, shm.size
        else:
            flags, offset, size = self.kind - c.TEEC_MEMREF_WHOLE, self.offset, self.size
            if shm.flags & flags != flags:
                raise bad_parameters(f"memory shared with flags {shm.flags} is used with {flags}")
            if offset < 0 or size < 0 or offset + size > shm.size:
                raise bad_parameters(f"{size} bytes at {offset} of shared memory of {shm.size}")
        if shm.shadow is not None and shm.buffer is not None and flags & c.TEEC_MEM_INPUT:
            shm.shadow[offset : offset + size] = shm.buffer[offset : offset + size]
        # TEEC_MEM_* flags count as the last three memref attributes do: input 5, output 6, both 7.
        _pack_into(buf, at, c.TEEC_MEMREF_TEMP_INPUT - c.TEEC_MEM_INPUT + flags, offset, size, shm.id)

    def post_process(self, buf: bytearray, at: int, temp: SharedMemory | None) -> None:
        shm = self.parent
        if self.kind == c.TEEC_MEMREF_WHOLE:
            flags, offset, room = shm.flags, 0, shm.size
        else:
            flags, offset, room = self.kind - c.TEEC_MEMREF_WHOLE, self.offset, self.size
        if not flags & c.TEEC_MEM_OUTPUT:
            return
        size: int = _unpack_from(buf, at)[2]
        if shm.shadow is not None and shm.buffer is not None and size <= room:
            shm.buffer[offset : offset + size] = shm.shadow[offset : offset + size]
        self.size = size


def _checked(kind: int, allowed: tuple[int, ...]) -> int:
    if kind not in allowed:
        raise ValueError(f"parameter type 0x{kind:x} is not one of {', '.join(hex(k) for k in allowed)}")
    return kind
