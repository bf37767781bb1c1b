"""Requests of TEE_IOC_SUPPL_RECV: their parameters, decoded once and written back. Mirrors tee_supplicant.c.

What arrives is untrusted: anything malformed is TeeError(TEE_ERROR_BAD_PARAMETERS).
"""

import struct
from dataclasses import dataclass
from typing import Final

from optemu.abi import gp
from optemu.abi import tee_ioctl as abi
from optemu.errors import TeeError

RPC_NUM_PARAMS: Final = 5
"""Parameters offered room for in each request, as tee-supplicant does."""
REQUEST_SIZE: Final = abi.SUPP_RECV_ARG.size + RPC_NUM_PARAMS * abi.PARAM.size

_ANSWERS: Final = [struct.Struct(f"<2I{4 * n}Q") for n in range(RPC_NUM_PARAMS + 1)]
_UUID: Final = struct.Struct("<QQ")
_U64: Final = 0xFFFFFFFFFFFFFFFF
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


@dataclass(slots=True)
class Param:
    """struct tee_ioctl_param. A memory reference has its offset in ``a``, size in ``b``, shm id in ``c``."""

    attr: int
    a: int = 0
    b: int = 0
    c: int = 0


@dataclass(slots=True)
class Request:
    """``meta`` parameters, which name the request for the driver, then those that belong to command ``func``."""

    func: int
    meta: list[Param]
    params: list[Param]


def decode(block: bytes | memoryview) -> Request:
    """A request as it lies in the argument block (REQUEST_SIZE bytes)."""
    func, count = abi.SUPP_RECV_ARG.unpack_from(block)
    if count > RPC_NUM_PARAMS:
        raise bad_parameters(f"request {func} claims {count} parameters, there is room for {RPC_NUM_PARAMS}")
    begin = abi.SUPP_RECV_ARG.size
    meta: list[Param] = []
    params: list[Param] = []
    for attr, a, b, c in abi.PARAM.iter_unpack(block[begin : begin + count * abi.PARAM.size]):
        if not attr & abi.TEE_IOCTL_PARAM_ATTR_META:
            params.append(Param(attr, a, b, c))
        elif not params:
            meta.append(Param(attr, a, b, c))
        else:
            raise bad_parameters(f"request {func} has a meta parameter after others")
    return Request(func, meta, params)


def encode(ret: int, request: Request) -> bytes:
    """The answer, tee_iocl_supp_send_arg and all parameters of the request."""
    params = request.meta + request.params
    numbers: list[int] = []
    for p in params:
        numbers += (p.attr, p.a & _U64, p.b & _U64, p.c & _U64)
    return _ANSWERS[len(params)].pack(ret, len(params), *numbers)


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
    seen = tuple([p.attr & abi.TEE_IOCTL_PARAM_ATTR_TYPE_MASK for p in params])
    if seen != attrs:
        raise bad_parameters(f"parameters of types {seen} instead of {attrs}")
    return params


def uuid_octets(param: Param) -> bytes:
    """The 16 octets of a UUID in a value's ``a`` and ``b``."""
    return _UUID.pack(param.a, param.b)


def _of_type(params: list[Param], index: int, attrs: tuple[int, ...], name: str) -> Param:
    if index >= len(params) or params[index].attr & abi.TEE_IOCTL_PARAM_ATTR_TYPE_MASK not in attrs:
        raise bad_parameters(f"parameter {index} is no {name}")
    return params[index]


def bad_parameters(message: str) -> TeeError:
    return TeeError(gp.TEE_ERROR_BAD_PARAMETERS, message)
