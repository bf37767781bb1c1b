"""A client's memory, read and written from outside it.

Reads up to 8 KiB go through a kept /proc/TID/mem (permission is checked when it is opened, and it sticks to that
address space); longer ones and all writes through process_vm_readv/writev, because /proc/TID/mem would write
through page protection.
"""

import ctypes
import errno
import mmap
import os
import struct
from typing import Final, NoReturn

from optemu.normal_world.gate.kernel import process_vm_readv, process_vm_writev

_WINDOW: Final = 2048
_SMALL: Final = 8192
_KEPT: Final = 1 << 20
_LARGEST: Final = 1 << 30
_TOP: Final = 1 << 63
_PATH: Final = 16
_DEVICES: Final = {b"/dev/tee0": "/dev/tee0", b"/dev/teepriv0": "/dev/teepriv0"}
_PAGE: Final = 4096
# two struct iovec, ours and the client's: base, length
_IOVECS: Final = struct.Struct("=4Q")
_ONE: Final = ctypes.c_ulong(1)
_TWO: Final = ctypes.c_ulong(2)
_NONE: Final = ctypes.c_ulong(0)


def fault() -> NoReturn:
    raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))


def peek_path(tid: int, addr: int) -> bytes:
    """At least as many bytes at ``addr`` as name a TEE device, or fewer where the memory ends; b"" if unreadable.

    Opens nothing: it is called for every read-write open of every client program.
    """
    first = min(_PATH, _PAGE - addr % _PAGE)
    buffer = ctypes.create_string_buffer(_PATH)
    iov = (ctypes.c_uint64 * 6)(ctypes.addressof(buffer), _PATH, addr, first, addr + first, _PATH - first)
    base = ctypes.addressof(iov)
    local, remote = ctypes.c_void_p(base), ctypes.c_void_p(base + 16)
    got = process_vm_readv(ctypes.c_int(tid), local, _ONE, remote, _TWO, _NONE)
    return buffer.raw[: max(got, 0)]


def device_named(path: bytes) -> str | None:
    """The TEE device whose path begins what peek_path saw."""
    name, end, _ = path.partition(b"\0")
    return _DEVICES.get(name) if end else None


class ClientMemory:
    """The address space of one client thread. Used by one serving thread at a time."""

    __slots__ = ("_area", "_area_addr", "_big", "_iov", "_mem", "_vm_args", "_window", "_window_base", "late", "tid")

    def __init__(self, tid: int) -> None:
        self.tid = tid
        self.late = False
        """The call is taking long: the thread may have died and its number may be another's by now."""
        self._mem = -1
        self._mem = os.open(f"/proc/{tid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        self._window = b""
        self._window_base = 0
        self._big: mmap.mmap | None = None
        self._area = bytearray(_WINDOW)
        self._area_addr = ctypes.addressof((ctypes.c_char * _WINDOW).from_buffer(self._area))
        self._iov = bytearray(_IOVECS.size)
        iov = ctypes.addressof((ctypes.c_char * _IOVECS.size).from_buffer(self._iov))
        self._vm_args = (
            ctypes.c_int(tid),
            ctypes.c_void_p(iov),
            _ONE,
            ctypes.c_void_p(iov + 16),
            _ONE,
            _NONE,
        )

    def close(self) -> None:
        if self._mem >= 0:
            os.close(self._mem)
            self._mem = -1

    def __del__(self) -> None:
        """Not before, because the driver may hold on to the task of a call longer than the gate does."""
        self.close()

    def forget_window(self) -> None:
        """What was read before no longer stands for what is there."""
        self._window = b""

    def confirm(self) -> None:
        """Raises OSError(EFAULT) if ``tid`` no longer is the thread that made the call."""

    def read(self, addr: int, size: int) -> bytes:
        """Small reads near each other are parts of one snapshot per call."""
        offset = addr - self._window_base
        if offset >= 0 and size >= 0 and offset + size <= len(self._window):
            return self._window[offset : offset + size]
        if not 0 <= addr < _TOP - _LARGEST or not 0 <= size <= _LARGEST:
            fault()
        if size > _SMALL:
            return self._read_big(addr, size)
        if size <= _WINDOW // 2 and addr >= _WINDOW // 2 and self._open_window(addr - _WINDOW // 2, addr + size):
            offset = addr - self._window_base
            return self._window[offset : offset + size]
        data = self._pread(size, addr) if size else b""
        if len(data) != size:
            fault()
        return data

    def _open_window(self, base: int, end: int) -> bool:
        """A snapshot from ``base`` on that reaches ``end``, if the memory there is mapped throughout."""
        try:
            window = self._pread(_WINDOW, base)
        except OSError:
            return False
        if base + len(window) < end:
            return False
        self._window, self._window_base = window, base
        return True

    def _pread(self, size: int, addr: int) -> bytes:
        try:
            return os.pread(self._mem, size, addr) or self._pread_again(size, addr)
        except OSError:
            fault()

    def _pread_again(self, size: int, addr: int) -> bytes:
        """No bytes and no error: the address space is gone, the thread has executed another program since."""
        mem = os.open(f"/proc/{self.tid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        os.close(self._mem)
        self._mem = mem
        return os.pread(mem, size, addr)

    def _read_big(self, addr: int, size: int) -> bytes:
        if self.late:
            self.confirm()
        big = self._big
        if big is None or len(big) < size:
            # a mapping: a wild size costs address space, no memory
            big = mmap.mmap(-1, 1 << (size - 1).bit_length())
        self._big = big if size <= _KEPT else None
        _IOVECS.pack_into(self._iov, 0, ctypes.addressof(ctypes.c_char.from_buffer(big)), size, addr, size)
        if process_vm_readv(*self._vm_args) != size:
            fault()
        return big[:size]

    def write(self, addr: int, data: bytes | bytearray | memoryview) -> None:
        size = len(data)
        self._window = b""
        if self.late:
            self.confirm()
        if size <= _WINDOW and 0 <= addr < _TOP:
            self._area[:size] = data
            _IOVECS.pack_into(self._iov, 0, self._area_addr, size, addr, size)
            if process_vm_writev(*self._vm_args) != size:
                fault()
        else:
            self._write_big(addr, memoryview(data).cast("B"))

    def _write_big(self, addr: int, data: memoryview) -> None:
        if not 0 <= addr < _TOP:
            fault()
        if data.readonly:
            source: ctypes.Array[ctypes.c_char] = ctypes.create_string_buffer(bytes(data), len(data))
        else:
            source = (ctypes.c_char * len(data)).from_buffer(data)
        _IOVECS.pack_into(self._iov, 0, ctypes.addressof(source), len(data), addr, len(data))
        if process_vm_writev(*self._vm_args) != len(data):
            fault()
