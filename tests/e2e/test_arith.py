"""C's operators in a TA, where the CPU has instructions for them and where the runtime has to help, against Python's."""

import math
import struct
from collections.abc import Iterator
from typing import Final
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tas.constants import ARITH, ARITH_ARM_UUID, ARITH_UUID

from optemu.normal_world.libteec import Context, Session, TempMemref

EXAMPLES = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ALL: Final = 2**64 - 1
TOP: Final = 2**63
RESULTS = struct.Struct(f"<{ARITH['ARITH_RESULTS']}Q")
octas = st.integers(0, ALL) | st.integers(0, 64).map(lambda n: ALL >> n) | st.integers(0, 63).map(lambda n: 1 << n)


@pytest.fixture(params=[ARITH_UUID, ARITH_ARM_UUID], ids=["aarch64", "arm"])
def arith(context: Context, request: pytest.FixtureRequest) -> Iterator[Session]:
    with context.OpenSession(UUID(request.param)) as session:
        yield session


def computed(arith: Session, a: int, b: int) -> dict[str, int]:
    numbers = TempMemref.inout(bytearray(RESULTS.pack(a, b, *[0] * (ARITH["ARITH_RESULTS"] - 2))))
    arith.invoke(ARITH["ARITH_CMD_NUMBERS"], numbers)
    results = RESULTS.unpack(numbers.data)
    return {name: results[n] for name, n in ARITH.items() if "CMD" not in name and n < len(results)}


def is_arm(arith: Session) -> bool:
    """128-bit integers are AArch64's only."""
    return computed(arith, 5, 3)["ARITH_U128_MOD"] == 0


def signed(v: int, bits: int = 64) -> int:
    v &= (1 << bits) - 1
    return v - (v >> bits - 1 << bits)


def divided(n: int, d: int) -> tuple[int, int]:
    """As C does it: towards zero."""
    quotient = abs(n) // abs(d) * (1 if (n < 0) == (d < 0) else -1)
    return quotient & ALL, n - quotient * d


@settings(EXAMPLES, max_examples=150)
@given(a=octas, b=octas.filter(lambda v: v & 0xFFFF_FFFF != 0))
@example(a=TOP, b=1)
@example(a=ALL, b=ALL)
@example(a=0x8000_0000, b=2)
def test_division_and_shifts(arith: Session, a: int, b: int) -> None:
    got = computed(arith, a, b)
    for bits in (32, 64):
        low = (1 << bits) - 1
        assert (got[f"ARITH_U{bits}_DIV"], got[f"ARITH_U{bits}_MOD"]) == divmod(a & low, b & low)
        quotient, rest = divided(signed(a, bits), signed(b, bits))
        if signed(quotient, bits) == signed(quotient):  # else C does not say
            assert (got[f"ARITH_I{bits}_DIV"], got[f"ARITH_I{bits}_MOD"]) == (quotient, rest & ALL)
    count = b & 63
    assert got["ARITH_SHL"] == a << count & ALL
    assert got["ARITH_SHR"] == a >> count
    assert got["ARITH_SAR"] == signed(a) >> count & ALL
    assert got["ARITH_MUL"] == a * b & ALL


@settings(EXAMPLES, max_examples=60)
@given(a=octas, b=octas.filter(lambda v: v & 0xFFFF_FFFF != 0))
def test_division_of_128_bits(arith: Session, a: int, b: int) -> None:
    if is_arm(arith):
        return
    got = computed(arith, a, b)
    n, d = a << 64 | b, b << 64 | a
    assert (got["ARITH_U128_DIV"], got["ARITH_U128_MOD"]) == (n // d & ALL, n % d >> 64)
    quotient, rest = divided(signed(n, 128), signed(d, 128))
    assert (got["ARITH_I128_DIV"], got["ARITH_I128_MOD"]) == (quotient, rest >> 64 & ALL)


def as_float(v: int) -> int:
    """The bits of the float nearest to ``v``; of two that are as near, the even one."""
    drop = max(abs(v).bit_length() - 24, 0)
    kept, lost = divmod(abs(v), 1 << drop)
    kept += 2 * lost > 1 << drop or (2 * lost == 1 << drop and kept & 1 == 1)
    return int(struct.unpack("<I", struct.pack("<f", math.copysign(kept << drop, v)))[0])


@settings(EXAMPLES, max_examples=100)
@given(a=octas)
@example(a=0x0000_0100_0000_8001)
@example(a=0x0080_0000_4000_0001)
@example(a=0x7FFF_FFBF_FFFF_FFFF)
def test_integers_to_floating_point(arith: Session, a: int) -> None:
    got = computed(arith, a, 1)
    for name, value in (("U64", a), ("I64", signed(a))):
        assert got[f"ARITH_{name}_DOUBLE"] == struct.unpack("<Q", struct.pack("<d", value))[0]
        assert got[f"ARITH_{name}_FLOAT"] == as_float(value)


@settings(EXAMPLES, max_examples=100)
@given(value=st.floats(-(2.0**63), 2.0**64, exclude_max=True))
def test_floating_point_to_integers(arith: Session, value: float) -> None:
    got = computed(arith, struct.unpack("<Q", struct.pack("<d", value))[0], 1)
    if value > -1:
        assert got["ARITH_DOUBLE_U64"] == math.trunc(value)
    if value < TOP:
        assert signed(got["ARITH_DOUBLE_I64"]) == math.trunc(value)
    narrow = struct.unpack("<f", struct.pack("<f", value))[0]
    got = computed(arith, struct.unpack("<I", struct.pack("<f", value))[0] << 32, 1)
    if -1 < narrow < 2 * TOP:
        assert got["ARITH_FLOAT_U64"] == math.trunc(narrow)
    if narrow < TOP:
        assert signed(got["ARITH_FLOAT_I64"]) == math.trunc(narrow)


@settings(EXAMPLES, max_examples=10)
@given(octets=st.binary(min_size=ARITH["ARITH_STRUCTURE"], max_size=ARITH["ARITH_STRUCTURE"]))
def test_structures(arith: Session, octets: bytes) -> None:
    size = len(octets)
    out = TempMemref.output(4 * size)
    arith.invoke(ARITH["ARITH_CMD_STRUCTURE"], TempMemref.input(octets), out)
    assert out.data == octets + octets[:1] + octets[:-1] + bytes(size) + octets[:1] * size
