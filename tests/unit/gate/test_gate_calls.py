"""Calls from real processes: opens, ioctls, memory, descriptors."""

import logging
import os
from pathlib import Path

import pytest
from gate_fakes import FakeDriver, client, wait_until

from optemu.normal_world.gate.gate import Gate


def test_open_and_version(gate: Gate, driver: FakeDriver) -> None:
    assert (
        gate.run(
            client("""
        fd = tee()
        assert version(fd) == (1, 1, 0xD)
        assert not os.get_inheritable(fd)
        assert version(tee()) == (1, 2, 0xD)
    """)
        )
        == 0
    )
    assert len(driver.closed) == 2


def test_open_without_cloexec_survives_exec(gate: Gate, driver: FakeDriver) -> None:
    body = "fd = int(sys.argv[1]); assert version(fd)[1] == 1 and invoke(fd, b'abc') == b'cba'"
    assert (
        gate.run(
            client(f"""
        fd = ctypes.CDLL(None).open(b"/dev/tee0", os.O_RDWR)
        assert os.get_inheritable(fd) and invoke(fd, b"one") == b"eno"
        os.execv(sys.executable, {client(body)!r} + [str(fd)])
    """)
        )
        == 0
    )


def test_an_open_that_may_create_is_the_devices_too(gate: Gate, driver: FakeDriver, tmp_path: Path) -> None:
    """As sh opens for <>; other files are created as ever."""
    tmp_path.chmod(0o777)
    assert (
        gate.run(
            client(f"""
        assert version(tee()) == (1, 1, 0xD)
        os.chdir({str(tmp_path)!r})
        unprivileged()
        assert version(tee(flags=os.O_CREAT | os.O_TRUNC)) == (1, 2, 0xD)
        for flags in (os.O_CREAT, os.O_CREAT | os.O_EXCL):
            os.close(os.open("new", os.O_RDWR | flags, 0o640))
            assert os.stat("new").st_mode & 0o777 == 0o640 & ~os.umask(0)
            os.unlink("new")
    """)
        )
        == 0
    )
    assert driver.opened == 2


def test_privileged_device_and_errors_of_open(gate: Gate) -> None:
    assert (
        gate.run(
            client("""
        fd = tee("/dev/teepriv0")
        assert errno_of(tee, "/dev/teepriv0") == errno.EBUSY
        os.close(fd)
    """)
        )
        == 0
    )


def test_other_files_and_ioctls_go_to_the_kernel(gate: Gate, driver: FakeDriver, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    assert (
        gate.run(
            client(f"""
        fd = tee({str(tmp_path / "file")!r})
        assert os.read(fd, 10) == b"content"
        assert errno_of(tee, "/dev/tee00") == errno.ENOENT and errno_of(tee, "/dev/tee0/") != 0
        assert os.path.exists("/dev/tee0") == {os.path.exists("/dev/tee0")}
        assert errno_of(call, fd, VERSION, bytes(12)) == errno.ENOTTY
        dev = tee()
        os.close(dev)
        assert errno_of(call, dev, VERSION, bytes(12)) == errno.EBADF
        assert errno_of(call, 1000000, VERSION, bytes(12)) == errno.EBADF
        assert ctypes.CDLL(None, use_errno=True).ioctl(-1, VERSION, 0) == -1 and ctypes.get_errno() == errno.EBADF
        assert ctypes.CDLL(None, use_errno=True).open(ctypes.c_void_p(16), os.O_RDWR) == -1
        assert ctypes.get_errno() == errno.EFAULT
    """)
        )
        == 0
    )
    assert driver.opened == 1


def test_path_at_the_end_of_a_page(gate: Gate) -> None:
    assert (
        gate.run(
            client("""
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
        base = libc.mmap(None, 8192, 3, 0x22, -1, 0)
        libc.munmap(ctypes.c_void_p(base + 4096), 4096)
        for path in (b"/dev/tee0\\0", b"/dev/teepriv0\\0"):
            ctypes.memmove(base + 4096 - len(path), path, len(path))
            assert libc.open(ctypes.c_void_p(base + 4096 - len(path)), os.O_RDWR) >= 0
        ctypes.memmove(base + 4096 - 9, b"/dev/tee0", 9)
        assert libc.open(ctypes.c_void_p(base + 4096 - 9), os.O_RDWR) == -1 and ctypes.get_errno() == errno.EFAULT
    """)
        )
        == 0
    )


def test_failures_of_the_driver(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "optemu.gate"):
        assert (
            gate.run(
                client("""
            fd = tee()
            assert errno_of(call, fd, FAIL_OS, errno.EBUSY) == errno.EBUSY
            assert errno_of(call, fd, 0xA4FE, 0) == errno.EINVAL
            assert errno_of(call, fd, FAIL_BUG, 0) == errno.EIO
            assert version(fd)
        """)
            )
            == 0
        )
    assert "ZeroDivisionError" in caplog.text


def test_memory(gate: Gate) -> None:
    """Every size class, both ways, and page protection."""
    assert (
        gate.run(
            client("""
        fd = tee()
        for size in (1, 16, 1023, 1024, 1025, 2048, 2049, 8192, 8193, 65536, 1 << 20, (1 << 20) + 1, 5 << 20):
            data = os.urandom(size)
            assert invoke(fd, data) == data[::-1]
        area = mmap.mmap(-1, 3 * 4096)
        base = ctypes.addressof(ctypes.c_char.from_buffer(area))
        libc = ctypes.CDLL(None)
        poke = lambda addr, size: errno_of(call, fd, POKE, struct.pack("<QQQ", addr, size, 9))
        peek = lambda addr, size: errno_of(call, fd, PEEK, struct.pack("<QQ", addr, size))
        assert libc.mprotect(ctypes.c_void_p(base + 4096), 4096, 1) == 0  # read only
        assert poke(base, 4096) == 0 and area[:4096] == b"\\x09" * 4096
        assert poke(base + 4096, 8) == errno.EFAULT and poke(base + 4090, 12) == errno.EFAULT
        assert poke(base, 12288) == errno.EFAULT
        assert area[4096:8192] == bytes(4096)
        assert libc.munmap(ctypes.c_void_p(base + 4096), 4096) == 0
        assert peek(base, 4096) == 0 and peek(base + 8192, 4096) == 0 and peek(base + 8192, 16) == 0
        for addr, size in ((base + 4096, 1), (base + 4090, 7), (base, 12288), (base + 4000, 5000), (0, 1), (8, 8),
                           (2**64 - 1, 1), (2**63, 8), (2**63 - 8, 16), (base, 2**62), (base, 2**64 - 1), (0, 9000)):
            assert peek(addr, size) == errno.EFAULT, (hex(addr), size)
        for addr in (0, 8, base + 4096, 2**63, 2**64 - 4, 2**47):
            assert poke(addr, 8) == errno.EFAULT and poke(addr, 9000) == errno.EFAULT
            assert errno_of(call, fd, POKE, 0) == errno.EFAULT
    """)
        )
        == 0
    )


@pytest.mark.gate_only
def test_identity(gate: Gate) -> None:
    assert (
        gate.run(
            client("""
        def identity(fd):
            words = struct.unpack("<64I", fcntl.ioctl(fd, IDENTITY, bytes(256)))
            return list(words[:5]), list(words[6:6 + words[5]])
        fd = tee()
        def check():
            assert identity(fd) == ([os.getpid(), os.getuid(), os.geteuid(), os.getgid(), os.getegid()], os.getgroups())
        failures = []
        def checked():
            try: check()
            except BaseException as error: failures.append(error)
        check()
        thread = threading.Thread(target=checked); thread.start(); thread.join()
        assert not failures
        if os.getuid() == 0:
            os.setgroups([10, 20]); os.setresgid(7, 8, 9); os.setresuid(0, 65534, 0)
            check()
    """)
        )
        == 0
    )


def test_dup_fork_and_close_count_references(gate: Gate, driver: FakeDriver) -> None:
    """Number 1 stays open through a child; number 2 must be closed as soon as its last copy is."""
    assert (
        gate.run(
            client("""
        first, second = tee(), tee()
        copy = os.dup(second)
        os.close(second)
        assert version(copy)[1] == 2
        ready, go = os.pipe()
        if os.fork() == 0:
            os.close(copy)
            assert os.read(ready, 1)
            assert version(first)[1] == 1
            os._exit(0)
        os.close(first)
        os.close(copy)
        third = tee()
        until(third, CLOSED, 1)
        os.write(go, b"x")
        assert os.wait()[1] == 0
    """)
        )
        == 0
    )
    assert [file.number for file in driver.closed[:1]] == [2]
    assert sorted(file.number for file in driver.closed) == [1, 2, 3]


def test_a_number_reused_by_dup2_is_the_other_device(gate: Gate) -> None:
    assert (
        gate.run(
            client("""
        first, second, keep = tee(), tee(), tee()
        other = os.dup(first)
        for _ in range(50):
            assert version(first)[1] == 1
            os.dup2(second, first)
            assert version(first)[1] == 2
            os.dup2(other, first)
        os.dup2(0, first)
        assert errno_of(call, first, VERSION, bytes(12)) in (errno.ENOTTY, errno.EINVAL)
    """)
        )
        == 0
    )


def test_passed_over_a_socket(gate: Gate) -> None:
    assert (
        gate.run(
            client("""
        a, b = socket.socketpair()
        if os.fork() == 0:
            socket.send_fds(a, [b"x"], [tee()])
            os._exit(0)
        fd = socket.recv_fds(b, 1, 1)[1][0]
        os.wait()
        assert version(fd)[1] == 1
    """)
        )
        == 0
    )


def test_too_many_descriptors(gate: Gate, driver: FakeDriver) -> None:
    assert (
        gate.run(
            client("""
        fd = tee()
        room = os.dup(fd)
        os.close(room)
        resource.setrlimit(resource.RLIMIT_NOFILE, (room, room))
        assert errno_of(tee) == errno.EMFILE
        assert errno_of(alloc, fd, 4096) == errno.EMFILE
        assert errno_of(call, fd, REGISTER, bytes(24)) == errno.EMFILE
        assert version(fd)[1] == 1
    """)
        )
        == 0
    )
    assert wait_until(lambda: not driver.memories)
    assert driver.opened == 2
    if isinstance(gate, Gate):
        assert not driver.released


def test_shared_memory_is_shared_and_released_last(gate: Gate, driver: FakeDriver) -> None:
    """A descriptor, a mapping, a child's copy: each alone keeps it."""
    seen: list[tuple[str, int]] = []
    driver.handlers[0xA460] = lambda file, arg, task: seen.append((chr(arg), len(driver.released))) or 0
    assert (
        gate.run(
            client("""
        fd = tee()
        shm, ident = alloc(fd, 8192)
        assert ident == 77 and os.fstat(shm).st_size == 8192 and not os.get_inheritable(shm)
        view = mmap.mmap(shm, 8192)
        assert view[:15] == b"from the driver"
        view[100:103] = b"abc"
        os.close(os.dup(shm))
        os.close(shm)
        time.sleep(0.02); call(fd, 0xA460, ord("m"))
        ready, go = os.pipe()
        if os.fork() == 0:
            os.read(ready, 1)
            assert view[100:103] == b"abc"
            time.sleep(0.02); call(fd, 0xA460, ord("c"))
            os._exit(0)
        view.close()
        os.write(go, b"x")
        os.wait()
        until(fd, RELEASED, 1)
    """)
        )
        == 0
    )
    assert seen == [("m", 0), ("c", 0)]
    assert len(driver.released) == 1


def test_many_shared_memories_come_and_go(gate: Gate, driver: FakeDriver) -> None:
    assert (
        gate.run(
            client("""
        fd = tee()
        held = [alloc(fd, 4096)[0] for _ in range(100)] + [call(fd, REGISTER, bytearray(24)) for _ in range(100)]
        assert len(set(held)) == 200
        for shm in held: os.close(shm)
        until(fd, RELEASED, 200)
        for _ in range(100): os.close(alloc(fd, 4096)[0])
    """)
        )
        == 0
    )
    assert wait_until(lambda: len(driver.released) == 300)


def test_registered_memory_is_marked_by_a_pipe(gate: Gate, driver: FakeDriver) -> None:
    assert (
        gate.run(
            client("""
        fd = tee()
        shm = call(fd, REGISTER, bytearray(24))
        assert errno_of(os.read, shm, 1) == errno.EAGAIN
        assert errno_of(mmap.mmap, shm, 4096) != 0
    """)
        )
        == 0
    )
    assert wait_until(lambda: [shm.kind for shm in driver.released] == ["pipe"])


def test_a_descriptor_of_the_clients(gate: Gate) -> None:
    assert (
        gate.run(
            client("""
        fd = tee()
        memory = os.memfd_create("own"); os.ftruncate(memory, 12288)
        assert call(fd, REGISTER_FD, bytearray(struct.pack("<qQIi", memory, 0, 0, 0))) == 12288
        for wrong in (-1, 99, 2**31 - 1, 2**40, -2**40):
            arg = struct.pack("<qQIi", wrong, 0, 0, 0)
            assert errno_of(call, fd, REGISTER_FD, arg) == errno.EBADF, wrong
    """)
        )
        == 0
    )


@pytest.mark.skipif(os.uname().release.startswith("5."), reason="needs the newer receive path to differ from")
@pytest.mark.gate_only
def test_the_path_for_older_kernels(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optemu.normal_world.gate.receiver._must_poll", lambda release: True)
    assert gate.run(client("fd = tee(); assert all(version(fd) for _ in range(100))")) == 0
