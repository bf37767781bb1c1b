"""Elliptic curves: RFC 6979's signatures, our own arithmetic against OpenSSL's, and points that are none."""

from hashlib import new as new_hash

import pytest
from acipher_fakes import Real, Scripted, Seeded, Stuck, attributes, code_of, flipped, key
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from optemu.abi import cryp, gp
from optemu.secure_world.crypto import acipher
from optemu.secure_world.crypto.curve import SM2, curve_of
from optemu.secure_world.crypto.ecc import EcKey

PAIR, PUBLIC = cryp.TEE_TYPE_ECDSA_KEYPAIR, cryp.TEE_TYPE_ECDSA_PUBLIC_KEY
P192, P224, P256, P384, P521 = (getattr(cryp, f"TEE_ECC_CURVE_NIST_P{bits}") for bits in (192, 224, 256, 384, 521))
ALGOS = {
    P192: (192, cryp.TEE_ALG_ECDSA_SHA1),
    P224: (224, cryp.TEE_ALG_ECDSA_SHA224),
    P256: (256, cryp.TEE_ALG_ECDSA_SHA256),
    P384: (384, cryp.TEE_ALG_ECDSA_SHA384),
    P521: (521, cryp.TEE_ALG_ECDSA_SHA512),
}
X, Y, D = cryp.TEE_ATTR_ECC_PUBLIC_VALUE_X, cryp.TEE_ATTR_ECC_PUBLIC_VALUE_Y, cryp.TEE_ATTR_ECC_PRIVATE_VALUE
curves = pytest.mark.parametrize("curve", ALGOS)

# RFC 6979, A.2.3 to A.2.7: curve, digest, private key, k, r, s; the message is "sample".
RFC_6979 = [
    (
        P192,
        "sha1",
        "6FAB034934E4C0FC9AE67F5B5659A9D7D1FEFD187EE09FD4",
        "37D7CA00D2C7B0E5E412AC03BD44BA837FDD5B28CD3B0021",
        "98C6BD12B23EAF5E2A2045132086BE3EB8EBD62ABF6698FF",
        "57A22B07DEA9530F8DE9471B1DC6624472E8E2844BC25B64",
    ),
    (
        P256,
        "sha256",
        "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721",
        "A6E3C57DD01ABE90086538398355DD4C3B17AA873382B0F24D6129493D8AAD60",
        "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
        "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
    ),
    (
        P256,
        "sha512",
        "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721",
        "5FA81C63109BADB88C1F367B47DA606DA28CAD69AA22C4FE6AD7DF73A7173AA5",
        "8496A60B5E9B47C825488827E0495B0E3FA109EC4568FD3F8D1097678EB97F00",
        "2362AB1ADBE2B8ADF9CB9EDAB740EA6049C028114F2460F96554F61FAE3302FE",
    ),
    (
        P384,
        "sha384",
        "6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D896D5724E4C70A825F872C9EA60D2EDF5",
        "94ED910D1A099DAD3254E9242AE85ABDE4BA15168EAF0CA87A555FD56D10FBCA2907E3E83BA95368623B8C4686915CF9",
        "94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C81A648152E44ACF96E36DD1E80FABE46",
        "99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94FA329C145786E679E7B82C71A38628AC8",
    ),
]


def _key_of(curve, d):
    x, y = curve_of(curve).multiply_base(d)
    return EcKey(curve_of(curve), x, y, d)


@pytest.mark.parametrize(("curve", "sha", "d", "k", "r", "s"), RFC_6979)
def test_rfc_6979(curve, sha, d, k, r, s):
    signer = _key_of(curve, int(d, 16))
    hashed = new_hash(sha, b"sample").digest()
    sig = acipher.ecc_sign(ALGOS[curve][1], signer, hashed, Scripted(bytes.fromhex(k)))
    assert sig.hex().upper() == r + s
    acipher.ecc_verify(ALGOS[curve][1], signer, hashed, sig)


def _ours(native):
    """The same key, which OpenSSL does not get to see."""
    own = EcKey(native.curve, native.x, native.y, native.d)
    own.__dict__.update(native_private=None, native_public=None)
    return own


@curves
@pytest.mark.parametrize("rng", [Real(), Seeded()], ids=["real", "seeded"])
def test_openssl_and_ours_agree_for_digests_of_any_length(curve, rng):
    bits, algo = ALGOS[curve]
    native = key(PAIR, bits, curve)
    for size in (0, 1, 16, 19, 20, 24, 27, 28, 32, 47, 48, 64, 65, 66, 67, 80):
        hashed = bytes(range(256 - size, 256))
        for signer, verifier in ((native, _ours(native)), (_ours(native), native)):
            sig = acipher.ecc_sign(algo, signer, hashed, rng)
            assert len(sig) == 2 * ((bits + 7) // 8)
            acipher.ecc_verify(algo, verifier, hashed, sig)
            assert (
                code_of(acipher.ecc_verify, algo, verifier, hashed, flipped(sig, 77)) == gp.TEE_ERROR_SIGNATURE_INVALID
            )


@curves
def test_generated_keys_are_on_the_curve(curve):
    bits = ALGOS[curve][0]
    for rng in (Real(), Seeded()):
        made = acipher.generate_key(PAIR, bits, {cryp.TEE_ATTR_ECC_CURVE: curve}, rng)
        acipher.verify_ecc_public_key(curve, made[X], made[Y])
        d = int.from_bytes(made[D], "big")
        own = curve_of(curve).multiply(d, curve_of(curve).base)
        assert own == (int.from_bytes(made[X], "big"), int.from_bytes(made[Y], "big"))
    again = [acipher.generate_key(PAIR, bits, {cryp.TEE_ATTR_ECC_CURVE: curve}, Seeded(b"a")) for _ in range(2)]
    assert again[0] == again[1]


def test_keys_that_cannot_be_made():
    curve = {cryp.TEE_ATTR_ECC_CURVE: P256}
    assert code_of(acipher.generate_key, PAIR, 384, curve, Real()) == gp.TEE_ERROR_BAD_PARAMETERS
    assert (
        code_of(acipher.generate_key, PAIR, 256, {cryp.TEE_ATTR_ECC_CURVE: 0x99}, Real()) == gp.TEE_ERROR_NOT_SUPPORTED
    )
    assert code_of(acipher.generate_key, PAIR, 256, curve, Stuck(0)) == gp.TEE_ERROR_GENERIC
    assert code_of(acipher.generate_key, PAIR, 256, curve, Stuck(255)) == gp.TEE_ERROR_GENERIC
    assert code_of(acipher.generate_key, PUBLIC, 256, curve, Real()) == gp.TEE_ERROR_NOT_IMPLEMENTED
    assert code_of(acipher.load_key, cryp.TEE_TYPE_AES, {}) == gp.TEE_ERROR_NOT_IMPLEMENTED


@curves
@given(bit=st.integers(0, 2000), where=st.sampled_from(["digest", "signature", "x", "y"]))
@settings(max_examples=25)
def test_a_bit_flipped_anywhere_is_refused(curve, bit, where):
    bits, algo = ALGOS[curve]
    attrs = attributes(PAIR, bits, curve)
    hashed = b"\5" * 20
    sig = acipher.ecc_sign(algo, key(PAIR, bits, curve), hashed, Seeded())
    if where == "digest":
        hashed = flipped(hashed, bit)
    elif where == "signature":
        sig = flipped(sig, bit)
    else:
        attr = X if where == "x" else Y
        attrs = attrs | {attr: flipped(attrs[attr], bit)}
    verifier = acipher.load_key(PUBLIC, attrs)
    assert code_of(acipher.ecc_verify, algo, verifier, hashed, sig) == gp.TEE_ERROR_SIGNATURE_INVALID


def test_a_curve_signs_with_its_own_algorithm_only():
    for curve, (bits, algo) in ALGOS.items():
        for other in (*(each for _, each in ALGOS.values()), cryp.TEE_ALG_SM2_DSA_SM3, 0):
            if other != algo:
                signed = code_of(acipher.ecc_sign, other, key(PAIR, bits, curve), bytes(32), Real())
                verified = code_of(acipher.ecc_verify, other, key(PAIR, bits, curve), bytes(32), bytes(64))
                assert signed == verified == gp.TEE_ERROR_BAD_PARAMETERS


@curves
def test_sizes_and_ranges_of_signatures(curve):
    bits, algo = ALGOS[curve]
    verifier, size, n = key(PAIR, bits, curve), (bits + 7) // 8, curve_of(curve).n
    for length in (0, 1, 2 * size - 1, 2 * size + 1):
        assert code_of(acipher.ecc_verify, algo, verifier, bytes(20), bytes(length)) == gp.TEE_ERROR_BAD_PARAMETERS
    for r, s in ((0, 1), (1, 0), (n, 1), (1, n), (n - 1, n - 1)):
        sig = r.to_bytes(size, "big") + s.to_bytes(size, "big")
        assert code_of(acipher.ecc_verify, algo, verifier, bytes(20), sig) == gp.TEE_ERROR_SIGNATURE_INVALID


@pytest.mark.parametrize("d", [0, 2**256 - 1, 2**512 + 3])
def test_private_values_out_of_range_compute_as_upstream_does(d):
    point = curve_of(P256).multiply(d, curve_of(P256).base) or (0, 0)
    odd = EcKey(curve_of(P256), *point, d)
    sig = acipher.ecc_sign(cryp.TEE_ALG_ECDSA_SHA256, odd, b"\1" * 32, Real())
    if d:
        acipher.ecc_verify(cryp.TEE_ALG_ECDSA_SHA256, odd, b"\1" * 32, sig)
    peer = attributes(PAIR, 256, P256)
    assert len(acipher.ecc_shared_secret(odd, peer[X], peer[Y])) == 32


def test_zero_digest_and_zero_key_sign_nothing():
    zero = EcKey(curve_of(P256), 0, 0, 0)
    assert code_of(acipher.ecc_sign, cryp.TEE_ALG_ECDSA_SHA256, zero, bytes(32), Real()) == gp.TEE_ERROR_GENERIC


# --- points and common secrets ----------------------------------------------------------------------------------


@curves
def test_both_sides_have_one_secret(curve):
    bits = ALGOS[curve][0]
    ours, theirs = key(PAIR, bits, curve, b"a"), key(PAIR, bits, curve, b"b")
    their_attrs, our_attrs = attributes(PAIR, bits, curve, b"b"), attributes(PAIR, bits, curve, b"a")
    secret = acipher.ecc_shared_secret(ours, their_attrs[X], their_attrs[Y])
    assert len(secret) == (bits + 7) // 8
    assert secret == acipher.ecc_shared_secret(theirs, our_attrs[X], our_attrs[Y])
    assert secret == acipher.ecc_shared_secret(_ours(ours), their_attrs[X], their_attrs[Y])


@curves
def test_points_that_are_none(curve):
    attrs = attributes(PAIR, ALGOS[curve][0], curve)
    p = curve_of(curve).p
    above = (int.from_bytes(attrs[X], "big") + p).to_bytes(67, "big")
    for x, y in ((attrs[Y], attrs[X]), (b"", b""), (b"\0", b"\1"), (above, attrs[Y]), (b"\xff" * 512, attrs[Y])):
        assert code_of(acipher.verify_ecc_public_key, curve, x, y) == gp.TEE_ERROR_BAD_PARAMETERS
    assert code_of(acipher.verify_ecc_public_key, 0x300, attrs[X], attrs[Y]) == gp.TEE_ERROR_NOT_SUPPORTED


def test_sm2_points():
    x, y = SM2.base
    acipher.verify_ecc_public_key(cryp.TEE_ECC_CURVE_SM2, x.to_bytes(32, "big"), y.to_bytes(32, "big"))
    assert SM2.multiply(SM2.n, SM2.base) is None
    assert SM2.multiply_base(SM2.n - 1) == (x, SM2.p - y)


@curves
@given(k=st.integers(0, 2**530), m=st.integers(0, 2**530))
@settings(max_examples=10)
def test_laws_of_the_group(curve, k, m):
    c = curve_of(curve)
    point = c.multiply(7, c.base)
    assert c.multiply_add(k, point, m, point) == c.multiply((k + m) % c.n, point)
    assert c.multiply_add(k, c.base, m, point) == c.multiply(k + 7 * m, c.base)
    assert c.multiply(0, point) is c.multiply(k, None) is None
    assert c.multiply_base(k % (c.n - 1) + 1) == c.multiply(k % (c.n - 1) + 1, c.base)


@given(x=st.integers(0, 2**300), y=st.integers(0, 2**300), sig=st.binary(min_size=64, max_size=64))
@settings(max_examples=30)
def test_keys_on_no_curve_verify_nothing_and_hang_nothing(x, y, sig):
    odd = EcKey(curve_of(P256), x, y)
    refused = code_of(acipher.ecc_verify, cryp.TEE_ALG_ECDSA_SHA256, odd, bytes(32), sig)
    assert refused == gp.TEE_ERROR_SIGNATURE_INVALID


def test_openssl_judges_what_we_sign():
    signer = key(PAIR, 384, P384)
    sig = acipher.ecc_sign(ALGOS[P384][1], signer, new_hash("sha384", b"m").digest(), Seeded())
    r, s = (int.from_bytes(half, "big") for half in (sig[:48], sig[48:]))
    theirs = ec.EllipticCurvePublicNumbers(signer.x, signer.y, ec.SECP384R1()).public_key()
    theirs.verify(encode_dss_signature(r, s), b"m", ec.ECDSA(hashes.SHA384()))
    with pytest.raises(InvalidSignature):
        theirs.verify(encode_dss_signature(r, s), b"M", ec.ECDSA(hashes.SHA384()))
