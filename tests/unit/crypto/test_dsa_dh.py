"""DSA and Diffie-Hellman in groups of any size, good and bad ones."""

from functools import cache

import pytest
from acipher_fakes import Real, Scripted, Seeded, Stuck, code_of, flipped
from cryptography.hazmat.primitives.asymmetric import dsa as library
from hypothesis import given, settings
from hypothesis import strategies as st

from optemu.abi import cryp, gp
from optemu.secure_world.crypto import acipher
from optemu.secure_world.crypto.dsa import DsaKey
from optemu.secure_world.crypto.hash import digest
from optemu.secure_world.crypto.number import _is_prime, random_prime

PAIR, DH = cryp.TEE_TYPE_DSA_KEYPAIR, cryp.TEE_TYPE_DH_KEYPAIR
SHA1, SHA224, SHA256 = cryp.TEE_ALG_DSA_SHA1, cryp.TEE_ALG_DSA_SHA224, cryp.TEE_ALG_DSA_SHA256
PUBLIC_VALUE, PRIVATE_VALUE = cryp.TEE_ATTR_DSA_PUBLIC_VALUE, cryp.TEE_ATTR_DSA_PRIVATE_VALUE


def _octets(value):
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


@cache
def group(p_bits, q_bits):
    """p, q and g, as params; those of FIPS 186 are the library's, the others are made here."""
    if (p_bits, q_bits) in ((1024, 160), (2048, 256)):
        numbers = library.generate_parameters(p_bits).parameter_numbers()
        p, q, g = numbers.p, numbers.q, numbers.g
    else:
        q = random_prime(q_bits, Seeded(b"q"))
        multiple = (1 << (p_bits - 1)) // q // 2 * 2 + 2
        while not _is_prime(p := multiple * q + 1):
            multiple += 2
        g = pow(2, multiple, p)
    attrs = (cryp.TEE_ATTR_DSA_PRIME, cryp.TEE_ATTR_DSA_SUBPRIME, cryp.TEE_ATTR_DSA_BASE)
    return {attr: _octets(value) for attr, value in zip(attrs, (p, q, g), strict=True)}


def pair(p_bits, q_bits, rng):
    params = group(p_bits, q_bits)
    return acipher.load_key(PAIR, params | acipher.generate_key(PAIR, p_bits, params, rng))


def own(key):
    """The same key, which OpenSSL does not get to see."""
    same = DsaKey(key.p, key.q, key.g, key.y, key.x)
    same.__dict__.update(native_private=None, native_public=None)
    return same


SIZES = [(512, 160), (512, 128), (1024, 160), (2048, 256), (1024, 256)]


@pytest.mark.parametrize("rng", [Real(), Seeded()], ids=["real", "seeded"])
@pytest.mark.parametrize(("p_bits", "q_bits"), SIZES)
def test_openssl_and_ours_agree(p_bits, q_bits, rng):
    native = pair(p_bits, q_bits, rng)
    for algo, size in ((SHA1, 20), (SHA224, 28), (SHA256, 32)):
        hashed = bytes(range(1, 1 + min(size, q_bits // 8)))
        for signer, verifier in ((native, own(native)), (own(native), native)):
            sig = acipher.dsa_sign(algo, signer, hashed, rng)
            assert len(sig) == q_bits // 4
            acipher.dsa_verify(algo, verifier, hashed, sig)
            acipher.dsa_verify(algo, verifier, hashed + bytes(max(0, size - len(hashed))), sig)
            for wrong in ((flipped(hashed, 9), sig), (hashed, flipped(sig, 9)), (hashed, sig[::-1])):
                assert code_of(acipher.dsa_verify, algo, verifier, *wrong) == gp.TEE_ERROR_SIGNATURE_INVALID


def test_nist_signature():
    """The first of CAVP's SigVer for SHA-1 (FIPS 186-3)."""
    numbers = (
        "dc5bf3a88b2d99e4c95cdd7a0501cc38630d425cf5c390af3429cff1f35147b795caea923f0d3577158f8a0c89dabd1962c2c453306b5d70cacfb01430aceb54e5a5fa6f9340d3bd2da612fceeb76b0ec1ebfae635a56ab141b108e00dc76eefe2edd0c514c21c457457c39065dba9d0ecb7569c247172d8438ad2827b60435b",
        "e956602b83d195dbe945b3ac702fc61f81571f1d",
        "d7eb9ca20a3c7a079606bafc4c9261ccaba303a5dc9fe9953f197dfe548c234895baa77f441ee6a2d97b909cbbd26ff7b869d24cae51b5c6edb127a4b5d75cd8b46608bfa148249dffdb59807c5d7dde3fe3080ca3a2d28312142becb1fa8e24003e21c7287108174b95d5bc711e1c8d9b1076784f5dc37a964a5e51390da713",
        "6240ea0647117c38fe705106d56db578f3e10130928452d4f3587881b8a2bc6873a8befc3237f20914e2a91c7f07a928ee22adeed23d74ab7f82ea11f70497e578f7a9b4cbd6f10226222b0b4da2ea1e49813d6bb9882fbf675c0846bb80cc891857b89b0ef1beb6cce3378a9aab5d66ad4cb9277cf447dfe1e64434749432fb",
    )
    message = "0fe1bfee500bdb76026099b1d37553f6bdfe48c82094ef98cb309dd777330bedfaa2f94c823ef74ef4074b50d8706041ac0e371c7c22dcf70263b8d60e17a86c7c379cfda8f22469e0df9d49d59439fc99891873628fff25dda5fac5ac794e948babdde968143ba05f1128f34fdad5875edc4cd71c6c24ba2060ffbd439ce2b3"
    sig = bytes.fromhex("b5af307867fb8b54390013cc67020ddf1f2c0b81620d3b22ab5031440c3e35eab6f481298f9e9f08")
    verifier = DsaKey(*(int(each, 16) for each in numbers))
    hashed = digest(cryp.TEE_ALG_SHA1, bytes.fromhex(message))
    acipher.dsa_verify(SHA1, verifier, hashed, sig)
    acipher.dsa_verify(SHA1, own(verifier), hashed, sig)


def test_misuse():
    key = pair(1024, 160, Real())
    sig = acipher.dsa_sign(SHA1, key, bytes(20), Real())
    assert code_of(acipher.dsa_sign, SHA1, key, bytes(19), Real()) == gp.TEE_ERROR_SECURITY
    assert code_of(acipher.dsa_sign, SHA256, key, bytes(32), Real()) == gp.TEE_ERROR_SECURITY
    for algo in (cryp.TEE_ALG_DSA_SHA3_256, cryp.TEE_ALG_RSA_NOPAD):
        assert code_of(acipher.dsa_sign, algo, key, bytes(20), Real()) == gp.TEE_ERROR_NOT_IMPLEMENTED
        assert code_of(acipher.dsa_verify, algo, key, bytes(20), sig) == gp.TEE_ERROR_NOT_IMPLEMENTED
    for wrong in (b"", b"\0", bytes(40), sig[1:], b"\xff" * 40, sig + sig):
        assert code_of(acipher.dsa_verify, SHA1, key, bytes(20), wrong) == gp.TEE_ERROR_SIGNATURE_INVALID
    params = group(1024, 160)
    assert code_of(acipher.generate_key, PAIR, 1016, params, Real()) == gp.TEE_ERROR_BAD_PARAMETERS
    even = params | {cryp.TEE_ATTR_DSA_PRIME: params[cryp.TEE_ATTR_DSA_PRIME][:-1] + b"\2"}
    assert code_of(acipher.generate_key, PAIR, 1024, even, Real()) == gp.TEE_ERROR_BAD_PARAMETERS
    assert code_of(acipher.generate_key, PAIR, 1024, params, Stuck(0)) == gp.TEE_ERROR_GENERIC


_NUMBER = st.one_of(st.integers(0, 9), st.integers(0, 2**160), st.integers(2**1023, 2**1024))


@given(
    numbers=st.lists(_NUMBER, min_size=5, max_size=5),
    hashed=st.binary(min_size=20, max_size=20),
    sig=st.binary(max_size=64),
)
@settings(max_examples=100)
def test_no_numbers_are_too_strange(numbers, hashed, sig):
    key = DsaKey(*numbers)
    size = min(20, key.size)
    known = {None, gp.TEE_ERROR_GENERIC, gp.TEE_ERROR_SIGNATURE_INVALID}
    assert code_of(acipher.dsa_sign, SHA1, key, hashed[:size], Real()) in known
    assert code_of(acipher.dsa_verify, SHA1, key, hashed, sig) in known


@pytest.mark.parametrize("hidden", [False, True])
def test_a_group_in_which_r_is_always_zero(hidden):
    q = random_prime(160, Seeded(b"q"))
    p = q * random_prime(864, Seeded(b"m"))
    key = DsaKey(p, q, 12345 * q, pow(12345 * q, 77, p), 77)
    signer = own(key) if hidden else key
    assert code_of(acipher.dsa_sign, SHA1, signer, b"\1" * 20, Real()) == gp.TEE_ERROR_GENERIC


# --- Diffie-Hellman -----------------------------------------------------------------------------------------------

P = random_prime(256, Seeded(b"p"))
Q = random_prime(128, Seeded(b"q"))
BASE = {cryp.TEE_ATTR_DH_PRIME: _octets(P), cryp.TEE_ATTR_DH_BASE: b"\2"}
DH_PUBLIC, DH_PRIVATE = cryp.TEE_ATTR_DH_PUBLIC_VALUE, cryp.TEE_ATTR_DH_PRIVATE_VALUE


@pytest.mark.parametrize("more", [{}, {cryp.TEE_ATTR_DH_SUBPRIME: _octets(Q)}, {cryp.TEE_ATTR_DH_X_BITS: 64}])
def test_both_sides_have_one_secret(more):
    ours, theirs = (acipher.generate_key(DH, 256, BASE | more, Seeded(seed)) for seed in (b"a", b"b"))
    x = int.from_bytes(ours[DH_PRIVATE], "big")
    assert x < (1 << more.get(cryp.TEE_ATTR_DH_X_BITS, 256))
    assert x < (Q if cryp.TEE_ATTR_DH_SUBPRIME in more else P)
    assert int.from_bytes(ours[DH_PUBLIC], "big") == pow(2, x, P)
    assert ours[cryp.TEE_ATTR_DH_X_BITS] == more.get(cryp.TEE_ATTR_DH_X_BITS, 0)
    secret = acipher.dh_shared_secret(acipher.load_key(DH, BASE | ours), theirs[DH_PUBLIC])
    assert secret == acipher.dh_shared_secret(acipher.load_key(DH, BASE | theirs), ours[DH_PUBLIC])


def test_the_secret_has_no_leading_zeros():
    pair = acipher.load_key(DH, {cryp.TEE_ATTR_DH_PRIME: _octets(P), DH_PRIVATE: b"\1"})
    assert acipher.dh_shared_secret(pair, bytes(40) + b"\5") == b"\5"
    assert acipher.dh_shared_secret(pair, b"") == acipher.dh_shared_secret(pair, _octets(P)) == b""


def test_the_private_value_is_the_rngs():
    made = acipher.generate_key(DH, 256, BASE | {cryp.TEE_ATTR_DH_X_BITS: 16}, Scripted(b"\1\2"))
    assert made[DH_PRIVATE] == b"\1\2"


@pytest.mark.parametrize(
    ("bits", "more"),
    [
        (248, {}),
        (256, {cryp.TEE_ATTR_DH_X_BITS: 12}),
        (256, {cryp.TEE_ATTR_DH_X_BITS: 264}),
        (256, {cryp.TEE_ATTR_DH_SUBPRIME: _octets(Q), cryp.TEE_ATTR_DH_X_BITS: 136}),
        (256, {cryp.TEE_ATTR_DH_SUBPRIME: b""}),
        (256, {cryp.TEE_ATTR_DH_PRIME: _octets(P - 1)}),
    ],
)
def test_groups_that_make_no_key(bits, more):
    assert code_of(acipher.generate_key, DH, bits, BASE | more, Real()) == gp.TEE_ERROR_BAD_PARAMETERS


def test_an_even_prime_derives_nothing():
    for prime in (b"", b"\x10"):
        pair = acipher.load_key(DH, {cryp.TEE_ATTR_DH_PRIME: prime, DH_PRIVATE: b"\3"})
        assert code_of(acipher.dh_shared_secret, pair, b"\2") == gp.TEE_ERROR_BAD_PARAMETERS
