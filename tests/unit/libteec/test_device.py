"""Device files: what memory the emulated driver can touch, and that a kernel's device works the same."""

import ctypes
import errno
import fcntl
import os
import threading
import time

import pytest
from fake_driver import FakeDriver
from hypothesis import given
from hypothesis import strategies as st

from optemu.normal_world import device as device_module
from optemu.normal_world import libteec as t
from optemu.normal_world.device import EmulatedDevice, KernelDevice, LocalTask, Pin, PinnedMemory

RNDGETENTCNT = 0x80045200
UUID = "8aaaf200-2450-11e4-abe2-0002a5d5c51b"


def faults(call, *args):
    with pytest.raises(OSError, match="not pinned") as caught:
        call(*args)
    return caught.value.errno == errno.EFAULT


def test_only_pinned_memory_can_be_touched():
    memory, buffer = PinnedMemory(), bytearray(b"0123456789")
    pin = Pin(memoryview(buffer)[2:8])
    assert faults(memory.read, pin.address, 1)
    memory.add(pin)
    assert memory.read(pin.address, 6) == b"234567"
    assert memory.read(pin.address + 6, 0) == b""
    memory.write(pin.address + 1, b"ab")
    assert buffer == b"012ab56789"
    for addr, size in [(-1, 1), (0, 7), (6, 1), (5, 2), (0, -1), (0, 1 << 64)]:
        assert faults(memory.read, pin.address + addr, size)
    assert faults(memory.write, pin.address + 5, b"xy")
    assert faults(memory.read, 0, 1)
    memory.remove(pin)
    assert faults(memory.read, pin.address, 1)
    assert buffer == b"012ab56789"


@given(st.lists(st.tuples(st.integers(0, 63), st.integers(0, 64)), max_size=6), st.integers(-4, 70), st.integers(0, 70))
def test_overlapping_pins_are_all_reachable(spans, at, size):
    """An access succeeds exactly when one pinned range has all of it, or it is to nothing."""
    memory, buffer = PinnedMemory(), bytearray(range(128))
    base = Pin(buffer).address
    for start, length in spans:
        memory.add(Pin(memoryview(buffer)[start : start + length]))
    if not size or any(start <= at and at + size <= start + length for start, length in spans):
        assert memory.read(base + at, size) == bytes(range(at, at + size))
    else:
        assert faults(memory.read, base + at, size)


def test_pinned_buffer_cannot_move():
    buffer = bytearray(8)
    device = EmulatedDevice(FakeDriver(), "/dev/tee0")
    pin = device.pin(buffer)
    with pytest.raises(BufferError):
        buffer.extend(bytes(1000))
    device.unpin(pin)
    del pin
    buffer.extend(bytes(1000))


def test_emulated_device_says_what_went_wrong():
    with pytest.raises(FileNotFoundError):
        EmulatedDevice(FakeDriver(), "/dev/tee7")
    device = EmulatedDevice(FakeDriver(), "/dev/tee0")
    with pytest.raises(OSError, match="Bad address"):
        device.ioctl(0x800CA400, 0)
    with pytest.raises(OSError, match="no shared memory"):
        device.close_fd(0)
    device.close()
    device.close()
    with pytest.raises(OSError, match="closed"):
        device.ioctl(0x800CA400, 0)


def test_kernel_device_passes_the_argument_itself():
    device, block = KernelDevice("/dev/urandom"), bytearray(b"\xff" * 8)
    pin = device.pin(block)
    assert device.ioctl(RNDGETENTCNT, pin.address) == 0
    assert 0 <= int.from_bytes(block[:4], "little") <= 4096
    assert block[4:] == b"\xff" * 4
    device.close()
    device.close()
    with pytest.raises(OSError, match="closed"):
        device.ioctl(RNDGETENTCNT, pin.address)


def test_a_device_that_is_no_tee():
    with pytest.raises(t.TeecError) as caught:
        t.Context(KernelDevice("/dev/urandom"))
    assert (caught.value.code, caught.value.origin) == (t.TEEC_ERROR_ITEM_NOT_FOUND, t.TEEC_ORIGIN_API)


def test_task_is_this_process():
    task = LocalTask(PinnedMemory(), {})
    assert (task.pid, task.uid, task.euid) == (os.getpid(), os.getuid(), os.geteuid())
    assert (task.gid, task.egid, task.groups) == (os.getgid(), os.getegid(), tuple(os.getgroups()))
    fd = task.fetch_fd(1)
    assert os.fstat(fd).st_ino == os.fstat(1).st_ino
    os.close(fd)


class Blocking:
    """A driver in which ioctl 1 waits for its interruption; it may miss one that comes too early."""

    def __init__(self):
        self.inside, self.closed, self.early = {}, 0, 1

    def open(self, path, task):
        return self

    def ioctl(self, cmd, arg, task):
        event = self.inside[task] = threading.Event()
        assert event.wait(10)
        del self.inside[task]
        return -errno.EINTR

    def interrupted(self, task):
        if self.early:
            self.early -= 1
        else:
            self.inside[task].set()

    def close(self):
        self.closed += 1
        self.inside_at_close = len(self.inside)


def test_close_interrupts_every_call_under_way():
    driver, errors = Blocking(), []
    device = EmulatedDevice(driver, "/dev/tee0")

    def call():
        try:
            device.ioctl(1, 0)
        except OSError as error:
            errors.append(error.errno)

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(driver.inside) < 3:
        time.sleep(0.001)
    device.close()
    assert (driver.closed, driver.inside_at_close) == (1, 0)
    for thread in threads:
        thread.join()
    assert errors == [errno.EINTR] * 3


def test_a_call_that_does_not_give_up_loses_its_file(monkeypatch):
    monkeypatch.setattr(device_module, "_CLOSE_GRACE", 0.02)
    driver = Blocking()
    driver.early = 1 << 30
    device = EmulatedDevice(driver, "/dev/tee0")
    thread = threading.Thread(target=pytest.raises, args=(InterruptedError, device.ioctl, 1, 0))
    thread.start()
    while not driver.inside:
        time.sleep(0.001)
    device.close()
    assert driver.closed == 1
    next(iter(driver.inside.values())).set()
    thread.join()
    assert driver.closed == 1


class RawTask:
    """A kernel's view of its caller: every address is good."""

    def read(self, addr, size):
        return ctypes.string_at(addr, size)

    def write(self, addr, data):
        ctypes.memmove(addr, bytes(data), len(data))

    def install_shm(self, shm):
        return os.dup(shm.fd) if shm.fd >= 0 else os.eventfd(0)


@pytest.mark.parametrize("gen_caps", [0xD, 0x9, 0x1])
def test_the_same_client_code_runs_on_a_kernel(monkeypatch, gen_caps):
    driver = FakeDriver(gen_caps=gen_caps)
    file = driver.open("/dev/tee0", None)

    def ioctl(fd, cmd, block, mutate):
        ret = file.ioctl(cmd, ctypes.addressof(block), RawTask())
        if ret < 0:
            raise OSError(-ret, os.strerror(-ret))
        return ret

    def ta(cmd, params):
        for p in params:
            if p.attr == 7:
                p.write(p.read()[::-1])
            elif p.attr == 3:
                p.a += 1
        return 0

    driver.ta = ta
    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    before = set(os.listdir("/proc/self/fd"))
    with t.InitializeContext("optee-tz", lambda path: KernelDevice("/dev/urandom")) as ctx:
        with ctx.OpenSession(UUID) as session, ctx.AllocateSharedMemory(6) as shm:
            value, temp = t.Value(41), t.TempMemref.inout(bytearray(b"abc"))
            shm.buffer[:] = b"123456"
            session.invoke(1, value, temp, t.RegisteredMemref(shm))
            assert (value.a, temp.data, bytes(shm.buffer)) == (42, b"cba", b"654321")
        assert driver.names()[-1] == "close"
    for shm in driver.shms.values():
        shm.released()
    assert set(os.listdir("/proc/self/fd")) == before
