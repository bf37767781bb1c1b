"""Serves a device to the processes that have the preload library in them: a thread for each of their threads."""

import contextlib
import errno
import logging
import mmap
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Final, Self

from optemu.abi import tee_ioctl
from optemu.errors import explain
from optemu.normal_world.driver.interface import Device
from optemu.normal_world.gate.descriptors import Descriptor, Descriptors
from optemu.normal_world.gate.gate import Gate
from optemu.normal_world.gate.janitor import Janitor
from optemu.normal_world.gate.launcher import check_room
from optemu.normal_world.gate.workers import MAX_WORKERS
from optemu.normal_world.preload import wire
from optemu.normal_world.preload.task import RemoteTask

log = logging.getLogger("optemu.preload")

_BACKLOG: Final = 64
_MOST_CONNECTIONS: Final = 1024
_SWITCH_INTERVAL: Final = 0.0005
_STOP_TIMEOUT: Final = 2.0
_TELL_AGAIN: Final = 0.05


class Connection:
    """A client thread. ``device`` is the one it has an ioctl inside of."""

    def __init__(self, sock: socket.socket, task: RemoteTask) -> None:
        self.sock = sock
        self.task = task
        self.device: Descriptor | None = None
        self.calls = self.told = 0
        self.gone = False
        self.proven: dict[int, Descriptor] = {}
        """Devices by inode that this client has shown to hold."""
        self.thread: threading.Thread | None = None


class Server:
    """Listens at ``path`` with mode 0600, from ``start`` to ``stop``, for processes of this user's.

    ``gate`` serves the programs that others launch behind a filter and attach.
    """

    def __init__(self, device: Device, path: Path, gate: Gate | None = None) -> None:
        self._device = device
        self.path = path
        self._gate = gate
        self._connections: set[Connection] = set()
        self._stopping = False

    def start(self) -> None:
        """OSError when ``path`` cannot be listened at, or too few descriptors are left to serve anybody."""
        check_room()
        self._socket = _listen(self.path)
        self._switch_interval = sys.getswitchinterval()
        sys.setswitchinterval(min(self._switch_interval, _SWITCH_INTERVAL))
        self._janitor = Janitor()
        self._descriptors = Descriptors(self._janitor, self._is_inside, lambda device: None)
        self._janitor.watch(self._socket.fileno(), self._accept, readable=True)

    def stop(self) -> None:
        """Calls under way are given up, every file is closed; clients find no device any more."""
        self._stopping = True
        self._janitor.run(self._close_socket)
        connections = list(self._connections)
        for connection in connections:
            self._give_up(connection)
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + _STOP_TIMEOUT
        for connection in connections:
            if connection.thread is not None:
                connection.thread.join(max(0.0, deadline - time.monotonic()))
        self._janitor.run(self._descriptors.close)
        if self._connections:
            log.error("calls of clients' did not end when interrupted; their threads are left behind")
        self._janitor.stop()
        sys.setswitchinterval(self._switch_interval)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- on the janitor's thread

    def _close_socket(self) -> None:
        self._janitor.forget(self._socket.fileno())
        self._socket.close()
        self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        try:
            sock, _ = self._socket.accept()
        except OSError as error:
            log.warning("a client could not connect: %s", explain(error))
            time.sleep(_TELL_AGAIN)
            return
        try:
            sock.setblocking(True)
            connection = self._admit(sock)
        except (OSError, RuntimeError) as error:
            log.warning("a client was turned away: %s", explain(error))
            sock.close()
            return
        self._janitor.watch(sock.fileno(), lambda: self._hung_up(connection))

    def _admit(self, sock: socket.socket) -> Connection:
        task = RemoteTask(sock, self._descriptors)
        if task.euid not in (os.geteuid(), 0):
            raise OSError(errno.EPERM, f"process {task.pid} is of user {task.euid}, not of ours")
        if len(self._connections) >= _MOST_CONNECTIONS:
            raise OSError(errno.EAGAIN, f"{_MOST_CONNECTIONS} threads of clients' are connected")
        connection = Connection(sock, task)
        self._connections.add(connection)
        connection.thread = threading.Thread(
            target=self._serve, args=(connection,), name=f"optemu-preload-{task.pid}", daemon=True
        )
        try:
            connection.thread.start()
        except RuntimeError:
            self._connections.discard(connection)
            raise
        return connection

    def _hung_up(self, connection: Connection) -> None:
        connection.gone = True
        self._janitor.forget(connection.sock.fileno())
        self._give_up(connection)

    def _disconnect(self, connection: Connection) -> None:
        """The last thing its thread asked for."""
        if connection.thread is not None:
            connection.thread.join()
        self._connections.discard(connection)
        self._janitor.forget(connection.sock.fileno())
        connection.sock.close()

    # -- the end of calls

    def _is_inside(self, device: Descriptor) -> bool:
        return any(connection.device is device for connection in list(self._connections))

    def _give_up(self, connection: Connection) -> None:
        """Tells the driver that nobody waits for the call; once more if it was only just on its way in."""
        device, call = connection.device, connection.calls
        if device is None or connection.told == call:
            return
        connection.told = call
        device.file.interrupted(connection.task)

        def again() -> None:
            if connection.device is device and connection.calls == call:
                device.file.interrupted(connection.task)

        timer = threading.Timer(_TELL_AGAIN, again)
        timer.daemon = True
        timer.start()

    # -- on the connection's thread

    def _serve(self, connection: Connection) -> None:
        sock, task = connection.sock, connection.task
        try:
            while not task.broken and not self._stopping:
                packet = sock.recv(wire.REQUEST_MAX)
                if not packet:
                    break
                self._exchange(connection, wire.parse(packet))
        except wire.WireError as error:
            log.warning("process %d sent %s; its connection is closed", task.pid, error)
        except OSError as error:
            log.debug("connection of process %d: %s", task.pid, explain(error))
        except Exception:
            log.exception("the connection of process %d failed inside optemu; it is closed", task.pid)
        finally:
            self._janitor.post(lambda: self._disconnect(connection))

    def _exchange(self, connection: Connection, request: wire.Request) -> None:
        task = connection.task
        task.begin(request)
        if request.kind == wire.IOCTL:
            self._ioctl(connection, request)
        elif request.kind == wire.OPEN:
            self._open(task, request.cmd)
        elif request.kind == wire.ATTACH:
            self._attach(connection)
        elif request.cmd == wire.VERSION:
            task.finish(0)
        else:
            log.warning("process %d has a preload library of another version of optemu", task.pid)
            task.finish(-errno.EPROTO)

    def _open(self, task: RemoteTask, number: int) -> None:
        if number >= len(wire.DEVICES):
            task.pass_on()
            return
        path = wire.DEVICES[number]
        try:
            with self._descriptors.add_device(self._device.open(path, task)) as theirs:
                task.give(theirs.fileno())
        except OSError as error:
            task.finish(-(error.errno or errno.EIO))
        except Exception:
            log.exception("opening %s failed; the client gets EIO", path)
            task.finish(-errno.EIO)

    def _attach(self, connection: Connection) -> None:
        """Until the other side hangs up."""
        sock, task = connection.sock, connection.task
        if self._gate is None:
            task.finish(-errno.EOPNOTSUPP)
            return
        listener = task.fetch_fd(wire.LISTENER)
        try:
            shared = task.fetch_fd(wire.CALLS)
            calls = mmap.mmap(shared, 8 * MAX_WORKERS)
            os.close(shared)
        except (OSError, ValueError):
            os.close(listener)
            raise

        def knock() -> None:
            with contextlib.suppress(OSError):
                sock.send(wire.TO_CLIENT.pack(wire.KNOCK, 0, 0, 0))

        receiver = self._gate.adopt(listener, calls, knock)
        task.finish(0)
        while sock.recv(wire.REQUEST_MAX):
            pass
        self._gate.release(receiver)

    def _ioctl(self, connection: Connection, request: wire.Request) -> None:
        device = connection.proven.get(request.inode)
        if device is None or device.gone:
            device = self._prove(connection, request)
        if device is None:
            connection.task.pass_on()
            return
        connection.calls += 1
        connection.device = device
        try:
            result = -errno.ENODEV if connection.gone else self._call(device, request, connection.task)
        finally:
            connection.device = None
            if device.gone:
                self._descriptors.call_ended(device)
        connection.task.finish(result)

    def _call(self, device: Descriptor, request: wire.Request, task: RemoteTask) -> int:
        try:
            return device.file.ioctl(request.cmd, request.arg, task)
        except OSError as error:
            return -(error.errno or errno.EIO)
        except Exception:
            name = tee_ioctl.IOCTL_NAMES.get(request.cmd, hex(request.cmd))
            log.exception("%s of process %d failed inside optemu; the client gets EIO", name, task.pid)
            return -errno.EIO

    def _prove(self, connection: Connection, request: wire.Request) -> Descriptor | None:
        """An inode number is only a claim: the first time, and again when the device is another, the client must
        show the descriptor itself."""
        connection.proven.pop(request.inode, None)
        try:
            fd = connection.task.fetch_fd(request.fd)
        except OSError:
            return None
        try:
            inode = os.fstat(fd).st_ino
            device = self._descriptors.devices.get(os.readlink(f"/proc/self/fd/{fd}"))
        finally:
            os.close(fd)
        if device is not None and inode == request.inode:
            if len(connection.proven) >= _MOST_CONNECTIONS:
                connection.proven.clear()
            connection.proven[inode] = device
            return device
        return None


def _listen(path: Path) -> socket.socket:
    """A listening socket that only this user can connect to. A dead server's is replaced, a live one's is not."""
    if path.is_socket() and not _answers(path):
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    before = os.umask(0o177)
    try:
        sock.bind(str(path))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise OSError(
            error.errno or errno.ENAMETOOLONG, f"cannot listen at {path}: {error.strerror or error}"
        ) from None
    finally:
        os.umask(before)
    return sock


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        try:
            sock.connect(str(path))
        except OSError:
            return False
    return True
