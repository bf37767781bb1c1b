"""The driver's supplicant side, of bytes: requests queued here are received and answered through ioctls."""

import errno
import os
import queue
import struct
import threading
from dataclasses import dataclass, field

VERSION, SHM_ALLOC, SHM_REGISTER = 0x800CA400, 0xC010A401, 0xC018A409
RECV, SEND = 0x8010A406, 0x8010A407
META = 0x100
TIMEOUT = 10


@dataclass
class Shm:
    id: int
    size: int
    fd: int = -1
    addr: int = 0
    released_count: int = 0

    def released(self):
        self.released_count += 1
        if self.fd >= 0:
            os.close(self.fd)


@dataclass
class FakeSupp:
    """``post`` queues raw request bytes for TEE_IOC_SUPPL_RECV; ``answers`` are what TEE_IOC_SUPPL_SEND brought."""

    gen_caps: int = 1
    impl_id: int = 1
    requests: queue.Queue = field(default_factory=queue.Queue)
    answers: queue.Queue = field(default_factory=queue.Queue)
    shms: dict[int, Shm] = field(default_factory=dict)
    fail_send: int = 0
    next_id: int = 0
    closed: bool = False
    task: object = None
    receiving: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self, path, task):
        if path != "/dev/teepriv0":
            raise OSError(errno.ENOENT, path)
        self.task = task
        return self

    def interrupted(self, task):
        self.requests.put(errno.EINTR)

    def close(self):
        assert not self.receiving
        self.closed = True

    def live(self):
        return [shm for shm in self.shms.values() if not shm.released_count]

    def ioctl(self, cmd, arg, task):
        try:
            handlers = {VERSION: self.version, RECV: self.recv, SEND: self.send}
            handlers |= {SHM_ALLOC: self.alloc, SHM_REGISTER: self.register}
            return handlers[cmd](arg, task)
        except OSError as error:
            return -error.errno

    def version(self, arg, task):
        task.write(arg, struct.pack("<III", self.impl_id, 1, self.gen_caps | 2))
        return 0

    def install(self, shm, task):
        self.next_id = shm.id
        self.shms[shm.id] = shm
        return task.install_shm(shm)

    def alloc(self, arg, task):
        size, flags, _ = struct.unpack("<QIi", task.read(arg, 16))
        if not size or flags or size > 1 << 24:
            return -errno.ENOMEM
        shm = Shm(self.next_id + 1, (size + 4095) & ~4095, os.memfd_create("supp"))
        os.ftruncate(shm.fd, shm.size)
        task.write(arg, struct.pack("<QIi", shm.size, 0, shm.id))
        return self.install(shm, task)

    def register(self, arg, task):
        addr, size, flags, _ = struct.unpack("<QQIi", task.read(arg, 24))
        if flags or size > 1 << 24:
            return -errno.ENOMEM
        task.write(addr, task.read(addr, size))
        shm = Shm(self.next_id + 1, size, addr=addr)
        task.write(arg, struct.pack("<QQIi", addr, size, 0, shm.id))
        return self.install(shm, task)

    def recv(self, arg, task):
        ptr, length = struct.unpack("<QQ", task.read(arg, 16))
        block = task.read(ptr, length)
        _, count = struct.unpack_from("<II", block)
        params = list(struct.iter_unpack("<QQQQ", block[8:]))
        # As supp_check_recv_params(): room, the first may say meta, nothing else.
        if length != 8 + 32 * count or params[0][0] not in (0, META) or any(p[0] for p in params[1:]):
            return -errno.EINVAL
        with self.lock:
            self.receiving += 1
        request = self.requests.get(timeout=TIMEOUT)
        with self.lock:
            self.receiving -= 1
        if isinstance(request, int):
            return -request
        task.write(ptr, request)
        return 0

    def send(self, arg, task):
        ptr, length = struct.unpack("<QQ", task.read(arg, 16))
        block = task.read(ptr, length)
        ret, count = struct.unpack_from("<II", block)
        if length != 8 + 32 * count:
            return -errno.EINVAL
        self.answers.put((ret, list(struct.iter_unpack("<QQQQ", block[8:]))))
        return -self.fail_send if self.fail_send else 0

    def post(self, func, *params):
        self.requests.put(struct.pack("<II", func, len(params)) + b"".join(struct.pack("<QQQQ", *p) for p in params))

    def call(self, func, *params, meta=None):
        """One request and its answer: (ret, parameters without meta)."""
        extra = [] if meta is None else [(META | 3, meta, 0, 0)]
        self.post(func, *extra, *params)
        ret, answer = self.answers.get(timeout=TIMEOUT)
        if extra:
            assert answer[0] == extra[0]
        return ret, answer[len(extra) :]

    def read(self, shm_id, offset, size):
        shm = self.shms[shm_id]
        return self.task.read(shm.addr + offset, size) if shm.fd < 0 else os.pread(shm.fd, size, offset)

    def write(self, shm_id, offset, data):
        shm = self.shms[shm_id]
        if shm.fd < 0:
            self.task.write(shm.addr + offset, data)
        else:
            os.pwritev(shm.fd, [data], offset)

    def free(self, shm_id):
        assert self.call(7, (3, 0, shm_id, 0), meta=1)[0] == 0

    def shm(self, data=b"", size=None):
        """Shared memory of the supplicant's, by SHM_ALLOC, with ``data`` in it: its id."""
        ret, [(_, _, _, shm_id)] = self.call(6, (3, 0, size or max(len(data), 1), 0), meta=1)
        assert ret == 0
        self.write(shm_id, 0, data)
        return shm_id
