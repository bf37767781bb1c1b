"""system.pta at its entry: what it refuses, with upstream's codes. What it grants, test_modules has."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from tas.constants import QUIET_UUID

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.machine import Machine
from optemu.secure_world.core.param import Value, param_types
from optemu.secure_world.core.pseudo_ta import PtaMemref
from optemu.secure_world.core.session import Session
from optemu.secure_world.pta.system import SystemPta

MAP_ZI, UNMAP, DLOPEN, DLSYM = 2, 3, 10, 11
SUCCESS, BAD_PARAMETERS, NOT_FOUND = gp.TEE_SUCCESS, gp.TEE_ERROR_BAD_PARAMETERS, gp.TEE_ERROR_ITEM_NOT_FOUND
CONFLICT, NO_MEMORY = gp.TEE_ERROR_ACCESS_CONFLICT, gp.TEE_ERROR_OUT_OF_MEMORY
IN, OUT, INOUT, MEM_IN = 1, 2, 3, 5
ALL_FLAGS = 0x1102
NIL = bytes(16)


@dataclass
class Caller:
    session: Session


@pytest.fixture
def call(machine: Machine) -> Iterator[Any]:
    """Commands as the quiet TA would give them; TeeErrors as their codes."""
    with machine.connect() as c, c.OpenSession(UUID(QUIET_UUID)):
        (ctx,) = machine.tee.manager.contexts
        session = next(s for s in machine.tee.open_sessions.values() if s.ctx is ctx)
        pta = SystemPta(machine.tee)

        def invoke(cmd: int, types: int, *params: object) -> int:
            every: list[Any] = [*params, *[None] * (4 - len(params))]
            try:
                return pta.invoke_command(Caller(session), None, cmd, types, every) or SUCCESS  # type: ignore[arg-type]
            except TeeError as e:
                return e.code

        yield invoke


def memory(data: bytes | None) -> PtaMemref:
    return PtaMemref(None if data is None else memoryview(bytearray(data)), len(data or b""))


MAP = param_types(IN, INOUT, IN)


def test_mapping_and_unmapping(call: Any) -> None:
    where = Value()
    assert call(MAP_ZI, MAP, Value(10_000, 1), where, Value()) == SUCCESS
    assert (where.a, where.b & 4095) == (0, 0)
    assert call(UNMAP, param_types(IN, IN), Value(4096, 0), where) == SUCCESS
    assert call(UNMAP, param_types(IN, IN), Value(4096, 0), where) == BAD_PARAMETERS
    assert call(UNMAP, param_types(IN, IN), Value(1, 0), Value(0, where.b + 8192)) == SUCCESS


@pytest.mark.parametrize(
    ("what", "where", "padding", "code"),
    [
        (Value(0, 0), Value(), Value(), BAD_PARAMETERS),
        (Value(1, 2), Value(), Value(), BAD_PARAMETERS),
        (Value(0xFFFF_FFFF, 0), Value(), Value(), NO_MEMORY),
        (Value(1, 0), Value(0xFFFF_FFFF, 0xFFFF_F000), Value(), CONFLICT),
        (Value(1, 0), Value(0, 0x8000_0001), Value(), CONFLICT),
        (Value(1, 0), Value(), Value(1, 0), CONFLICT),
        (Value(1, 0), Value(), Value(0xFFFF_F000, 0xFFFF_F000), CONFLICT),
        (Value(1, 0), Value(0, 0x3FFF_F000), Value(), CONFLICT),
    ],
)
def test_mappings_that_cannot_be(call: Any, what: Value, where: Value, padding: Value, code: int) -> None:
    assert call(MAP_ZI, MAP, what, where, padding) == code


@pytest.mark.parametrize(
    ("size", "where"),
    [
        (Value(0, 0), Value(0, 0x9000_0000)),
        (Value(1, 1), Value(0, 0x9000_0000)),
        (Value(0xFFFF_FFFF, 0), Value(0xFFFF_FFFF, 0xFFFF_F000)),
        (Value(1, 0), Value(0, 0x4010_0000)),
        (Value(1, 0), Value()),
    ],
)
def test_unmapping_what_is_not_there(call: Any, size: Value, where: Value) -> None:
    assert call(UNMAP, param_types(IN, IN), size, where) == BAD_PARAMETERS


def test_parameters_of_other_types(call: Any) -> None:
    for cmd in (MAP_ZI, UNMAP, DLOPEN, DLSYM):
        assert call(cmd, 0) == BAD_PARAMETERS
        assert call(cmd, param_types(MEM_IN, MEM_IN, MEM_IN, MEM_IN), *[memory(b"x")] * 4) == BAD_PARAMETERS
    assert call(99, 0) == gp.TEE_ERROR_NOT_IMPLEMENTED


@pytest.mark.parametrize(
    ("uuid", "flags", "code"),
    [
        (NIL, ALL_FLAGS, SUCCESS),
        (NIL, 2, BAD_PARAMETERS),
        (NIL, ALL_FLAGS | 1, BAD_PARAMETERS),
        (None, ALL_FLAGS, BAD_PARAMETERS),
        (bytes(15), ALL_FLAGS, BAD_PARAMETERS),
        (bytes(17), ALL_FLAGS, BAD_PARAMETERS),
    ],
)
def test_dlopen(call: Any, uuid: bytes | None, flags: int, code: int) -> None:
    assert call(DLOPEN, param_types(MEM_IN, IN), memory(uuid), Value(flags, 0)) == code


@pytest.mark.parametrize(
    ("uuid", "name", "code"),
    [
        (NIL, b"ta_head\0", SUCCESS),
        (NIL, b"ta_head", SUCCESS),
        (NIL, b"ta_headache\0", NOT_FOUND),
        (NIL, b"", NOT_FOUND),
        (NIL, b"\xff" * 9, NOT_FOUND),
        (bytes(15) + b"\1", b"ta_head\0", NOT_FOUND),
        (gp.uuid_to_memory(UUID(QUIET_UUID).bytes), b"ta_head\0", SUCCESS),
        (NIL, None, BAD_PARAMETERS),
        (None, b"ta_head\0", BAD_PARAMETERS),
        (bytes(3), b"ta_head\0", BAD_PARAMETERS),
    ],
)
def test_dlsym(call: Any, uuid: bytes | None, name: bytes | None, code: int) -> None:
    address = Value()
    assert call(DLSYM, param_types(MEM_IN, MEM_IN, OUT), memory(uuid), memory(name), address) == code
    assert (address.b >= 0x4010_0000) is (code == SUCCESS)
