"""Reading and writing are total: every address and size gives bytes or EFAULT."""

import ctypes
import errno
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optemu.normal_world.gate.memory import ClientMemory, peek_path

PAGE = 4096
SIZE = 5 * PAGE
BYTES = os.urandom(SIZE)


@pytest.fixture(scope="module")
def area() -> Iterator[tuple[int, ClientMemory]]:
    """Our own memory, as a client's: five pages between two that are mapped behind the end of an empty file."""
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    read_write, shared, private_anonymous, fixed = 3, 1, 0x22, 0x10
    whole = libc.mmap(None, ctypes.c_size_t(SIZE + 2 * PAGE), read_write, private_anonymous, -1, ctypes.c_long(0))
    base = whole + PAGE
    empty = os.memfd_create("empty")
    for page in (whole, base + SIZE):
        at, size, offset = ctypes.c_void_p(page), ctypes.c_size_t(PAGE), ctypes.c_long(0)
        assert libc.mmap(at, size, read_write, shared | fixed, empty, offset) == page
    os.close(empty)
    ctypes.memmove(base, BYTES, SIZE)
    yield base, ClientMemory(threading.get_native_id())
    assert libc.munmap(ctypes.c_void_p(whole), ctypes.c_size_t(SIZE + 2 * PAGE)) == 0


def readable(offset: int, size: int) -> bool:
    return offset >= 0 and offset + size <= SIZE


def attempt(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except OSError as error:
        return error.errno


@given(st.lists(st.tuples(st.integers(-PAGE, SIZE + PAGE - 1), st.integers(1, SIZE + 100)), max_size=4))
def test_reads(area: tuple[int, ClientMemory], reads: list[tuple[int, int]]) -> None:
    base, memory = area
    memory.forget_window()
    for offset, size in reads:
        outcome = attempt(lambda: memory.read(base + offset, size))  # noqa: B023
        wanted = BYTES[offset : offset + size] if readable(offset, size) else errno.EFAULT
        assert outcome == wanted


@given(st.integers(-(2**70), 2**70), st.integers(-(2**40), 2**70))
def test_wild_reads(area: tuple[int, ClientMemory], addr: int, size: int) -> None:
    _, memory = area
    memory.forget_window()
    outcome = attempt(lambda: memory.read(addr, size))
    assert outcome == errno.EFAULT or len(outcome) == size


@given(st.integers(-(2**70), 2**70), st.sampled_from([0, 1, 8, 2048, 2049, 100_000]))
def test_wild_writes(area: tuple[int, ClientMemory], addr: int, size: int) -> None:
    """Only where nothing of ours can be: outside the user half, or in the first page."""
    _, memory = area
    if 4096 < addr < 2**48:
        addr += 2**48
    outcome = attempt(lambda: memory.write(addr, bytes(size)))
    assert outcome == errno.EFAULT or size == 0


@pytest.mark.parametrize("size", [1, 8, 2048, 2049, 8192, SIZE])
@pytest.mark.parametrize("wrap", [bytes, bytearray, lambda data: memoryview(bytearray(data)), memoryview])
def test_writes(area: tuple[int, ClientMemory], size: int, wrap: type[bytes]) -> None:
    base, memory = area
    data = os.urandom(size)
    memory.read(base, 16)
    memory.write(base, wrap(data))
    try:
        assert memory.read(base, size) == data
    finally:
        memory.write(base, BYTES)


def test_unmapped_edges(area: tuple[int, ClientMemory]) -> None:
    """/proc/TID/mem ignores protection, process_vm_writev must not."""
    base, memory = area
    for offset, size in ((-8, 8), (-8, 16), (SIZE - 8, 16), (SIZE, 8), (-1, SIZE + 2)):
        with pytest.raises(OSError, match="Bad address"):
            memory.write(base + offset, bytes(size))
    memory.write(base, BYTES)


def test_a_thread_that_ended() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(OSError):  # noqa: PT011
        ClientMemory(pid).read(4096, 1)
    assert peek_path(pid, 4096) == b""
    os.waitpid(pid, 0)
    with pytest.raises(FileNotFoundError):
        ClientMemory(pid)


def test_peek_path_stops_where_memory_ends(area: tuple[int, ClientMemory]) -> None:
    base, memory = area
    for length in (1, 9, 15):
        assert peek_path(memory.tid, base + SIZE - length) == BYTES[-length:]
    assert peek_path(memory.tid, base + 4090) == BYTES[4090:4106]
    assert peek_path(memory.tid, base + SIZE) == b""
    assert peek_path(memory.tid, 2**64 - 4) == b""
