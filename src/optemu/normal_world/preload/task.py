"""A client thread as the driver sees it, at the other end of its connection."""

import errno
import os
import socket
import struct
from collections.abc import Sequence
from typing import Final, NoReturn

from optemu.abi.tee_ioctl import TEE_IOC_OPEN_SESSION
from optemu.normal_world.driver.interface import SharedFd
from optemu.normal_world.gate.client import Installer
from optemu.normal_world.preload import wire

_SO_PEERGROUPS: Final = 59
_MOST_GROUPS: Final = 256
# struct ucred: pid, uid, gid (the effective ones)
_UCRED: Final = struct.Struct("=iII")
_LARGEST: Final = 1 << 30
_TOP: Final = 1 << 63


def _fail(code: int) -> NoReturn:
    raise OSError(code, os.strerror(code))


class RemoteTask:
    """One exchange at a time, from ``begin`` to ``finish``.

    The argument and its block came with the request. What is written there goes back with the answer, except for
    OPEN_SESSION, which must learn of a fault in time to close the session again.
    """

    def __init__(self, sock: socket.socket, installer: Installer) -> None:
        """The client's identity is what the kernel recorded when it connected; OSError when it is gone already."""
        self._sock = sock
        self._installer = installer
        self.pid, self.euid, self.egid = _UCRED.unpack(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        )
        self.uid, self.gid = self.euid, self.egid
        self.broken = False
        """The client has gone, or talks nonsense: the exchange cannot be finished."""
        self.answered = False
        self._snapshots: list[tuple[int, bytes]] = []
        self._place_addr = 0
        self._place: bytearray | None = None
        self._written = False

    @property
    def groups(self) -> Sequence[int]:
        """The supplementary ones, as far as the kernel will tell (256)."""
        try:
            raw = self._sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * _MOST_GROUPS)
        except OSError:
            return ()
        return struct.unpack(f"={len(raw) // 4}I", raw)

    def begin(self, request: wire.Request) -> None:
        self.answered = self._written = False
        self._snapshots = [(request.arg, request.head), (request.block_addr, request.block)]
        addr, data = self._snapshots[1 if request.block else 0]
        self._place_addr = addr
        self._place = bytearray(data) if data and request.cmd != TEE_IOC_OPEN_SESSION else None

    def finish(self, result: int) -> None:
        """The exchange's answer, unless there was one."""
        if not self.answered:
            tail = self._place if self._place is not None and self._written else b""
            self._send(wire.TO_CLIENT.pack(wire.DONE, result, 0, len(tail)) + tail)

    def pass_on(self) -> None:
        """The kernel is to do the call."""
        self._send(wire.TO_CLIENT.pack(wire.PASS, 0, 0, 0))

    def give(self, fd: int) -> None:
        """The exchange's answer is ``fd``, by the number it gets in the client. OSError(EPIPE)."""
        tail = self._place if self._place is not None and self._written else b""
        message = wire.TO_CLIENT.pack(wire.DONE, 0, wire.GIVES_FD, len(tail)) + tail
        try:
            socket.send_fds(self._sock, [message], [fd])
        except OSError:
            self.broken = True
            raise
        self.answered = True

    def install_shm(self, shm: SharedFd) -> int:
        """Where the client has no number left it closes at once, as the kernel sees and tells us."""
        fd = self._installer.lend(shm)
        accepted = False
        try:
            self.give(fd)
            accepted = True
        finally:
            self._installer.lent(shm, fd, accepted)
        return 0

    def read(self, addr: int, size: int) -> bytes:
        for start, data in self._snapshots:
            offset = addr - start
            if offset >= 0 and size >= 0 and offset + size <= len(data):
                return data[offset : offset + size]
        if not 0 <= addr < _TOP - _LARGEST or not 0 <= size <= _LARGEST:
            _fail(errno.EFAULT)
        parts = [self._ask_for(at, min(wire.CHUNK, addr + size - at)) for at in range(addr, addr + size, wire.CHUNK)]
        return b"".join(parts)

    def _ask_for(self, addr: int, size: int) -> bytes:
        self._send(wire.TO_CLIENT.pack(wire.READ, 0, addr, size))
        data = self._hear(wire.DATA, wire.CHUNK)
        if len(data) != size:
            self._nonsense()
        return data

    def write(self, addr: int, data: bytes | bytearray | memoryview) -> None:
        offset, place = addr - self._place_addr, self._place
        if place is not None and offset >= 0 and offset + len(data) <= len(place):
            place[offset : offset + len(data)] = data
            self._written = True
            return
        self._snapshots.clear()
        if not 0 <= addr < _TOP - _LARGEST or len(data) > _LARGEST:
            _fail(errno.EFAULT)
        view = memoryview(data).cast("B")
        for at in range(0, len(view), wire.CHUNK):
            part = view[at : at + wire.CHUNK]
            self._send(wire.TO_CLIENT.pack(wire.WRITE, 0, addr + at, len(part)))
            self._send(part)
            self._hear(wire.DATA, 0)

    def fetch_fd(self, fd: int) -> int:
        if not 0 <= fd < 1 << 31:
            _fail(errno.EBADF)
        self._send(wire.TO_CLIENT.pack(wire.FETCH, 0, fd, 0))
        fds: list[int] = []
        try:
            packet, fds, _, _ = socket.recv_fds(self._sock, wire.TO_SERVER.size, 1)
            self._check(packet, wire.DESCRIPTOR)
            if len(fds) != 1:
                self._nonsense()
        except OSError:
            for unwanted in fds:
                os.close(unwanted)
            raise
        os.set_inheritable(fds[0], False)
        return fds[0]

    def _send(self, packet: bytes | bytearray | memoryview) -> None:
        try:
            self._sock.send(packet)
        except OSError:
            self.broken = True
            _fail(errno.EFAULT)

    def _hear(self, kind: int, most: int) -> bytes:
        """The client's answer to a question: what follows its header."""
        try:
            packet = self._sock.recv(wire.TO_SERVER.size + most)
        except OSError:
            packet = b""
        self._check(packet, kind)
        return packet[wire.TO_SERVER.size :]

    def _check(self, packet: bytes, kind: int) -> None:
        """OSError with the code of a FAULT; EFAULT, and the end of the connection, for anything else unexpected."""
        if len(packet) < wire.TO_SERVER.size:
            self._nonsense()
        got, code, *_ = wire.TO_SERVER.unpack_from(packet)
        if got == wire.FAULT:
            _fail(errno.EBADF if code == errno.EBADF else errno.EFAULT)
        if got != kind:
            self._nonsense()

    def _nonsense(self) -> NoReturn:
        self.broken = True
        _fail(errno.EFAULT)
