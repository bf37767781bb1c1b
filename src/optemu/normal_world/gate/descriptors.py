"""The descriptors clients hold, and how we learn that the last reference to one is gone.

A device is one end of a socket pair: the kernel counts its references through dup, fork, exec and SIGKILL, and our
end hangs up after the last. Shared memory is a memfd reopened for the client, so that inotify reports the end of
just the client's descriptors and mappings. Memory the client registered is marked by the read end of a pipe.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable

from optemu.normal_world.driver.interface import File, SharedFd
from optemu.normal_world.gate import kernel
from optemu.normal_world.gate.janitor import Janitor

log = logging.getLogger("optemu.gate")


class Descriptor:
    """An open device; ``gone`` when no client refers to it any more.

    ``invoke_time``, ``invoke_work``: seconds its last invoke took, and seconds of processor time of one that took long.
    """

    __slots__ = ("file", "gone", "invoke_time", "invoke_work", "name", "ours")

    def __init__(self, file: File, ours: socket.socket, name: str) -> None:
        self.file = file
        self.ours = ours
        self.name = name
        self.invoke_time = self.invoke_work = 0.0
        self.gone = False


class Descriptors:
    """All descriptors clients of this gate hold. ``devices`` is keyed by what /proc/PID/fd/N links to."""

    def __init__(
        self, janitor: Janitor, is_busy: Callable[[Descriptor], bool], on_hang_up: Callable[[Descriptor], None]
    ) -> None:
        self._janitor = janitor
        self._is_busy = is_busy
        self._on_hang_up = on_hang_up
        self.devices: dict[str, Descriptor] = {}
        self._memories: dict[int, SharedFd] = {}
        self._pipes: dict[int, SharedFd] = {}
        self._lock = threading.Lock()
        self._inotify = kernel.inotify_init()
        janitor.watch(self._inotify, self._memories_closed, readable=True)

    def add_device(self, file: File) -> socket.socket:
        """The end to give to the client (then to be closed here). ``file`` is closed after its last reference."""
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError:
            file.close()
            raise
        theirs.setblocking(False)
        name = f"socket:[{os.fstat(theirs.fileno()).st_ino}]"
        device = Descriptor(file, ours, name)
        self.devices[name] = device
        self._janitor.watch(ours.fileno(), lambda: self._hung_up(device))
        return theirs

    def _hung_up(self, device: Descriptor) -> None:
        device.gone = True
        self._janitor.forget(device.ours.fileno())
        self._on_hang_up(device)
        self.release_if_idle(device)

    def release_if_idle(self, device: Descriptor) -> None:
        """A call still inside keeps the file open, as it does in the kernel. On the janitor's thread only."""
        if device.gone and not self._is_busy(device) and self.devices.pop(device.name, None) is not None:
            device.ours.close()
            device.file.close()

    def call_ended(self, device: Descriptor) -> None:
        """A call has left a device that hung up meanwhile."""
        self._janitor.post(lambda: self.release_if_idle(device))

    def lend(self, shm: SharedFd) -> int:
        return self._lend_pipe(shm) if shm.kind == "pipe" else self._lend_memory(shm)

    def lent(self, shm: SharedFd, fd: int, accepted: bool) -> None:
        """The client has taken ``fd``, or could not: then nothing is watched any more, and nothing reported."""
        if not accepted:
            if shm.kind == "pipe":
                self._drop_pipe(shm)
            else:
                self._drop_memory(shm)
        os.close(fd)

    def _lend_memory(self, shm: SharedFd) -> int:
        path = f"/proc/self/fd/{shm.fd}"
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            with self._lock:
                self._memories[kernel.inotify_add_watch(self._inotify, path, kernel.IN_CLOSE_WRITE)] = shm
        except OSError:
            os.close(fd)
            raise
        return fd

    def _drop_memory(self, shm: SharedFd) -> None:
        with self._lock:
            watch = next((watch for watch, held in self._memories.items() if held is shm), None)
            if watch is not None:
                self._unwatch(watch)

    def _unwatch(self, watch: int) -> SharedFd | None:
        """With the lock held: a memfd may be lent again, and its inode then has a new watch."""
        shm = self._memories.pop(watch, None)
        if shm is not None:
            kernel.inotify_rm_watch(self._inotify, watch)
        return shm

    def _memories_closed(self) -> None:
        events = os.read(self._inotify, 65536)
        offset = 0
        while offset < len(events):
            watch, mask, _, name_length = kernel.INOTIFY_EVENT.unpack_from(events, offset)
            offset += kernel.INOTIFY_EVENT.size + name_length
            if mask & kernel.IN_Q_OVERFLOW:
                log.warning("inotify events were lost: some shared memory stays until its device is closed")
            if mask & kernel.IN_CLOSE_WRITE:
                with self._lock:
                    shm = self._unwatch(watch)
                if shm is not None:
                    shm.released()

    def _lend_pipe(self, shm: SharedFd) -> int:
        theirs, ours = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._pipes[ours] = shm
        self._janitor.watch(ours, lambda: self._pipe_closed(ours))
        return theirs

    def _pipe_closed(self, ours: int) -> None:
        shm = self._pipes.pop(ours, None)
        self._janitor.forget(ours)
        os.close(ours)
        if shm is not None:
            shm.released()

    def _drop_pipe(self, shm: SharedFd) -> None:
        """Its hang-up, which follows, closes our end and tells nobody."""
        ours = next(fd for fd, held in list(self._pipes.items()) if held is shm)
        del self._pipes[ours]

    def close(self) -> None:
        """Closes every file, whoever still holds a descriptor. On the janitor's thread, when no call is inside."""
        for device in list(self.devices.values()):
            if not device.gone:
                self._hung_up(device)
        for shm_watch in list(self._memories):
            with self._lock:
                shm = self._unwatch(shm_watch)
            if shm is not None:
                shm.released()
        for ours in list(self._pipes):
            self._pipe_closed(ours)
        self._janitor.forget(self._inotify)
        os.close(self._inotify)
