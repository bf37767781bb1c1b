"""device.pta, rng.pta, rtc.pta and stats.pta, as clients and the kernel's drivers call them."""

import datetime
import struct
from uuid import UUID

import pytest
from pta_kit import result

from optemu.abi import gp
from optemu.board.clock import Clock
from optemu.board.rtc import Rtc, RtcTime
from optemu.normal_world.libteec import TeecError, TempMemref, Value
from optemu.secure_world.core.tee_obj import OBJECT_HEAP, OBJECTS_HEAP, TeeObj
from optemu.secure_world.core.user_ta import UserTaCtx
from optemu.secure_world.pta.device import DevicePta
from optemu.secure_world.pta.hwrng import HwrngPta
from optemu.secure_world.pta.invoke_tests import InvokeTestsPta
from optemu.secure_world.pta.rtc import RtcPta
from optemu.secure_world.pta.stats import StatsPta

OK, BAD, SHORT = gp.TEE_SUCCESS, gp.TEE_ERROR_BAD_PARAMETERS, gp.TEE_ERROR_SHORT_BUFFER
NOT_SUPPORTED, NOT_IMPLEMENTED = gp.TEE_ERROR_NOT_SUPPORTED, gp.TEE_ERROR_NOT_IMPLEMENTED
IN, OUT, MEM_IN, MEM_OUT = 1, 2, 5, 6


# --- device.pta ------------------------------------------------------------------------------------------------


def test_devices_are_enumerated(session):
    pta = session(DevicePta.uuid)
    out = TempMemref.output(None)
    assert result(pta.invoke, 0, out) == SHORT
    assert out.size == 48
    out = TempMemref.output(48)
    pta.invoke(0, out)
    found = {out.data[at : at + 16] for at in range(0, 48, 16)}
    assert found == {InvokeTestsPta.uuid, HwrngPta.uuid, RtcPta.uuid}
    for cmd in (1, 2):
        out = TempMemref.output(48)
        pta.invoke(cmd, out)
        assert out.size == 0


def test_a_short_list_of_devices(session):
    pta = session(DevicePta.uuid)
    out = TempMemref.output(20)
    assert result(pta.invoke, 0, out) == SHORT
    assert out.size == 48


def test_devices_with_inconsistent_flags_are_skipped(session, machine, caplog):
    machine.tee.pseudo_tas._by_uuid[HwrngPta.uuid].flags |= 1 << 10
    pta = session(DevicePta.uuid)
    out = TempMemref.output(48)
    pta.invoke(0, out)
    assert (out.size, HwrngPta.uuid in out.data) == (32, False)
    assert "inconsistent flags" in caplog.text


def test_device_parameters(session):
    pta = session(DevicePta.uuid)
    assert result(pta.invoke, 0) == BAD
    assert result(pta.invoke, 0, TempMemref.input(b"x")) == BAD
    assert result(pta.invoke, 3, TempMemref.output(16)) == NOT_IMPLEMENTED


# --- rng.pta ------------------------------------------------------------------------------------------------------


def test_entropy_for_the_kernel(session):
    pta = session(HwrngPta.uuid)
    one, two = TempMemref.inout(bytearray(40)), TempMemref.inout(bytearray(40))
    pta.invoke(0, one)
    pta.invoke(0, two)
    assert one.data != two.data
    info = Value.output()
    pta.invoke(1, info)
    assert (info.a, info.b) == (0, 1024)
    for cmd, params in [(0, [TempMemref.inout(None)]), (0, [TempMemref.output(4)]), (0, []), (1, [Value.input(1)])]:
        assert result(pta.invoke, cmd, *params) == BAD
    assert result(pta.invoke, 2) == NOT_IMPLEMENTED


# --- rtc.pta ------------------------------------------------------------------------------------------------------

TIME = struct.Struct("<7I")
CHRISTMAS = TIME.pack(58, 59, 23, 24, 11, 2031, 3)


def test_the_clock_is_the_kernels_only(context):
    with pytest.raises(TeecError) as caught:
        context.OpenSession(UUID(bytes=RtcPta.uuid))
    assert caught.value.code == gp.TEE_ERROR_ACCESS_DENIED


def test_time_is_told_and_set(kernel):
    rtc = kernel(RtcPta.uuid)
    assert rtc.ret == OK
    ret, raw = rtc.memref(MEM_OUT, 1, size=28)
    sec, minute, hour, mday, mon, year, wday = TIME.unpack(raw)
    told = datetime.datetime(year, mon + 1, mday, hour, minute, sec, tzinfo=datetime.UTC)
    assert ret == OK
    assert abs(told - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=1)
    assert wday == told.isoweekday() % 7
    assert rtc.memref(MEM_IN, 2, CHRISTMAS)[0] == OK
    _, raw = rtc.memref(MEM_OUT, 1, size=28)
    assert TIME.unpack(raw)[3:] in [(24, 11, 2031, 3), (25, 11, 2031, 4)]


def test_what_the_clock_can(kernel):
    rtc = kernel(RtcPta.uuid)
    ret, raw = rtc.memref(MEM_OUT, 0, size=72)
    version, features, low, high = struct.unpack("<QQ28s28s", raw)
    assert (ret, version, features) == (OK, 1, 1)
    assert (TIME.unpack(low)[5], TIME.unpack(high)[5]) == (1970, 2099)
    assert rtc.value(IN, 4, 0xFFFFFF00)[0] == OK
    assert rtc.value(OUT, 3)[:2] == (OK, 0xFFFFFF00)
    assert rtc.value(IN, 4, 1_000_001)[0] == BAD
    for cmd, kind in ((5, MEM_OUT), (6, MEM_IN)):
        assert rtc.memref(kind, cmd, bytes(32))[0] == NOT_SUPPORTED
        assert rtc.memref(kind, cmd, bytes(28))[0] == BAD
    for cmd in (7, 10):
        assert rtc.value(IN, cmd, 1)[0] == NOT_SUPPORTED
        assert rtc.value(IN, cmd, 2)[0] == BAD
    assert rtc.value(OUT, 8)[0] == NOT_SUPPORTED
    assert rtc.nothing(9) == NOT_SUPPORTED
    assert rtc.nothing(11) == NOT_IMPLEMENTED


@pytest.mark.parametrize(
    "fields",
    [
        (60, 0, 0, 1, 0, 2030, 0),
        (0, 60, 0, 1, 0, 2030, 0),
        (0, 0, 24, 1, 0, 2030, 0),
        (0, 0, 0, 30, 1, 2030, 0),
        (0, 0, 0, 1, 12, 2030, 0),
        (0, 0, 0, 1, 0, 1969, 0),
        (0, 0, 0, 1, 0, 2100, 0),
        (0, 0, 0, 1, 0, 0xFFFFFFFF, 0),
        (0, 0, 0, 1, 0xFFFFFFFF, 2030, 0),
        (0, 0, 0, 1, 0, 2030, 7),
    ],
)
def test_times_that_are_none(kernel, fields):
    assert kernel(RtcPta.uuid).memref(MEM_IN, 2, TIME.pack(*fields))[0] == BAD


def test_structures_are_aligned_and_of_their_size(kernel):
    rtc = kernel(RtcPta.uuid)
    assert rtc.memref(MEM_OUT, 1, size=28, at=4)[0] == OK
    assert rtc.memref(MEM_OUT, 1, size=28, at=2)[0] == BAD
    for size in (0, 27, 29):
        assert rtc.memref(MEM_OUT, 1, size=size)[0] == BAD
    assert rtc.memref(MEM_IN, 1, size=28)[0] == BAD


def test_a_corrected_clock_runs_faster():
    class Counter(Clock):
        now = 0

        def counter_ns(self):
            return self.now

        def wall_ns(self):
            return 0

    clock = Counter()
    rtc = Rtc(clock)
    rtc.offset = 1_000_000
    clock.now = 10_000 * 10**9
    assert rtc.get_time() == RtcTime(1970, 0, 1, 4, 2, 46, 50)
    rtc.offset = -1_000_000
    clock.now += 10_000 * 10**9
    assert rtc.get_time() == RtcTime(1970, 0, 1, 4, 5, 33, 20)


# --- stats.pta ----------------------------------------------------------------------------------------------------

ALLOC = struct.Struct("<32sQ6I")


def pools(raw):
    return {name.rstrip(b"\0").decode(): figures for name, _, *figures in ALLOC.iter_unpack(raw)}


def test_pools(session, machine):
    pta = session(StatsPta.uuid)
    out = TempMemref.output(ALLOC.size * 5)
    pta.invoke(1, Value.input(0), out)
    found = pools(out.data)
    assert list(found)[2] == "Physical TA memory"
    assert len(found) == 5
    region = machine.board.memory.allocate(1 << 20, secure=True)
    machine.board.memory.free(region)
    with pytest.raises((OSError, MemoryError, OverflowError)):
        machine.board.memory.allocate(1 << 60, secure=True)
    out = TempMemref.output(ALLOC.size)
    pta.invoke(1, Value.input(3, 1), out)
    used, peak, size, failures, biggest, _ = pools(out.data)["Physical TA memory"]
    assert (used, peak - used, size, failures, biggest) == (used, 1 << 20, 0xFFFFFFFF, 1, 0xFFFFFFFF)
    pta.invoke(1, Value.input(3), out)
    assert pools(out.data)["Physical TA memory"] == [used, used, size, 0, 0, 0]


def test_the_heap_holds_the_objects_of_tas(session, machine):
    pta = session(StatsPta.uuid)
    out = TempMemref.output(ALLOC.size)
    pta.invoke(1, Value.input(1), out)
    assert pools(out.data)["Heap"] == [0] * 6
    ta = UserTaCtx(machine.tee, bytes(16))
    for heap in (OBJECT_HEAP, 4000):
        o = TeeObj()
        o.heap = heap
        ta.objs.add(o.handle, o)
    machine.tee.manager.contexts.append(ta)
    pta.invoke(1, Value.input(1), out)
    machine.tee.manager.contexts.remove(ta)
    used = OBJECT_HEAP + 4000
    assert pools(out.data)["Heap"] == [used, used, OBJECTS_HEAP, 0, 0, 0]


def test_pool_parameters(session):
    pta = session(StatsPta.uuid)
    out = TempMemref.output(ALLOC.size)
    assert result(pta.invoke, 1, Value.input(0), out) == SHORT
    assert out.size == 5 * ALLOC.size
    assert result(pta.invoke, 1, Value.input(6), TempMemref.output(4096)) == BAD
    assert result(pta.invoke, 1, TempMemref.output(4096)) == BAD


def test_other_figures(session, caplog):
    caplog.set_level("INFO")
    pta = session(StatsPta.uuid)
    values = [Value.output() for _ in range(3)]
    pta.invoke(0, *values)
    pta.invoke(2)
    pta.invoke(4, *values[:2])
    assert abs(values[0].a - datetime.datetime.now().timestamp()) < 60
    assert result(pta.invoke, 3, TempMemref.output(4096)) == gp.TEE_ERROR_ITEM_NOT_FOUND
    for kind, name in ((0, "clocks"), (1, "regulators")):
        pta.invoke(5, Value.input(kind))
        assert f"no {name}" in caplog.text
    for cmd, params in [(0, []), (2, [Value.input(1)]), (3, []), (4, []), (5, []), (5, [Value.input(2)]), (6, [])]:
        assert result(pta.invoke, cmd, *params) == BAD
