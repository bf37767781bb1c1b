"""Starting a client below a keeper, standing aside for its signals, and collecting its status."""

import contextlib
import errno
import logging
import mmap
import os
import resource
import select
import signal
import socket
import struct
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NoReturn, Protocol

from optemu.normal_world.gate import keeper, support

log = logging.getLogger("optemu.gate")

_SIGNALS: Final = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
_FORWARDED: Final = (signal.SIGTERM, signal.SIGHUP)
_MOST_FILES: Final = 65536
_NEEDED_FILES: Final = 32
"""The gate, a machine and the device of one client, with some to spare."""

_first_nofile: tuple[int, int] | None = None


class GateError(Exception):
    """This machine cannot run a client behind the gate; the message says why and what to do."""


def _client_nofile() -> tuple[int, int]:
    """The limit the client is to have: what ours was before we raised it."""
    global _first_nofile
    if _first_nofile is None:
        _first_nofile = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _first_nofile


def raise_nofile() -> None:
    """Every device, shared memory and thread of the clients costs us a descriptor or two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def check_room() -> None:
    """A client must not run with nobody there to serve it: OSError(EMFILE) if we could not open enough files."""
    with contextlib.ExitStack() as opened:
        try:
            for _ in range(_NEEDED_FILES):
                opened.callback(os.close, os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            what = f"{error.strerror}: its TEE needs {_NEEDED_FILES} more than are open, and ulimit -n is {soft}"
            raise OSError(error.errno, what) from None


class Launch:
    """A client that runs. ``listener`` is None inside another gate, which then serves it."""

    def __init__(self, keeper_pid: int, control: socket.socket, client: int, pidfd: int, listener: int | None) -> None:
        self.keeper = keeper_pid
        self.client = client
        self.listener = listener
        self.leftovers = False
        """After wait: processes of the client's have outlived it."""
        self._control = control
        self._pidfd = pidfd

    def wait(self) -> int:
        """The client's exit status; minus the number of the signal it died from."""
        try:
            what, status, self.leftovers = keeper.REPORT.unpack(self._control.recv(keeper.REPORT.size))
        except (ConnectionError, struct.error):
            return self._wait_without_keeper()
        assert what == keeper.ENDED
        if not self.leftovers:
            self.reap_keeper(0)
        return os.waitstatus_to_exitcode(status)

    def _wait_without_keeper(self) -> int:
        log.error("the client's parent process (pid %d) was killed, so its exit status is lost", self.keeper)
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        poll.poll()
        self.reap_keeper(os.WNOHANG)
        return 1

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def knock(self) -> None:
        """Has the keeper make a notified call, to wake the receiving thread."""
        self._tell(keeper.KNOCK)

    def attached(self) -> None:
        """Another process serves the client, at the other end of the lifeline."""
        self._tell(keeper.ATTACHED)

    def _tell(self, order: bytes) -> None:
        with contextlib.suppress(OSError):
            self._control.send(order)

    def reap_keeper(self, options: int) -> bool:
        """Whether it has ended."""
        try:
            return os.waitpid(self.keeper, options)[0] != 0
        except ChildProcessError:
            return True

    def close(self) -> None:
        """From now on the keeper answers the calls of processes left over."""
        self._control.close()
        os.close(self._pidfd)
        self.reap_keeper(os.WNOHANG)


class Signalled(Protocol):
    def send_signal(self, number: int) -> None: ...


class Signals:
    """While a client runs, the terminal's signals are its own, and those sent to us to end us are passed on."""

    def __init__(self) -> None:
        self.ignored = frozenset(number for number in _SIGNALS if signal.getsignal(number) == signal.SIG_IGN)
        self._launch: Signalled | None = None
        self._early: list[int] = []

    def _forward(self, number: int, _frame: object) -> None:
        if self._launch is None:
            self._early.append(number)
        else:
            self._launch.send_signal(number)

    def attach(self, launch: Signalled) -> None:
        self._launch = launch
        for number in self._early:
            launch.send_signal(number)

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Handlers can be set from the main thread only; elsewhere they stay the caller's."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {}
        for number in _SIGNALS:
            if number not in self.ignored:
                handler = self._forward if number in _FORWARDED else lambda *_: None
                before[number] = signal.signal(number, handler)
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, signal.SIG_DFL if old is None else old)


def launch(
    argv: Sequence[str], env: Mapping[str, str], calls: mmap.mmap, signals: Signals, lifeline: int = -1
) -> Launch:
    """Starts ``argv`` under the filter. GateError; OSError when the program cannot be executed."""
    nofile = _client_nofile()
    raise_nofile()
    check_room()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    order = keeper.Order(list(argv), dict(env), nofile, mask, signals.ignored, lifeline)
    try:
        pid = os.fork()
        if pid == 0:
            keeper.keep(order, theirs, memoryview(calls).cast("Q"))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    theirs.close()
    return _first_report(pid, ours, argv)


def _first_report(pid: int, control: socket.socket, argv: Sequence[str]) -> Launch:
    message, fds, _, _ = socket.recv_fds(control, keeper.REPORT.size, 2)
    for fd in fds:
        os.set_inheritable(fd, False)
    what, value, _ = keeper.REPORT.unpack(message) if message else (keeper.NO_FILTER, errno.ESRCH, False)
    if what == keeper.STARTED:
        return Launch(pid, control, value, fds[0], fds[1])
    if what == keeper.NESTED:
        return Launch(pid, control, value, fds[0], None)
    control.close()
    os.waitpid(pid, 0)
    if what == keeper.NO_CLIENT:
        raise OSError(value, os.strerror(value), argv[0])
    reason = os.strerror(value)
    raise GateError(support.check().reason or f"cannot install the client's system call filter: {reason}")


def exit_as(status: int) -> NoReturn:
    """Ends this process as the client ended: with its status, or by the same signal (and no core of ours)."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if status < 0:
        with contextlib.suppress(OSError):
            signal.signal(-status, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [-status])
        os.kill(os.getpid(), -status)
    os._exit(status if status >= 0 else 128 - status)
