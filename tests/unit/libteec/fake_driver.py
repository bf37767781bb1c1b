"""A TEE driver of bytes: every ioctl libteec issues, decoded here independently of the code under test."""

import errno
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

VERSION, SHM_ALLOC, OPEN, INVOKE = 0x800CA400, 0xC010A401, 0x8010A402, 0x8010A403
CANCEL, CLOSE, SHM_REGISTER_FD, SHM_REGISTER = 0x8008A404, 0x8004A405, 0xC018A408, 0xC018A409
GP, REG_MEM, MEMREF_NULL = 1, 4, 8
NULL_ID = (1 << 64) - 1


@dataclass
class Shm:
    id: int
    size: int
    fd: int = -1
    addr: int | None = None
    released_count: int = 0

    def released(self):
        self.released_count += 1
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


@dataclass
class Param:
    attr: int
    a: int
    b: int
    c: int
    read: Callable[[], bytes] | None = None
    write: Callable[[bytes], None] | None = None


Ta = Callable[[int, list[Param]], int]


@dataclass
class FakeDriver:
    """``ta(command, params)`` serves invokes (open session: command -1); ``fail`` maps an ioctl to an errno."""

    gen_caps: int = GP | REG_MEM | MEMREF_NULL
    impl: tuple[int, int] = (1, 1)
    ta: Ta = lambda cmd, params: 0
    origin: int = 4
    fail: dict[int, int] = field(default_factory=dict)
    shms: dict[int, Shm] = field(default_factory=dict)
    log: list[tuple] = field(default_factory=list)
    files: list = field(default_factory=list)

    def open(self, path, task):
        if path != "/dev/tee0":
            raise OSError(errno.ENOENT, path)
        self.files.append(FakeFile(self))
        return self.files[-1]

    def live(self):
        return [shm for shm in self.shms.values() if not shm.released_count]

    def names(self):
        return [entry[0] for entry in self.log]


class FakeFile:
    def __init__(self, driver):
        self.driver = driver
        self.closed = False

    def close(self):
        self.closed = True

    def ioctl(self, cmd, arg, task):
        if cmd in self.driver.fail:
            return -self.driver.fail[cmd]
        try:
            return self.HANDLERS[cmd](self, arg, task)
        except OSError as error:
            return -error.errno

    def version(self, arg, task):
        task.write(arg, struct.pack("<III", *self.driver.impl, self.driver.gen_caps))
        return 0

    def shm_alloc(self, arg, task):
        size, flags, _ = struct.unpack("<QIi", task.read(arg, 16))
        if flags or not size:
            return -errno.EINVAL
        if size > 1 << 30:
            return -errno.ENOMEM
        shm = Shm(len(self.driver.shms) + 1, (size + 4095) & ~4095, os.memfd_create("shm"))
        os.ftruncate(shm.fd, shm.size)
        task.write(arg, struct.pack("<QIi", shm.size, 0, shm.id))
        return self.install(shm, "alloc", task)

    def shm_register(self, arg, task):
        addr, size, flags, _ = struct.unpack("<QQIi", task.read(arg, 24))
        if flags or not size:
            return -errno.EINVAL
        task.write(addr, task.read(addr, size))
        shm = Shm(len(self.driver.shms) + 1, size, addr=addr)
        task.write(arg, struct.pack("<QQIi", addr, size, 0, shm.id))
        return self.install(shm, "register", task)

    def shm_register_fd(self, arg, task):
        fd, _, _, _ = struct.unpack("<qQIi", task.read(arg, 24))
        fd = task.fetch_fd(fd)
        shm = Shm(len(self.driver.shms) + 1, os.fstat(fd).st_size, fd)
        task.write(arg, struct.pack("<qQIi", fd, shm.size, 0, shm.id))
        return self.install(shm, "register_fd", task)

    def install(self, shm, name, task):
        self.driver.shms[shm.id] = shm
        self.driver.log.append((name, shm.size))
        return task.install_shm(shm)

    def open_session(self, arg, task):
        ptr, length = struct.unpack("<QQ", task.read(arg, 16))
        assert length == 56 + 4 * 32
        uuid, client, login, cancel, session, _, _, count = struct.unpack("<16s16sIIIIII", task.read(ptr, 56))
        assert (cancel, session, count) == (0, 0, 4)
        self.driver.log.append(("open", uuid, client, login))
        ret = self.call(-1, ptr + 56, task)
        task.write(ptr + 40, struct.pack("<III", 77, ret, self.driver.origin))
        return 0

    def invoke(self, arg, task):
        ptr, length = struct.unpack("<QQ", task.read(arg, 16))
        assert length == 24 + 4 * 32
        func, session, cancel, _, _, count = struct.unpack("<IIIIII", task.read(ptr, 24))
        assert (cancel, count) == (0, 4)
        self.driver.log.append(("invoke", session, func))
        ret = self.call(func, ptr + 24, task)
        task.write(ptr + 12, struct.pack("<II", ret, self.driver.origin))
        return 0

    def call(self, func, at, task):
        params = [Param(*struct.unpack("<QQQQ", task.read(at + 32 * n, 32))) for n in range(4)]
        for p in params:
            if p.attr in (5, 6, 7) and p.c != NULL_ID:
                self.attach(p, task)
            elif p.attr == 0:
                assert (p.a, p.b, p.c) == (0, 0, 0)
        ret = self.driver.ta(func, params)
        for n, p in enumerate(params):
            if p.attr in (2, 3):
                task.write(at + 32 * n + 8, struct.pack("<QQQ", p.a, p.b, p.c))
            elif p.attr in (6, 7):
                task.write(at + 32 * n + 16, struct.pack("<Q", p.b))
        return ret

    def attach(self, p, task):
        shm = self.driver.shms.get(p.c)
        if shm is None or shm.released_count or p.a + p.b > shm.size:
            raise OSError(errno.EINVAL, "shm")
        offset, size = p.a, p.b
        if shm.addr is not None:
            p.read = lambda: task.read(shm.addr + offset, size)
            p.write = lambda data: task.write(shm.addr + offset, data)
        else:
            p.read = lambda: os.pread(shm.fd, size, offset)
            p.write = lambda data: os.pwrite(shm.fd, data, offset)

    def cancel(self, arg, task):
        self.driver.log.append(("cancel", *struct.unpack("<II", task.read(arg, 8))))
        self.driver.ta(-2, [])
        return 0

    def close_session(self, arg, task):
        self.driver.log.append(("close", *struct.unpack("<I", task.read(arg, 4))))
        return 0

    HANDLERS = {
        VERSION: version,
        SHM_ALLOC: shm_alloc,
        SHM_REGISTER: shm_register,
        SHM_REGISTER_FD: shm_register_fd,
        OPEN: open_session,
        INVOKE: invoke,
        CANCEL: cancel,
        CLOSE: close_session,
    }
