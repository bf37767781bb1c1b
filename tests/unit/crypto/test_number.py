"""Whole numbers: with gmpy2 where it is installed, and without."""

import pytest
from acipher_fakes import Seeded, Stuck, code_of
from hypothesis import given
from hypothesis import strategies as st

from optemu.abi import gp
from optemu.secure_world.crypto import number


@pytest.fixture(params=["fast", "plain"], autouse=True)
def arithmetic(request, monkeypatch):
    if request.param == "plain":
        monkeypatch.setattr(number, "gmpy2", None)
    elif number.gmpy2 is None:
        pytest.skip("gmpy2 is not installed")


@pytest.mark.parametrize("bits", [16, 33, 128, 512])
def test_primes_have_their_length_and_two_high_bits(bits):
    for seed in (b"1", b"2"):
        prime = number.random_prime(bits, Seeded(seed))
        assert prime.bit_length() == bits
        assert prime >> (bits - 2) == 3
        assert all(pow(base, prime - 1, prime) == 1 for base in (2, 7, 61, 99) if base < prime)
        assert number.random_prime(bits, Seeded(seed)) == prime


@pytest.mark.parametrize("composite", [561, 3215031751, (2**89 - 1) * (2**107 - 1), 2**67 - 1])
def test_composites_are_told(composite):
    assert not number._is_prime(composite)


@pytest.mark.parametrize("prime", [4093, 2**61 - 1, 2**127 - 1, 2**521 - 1])
def test_primes_are_told(prime):
    assert number._is_prime(prime)


@pytest.mark.parametrize("byte", [0, 255])
def test_a_stuck_source_of_random_bytes_is_an_error(byte):
    assert code_of(number.random_below, 251, Stuck(byte)) == gp.TEE_ERROR_GENERIC


def test_random_below_reaches_all_and_only_what_it_may():
    rng = Seeded()
    assert {number.random_below(5, rng) for _ in range(200)} == {1, 2, 3, 4}


@given(st.integers(0, 2**200), st.integers(0, 2**200), st.integers(1, 2**200))
def test_powmod_is_pow(base, exponent, modulus):
    assert number.powmod(base, exponent, modulus) == pow(base, exponent, modulus)


def test_primes_from_exponents():
    p, q, e = number.random_prime(256, Seeded(b"p")), number.random_prime(256, Seeded(b"q")), 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    assert number.factor_rsa(p * q, e, d) == (max(p, q), min(p, q))
    assert number.factor_rsa(p * q, e, d + 2) is None
    assert number.factor_rsa(p, e, pow(e, -1, p - 1)) is None


@given(st.integers(-5, 2**64), st.integers(-5, 2**20), st.integers(-5, 2**64))
def test_primes_of_nonsense(n, e, d):
    primes = number.factor_rsa(n, e, d)
    assert primes is None or primes[0] * primes[1] == n


@given(st.binary(max_size=40))
def test_octets(octets):
    value = number.int_of(octets)
    assert number.octets_of(value) == octets.lstrip(b"\0")
    assert number.byte_length(value) == len(octets.lstrip(b"\0"))
    assert number.int_of(bytearray(octets)) == number.int_of(value) == value


def test_an_attribute_that_is_not_there_is_zero():
    assert number.int_of(None) == 0
