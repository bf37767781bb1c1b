"""Our C libteec against a driver in Python: what it asks of the kernel, and what it makes of the answers."""

import ctypes as ct
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import teec
from teec import Driver, Operation, SharedMemory

from optemu.abi import tee_ioctl as t

NONE, VALUE_IN, VALUE_OUT, VALUE_INOUT = 0, 1, 2, 3
TEMP_IN, TEMP_OUT, TEMP_INOUT = 5, 6, 7
WHOLE, PART_IN, PART_OUT, PART_INOUT = 0xC, 0xD, 0xE, 0xF
IN, OUT, INOUT = 1, 2, 3
ITEM_NOT_FOUND, BAD_PARAMETERS, OUT_OF_MEMORY, GENERIC = 0xFFFF0008, 0xFFFF0006, 0xFFFF000C, 0xFFFF0000
API, COMMS, TA = 1, 2, 4
UUID = (ct.c_uint8 * 16)(*bytes.fromhex("44332211665588770102030405060708"))

Make = Callable[..., "Client"]


class Client:
    """A context, and a session with session id 0x55."""

    def __init__(self, driver: Driver) -> None:
        self.driver, self.lib = driver, driver.lib
        for f in ("InitializeContext", "OpenSession", "InvokeCommand", "RegisterSharedMemory", "AllocateSharedMemory"):
            getattr(self.lib, f"TEEC_{f}").restype = ct.c_uint32
        self.ctx = teec.Context()
        assert self.lib.TEEC_InitializeContext(None, ct.byref(self.ctx)) == 0
        self.session = teec.Session(ct.addressof(self.ctx), 0x55)
        self.origin = ct.c_uint32(0)

    def open(self, method: int = 0, data: bytes | None = None, op: Operation | None = None) -> int:
        args = (ct.byref(self.ctx), ct.byref(self.session), UUID, method, data, op and ct.byref(op))
        return int(self.lib.TEEC_OpenSession(*args, ct.byref(self.origin)))

    def invoke(self, op: Operation | None, cmd: int = 9) -> int:
        args = (ct.byref(self.session), cmd, op and ct.byref(op), ct.byref(self.origin))
        return int(self.lib.TEEC_InvokeCommand(*args))

    def shared(self, how: str, size: int, flags: int, buffer: object = None) -> tuple[int, SharedMemory]:
        shm = SharedMemory(ct.cast(buffer, ct.c_void_p) if buffer else None, size, flags)
        shm.kept = buffer
        return getattr(self.lib, f"TEEC_{how}SharedMemory")(ct.byref(self.ctx), ct.byref(shm)), shm

    def release(self, shm: SharedMemory) -> None:
        self.lib.TEEC_ReleaseSharedMemory(ct.byref(shm))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return teec.build_library(tmp_path_factory.mktemp("libteec"))


@pytest.fixture
def make(library: Path) -> Make:
    return lambda reg_mem=True, **kw: Client(Driver(library, reg_mem, **kw))


@pytest.fixture(params=[True, False], ids=["reg_mem", "shadow"])
def client(make: Make, request: pytest.FixtureRequest) -> Client:
    return make(request.param)


def operation(*params: tuple[int, object]) -> Operation:
    op = Operation()
    op.kept = params  # op holds addresses only
    for n, (kind, value) in enumerate(params):
        op.param_types |= kind << (4 * n)
        if isinstance(value, teec.Value):
            op.params[n].value = value
        elif isinstance(value, teec.RegisteredRef):
            op.params[n].memref = value
        elif isinstance(value, ct.Array):
            op.params[n].tmpref = teec.TempRef(ct.addressof(value), len(value))
    return op


def buffer(data: bytes) -> "ct.Array[ct.c_char]":
    return (ct.c_char * len(data)).from_buffer_copy(data)


def ref(shm: SharedMemory, size: int = 0, offset: int = 0) -> teec.RegisteredRef:
    return teec.RegisteredRef(ct.addressof(shm), size, offset)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_device_is_found_and_chosen(library: Path) -> None:
    driver = Driver(library, True)
    lib, ctx = driver.lib, teec.Context()
    lib.TEEC_InitializeContext.restype = ct.c_uint32
    before = open_files()
    driver.devices = {b"/dev/tee2"}
    assert lib.TEEC_InitializeContext(b"optee-tz", ct.byref(ctx)) == 0
    assert driver.calls == [("open", (b"/dev/tee%d" % n, os.O_RDWR)) for n in range(3)]
    assert (ctx.reg_mem, ctx.memref_null) == (True, True)
    lib.TEEC_FinalizeContext(ct.byref(ctx))
    assert lib.TEEC_InitializeContext(b"another TEE", ct.byref(ctx)) == ITEM_NOT_FOUND
    driver.impl = (2, 1)
    assert lib.TEEC_InitializeContext(b"optee-tz", ct.byref(ctx)) == ITEM_NOT_FOUND
    driver.gen_caps = 0
    assert lib.TEEC_InitializeContext(None, ct.byref(ctx)) == ITEM_NOT_FOUND
    assert lib.TEEC_InitializeContext(None, None) == BAD_PARAMETERS
    assert open_files() == before


def test_session_arguments(client: Client) -> None:
    d = client.driver
    assert client.open() == 0
    assert client.session.session_id == 0x55
    octets = bytes.fromhex("11223344556677880102030405060708")
    assert d.calls[-1] == ("open_session", (octets, bytes(16), 0, 4))
    gid = (1234).to_bytes(4, "little")
    for method in (2, 6):
        assert client.open(method, gid) == 0
        assert d.calls[-1] == ("open_session", (octets, gid + bytes(12), method, 4))
        assert (client.open(method), client.origin.value) == (BAD_PARAMETERS, API)
    for method in (1, 4, 5, 0x80000000):
        assert client.open(method, gid) == 0
        assert d.calls[-1] == ("open_session", (octets, bytes(16), method, 4))
    client.lib.TEEC_CloseSession(ct.byref(client.session))
    assert d.calls[-1] == ("close_session", 0x55)


def test_refused_session_leaves_the_handle_alone(client: Client) -> None:
    client.session.session_id = 7
    client.driver.serve = lambda _: (0xFFFF0001, TA)
    assert (client.open(), client.origin.value) == (0xFFFF0001, TA)
    assert client.session.session_id == 7


def test_values(client: Client) -> None:
    seen = []

    def serve(params: list[list[int]]) -> tuple[int, int]:
        seen[:] = [p[:3] for p in params]
        for p in params:
            p[1:3] = 100 + p[1], 200 + p[2]
        return 0x1234, TA

    client.driver.serve = serve
    v = [teec.Value(n, n + 1) for n in (1, 3, 5)]
    op = operation((VALUE_IN, v[0]), (VALUE_OUT, v[1]), (VALUE_INOUT, v[2]))
    assert (client.invoke(op), client.origin.value) == (0x1234, TA)
    assert seen == [[1, 1, 2], [2, 3, 4], [3, 5, 6], [0, 0, 0]]
    assert [(p.value.a, p.value.b) for p in op.params[:3]] == [(1, 2), (103, 204), (105, 206)]
    assert client.invoke(None) == 0x1234


def plus_one(driver: Driver) -> Callable[[list[list[int]]], tuple[int, int]]:
    """A TA that adds one to every byte it may write and reads 9 where it may not read."""

    def serve(params: list[list[int]]) -> tuple[int, int]:
        for p in params:
            if p[0] in (6, 7):
                mem = driver.memory(p)
                mem[:] = bytes(b + 1 & 255 for b in (mem if p[0] == 7 else bytes([8]) * len(mem)))
        return 0, TA

    return serve


def test_temporary_memory(client: Client) -> None:
    before = open_files()
    client.driver.serve = plus_one(client.driver)
    a, b, c = buffer(b"abc"), buffer(b"abc"), buffer(b"abc")
    op = operation((TEMP_IN, a), (TEMP_OUT, b), (TEMP_INOUT, c))
    assert client.invoke(op) == 0
    assert (a.raw, b.raw, c.raw) == (b"abc", b"\x09\x09\x09", b"bcd")
    assert client.open(op=op) == 0
    assert c.raw == b"cde"
    assert open_files() == before


def test_input_is_seen_by_the_ta(client: Client) -> None:
    seen = []
    client.driver.serve = lambda params: (seen.append(bytes(client.driver.memory(params[0]))), (0, TA))[1]
    client.invoke(operation((TEMP_IN, buffer(b"hello"))))
    assert seen == [b"hello"]


def test_null_memory(make: Make) -> None:
    """With the capability it is a reference to nothing; without, to something of no size."""
    seen: list[list[int]] = []
    for caps, ident in ((0x9, t.TEE_MEMREF_NULL), (0x1, 0)):
        client = make(True, gen_caps=caps)
        client.driver.serve = lambda params: (seen.append(params[0]), (0, TA))[1]
        assert client.invoke(operation((TEMP_INOUT, None))) == 0
        assert seen.pop() == [7, 0, 0, ident]
        op = operation((TEMP_INOUT, None))
        op.params[0].tmpref.size = 5
        assert (client.invoke(op), client.origin.value) == (BAD_PARAMETERS, API)


def test_wanted_size_comes_back_without_data(client: Client) -> None:
    def serve(params: list[list[int]]) -> tuple[int, int]:
        params[0][2] = 99
        return 0xFFFF0010, TA

    client.driver.serve = serve
    data = buffer(b"abc")
    op = operation((TEMP_OUT, data))
    assert client.invoke(op) == 0xFFFF0010
    assert (op.params[0].tmpref.size, data.raw) == (99, b"abc")


@pytest.mark.parametrize("how", ["Allocate", "Register"])
def test_shared_memory(client: Client, how: str) -> None:
    before = open_files()
    client.driver.serve = plus_one(client.driver)
    data = buffer(b"0123456789")
    res, shm = client.shared(how, 10, INOUT, data if how == "Register" else None)
    assert res == 0
    ct.memmove(shm.buffer, b"0123456789", 10)
    whole, part = operation((WHOLE, ref(shm))), operation((PART_INOUT, ref(shm, 3, 4)))
    assert client.invoke(whole) == 0
    assert (ct.string_at(shm.buffer, 10), whole.params[0].memref.size) == (b"123456789:", 10)
    assert client.invoke(part) == 0
    assert ct.string_at(shm.buffer, 10) == b"1234678" + b"89:"
    client.release(shm)
    assert (shm.id, shm.buffer, open_files()) == (-1, None, before)
    client.release(shm)


def test_kind_of_memory_the_driver_is_asked_for(make: Make) -> None:
    for reg_mem, kinds in ((True, ["alloc", "register"]), (False, ["alloc", "alloc"])):
        client = make(reg_mem)
        client.shared("Allocate", 10, IN)
        client.shared("Register", 10, IN, buffer(bytes(10)))
        assert [kind for kind, _ in client.driver.calls if kind in ("alloc", "register")] == kinds


def test_memory_that_cannot_be_registered_gets_a_shadow(make: Make) -> None:
    client = make(True)
    client.driver.fail[t.TEE_IOC_SHM_REGISTER] = errno.EFAULT
    client.driver.serve = plus_one(client.driver)
    data = buffer(b"abc")
    assert client.invoke(operation((TEMP_INOUT, data))) == 0
    assert data.raw == b"bcd"


@pytest.mark.parametrize(
    ("kind", "flags", "size", "offset", "good"),
    [
        (PART_IN, IN, 4, 6, True),
        (PART_IN, IN, 5, 6, False),
        (PART_IN, IN, 1, 11, False),
        (PART_IN, IN, 2**64 - 1, 2, False),
        (PART_IN, IN, 2, 2**64 - 1, False),
        (PART_OUT, IN, 1, 0, False),
        (PART_INOUT, OUT, 1, 0, False),
        (PART_OUT, INOUT, 0, 10, True),
        (WHOLE, OUT, 0, 0, True),
        (4, IN, 0, 0, False),
        (8, IN, 0, 0, False),
    ],
)
def test_references_into_shared_memory(
    client: Client, kind: int, flags: int, size: int, offset: int, good: bool
) -> None:
    _, shm = client.shared("Allocate", 10, flags)
    before = open_files()
    op = operation((TEMP_IN, buffer(b"x")), (kind, ref(shm, size, offset)))
    res = client.invoke(op)
    assert res == (0 if good else BAD_PARAMETERS)
    assert client.origin.value == (TA if good else API)
    assert open_files() == before


def test_bad_shared_memory(client: Client) -> None:
    for how, flags, data in (
        ("Allocate", 0, None),
        ("Allocate", 4, None),
        ("Register", 0, buffer(b"x")),
        ("Register", 7, buffer(b"x")),
        ("Register", 1, None),
    ):
        assert client.shared(how, 1, flags, data)[0] == BAD_PARAMETERS
    client.driver.fail[t.TEE_IOC_SHM_ALLOC] = errno.ENOMEM
    assert client.shared("Allocate", 1, IN)[0] == OUT_OF_MEMORY


def test_no_bytes_can_be_shared(client: Client) -> None:
    res, shm = client.shared("Allocate", 0, INOUT)
    assert (res, shm.size) == (0, 0)
    assert client.invoke(operation((WHOLE, ref(shm)))) == 0
    client.release(shm)


@pytest.mark.parametrize(
    ("number", "res"), [(errno.ENOMEM, OUT_OF_MEMORY), (errno.EINVAL, BAD_PARAMETERS), (errno.EIO, GENERIC)]
)
def test_errors_of_the_driver(client: Client, number: int, res: int) -> None:
    before = open_files()
    client.driver.fail = {t.TEE_IOC_INVOKE: number, t.TEE_IOC_OPEN_SESSION: number}
    op = operation((TEMP_INOUT, buffer(b"abc")))
    assert (client.invoke(op), client.origin.value) == (res, COMMS)
    assert (client.open(op=op), client.origin.value) == (res, COMMS)
    assert open_files() == before


def test_cancellation_names_the_call_under_way(client: Client) -> None:
    running, cancelled = threading.Event(), threading.Event()
    client.driver.serve = lambda _: (running.set(), cancelled.wait(10), (0, TA))[2]
    op = operation()
    cancel = client.lib.TEEC_RequestCancellation
    cancel(ct.byref(op))
    worker = threading.Thread(target=client.invoke, args=(op,))
    worker.start()
    assert running.wait(10)
    assert op.started == 1
    cancel(ct.byref(op))
    cancelled.set()
    worker.join()
    cancel(ct.byref(op))
    ((_, (_, session, cancel_id)),) = [c for c in client.driver.calls if c[0] == "invoke"]
    assert [c for c in client.driver.calls if c[0] == "cancel"] == [("cancel", (cancel_id, session))]
    client.invoke(op)
    assert client.driver.calls[-1][1][2] != cancel_id
