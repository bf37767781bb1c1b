"""What this machine can do for clients: nothing is installed or changed to find out."""

import errno
import os
import sys
from dataclasses import dataclass
from typing import Final

from optemu.normal_world.gate import kernel

_PTRACE_SCOPE: Final = "/proc/sys/kernel/yama/ptrace_scope"
_INSTEAD: Final = "programs that use glibc can run with the preload library instead"


@dataclass(frozen=True, slots=True)
class Support:
    """``reason`` is empty if clients can be run, else one sentence for the user."""

    reason: str = ""

    @property
    def ok(self) -> bool:
        return not self.reason


def check() -> Support:
    """Whether unmodified programs can be run behind the gate on this machine."""
    return Support(_platform() or _seccomp() or _ptrace())


def _platform() -> str:
    if sys.platform != "linux":
        return f"running programs needs Linux, this is {sys.platform}; use the Python client API"
    machine = os.uname().machine
    if machine not in kernel.ARCHS:
        return f"running programs needs an x86-64 or aarch64 machine, this is {machine}; use the Python client API"
    if not os.path.exists("/proc/self/mem"):
        return "running programs needs /proc, which is not mounted here"
    return ""


def _seccomp() -> str:
    """Unknown flags are refused before the missing program is: EINVAL against EFAULT."""
    try:
        kernel.seccomp(kernel.SECCOMP_SET_MODE_FILTER, kernel.LISTENER_FLAGS, None)
    except OSError as error:
        return _seccomp_reason(error.errno or 0)
    return ""


def _seccomp_reason(code: int) -> str:
    release = os.uname().release
    if code == errno.EINVAL:
        return f"running programs needs Linux 5.19 or later, this is {release}; {_INSTEAD}"
    if code != errno.EFAULT:
        return f"seccomp filters are not allowed here ({os.strerror(code)}), perhaps by a container; {_INSTEAD}"
    if kernel.seccomp_notif_sizes() != kernel.NOTIF_SIZES:
        return f"the seccomp notifications of this kernel ({release}) have a size this release does not know"
    return ""


def check_attached() -> Support:
    """The same for programs whose TEE is in a process that is no ancestor of theirs."""
    support = check()
    if support.ok and ptrace_scope() >= 1 and os.geteuid() != 0:
        return Support(f"a TEE in another process must not read their memory here: {_PTRACE_SCOPE} is {ptrace_scope()}")
    return support


def ptrace_scope() -> int:
    """What Yama restricts reading other processes' memory to; 0 without Yama."""
    try:
        with open(_PTRACE_SCOPE) as setting:
            return int(setting.read())
    except (OSError, ValueError):
        return 0


def _ptrace() -> str:
    scope = ptrace_scope()
    if scope >= 3 or (scope == 2 and os.geteuid() != 0):
        return f"reading a client's memory is forbidden here: {_PTRACE_SCOPE} is {scope}, and must be 0 or 1"
    return ""
