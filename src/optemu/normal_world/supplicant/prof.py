"""Profiles and function traces of TAs, OPTEE_RPC_CMD_GPROF and _FTRACE. Mirrors tee-supplicant/src/prof.c.

Where a board has them in /tmp they are below the state directory here: several machines do not share names.
"""

import os
from pathlib import Path
from typing import Final

from optemu.abi import gp
from optemu.abi import tee_ioctl as ioc
from optemu.errors import TeeError
from optemu.normal_world.supplicant.params import Param, bad_parameters, expect
from optemu.normal_world.supplicant.shm import SharedMemory

_TYPES: Final = (
    ioc.TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_INOUT,
    ioc.TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_INPUT,
    ioc.TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_INPUT,
)
_MOST: Final = 100
_APPEND: Final = os.O_APPEND | os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def process(directory: Path, prefix: str, shm: SharedMemory, params: list[Param]) -> int:
    """[inout] value 0.a: file, 0 for a new one; [in] memref 1: TEE_UUID of the TA; memref 2: what to append.

    The first file is PREFIX-UUID.out, the next PREFIX-UUID.1.out, a hundred at most.
    """
    request, uuid, data = expect(params, *_TYPES)
    raw, view = shm.view(uuid), shm.view(data)
    if raw is None or view is None or len(raw) != 16 or not 0 <= request.a <= _MOST:
        raise bad_parameters(f"file {request.a}, a UUID of {uuid.b} bytes")
    name = f"{prefix}-{gp.uuid_str(gp.uuid_from_memory(bytes(raw)))}"
    content = bytes(view)
    try:
        request.a = _append(directory, name, request.a, content)
    except OSError as error:
        raise TeeError(gp.TEE_ERROR_GENERIC, f"{directory}/{name}: {error.strerror}") from error
    return gp.TEE_SUCCESS


def _append(directory: Path, name: str, number: int, content: bytes) -> int:
    """Write to file ``number``, or to the first whose name is free; its number. OSError."""
    directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)
    if number:
        fd = os.open(_path(directory, name, number), _APPEND)
    else:
        number, fd = _new(directory, name)
    try:
        while content:
            content = content[os.write(fd, content) :]
    finally:
        os.close(fd)
    return number


def _new(directory: Path, name: str) -> tuple[int, int]:
    for number in range(1, _MOST):
        try:
            return number, os.open(_path(directory, name, number), _APPEND | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            continue
    return _MOST, os.open(_path(directory, name, _MOST), _APPEND | os.O_CREAT | os.O_EXCL, 0o644)


def _path(directory: Path, name: str, number: int) -> Path:
    return directory / (f"{name}.{number - 1}.out" if number > 1 else f"{name}.out")
