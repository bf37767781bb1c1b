"""Ciphers: published vectors, splits and copies, another implementation, lengths that are refused."""

import pytest
from crypto_kit import DEC, ENC, cuts, refused
from Cryptodome.Cipher import AES as OtherAES
from Cryptodome.Cipher import DES as OtherDES
from Cryptodome.Cipher import DES3 as OtherDES3
from Cryptodome.Util import Counter
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from optemu.abi import cryp
from optemu.secure_world.crypto.cipher import CIPHERS

KEY = {"AES": bytes(range(16)), "SM4": bytes(range(16)), "DES": bytes(range(8)), "DES3": bytes(range(24))}
XTS = (cryp.TEE_ALG_AES_XTS, cryp.TEE_ALG_SM4_XTS)
NO_IV = (
    cryp.TEE_ALG_AES_ECB_NOPAD,
    cryp.TEE_ALG_DES_ECB_NOPAD,
    cryp.TEE_ALG_DES3_ECB_NOPAD,
    cryp.TEE_ALG_SM4_ECB_NOPAD,
)
NAMES = {algo: cryp.names("TEE_ALG_")[algo].removeprefix("TEE_ALG_") for algo in CIPHERS}
algorithms_of_table = pytest.mark.parametrize("algo", [pytest.param(algo, id=name) for algo, name in NAMES.items()])


def arguments(algo):
    """Key, second key, vector."""
    name = NAMES[algo].split("_")[0]
    key2 = bytes(range(100, 116)) if algo in XTS else b""
    return KEY[name], key2, b"" if algo in NO_IV else bytes(range(50, 50 + (8 if "DES" in name else 16)))


def new(algo, mode, key=None, key2=None, iv=None):
    usual = arguments(algo)
    return CIPHERS[algo](
        mode, *(given if given is not None else own for given, own in zip((key, key2, iv), usual, strict=True))
    )


def shot(algo, mode, data, *args):
    return new(algo, mode, *args).update(data, True)


h = bytes.fromhex
PLAIN = h(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
AES128, IV = h("2b7e151628aed2a6abf7158809cf4f3c"), h("000102030405060708090a0b0c0d0e0f")
SM4 = h("0123456789abcdeffedcba9876543210")
CHICKEN = h("636869636b656e207465726979616b69")
SOUP = b"I would like the General Gau's Chicken, please, and wonton soup."

VECTORS = {
    # NIST SP 800-38A, F.1.1, F.2.1, F.5.1, F.2.5
    "sp800-38a ecb": (cryp.TEE_ALG_AES_ECB_NOPAD, AES128, b"", b"", PLAIN, "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf43b1cd7f598ece23881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4"),
    "sp800-38a cbc": (cryp.TEE_ALG_AES_CBC_NOPAD, AES128, b"", IV, PLAIN, "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b273bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7"),
    "sp800-38a ctr": (cryp.TEE_ALG_AES_CTR, AES128, b"", h("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"), PLAIN, "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee"),
    "sp800-38a cbc 256": (cryp.TEE_ALG_AES_CBC_NOPAD, h("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"), b"", IV, PLAIN[:16], "f58c4c04d6e5f1ba779eabfb5f7bfbd6"),
    # RFC 3962, appendix B: with 17, 31, 32, 47, 48 and 64 octets
    "rfc3962 17": (cryp.TEE_ALG_AES_CTS, CHICKEN, b"", bytes(16), SOUP[:17], "c6353568f2bf8cb4d8a580362da7ff7f97"),
    "rfc3962 31": (cryp.TEE_ALG_AES_CTS, CHICKEN, b"", bytes(16), SOUP[:31], "fc00783e0efdb2c1d445d4c8eff7ed2297687268d6ecccc0c07b25e25ecfe5"),
    "rfc3962 32": (cryp.TEE_ALG_AES_CTS, CHICKEN, b"", bytes(16), SOUP[:32], "39312523a78662d5be7fcbcc98ebf5a897687268d6ecccc0c07b25e25ecfe584"),
    "rfc3962 47": (cryp.TEE_ALG_AES_CTS, CHICKEN, b"", bytes(16), SOUP[:47], "97687268d6ecccc0c07b25e25ecfe584b3fffd940c16a18c1b5549d2f838029e39312523a78662d5be7fcbcc98ebf5"),
    "rfc3962 48": (cryp.TEE_ALG_AES_CTS, CHICKEN, b"", bytes(16), SOUP[:48], "97687268d6ecccc0c07b25e25ecfe5849dad8bbb96c4cdc03bc103e1a194bbd839312523a78662d5be7fcbcc98ebf5a8"),
    # IEEE 1619-2007, annex B: vectors 1 (equal keys), 2 and 15 (17 octets)
    "ieee1619 1": (cryp.TEE_ALG_AES_XTS, bytes(16), bytes(16), bytes(16), bytes(32), "917cf69ebd68b2ec9b9fe9a3eadda692cd43d2f59598ed858c02c2652fbf922e"),
    "ieee1619 2": (cryp.TEE_ALG_AES_XTS, b"\x11" * 16, b"\x22" * 16, h("33333333330000000000000000000000"), b"\x44" * 32, "c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0"),
    "ieee1619 15": (cryp.TEE_ALG_AES_XTS, h("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0"), h("bfbebdbcbbbab9b8b7b6b5b4b3b2b1b0"), h("9a785634120000000000000000000000"), bytes(range(17)), "6c1625db4671522d3d7599601de7ca09ed"),
    # GB/T 32907-2016, A.1
    "gbt32907": (cryp.TEE_ALG_SM4_ECB_NOPAD, SM4, b"", b"", SM4, "681edf34d206965e86b3e94f536e4246"),
    # FIPS 81's "Now is the time for all "
    "fips81 ecb": (cryp.TEE_ALG_DES_ECB_NOPAD, SM4[:8], b"", b"", b"Now is the time for all ", "3fa40e8a984d48156a271787ab8883f9893d51ec4b563b53"),
    "fips81 cbc": (cryp.TEE_ALG_DES_CBC_NOPAD, SM4[:8], b"", h("1234567890abcdef"), b"Now is the time for all ", "e5c7cdde872bf27c43e934008c389c0f683788499a7c05f6"),
    # NIST SP 800-67's example
    "sp800-67": (cryp.TEE_ALG_DES3_ECB_NOPAD, h("0123456789abcdef23456789abcdef01456789abcdef0123"), b"", b"", b"The qufck brown fox jump", "a826fd8ce53b855fcce21c8112256fe668d5c05dd9b6b900"),
}  # fmt: skip


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name):
    algo, key, key2, iv, plain, expected = VECTORS[name]
    assert shot(algo, ENC, plain, key, key2, iv).hex() == expected
    assert shot(algo, DEC, h(expected), key, key2, iv) == plain


def test_sm4_a_thousand_times():
    """Again and again, as GB/T 32907-2016 has it in A.2, is what CBC makes of zeros."""
    block = SM4
    for _ in range(1000):
        block = shot(cryp.TEE_ALG_SM4_ECB_NOPAD, ENC, block, SM4)
    assert block == shot(cryp.TEE_ALG_SM4_CBC_NOPAD, ENC, bytes(16000), SM4, b"", SM4)[-16:]


def sizes(algo):
    """Lengths of data that the algorithm takes as a whole."""
    step = 8 if "DES" in NAMES[algo] else 16
    if algo == cryp.TEE_ALG_AES_CTR:
        return st.integers(0, 200)
    if algo in XTS:
        return st.integers(16, 200)
    return st.integers(17, 200) if algo == cryp.TEE_ALG_AES_CTS else st.integers(0, 20).map(step.__mul__)


def tail(algo):
    """How much of the end has to stay together, and what the parts before are multiples of."""
    if algo == cryp.TEE_ALG_AES_CTR:
        return 0, 1
    return {cryp.TEE_ALG_AES_CTS: 32}.get(algo, 31 if algo in XTS else 0), 8 if "DES" in NAMES[algo] else 16


@st.composite
def split_cases(draw, algo):
    size = draw(sizes(algo))
    together, step = tail(algo)
    data = draw(st.binary(min_size=size, max_size=size))
    free = max(0, size - together) // step * step
    *parts, last = (data[part] for part in draw(cuts(free, step)))
    return [*parts, last, data[free:]] if together else [*parts, last], draw(st.integers(0, 6))


@algorithms_of_table
@pytest.mark.parametrize("mode", [ENC, DEC])
@given(data=st.data())
def test_parts_and_copies_give_what_one_shot_gives(algo, mode, data):
    parts, at = data.draw(split_cases(algo))
    whole = b"".join(parts)
    args = arguments(algo) if not data.draw(st.booleans()) or algo not in XTS else (KEY["AES"], KEY["AES"], bytes(16))
    ctx = new(algo, mode, *args)
    head = b"".join(ctx.update(part, False) for part in parts[:-1][:at])
    rest = parts[:-1][at:]
    expected = shot(algo, mode, whole, *args)
    for one, kind in ((ctx.copy(), memoryview), (ctx, bytes)):
        assert (
            head + b"".join(one.update(kind(part), False) for part in rest) + one.update(kind(parts[-1]), True)
            == expected
        )


@algorithms_of_table
@given(data=st.data())
def test_decryption_gives_back_what_was_encrypted(algo, data):
    size = data.draw(sizes(algo))
    plain = data.draw(st.binary(min_size=size, max_size=size))
    cipher = shot(algo, ENC, plain)
    assert len(cipher) == size
    assert shot(algo, DEC, cipher) == plain


@given(data=st.binary(max_size=100), key=st.sampled_from([16, 24, 32]), low=st.integers(0, 7))
def test_aes_ctr_is_another_implementations(data, key, low):
    """The counter wraps around over all of its bits."""
    iv = (1 << 128) - 1 - low
    other = OtherAES.new(bytes(key), OtherAES.MODE_CTR, counter=Counter.new(128, initial_value=iv))
    ctx = new(cryp.TEE_ALG_AES_CTR, ENC, bytes(key), b"", iv.to_bytes(16, "big"))
    got = ctx.update(data[:21], False)
    assert got + ctx.copy().update(data[21:], True) == other.encrypt(data)


@given(data=st.binary(max_size=10).map(lambda unit: unit * 8), key=st.binary(min_size=24, max_size=24))
def test_des_is_another_implementations(data, key):
    iv = key[4:12]
    assert shot(cryp.TEE_ALG_DES_CBC_NOPAD, ENC, data, key[:8], b"", iv) == OtherDES.new(
        key[:8], OtherDES.MODE_CBC, iv
    ).encrypt(data)
    for size in (16, 24):
        try:
            other = OtherDES3.new(key[:size], OtherDES3.MODE_CBC, iv)
        except ValueError:  # it takes no key that degenerates to DES
            continue
        assert shot(cryp.TEE_ALG_DES3_CBC_NOPAD, ENC, data, key[:size], b"", iv) == other.encrypt(data)


def xts_by_the_book(block, key, key2, iv, data):
    """IEEE 1619, 5.3, block by block."""
    ecb, ecb2 = (Cipher(block(k), modes.ECB()).encryptor() for k in (key, key2))
    tweak = int.from_bytes(ecb2.update(iv), "little")

    def one(piece):
        nonlocal tweak
        out = int.from_bytes(piece, "little") ^ tweak
        out = int.from_bytes(ecb.update(out.to_bytes(16, "little")), "little") ^ tweak
        tweak = (tweak << 1) ^ (tweak >> 127) * (1 << 128 | 0x87)
        return out.to_bytes(16, "little")

    full = len(data) // 16 * 16
    out = b"".join(one(data[at : at + 16]) for at in range(0, full, 16))
    if stump := data[full:]:
        stolen = out[-16:]
        return out[:-16] + one(stump + stolen[len(stump) :]) + stolen[: len(stump)]
    return out


@pytest.mark.parametrize("size", [16, 17, 31, 32, 47, 2048, 2071, 65536, 65537, 65552 + 9])
@pytest.mark.parametrize(
    ("algo", "block", "key", "key2"),
    [
        (cryp.TEE_ALG_AES_XTS, algorithms.AES, bytes(range(16)), bytes(range(1, 17))),
        (cryp.TEE_ALG_AES_XTS, algorithms.AES, bytes(range(24)), bytes(range(1, 25))),
        (cryp.TEE_ALG_AES_XTS, algorithms.AES, bytes(range(32)), bytes(range(1, 33))),
        (cryp.TEE_ALG_AES_XTS, algorithms.AES, bytes(range(32)), bytes(range(32))),
        (cryp.TEE_ALG_SM4_XTS, algorithms.SM4, bytes(range(16)), bytes(range(1, 17))),
    ],
    ids=["AES-128", "AES-192", "AES-256", "AES-256 equal", "SM4"],
)
def test_xts_is_the_standards(algo, block, key, key2, size):
    data = bytes(at * at % 251 for at in range(size))
    iv = bytes(range(200, 216))
    expected = xts_by_the_book(block, key, key2, iv, data)
    assert shot(algo, ENC, data, key, key2, iv) == expected
    assert shot(algo, DEC, expected, key, key2, iv) == data
    ctx = new(algo, ENC, key, key2, iv)
    half = max(0, size - 31) // 32 * 16
    assert ctx.update(data[:half], False) + ctx.update(data[half:], True) == expected


@algorithms_of_table
def test_short_blocks_in_between(algo):
    ctx = new(algo, ENC)
    assert ctx.update(b"", False) == b""
    if algo == cryp.TEE_ALG_AES_CTR:
        assert len(ctx.update(bytes(17), False)) == 17
        return
    with refused("BAD_PARAMETERS"):
        ctx.update(bytes(17), False)


@algorithms_of_table
def test_short_blocks_at_the_end(algo):
    if algo in (cryp.TEE_ALG_AES_CTR, cryp.TEE_ALG_AES_CTS, *XTS):
        assert len(new(algo, ENC).update(bytes(17), True)) == 17
        return
    with refused("NOT_SUPPORTED" if algo == cryp.TEE_ALG_SM4_CTR else "BAD_PARAMETERS"):
        new(algo, ENC).update(bytes(17), True)


@pytest.mark.parametrize("mode", [ENC, DEC])
@pytest.mark.parametrize(
    ("algo", "size"),
    [(cryp.TEE_ALG_AES_CTS, 1), (cryp.TEE_ALG_AES_CTS, 16), *((algo, size) for algo in XTS for size in (1, 15))],
)
def test_too_little_to_steal_from(algo, mode, size):
    with refused("BAD_STATE"):
        new(algo, mode).update(bytes(size), True)


@algorithms_of_table
def test_vectors_of_a_wrong_length(algo):
    size = len(arguments(algo)[2])
    if not size:
        assert shot(algo, ENC, bytes(16), None, None, bytes(5)) == shot(algo, ENC, bytes(16))
        return
    for wrong in (0, size - 1, size + 1):
        with refused("BAD_STATE" if algo == cryp.TEE_ALG_SM4_XTS else "BAD_PARAMETERS"):
            new(algo, ENC, iv=bytes(wrong))


@algorithms_of_table
def test_keys_of_a_wrong_length(algo):
    bad = "BAD_PARAMETERS" if algo in (cryp.TEE_ALG_SM4_CBC_NOPAD, cryp.TEE_ALG_SM4_CTR) else "BAD_STATE"
    for size in (0, 7, 17, 33):
        with refused(bad):
            new(algo, ENC, key=bytes(size), key2=bytes(size) if algo in XTS else b"")


def test_keys_of_two_lengths():
    with refused("BAD_PARAMETERS"):
        new(cryp.TEE_ALG_AES_XTS, ENC, key2=bytes(32))
    with refused("BAD_STATE"):
        new(cryp.TEE_ALG_SM4_XTS, ENC, key2=bytes(32))


@algorithms_of_table
def test_no_other_modes(algo):
    with refused("BAD_PARAMETERS"):
        new(algo, cryp.TEE_MODE_MAC)


def test_two_keys_of_des3_are_three():
    two = bytes(range(16))
    assert shot(cryp.TEE_ALG_DES3_ECB_NOPAD, ENC, bytes(8), two) == shot(
        cryp.TEE_ALG_DES3_ECB_NOPAD, ENC, bytes(8), two + two[:8]
    )
