"""MACs: published vectors, splits and copies, another implementation, what is refused."""

import pytest
from crypto_kit import cuts, refused
from Cryptodome.Cipher import AES, DES3
from Cryptodome.Hash import CMAC
from hypothesis import given
from hypothesis import strategies as st

from optemu.abi import cryp
from optemu.secure_world.crypto.cipher import CIPHERS
from optemu.secure_world.crypto.hash import digest as hash_digest
from optemu.secure_world.crypto.mac import MACS

h = bytes.fromhex
NAMES = {algo: cryp.names("TEE_ALG_")[algo].removeprefix("TEE_ALG_") for algo in MACS}
macs_of_table = pytest.mark.parametrize("algo", [pytest.param(algo, id=name) for algo, name in NAMES.items()])
HMACS = {algo: name.removeprefix("HMAC_").lower() for algo, name in NAMES.items() if name.startswith("HMAC")}
AES128 = h("2b7e151628aed2a6abf7158809cf4f3c")
JEFE = b"Jefe", b"what do ya want for nothing?"

VECTORS = {
    # RFC 2202, RFC 4231 and NIST's HMAC_SHA3 examples have this case in common
    "rfc2202 md5": (cryp.TEE_ALG_HMAC_MD5, *JEFE, "750c783e6ab0b503eaa86e310a5db738"),
    "rfc2202 sha1": (cryp.TEE_ALG_HMAC_SHA1, *JEFE, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
    "rfc4231 sha224": (cryp.TEE_ALG_HMAC_SHA224, *JEFE, "a30e01098bc6dbbf45690f3a7e9e6d0f8bbea2a39e6148008fd05e44"),
    "rfc4231 sha256": (cryp.TEE_ALG_HMAC_SHA256, *JEFE, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    # RFC 4493, section 4
    "rfc4493 0": (cryp.TEE_ALG_AES_CMAC, AES128, b"", "bb1d6929e95937287fa37d129b756746"),
    "rfc4493 16": (cryp.TEE_ALG_AES_CMAC, AES128, h("6bc1bee22e409f96e93d7e117393172a"), "070a16b46b4d4144f79bdd9dd04a287c"),
    "rfc4493 40": (cryp.TEE_ALG_AES_CMAC, AES128, h("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411"), "dfa66747de9ae63030ca32611497c827"),
    # FIPS 113's example: DES, the last block of CBC
    "fips113": (cryp.TEE_ALG_DES_CBC_MAC_NOPAD, h("0123456789abcdef"), b"7654321 Now is the time for " + bytes(4), "f1d30f6849312ca4"),
}  # fmt: skip


def key_of(algo):
    return bytes(range({"DES_": 8, "DES3": 24}.get(NAMES[algo][:4], 16)))


def shot(algo, data, key=None):
    ctx = MACS[algo](key_of(algo) if key is None else key)
    ctx.update(data)
    return ctx.final()


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name):
    algo, key, data, expected = VECTORS[name]
    assert shot(algo, data, key).hex() == expected


@macs_of_table
@given(
    data=st.binary(max_size=12).map(lambda unit: unit * 16),
    at=st.integers(0, 6),
    other=st.binary(max_size=20),
    plan=st.data(),
)
def test_parts_and_copies_give_what_one_shot_gives(algo, data, at, other, plan):
    data += bytes(16)
    parts = [data[part] for part in plan.draw(cuts(len(data)))]
    ctx = MACS[algo](key_of(algo))
    for part in parts[:at]:
        ctx.update(part)
    fork, twin = ctx.copy(), ctx.copy()
    fork.update(other)
    for part in parts[at:]:
        ctx.update(memoryview(part))
        twin.update(bytearray(part))
    expected = shot(algo, data)
    assert len(expected) == ctx.digest_size == twin.digest_size
    assert ctx.final() == twin.final() == ctx.final() == expected


@pytest.mark.parametrize("algo", HMACS)
@given(key=st.binary(min_size=1, max_size=200), data=st.binary(max_size=50))
def test_hmac_is_the_rfcs(algo, key, data):
    def digest(message):
        return hash_digest(getattr(cryp, f"TEE_ALG_{HMACS[algo].upper()}"), message)

    block = {"sha3_224": 144, "sha3_256": 136, "sha3_384": 104, "sha3_512": 72, "sha384": 128, "sha512": 128}.get(
        HMACS[algo], 64
    )
    padded = (digest(key) if len(key) > block else key).ljust(block, b"\0")
    inner = digest(bytes(octet ^ 0x36 for octet in padded) + data)
    assert shot(algo, data, key) == digest(bytes(octet ^ 0x5C for octet in padded) + inner)


@given(data=st.binary(max_size=50), size=st.sampled_from([16, 24, 32]))
def test_cmac_is_another_implementations(data, size):
    key = bytes(range(size))
    assert shot(cryp.TEE_ALG_AES_CMAC, data, key) == CMAC.new(key, data, AES).digest()
    key = key[:24]
    assert shot(cryp.TEE_ALG_DES3_CMAC, data, key) == CMAC.new(key, data, DES3).digest()


@pytest.mark.parametrize("cipher", ["AES", "DES", "DES3"])
@given(data=st.binary(max_size=50))
def test_cbc_mac_is_the_last_block_of_cbc(cipher, data):
    algo = getattr(cryp, f"TEE_ALG_{cipher}_CBC_MAC_PKCS5")
    size = MACS[algo](key_of(algo)).digest_size
    pad = size - len(data) % size
    padded = data + bytes([pad]) * pad
    cbc = CIPHERS[getattr(cryp, f"TEE_ALG_{cipher}_CBC_NOPAD")](cryp.TEE_MODE_ENCRYPT, key_of(algo), b"", bytes(size))
    expected = cbc.update(padded, True)[-size:]
    assert shot(algo, data) == expected
    assert shot(getattr(cryp, f"TEE_ALG_{cipher}_CBC_MAC_NOPAD"), padded) == expected


@pytest.mark.parametrize("algo", [algo for algo, name in NAMES.items() if name.endswith("NOPAD")])
@pytest.mark.parametrize("size", [0, 1, 17])
def test_cbc_mac_without_padding_wants_whole_blocks(algo, size):
    ctx = MACS[algo](key_of(algo))
    ctx.update(bytes(size))
    with refused("BAD_STATE"):
        ctx.final()
    with refused("BAD_STATE"):
        ctx.copy().final()


@macs_of_table
def test_keys(algo):
    if algo == cryp.TEE_ALG_HMAC_SM3:
        assert shot(algo, b"", b"") == shot(algo, b"", bytes(1))
        return
    for size in (0,) if algo in HMACS else (0, 7, 17, 33):
        with refused("BAD_STATE"):
            MACS[algo](bytes(size))
