"""A TEE device as a user-space program sees it: ioctl numbers and argument bytes, whoever answers.

``KernelDevice`` is a real ``/dev/teeN`` (or ``optemu run``'s), ``EmulatedDevice`` the driver in this process.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import threading
import time
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Final, Protocol

from optemu.normal_world.driver.interface import Device, File, SharedFd

if TYPE_CHECKING:
    from typing_extensions import Buffer

_CLOSE_GRACE: Final = 0.5
_INTERRUPT_AGAIN: Final = 0.01
_ANCHOR: Final = ctypes.c_char * 0


class Pin:
    """A writable, contiguous buffer held at ``address`` until ``unpin``; ``view`` is its bytes."""

    __slots__ = ("_anchor", "address", "view")

    def __init__(self, buffer: "Buffer") -> None:
        self.view = memoryview(buffer).cast("B")
        # An exported buffer can be neither resized nor freed, and says where it lies.
        self._anchor: ctypes.Array[ctypes.c_char] | None = _ANCHOR.from_buffer(self.view)
        self.address = ctypes.addressof(self._anchor)

    def release(self) -> None:
        self._anchor = None


class DeviceFile(Protocol):
    """An open TEE device. ``pin`` announces memory that ioctl arguments will point to or lie in."""

    def ioctl(self, cmd: int, arg: int) -> int:
        """``ioctl(2)`` with the address of the argument; what it returned (>= 0), else OSError."""
        ...

    def mmap(self, fd: int, size: int) -> mmap.mmap: ...

    def close_fd(self, fd: int) -> None:
        """Close a shared-memory descriptor that an ioctl returned."""
        ...

    def pin(self, buffer: "Buffer") -> Pin: ...

    def unpin(self, pin: Pin) -> None: ...

    def close(self) -> None: ...


class KernelDevice:
    """``/dev/teeN`` of the kernel, or of ``optemu run`` inside a process started by it."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def ioctl(self, cmd: int, arg: int) -> int:
        if self._fd < 0:
            raise OSError(errno.EBADF, "the device is closed")
        # fcntl.ioctl takes no pointer: give it the argument itself, whose size the command number says.
        block = (ctypes.c_char * (cmd >> 16 & 0x3FFF)).from_address(arg)
        ret: int = fcntl.ioctl(self._fd, cmd, block, True)
        return ret

    def mmap(self, fd: int, size: int) -> mmap.mmap:
        return mmap.mmap(fd, size)

    def close_fd(self, fd: int) -> None:
        os.close(fd)

    def pin(self, buffer: "Buffer") -> Pin:
        return Pin(buffer)

    def unpin(self, pin: Pin) -> None:
        pin.release()

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class PinnedMemory:
    """The memory of this process that the emulated driver can touch: what was pinned, nothing else."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Replaced as one object, so that a reader needs no lock: (start addresses, views).
        # The first begins before all others, so that each address is behind some start, and has no bytes.
        self._ranges: tuple[tuple[int, ...], tuple[memoryview, ...]] = ((0,), (memoryview(bytearray()),))

    def read(self, addr: int, size: int) -> bytes:
        """``size`` bytes at ``addr``; OSError(EFAULT) when they are not all pinned."""
        starts, views = self._ranges
        index = bisect_right(starts, addr) - 1
        begin = addr - starts[index]
        data = views[index][begin : begin + size].tobytes()
        return data if len(data) == size else self._overlapped(addr, size).tobytes()

    def write(self, addr: int, data: bytes | bytearray | memoryview) -> None:
        """Store ``data`` (bytes, or a view of bytes) at ``addr``; OSError(EFAULT) when the place is not all pinned."""
        starts, views = self._ranges
        index = bisect_right(starts, addr) - 1
        begin = addr - starts[index]
        try:
            views[index][begin : begin + len(data)] = data
        except ValueError:
            self._overlapped(addr, len(data))[:] = data

    def _overlapped(self, addr: int, size: int) -> memoryview:
        """Pinned ranges may overlap: one that begins before the last can still cover the access."""
        starts, views = self._ranges
        for start, view in zip(starts, views, strict=True):
            begin = addr - start
            if begin >= 0 <= size and begin + size <= view.nbytes:
                return view[begin : begin + size]
        raise OSError(errno.EFAULT, f"{size} bytes at 0x{addr:x} are not pinned for the driver")

    def add(self, pin: Pin) -> None:
        with self._lock:
            starts, views = self._ranges
            at = bisect_right(starts, pin.address)
            self._ranges = (*starts[:at], pin.address, *starts[at:]), (*views[:at], pin.view, *views[at:])

    def remove(self, pin: Pin) -> None:
        with self._lock:
            starts, views = self._ranges
            for at in range(bisect_left(starts, pin.address), bisect_right(starts, pin.address)):
                if views[at] is pin.view:
                    self._ranges = starts[:at] + starts[at + 1 :], views[:at] + views[at + 1 :]
                    break


class LocalTask:
    """A call under way from this process, as the emulated driver sees its caller."""

    __slots__ = ("_shms", "egid", "euid", "gid", "groups", "pid", "read", "uid", "write")

    def __init__(self, memory: PinnedMemory, shms: dict[int, SharedFd]) -> None:
        self.pid = os.getpid()
        self.uid, self.euid = os.getuid(), os.geteuid()
        self.gid, self.egid = os.getgid(), os.getegid()
        self.groups = tuple(os.getgroups())
        self.read = memory.read
        self.write = memory.write
        self._shms = shms

    def install_shm(self, shm: SharedFd) -> int:
        """A descriptor of this process for ``shm``; OSError (EMFILE ...)."""
        fd = os.dup(shm.fd) if shm.fd >= 0 else os.eventfd(0)
        self._shms[fd] = shm
        return fd

    def fetch_fd(self, fd: int) -> int:
        """A duplicate of this process's descriptor, the driver's to close; OSError(EBADF)."""
        return os.dup(fd)


class EmulatedDevice:
    """A device of the emulated driver, called in process.

    Closing it interrupts the calls under way in other threads and ends the shared memory still held.
    """

    def __init__(self, driver: Device, path: str) -> None:
        self._memory = PinnedMemory()
        self._shms: dict[int, SharedFd] = {}
        self._idle: list[LocalTask] = []
        self._busy: set[LocalTask] = set()
        self._left = threading.Condition()
        self._file: File | None = driver.open(path, LocalTask(self._memory, self._shms))
        self._unclosed: File | None = self._file

    def ioctl(self, cmd: int, arg: int) -> int:
        try:
            task = self._idle.pop()
        except IndexError:
            task = LocalTask(self._memory, self._shms)
        self._busy.add(task)
        try:
            # Looked at when we are known to be inside: close() misses none of us.
            file = self._file
            if file is None:
                raise OSError(errno.EBADF, "the device is closed")
            ret = file.ioctl(cmd, arg, task)
        finally:
            self._busy.discard(task)
            self._idle.append(task)
            if self._file is None:
                self._end()
        if ret < 0:
            raise OSError(-ret, os.strerror(-ret))
        return ret

    def mmap(self, fd: int, size: int) -> mmap.mmap:
        return mmap.mmap(fd, size)

    def close_fd(self, fd: int) -> None:
        shm = self._shms.pop(fd, None)
        if shm is None:
            raise OSError(errno.EBADF, f"descriptor {fd} is no shared memory of this device")
        os.close(fd)
        shm.released()

    def pin(self, buffer: "Buffer") -> Pin:
        pin = Pin(buffer)
        self._memory.add(pin)
        return pin

    def unpin(self, pin: Pin) -> None:
        self._memory.remove(pin)
        pin.release()

    def close(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        self._end()
        deadline = time.monotonic() + _CLOSE_GRACE
        while self._unclosed is not None and time.monotonic() < deadline:
            # Again and again, for a call may have been on its way in when it was interrupted.
            for task in tuple(self._busy):
                file.interrupted(task)
            with self._left:
                self._left.wait_for(lambda: self._unclosed is None, _INTERRUPT_AGAIN)
        self._end(force=True)

    def _end(self, force: bool = False) -> None:
        """Close the file when the last call has left it, whoever that is, or has been waited for long enough."""
        with self._left:
            if self._unclosed is None or (self._busy and not force):
                return
            file, self._unclosed = self._unclosed, None
            file.close()
            for fd in list(self._shms):
                self.close_fd(fd)
            self._left.notify_all()
