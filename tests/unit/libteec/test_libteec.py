"""The Client API against a driver of bytes: what it sends, what it makes of answers, what it refuses itself."""

import errno
import os
import threading
import uuid as std_uuid

import pytest
from fake_driver import GP, MEMREF_NULL, NULL_ID, OPEN, REG_MEM, SHM_ALLOC, SHM_REGISTER, FakeDriver
from hypothesis import given
from hypothesis import strategies as st

from optemu.normal_world import libteec as t
from optemu.normal_world.device import EmulatedDevice

UUID = "8aaaf200-2450-11e4-abe2-0002a5d5c51b"
CAPS = [GP | REG_MEM | MEMREF_NULL, GP | MEMREF_NULL, GP]


@pytest.fixture
def driver():
    return FakeDriver()


@pytest.fixture(params=CAPS, ids=["registered", "allocated", "no null"])
def any_driver(request):
    return FakeDriver(gen_caps=request.param)


def context(driver, name=None):
    return t.Context(EmulatedDevice(driver, "/dev/tee0"), name)


def session(driver):
    return context(driver).OpenSession(UUID)


def refusal(call, *args, **kwargs):
    with pytest.raises(t.TeecError) as caught:
        call(*args, **kwargs)
    return caught.value.code, caught.value.origin


def upper(cmd, params):
    """Upper case of parameter 0 into the last memref, as many bytes as there are."""
    refs = [p for p in params if p.attr in (5, 6, 7)]
    data = refs[0].read().upper()
    if refs[-1].b < len(data):
        refs[-1].b = len(data)
        return 0xFFFF0010
    refs[-1].write(data)
    refs[-1].b = len(data)
    return 0


def test_context_checks_the_device(driver):
    assert context(driver).channel.version == (1, 1, 0xD)
    assert context(driver, "optee-tz").channel.reg_mem
    for name, caps, impl in [(None, 4, (1, 1)), ("optee-tz", 1, (1, 0)), ("optee-tz", 1, (2, 1)), ("x", 1, (1, 1))]:
        other = FakeDriver(gen_caps=caps, impl=impl)
        assert refusal(context, other, name) == (t.TEEC_ERROR_ITEM_NOT_FOUND, t.TEEC_ORIGIN_API)
        assert other.files[0].closed


def test_initialize_context_tries_ten_devices(driver):
    tried = []

    def open_device(path):
        tried.append(path)
        raise OSError(errno.ENOENT, "none")

    assert refusal(t.InitializeContext, None, open_device) == (t.TEEC_ERROR_ITEM_NOT_FOUND, t.TEEC_ORIGIN_API)
    assert tried == [f"/dev/tee{n}" for n in range(10)]
    with t.InitializeContext("optee-tz", lambda path: EmulatedDevice(driver, path)):
        assert not driver.files[0].closed
    assert driver.files[0].closed


@pytest.mark.parametrize("destination", [UUID, std_uuid.UUID(UUID), std_uuid.UUID(UUID).bytes])
def test_open_session_sends_uuid_in_rfc_order(driver, destination):
    with context(driver).OpenSession(destination) as s:
        assert s.id == 77
    assert driver.log == [("open", bytes.fromhex(UUID.replace("-", "")), bytes(16), 0), ("close", 77)]


@pytest.mark.parametrize("login", [0, 1, 2, 4, 5, 6, 0xDEADBEEF])
def test_every_login(driver, login):
    context(driver).OpenSession(UUID, login, 0x01020304)
    group = bytes([4, 3, 2, 1]).ljust(16, b"\0") if login in (2, 6) else bytes(16)
    assert driver.log[0][2:] == (group, login)


def test_group_login_needs_a_gid(driver):
    ctx = context(driver)
    assert refusal(ctx.OpenSession, UUID, t.TEEC_LOGIN_GROUP) == (t.TEEC_ERROR_BAD_PARAMETERS, t.TEEC_ORIGIN_API)
    assert driver.log == []


@pytest.mark.parametrize("bad", ["8aaaf200", b"short", UUID + "0"])
def test_wrong_uuid(driver, bad):
    with pytest.raises(ValueError, match=r"UUID|hexadecimal"):
        context(driver).OpenSession(bad)


def test_result_and_origin_of_the_tee_reach_the_caller(driver):
    driver.ta, driver.origin = lambda cmd, params: 0xFFFF0008, 3
    ctx = context(driver)
    assert refusal(ctx.OpenSession, UUID) == (t.TEEC_ERROR_ITEM_NOT_FOUND, t.TEEC_ORIGIN_TEE)
    with pytest.raises(t.TeecError, match=rf"TEEC_ERROR_ITEM_NOT_FOUND \(origin TEE\): .*{UUID}"):
        ctx.OpenSession(UUID)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOMEM, t.TEEC_ERROR_OUT_OF_MEMORY),
        (errno.EINVAL, t.TEEC_ERROR_BAD_PARAMETERS),
        (errno.EFAULT, t.TEEC_ERROR_GENERIC),
        (errno.EIO, t.TEEC_ERROR_GENERIC),
    ],
)
def test_errno_becomes_a_result_of_the_communication(driver, number, code):
    s = session(driver)
    driver.fail = {0x8010A403: number, OPEN: number}
    assert refusal(s.invoke, 0) == (code, t.TEEC_ORIGIN_COMMS)
    assert refusal(s.context.OpenSession, UUID) == (code, t.TEEC_ORIGIN_COMMS)


def test_values_of_all_kinds(driver):
    def swap(cmd, params):
        seen.append([(p.attr, p.a, p.b) for p in params])
        for p in params:
            p.a, p.b = p.b + (1 << 32), p.a
        return 0

    seen = []
    driver.ta = swap
    given_, asked, both = t.Value.input(1, 2), t.Value.output(), t.Value.inout(5, 0xFFFFFFFF)
    session(driver).invoke(9, given_, asked, None, both)
    assert seen[-1] == [(1, 1, 2), (2, 0, 0), (0, 0, 0), (3, 5, 0xFFFFFFFF)]
    assert (given_.a, given_.b) == (1, 2)
    assert (both.a, both.b) == (0xFFFFFFFF, 5)
    assert driver.log[-1] == ("invoke", 77, 9)


@pytest.mark.parametrize("bad", [-1, 1 << 32])
def test_what_does_not_fit_32_bits_is_refused_at_once(driver, bad):
    s = session(driver)
    for call in (
        lambda: s.invoke(0, t.Value.input(bad)),
        lambda: s.invoke(0, t.Value.input(0, bad)),
        lambda: s.invoke(bad),
        lambda: s.context.OpenSession(UUID, bad),
        lambda: s.context.OpenSession(UUID, t.TEEC_LOGIN_GROUP, bad),
    ):
        with pytest.raises(ValueError, match="32 bits"):
            call()
    assert driver.names() == ["open"]


def test_five_parameters_and_wrong_kinds(driver):
    s = session(driver)
    five = [t.Value()] * 5
    with pytest.raises(ValueError, match="four"):
        s.invoke(0, *five)
    with pytest.raises(ValueError, match="four"):
        t.Operation(*five)
    with pytest.raises(ValueError, match="parameter type"):
        t.Value(0, 0, t.TEEC_MEMREF_TEMP_INPUT)


def test_parameters_of_an_earlier_call_leave_no_trace(driver):
    s = session(driver)
    s.invoke(0, t.Value(1, 2), t.Value(3, 4), t.Value(5, 6), t.Value(7, 8))
    s.invoke(0)  # the driver asserts that unused parameters are zero


def test_temporary_memory(any_driver):
    any_driver.ta = upper
    out = t.TempMemref.output(16)
    s = session_with_no_ta(any_driver)
    s.invoke(0, t.TempMemref.input(b"bytes"), out)
    assert out.data == b"BYTES"
    buffer = bytearray(b"in place")
    s.invoke(0, t.TempMemref.inout(buffer))
    assert buffer == b"IN PLACE"
    part = t.TempMemref.inout(memoryview(buffer)[:2])
    buffer[:] = b"in place"
    s.invoke(0, part)
    assert buffer == b"IN place"
    assert any_driver.live() == []
    del part
    buffer.append(0)  # nobody holds it any more


def session_with_no_ta(driver):
    ta, driver.ta = driver.ta, lambda cmd, params: 0
    s = session(driver)
    driver.ta = ta
    return s


def test_short_buffer_gives_the_size_needed(any_driver):
    any_driver.ta = upper
    out = t.TempMemref.output(2)
    s = session_with_no_ta(any_driver)
    assert refusal(s.invoke, 0, t.TempMemref.input(b"12345"), out) == (t.TEEC_ERROR_SHORT_BUFFER, 4)
    assert (out.size, len(out.buffer)) == (5, 2)
    # As in C the size is the caller's to set again: what is larger than the buffer is not sent.
    assert refusal(s.invoke, 0, t.TempMemref.input(b"1"), out) == (t.TEEC_ERROR_BAD_PARAMETERS, t.TEEC_ORIGIN_API)
    assert any_driver.live() == []


def test_null_and_empty_memory(any_driver):
    seen = []
    any_driver.ta = lambda cmd, params: seen.append([(p.attr, p.a, p.b, p.c) for p in params]) or 0
    s = session(any_driver)
    s.invoke(0, t.TempMemref.input(None), t.TempMemref.output(None), t.TempMemref.input(b""))
    null, null_out, empty, _ = seen[-1]
    if any_driver.gen_caps & MEMREF_NULL:
        assert null == (5, 0, 0, NULL_ID)
        assert null_out == (6, 0, 0, NULL_ID)
        assert [size for _, size in any_driver.log[1:-1]] in ([8], [4096])
    else:
        assert null[3] in any_driver.shms
    assert empty[:3] == (5, 0, 0)
    assert empty[3] in any_driver.shms
    assert any_driver.live() == []
    bad = t.TempMemref(None, t.TEEC_MEMREF_TEMP_INPUT, 4)
    assert refusal(s.invoke, 0, bad) == (t.TEEC_ERROR_BAD_PARAMETERS, t.TEEC_ORIGIN_API)


def test_immutable_memory_is_never_handed_out(driver):
    text = b"immutable"
    driver.ta = lambda cmd, params: params[0].write(b"OVERWRITE") or 0
    session_with_no_ta(driver).invoke(0, t.TempMemref.input(text))
    assert text == b"immutable"
    with pytest.raises(TypeError, match="writable"):
        session_with_no_ta(driver).invoke(0, t.TempMemref.inout(text))
    assert driver.live() == []


def test_memory_of_earlier_parameters_is_freed_when_a_later_one_is_bad(driver):
    s = session(driver)
    bad = t.TempMemref(None, t.TEEC_MEMREF_TEMP_INPUT, 4)
    refusal(s.invoke, 0, t.TempMemref.input(b"x"), bad)
    refusal(s.context.OpenSession, UUID, operation=t.Operation(t.TempMemref.input(b"x"), bad))
    assert driver.names() == ["open", "register", "register"]
    assert driver.live() == []


def test_open_session_carries_an_operation(driver):
    driver.ta = upper
    operation = t.Operation(t.TempMemref.inout(bytearray(b"hello")))
    context(driver).OpenSession(UUID, operation=operation)
    assert operation.params[0].data == b"HELLO"


def test_allocated_memory_is_shared(any_driver):
    any_driver.ta = upper
    s = session_with_no_ta(any_driver)
    with s.context.AllocateSharedMemory(10000) as shm:
        assert shm.buffer.nbytes == 10000
        assert bytes(shm.buffer) == bytes(10000)
        shm.buffer[9000:9005] = b"there"
        s.invoke(0, t.RegisteredMemref.inout(shm, 9000, 5))
        assert bytes(shm.buffer[8999:9006]) == b"\0THERE\0"
        whole = t.RegisteredMemref(shm)
        s.invoke(0, whole)
        assert whole.size == 10000
    assert any_driver.live() == []
    assert shm.buffer is None
    error = (t.TEEC_ERROR_BAD_PARAMETERS, t.TEEC_ORIGIN_API)
    assert refusal(s.invoke, 0, t.RegisteredMemref(shm, size=1)) == error


def test_registered_memory_is_the_callers(any_driver):
    any_driver.ta = upper
    s = session_with_no_ta(any_driver)
    buffer = bytearray(b"one two three")
    with s.context.RegisterSharedMemory(buffer) as shm:
        s.invoke(0, t.RegisteredMemref.inout(shm, 4, 3))
        assert buffer == b"one TWO three"
        s.invoke(0, t.RegisteredMemref.input(shm, 8), t.RegisteredMemref.output(shm, 0, 5))
        assert buffer == b"THREEWO three"
        with pytest.raises(BufferError):
            buffer.append(0)
        whole = t.RegisteredMemref(shm)
        s.invoke(0, whole)
        assert buffer.isupper()
    buffer.append(0)
    assert any_driver.live() == []


@pytest.mark.parametrize(("flags", "attr"), [(1, 5), (2, 6), (3, 7)])
def test_whole_reference_goes_where_the_flags_say(any_driver, flags, attr):
    seen = []

    def ta(cmd, params):
        seen.append((params[0].attr, params[0].read()))
        params[0].write(b"new")
        params[0].b = 3
        return 0

    any_driver.ta = ta
    buffer = bytearray(b"old old")
    s = session_with_no_ta(any_driver)
    shm = s.context.RegisterSharedMemory(buffer, flags)
    ref = t.RegisteredMemref(shm)
    s.invoke(0, ref)
    shadowed = shm.shadow is not None
    assert seen == [(attr, bytes(7) if shadowed and flags == 2 else b"old old")]
    assert ref.size == (3 if flags & 2 else 7)
    if shadowed and flags == 1:
        assert buffer == b"old old"
    else:
        assert buffer == b"new old"


@pytest.mark.parametrize(
    ("flags", "make"),
    [
        (t.TEEC_MEM_INPUT, lambda shm: t.RegisteredMemref.output(shm)),
        (t.TEEC_MEM_OUTPUT, lambda shm: t.RegisteredMemref.inout(shm)),
        (t.TEEC_MEM_INOUT, lambda shm: t.RegisteredMemref.inout(shm, 60, 5)),
        (t.TEEC_MEM_INOUT, lambda shm: t.RegisteredMemref.inout(shm, 65)),
        (t.TEEC_MEM_INOUT, lambda shm: t.RegisteredMemref.inout(shm, -1, 5)),
    ],
)
def test_partial_reference_outside_the_flags_or_the_memory(driver, flags, make):
    s = session(driver)
    shm = s.context.AllocateSharedMemory(64, flags)
    assert refusal(s.invoke, 0, make(shm)) == (t.TEEC_ERROR_BAD_PARAMETERS, t.TEEC_ORIGIN_API)
    assert "invoke" not in driver.names()


@pytest.mark.parametrize("flags", [0, 4, 7])
def test_wrong_flags(driver, flags):
    ctx = context(driver)
    for call, arg in ((ctx.AllocateSharedMemory, 8), (ctx.RegisterSharedMemory, bytearray(8))):
        assert refusal(call, arg, flags) == (t.TEEC_ERROR_BAD_PARAMETERS, t.TEEC_ORIGIN_API)


def test_refused_registration_falls_back_to_a_shadow(driver):
    ctx = context(driver)
    original = driver.open("/dev/tee0", None).shm_register
    refused = []

    def once(arg, task):
        if not refused:
            refused.append(arg)
            return -errno.EFAULT
        return original(arg, task)

    driver.files[0].HANDLERS = {**driver.files[0].HANDLERS, SHM_REGISTER: lambda self, arg, task: once(arg, task)}
    shm = ctx.RegisterSharedMemory(bytearray(b"abc"))
    assert refused
    assert shm.shadow is not None


@pytest.mark.parametrize(("number", "code"), [(errno.ENOMEM, 0xFFFF000C), (errno.EIO, 0xFFFF0000)])
def test_refused_memory(any_driver, number, code):
    ctx = context(any_driver)
    any_driver.fail = {SHM_ALLOC: number, SHM_REGISTER: number}
    shadow_code = code if any_driver.gen_caps & REG_MEM else t.TEEC_ERROR_OUT_OF_MEMORY
    assert refusal(ctx.RegisterSharedMemory, bytearray(8))[0] == shadow_code
    assert refusal(ctx.AllocateSharedMemory, 8)[0] == t.TEEC_ERROR_OUT_OF_MEMORY


def test_absurd_sizes(any_driver):
    ctx = context(any_driver)
    for size in (1 << 50, 1 << 63, 1 << 64, 1 << 200):
        assert refusal(ctx.AllocateSharedMemory, size) == (t.TEEC_ERROR_OUT_OF_MEMORY, t.TEEC_ORIGIN_API)
    with pytest.raises(ValueError, match="negative"):
        ctx.AllocateSharedMemory(-1)


def test_empty_allocation(any_driver):
    with context(any_driver).AllocateSharedMemory(0) as shm:
        assert shm.buffer.nbytes == shm.size == 0
    assert any_driver.live() == []


def test_view_that_outlives_its_memory_keeps_it_alive():
    driver = FakeDriver(gen_caps=GP)
    ctx = context(driver)
    shm = ctx.AllocateSharedMemory(64)
    view = shm.buffer[:8]
    shm.ReleaseSharedMemory()
    assert len(driver.live()) == 1
    view[:] = b"still ok"
    view.release()
    ctx.AllocateSharedMemory(64).ReleaseSharedMemory()
    assert driver.live() == []


def test_memory_of_a_descriptor(driver):
    ctx = context(driver)
    fd = os.memfd_create("dma-buf")
    os.ftruncate(fd, 4096)
    with ctx.RegisterSharedMemoryFileDescriptor(fd) as shm:
        assert (shm.size, shm.buffer) == (4096, None)
        session(driver).invoke(0, t.RegisteredMemref.input(shm, 0, 16))
    assert driver.live() == []
    os.close(fd)
    assert refusal(ctx.RegisterSharedMemoryFileDescriptor, fd) == (t.TEEC_ERROR_BAD_PARAMETERS, t.TEEC_ORIGIN_API)


def test_closing_the_context_ends_what_it_shares(any_driver):
    ctx = context(any_driver)
    before = set(os.listdir("/proc/self/fd"))
    shms = [ctx.AllocateSharedMemory(64) for _ in range(5)]
    ctx.FinalizeContext()
    assert any_driver.live() == []
    for shm in shms:
        shm.ReleaseSharedMemory()
    del shms, shm
    assert set(os.listdir("/proc/self/fd")) == before
    assert refusal(ctx.OpenSession, UUID) == (t.TEEC_ERROR_GENERIC, t.TEEC_ORIGIN_COMMS)


def test_cancellation_from_another_thread(driver):
    started, cancelled = threading.Event(), threading.Event()

    def ta(cmd, params):
        if cmd == 5:
            started.set()
            return 0xFFFF0002 if cancelled.wait(10) else 0
        if cmd == -2:
            cancelled.set()
        return 0

    driver.ta = ta
    s = session(driver)
    operation = t.Operation(t.Value(1))
    operation.RequestCancellation()
    assert "cancel" not in driver.names()
    canceller = threading.Thread(target=lambda: started.wait(10) and operation.RequestCancellation())
    canceller.start()
    assert refusal(s.InvokeCommand, 5, operation) == (t.TEEC_ERROR_CANCEL, t.TEEC_ORIGIN_TRUSTED_APP)
    canceller.join()
    assert ("cancel", 0, 77) in driver.log


def test_failing_cancel_and_close_are_only_logged(driver, caplog):
    s = session(driver)
    operation = t.Operation()
    s.InvokeCommand(0, operation)
    driver.fail = {0x8008A404: errno.EINVAL, 0x8004A405: errno.EINVAL}
    operation.RequestCancellation()
    s.CloseSession()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def test_threads_do_not_share_argument_blocks(driver):
    barrier = threading.Barrier(4, timeout=10)

    def ta(cmd, params):
        barrier.wait()
        params[0].a += cmd
        return 0

    driver.ta = ta
    s = session_with_no_ta(driver)
    values = [t.Value(n * 100) for n in range(4)]
    threads = [threading.Thread(target=s.invoke, args=(n, value)) for n, value in enumerate(values)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [value.a for value in values] == [0, 101, 202, 303]


@given(
    st.lists(st.tuples(st.sampled_from([5, 6, 7]), st.binary(max_size=40), st.integers(0, 80)), min_size=1, max_size=4),
    st.sampled_from(CAPS),
    st.integers(0, 0xFFFFFFFF),
)
def test_any_sizes_come_back_and_nothing_leaks(refs, caps, ret):
    """Whatever sizes and result a TA answers: sizes are its own, bytes outside the buffers are not touched."""
    driver = FakeDriver(gen_caps=caps)

    def ta(cmd, params):
        for p, (_, _, size) in zip(params, refs, strict=False):
            p.b = size
        return ret if cmd >= 0 else 0

    driver.ta = ta
    with context(driver) as ctx:
        s = ctx.OpenSession(UUID)
        params = [t.TempMemref(bytearray(data), kind) for kind, data, _ in refs]
        if ret:
            assert refusal(s.invoke, 0, *params) == (ret, 4)
        else:
            s.invoke(0, *params)
        for param, (kind, data, size) in zip(params, refs, strict=True):
            assert param.size == (len(data) if kind == 5 else size)
            assert bytes(param.buffer) == data
        assert driver.live() == []
