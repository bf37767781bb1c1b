"""The TEE subsystem's ioctls, argument bytes in and out, and every way a client can get them wrong."""

import errno
import os
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from driver_fakes import PAGE, Message, Normal, pack, until

from optemu.abi import optee_smc as smc
from optemu.abi import tee_ioctl as ioc
from optemu.normal_world.driver import tee_core
from optemu.normal_world.driver.tee_core import IOCTLS

NULL = ioc.TEE_MEMREF_NULL
TOP = (1 << 64) - 1
CLIENT_ONLY = [ioc.TEE_IOC_OPEN_SESSION, ioc.TEE_IOC_INVOKE, ioc.TEE_IOC_CANCEL, ioc.TEE_IOC_CLOSE_SESSION]


@pytest.fixture
def normal() -> Iterator[Normal]:
    normal = Normal()
    yield normal
    normal.close()


def leaks_nothing(normal: Normal) -> bool:
    return normal.device.shm_count() == 0 and len(normal.secure.registered) <= 1  # messages lie in one page of ours


def memfd(size: int, flags: int = os.MFD_ALLOW_SEALING) -> int:
    """A file of the client's, as it may share."""
    fd = os.memfd_create("client", flags)
    os.ftruncate(fd, size)
    return fd


# --- the devices --------------------------------------------------------------------------------------------------------


def test_version(normal: Normal) -> None:
    privileged = normal.device.open("/dev/teepriv0", normal.task)
    assert normal.ioctl(ioc.TEE_IOC_VERSION, bytes(12)) == (0, struct.pack("<III", 1, 1, 1 | 8))
    assert normal.ioctl(ioc.TEE_IOC_VERSION, bytes(12), privileged) == (0, struct.pack("<III", 1, 1, 1 | 2 | 8))
    assert Normal(reg_mem=True).ioctl(ioc.TEE_IOC_VERSION, bytes(12))[1][8:] == struct.pack("<I", 1 | 4 | 8)


def test_ioctls_belong_to_their_device(normal: Normal) -> None:
    privileged = normal.device.open("/dev/teepriv0", normal.task)
    for cmd in CLIENT_ONLY:
        assert normal.ioctl(cmd, bytes(24), privileged)[0] == -errno.EINVAL
    for cmd in (ioc.TEE_IOC_SUPPL_RECV, ioc.TEE_IOC_SUPPL_SEND, 0, 0xA40A, ioc.TEE_IOC_VERSION ^ 0x10000):
        assert normal.ioctl(cmd, bytes(24))[0] == -errno.EINVAL
    assert normal.secure.messages == []


def test_what_can_be_opened(normal: Normal) -> None:
    for path, number in (("/dev/tee1", errno.ENOENT), ("/dev/teepriv1", errno.ENOENT), ("", errno.ENOENT)):
        with pytest.raises(OSError, match="is not a TEE device") as caught:
            normal.device.open(path, normal.task)
        assert caught.value.errno == number
    normal.device.open("/dev/tee0", normal.task)
    first = normal.device.open("/dev/teepriv0", normal.task)
    with pytest.raises(OSError, match="already running") as caught:
        normal.device.open("/dev/teepriv0", normal.task)
    assert caught.value.errno == errno.EBUSY
    first.close()
    normal.device.open("/dev/teepriv0", normal.task)


@pytest.mark.parametrize("cmd", sorted(set(IOCTLS) - {ioc.TEE_IOC_SUPPL_RECV, ioc.TEE_IOC_SUPPL_SEND}))
def test_arguments_outside_the_process(normal: Normal, cmd: int) -> None:
    for addr in (0, normal.task.BASE - 1, normal.task.BASE + len(normal.task.memory) - 3, TOP):
        assert normal.file.ioctl(cmd, addr, normal.task) == -errno.EFAULT


@pytest.mark.parametrize(("cmd", "head"), [(ioc.TEE_IOC_OPEN_SESSION, 56), (ioc.TEE_IOC_INVOKE, 24)])
def test_blocks_that_are_not_what_they_say(normal: Normal, cmd: int, head: int) -> None:
    at = normal.task.BASE + 0x1000

    def send(size: int, count: int, where: int = at) -> int:
        normal.task.write(at + head - 4, struct.pack("<I", count))
        return normal.ioctl(cmd, ioc.BUF_DATA.pack(where, size))[0]

    for size, count in [(head - 1, 0), (0, 0), (head, 1), (head + 32, 0), (head + 31, 1), (head + 64, 1)]:
        assert send(size, count) == -errno.EINVAL
    for size, count in [(4097, 0), (TOP, 0), (head, 0xFFFFFFFF), (head + 32, 1 + (1 << 27))]:
        assert send(size, count) == -errno.EINVAL
    assert send(head, 0, 0) == send(head, 0, TOP) == -errno.EFAULT
    assert normal.secure.messages == []


def test_a_defect_of_ours_is_one_error(
    normal: Normal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(normal.optee, "close_session", lambda *args: 1 // 0)
    assert normal.ioctl(ioc.TEE_IOC_CLOSE_SESSION, bytes(4))[0] == -errno.EIO
    assert "this is a bug of optemu" in caplog.text


# --- shared memory --------------------------------------------------------------------------------------------------------


def test_allocated_memory(normal: Normal) -> None:
    assert normal.shm_alloc(5000) == (101, 5000, 1)
    [shm] = normal.task.shms
    assert shm.kind == "memfd"
    os.pwrite(shm.fd, b"from outside", 0)
    assert bytes(shm.view[:12]) == b"from outside"
    assert normal.secure.registered[shm.cookie][2] == 5000
    shm.released()
    assert leaks_nothing(normal)


@pytest.mark.parametrize(
    ("cmd", "argument", "error"),
    [
        (ioc.TEE_IOC_SHM_ALLOC, (0, 0, 0), errno.EINVAL),
        (ioc.TEE_IOC_SHM_ALLOC, (100, 1, 0), errno.EINVAL),
        (ioc.TEE_IOC_SHM_ALLOC, ((1 << 30) + 1, 0, 0), errno.ENOMEM),
        (ioc.TEE_IOC_SHM_ALLOC, (TOP, 0, 0), errno.ENOMEM),
        (ioc.TEE_IOC_SHM_REGISTER, (0x10000, 0, 0, 0), errno.EINVAL),
        (ioc.TEE_IOC_SHM_REGISTER, (0x10000, 100, 1, 0), errno.EINVAL),
        (ioc.TEE_IOC_SHM_REGISTER, (0x10000, TOP, 0, 0), errno.ENOMEM),
        (ioc.TEE_IOC_SHM_REGISTER, (0, 100, 0, 0), errno.EFAULT),
        (ioc.TEE_IOC_SHM_REGISTER, (0x10000, (1 << 20) + 1, 0, 0), errno.EFAULT),
        (ioc.TEE_IOC_SHM_REGISTER, (TOP - 10, 100, 0, 0), errno.EFAULT),
        (ioc.TEE_IOC_SHM_REGISTER_FD, (9, 0, 0, 0), errno.EBADF),
        (ioc.TEE_IOC_SHM_REGISTER_FD, (-1, 0, 0, 0), errno.EBADF),
        (ioc.TEE_IOC_SHM_REGISTER_FD, (5, 0, 1, 0), errno.EINVAL),
        (ioc.TEE_IOC_SHM_REGISTER_FD, (5, 0, 0, 0), errno.EINVAL),  # an empty file
        (ioc.TEE_IOC_SHM_REGISTER_FD, (6, 0, 0, 0), errno.EINVAL),  # no whole page
        (ioc.TEE_IOC_SHM_REGISTER_FD, (7, 0, 0, 0), errno.EINVAL),  # its owner could cut it off under our hands
    ],
)
def test_memory_that_cannot_be_shared(normal: Normal, cmd: int, argument: tuple[int, ...], error: int) -> None:
    layout = {3: ioc.SHM_ALLOC_DATA, 4: ioc.SHM_REGISTER_DATA}[len(argument)]
    if cmd == ioc.TEE_IOC_SHM_REGISTER_FD:
        layout = ioc.SHM_REGISTER_FD_DATA
        normal.task.their_fds = {5: memfd(0), 6: memfd(100), 7: memfd(PAGE, 0)}
    assert normal.ioctl(cmd, layout.pack(*argument))[0] == -error
    assert normal.task.shms == []
    assert leaks_nothing(normal)


def test_a_board_without_memory_left(normal: Normal) -> None:
    normal.session()  # the kernel has its own pages by now
    window = normal.board.memory._windows[False]
    window.end = window.next
    register = ioc.SHM_REGISTER_DATA.pack(normal.task.BASE, 100, 0, -1)
    assert normal.shm_alloc(100)[0] == normal.ioctl(ioc.TEE_IOC_SHM_REGISTER, register)[0] == -errno.ENOMEM
    assert leaks_nothing(normal)


@pytest.mark.parametrize("failure", ["descriptors", "writing", "secure world"])
@pytest.mark.parametrize("cmd", [ioc.TEE_IOC_SHM_ALLOC, ioc.TEE_IOC_SHM_REGISTER, ioc.TEE_IOC_SHM_REGISTER_FD])
def test_what_fails_half_way_leaves_nothing(normal: Normal, cmd: int, failure: str) -> None:
    task = normal.task
    task.their_fds[5] = memfd(PAGE)
    argument = {
        ioc.TEE_IOC_SHM_ALLOC: ioc.SHM_ALLOC_DATA.pack(100, 0, -1),
        ioc.TEE_IOC_SHM_REGISTER: ioc.SHM_REGISTER_DATA.pack(task.BASE + 0x2000, 100, 0, -1),
        ioc.TEE_IOC_SHM_REGISTER_FD: ioc.SHM_REGISTER_FD_DATA.pack(5, 0, 0, -1),
    }[cmd]
    regions = normal.board.memory.usage(secure=False).used
    task.write(task.BASE, argument)
    if failure == "descriptors":
        task.full, error = True, errno.EMFILE
    elif failure == "writing":
        task.faults, error = range(task.BASE, task.BASE + 8), errno.EFAULT
    else:
        normal.secure.result, error = smc.OPTEE_SMC_RETURN_EBADADDR, errno.EINVAL
    assert normal.file.ioctl(cmd, task.BASE, task) == -error
    normal.secure.result = 0
    assert leaks_nothing(normal)
    normal.file.close()
    assert normal.board.memory.usage(secure=False).used - regions <= 64 * PAGE + 0, "but the kernel's own pages"
    assert normal.optee.pool.idle() == 0


def test_registered_memory_is_copied_round_a_call(normal: Normal) -> None:
    task, session = normal.task, normal.session()
    at = task.BASE + 0x3003
    task.write(at, b"before")
    rc, block = normal.ioctl(ioc.TEE_IOC_SHM_REGISTER, ioc.SHM_REGISTER_DATA.pack(at, 100, 0, -1))
    number = ioc.SHM_REGISTER_DATA.unpack(block)[3]
    [shm] = task.shms
    assert (rc, shm.kind, shm.fd) == (101, "pipe", -1)

    def serve(message: Message) -> None:
        seen.append(bytes(shm.view[:6]))
        shm.view[:5] = b"after"
        message.answer()

    seen: list[bytes] = []
    normal.secure.serve = serve
    assert normal.invoke(session, 0, [(7, 0, 100, number)])[0] == 0
    assert (seen, task.read(at, 6)) == ([b"before"], b"aftere")
    task.faults = range(at, at + 100)
    assert normal.invoke(session, 0, [(5, 0, 100, number)])[0] == 0, "read-only memory may be input"


def test_a_memfd_of_the_clients_is_shared_for_real(normal: Normal) -> None:
    theirs = normal.task.their_fds[5] = memfd(2 * PAGE)
    os.pwrite(theirs, b"theirs", 0)
    rc, block = normal.ioctl(ioc.TEE_IOC_SHM_REGISTER_FD, ioc.SHM_REGISTER_FD_DATA.pack(5, 0, 0, -1))
    assert rc == 101
    fd, size, _, number = ioc.SHM_REGISTER_FD_DATA.unpack(block)
    assert (fd, size, number) == (5, 2 * PAGE, 1)
    [shm] = normal.task.shms
    shm.view[:4] = b"ours"
    assert os.pread(theirs, 6, 0) == b"oursrs"
    with pytest.raises(PermissionError):
        os.ftruncate(theirs, 0)


def test_ids_are_used_once(normal: Normal) -> None:
    assert normal.shm_alloc(10)[2] == 1
    normal.device._next_shm_id = 0x7FFFFFFE
    assert normal.shm_alloc(10)[2] == 0x7FFFFFFF
    assert normal.shm_alloc(10)[2] == 2, "1 is in use"
    assert normal.device.shm_count() == 3


# --- parameters -----------------------------------------------------------------------------------------------------------


def test_references_travel_by_cookie(normal: Normal) -> None:
    session = normal.session()
    number = normal.shm_alloc(100)[2]
    cookie = normal.task.shms[0].cookie
    normal.invoke(session, 0, [(5, 10, 90, number), (7, 100, 0, number), (6, 1, 50, NULL), (1, 2, 3, 4)])
    assert normal.secure.messages[-1].params == [
        (5, 10, 90, cookie),
        (7, 100, 0, cookie),
        (10, 0, 50, 0),  # NULL: temporary memory without an address
        (1, 2, 3, 4),
    ]
    assert normal.task.shms[0].refs == 1


@pytest.mark.parametrize(
    "wrong",
    [
        (4, 0, 0, 0),
        (8, 0, 0, 0),
        (0x101, 0, 0, 0),
        (0x105, 0, 0, 1),
        (TOP, 0, 0, 0),
        (5, 0, 101, 1),
        (5, 101, 0, 1),
        (6, TOP, 2, 1),
        (7, 2, TOP, 1),
        (5, 0, 1, 2),
        (5, 0, 1, 0),
        (5, 0, 1, NULL - 1),
    ],
)
def test_parameters_that_are_refused(normal: Normal, wrong: tuple[int, int, int, int]) -> None:
    session = normal.session()
    normal.shm_alloc(100)
    before = len(normal.secure.messages)
    good = (5, 0, 100, 1)
    for params in ([wrong], [good, wrong], [good, (0, 0, 0, 0), wrong]):
        assert normal.invoke(session, 0, params)[0] == -errno.EINVAL
        assert normal.open(params=params)[0] == -errno.EINVAL
    assert len(normal.secure.messages) == before
    assert normal.task.shms[0].refs == 1, "what was held for the call is let go"


def test_only_outputs_come_back(normal: Normal) -> None:
    session = normal.session()
    normal.shm_alloc(100)
    kinds = (1, 2, 3, 5, 6, 7)
    sent = [(kind, 0, 8, 1) if kind > 3 else (kind, 1, 2, 3) for kind in kinds]
    changed = [(0x77, 70, 80, 90)] * 6
    normal.secure.serve = lambda message: message.answer(params=changed)
    back = normal.invoke(session, 0, sent)[2]
    assert back[0] == sent[0]
    assert back[3] == sent[3]
    assert back[1] == (2, 70, 80, 90)
    assert back[2] == (3, 70, 80, 90)
    assert back[4:] == [(6, 0, 80, 1), (7, 0, 80, 1)], "of a reference only its size"


def test_a_session_whose_answer_cannot_be_written_is_closed(normal: Normal) -> None:
    normal.secure.serve = lambda message: message.answer(session=5)
    at = normal.task.BASE + 0x1000
    normal.task.write(at, ioc.OPEN_SESSION_ARG.pack(bytes(16), bytes(16), 0, 0, 0, 0, 0, 0))
    normal.task.write(normal.task.BASE, ioc.BUF_DATA.pack(at, 56))
    normal.task.faults = range(at + 40, at + 52)
    assert normal.file.ioctl(ioc.TEE_IOC_OPEN_SESSION, normal.task.BASE, normal.task) == -errno.EFAULT
    assert [m.cmd for m in normal.secure.messages][-2:] == [0, 2]
    assert not normal.file.sessions


# --- whose it is, and the end -----------------------------------------------------------------------------------------------


def test_sessions_and_memory_of_others(normal: Normal) -> None:
    session, number = normal.session(), normal.shm_alloc(100)[2]
    other = normal.device.open("/dev/tee0", normal.task)
    before = len(normal.secure.messages)
    invoke = ioc.INVOKE_ARG.pack(0, session, 0, 0, 0, 0)
    assert normal.buf_ioctl(ioc.TEE_IOC_INVOKE, invoke, other)[0] == -errno.EINVAL
    assert normal.ioctl(ioc.TEE_IOC_CANCEL, struct.pack("<II", 0, session), other)[0] == -errno.EINVAL
    assert normal.ioctl(ioc.TEE_IOC_CLOSE_SESSION, struct.pack("<I", session), other)[0] == -errno.EINVAL
    block = ioc.OPEN_SESSION_ARG.pack(bytes(16), bytes(16), 0, 0, 0, 0, 0, 1) + pack([(5, 0, 1, number)])
    assert normal.buf_ioctl(ioc.TEE_IOC_OPEN_SESSION, block, other)[0] == -errno.EINVAL
    assert len(normal.secure.messages) == before
    assert normal.ioctl(ioc.TEE_IOC_CLOSE_SESSION, struct.pack("<I", session))[0] == 0
    assert normal.ioctl(ioc.TEE_IOC_CLOSE_SESSION, struct.pack("<I", session))[0] == -errno.EINVAL


def test_closing_the_file(normal: Normal) -> None:
    sessions = [normal.session(n) for n in (3, 4)]
    normal.shm_alloc(100)
    normal.file.close()
    normal.file.close()
    closed = [m.session for m in normal.secure.messages if m.cmd == 2]
    assert sorted(closed) == sessions
    assert normal.file in normal.device.contexts, "its memory is still mapped somewhere"
    normal.task.shms[0].released()
    assert normal.device.contexts == set()
    assert normal.optee.pool.idle() == 0


def test_a_client_that_dies_in_a_call(normal: Normal, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[Any] = []
    monkeypatch.setattr(normal.optee, "end_calls", ended.append)
    normal.file.interrupted(normal.task)
    assert ended == [], "no call is under way"
    assert normal.optee.caller_is_gone(normal.file)
    normal.ioctl(ioc.TEE_IOC_VERSION, bytes(12))
    assert not normal.optee.caller_is_gone(normal.file), "another process that has the file goes on"
    normal.file.calls.add(None)  # type: ignore[arg-type]
    normal.file.interrupted(normal.task)
    until(lambda: ended == [normal.file])


def test_the_table_is_whole() -> None:
    assert set(IOCTLS) == set(ioc.IOCTL_NAMES)
    for row in tee_core.IOCTLS.values():
        assert row.name == ioc.IOCTL_NAMES[row.number]
