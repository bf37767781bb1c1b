"""Arithmetic on whole numbers of a few thousand bits, by gmpy2 where it is installed (the extra ``fast``).

Upstream has it in lib/libmbedtls (bignum.c) behind core/lib/libtomcrypt/mpi_desc.c. Whatever the numbers are, each call
here ends, in a time that depends on their size only.
"""

from math import gcd
from typing import Final

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.crypto.provider import Rng

try:
    import gmpy2
except ImportError:
    gmpy2 = None

_MAX_TRIES: Final = 1000
"""Of a draw that fails half of the time at most: only a source of random bytes that is broken fails all of them."""


def powmod(base: int, exponent: int, modulus: int) -> int:
    """``base`` ** ``exponent`` mod ``modulus``; ``exponent`` is not negative, ``modulus`` positive."""
    if gmpy2 is not None:
        return int(gmpy2.powmod(base, exponent, modulus))
    return pow(base, exponent, modulus)


def inverse(number: int, modulus: int) -> int:
    """1 / ``number`` mod ``modulus``; ValueError when there is none."""
    if modulus <= 0:
        raise ValueError("modulus is not positive")
    return pow(number, -1, modulus)


def int_of(octets: bytes | bytearray | int | None) -> int:
    """The number that big-endian ``octets`` are; 0 for an attribute that is not there."""
    if isinstance(octets, int):
        return octets
    return int.from_bytes(octets, "big") if octets else 0


def octets_of(value: int) -> bytes:
    """``value`` in as few big-endian octets as hold it: none for zero."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def byte_length(value: int) -> int:
    """How many octets ``value`` takes: none for zero."""
    return (value.bit_length() + 7) // 8


def xor(a: bytes, b: bytes) -> bytes:
    """Octets of the same number each."""
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).to_bytes(len(a), "big")


def random_below(limit: int, rng: Rng) -> int:
    """One of 1 .. ``limit`` - 1, each as probable. Mirrors rand_bn_upto()."""
    bits = limit.bit_length()
    size, surplus = (bits + 7) // 8, -bits % 8
    for _ in range(_MAX_TRIES):
        value = int.from_bytes(rng.read(size), "big") >> surplus
        if 0 < value < limit:
            return value
    raise TeeError(gp.TEE_ERROR_GENERIC, f"no number below {limit} in {_MAX_TRIES} draws")


# --- primes --------------------------------------------------------------------------------------------------


def _small_primes(limit: int) -> list[int]:
    sieve = bytearray([1]) * limit
    for i in range(3, int(limit**0.5) + 1, 2):
        sieve[i * i :: i] = bytes(len(range(i * i, limit, i)))
    return [i for i in range(3, limit, 2) if sieve[i]]


_SMALL_PRIMES: Final = _small_primes(4096)
_WINDOW: Final = 2048
"""Odd numbers looked at from one random start: a prime of 2048 bits comes every 710 of them on average."""


def random_prime(bits: int, rng: Rng) -> int:
    """A prime of ``bits`` bits whose two highest are set, so that two of them multiply to a number of full length."""
    for _ in range(_MAX_TRIES):
        start = int.from_bytes(rng.read((bits + 7) // 8), "big") >> (-bits % 8) | 3 << (bits - 2) | 1
        composite = bytearray(_WINDOW)
        for prime in _SMALL_PRIMES:
            first = (-start % prime) * (prime + 1) // 2 % prime
            composite[first::prime] = b"\1" * len(range(first, _WINDOW, prime))
        for i in range(_WINDOW):
            if not composite[i] and (start + 2 * i).bit_length() == bits and _is_prime(start + 2 * i):
                return start + 2 * i
    raise TeeError(gp.TEE_ERROR_GENERIC, f"no prime of {bits} bits in {_MAX_TRIES} draws")


def _is_prime(candidate: int) -> bool:
    """Miller and Rabin's test of an odd number that was drawn at random (against a chosen one its bases are few)."""
    trailing = ((candidate - 1) & (1 - candidate)).bit_length() - 1
    odd = (candidate - 1) >> trailing
    for base in _SMALL_PRIMES[: 8 if candidate.bit_length() >= 512 else 24]:
        x = powmod(base, odd, candidate)
        if x in (1, candidate - 1):
            continue
        for _ in range(trailing - 1):
            x = x * x % candidate
            if x == candidate - 1:
                break
        else:
            return False
    return True


def factor_rsa(n: int, e: int, d: int) -> tuple[int, int] | None:
    """The primes of an RSA key, the greater first, from its exponents; None when they do not belong to ``n``."""
    exponent = e * d - 1
    if exponent <= 0 or n < 15 or not n & 1:
        return None
    trailing = (exponent & -exponent).bit_length() - 1
    for base in _SMALL_PRIMES[:8]:
        x = powmod(base, exponent >> trailing, n)
        for _ in range(trailing):
            if x in (1, n - 1):
                break
            square = x * x % n
            if square == 1:
                p = gcd(x - 1, n)
                return max(p, n // p), min(p, n // p)
            x = square
        else:
            if x != 1:
                return None  # so these are no exponents of this modulus
    return None
