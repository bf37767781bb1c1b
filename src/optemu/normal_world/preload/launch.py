"""Starting a program with the preload library in it, standing aside for its signals, and collecting its status."""

import contextlib
import os
import select
import shutil
import signal
from collections.abc import Mapping, Sequence
from typing import Final

from optemu.normal_world.gate.launcher import Signals

SOCKET_VARIABLE: Final = "OPTEMU_SOCKET"
_PYTHON_IGNORES: Final = (signal.SIGPIPE, signal.SIGXFSZ)


def environment(env: Mapping[str, str], socket: str, library: str, emulated: bool) -> dict[str, str]:
    """``env`` for a program that is to load ``library``: by the guest's loader, not by qemu's, if ``emulated``."""
    result = dict(env)
    result[SOCKET_VARIABLE] = socket
    if not emulated:
        result["LD_PRELOAD"] = ":".join(filter(None, [library, env.get("LD_PRELOAD")]))
        return result
    theirs = [part for part in env.get("QEMU_SET_ENV", "").split(",") if part]
    known = [part.removeprefix("LD_PRELOAD=") for part in theirs if part.startswith("LD_PRELOAD=")]
    others = [part for part in theirs if not part.startswith("LD_PRELOAD=")]
    result["QEMU_SET_ENV"] = ",".join([*others, "LD_PRELOAD=" + ":".join([library, *known])])
    return result


class _Started:
    def __init__(self, argv: Sequence[str], env: Mapping[str, str], ignored: frozenset[int]) -> None:
        defaults = [number for number in _PYTHON_IGNORES if number not in ignored]
        program = shutil.which(argv[0], os.F_OK, env.get("PATH", os.defpath)) or argv[0]
        self._pid = os.posix_spawn(program, list(argv), env, setsigdef=defaults)
        self._pidfd = os.pidfd_open(self._pid)

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def wait(self) -> int:
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        poll.poll()
        os.close(self._pidfd)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def run(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Runs a program to its end; its exit status, or minus the signal that ended it. OSError if it cannot start."""
    signals = Signals()
    with signals.taken():
        started = _Started(argv, env, signals.ignored)
        signals.attach(started)
        return started.wait()
