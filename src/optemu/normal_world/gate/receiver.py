"""The serving loop: receives the clients' notified system calls and answers them.

One thread at a time receives, and it serves what it received itself: handing a call to another thread would cost as
much as the call. When it does not come back soon, or is about to enter a call known to wait, another thread takes
over receiving; the one that comes back late stands by.
"""

import errno
import fcntl
import logging
import os
import select
import threading
from time import perf_counter
from typing import Final

from optemu.abi import tee_ioctl
from optemu.normal_world.gate import kernel
from optemu.normal_world.gate.client import Client, add_fd, call_is_alive
from optemu.normal_world.gate.descriptors import Descriptor, Descriptors
from optemu.normal_world.gate.interface import Device
from optemu.normal_world.gate.memory import peek_path
from optemu.normal_world.gate.watchdog import Watchdog

log = logging.getLogger("optemu.gate")

MAX_WORKERS: Final = 512
HAND_OVER_AFTER: Final = 0.0004
_SLOW_INVOKE: Final = 0.0002
_LONG_CALL: Final = 0.05
_SPARE_WORKERS: Final = 4
_MANY_CLIENTS: Final = 64
_DEVICES: Final = {b"/dev/tee0": "/dev/tee0", b"/dev/teepriv0": "/dev/teepriv0"}
_WAITING: Final = frozenset({tee_ioctl.TEE_IOC_SUPPL_RECV, tee_ioctl.TEE_IOC_OPEN_SESSION})
"""Ioctls that wait for another process as a rule: receiving is handed over before they are served."""

_IOCTL, _OPEN, _OPENAT = range(3)
_CALLS: Final = {
    (arch.audit, number): kind
    for archs in kernel.ARCHS.values()
    for arch in archs
    for number, kind in ((arch.ioctl, _IOCTL), (arch.openat, _OPENAT), (arch.open, _OPEN))
}
_FD_NAMES: Final = [str(fd) for fd in range(256)]


class Worker:
    """A serving thread. ``started`` is when its call came in, 0.0 between calls."""

    __slots__ = ("baton", "call", "client", "device", "index", "started", "thread", "told")

    def __init__(self, index: int) -> None:
        self.index = index
        self.baton = threading.Semaphore(0)
        self.thread: threading.Thread | None = None
        self.call = 0
        self.started = 0.0
        self.client: Client | None = None
        self.device: Descriptor | None = None
        self.told = False


class Receiver:
    """Serves the clients behind one ``listener``, which it owns.

    ``calls`` is memory shared with the keeper: each worker's latest call, for it to answer if we die.
    """

    def __init__(
        self, listener: int, device: Device, descriptors: Descriptors, watchdog: Watchdog, calls: memoryview
    ) -> None:
        self._listener = listener
        self._device = device
        self._descriptors = descriptors
        self._watchdog = watchdog
        self._calls = calls
        self._clients: dict[int, Client] = {}
        self._lock = threading.Lock()
        self._workers: dict[int, Worker] = {}
        self._parked: list[Worker] = []
        self._stopping = False
        self._last_tid = 0
        self._seen_call = 0
        self._warned = False
        self._polls = _must_poll(os.uname().release)
        self._holder = self._new_worker()
        self._holder.baton.release()

    # -- workers

    def _new_worker(self) -> Worker:
        index = next(index for index in range(MAX_WORKERS + 1) if index not in self._workers)
        worker = Worker(index)
        self._workers[index] = worker
        name = f"optemu-gate-{index}"
        worker.thread = threading.Thread(target=self._work, args=(worker,), name=name, daemon=True)
        try:
            worker.thread.start()
        except RuntimeError:
            del self._workers[index]
            raise
        return worker

    def _work(self, worker: Worker) -> None:
        while True:
            worker.baton.acquire()
            if not self._stopping:
                self._receive(worker)
            if not self._park(worker):
                return

    def _park(self, worker: Worker) -> bool:
        """Stand by, unless enough others do."""
        with self._lock:
            if self._stopping or len(self._parked) >= _SPARE_WORKERS:
                del self._workers[worker.index]
                return False
            self._parked.append(worker)
            return True

    def _hand_over(self, worker: Worker) -> None:
        """Another thread receives from now on, if ``worker`` still is the one that should."""
        with self._lock:
            if self._holder is not worker or self._stopping or len(self._workers) >= MAX_WORKERS:
                return
            if worker.client is not None:
                worker.client.late = True
                worker.client.forget_window()
            try:
                self._holder = self._parked.pop() if self._parked else self._new_worker()
            except RuntimeError as error:
                log.warning("no further serving thread (%s); other calls wait for this one", error)
                return
            self._holder.baton.release()

    # -- for the watchdog and the janitor

    def hand_over_if_late(self, now: float) -> bool:
        """Whether any call came in since it was asked last, or is being served by the receiving thread."""
        worker = self._holder
        started = worker.started
        if started and now - started > HAND_OVER_AFTER:
            self._hand_over(worker)
        active = worker.call != self._seen_call or bool(started)
        self._seen_call = worker.call
        return active

    def is_serving(self) -> bool:
        return bool(self._holder.started)

    def has_calls(self) -> bool:
        return any(worker.started for worker in list(self._workers.values()))

    def is_inside(self, device: Descriptor) -> bool:
        return any(worker.device is device for worker in list(self._workers.values()))

    def interrupt_dead_calls(self) -> None:
        now = perf_counter()
        for worker in list(self._workers.values()):
            if worker.started and now - worker.started > _LONG_CALL:
                self._interrupt_if_dead(worker)

    def interrupt_device(self, device: Descriptor) -> None:
        """Every reference to ``device`` is gone: at once, for its calls whose client is gone too."""
        for worker in list(self._workers.values()):
            if worker.device is device:
                self._interrupt_if_dead(worker)

    def _interrupt_if_dead(self, worker: Worker) -> None:
        call, client, device = worker.call, worker.client, worker.device
        if worker.told or client is None or device is None or client.call != call:
            return
        if not call_is_alive(self._listener, call):
            worker.told = True
            device.file.interrupted(client)

    def forget_gone_clients(self) -> None:
        for tid, client in list(self._clients.items()):
            if not client.call and client.is_gone():
                with self._lock:
                    if not client.call and self._clients.get(tid) is client:
                        del self._clients[tid]

    # -- the end

    def begin_stop(self) -> None:
        """Serve nothing more. The receiving thread notices with the next notification (the keeper knocks)."""
        with self._lock:
            self._stopping = True
            for worker in self._parked:
                worker.baton.release()
            self._parked.clear()

    def end_stop(self, timeout: float) -> bool:
        """Gives up the calls still inside and waits for the threads; whether all ended in ``timeout`` seconds."""
        for worker in list(self._workers.values()):
            client, device = worker.client, worker.device
            if client is not None and device is not None and not worker.told:
                worker.told = True
                device.file.interrupted(client)
        deadline = perf_counter() + timeout
        for worker in list(self._workers.values()):
            if worker.thread is not None:
                worker.thread.join(max(0.0, deadline - perf_counter()))
        if self._workers:
            return False
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        os.close(self._listener)
        return True

    # -- receiving

    def _receive(self, me: Worker) -> None:
        """Until another thread has taken over, or no client is left."""
        listener, calls, watchdog, polls = self._listener, self._calls, self._watchdog, self._polls
        ioctl, unpack = fcntl.ioctl, kernel.NOTIF.unpack
        while self._holder is me:
            if polls and not self._clients_left(None):
                return
            try:
                raw = ioctl(listener, kernel.NOTIF_RECV, kernel.BLANK_NOTIF)
            except OSError as error:
                if not self._goes_on(error):
                    return
                continue
            call, tid, _, number, arch, _, a, b, c, _, _, _ = unpack(raw)
            calls[me.index] = me.call = call
            me.started = perf_counter()
            if not watchdog.fast:
                watchdog.arm()
            kind = _CALLS.get((arch, number))
            if self._stopping:
                self._refuse(call, kind)
            elif kind == _IOCTL:
                self._ioctl(me, tid, a & 0xFFFFFFFF, b & 0xFFFFFFFF, c)
            elif kind == _OPENAT:
                self._open(call, tid, b, c)
            else:
                self._open(call, tid, a, b)
            me.started = 0.0
            if self._stopping:
                return

    def _clients_left(self, timeout: int | None) -> bool:
        """Whether any process is under the filter still; with no timeout, waits for a call or the end."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        if any(events & select.POLLHUP for _, events in poll.poll(timeout)):
            self.begin_stop()
            return False
        return True

    def _goes_on(self, error: OSError) -> bool:
        """EINTR and ENOENT (the client died before we took its call) are normal; the end hangs up."""
        if error.errno == errno.EINTR:
            return True
        if error.errno != errno.ENOENT:
            log.error("cannot receive the clients' calls any more (%s); they will not be served", error)
            return False
        return self._clients_left(0)

    def _answer(self, call: int, result: int) -> None:
        value, error = (result, 0) if result >= 0 else (0, result)
        self._send(kernel.NOTIF_RESP.pack(call, value, error, 0))

    def _pass(self, call: int) -> None:
        """Let the kernel do the call: it is not ours."""
        self._send(kernel.NOTIF_RESP.pack(call, 0, 0, kernel.USER_NOTIF_FLAG_CONTINUE))

    def _refuse(self, call: int, kind: int | None) -> None:
        """What the keeper answers once we have gone: no such device any more."""
        if kind == _IOCTL:
            self._answer(call, -errno.ENODEV)
        else:
            self._pass(call)

    def _send(self, response: bytes) -> None:
        while True:
            try:
                fcntl.ioctl(self._listener, kernel.NOTIF_SEND, response)
                return
            except InterruptedError:
                continue
            except OSError as error:
                if error.errno != errno.ENOENT:
                    log.error("an answer to a client was refused: %s", error)
                return

    # -- open

    def _open(self, call: int, tid: int, path_addr: int, flags: int) -> None:
        name, end, _ = peek_path(tid, path_addr).partition(b"\0")
        path = _DEVICES.get(name) if end else None
        if not name and not self._warned:
            self._meet(tid, call)  # for its warning
        client = self._meet(tid, call) if path is not None else None
        if path is None or client is None:
            self._pass(call)
            return
        client.call = call
        client.answered = client.late = False
        try:
            self._open_device(client, path, bool(flags & os.O_CLOEXEC))
        except OSError as error:
            self._answer(call, -(error.errno or errno.EIO))
        except Exception:
            log.exception("opening %s failed; the client gets EIO", path)
            self._answer(call, -errno.EIO)
        finally:
            client.call = 0

    def _open_device(self, client: Client, path: str, cloexec: bool) -> None:
        theirs = self._descriptors.add_device(self._device.open(path, client))
        with theirs:
            add_fd(self._listener, client.call, theirs.fileno(), cloexec)

    def _meet(self, tid: int, call: int) -> Client | None:
        """The client for ``tid``: the one known, if it still is that thread and in no other call, or a new one."""
        known = self._clients.get(tid)
        if known is not None and not known.call and not known.is_gone():
            return known
        if len(self._clients) >= _MANY_CLIENTS and len(self._clients) % 16 == 0:
            self.forget_gone_clients()
        try:
            client = Client(tid, self._listener, self._descriptors)
        except OSError as error:
            self._warn_unreadable(tid, error)
            return None
        if not call_is_alive(self._listener, call):
            return None
        self._clients[tid] = client
        return client

    def _warn_unreadable(self, tid: int, error: OSError) -> None:
        if not self._warned and error.errno in (errno.EACCES, errno.EPERM):
            self._warned = True
            log.warning(
                "client thread %d must not be looked into (%s), so it finds no /dev/tee0: its program file may be "
                "unreadable, or it has made itself undumpable; run it readable or as the same user",
                tid,
                error,
            )

    # -- ioctl

    def _ioctl(self, me: Worker, tid: int, fd: int, cmd: int, arg: int) -> None:
        call = me.call
        client = self._clients.get(tid)
        if client is None or client.call:
            client = self._meet(tid, call)
        device = self._find(client, fd) if client is not None else None
        if device is None:
            client = self._remeet(client, tid, call)
            device = self._find(client, fd) if client is not None else None
        if client is None or device is None:
            self._pass(call)
            return
        client.call = call
        client.answered = client.late = False
        client.forget_window()
        me.told = False
        me.client = client
        me.device = device
        if cmd in _WAITING or (device.slow and tid != self._last_tid):
            self._hand_over(me)
        self._last_tid = tid
        result = self._serve(device, cmd, arg, client)
        if cmd == tee_ioctl.TEE_IOC_INVOKE:
            device.slow = perf_counter() - me.started > _SLOW_INVOKE
        me.client = None
        client.call = 0
        if not client.answered:
            self._answer(call, result)
        me.device = None
        if device.gone:
            self._descriptors.call_ended(device)

    def _find(self, client: Client, fd: int) -> Descriptor | None:
        """What ``fd`` is in the client right now. Asking costs 1.3 us; a cache cannot see a dup2."""
        try:
            name = _FD_NAMES[fd] if fd < 256 else str(fd)
            return self._descriptors.devices.get(os.readlink(name, dir_fd=client.fds))
        except OSError:
            return None

    def _remeet(self, client: Client | None, tid: int, call: int) -> Client | None:
        """A descriptor not ours, unless ``tid`` has become another thread since we met it."""
        if client is None or client.call or not client.is_gone():
            return None
        return self._meet(tid, call)

    def _serve(self, device: Descriptor, cmd: int, arg: int, client: Client) -> int:
        if device.gone:
            return -errno.EBADF
        try:
            return device.file.ioctl(cmd, arg, client)
        except OSError as error:
            return -(error.errno or errno.EIO)
        except Exception:
            log.exception(
                "%s of process thread %d failed inside optemu; the client gets EIO",
                tee_ioctl.IOCTL_NAMES.get(cmd, hex(cmd)),
                client.tid,
            )
            return -errno.EIO


def _must_poll(release: str) -> bool:
    """Before Linux 6.11 a thread blocked in receiving never learns that the last client is gone."""
    major, minor = (int(part.split("-")[0]) for part in release.split(".")[:2])
    return (major, minor) < (6, 11)
