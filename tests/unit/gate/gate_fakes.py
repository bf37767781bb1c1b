"""A driver that answers at once, blocks or fails as its ioctl number says, and counts what it is told."""

import errno
import os
import select
import struct
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from optemu.abi import tee_ioctl as tee
from optemu.normal_world import preload
from optemu.normal_world.gate.gate import Gate
from optemu.sdk.toolchain import Toolchain, preload_library

FAIL_OS, FAIL_BUG, IDENTITY, PEEK, POKE, BLOCK, UNBLOCK, WAITING, RELEASED, CLOSED, INTERRUPTED = range(0xA450, 0xA45B)

PRELUDE = """
import ctypes, errno, fcntl, mmap, os, resource, signal, socket, struct, sys, threading, time
VERSION, INVOKE, ALLOC, REGISTER, REGISTER_FD = 0x800CA400, 0x8010A403, 0xC010A401, 0xC018A409, 0xC018A408
FAIL_OS, FAIL_BUG, IDENTITY, PEEK, POKE, BLOCK, UNBLOCK, WAITING, RELEASED, CLOSED, INTERRUPTED = range(0xA450, 0xA45B)
def tee(path="/dev/tee0", flags=0): return os.open(path, os.O_RDWR | flags)
def unprivileged():  # what a defect lets through to the kernel must make no device files
    if os.getuid() == 0: os.setuid(65534)
def version(fd): return struct.unpack("<III", fcntl.ioctl(fd, VERSION, bytes(12)))
def call(fd, cmd, arg):  # an ioctl that returns the result itself
    return fcntl.ioctl(fd, cmd, arg)
def errno_of(action, *args):
    try: action(*args)
    except OSError as error: return error.errno
    return 0
def alloc(fd, size):
    arg = bytearray(struct.pack("<QIi", size, 0, 0))
    return fcntl.ioctl(fd, ALLOC, arg), struct.unpack("<QIi", arg)[2]
def invoke(fd, data):
    block = ctypes.create_string_buffer(data, len(data))
    fcntl.ioctl(fd, INVOKE, struct.pack("<QQ", ctypes.addressof(block), len(data)))
    return block.raw
def until(fd, count, number):  # asks the driver what it has seen, for a failing test not for ever
    end = time.monotonic() + 5
    while call(fd, count, 0) < number:
        assert time.monotonic() < end, (hex(count), call(fd, count, 0), number)
        time.sleep(0.001)
def blocker(fd):  # a process that waits inside an ioctl
    pid = os.fork()
    if pid == 0:
        try: fcntl.ioctl(fd, BLOCK, 0)
        finally: os._exit(3)
    return pid
"""


def client(body: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", PRELUDE + textwrap.dedent(body)]


def wait_until(condition: Callable[[], Any], seconds: float = 5.0) -> bool:
    """A bound for failing tests only; passing ones end as soon as the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def read_soon(fd: int) -> bytes:
    """The next bytes from a pipe; b"" when none come, in a failing test."""
    return os.read(fd, 4096) if select.select([fd], [], [], 10)[0] else b""


class FakeShm:
    def __init__(self, driver: "FakeDriver", kind: str, size: int) -> None:
        self.driver, self.kind, self.size = driver, kind, size
        self.fd = os.memfd_create("fake", os.MFD_CLOEXEC) if kind == "memfd" else -1
        if self.fd >= 0:
            os.ftruncate(self.fd, size)
        driver.memories.append(self)

    def free(self) -> None:
        self.driver.memories.remove(self)
        if self.fd >= 0:
            os.close(self.fd)

    def released(self) -> None:
        self.free()
        self.driver.released.append(self)


class FakeFile:
    def __init__(self, driver: "FakeDriver", path: str, number: int) -> None:
        self.driver, self.path, self.number = driver, path, number

    def ioctl(self, cmd: int, arg: int, task: Any) -> int:
        self.driver.inside.add(task)
        try:
            return self.driver.handlers[cmd](self, arg, task)
        except KeyError:
            return -errno.EINVAL
        finally:
            self.driver.inside.discard(task)

    def interrupted(self, task: Any) -> None:
        self.driver.interrupted.append(task)
        self.driver.wake(task)

    def close(self) -> None:
        self.driver.files.remove(self)
        self.driver.closed.append(self)


class FakeDriver:
    """``files`` and ``memories`` are what is open now; ``closed``, ``interrupted``, ``released`` what was reported."""

    def __init__(self) -> None:
        self.files: list[FakeFile] = []
        self.closed: list[FakeFile] = []
        self.interrupted: list[Any] = []
        self.memories: list[FakeShm] = []
        self.released: list[FakeShm] = []
        self.inside: set[Any] = set()
        self.waiting: dict[Any, threading.Event] = {}
        self.opened = 0
        self.handlers: dict[int, Callable[[FakeFile, int, Any], int]] = {
            tee.TEE_IOC_VERSION: self.version,
            tee.TEE_IOC_INVOKE: self.invoke,
            tee.TEE_IOC_SHM_ALLOC: self.shm_alloc,
            tee.TEE_IOC_SHM_REGISTER: self.shm_register,
            tee.TEE_IOC_SHM_REGISTER_FD: self.shm_register_fd,
            FAIL_OS: self.fail_os,
            FAIL_BUG: self.fail_bug,
            IDENTITY: self.identity,
            PEEK: self.peek,
            POKE: self.poke,
            BLOCK: self.block,
            UNBLOCK: self.unblock,
            WAITING: lambda *_: len(self.waiting),
            RELEASED: lambda *_: len(self.released),
            CLOSED: lambda *_: len(self.closed),
            INTERRUPTED: lambda *_: len(self.interrupted),
        }

    def open(self, path: str, task: Any) -> FakeFile:
        if path == "/dev/teepriv0" and any(file.path == path for file in self.files):
            raise OSError(errno.EBUSY, "busy")
        self.opened += 1
        self.files.append(FakeFile(self, path, self.opened))
        return self.files[-1]

    def wake(self, task: Any) -> None:
        if task in self.waiting:
            self.waiting[task].set()

    def version(self, file: FakeFile, arg: int, task: Any) -> int:
        task.write(arg, struct.pack("<III", 1, file.number, 0xD))
        return 0

    def invoke(self, file: FakeFile, arg: int, task: Any) -> int:
        """The argument block comes back reversed."""
        addr, size = struct.unpack("<QQ", task.read(arg, 16))
        task.write(addr, task.read(addr, size)[::-1])
        return 0

    def shm_alloc(self, file: FakeFile, arg: int, task: Any) -> int:
        size, flags, _ = struct.unpack("<QIi", task.read(arg, 16))
        shm = FakeShm(self, "memfd", size)
        os.pwrite(shm.fd, b"from the driver", 0)
        return self._install(shm, task, lambda: task.write(arg, struct.pack("<QIi", size, flags, 77)))

    def shm_register(self, file: FakeFile, arg: int, task: Any) -> int:
        return self._install(FakeShm(self, "pipe", 0), task)

    def _install(self, shm: FakeShm, task: Any, before: Callable[[], None] = lambda: None) -> int:
        try:
            before()
            return int(task.install_shm(shm))
        except OSError:
            shm.free()
            raise

    def shm_register_fd(self, file: FakeFile, arg: int, task: Any) -> int:
        (wanted,) = struct.unpack("<q", task.read(arg, 8))
        fd = task.fetch_fd(wanted)
        try:
            return os.fstat(fd).st_size
        finally:
            os.close(fd)

    def fail_os(self, file: FakeFile, arg: int, task: Any) -> int:
        raise OSError(arg, "as asked")

    def fail_bug(self, file: FakeFile, arg: int, task: Any) -> int:
        raise ZeroDivisionError("as asked")

    def identity(self, file: FakeFile, arg: int, task: Any) -> int:
        groups = list(task.groups)
        words = [task.pid, task.uid, task.euid, task.gid, task.egid, len(groups), *groups]
        task.write(arg, struct.pack(f"<{len(words)}I", *words))
        return 0

    def peek(self, file: FakeFile, arg: int, task: Any) -> int:
        """(address, size): reads that much, answers the sum of the bytes."""
        addr, size = struct.unpack("<QQ", task.read(arg, 16))
        return sum(task.read(addr, size)) & 0xFFFF

    def poke(self, file: FakeFile, arg: int, task: Any) -> int:
        """(address, size, byte): writes that much."""
        addr, size, byte = struct.unpack("<QQQ", task.read(arg, 24))
        task.write(addr, memoryview(bytearray([byte]) * size))
        return 0

    def block(self, file: FakeFile, arg: int, task: Any) -> int:
        """Until UNBLOCK, or until interrupted; a non-zero argument is written to afterwards."""
        event = self.waiting[task] = threading.Event()
        if not event.wait(20):
            return -errno.ETIMEDOUT
        del self.waiting[task]
        if task in self.interrupted:
            return -errno.EINTR
        if arg:
            task.write(arg, b"woken")
        return 5

    def unblock(self, file: FakeFile, arg: int, task: Any) -> int:
        """Once ``arg`` calls wait, wakes them all."""
        if not wait_until(lambda: len(self.waiting) >= arg):
            return -errno.ETIMEDOUT
        for event in list(self.waiting.values()):
            event.set()
        return arg


class PreloadGate:
    """The other road, as if it were a gate: programs with the preload library in them, and its server."""

    def __init__(self, driver: FakeDriver) -> None:
        self._directory = tempfile.TemporaryDirectory()
        path = Path(self._directory.name) / "socket"
        library = preload_library(Toolchain(print), os.uname().machine)
        self._with = (str(path), str(library), False)
        self.server: preload.Server | None = preload.Server(driver, path)
        self.server.start()

    def run(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> int:
        status = preload.run(argv, preload.environment(os.environ if env is None else env, *self._with))
        self._settle()
        return status

    def _settle(self) -> None:
        """What the program's end makes the server see, it has seen; a gate's run waits for that itself."""
        assert self.server is not None
        wait_until(lambda: not self.server or not self.server._connections, 0.3)
        for _ in range(2):
            self.server._janitor.run(lambda: None)

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()
            self.server = None
            self._directory.cleanup()


ATTACHED = """
import os, sys
from pathlib import Path
from optemu.normal_world.gate.launcher import exit_as
from optemu.normal_world.preload import connect, run_behind_gate
report = int(sys.argv[2])
os.set_inheritable(report, False)
try:
    with connect(Path(sys.argv[1])) as server:
        status = run_behind_gate(server, sys.argv[3:], os.environ)
except OSError as error:
    os.write(report, str(error.errno).encode())
    os._exit(0)
exit_as(status)
"""


class AttachedGate:
    """The third road: a process of its own launches the program and attaches it to the gate of this one."""

    def __init__(self, driver: FakeDriver) -> None:
        self._directory = tempfile.TemporaryDirectory()
        path = Path(self._directory.name) / "socket"
        self.gate = Gate(driver)
        self.server: preload.Server | None = preload.Server(driver, path, self.gate)
        self.server.start()

    def run(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> int:
        assert self.server is not None
        reading, writing = os.pipe()
        os.set_inheritable(writing, True)
        command = [sys.executable, "-I", "-c", ATTACHED, str(self.server.path), str(writing), *argv]
        try:
            status = subprocess.run(command, env=env, close_fds=False, check=False).returncode
        finally:
            os.close(writing)
        with os.fdopen(reading) as report:
            error = report.read()
        if error:
            raise OSError(int(error), os.strerror(int(error)), argv[0])
        wait_until(lambda: not self.server or not self.server._connections, 0.3)
        return status

    def stop(self) -> None:
        if self.server is not None:
            self.gate.stop()
            self.server.stop()
            self.server = None
            self._directory.cleanup()


ROADS = {"gate": Gate, "preload": PreloadGate, "attached": AttachedGate}
AnyGate = Gate | PreloadGate | AttachedGate
