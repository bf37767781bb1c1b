"""The serving loop: receives the clients' notified system calls and answers them."""

import errno
import fcntl
import logging
import os
import select
from collections.abc import Callable
from time import perf_counter, thread_time
from typing import Final

from optemu.abi import tee_ioctl
from optemu.errors import explain
from optemu.normal_world.driver.interface import Device
from optemu.normal_world.gate import kernel
from optemu.normal_world.gate.client import Client, add_fd, call_is_alive
from optemu.normal_world.gate.descriptors import Descriptor, Descriptors
from optemu.normal_world.gate.memory import device_named, peek_path
from optemu.normal_world.gate.watchdog import Watchdog
from optemu.normal_world.gate.workers import Worker, Workers

log = logging.getLogger("optemu.gate")

_SLOW: Final = 0.0001
_LONG: Final = 0.001
_LONG_CALL: Final = 0.05
_MANY_CLIENTS: Final = 64
_WAITING: Final = frozenset({tee_ioctl.TEE_IOC_SUPPL_RECV, tee_ioctl.TEE_IOC_OPEN_SESSION})
"""Ioctls that wait for another process as a rule: receiving is handed over before they are served."""

_FD_NAMES: Final = [str(fd) for fd in range(256)]


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
        self._last_tid = 0
        self._warned = False
        self._polls = _must_poll(os.uname().release)
        self._workers = Workers(listener, self._receive, may_crowd=not self._polls)
        self._workers.start()

    # -- for the watchdog and the janitor

    def check(self, now: float) -> bool:
        """Hands over what takes long; whether any call came in since the last check."""
        return self._workers.check(now)

    def is_serving(self) -> bool:
        return self._workers.is_serving()

    def has_calls(self) -> bool:
        return any(worker.started for worker in self._workers.all())

    def is_inside(self, device: Descriptor) -> bool:
        return any(worker.device is device for worker in self._workers.all())

    def interrupt_dead_calls(self) -> None:
        now = perf_counter()
        for worker in self._workers.all():
            if worker.started and now - worker.started > _LONG_CALL:
                self._interrupt_if_dead(worker)

    def interrupt_device(self, device: Descriptor) -> None:
        """Every reference to ``device`` is gone: at once, for its calls whose client is gone too."""
        for worker in self._workers.all():
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
                self._clients.pop(tid, None)

    # -- the end

    def begin_stop(self, knock: Callable[[], None]) -> None:
        """Serve nothing more. A receiving thread notices with the next notification: ``knock`` makes one."""
        self._workers.begin_stop()
        for worker in self._workers.all():
            if not worker.started:
                knock()

    def end_stop(self, timeout: float) -> bool:
        """Gives up the calls still inside and waits for the threads; whether all ended in ``timeout`` seconds."""
        for worker in self._workers.all():
            client, device = worker.client, worker.device
            if client is not None and device is not None and not worker.told:
                worker.told = True
                device.file.interrupted(client)
        deadline = perf_counter() + timeout
        for worker in self._workers.all():
            if worker.thread is not None:
                worker.thread.join(max(0.0, deadline - perf_counter()))
        if self._workers.all():
            return False
        for client in list(self._clients.values()):  # the janitor forgets some meanwhile
            client.close()
        self._clients.clear()
        self._calls.release()
        os.close(self._listener)
        return True

    # -- receiving

    def _receive(self, me: Worker) -> None:
        """Until another thread has taken over, or no client is left."""
        listener, calls, watchdog, polls = self._listener, self._calls, self._watchdog, self._polls
        ioctl, unpack, workers = fcntl.ioctl, kernel.NOTIF.unpack, self._workers
        while me.slot is not None:
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
            kind = kernel.CALLS.get((arch, number))
            if workers.stopping:
                self._refuse(call, kind, tid, b if kind == kernel.OPENAT else a)
            elif kind == kernel.IOCTL:
                self._ioctl(me, tid, a & 0xFFFFFFFF, b & 0xFFFFFFFF, c)
            elif kind == kernel.OPENAT:
                self._open(call, tid, b, c)
            else:
                self._open(call, tid, a, b)
            me.started = 0.0
            if workers.stopping:
                return

    def _clients_left(self, timeout: int | None) -> bool:
        """Whether any process is under the filter still; with no timeout, waits for a call or the end."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        if any(events & select.POLLHUP for _, events in poll.poll(timeout)):
            self._workers.begin_stop()
            return False
        return True

    def _goes_on(self, error: OSError) -> bool:
        """EINTR and ENOENT (the client died before we took its call) are normal; the end hangs up."""
        if error.errno == errno.EINTR:
            return True
        if error.errno != errno.ENOENT:
            log.error("cannot receive the clients' calls any more (%s); they will not be served", explain(error))
            return False
        return self._clients_left(0)

    def _answer(self, call: int, result: int) -> None:
        value, error = (result, 0) if result >= 0 else (0, result)
        self._send(kernel.NOTIF_RESP.pack(call, value, error, 0))

    def _pass(self, call: int) -> None:
        """Let the kernel do the call: it is not ours."""
        self._send(kernel.NOTIF_RESP.pack(call, 0, 0, kernel.USER_NOTIF_FLAG_CONTINUE))

    def _refuse(self, call: int, kind: int | None, tid: int, path_addr: int) -> None:
        """What the keeper answers once we have gone: no such device any more."""
        if kind == kernel.IOCTL:
            self._answer(call, -errno.ENODEV)
        elif device_named(peek_path(tid, path_addr)):
            self._answer(call, -errno.ENOENT)
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
                if error.errno not in (errno.ENOENT, errno.EINPROGRESS):  # its caller died; the keeper was faster
                    log.error("an answer to a client was refused: %s", explain(error))
                return

    # -- open

    def _open(self, call: int, tid: int, path_addr: int, flags: int) -> None:
        seen = peek_path(tid, path_addr)
        path = device_named(seen)
        if path is None:
            if not seen and not self._warned:
                self._meet(tid, call)  # for its warning
            self._pass(call)
            return
        client = self._meet(tid, call)
        if client is None:
            self._answer(call, -errno.ENOENT)
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
                explain(error),
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
        if cmd == tee_ioctl.TEE_IOC_INVOKE:
            result = self._invoke(me, device, cmd, arg, client)
        else:
            if cmd in _WAITING:
                self._workers.hand_over(me, waits=True)
            result = self._serve(device, cmd, arg, client)
        me.client = None
        client.call = 0
        if not client.answered:
            self._answer(call, result)
        me.device = None
        if device.gone:
            self._descriptors.call_ended(device)

    def _invoke(self, me: Worker, device: Descriptor, cmd: int, arg: int, client: Client) -> int:
        """Makes room first if the last one here took long. Its processor time is looked at only then: it costs more."""
        slow = device.invoke_time > _SLOW
        if slow:
            self._make_room(me, device, client.tid)
            began = thread_time()
        self._last_tid = client.tid
        result = self._serve(device, cmd, arg, client)
        device.invoke_time = perf_counter() - me.started
        if slow:
            device.invoke_work = thread_time() - began
        return result

    def _make_room(self, me: Worker, device: Descriptor, tid: int) -> None:
        """Others shall not wait for this call."""
        if tid != self._last_tid and device.invoke_work > _SLOW:
            self._workers.crowd(me.started)
        elif device.invoke_time > _LONG and not self._workers.crowded:
            self._workers.hand_over(me, waits=False)

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
    """Before Linux 6.11 a thread blocked in receiving never learns that the last client is gone.

    So there only one may receive, too: a second one that polls could find the call taken, and block.
    """
    major, minor = (int(part.split("-")[0]) for part in release.split(".")[:2])
    return (major, minor) < (6, 11)
