"""The keeper: parent of the client, child of the server or of who attaches, and the only one left if the server dies.

It puts itself under the filter, so that everything below it is, and hands the listener to the server. While the
server lives it only waits for its children. When the server has gone it answers for it: reads and writes of other
files go on as usual, the TEE is an absent device. It ends when no process of the client's is left.

``no_new_privs`` is what lets an ordinary user install a filter; setuid programs below it run without their privilege.
"""

import contextlib
import errno
import fcntl
import gc
import os
import resource
import select
import signal
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from optemu.normal_world.gate import filter as seccomp_filter
from optemu.normal_world.gate import kernel
from optemu.normal_world.gate.memory import device_named, peek_path

STARTED, NESTED, NO_FILTER, NO_CLIENT, ENDED = range(5)
# what, then: the client's pid, an errno, or its wait status; and whether it left processes behind
REPORT: Final = struct.Struct("=Bi?")
KNOCK: Final = b"knock"
ATTACHED: Final = b"attached"
"""The server is another process than our parent, at the other end of the lifeline: watch that from now on."""
_KNOCK_IOCTL: Final = 0xA4FF
_BEYOND_KNOWN: Final = 16
_IGNORED_HERE: Final = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
_PYTHON_IGNORES: Final = (signal.SIGPIPE, signal.SIGXFSZ)


@dataclass(frozen=True, slots=True)
class Order:
    """The client to start, and what of the server's own state it must not inherit."""

    argv: list[str]
    env: Mapping[str, str]
    nofile: tuple[int, int]
    signal_mask: set[signal.Signals | int]
    ignored: frozenset[int]
    lifeline: int = -1
    """A connection to a server that is not our parent; anything that comes over it is a KNOCK."""


def keep(order: Order, control: socket.socket, calls: memoryview) -> NoReturn:
    """The keeper's life, in a child just forked. ``calls``: the server's latest calls, one for each worker."""
    code = 70
    try:
        gc.disable()  # nothing of the server's may be finalized here
        _close(control, order.lifeline, inheritable_too=False)
        Keeper(control, calls, order.lifeline).run(order)
        code = 0
    finally:
        os._exit(code)


def _close(*kept: socket.socket | int, inheritable_too: bool) -> None:
    """Everything but the standard streams and ``kept``. What is inheritable is meant for the client."""
    keep = {0, 1, 2, *(one if isinstance(one, int) else one.fileno() for one in kept)}
    for fd in {int(name) for name in os.listdir("/proc/self/fd")} - keep:
        with contextlib.suppress(OSError):
            if inheritable_too or not os.get_inheritable(fd):
                os.close(fd)


class Keeper:
    def __init__(self, control: socket.socket, calls: memoryview, lifeline: int) -> None:
        self._control = control
        self._calls = calls
        self._lifeline = lifeline
        self._attached = False
        self._listener = -1
        self._client = 0
        self._status: int | None = None
        self._poll = select.poll()
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in _IGNORED_HERE:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def run(self, order: Order) -> None:
        if self._take_filter() and self._start(order):
            self._leave_terminal()
            self._loop()

    def _report(self, what: int, value: int, fds: Sequence[int] = (), leftovers: bool = False) -> None:
        with contextlib.suppress(OSError):
            socket.send_fds(self._control, [REPORT.pack(what, value, leftovers)], fds)

    def _take_filter(self) -> bool:
        kernel.prctl(kernel.PR_SET_NAME, b"optemu-keeper\0")
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        try:
            kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
            self._listener = kernel.install_listener(seccomp_filter.program())
        except OSError as error:
            if error.errno == errno.EBUSY:  # we are a client ourselves: the outer server serves ours too
                return True
            self._report(NO_FILTER, error.errno or 0)
            return False
        return True

    def _start(self, order: Order) -> bool:
        resource.setrlimit(resource.RLIMIT_NOFILE, order.nofile)
        os.environ["PATH"] = order.env.get("PATH", os.defpath)
        defaults = [number for number in (*_IGNORED_HERE, *_PYTHON_IGNORES) if number not in order.ignored]
        try:
            self._client = os.posix_spawnp(
                order.argv[0], order.argv, order.env, setsigmask=order.signal_mask, setsigdef=defaults
            )
            pidfd = os.pidfd_open(self._client)
        except OSError as error:
            self._report(NO_CLIENT, error.errno or 0)
            return False
        if self._listener >= 0:
            self._report(STARTED, self._client, [pidfd, self._listener])
        else:
            self._report(NESTED, self._client, [pidfd])
        os.close(pidfd)
        return True

    def _leave_terminal(self) -> None:
        """Keep no pipe of the client's open, and no directory busy."""
        for fd, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
            null = os.open("/dev/null", mode)
            os.dup2(null, fd, inheritable=False)
            os.close(null)
        _close(self._control, self._lifeline, self._listener, self._woken, self._wake, inheritable_too=True)
        os.chdir("/")

    def _loop(self) -> None:
        self._poll.register(self._woken, select.POLLIN)
        self._poll.register(self._control, select.POLLIN)
        while self._reap():
            for fd, _ in self._poll.poll():
                if fd == self._woken:
                    os.read(self._woken, 512)
                elif fd == self._control.fileno():
                    self._hear()
                elif fd == self._lifeline:
                    self._hear_server()
                else:
                    self._answer_one()

    def _reap(self) -> bool:
        """Collects the dead, reports the client's end; whether any child is left."""
        left = True
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._client:
                    self._status = ended[1]
        except ChildProcessError:
            left = False
        if self._status is not None:
            self._report(ENDED, self._status, leftovers=left)
            self._client, self._status = 0, None
        return left

    def _hear(self) -> None:
        try:
            order = self._control.recv(16)
        except ConnectionError:
            order = b""
        if order == KNOCK:
            self._knock()
        elif order == ATTACHED:
            self._attached = True
            self._poll.register(self._lifeline, select.POLLIN)
        elif not order:
            self._poll.unregister(self._control)
            if not self._attached:
                self._server_gone()

    def _hear_server(self) -> None:
        try:
            order = os.read(self._lifeline, 64)
        except ConnectionError:
            order = b""
        if order:
            self._knock()
        else:
            self._poll.unregister(self._lifeline)
            self._server_gone()

    def _knock(self) -> None:
        """A notified call of our own wakes the server's receiving thread; made by a child that may safely hang."""
        if os.fork() == 0:
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._control, _KNOCK_IOCTL)
            os._exit(0)

    def _server_gone(self) -> None:
        """Ends the calls it was serving: their ids are in ``calls``, but for one taken just then, the next."""
        if self._listener < 0:
            return
        known = {call for call in self._calls if call}
        if known:
            known.update((max(known) + ahead) % (1 << 64) for ahead in range(1, _BEYOND_KNOWN))
        for call in known:
            self._send(kernel.NOTIF_RESP.pack(call, 0, -errno.ENODEV, 0))
        self._poll.register(self._listener, select.POLLIN)

    def _answer_one(self) -> None:
        try:
            raw = fcntl.ioctl(self._listener, kernel.NOTIF_RECV, kernel.BLANK_NOTIF)
        except OSError:
            return
        call, tid, _, number, arch, _, a, b, *_ = kernel.NOTIF.unpack(raw)
        kind = kernel.CALLS.get((arch, number))
        if kind == kernel.IOCTL:
            self._send(kernel.NOTIF_RESP.pack(call, 0, -errno.ENODEV, 0))
        elif device_named(peek_path(tid, b if kind == kernel.OPENAT else a)):
            self._send(kernel.NOTIF_RESP.pack(call, 0, -errno.ENOENT, 0))
        else:
            self._send(kernel.NOTIF_RESP.pack(call, 0, 0, kernel.USER_NOTIF_FLAG_CONTINUE))

    def _send(self, response: bytes) -> None:
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._listener, kernel.NOTIF_SEND, response)
