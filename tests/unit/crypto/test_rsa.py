"""RSA: against the library, keys it does not take, every padding, and numbers that do not fit together."""

from hashlib import new as new_hash

import pytest
from acipher_fakes import Real, Scripted, Seeded, Stuck, attributes, code_of, flipped, key
from Cryptodome.Cipher import PKCS1_OAEP
from Cryptodome.Hash import MD5, SHA1, SHA3_256, SHA256, SHA512
from Cryptodome.PublicKey import RSA
from Cryptodome.Signature import pkcs1_15, pss
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from optemu.abi import cryp, gp
from optemu.secure_world.crypto import acipher, pkcs1
from optemu.secure_world.crypto.hash import digest, digest_size
from optemu.secure_world.crypto.number import _is_prime

PAIR, PUBLIC = cryp.TEE_TYPE_RSA_KEYPAIR, cryp.TEE_TYPE_RSA_PUBLIC_KEY
SIZES = [256, 512, 1008, 1024, 2048]
NAMES = ["MD5", "SHA1", "SHA224", "SHA256", "SHA384", "SHA512", "SHA3_224", "SHA3_256", "SHA3_384", "SHA3_512"]
V1_5 = {f"TEE_ALG_{name}": getattr(cryp, f"TEE_ALG_RSASSA_PKCS1_V1_5_{name}") for name in NAMES}
PSS = {f"TEE_ALG_{name}": getattr(cryp, f"TEE_ALG_RSASSA_PKCS1_PSS_MGF1_{name}") for name in NAMES}
OAEP = {f"TEE_ALG_{name}": getattr(cryp, f"TEE_ALG_RSAES_PKCS1_OAEP_MGF1_{name}") for name in NAMES}
NA1, EME = cryp.TEE_ALG_RSASSA_PKCS1_V1_5, cryp.TEE_ALG_RSAES_PKCS1_V1_5
EXPONENTS = (cryp.TEE_ATTR_RSA_MODULUS, cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT, cryp.TEE_ATTR_RSA_PRIVATE_EXPONENT)

KEY_ATTRS = (
    *EXPONENTS,
    cryp.TEE_ATTR_RSA_PRIME1,
    cryp.TEE_ATTR_RSA_PRIME2,
    cryp.TEE_ATTR_RSA_EXPONENT1,
    cryp.TEE_ATTR_RSA_EXPONENT2,
    cryp.TEE_ATTR_RSA_COEFFICIENT,
)


def number(attrs, attr):
    return int.from_bytes(attrs[attr], "big")


def public(bits):
    return acipher.load_key(PUBLIC, attributes(PAIR, bits))


def plain(bits):
    """The private key without its primes."""
    return acipher.load_key(PAIR, {attr: attributes(PAIR, bits)[attr] for attr in EXPONENTS})


def other_library(bits):
    return RSA.construct([number(attributes(PAIR, bits), attr) for attr in EXPONENTS])


# --- key generation -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rng", [Real(), Seeded()])
@pytest.mark.parametrize("bits", [256, 528, 1024])
@pytest.mark.parametrize("e", [None, 65539, 3 * 5 * 7 * 11 * 13 * 17 * 19 * 23, (1 << 254) + 1])
def test_generated_keys_fit_together(rng, bits, e):
    params = {} if e is None else {cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT: e.to_bytes(32, "big")}
    made = acipher.generate_key(PAIR, bits, params, rng)
    n, public_e, d, p, q, dp, dq, qp = (number(made, attr) for attr in sorted(made, key=lambda attr: attr & 0xF00))
    assert n.bit_length() == bits
    assert n == p * q
    assert public_e == (e or 65537)
    assert pow(pow(2, public_e, n), d, n) == 2
    assert (dp, dq, qp * q % p) == (d % (p - 1), d % (q - 1), 1)


def test_repeatable_keys_are_a_function_of_the_bytes():
    assert acipher.generate_key(PAIR, 1024, {}, Seeded(b"x")) == acipher.generate_key(PAIR, 1024, {}, Seeded(b"x"))
    assert acipher.generate_key(PAIR, 1024, {}, Seeded(b"x")) != acipher.generate_key(PAIR, 1024, {}, Seeded(b"y"))


@pytest.mark.parametrize("e", [b"", b"\0", b"\1", b"\3", b"\1\0\0", b"\xff\xff", b"\1\0\2", b"\1" + bytes(31) + b"\1"])
def test_exponents_that_upstream_refuses(e):
    made = code_of(acipher.generate_key, PAIR, 512, {cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT: e}, Real())
    assert made == gp.TEE_ERROR_BAD_PARAMETERS


@pytest.mark.parametrize("bits", [257, 264, 2047, 0])
def test_sizes_whose_halves_are_no_whole_octets(bits):
    assert code_of(acipher.generate_key, PAIR, bits, {}, Real()) == gp.TEE_ERROR_BAD_PARAMETERS


@pytest.mark.parametrize("byte", [0, 1, 255])
def test_a_stuck_source_makes_no_key(byte):
    assert code_of(acipher.generate_key, PAIR, 512, {}, Stuck(byte)) == gp.TEE_ERROR_GENERIC


# --- signatures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [key, lambda _, bits: plain(bits)], ids=["crt", "plain"])
@pytest.mark.parametrize("rng", [Real(), Seeded()], ids=["real", "seeded"])
@pytest.mark.parametrize("bits", SIZES)
def test_every_digest_signs_where_there_is_room(load, rng, bits):
    signer, verifier = load(PAIR, bits), public(bits)
    for name, algo in [*V1_5.items(), *PSS.items()]:
        hashed = digest(getattr(cryp, name), b"message")
        for salt_len in (len(hashed), 0, 7):
            is_pss = algo in PSS.values()
            room = bits // 8 - (len(hashed) + salt_len + 2 if is_pss else len(_info(name, hashed)) + 11)
            if room < 0:
                assert code_of(acipher.rsassa_sign, algo, signer, salt_len, hashed, rng) == gp.TEE_ERROR_BAD_PARAMETERS
                continue
            sig = acipher.rsassa_sign(algo, signer, salt_len, hashed, rng)
            assert len(sig) == bits // 8
            acipher.rsassa_verify(algo, verifier, salt_len, hashed, sig)
            for wrong in (flipped(hashed, 3), hashed[::-1]):
                refused = code_of(acipher.rsassa_verify, algo, verifier, salt_len, wrong, sig)
                assert refused == gp.TEE_ERROR_SIGNATURE_INVALID


def _info(name, hashed):
    return pkcs1.digest_infos(getattr(cryp, name), hashed)[0]


@pytest.mark.parametrize("bits", [512, 1024, 2048])
def test_pycryptodome_agrees_on_signatures(bits):
    other = other_library(bits)
    for module, name in ((MD5, "MD5"), (SHA1, "SHA1"), (SHA256, "SHA256"), (SHA512, "SHA512"), (SHA3_256, "SHA3_256")):
        theirs = module.new(b"message")
        if bits // 8 < len(_info(f"TEE_ALG_{name}", theirs.digest())) + 11:
            continue
        algo = V1_5[f"TEE_ALG_{name}"]
        ours = acipher.rsassa_sign(algo, key(PAIR, bits), 0, theirs.digest(), Real())
        assert ours == pkcs1_15.new(other).sign(theirs)
        if bits // 8 < 2 * theirs.digest_size + 2:
            continue
        algo, salt_len = PSS[f"TEE_ALG_{name}"], theirs.digest_size
        sig = acipher.rsassa_sign(algo, key(PAIR, bits), salt_len, theirs.digest(), Seeded())
        pss.new(other).verify(theirs, sig)
        acipher.rsassa_verify(algo, public(bits), salt_len, theirs.digest(), pss.new(other).sign(theirs))


@pytest.mark.parametrize("bits", [512, 2048])
def test_without_digest_info_whatever_fits_is_signed(bits):
    for size in (0, 1, 36, bits // 8 - 11):
        sig = acipher.rsassa_sign(NA1, key(PAIR, bits), 0, b"\7" * size, Real())
        acipher.rsassa_verify(NA1, public(bits), 0, b"\7" * size, sig)
        wrong = code_of(acipher.rsassa_verify, NA1, public(bits), 0, b"\7" * (size + 1), sig)
        assert wrong == gp.TEE_ERROR_SIGNATURE_INVALID
    long = code_of(acipher.rsassa_sign, NA1, key(PAIR, bits), 0, bytes(bits // 8 - 10), Real())
    assert long == gp.TEE_ERROR_BAD_PARAMETERS


@pytest.mark.parametrize("bits", [512, 1024])
def test_a_digest_info_without_null_is_accepted(bits):
    hashed = digest(cryp.TEE_ALG_SHA256, b"message")
    short = pkcs1.digest_infos(cryp.TEE_ALG_SHA256, hashed)[1]
    sig = acipher.rsassa_sign(NA1, key(PAIR, bits), 0, short, Real())
    acipher.rsassa_verify(V1_5["TEE_ALG_SHA256"], public(bits), 0, hashed, sig)


@given(
    bit=st.integers(0, 4095), bits=st.sampled_from([512, 1024]), algo=st.sampled_from([*V1_5.values(), *PSS.values()])
)
@settings(max_examples=60)
def test_a_bit_flipped_in_signature_or_digest_is_refused(bit, bits, algo):
    hashed = digest(0x50000000 | algo >> 12 & 0xF, b"message")
    if bits < 8 * (2 * len(hashed) + 40):
        hashed, algo = digest(cryp.TEE_ALG_SHA1, b""), cryp.TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA1
    sig = acipher.rsassa_sign(algo, key(PAIR, bits), 9, hashed, Seeded())
    acipher.rsassa_verify(algo, public(bits), 9, hashed, sig)
    for args in ((hashed, flipped(sig, bit)), (flipped(hashed, bit), sig)):
        assert code_of(acipher.rsassa_verify, algo, public(bits), 9, *args) == gp.TEE_ERROR_SIGNATURE_INVALID


@pytest.mark.parametrize("bits", [512, 1024])
def test_misuse_of_signatures(bits):
    algo, signer, verifier = V1_5["TEE_ALG_SHA1"], key(PAIR, bits), public(bits)
    sig = acipher.rsassa_sign(algo, signer, 0, bytes(20), Real())
    md5sha1 = cryp.TEE_ALG_RSASSA_PKCS1_V1_5_MD5SHA1
    assert code_of(acipher.rsassa_sign, md5sha1, signer, 0, bytes(36), Real()) == gp.TEE_ERROR_BAD_PARAMETERS
    assert code_of(acipher.rsassa_sign, EME, signer, 0, bytes(20), Real()) == gp.TEE_ERROR_BAD_PARAMETERS
    assert code_of(acipher.rsassa_sign, algo, signer, 0, bytes(19), Real()) == gp.TEE_ERROR_BAD_PARAMETERS
    assert code_of(acipher.rsassa_verify, algo, verifier, 0, bytes(21), sig) == gp.TEE_ERROR_BAD_PARAMETERS
    for wrong in (b"", sig[1:], sig + b"\0", b"\0" + sig, b"\xff" * len(sig), bytes(len(sig))):
        assert code_of(acipher.rsassa_verify, algo, verifier, 0, bytes(20), wrong) == gp.TEE_ERROR_SIGNATURE_INVALID
    pss_algo = PSS["TEE_ALG_SHA1"]
    for salt_len in (bits // 8, 2**31 - 2, -1):
        assert (
            code_of(acipher.rsassa_sign, pss_algo, signer, salt_len, bytes(20), Real()) == gp.TEE_ERROR_BAD_PARAMETERS
        )
        refused = code_of(acipher.rsassa_verify, pss_algo, verifier, salt_len, bytes(20), sig)
        assert refused == gp.TEE_ERROR_SIGNATURE_INVALID


@pytest.mark.parametrize("bits", [1018, 1019, 1023, 1025])
def test_pss_for_moduli_that_are_no_whole_octets(bits):
    """One bit more than whole octets: the encoding is an octet shorter than the modulus."""
    p, q, e = _primes_for(bits)
    d = pow(e, -1, (p - 1) * (q - 1))
    attrs = dict(zip(EXPONENTS, (_octets(v) for v in (p * q, e, d)), strict=True))
    signer = acipher.load_key(PAIR, attrs)
    sig = acipher.rsassa_sign(PSS["TEE_ALG_SHA256"], signer, 32, bytes(32), Seeded())
    acipher.rsassa_verify(PSS["TEE_ALG_SHA256"], signer, 32, bytes(32), sig)
    pss.new(RSA.construct((p * q, e))).verify(_Hashed(bytes(32)), sig)


class _Hashed:
    """A digest that pycryptodome believes to have computed."""

    oid = SHA256.new().oid
    digest_size = 32

    def __init__(self, value):
        self._value = value

    def digest(self):
        return self._value

    def new(self, data=b""):
        return SHA256.new(data)


def _primes_for(bits):
    for seed in range(200):
        p, q = (_prime((bits + half) // 2, f"{seed} {half}") for half in (0, 1))
        if (p * q).bit_length() == bits and (p - 1) % 65537 and (q - 1) % 65537:
            return p, q, 65537
    raise AssertionError("no primes")


def _prime(bits, seed):
    candidate = int.from_bytes(Seeded(seed.encode()).read(bits // 8 + 1), "big") >> (8 - bits % 8) | 1 | 1 << (bits - 1)
    while not _is_prime(candidate):
        candidate += 2
    return candidate


def _octets(value):
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


# --- encryption -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rng", [Real(), Seeded()], ids=["real", "seeded"])
@pytest.mark.parametrize("bits", SIZES)
def test_every_padding_encrypts_where_there_is_room(rng, bits):
    for algo, h_len in [(EME, None), *((algo, digest_size(getattr(cryp, name))) for name, algo in OAEP.items())]:
        room = bits // 8 - (11 if h_len is None else 2 * h_len + 2)
        if room < (0 if h_len is None else 1):
            assert code_of(acipher.rsaes_encrypt, algo, public(bits), b"", 0, b"", rng) == gp.TEE_ERROR_BAD_PARAMETERS
            empty = code_of(acipher.rsaes_decrypt, algo, key(PAIR, bits), b"", 0, bytes(bits // 8))
            assert empty == gp.TEE_ERROR_BAD_PARAMETERS
            continue
        for mgf_algo in (0, cryp.TEE_ALG_SHA1, cryp.TEE_ALG_MD5, cryp.TEE_ALG_SHA3_384):
            for label, message in ((b"", b""), (b"label", b"\0m"), (b"", b"\xff" * room)):
                sealed = acipher.rsaes_encrypt(algo, public(bits), label, mgf_algo, message, rng)
                assert len(sealed) == bits // 8
                assert acipher.rsaes_decrypt(algo, key(PAIR, bits), label, mgf_algo, sealed) == message
                if h_len is not None:
                    is_sha224 = algo == OAEP["TEE_ALG_SHA224"] and not mgf_algo
                    other_mgf = cryp.TEE_ALG_SHA256 if is_sha224 else cryp.TEE_ALG_SHA224
                    for other in ((label + b"!", mgf_algo), (label, other_mgf)):
                        refused = code_of(acipher.rsaes_decrypt, algo, key(PAIR, bits), *other, sealed)
                        assert refused == gp.TEE_ERROR_BAD_PARAMETERS
        long = code_of(acipher.rsaes_encrypt, algo, public(bits), b"", 0, bytes(room + 1), rng)
        assert long == gp.TEE_ERROR_BAD_PARAMETERS


@pytest.mark.parametrize("module", [MD5, SHA1, SHA256, SHA3_256])
def test_pycryptodome_agrees_on_oaep(module):
    name = module.__name__.rpartition(".")[2]
    other = PKCS1_OAEP.new(other_library(1024), module, label=b"label")
    algo = OAEP[f"TEE_ALG_{name}"]
    assert other.decrypt(acipher.rsaes_encrypt(algo, public(1024), b"label", 0, b"hello", Seeded())) == b"hello"
    assert acipher.rsaes_decrypt(algo, key(PAIR, 1024), b"label", 0, other.encrypt(b"hello")) == b"hello"


def test_repeatable_encryption_takes_its_seed_from_the_rng():
    seed = bytes(range(20))
    sealed = acipher.rsaes_encrypt(OAEP["TEE_ALG_SHA1"], public(1024), b"", 0, b"m", Scripted(seed))
    assert sealed == acipher.rsaes_encrypt(OAEP["TEE_ALG_SHA1"], public(1024), b"", 0, b"m", Scripted(seed))
    padded = Scripted(b"\1\0\2" + b"\3" * (128 - 7), b"\0", b"\4")
    sealed = acipher.rsaes_encrypt(EME, public(1024), b"", 0, b"m", padded)
    block = acipher.rsanopad_decrypt(key(PAIR, 1024), sealed)
    assert block == b"\2\1\2" + b"\3" * 121 + b"\4\0m"


@pytest.mark.parametrize("bits", [512, 1024])
def test_no_padding_is_bad_parameters(bits):
    size = bits // 8
    for block in (
        b"\2" + b"\1" * (size - 2),
        b"\1" + b"\xff" * (size - 3) + b"\0",
        b"\2" + b"\1" * 7 + b"\0" * (size - 9),
        b"",
    ):
        sealed = pow(int.from_bytes(block, "big"), 65537, public(bits).n).to_bytes(size, "big")
        for algo in (EME, OAEP["TEE_ALG_SHA1"]):
            assert code_of(acipher.rsaes_decrypt, algo, key(PAIR, bits), b"", 0, sealed) == gp.TEE_ERROR_BAD_PARAMETERS
    for algo in (EME, OAEP["TEE_ALG_SHA1"]):
        for sealed in (b"", bytes(size - 1), bytes(size + 1), b"\xff" * size):
            assert code_of(acipher.rsaes_decrypt, algo, key(PAIR, bits), b"", 0, sealed) == gp.TEE_ERROR_BAD_PARAMETERS


def test_digests_that_do_not_mask():
    for algo, mgf_algo in ((OAEP["TEE_ALG_SHA1"], cryp.TEE_ALG_SM3), (cryp.TEE_ALG_RSA_NOPAD, 0)):
        assert (
            code_of(acipher.rsaes_encrypt, algo, public(1024), b"", mgf_algo, b"", Real())
            == gp.TEE_ERROR_BAD_PARAMETERS
        )


@given(bit=st.integers(0, 1023), algo=st.sampled_from([OAEP["TEE_ALG_SHA256"], OAEP["TEE_ALG_MD5"]]))
@settings(max_examples=30)
def test_a_bit_flipped_in_oaep_is_refused(bit, algo):
    sealed = acipher.rsaes_encrypt(algo, public(1024), b"", 0, b"hello", Seeded())
    refused = code_of(acipher.rsaes_decrypt, algo, key(PAIR, 1024), b"", 0, flipped(sealed, bit))
    assert refused == gp.TEE_ERROR_BAD_PARAMETERS


@given(st.binary(max_size=64))
def test_decoders_take_any_octets(padded):
    for decode in (
        lambda: pkcs1.eme_v1_5_decode(padded),
        lambda: pkcs1.oaep_decode(cryp.TEE_ALG_MD5, cryp.TEE_ALG_SHA1, b"", padded),
        lambda: pkcs1.pss_verify(cryp.TEE_ALG_MD5, bytes(16), 3, max(9, 8 * len(padded) - 3), padded),
    ):
        assert code_of(decode) in (None, gp.TEE_ERROR_BAD_PARAMETERS)


# --- raw, and hostile keys --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", SIZES)
@pytest.mark.parametrize("load", [key, lambda _, bits: plain(bits)], ids=["crt", "plain"])
def test_raw_strips_leading_zeros(bits, load):
    n = public(bits).n
    for message in (b"", b"\0", b"\0\0\1", b"\0hello", _octets(n - 1), _octets(n)):
        raw = acipher.rsanopad_encrypt(public(bits), message)
        assert raw == (_octets(pow(int.from_bytes(message, "big"), 65537, n)) or b"\0")
        expected = _octets(int.from_bytes(message, "big") % n) or b"\0"
        assert acipher.rsanopad_decrypt(load(PAIR, bits), raw) == expected
    for call, which in ((acipher.rsanopad_encrypt, public(bits)), (acipher.rsanopad_decrypt, load(PAIR, bits))):
        assert code_of(call, which, _octets(n + 1)) == gp.TEE_ERROR_BAD_PARAMETERS


def test_openssl_reads_what_we_sign_with_it():
    attrs = attributes(PAIR, 1024)
    theirs = rsa.RSAPublicNumbers(65537, number(attrs, cryp.TEE_ATTR_RSA_MODULUS)).public_key()
    sig = acipher.rsassa_sign(PSS["TEE_ALG_SHA384"], key(PAIR, 1024), 11, digest(cryp.TEE_ALG_SHA384, b"m"), Seeded())
    theirs.verify(sig, b"m", padding.PSS(padding.MGF1(hashes.SHA384()), 11), hashes.SHA384())


@pytest.mark.parametrize("bits", [512, 1024])
@pytest.mark.parametrize("attr", [a for a in attributes(PAIR, 512) if a & 0xF00 > 0x300])
def test_a_damaged_prime_exponent_or_coefficient_is_noticed(bits, attr):
    """Upstream checks what it computed with them; the code depends on who called."""
    attrs = attributes(PAIR, bits)
    damaged = acipher.load_key(PAIR, attrs | {attr: flipped(attrs[attr], 1)})
    assert code_of(acipher.rsanopad_decrypt, damaged, b"\5") == gp.TEE_ERROR_GENERIC
    signed = code_of(acipher.rsassa_sign, V1_5["TEE_ALG_SHA1"], damaged, 0, bytes(20), Real())
    assert signed == gp.TEE_ERROR_BAD_PARAMETERS
    sealed = acipher.rsaes_encrypt(EME, public(bits), b"", 0, b"m", Real())
    assert code_of(acipher.rsaes_decrypt, EME, damaged, b"", 0, sealed) == gp.TEE_ERROR_GENERIC


def test_the_private_exponent_is_not_looked_at_when_there_are_primes():
    attrs = attributes(PAIR, 1024) | {cryp.TEE_ATTR_RSA_PRIVATE_EXPONENT: b"\5"}
    sig = acipher.rsassa_sign(V1_5["TEE_ALG_SHA1"], acipher.load_key(PAIR, attrs), 0, bytes(20), Real())
    acipher.rsassa_verify(V1_5["TEE_ALG_SHA1"], public(1024), 0, bytes(20), sig)


def test_primes_that_are_none():
    """One and the modulus, and composites, whose exponents do not fit."""
    n, e = public(1024).n, 65537
    p, q = (3 * _prime(511, f"{half}") for half in "pq")
    algo = V1_5["TEE_ALG_SHA1"]
    for numbers in ((n, e, 5, 1, n, 7, 9, 1), (p * q, e, 5, p, q, e, e, 7), (p * p, e, 5, p, p, e, e, 1)):
        attrs = dict(zip(KEY_ATTRS, map(_octets, numbers), strict=True))
        strange = acipher.load_key(PAIR, attrs)
        assert code_of(acipher.rsassa_sign, algo, strange, 0, bytes(20), Real()) == gp.TEE_ERROR_BAD_PARAMETERS
        assert code_of(acipher.rsanopad_decrypt, strange, b"\2") == gp.TEE_ERROR_GENERIC


def test_composites_that_fit():
    p, q = 3 * _prime(511, "p"), 5 * _prime(511, "q")
    numbers = (p * q, 65537, 5, p, q, pow(65537, -1, p - 1), pow(65537, -1, q - 1), pow(q, -1, p))
    strange = acipher.load_key(PAIR, dict(zip(KEY_ATTRS, map(_octets, numbers), strict=True)))
    code = code_of(acipher.rsassa_sign, V1_5["TEE_ALG_SHA1"], strange, 0, bytes(20), Real())
    assert code in (None, gp.TEE_ERROR_BAD_PARAMETERS)


@pytest.mark.parametrize("bits", [512, 1024])
def test_even_moduli(bits):
    attrs = attributes(PAIR, bits) | {cryp.TEE_ATTR_RSA_MODULUS: b"\xff" * (bits // 8 - 1) + b"\xfe"}
    even = acipher.load_key(PAIR, attrs)
    assert code_of(acipher.rsanopad_encrypt, even, b"\1") == gp.TEE_ERROR_GENERIC
    assert code_of(acipher.rsanopad_decrypt, even, b"\1") == gp.TEE_ERROR_GENERIC
    algo, sig = V1_5["TEE_ALG_SHA1"], bytes(bits // 8)
    assert code_of(acipher.rsassa_sign, algo, even, 0, bytes(20), Real()) == gp.TEE_ERROR_BAD_PARAMETERS
    assert code_of(acipher.rsassa_verify, algo, even, 0, bytes(20), sig) == gp.TEE_ERROR_GENERIC


@pytest.mark.parametrize("e", [1, 2, 3, 4, 2**64 + 1, 2**1000 + 1])
def test_public_exponents_of_any_kind(e):
    n = public(1024).n
    odd = acipher.load_key(
        PUBLIC, {cryp.TEE_ATTR_RSA_MODULUS: _octets(n), cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT: _octets(e)}
    )
    assert acipher.rsanopad_encrypt(odd, b"\7") == _octets(pow(7, e, n))
    sig = bytes(127) + b"\1"
    assert (
        code_of(acipher.rsassa_verify, V1_5["TEE_ALG_SHA1"], odd, 0, bytes(20), sig) == gp.TEE_ERROR_SIGNATURE_INVALID
    )


_SMALL = st.one_of(st.integers(0, 9), st.integers(0, 2**64), st.integers(2**1023, 2**1024)).map(_octets)


@given(numbers=st.lists(_SMALL, min_size=8, max_size=8), data=st.binary(max_size=130))
@settings(max_examples=100)
def test_no_numbers_are_too_strange(numbers, data):
    """A TEE_Result for everything, and soon."""
    attrs = dict(zip(attributes(PAIR, 512), numbers, strict=True))
    strange = acipher.load_key(PAIR, attrs)
    known = {None, gp.TEE_ERROR_BAD_PARAMETERS, gp.TEE_ERROR_GENERIC, gp.TEE_ERROR_SIGNATURE_INVALID}
    calls = [(acipher.rsanopad_encrypt, strange, data), (acipher.rsanopad_decrypt, strange, data)]
    for algo in (V1_5["TEE_ALG_MD5"], PSS["TEE_ALG_MD5"], NA1):
        calls.append((acipher.rsassa_sign, algo, strange, 0, data[:16], Real()))
        calls.append((acipher.rsassa_verify, algo, strange, 0, data[:16], data))
    for algo in (EME, OAEP["TEE_ALG_MD5"], OAEP["TEE_ALG_SHA1"]):
        calls.append((acipher.rsaes_encrypt, algo, strange, b"", 0, data[:9], Real()))
        calls.append((acipher.rsaes_decrypt, algo, strange, b"", 0, data))
    for call in calls:
        assert code_of(*call) in known


def test_hashes_are_those_of_the_standard():
    for name in NAMES:
        assert digest(getattr(cryp, f"TEE_ALG_{name}"), b"x") == new_hash(name.lower(), b"x").digest()
