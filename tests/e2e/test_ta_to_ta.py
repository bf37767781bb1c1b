"""TAs that call each other, of either word size: every kind of parameter, every right, nesting, who may call whom."""

import struct
from uuid import UUID

import pytest
from tas.constants import PROBE, PROBE_ARM_UUID, PROBE_UUID

from optemu.normal_world.libteec import (
    TEEC_ERROR_SHORT_BUFFER,
    TEEC_ERROR_TARGET_DEAD,
    TEEC_ORIGIN_TRUSTED_APP,
    Context,
    Operation,
    RegisteredMemref,
    Session,
    TeecError,
    TempMemref,
    Value,
)

Param = Value | TempMemref | RegisteredMemref | None

callees = pytest.mark.parametrize("callee", [UUID(PROBE_UUID), UUID(PROBE_ARM_UUID)], ids=["to-aarch64", "to-arm"])
hows = pytest.mark.parametrize("how", ["CALL_TA", "CALL_TA_PRIVATE"])
"""Memory as the client gave it, or copies of it in the caller's own heap."""


def command(name: str) -> int:
    return PROBE["PROBE_CMD_" + name]


def request(callee: UUID, name: str) -> TempMemref:
    return TempMemref.input(callee.bytes + struct.pack("<I", command(name)))


def call(probe: Session, how: str, callee: UUID, name: str, a: Param = None, b: Param = None) -> tuple[int, int, int]:
    """Result, stage and origin that the calling TA saw."""
    stage = Value.output()
    operation = Operation(request(callee, name), a, b, stage)
    try:
        probe.InvokeCommand(command(how), operation)
    except TeecError as e:
        assert e.origin == TEEC_ORIGIN_TRUSTED_APP or e.code == TEEC_ERROR_TARGET_DEAD
        return e.code, stage.a, stage.b
    return 0, stage.a, stage.b


DONE = (0, 3, TEEC_ORIGIN_TRUSTED_APP)


@callees
@hows
def test_values(probe: Session, callee: UUID, how: str) -> None:
    both, out = Value.inout(0xFFFF_FFFF, 0x8000_0001), Value.output()
    assert call(probe, how, callee, "ECHO", both, out) == DONE
    assert (both.a, both.b, out.a, out.b) == (0x8000_0001, 0xFFFF_FFFF, 0xEC1, 1)
    given, out = Value.input(7, 0xFFFF_FFFE), Value.output()
    assert call(probe, how, callee, "ECHO", given, out) == DONE
    assert (out.a, out.b) == (7, 0xFFFF_FFFE)


@callees
@hows
@pytest.mark.parametrize("size", [1, 4095, 20_000])
def test_memory_of_every_kind(probe: Session, callee: UUID, how: str, size: int) -> None:
    data = bytes(n % 251 for n in range(size))
    out = TempMemref.output(size)
    assert call(probe, how, callee, "ECHO", TempMemref.input(data), out) == DONE
    assert out.data == data
    both = TempMemref.inout(bytearray(data))
    assert call(probe, how, callee, "ECHO", both, TempMemref.output(16)) == DONE
    assert both.data == data[::-1]


@callees
@hows
def test_the_callee_sees_the_types_that_were_passed(probe: Session, callee: UUID, how: str) -> None:
    seen = Value.output()
    assert call(probe, how, callee, "PARAM_TYPES", seen, TempMemref.input(b"x")) == DONE
    assert (seen.a, seen.b) == (0x52, 0)
    assert call(probe, how, callee, "PARAM_TYPES", seen, TempMemref.inout(bytearray(1))) == DONE
    assert (seen.a, seen.b) == (0x72, 0)


@callees
def test_a_null_reference_stays_one(probe: Session, callee: UUID) -> None:
    seen = Value.output()
    assert call(probe, "CALL_TA", callee, "PARAM_TYPES", seen, TempMemref.input(None)) == DONE
    assert (seen.a, seen.b) == (0x52, 2)


@callees
@hows
def test_a_short_buffer_comes_back_with_the_size_wanted(probe: Session, callee: UUID, how: str) -> None:
    out = TempMemref.output(3)
    result, stage, origin = call(probe, how, callee, "COPY", TempMemref.input(b"12345"), out)
    assert (result, stage, origin) == (TEEC_ERROR_SHORT_BUFFER, 2, TEEC_ORIGIN_TRUSTED_APP)
    assert out.size == 5


READ, WRITE, ANY_OWNER = 1, 2, 4
DENIED = 0xFFFF0001


@callees
@hows
@pytest.mark.parametrize(
    ("flags", "allowed"),
    [(READ | ANY_OWNER, True), (READ | WRITE | ANY_OWNER, True), (READ, False), (WRITE, False), (READ | WRITE, False)],
)
def test_rights_in_memory_of_another(probe: Session, callee: UUID, how: str, flags: int, allowed: bool) -> None:
    """Memory that is shown to a TA is shared: never its own, whoever's it is."""
    rights = Value.inout(flags, 0)
    assert call(probe, how, callee, "CHECK_SHOWN", rights, TempMemref.inout(bytearray(32))) == DONE
    assert rights.a == (0 if allowed else DENIED)


@callees
@hows
def test_an_input_is_not_the_callees_to_write(probe: Session, callee: UUID, how: str) -> None:
    rights = Value.inout(WRITE | ANY_OWNER, 0)
    assert call(probe, how, callee, "CHECK_SHOWN", rights, TempMemref.input(bytes(32))) == DONE
    assert rights.a == DENIED


@callees
def test_a_callee_that_dies(probe: Session, callee: UUID) -> None:
    assert call(probe, "CALL_TA", callee, "PANIC", Value.input(5))[:2] == (TEEC_ERROR_TARGET_DEAD, 2)
    assert call(probe, "CALL_TA", callee, "ECHO") == DONE, "the next call gets another instance"


@callees
def test_shared_memory_is_the_same_all_the_way(context: Context, probe: Session, callee: UUID) -> None:
    with context.AllocateSharedMemory(1 << 16) as shm:
        shm.buffer[5000:5008] = b"01234567"
        assert call(probe, "CALL_TA", callee, "ECHO", RegisteredMemref.inout(shm, 5000, 8)) == DONE
        assert bytes(shm.buffer[4999:5009]) == b"\x0076543210\x00"
