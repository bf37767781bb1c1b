"""Requests of TEE_IOC_SUPPL_RECV and their answers, which take their place. Mirrors tee_supplicant.c.

What arrives is untrusted: anything malformed is TeeError(TEE_ERROR_BAD_PARAMETERS).
"""

import ctypes
import struct
from typing import Final

from optemu.abi import gp
from optemu.abi import tee_ioctl as abi
from optemu.errors import TeeError
from optemu.normal_world.device import Pin

RPC_NUM_PARAMS: Final = 5
"""Parameters offered room for in each request, as tee-supplicant does."""
REQUEST_SIZE: Final = abi.SUPP_RECV_ARG.size + RPC_NUM_PARAMS * abi.PARAM.size
BLOCK_SIZE: Final = abi.BUF_DATA.size + REQUEST_SIZE

_UUID: Final = struct.Struct("<QQ")
_TYPE: Final = abi.TEE_IOCTL_PARAM_ATTR_TYPE_MASK
_VALUES: Final = (
    abi.TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_INPUT,
    abi.TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_OUTPUT,
    abi.TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_INOUT,
)
_MEMREFS: Final = (
    abi.TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_INPUT,
    abi.TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_OUTPUT,
    abi.TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_INOUT,
)


class Param(ctypes.LittleEndianStructure):
    """struct tee_ioctl_param. A memory reference has its offset in ``a``, size in ``b``, shm id in ``c``."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("attr", "a", "b", "c"))
    attr: int
    a: int
    b: int
    c: int


class Arg(ctypes.LittleEndianStructure):
    """struct tee_ioctl_buf_data and, where it points, struct tee_iocl_supp_recv_arg, then tee_iocl_supp_send_arg."""

    _fields_ = (
        ("buf_ptr", ctypes.c_uint64),
        ("buf_len", ctypes.c_uint64),
        ("func_or_ret", ctypes.c_uint32),
        ("num_params", ctypes.c_uint32),
        ("params", Param * RPC_NUM_PARAMS),
    )
    buf_ptr: int
    buf_len: int
    func_or_ret: int
    num_params: int
    params: ctypes.Array[Param]


class Request:
    """A request where the driver puts it, and its answer, which is written over it, as upstream does.

    The block is ours alone: what lies there is a copy, and the driver writes to it only while we receive.
    """

    __slots__ = ("_params", "arg", "pin", "room")

    def __init__(self, pin: Pin) -> None:
        """``pin`` holds BLOCK_SIZE bytes."""
        self.pin = pin
        self.arg = Arg.from_buffer(pin.view)
        # Each stays at its place, whatever request comes to lie there.
        self._params = self.arg.params[:]
        room = Arg(pin.address + abi.BUF_DATA.size, REQUEST_SIZE, 0, RPC_NUM_PARAMS)
        # The first parameter says that we deal with meta parameters, that is with several requests at a time.
        room.params[0].attr = abi.TEE_IOCTL_PARAM_ATTR_META
        self.room = bytes(room)
        """What the block has to hold for a request to be received."""

    def decode(self) -> tuple[int, int, list[Param]]:
        """(command, number of meta parameters, which name the request for the driver, parameters of the command).

        The answer has all of them, as they are when it is sent; or as many as there is room for, if it claims more.
        """
        arg = self.arg
        func, count = arg.func_or_ret, arg.num_params
        params = self._params[:count]
        arg.buf_len = abi.SUPP_SEND_ARG.size + len(params) * abi.PARAM.size
        if count > RPC_NUM_PARAMS:
            arg.num_params = RPC_NUM_PARAMS
            raise bad_parameters(f"request {func} claims {count} parameters, there is room for {RPC_NUM_PARAMS}")
        while params and params[0].attr & abi.TEE_IOCTL_PARAM_ATTR_META:
            del params[0]
        for p in params:
            if p.attr & abi.TEE_IOCTL_PARAM_ATTR_META:
                raise bad_parameters(f"request {func} has a meta parameter after others")
        return func, count - len(params), params


def value(params: list[Param], index: int) -> Param:
    """Parameter ``index``, which has to be a value."""
    return _of_type(params, index, _VALUES, "value")


def memref(params: list[Param], index: int) -> Param:
    """Parameter ``index``, which has to be a memory reference."""
    return _of_type(params, index, _MEMREFS, "memory reference")


def exactly(params: list[Param], count: int) -> None:
    if len(params) != count:
        raise bad_parameters(f"{len(params)} parameters instead of {count}")


def expect(params: list[Param], *attrs: int) -> list[Param]:
    """``params``, which must have these types and be no more."""
    seen = tuple([p.attr & _TYPE for p in params])
    if seen != attrs:
        raise bad_parameters(f"parameters of types {seen} instead of {attrs}")
    return params


def uuid_octets(param: Param) -> bytes:
    """The 16 octets of a UUID in a value's ``a`` and ``b``."""
    return _UUID.pack(param.a, param.b)


def _of_type(params: list[Param], index: int, attrs: tuple[int, ...], name: str) -> Param:
    if index >= len(params) or params[index].attr & _TYPE not in attrs:
        raise bad_parameters(f"parameter {index} is no {name}")
    return params[index]


def bad_parameters(message: str) -> TeeError:
    return TeeError(gp.TEE_ERROR_BAD_PARAMETERS, message)
