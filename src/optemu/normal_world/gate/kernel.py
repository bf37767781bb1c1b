"""Kernel interfaces the standard library lacks: include/uapi/linux/seccomp.h, prctl.h, timerfd.h, inotify.h."""

import ctypes
import os
import struct
from typing import Final, NamedTuple

_libc = ctypes.CDLL(None, use_errno=True)

SECCOMP_SET_MODE_FILTER: Final = 1
SECCOMP_GET_NOTIF_SIZES: Final = 3
SECCOMP_FILTER_FLAG_NEW_LISTENER: Final = 1 << 3
SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: Final = 1 << 5
LISTENER_FLAGS: Final = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV

NOTIF_RECV: Final = 0xC0502100
NOTIF_SEND: Final = 0xC0182101
NOTIF_ID_VALID: Final = 0x40082102
NOTIF_ADDFD: Final = 0x40182103
NOTIF_SET_FLAGS: Final = 0x40082104
FD_SYNC_WAKE_UP: Final = 1
USER_NOTIF_FLAG_CONTINUE: Final = 1
ADDFD_FLAG_SEND: Final = 2

NOTIF_SIZES: Final = (80, 24, 64)
# struct seccomp_notif: id, pid, flags, nr, arch, instruction_pointer, args[6]
NOTIF: Final = struct.Struct("=QIIiIQ6Q")
# struct seccomp_notif_resp: id, val, error, flags
NOTIF_RESP: Final = struct.Struct("=QqiI")
# struct seccomp_notif_addfd: id, flags, srcfd, newfd, newfd_flags
NOTIF_ADDFD_ARG: Final = struct.Struct("=QIIII")
NOTIF_ID: Final = struct.Struct("=Q")
BLANK_NOTIF: Final = bytes(80)

PR_SET_NAME: Final = 15
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38

IN_CLOSE_WRITE: Final = 0x8
IN_Q_OVERFLOW: Final = 0x4000
# struct inotify_event: wd, mask, cookie, len
INOTIFY_EVENT: Final = struct.Struct("=iIII")


class Arch(NamedTuple):
    """An audit architecture and its numbers of the system calls that matter here."""

    audit: int
    open: int | None
    openat: int
    ioctl: int


_X86_64 = Arch(0xC000003E, 2, 257, 16)
_I386 = Arch(0x40000003, 5, 295, 54)
_AARCH64 = Arch(0xC00000B7, None, 56, 29)
_ARM = Arch(0x40000028, 5, 322, 54)
ARCHS: Final = {"x86_64": (_X86_64, _I386), "aarch64": (_AARCH64, _ARM)}
"""os.uname().machine to the architectures its programs may have: the native one and the compat one."""

IOCTL, OPEN, OPENAT = range(3)
CALLS: Final = {
    (arch.audit, number): kind
    for archs in ARCHS.values()
    for arch in archs
    for number, kind in ((arch.ioctl, IOCTL), (arch.openat, OPENAT), (arch.open, OPEN))
}
"""Architecture and number of every call that is notified."""

_NR_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}
_NR_PIDFD_GETFD: Final = 438


def _checked(result: int) -> int:
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))
    return result


def seccomp(operation: int, flags: int, argument: int | None) -> int:
    number = _NR_SECCOMP[os.uname().machine]
    return _checked(_libc.syscall(ctypes.c_long(number), operation, flags, ctypes.c_void_p(argument)))


def seccomp_notif_sizes() -> tuple[int, ...]:
    sizes = (ctypes.c_uint16 * 3)()
    seccomp(SECCOMP_GET_NOTIF_SIZES, 0, ctypes.addressof(sizes))
    return tuple(sizes)


def install_listener(program: bytes) -> int:
    """Puts the calling thread under the filter ``program``; the listener's descriptor. OSError(EBUSY) if nested."""
    code = ctypes.create_string_buffer(program, len(program))
    fprog = ctypes.create_string_buffer(struct.pack("=H6xQ", len(program) // 8, ctypes.addressof(code)), 16)
    return seccomp(SECCOMP_SET_MODE_FILTER, LISTENER_FLAGS, ctypes.addressof(fprog))


def prctl(option: int, argument: int | bytes) -> None:
    value = argument if isinstance(argument, bytes) else ctypes.c_ulong(argument)
    _checked(_libc.prctl(option, value, ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)))


def pidfd_getfd(pidfd: int, fd: int) -> int:
    return _checked(_libc.syscall(ctypes.c_long(_NR_PIDFD_GETFD), pidfd, fd, 0))


def inotify_init() -> int:
    return _checked(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))


def inotify_add_watch(inotify: int, path: str, mask: int) -> int:
    return _checked(_libc.inotify_add_watch(inotify, path.encode(), mask))


def inotify_rm_watch(inotify: int, watch: int) -> None:
    _checked(_libc.inotify_rm_watch(inotify, watch))


class Timer:
    """A periodic timerfd: arming it costs one cheap call and wakes nobody until it fires."""

    __slots__ = ("fd",)

    def __init__(self) -> None:
        clock_monotonic = 1
        self.fd = _checked(_libc.timerfd_create(clock_monotonic, os.O_CLOEXEC | os.O_NONBLOCK))

    def every(self, microseconds: int) -> None:
        """Fires every so often from now on; 0 disarms."""
        seconds, rest = divmod(microseconds, 1_000_000)
        spec = (ctypes.c_long * 4)(seconds, rest * 1000, seconds, rest * 1000)
        _checked(_libc.timerfd_settime(self.fd, 0, spec, None))

    def close(self) -> None:
        os.close(self.fd)


# Without use_errno and with the arguments converted once: a third cheaper in the hot path.
_plain = ctypes.CDLL(None)
process_vm_readv = _plain.process_vm_readv
process_vm_writev = _plain.process_vm_writev
process_vm_readv.restype = process_vm_writev.restype = ctypes.c_ssize_t
