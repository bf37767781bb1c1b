"""Calls that take long never keep others waiting, and end when their client does."""

import hashlib
import os
import threading
from typing import Any

import pytest
from gate_fakes import BLOCK, FakeDriver, client, wait_until

from optemu.abi.tee_ioctl import TEE_IOC_INVOKE
from optemu.normal_world.gate.gate import Gate


def test_blocked_threads_do_not_block_others(gate: Gate, driver: FakeDriver) -> None:
    """Twenty calls wait at once, and each is woken by a later call of the same process."""
    assert (
        gate.run(
            client("""
        fd = tee()
        results = []
        threads = [threading.Thread(target=lambda: results.append(call(fd, BLOCK, 0))) for _ in range(20)]
        for thread in threads: thread.start()
        for _ in range(200): assert version(fd)
        assert call(fd, UNBLOCK, 20) == 20
        for thread in threads: thread.join()
        assert results == [5] * 20
    """)
        )
        == 0
    )
    assert not driver.interrupted


@pytest.mark.gate_only
def test_spare_threads_are_few(gate: Gate, driver: FakeDriver) -> None:
    body = """
        fd = tee()
        threads = [threading.Thread(target=call, args=(fd, BLOCK, 0)) for _ in range(20)]
        for thread in threads: thread.start()
        assert call(fd, UNBLOCK, 20) == 20
        for thread in threads: thread.join()
        for _ in range(50): version(fd)
        assert 0 < call(fd, 0xA462, 0) <= 6
    """
    driver.handlers[0xA462] = lambda *_: _settled_workers()
    assert gate.run(client(body)) == 0


def _settled_workers() -> int:
    def count() -> int:
        names = [thread.name for thread in threading.enumerate()]
        return sum(name.startswith("optemu-gate-") and name != "optemu-gate-janitor" for name in names)

    wait_until(lambda: count() <= 6)
    return count()


def test_the_result_of_a_late_call_is_written(gate: Gate) -> None:
    assert (
        gate.run(
            client("""
        fd = tee()
        out = ctypes.create_string_buffer(5)
        libc = ctypes.CDLL(None)
        thread = threading.Thread(target=lambda: libc.ioctl(fd, ctypes.c_ulong(BLOCK), out))
        thread.start()
        assert call(fd, UNBLOCK, 1) == 1
        thread.join()
        assert out.raw == b"woken"
    """)
        )
        == 0
    )


def test_a_slow_invoke_is_known_the_next_time(gate: Gate, driver: FakeDriver) -> None:
    """Two threads whose invokes meet inside the driver: neither could finish if they were served in turn."""
    meeting = threading.Barrier(2)

    def meet(file: Any, arg: int, task: Any) -> int:
        meeting.wait(10)
        return 0

    driver.handlers[TEE_IOC_INVOKE] = meet
    assert (
        gate.run(
            client("""
        def many():
            fd = tee()
            for _ in range(30): call(fd, INVOKE, bytes(16))
        thread = threading.Thread(target=many)
        thread.start(); many(); thread.join()
    """)
        )
        == 0
    )
    assert not meeting.broken


class Work:
    """Invokes that keep a processor busy for 0.3 ms and more; how many were at it at once, and on what processors."""

    def __init__(self, driver: FakeDriver) -> None:
        self.data = bytes(300_000)
        self.inside = self.most = 0
        self.affinity: set[int] = set()
        driver.handlers[TEE_IOC_INVOKE] = self.invoke
        driver.handlers[0xA463] = self.note_affinity

    def invoke(self, file: Any, arg: int, task: Any) -> int:
        self.inside += 1
        self.most = max(self.most, self.inside)
        hashlib.sha256(self.data).digest()
        self.inside -= 1
        return 0

    def note_affinity(self, file: Any, arg: int, task: Any) -> int:
        self.affinity = os.sched_getaffinity(0)
        return 0


WORKERS = """
        def many(times):
            fd = tee()
            for _ in range(times): call(fd, INVOKE, bytes(16))
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor serves one call at a time")
def test_work_for_two_clients_is_done_side_by_side(gate: Gate, driver: FakeDriver) -> None:
    """And once it is over, any processor may serve the next call."""
    work = Work(driver)
    assert (
        gate.run(
            client(
                WORKERS
                + """
        thread = threading.Thread(target=many, args=(300,))
        thread.start(); many(300); thread.join()
        fd = tee()
        end = time.monotonic() + 0.3
        while time.monotonic() < end: version(fd)
        call(fd, 0xA463, 0)
    """
            )
        )
        == 0
    )
    assert work.most == 2
    assert work.affinity == os.sched_getaffinity(0)


def test_stop_while_clients_are_busy(gate: Gate, driver: FakeDriver) -> None:
    Work(driver)
    driver.handlers[0xA464] = lambda *_: driver.opened
    assert (
        gate.run(
            client(
                WORKERS
                + """
        if os.fork() == 0:
            for _ in range(3): threading.Thread(target=many, args=(10**9,)).start()
        else:
            until(tee(), 0xA464, 4)
            os._exit(0)
    """
            )
        )
        == 0
    )
    gate.stop()
    assert not driver.files


def test_a_killed_client_interrupts_its_call(gate: Gate, driver: FakeDriver) -> None:
    assert (
        gate.run(
            client("""
        fd = tee()
        pid = blocker(fd)
        os.close(fd)
        fd = tee()
        until(fd, WAITING, 1)
        os.kill(pid, signal.SIGKILL)
        assert os.WTERMSIG(os.wait()[1]) == signal.SIGKILL
        until(fd, INTERRUPTED, 1)
    """)
        )
        == 0
    )
    assert len(driver.interrupted) == 1
    assert len(driver.closed) == 2


def test_also_when_another_process_still_holds_the_device(gate: Gate, driver: FakeDriver) -> None:
    """No hang-up tells of this death; the watchdog finds it."""
    assert (
        gate.run(
            client("""
        fd = tee()
        pid = blocker(fd)
        until(fd, WAITING, 1)
        os.kill(pid, signal.SIGKILL)
        os.wait()
        until(fd, INTERRUPTED, 1)
    """)
        )
        == 0
    )
    assert len(driver.closed) == 1


def test_also_after_a_long_pause(gate: Gate, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast tick has stopped by then."""
    monkeypatch.setattr("optemu.normal_world.gate.watchdog._IDLE_TICKS", 5)
    assert (
        gate.run(
            client("""
        fd = tee()
        pid = blocker(fd)
        time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        os.wait()
        until(fd, INTERRUPTED, 1)
    """)
        )
        == 0
    )


def test_closing_the_device_under_a_call_keeps_it_open(gate: Gate, driver: FakeDriver) -> None:
    assert (
        gate.run(
            client("""
        fd, other = tee(), tee()
        results = []
        thread = threading.Thread(target=lambda: results.append(call(fd, BLOCK, 0)))
        thread.start()
        until(other, WAITING, 1)
        os.close(fd)
        time.sleep(0.02)
        assert call(other, CLOSED, 0) == 0
        assert call(other, UNBLOCK, 1) == 1
        thread.join()
        assert results == [5]
        until(other, CLOSED, 1)
    """)
        )
        == 0
    )
    assert not driver.interrupted


def test_a_signal_waits_for_the_call(gate: Gate, driver: FakeDriver) -> None:
    """The call is not torn in two: its answer arrives, then the handler runs; with and without SA_RESTART."""
    driver.handlers[0xA465] = lambda *_: 6 if threading.Event().wait(0.06) is False else 0
    assert (
        gate.run(
            client("""
        fd = tee()
        for restart in (True, False):
            seen = []
            signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
            signal.siginterrupt(signal.SIGALRM, not restart)
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            libc = ctypes.CDLL(None)
            assert libc.ioctl(fd, ctypes.c_ulong(0xA465), None) == 6
            for _ in range(10): pass
            assert seen
    """)
        )
        == 0
    )


def test_exec_under_a_waiting_thread(gate: Gate, driver: FakeDriver) -> None:
    """The thread is gone though its process is not; the process goes on under the same number."""
    body = """
        fd = int(sys.argv[1])
        assert invoke(fd, b"abc") == b"cba"
        until(fd, INTERRUPTED, 1)
    """
    assert (
        gate.run(
            client(f"""
        fd = tee()
        os.set_inheritable(fd, True)
        def other():
            until(fd, WAITING, 1)
            os.execv(sys.executable, {client(body)!r} + [str(fd)])
        threading.Thread(target=other).start()
        call(fd, BLOCK, 0)
    """)
        )
        == 0
    )


def test_stop_interrupts_what_is_left(gate: Gate, driver: FakeDriver) -> None:
    assert (
        gate.run(
            client("""
        fd = tee()
        blocker(fd)
        until(fd, WAITING, 1)
    """)
        )
        == 0
    )
    assert len(driver.files) == 1
    gate.stop()
    assert len(driver.interrupted) == 1
    assert not driver.files


def test_many_processes_at_once(gate: Gate, driver: FakeDriver) -> None:
    assert (
        gate.run(
            client("""
        for number in range(12):
            if os.fork() == 0:
                fd = tee()
                for size in range(200): assert invoke(fd, bytes([number]) * size) == bytes([number]) * size
                shm, _ = alloc(fd, 4096)
                os._exit(0)
        for _ in range(12): assert os.wait()[1] == 0
    """)
        )
        == 0
    )
    assert len(driver.closed) == 12
    assert len(driver.released) == 12


def test_clients_that_die_at_any_moment(gate: Gate, driver: FakeDriver) -> None:
    assert (
        gate.run(
            client("""
        for round in range(60):
            pid = os.fork()
            if pid == 0:
                while True:
                    fd = tee(); invoke(fd, b"some bytes"); shm, _ = alloc(fd, 4096)
                    view = mmap.mmap(shm, 4096)
                    call(fd, REGISTER, bytearray(24))
                    os.close(fd)
            time.sleep(0.001 + round % 7 * 0.0013)
            os.kill(pid, signal.SIGKILL)
            os.wait()
        assert version(tee())
    """)
        )
        == 0
    )
    assert wait_until(lambda: not driver.files and not driver.memories)


def test_two_programs_at_once(gate: Gate, driver: FakeDriver) -> None:
    status: list[int] = []
    body = "fd = tee(); assert call(fd, BLOCK, 0) == 5; sys.exit(4)"
    thread = threading.Thread(target=lambda: status.append(gate.run(client(body))))
    thread.start()
    assert wait_until(lambda: driver.waiting)
    assert gate.run(client("sys.exit(call(tee(), UNBLOCK, 1))")) == 1
    thread.join()
    assert status == [4]


def test_block_is_not_a_known_waiting_call() -> None:
    """Otherwise the tests above would not test the watchdog."""
    from optemu.normal_world.gate.receiver import _WAITING

    assert BLOCK not in _WAITING
