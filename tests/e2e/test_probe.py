"""What a well-behaved TA may do: parameters, syscalls, other TAs, time, cancellation."""

import struct
import threading
from uuid import UUID

import pytest
from tas.constants import PROBE, PROBE_UUID, QUIET, QUIET_UUID, SESSIONS, SINGLE_UUID

from optemu.machine import Machine
from optemu.normal_world.libteec import (
    TEEC_ERROR_CANCEL,
    TEEC_ERROR_SHORT_BUFFER,
    TEEC_ORIGIN_TEE,
    TEEC_ORIGIN_TRUSTED_APP,
    Context,
    Operation,
    RegisteredMemref,
    Session,
    TeecError,
    TempMemref,
    Value,
)

DEMO = UUID("e3a1d2c0-5b0f-4f0c-9d3e-6f7074656d75")
TEE_SET, CLIENT_SET, TA_SET = 0xFFFFFFFD, 0xFFFFFFFE, 0xFFFFFFFF


def command(name: str) -> int:
    return PROBE["PROBE_CMD_" + name]


def test_values_and_memory(probe: Session) -> None:
    swapped, out = Value.inout(1, 2), Value.output()
    data, copy = TempMemref.inout(bytearray(b"abc")), TempMemref.output(8)
    probe.invoke(command("ECHO"), swapped, out, data, copy)
    assert (swapped.a, swapped.b) == (2, 1)
    assert (out.a, out.b) == (0xEC1, 1)
    assert data.data == b"cba"
    assert copy.size == 0
    source, target = TempMemref.input(bytes(range(256)) * 40), TempMemref.output(20_000)
    probe.invoke(command("ECHO"), source, target)
    assert target.data == bytes(range(256)) * 40


def test_short_buffer_tells_the_size(probe: Session) -> None:
    target = TempMemref.output(2)
    with pytest.raises(TeecError) as caught:
        probe.invoke(command("COPY"), TempMemref.input(b"12345"), target)
    assert (caught.value.code, caught.value.origin) == (TEEC_ERROR_SHORT_BUFFER, TEEC_ORIGIN_TRUSTED_APP)
    assert target.size == 5


def test_shared_memory_is_shared(context: Context, probe: Session) -> None:
    """A part of a large shared memory, far from a page border, both ways; the rest stays as it was."""
    with context.AllocateSharedMemory(1 << 20) as shm:
        shm.buffer[4000:4010] = b"0123456789"
        probe.invoke(command("ECHO"), RegisteredMemref.inout(shm, 4000, 10))
        assert bytes(shm.buffer[3999:4011]) == b"\x009876543210\x00"


def test_a_null_reference_has_no_buffer(probe: Session) -> None:
    types = Value.output()
    probe.invoke(command("PARAM_TYPES"), types, TempMemref.input(None), Value.input(1))
    assert (types.a, types.b) == (0x152, 0b10)


@pytest.mark.parametrize(
    ("at", "flags", "allowed"),
    [
        ("STACK", 3, True),
        ("RODATA", 1, True),
        ("RODATA", 2, False),
        ("CODE", 2, False),
        ("BSS", 3, True),
        ("NULL", 1, False),
        ("WRAP", 1, False),
        ("PARAM", 5, True),
        ("PARAM", 1, False),
    ],
)
def test_access_rights(probe: Session, at: str, flags: int, allowed: bool) -> None:
    result = Value.output()
    memory = TempMemref.inout(bytearray(64))
    probe.invoke(command("CHECK_ACCESS"), Value.input(flags, PROBE["PROBE_AT_" + at]), result, memory)
    assert result.a == (0 if allowed else 0xFFFF0001)


@pytest.mark.parametrize("at", ["STACK", "HEAP", "BSS"])
def test_a_function_writes_into_what_is_the_tas(probe: Session, at: str) -> None:
    result = Value.output()
    probe.invoke(command("OUT_POINTER"), Value.input(3, PROBE["PROBE_AT_" + at]), result, TempMemref.input(None))
    assert result.a == 0


@pytest.mark.parametrize("at", ["RODATA", "CODE", "FREED_HEAP", "NULL", "WRAP", "PARAM"])
def test_a_function_that_is_to_write_elsewhere_panics(probe: Session, at: str) -> None:
    place = Value.input(2, PROBE["PROBE_AT_" + at])
    with pytest.raises(TeecError) as caught:
        probe.invoke(command("OUT_POINTER"), place, Value.output(), TempMemref.inout(bytearray(64)))
    assert caught.value.code == 0xFFFF3024


def test_random_is_random_and_repeatable_with_a_seed(built: object) -> None:
    from optemu.board.config import Config

    def draw(seed: int | None) -> bytes:
        with Machine(Config(seed=seed), ta_dirs=[str(built)]) as m, m.connect() as c:
            out = TempMemref.output(64)
            with c.OpenSession(UUID(PROBE_UUID)) as session:
                session.invoke(command("RANDOM"), out)
            return out.data

    assert draw(None) != draw(None)
    assert draw(5) == draw(5) != draw(6)


def test_times(probe: Session, machine: Machine) -> None:
    now = Value.output()
    probe.invoke(command("GET_TIME"), Value.input(2), now)
    assert abs(now.a - machine.board.clock.wall_ns() // 10**9) <= 2
    with pytest.raises(TeecError) as caught:
        probe.invoke(command("GET_TIME"), Value.input(1), now)
    assert caught.value.code == 0xFFFF5000  # TEE_ERROR_TIME_NOT_SET
    probe.invoke(command("SET_TIME"), Value.input(1_000_000, 0))
    probe.invoke(command("GET_TIME"), Value.input(1), now)
    assert 1_000_000 <= now.a < 1_000_060


def _property(probe: Session, which: int, name: str, kind: str = "STRING") -> bytes:
    out = TempMemref.output(256)
    request = Value.input(which, PROBE["PROBE_AS_" + kind])
    probe.invoke(command("GET_PROPERTY"), request, TempMemref.input(name.encode() + b"\0"), out)
    return out.data


def test_properties_by_name(probe: Session, probe_uuid: UUID) -> None:
    assert _property(probe, TEE_SET, "gpd.tee.trustedos.manufacturer") == b"LINARO"
    assert _property(probe, TEE_SET, "gpd.tee.systemTime.protectionLevel", "U32") == struct.pack("<I", 1000)
    assert _property(probe, TA_SET, "gpd.ta.appID", "UUID") == probe_uuid.bytes_le
    assert _property(probe, CLIENT_SET, "gpd.client.identity", "IDENTITY") == bytes(20)
    with pytest.raises(TeecError) as caught:
        _property(probe, TEE_SET, "no.such.property")
    assert caught.value.code == 0xFFFF0008


def test_properties_by_index(probe: Session) -> None:
    out = TempMemref.output(8192)
    probe.invoke(command("ENUMERATE"), Value.input(TEE_SET), out)
    names = [line.split(b"=")[0].decode() for line in out.data.splitlines()]
    at = names.index("gpd.tee.apiversion")  # before it, the runtime's own
    assert names[at : at + 3] == ["gpd.tee.apiversion", "gpd.tee.description", "gpd.tee.deviceID"]
    assert "gpd.tee.firmware.manufacturer" in names


@pytest.mark.parametrize("how", ["CALL_TA", "CALL_TA_PRIVATE"])
def test_a_ta_calls_another(probe: Session, how: str) -> None:
    request = TempMemref.input(UUID(QUIET_UUID).bytes + struct.pack("<I", QUIET["QUIET_CMD_INC"]))
    value, stage = Value.inout(41), Value.output()
    probe.invoke(command(how), request, value, None, stage)
    assert (value.a, stage.a) == (42, 3)
    request = TempMemref.input(UUID(QUIET_UUID).bytes + struct.pack("<I", QUIET["QUIET_CMD_INC_BYTES"]))
    data = TempMemref.inout(bytearray(b"HAL"))
    probe.invoke(command(how), request, data, None, stage)
    assert data.data == b"IBM"


def test_a_ta_calls_a_static_one(probe: Session) -> None:
    request = TempMemref.input(DEMO.bytes + struct.pack("<I", 2))
    out, stage = TempMemref.output(16), Value.output()
    probe.invoke(command("CALL_TA"), request, TempMemref.input(b"static"), out, stage)
    assert (out.data, stage.a) == (b"static", 3)


@pytest.mark.parametrize(("uuid", "code"), [(bytes(15) + b"\1", 0xFFFF0008), (bytes(16), 0xFFFF0000)])
def test_a_missing_ta_is_reported_to_the_calling_ta(probe: Session, uuid: bytes, code: int) -> None:
    """A UUID of zeros is refused by the database of installed TAs, and nowhere looked for."""
    stage = Value.output()
    with pytest.raises(TeecError) as caught:
        probe.invoke(command("CALL_TA"), TempMemref.input(uuid + bytes(4)), None, None, stage)
    assert caught.value.code == code
    assert (stage.a, stage.b) == (1, TEEC_ORIGIN_TEE)


def test_wait(probe: Session) -> None:
    probe.invoke(command("WAIT"), Value.input(20, 0))


@pytest.mark.parametrize("name", ["WAIT", "LOOP_CANCELLABLE"])
def test_cancellation_from_another_thread(probe: Session, name: str) -> None:
    params = (Value.input(60_000, 1),) if name == "WAIT" else (Value.input(0), Value.output())
    operation = Operation(*params)
    codes: list[int] = []

    def call() -> None:
        try:
            probe.InvokeCommand(command(name), operation)
            codes.append(0)
        except TeecError as e:
            codes.append(e.code)

    thread = threading.Thread(target=call)
    thread.start()
    while thread.is_alive():
        operation.RequestCancellation()
        thread.join(0.05)
    assert codes[0] in (0, TEEC_ERROR_CANCEL)
    assert codes[0] == TEEC_ERROR_CANCEL or name == "LOOP_CANCELLABLE"


def test_single_instance_keeps_its_state(context: Context) -> None:
    counts = []
    for _ in range(3):
        with context.OpenSession(UUID(SINGLE_UUID)) as session:
            value = Value.output()
            session.invoke(SESSIONS["SESSIONS_CMD_COUNT"], value)
            counts.append((value.a, value.b))
    assert counts == [(0, 0), (0, 1), (0, 2)]


def test_each_instance_begins_fresh(context: Context) -> None:
    for _ in range(3):
        with context.OpenSession(UUID(PROBE_UUID)) as session:
            counters, entries = Value.output(), Value.output()
            for n in range(3):
                session.invoke(command("STATE"), counters, entries)
                assert (counters.a, counters.b, entries.a, entries.b) == (n, 0xDA7A + n, 1, 1)
