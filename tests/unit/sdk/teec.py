"""Our C libteec as a shared library whose open() and ioctl() are Python functions: a driver in the test."""

import ctypes as ct
import mmap
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optemu.abi import tee_ioctl as t
from optemu.sdk.toolchain import SDK, Toolchain, client_triple, default_libc

SHIM = """
#include <errno.h>
int (*test_ioctl)(int fd, unsigned long cmd, void *arg);
int (*test_open)(const char *path, int flags);
static int result(int r) { if (r >= 0) return r; errno = -r; return -1; }
int shim_ioctl(int fd, unsigned long cmd, void *arg) { return result(test_ioctl(fd, cmd, arg)); }
int shim_open(const char *path, int flags) { return result(test_open(path, flags)); }
"""
NUM_PARAMS = 4


class Context(ct.Structure):
    _fields_ = [("fd", ct.c_int), ("reg_mem", ct.c_bool), ("memref_null", ct.c_bool)]


class Session(ct.Structure):
    _fields_ = [("ctx", ct.c_void_p), ("session_id", ct.c_uint32)]


class SharedMemory(ct.Structure):
    _fields_ = [
        ("buffer", ct.c_void_p),
        ("size", ct.c_size_t),
        ("flags", ct.c_uint32),
        ("_", ct.c_uint32),
        ("id", ct.c_int),
        ("fd", ct.c_int),
        ("mapping", ct.c_void_p),
        ("mapping_size", ct.c_size_t),
    ]


class TempRef(ct.Structure):
    _fields_ = [("buffer", ct.c_void_p), ("size", ct.c_size_t)]


class RegisteredRef(ct.Structure):
    _fields_ = [("parent", ct.c_void_p), ("size", ct.c_size_t), ("offset", ct.c_size_t)]


class Value(ct.Structure):
    _fields_ = [("a", ct.c_uint32), ("b", ct.c_uint32)]


class Parameter(ct.Union):
    _fields_ = [("tmpref", TempRef), ("memref", RegisteredRef), ("value", Value)]


class Operation(ct.Structure):
    _fields_ = [
        ("started", ct.c_uint32),
        ("param_types", ct.c_uint32),
        ("params", Parameter * NUM_PARAMS),
        ("session", ct.c_void_p),
        ("cancel_id", ct.c_uint32),
    ]


_IOCTL = ct.CFUNCTYPE(ct.c_int, ct.c_int, ct.c_ulong, ct.c_void_p)
_OPEN = ct.CFUNCTYPE(ct.c_int, ct.c_char_p, ct.c_int)


def build_library(out: Path) -> Path:
    """The library; compiled once per test run."""
    shim, wrapper, library = out / "shim.c", out / "wrapper.c", out / "libteec.so"
    shim.write_text(SHIM)
    # The headers declare open() and ioctl() before the names are taken over: their prototypes are variadic
    wrapper.write_text(
        "#include <fcntl.h>\n#include <sys/ioctl.h>\n#include <unistd.h>\n"
        "int shim_ioctl(int, unsigned long, void *);\nint shim_open(const char *, int);\n"
        "#define open shim_open\n#define ioctl shim_ioctl\n"
        f'#include "{SDK / "libteec" / "tee_client_api.c"}"\n'
    )
    flags = ["-target", client_triple(default_libc()), "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror"]
    args = [*flags, f"-I{SDK / 'include' / 'client'}", wrapper, shim, "-o", library]
    Toolchain(lambda _: None).run("cc", args)
    return library


def _map(fd: int, size: int) -> int:
    """As mmap.mmap, which would keep a descriptor of its own: tests count them."""
    mmap_ = ct.CDLL(None).mmap
    mmap_.restype = ct.c_void_p
    at: int = mmap_(None, ct.c_size_t(size), mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, ct.c_long(0))
    return at


class Driver:
    """/dev/tee0 as far as libteec can tell. ``serve`` gets each call's parameters and returns (ret, origin).

    A parameter is [attr, a, b, c]; ``memory`` finds the bytes of a memref.
    """

    def __init__(self, library: Path, reg_mem: bool, gen_caps: int = 0x9) -> None:
        self.lib: Any = ct.CDLL(str(library))
        self.gen_caps = gen_caps | (t.TEE_GEN_CAP_REG_MEM if reg_mem else 0)
        self.impl = (t.TEE_IMPL_ID_OPTEE, t.TEE_OPTEE_CAP_TZ)
        self.devices = {b"/dev/tee0"}
        self.calls: list[tuple[str, Any]] = []
        self.fail: dict[int, int] = {}
        self.serve: Callable[[list[list[int]]], tuple[int, int]] = lambda params: (0, 4)
        self.shm: dict[int, tuple[int, int]] = {}
        self._hooks = (_IOCTL(self._ioctl), _OPEN(self._open))
        ct.c_void_p.in_dll(self.lib, "test_ioctl").value = ct.cast(self._hooks[0], ct.c_void_p).value
        ct.c_void_p.in_dll(self.lib, "test_open").value = ct.cast(self._hooks[1], ct.c_void_p).value

    def _open(self, path: bytes, flags: int) -> int:
        self.calls.append(("open", (path, flags & 0o3)))
        return os.memfd_create("device") if path in self.devices else -2

    def _ioctl(self, fd: int, cmd: int, arg: int) -> int:
        if cmd in self.fail:
            return -self.fail[cmd]
        return getattr(self, "_" + t.IOCTL_NAMES[cmd & 0xFFFFFFFF].removeprefix("TEE_IOC_").lower())(arg)

    def _version(self, arg: int) -> int:
        ct.memmove(arg, t.VERSION_DATA.pack(*self.impl, self.gen_caps), t.VERSION_DATA.size)
        return 0

    def _shm_alloc(self, arg: int) -> int:
        size, flags, _ = t.SHM_ALLOC_DATA.unpack(ct.string_at(arg, t.SHM_ALLOC_DATA.size))
        fd, ident = os.memfd_create("shm"), len(self.shm)
        os.ftruncate(fd, size)
        self.shm[ident] = (_map(fd, size), size)
        ct.memmove(arg, t.SHM_ALLOC_DATA.pack(size, flags, ident), t.SHM_ALLOC_DATA.size)
        self.calls.append(("alloc", size))
        return fd

    def _shm_register(self, arg: int) -> int:
        addr, size, flags, _ = t.SHM_REGISTER_DATA.unpack(ct.string_at(arg, t.SHM_REGISTER_DATA.size))
        ident = len(self.shm)
        self.shm[ident] = (addr, size)
        ct.memmove(arg, t.SHM_REGISTER_DATA.pack(addr, size, flags, ident), t.SHM_REGISTER_DATA.size)
        self.calls.append(("register", size))
        return os.memfd_create("registered")

    def memory(self, param: list[int]) -> Any:
        """The bytes a memref names, writable."""
        _, offset, size, ident = param
        addr, whole = self.shm[ident]
        assert offset + size <= whole
        return memoryview((ct.c_char * size).from_address(addr + offset)).cast("B")

    def _call(self, arg: int, fixed: struct.Struct) -> tuple[tuple[Any, ...], list[list[int]], int]:
        ptr, size = t.BUF_DATA.unpack(ct.string_at(arg, t.BUF_DATA.size))
        raw = ct.string_at(ptr, size)
        assert size == fixed.size + NUM_PARAMS * t.PARAM.size
        return fixed.unpack_from(raw), [list(p) for p in t.PARAM.iter_unpack(raw[fixed.size :])], ptr

    def _answer(self, ptr: int, fixed: bytes, params: list[list[int]]) -> int:
        raw = fixed + b"".join(t.PARAM.pack(*p) for p in params)
        ct.memmove(ptr, raw, len(raw))
        return 0

    def _open_session(self, arg: int) -> int:
        (uuid, client, login, cancel, *_, count), params, ptr = self._call(arg, t.OPEN_SESSION_ARG)
        self.calls.append(("open_session", (uuid, client, login, count)))
        ret, origin = self.serve(params)
        fixed = t.OPEN_SESSION_ARG.pack(uuid, client, login, cancel, 0x55, ret, origin, count)
        return self._answer(ptr, fixed, params)

    def _invoke(self, arg: int) -> int:
        (func, session, cancel, *_, count), params, ptr = self._call(arg, t.INVOKE_ARG)
        self.calls.append(("invoke", (func, session, cancel)))
        ret, origin = self.serve(params)
        return self._answer(ptr, t.INVOKE_ARG.pack(func, session, cancel, ret, origin, count), params)

    def _cancel(self, arg: int) -> int:
        self.calls.append(("cancel", t.CANCEL_ARG.unpack(ct.string_at(arg, t.CANCEL_ARG.size))))
        return 0

    def _close_session(self, arg: int) -> int:
        self.calls.append(("close_session", t.CLOSE_SESSION_ARG.unpack(ct.string_at(arg, 4))[0]))
        return 0
