"""GF(2^128), the field of GHASH and XTS: polynomials over bits, modulo x^128 + x^7 + x^2 + x + 1."""

from functools import cache
from typing import Final

_ONES: Final = int.from_bytes(b"\x01" * 255, "big")
_ZERO_DIGITS: Final = int.from_bytes(b"0" * 255, "big")
_LOW: Final = (1 << 128) - 1
_MODULUS: Final = (1 << 128) | 0x87

MAX_COUNT: Final = 4096
"""Elements that ``geometric`` makes at once."""


def carryless(a: int, b: int) -> int:
    """The product of two polynomials of up to 128 bits each.

    Each bit gets an octet of its own, where up to 128 of them can add up without a carry, and int multiplies.
    """
    spread = int.from_bytes(format(a, "b").encode(), "big") & _ONES
    spread *= int.from_bytes(format(b, "b").encode(), "big") & _ONES
    return int((spread & _ONES | _ZERO_DIGITS).to_bytes(255, "big"), 2)


def times(a: int, b: int) -> int:
    """The product in the field; bit i of a number is the coefficient of x^i, as in XTS."""
    return _reduce(carryless(a, b))


def _reduce(product: int) -> int:
    while product > _LOW:
        high = product >> 128
        product = product & _LOW ^ high ^ high << 1 ^ high << 2 ^ high << 7
    return product


def times_x(a: int, power: int) -> int:
    """``a`` times x^power."""
    a = _reduce(a << power % 128)
    for bit in range(7, power.bit_length()):
        if power >> bit & 1:
            a = times(a, _square(bit))
    return a


@cache
def _square(times_squared: int) -> int:
    """x^(2^times_squared), from x^128 on."""
    if times_squared == 7:
        return 0x87
    root = _square(times_squared - 1)
    return times(root, root)


def geometric(first: int, count: int) -> int:
    """``first``, ``first`` times x, times x^2 and so on, ``count`` of them, each in 128 bits, the first in the lowest.

    All together are doubled: x^128 and its squares have but four terms. ``count`` may be up to MAX_COUNT.
    """
    assert count <= MAX_COUNT
    row, length = first, 1
    while length < count:
        terms = (length,) if length < 128 else (0, length >> 7, length >> 6, 7 * (length >> 7))
        more = 0
        for power in terms:
            more ^= _each_times_x(row, power, length)
        row |= more << 128 * length
        length *= 2
    return row & (1 << 128 * count) - 1


def _each_times_x(row: int, power: int, length: int) -> int:
    """Each of the ``length`` elements of a row times x^power; the power must be below 122."""
    high = row >> 128 - power & _low_bits(power, length)
    low = (row & _low_bits(128 - power, length)) << power
    return low ^ high ^ high << 1 ^ high << 2 ^ high << 7


@cache
def _low_bits(bits: int, length: int) -> int:
    """A row of ``length``, a power of two, with the lowest bits of each element set."""
    if length == 1:
        return (1 << bits) - 1
    half = _low_bits(bits, length // 2)
    return half << 64 * length | half


def inverse(a: int) -> int:
    """What gives 1 when multiplied with ``a``, by Euclid's algorithm; 0 for 0."""
    if not a:
        return 0
    u, v, of_u, of_v = a, _MODULUS, 1, 0
    while u != 1:
        shift = u.bit_length() - v.bit_length()
        if shift < 0:
            u, v, of_u, of_v, shift = v, u, of_v, of_u, -shift
        u ^= v << shift
        of_u ^= of_v << shift
    return of_u


def times_mirrored(a: int, b: int) -> int:
    """The product of numbers that count their bits from the other end, as in GHASH: bit 127 - i belongs to x^i."""
    high, low = divmod(carryless(a, b) << 1, 1 << 128)
    low = low << 7 ^ low << 6 ^ low << 5 ^ low
    again = (low & 0x7F) << 121
    return high ^ low >> 7 ^ again ^ again >> 1 ^ again >> 2 ^ again >> 7


def inverse_mirrored(a: int) -> int:
    """``inverse`` for the same."""
    return _mirror(inverse(_mirror(a)))


def _mirror(a: int) -> int:
    return int(format(a, "0128b")[::-1], 2)
