"""The field against multiplication bit by bit."""

from hypothesis import given
from hypothesis import strategies as st

from optemu.secure_world.crypto import gf128

elements = st.integers(0, (1 << 128) - 1)


def by_hand(a, b):
    product = 0
    while b:
        if b & 1:
            product ^= a
        b >>= 1
        a <<= 1
        if a >> 128:
            a ^= 1 << 128 | 0x87
    return product


def mirrored(a):
    return int(f"{a:0128b}"[::-1], 2)


@given(a=elements, b=elements)
def test_product(a, b):
    assert gf128.times(a, b) == by_hand(a, b)
    assert gf128.times_mirrored(mirrored(a), mirrored(b)) == mirrored(by_hand(a, b))


def test_all_ones():
    ones = (1 << 128) - 1
    assert gf128.times(ones, ones) == by_hand(ones, ones)


@given(a=elements.filter(bool))
def test_inverse(a):
    assert gf128.times(a, gf128.inverse(a)) == 1
    assert gf128.times_mirrored(a, gf128.inverse_mirrored(a)) == 1 << 127


def test_zero_has_no_inverse_and_no_endless_search_for_it():
    assert gf128.inverse(0) == gf128.inverse_mirrored(0) == 0


@given(a=elements, power=st.integers(0, 2000))
def test_powers_of_x(a, power):
    expected = a
    for _ in range(power):
        expected = by_hand(expected, 2)
    assert gf128.times_x(a, power) == expected


@given(a=elements, count=st.integers(0, gf128.MAX_COUNT))
def test_geometric(a, count):
    row = gf128.geometric(a, count).to_bytes(16 * count, "little")
    for at in {0, 1, count // 2, count - 1} & set(range(count)):
        assert int.from_bytes(row[16 * at : 16 * at + 16], "little") == gf128.times_x(a, at)


def test_geometric_without_gaps():
    row, expected = gf128.geometric(3 << 126, gf128.MAX_COUNT), 3 << 126
    for _ in range(gf128.MAX_COUNT):
        assert row & (1 << 128) - 1 == expected
        row, expected = row >> 128, by_hand(expected, 2)
    assert row == 0
