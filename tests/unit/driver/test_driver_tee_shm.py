"""Memory of processes and of the kernel: given, taken back, used again, never by a stranger."""

import os
from collections.abc import Iterator

import pytest
from driver_fakes import PAGE, FakeTask

from optemu.board.memory import PhysicalMemory
from optemu.normal_world.driver.tee_shm import MAX_RECYCLED, ShmPool, TeeShm, fill_page_list, page_list_size


def is_open(fd: int) -> bool:
    """Whether the number is still a memfd of the pool."""
    try:
        return "memfd:optemu-shm" in os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return False


@pytest.fixture
def memory() -> PhysicalMemory:
    return PhysicalMemory()


@pytest.fixture
def pool(memory: PhysicalMemory, monkeypatch: pytest.MonkeyPatch) -> Iterator[ShmPool]:
    """A pool whose memfds are all closed in the end."""
    made: list[int] = []
    create = os.memfd_create
    monkeypatch.setattr(os, "memfd_create", lambda *args: made.append(create(*args)) or made[-1])
    yield ShmPool(memory)
    for fd in set(made):
        if is_open(fd):
            os.close(fd)


def test_what_is_given_back_comes_again_zeroed(pool: ShmPool) -> None:
    region, fd = pool.allocate(1, 5000)
    assert region.size == os.fstat(fd).st_size == 2 * PAGE
    region.view[:6] = b"secret"
    pool.recycle(1, region, fd)
    assert pool.idle() == 1
    again, same_fd = pool.allocate(1, 2 * PAGE)
    assert (again, same_fd, pool.idle()) == (region, fd, 0)
    assert os.pread(fd, 6, 0) == bytes(6)


def test_never_to_another_process_nor_for_another_size(pool: ShmPool) -> None:
    region, fd = pool.allocate(1, PAGE)
    pool.recycle(1, region, fd)
    assert pool.allocate(2, PAGE)[0] is not region
    assert pool.allocate(1, 2 * PAGE)[0] is not region
    assert pool.allocate(1, PAGE)[0] is region


def test_large_ones_and_too_many_are_let_go(pool: ShmPool, memory: PhysicalMemory) -> None:
    taken = [pool.allocate(1, PAGE) for _ in range(MAX_RECYCLED + 2)]
    large, large_fd = pool.allocate(1, (1 << 20) + 1)
    for region, fd in taken:
        pool.recycle(1, region, fd)
    pool.recycle(1, large, large_fd)
    assert pool.idle() == memory.count(secure=False) == MAX_RECYCLED
    assert [is_open(fd) for _, fd in taken] == [True] * MAX_RECYCLED + [False] * 2
    assert not is_open(large_fd)


def test_a_process_that_is_gone_is_forgotten(pool: ShmPool, memory: PhysicalMemory) -> None:
    kept = {pid: pool.allocate(pid, PAGE) for pid in (1, 2)}
    more = pool.allocate(1, 2 * PAGE)
    for pid, (region, fd) in kept.items():
        pool.recycle(pid, region, fd)
    pool.recycle(1, *more)
    pool.forget(1)
    assert (pool.idle(), memory.count(secure=False)) == (1, 1)
    assert not is_open(kept[1][1])
    assert is_open(kept[2][1])
    pool.forget(3)


def test_a_client_cannot_cut_off_what_we_have_mapped(pool: ShmPool) -> None:
    """It holds the memfd: a shorter file under our mapping would end this process."""
    region, fd = pool.allocate(1, 2 * PAGE)
    for size in (0, PAGE):
        with pytest.raises(PermissionError):
            os.ftruncate(fd, size)
    region.view[2 * PAGE - 1] = 1


def test_no_descriptor_stays_when_there_is_no_memory(pool: ShmPool, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise MemoryError("no physical address left")

    monkeypatch.setattr(pool._memory, "allocate", full)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(MemoryError):
        pool.allocate(1, PAGE)
    assert os.listdir("/proc/self/fd") == before


def test_kernel_pages_are_distinct_and_used_again(pool: ShmPool, memory: PhysicalMemory) -> None:
    pages = [pool.take_page() for _ in range(65)]
    addresses = {region.base + at for region, at in pages}
    assert len(addresses) == 65
    assert all(address % PAGE == 0 for address in addresses)
    assert memory.count(secure=False) == 2
    pool.give_page(pages[7])
    assert pool.take_page() == pages[7]


@pytest.mark.parametrize(
    ("pages", "size"), [(1, PAGE), (511, PAGE), (512, 2 * PAGE), (1022, 2 * PAGE), (1023, 3 * PAGE)]
)
def test_page_lists(memory: PhysicalMemory, pages: int, size: int) -> None:
    region = memory.allocate(pages * PAGE, secure=False)
    assert page_list_size(region) == size
    listed = memory.allocate(size + PAGE, secure=False)
    fill_page_list(listed.view, PAGE, listed.base + PAGE, region)
    words = listed.view.cast("Q")
    found: list[int] = []
    at = 512
    while len(found) < pages:
        take = min(511, pages - len(found))
        found += words[at : at + take].tolist()
        if len(found) < pages:
            assert words[at + 511] == listed.base + 8 * (at + 512)
        at += 512
    assert found == list(range(region.base, region.base + pages * PAGE, PAGE))


def test_objects(memory: PhysicalMemory) -> None:
    released: list[TeeShm] = []
    region = memory.allocate(2 * PAGE, secure=False)
    shm, other = TeeShm(region, 100, released.append, 9), TeeShm(region, 100, released.append)
    shm.page_offset = 50
    shm.view[:4] = b"view"
    assert bytes(region.view[50:54]) == b"view"
    assert (len(shm.view), shm.kind, other.kind) == (100, "memfd", "pipe")
    assert shm.cookie != other.cookie
    assert 0 not in (shm.cookie, other.cookie)
    shm.released()
    assert released == [shm]


def test_only_registered_memory_is_copied(memory: PhysicalMemory) -> None:
    task = FakeTask()
    task.write(task.BASE, b"x" * 8)
    shm = TeeShm(memory.allocate(8, secure=False), 8, lambda shm: None)
    shm.copy_in(task)
    assert bytes(shm.view) == bytes(8)
    shm.user_addr = task.BASE
    shm.copy_in(task)
    assert bytes(shm.view) == b"x" * 8
    shm.view[:] = b"y" * 8
    task.faults = range(task.BASE, task.BASE + 1)
    shm.copy_out(task)
    assert task.read(task.BASE, 8) == b"x" * 8
    task.faults = range(0)
    shm.copy_out(task)
    assert task.read(task.BASE, 8) == b"y" * 8
