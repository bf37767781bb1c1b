"""Plugins, OPTEE_RPC_CMD_SUPP_PLUGIN. Mirrors tee-supplicant/src/plugin.c and libteec/include/tee_plugin_method.h.

A plugin is a shared library of this host that exports ``struct plugin_method plugin_method``. It runs in this
process, as it runs in tee-supplicant's: its faults are ours.
"""

import ctypes
import logging
import os
import struct
from pathlib import Path
from typing import Final

from optemu.abi import gp
from optemu.abi import optee_rpc_cmd as rpc
from optemu.abi import tee_ioctl as ioc
from optemu.errors import TeeError
from optemu.normal_world.supplicant.params import Param, bad_parameters, expect
from optemu.normal_world.supplicant.shm import SharedMemory

log = logging.getLogger("optemu.normal_world")

_TYPES: Final = (
    ioc.TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_INPUT,
    ioc.TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_INPUT,
    ioc.TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_INOUT,
    ioc.TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_INOUT,
)
_WORDS: Final = struct.Struct("<4I")
_U32: Final = 0xFFFFFFFF
_Init = ctypes.CFUNCTYPE(ctypes.c_uint32)
_Invoke = ctypes.CFUNCTYPE(
    ctypes.c_uint32,
    ctypes.c_uint,
    ctypes.c_uint,
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.POINTER(ctypes.c_size_t),
)


class _PluginMethod(ctypes.Structure):
    """struct plugin_method."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("uuid", ctypes.c_uint8 * 16),
        ("init", _Init),
        ("invoke", _Invoke),
    )


class Plugins:
    """The plugins of a directory, by UUID (16 octets). One that cannot be used is left out, and the log says why."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self._methods: dict[bytes, _PluginMethod] = {}
        self._libraries: list[ctypes.CDLL] = []

    def load_all(self) -> None:
        """plugin_load_all."""
        if self.directory is None:
            return
        try:
            names = sorted(os.listdir(self.directory))
        except OSError as error:
            log.warning("plugins: cannot open %s: %s", self.directory, error.strerror)
            return
        for name in names:
            path = self.directory / name
            try:
                self._load(path)
            except (OSError, ValueError) as error:
                log.error("plugin %s is left out: %s", path, str(error).removeprefix(f"{path.absolute()}: "))

    def _load(self, path: Path) -> None:
        library = ctypes.CDLL(str(path.absolute()), mode=os.RTLD_LAZY)
        method = _PluginMethod.in_dll(library, "plugin_method")
        if not method.name or not method.invoke:
            raise ValueError("its plugin_method has no name or no invoke")
        if method.init and (ret := method.init()):
            raise ValueError(f"its init returned {gp.result_name(ret)}")
        self._libraries.append(library)
        # Of two with one UUID the later is used, as upstream's list has it.
        self._methods[gp.uuid_from_memory(bytes(method.uuid))] = method

    def __len__(self) -> int:
        return len(self._methods)

    def process(self, shm: SharedMemory, params: list[Param]) -> int:
        """[in] value 0.b, 0.c, 1.a, 1.b: UUID; value 1.c: command. [inout] value 2: a sub-command, b size; memref 3.

        The plugin's result. The size is what the plugin says it wrote to memref 3.
        """
        request, rest, sub, data = expect(params, *_TYPES)
        if request.a != rpc.OPTEE_RPC_SUPP_PLUGIN_INVOKE:
            raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, f"plugin operation {request.a}")
        uuid = plugin_uuid(request, rest)
        buffer = shm.view(data)
        if buffer is None and data.b:
            raise bad_parameters(f"no shared memory for {data.b} bytes of a plugin's data")
        method = self._methods.get(uuid)
        if method is None:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, f"no plugin {gp.uuid_str(uuid)} in {self.directory}")
        ret, sub.b = _invoke(method, rest.c & _U32, sub.a & _U32, buffer)
        return ret


def plugin_uuid(request: Param, rest: Param) -> bytes:
    """The 16 octets of the plugin's UUID, which comes in four words of the first two parameters."""
    return _WORDS.pack(*(word & _U32 for word in (request.b, request.c, rest.a, rest.b)))


def _invoke(method: _PluginMethod, cmd: int, sub_cmd: int, buffer: memoryview | None) -> tuple[int, int]:
    """(TEE_Result, size) of one call; the plugin works on the shared memory itself."""
    size = ctypes.c_size_t(0)
    length = len(buffer) if buffer is not None else 0
    data = (ctypes.c_char * length).from_buffer(buffer) if buffer else None
    ret: int = method.invoke(cmd, sub_cmd, data, length, ctypes.byref(size))
    return ret, size.value
