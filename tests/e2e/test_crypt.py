"""Cryptography as a TA sees it: its library, the system calls and the core, AArch64 and Arm32."""

import hashlib
import hmac
import os
from collections.abc import Callable
from typing import Any

import pytest
from crypt_client import Attr, Panicked, Tee, TeeResult
from crypt_steps import derived, mac, object_of, operation, pair, pieces, secret, with_pair
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optemu.abi import cryp, gp, obj
from optemu.secure_world.crypto import algorithms as table

EXAMPLES = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ENCRYPT, DECRYPT = cryp.TEE_MODE_ENCRYPT, cryp.TEE_MODE_DECRYPT
KEY = bytes(range(32))
IV = bytes(range(100, 116))
CIPHERS = {  # key type, key, second key, initialization vector, whole blocks only: their size, else the least size
    cryp.TEE_ALG_AES_ECB_NOPAD: (cryp.TEE_TYPE_AES, KEY, b"", None, 16, 0),
    cryp.TEE_ALG_AES_CBC_NOPAD: (cryp.TEE_TYPE_AES, KEY, b"", IV, 16, 0),
    cryp.TEE_ALG_AES_CTR: (cryp.TEE_TYPE_AES, KEY, b"", IV, 1, 0),
    cryp.TEE_ALG_AES_CTS: (cryp.TEE_TYPE_AES, KEY, b"", IV, 1, 17),
    cryp.TEE_ALG_AES_XTS: (cryp.TEE_TYPE_AES, KEY, KEY[::-1], IV, 1, 16),
    cryp.TEE_ALG_DES_ECB_NOPAD: (cryp.TEE_TYPE_DES, KEY[:8], b"", None, 8, 0),
    cryp.TEE_ALG_DES_CBC_NOPAD: (cryp.TEE_TYPE_DES, KEY[:8], b"", IV[:8], 8, 0),
    cryp.TEE_ALG_DES3_ECB_NOPAD: (cryp.TEE_TYPE_DES3, KEY[:24], b"", None, 8, 0),
    cryp.TEE_ALG_DES3_CBC_NOPAD: (cryp.TEE_TYPE_DES3, KEY[:24], b"", IV[:8], 8, 0),
    cryp.TEE_ALG_SM4_ECB_NOPAD: (cryp.TEE_TYPE_SM4, KEY[:16], b"", None, 16, 0),
    cryp.TEE_ALG_SM4_CBC_NOPAD: (cryp.TEE_TYPE_SM4, KEY[:16], b"", IV, 16, 0),
    cryp.TEE_ALG_SM4_CTR: (cryp.TEE_TYPE_SM4, KEY[:16], b"", IV, 16, 0),
    cryp.TEE_ALG_SM4_XTS: (cryp.TEE_TYPE_SM4, KEY[:16], KEY[16:], IV, 1, 16),
}
NATIVE = {
    cryp.TEE_ALG_AES_ECB_NOPAD: (algorithms.AES, modes.ECB()),
    cryp.TEE_ALG_AES_CBC_NOPAD: (algorithms.AES, modes.CBC(IV)),
    cryp.TEE_ALG_AES_CTR: (algorithms.AES, modes.CTR(IV)),
    cryp.TEE_ALG_AES_XTS: (algorithms.AES, modes.XTS(IV)),
    cryp.TEE_ALG_DES_ECB_NOPAD: (TripleDES, modes.ECB()),
    cryp.TEE_ALG_DES_CBC_NOPAD: (TripleDES, modes.CBC(IV[:8])),
    cryp.TEE_ALG_DES3_ECB_NOPAD: (TripleDES, modes.ECB()),
    cryp.TEE_ALG_DES3_CBC_NOPAD: (TripleDES, modes.CBC(IV[:8])),
    cryp.TEE_ALG_SM4_ECB_NOPAD: (algorithms.SM4, modes.ECB()),
    cryp.TEE_ALG_SM4_CTR: (algorithms.SM4, modes.CTR(IV)),
    cryp.TEE_ALG_SM4_CBC_NOPAD: (algorithms.SM4, modes.CBC(IV)),
}


def cipher(tee: Tee, algo: int, mode: int) -> int:
    kind, key, key2, iv, _, _ = CIPHERS[algo]
    op = operation(tee, algo, mode, *(secret(tee, kind, k) for k in (key, key2) if k))
    tee.TEE_CipherInit(op, iv)
    return op


@st.composite
def messages(draw: st.DrawFn) -> tuple[int, bytes, list[int]]:
    algo = draw(st.sampled_from(list(CIPHERS)))
    *_, block, least = CIPHERS[algo]
    size = draw(st.integers(least, 100)) if block == 1 else block * draw(st.integers(0, 9))
    return algo, os.urandom(size), draw(st.lists(st.integers(0, 100), max_size=5))


@settings(EXAMPLES, max_examples=40)
@given(
    endless=st.sampled_from([(cryp.TEE_ALG_SHAKE128, hashlib.shake_128), (cryp.TEE_ALG_SHAKE256, hashlib.shake_256)]),
    data=st.binary(max_size=300),
    cuts=st.lists(st.integers(0, 300), max_size=3),
    taken=st.lists(st.integers(1, 400), min_size=1, max_size=5),
)
def test_endless_digests(
    tee: Tee, endless: tuple[int, Callable[[bytes], Any]], data: bytes, cuts: list[int], taken: list[int]
) -> None:
    """However it is fed, and taken."""
    op = tee.TEE_AllocateOperation(endless[0], cryp.TEE_MODE_DIGEST, 0)
    wanted = endless[1](data).digest(sum(taken) + 50)
    for piece in pieces(data, cuts):
        tee.TEE_DigestUpdate(op, piece)
    got = b"".join(tee.TEE_DigestExtract(op, size) for size in taken)
    assert got + tee.TEE_DigestDoFinal(op, room=50) == wanted
    assert tee.TEE_DigestDoFinal(op, data, room=77) == endless[1](data).digest(77), "the operation is as new"
    tee.TEE_FreeOperation(op)


# --- ciphers ---


@settings(EXAMPLES, max_examples=150)
@given(message=messages(), in_place=st.booleans())
def test_ciphers_in_pieces(tee: Tee, message: tuple[int, bytes, list[int]], in_place: bool) -> None:
    """However it is cut, in one buffer or in two: what one call gives; and back."""
    algo, data, cuts = message
    whole = cipher(tee, algo, ENCRYPT)
    wanted = tee.TEE_CipherDoFinal(whole, data)
    assert len(wanted) == len(data)
    if algo in NATIVE and data:
        name, mode = NATIVE[algo]
        encryptor = Cipher(name(b"".join(CIPHERS[algo][1:3])), mode).encryptor()
        assert wanted == encryptor.update(data) + encryptor.finalize()
    for direction, source, goal in ((ENCRYPT, data, wanted), (DECRYPT, wanted, data)):
        op = cipher(tee, algo, direction)
        *first, last = pieces(source, cuts)
        parts = [tee.in_place(op, p) if in_place else tee.TEE_CipherUpdate(op, p) for p in first]
        assert b"".join(parts) + tee.TEE_CipherDoFinal(op, last) == goal
        tee.TEE_FreeOperation(op)
    tee.TEE_FreeOperation(whole)


@pytest.mark.parametrize("algo", [cryp.TEE_ALG_AES_CBC_NOPAD, cryp.TEE_ALG_AES_XTS, cryp.TEE_ALG_AES_ECB_NOPAD])
@pytest.mark.parametrize("ahead", [1, 15, 16, 17, 31, 32, 33])
def test_one_buffer_for_input_and_output(tee: Tee, algo: int, ahead: int) -> None:
    """Output is behind input by what is buffered, and must not overwrite what has yet to be read."""
    data = os.urandom(160)
    plain, in_place = cipher(tee, algo, ENCRYPT), cipher(tee, algo, ENCRYPT)
    wanted = tee.TEE_CipherUpdate(plain, data)
    got = tee.TEE_CipherUpdate(in_place, data[:ahead])
    assert got + tee.in_place(in_place, data[ahead:]) == wanted


def test_room_is_asked_for_before_anything_happens(tee: Tee) -> None:
    for algo, ready in ((cryp.TEE_ALG_AES_CBC_NOPAD, 48), (cryp.TEE_ALG_AES_XTS, 32), (cryp.TEE_ALG_AES_CTR, 60)):
        op = cipher(tee, algo, ENCRYPT)
        data = bytes(60)
        with pytest.raises(TeeResult) as caught:
            tee.TEE_CipherUpdate(op, data, room=ready - 1)
        assert (caught.value.code, caught.value.sizes[0]) == (gp.TEE_ERROR_SHORT_BUFFER, ready)
        first = tee.TEE_CipherUpdate(op, data, room=ready)
        assert len(first) == ready
        rest = 64 - ready if algo != cryp.TEE_ALG_AES_CTR else 4
        with pytest.raises(TeeResult) as caught:
            tee.TEE_CipherDoFinal(op, bytes(4), room=rest - 1)
        assert (caught.value.code, caught.value.sizes[0]) == (gp.TEE_ERROR_SHORT_BUFFER, rest)
        assert first + tee.TEE_CipherDoFinal(op, bytes(4)) == tee.TEE_CipherDoFinal(
            cipher(tee, algo, ENCRYPT), bytes(64)
        )


# --- digests and MACs ---

DIGESTS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_224", "sha3_256", "sha3_384", "sha3_512", "sm3")


def native_digest(name: str, data: bytes) -> bytes:
    h = hashes.Hash(getattr(hashes, name.upper())())
    h.update(data)
    return h.finalize()


@settings(EXAMPLES, max_examples=60)
@given(
    name=st.sampled_from(DIGESTS),
    data=st.binary(max_size=300),
    cuts=st.lists(st.integers(0, 300), max_size=4),
    taken=st.lists(st.integers(0, 70), max_size=4),
)
def test_digests_in_pieces(tee: Tee, name: str, data: bytes, cuts: list[int], taken: list[int]) -> None:
    algo = getattr(cryp, f"TEE_ALG_{name.upper()}")
    wanted = native_digest(name, data)
    op = tee.TEE_AllocateOperation(algo, cryp.TEE_MODE_DIGEST, 0)
    for _ in range(2):
        *first, last = pieces(data, cuts)
        for piece in first:
            tee.TEE_DigestUpdate(op, piece)
        assert tee.TEE_DigestDoFinal(op, last) == wanted
    tee.TEE_DigestUpdate(op, data)
    extracted = b"".join(tee.TEE_DigestExtract(op, room) for room in taken)
    assert extracted == wanted[: sum(taken)]
    assert tee.TEE_GetOperationInfo(op).handle_state & obj.TEE_HANDLE_FLAG_EXTRACTING or not taken
    assert extracted + tee.TEE_DigestDoFinal(op) == wanted
    assert not tee.TEE_GetOperationInfo(op).handle_state & obj.TEE_HANDLE_FLAG_EXTRACTING
    tee.TEE_FreeOperation(op)


@settings(EXAMPLES, max_examples=20)
@given(data=st.binary(max_size=300), taken=st.lists(st.integers(1, 200), min_size=1, max_size=4))
def test_shake_is_as_long_as_wanted(tee: Tee, data: bytes, taken: list[int]) -> None:
    for algo, new in ((cryp.TEE_ALG_SHAKE128, hashlib.shake_128), (cryp.TEE_ALG_SHAKE256, hashlib.shake_256)):
        op = tee.TEE_AllocateOperation(algo, cryp.TEE_MODE_DIGEST, 0)
        tee.TEE_DigestUpdate(op, data)
        assert b"".join(tee.TEE_DigestExtract(op, n) for n in taken) == new(data).digest(sum(taken))
        tee.TEE_FreeOperation(op)


@settings(EXAMPLES, max_examples=40)
@given(
    name=st.sampled_from(["sha1", "sha256", "sha512", "sha3_256"]),
    data=st.binary(max_size=200),
    cut=st.integers(0, 200),
    bit=st.integers(0, 159),
)
def test_macs_are_computed_and_compared(tee: Tee, name: str, data: bytes, cut: int, bit: int) -> None:
    algo, kind = (getattr(cryp, f"TEE_{what}_HMAC_{name.upper()}") for what in ("ALG", "TYPE"))
    wanted = hmac.digest(KEY, data, name)
    op = mac(tee, algo, kind, KEY)
    tee.TEE_MACUpdate(op, data[:cut])
    assert tee.TEE_MACComputeFinal(op, data[cut:]) == wanted
    tee.TEE_MACInit(op)
    tee.TEE_MACCompareFinal(op, data, wanted)
    wrong = bytearray(wanted)
    wrong[bit // 8] ^= 1 << bit % 8
    for bad in (bytes(wrong), wanted[:-1], wanted + b"\0"):
        tee.TEE_MACInit(op)
        with pytest.raises(TeeResult) as caught:
            tee.TEE_MACCompareFinal(op, data, bad)
        assert caught.value.code == gp.TEE_ERROR_MAC_INVALID
    tee.TEE_FreeOperation(op)


CHAINED = {  # algorithm, padded: key type, cipher of one block, octets of a block
    (cryp.TEE_ALG_AES_CBC_MAC_NOPAD, False): (cryp.TEE_TYPE_AES, KEY[:16], algorithms.AES, 16),
    (cryp.TEE_ALG_AES_CBC_MAC_PKCS5, True): (cryp.TEE_TYPE_AES, KEY, algorithms.AES, 16),
    (cryp.TEE_ALG_DES_CBC_MAC_NOPAD, False): (cryp.TEE_TYPE_DES, KEY[:8], TripleDES, 8),
    (cryp.TEE_ALG_DES_CBC_MAC_PKCS5, True): (cryp.TEE_TYPE_DES, KEY[:8], TripleDES, 8),
    (cryp.TEE_ALG_DES3_CBC_MAC_NOPAD, False): (cryp.TEE_TYPE_DES3, KEY[:24], TripleDES, 8),
    (cryp.TEE_ALG_DES3_CBC_MAC_PKCS5, True): (cryp.TEE_TYPE_DES3, KEY[:24], TripleDES, 8),
}


def cipher_mac(tee: Tee, algo: int) -> int:
    kinds = {a: (kind, key) for (a, _), (kind, key, _, _) in CHAINED.items()}
    kinds[cryp.TEE_ALG_AES_CMAC] = cryp.TEE_TYPE_AES, KEY[:24]
    kinds[cryp.TEE_ALG_DES3_CMAC] = cryp.TEE_TYPE_DES3, KEY[:24]
    return mac(tee, algo, *kinds[algo])


@settings(EXAMPLES, max_examples=60)
@given(which=st.sampled_from(list(CHAINED)), size=st.integers(0, 70), cuts=st.lists(st.integers(0, 70), max_size=4))
def test_macs_by_chaining(tee: Tee, which: tuple[int, bool], size: int, cuts: list[int]) -> None:
    """The last block of CBC; without padding whole blocks only, and at least one."""
    (algo, padded), (_, key, block_cipher, block) = which, CHAINED[which]
    data = os.urandom(size if padded else max(size // block, 1) * block)
    pad = block - len(data) % block
    whole = data + bytes([pad]) * pad if padded else data
    encryptor = Cipher(block_cipher(key), modes.CBC(bytes(block))).encryptor()
    wanted = (encryptor.update(whole) + encryptor.finalize())[-block:]
    op = cipher_mac(tee, algo)
    *first, last = pieces(data, cuts)
    for piece in first:
        tee.TEE_MACUpdate(op, piece)
    assert tee.TEE_MACComputeFinal(op, last) == wanted
    tee.TEE_FreeOperation(op)


@settings(EXAMPLES, max_examples=40)
@given(triple=st.booleans(), data=st.binary(max_size=70), cuts=st.lists(st.integers(0, 70), max_size=4))
def test_cmac(tee: Tee, triple: bool, data: bytes, cuts: list[int]) -> None:
    native = CMAC(TripleDES(KEY[:24]) if triple else algorithms.AES(KEY[:24]))
    native.update(data)
    op = cipher_mac(tee, cryp.TEE_ALG_DES3_CMAC if triple else cryp.TEE_ALG_AES_CMAC)
    *first, last = pieces(data, cuts)
    for piece in first:
        tee.TEE_MACUpdate(op, piece)
    assert tee.TEE_MACComputeFinal(op, last) == native.finalize()
    tee.TEE_FreeOperation(op)


def test_a_mac_that_does_not_fit(tee: Tee) -> None:
    op = mac(tee, cryp.TEE_ALG_HMAC_SHA256, cryp.TEE_TYPE_HMAC_SHA256, KEY)
    with pytest.raises(TeeResult) as caught:
        tee.TEE_MACComputeFinal(op, b"abc", room=31)
    assert (caught.value.code, caught.value.sizes[0]) == (gp.TEE_ERROR_SHORT_BUFFER, 32)
    assert tee.TEE_MACComputeFinal(op, b"abc", room=32) == hmac.digest(KEY, b"abc", "sha256")


# --- authenticated encryption ---


def native_ae(algo: int, data: bytes, aad: bytes) -> bytes:
    ae: AESGCM | AESCCM = AESGCM(KEY) if algo == cryp.TEE_ALG_AES_GCM else AESCCM(KEY, 16)
    return ae.encrypt(IV[:12], data, aad)


@settings(EXAMPLES, max_examples=60)
@given(
    algo=st.sampled_from([cryp.TEE_ALG_AES_GCM, cryp.TEE_ALG_AES_CCM]),
    data=st.binary(max_size=100),
    aad=st.binary(max_size=40),
    cuts=st.lists(st.integers(0, 100), max_size=4),
    bit=st.integers(0, 127),
)
def test_authenticated_encryption(tee: Tee, algo: int, data: bytes, aad: bytes, cuts: list[int], bit: int) -> None:
    def begun(mode: int) -> int:
        op = operation(tee, algo, mode, secret(tee, cryp.TEE_TYPE_AES, KEY))
        tee.TEE_AEInit(op, IV[:12], 128, len(aad), len(data))
        tee.TEE_AEUpdateAAD(op, aad[:7])
        tee.TEE_AEUpdateAAD(op, aad[7:])
        return op

    wanted = native_ae(algo, data, aad)
    op = begun(ENCRYPT)
    *first, last = pieces(data, cuts)
    sent = b"".join(tee.TEE_AEUpdate(op, p) for p in first)
    rest, tag = tee.TEE_AEEncryptFinal(op, last)
    assert sent + rest + tag == wanted
    tee.TEE_FreeOperation(op)
    op = begun(DECRYPT)
    *first, last = pieces(wanted[:-16], cuts)
    got = b"".join(tee.TEE_AEUpdate(op, p) for p in first)
    assert got + tee.TEE_AEDecryptFinal(op, last, tag) == data
    tee.TEE_FreeOperation(op)
    wrong = bytearray(tag)
    wrong[bit // 8] ^= 1 << bit % 8
    op = begun(DECRYPT)
    with pytest.raises(TeeResult) as caught:
        tee.TEE_AEDecryptFinal(op, wanted[:-16], bytes(wrong))
    assert caught.value.code == gp.TEE_ERROR_MAC_INVALID
    tee.TEE_FreeOperation(op)


def test_tags_of_gcm_and_their_room(tee: Tee) -> None:
    op = operation(tee, cryp.TEE_ALG_AES_GCM, ENCRYPT, secret(tee, cryp.TEE_TYPE_AES, KEY))
    for bits in (0, 88, 100, 136):
        with pytest.raises(TeeResult) as caught:
            tee.TEE_AEInit(op, IV[:12], bits)
        assert caught.value.code == gp.TEE_ERROR_NOT_SUPPORTED
    tee.TEE_AEInit(op, IV[:12], 96)
    assert tee.TEE_GetOperationInfo(op).digest_length == 12
    with pytest.raises(TeeResult) as caught:
        tee.TEE_AEEncryptFinal(op, b"abc", room=2, tag_room=11)
    assert (caught.value.code, caught.value.sizes) == (gp.TEE_ERROR_SHORT_BUFFER, (3, 12))
    assert (
        tee.TEE_AEEncryptFinal(op, b"abc", room=3, tag_room=12)[1] == native_ae(cryp.TEE_ALG_AES_GCM, b"abc", b"")[3:15]
    )


# --- copies in mid-stream ---


@pytest.mark.parametrize("algo", CIPHERS)
def test_ciphers_are_copied(tee: Tee, algo: int) -> None:
    data = os.urandom(96)
    source, copy = cipher(tee, algo, ENCRYPT), cipher(tee, algo, ENCRYPT)
    wanted = tee.TEE_CipherDoFinal(cipher(tee, algo, ENCRYPT), data)
    begun = tee.TEE_CipherUpdate(source, data[:39])
    tee.TEE_CipherUpdate(copy, data[:20])
    tee.TEE_CopyOperation(copy, source)
    for op in (copy, source):
        assert begun + tee.TEE_CipherDoFinal(op, data[39:]) == wanted


@pytest.mark.parametrize("algo", [a for a, _ in CHAINED] + [cryp.TEE_ALG_AES_CMAC, cryp.TEE_ALG_DES3_CMAC])
def test_macs_of_ciphers_are_copied(tee: Tee, algo: int) -> None:
    data = os.urandom(48)
    whole, source, copy = (cipher_mac(tee, algo) for _ in range(3))
    tee.TEE_MACUpdate(source, data[:21])
    tee.TEE_MACUpdate(copy, data[:5])
    tee.TEE_CopyOperation(copy, source)
    wanted = tee.TEE_MACComputeFinal(whole, data)
    assert [tee.TEE_MACComputeFinal(op, data[21:]) for op in (source, copy)] == [wanted, wanted]


def test_endless_digests_are_copied(tee: Tee) -> None:
    source, copy = (tee.TEE_AllocateOperation(cryp.TEE_ALG_SHAKE128, cryp.TEE_MODE_DIGEST, 0) for _ in range(2))
    tee.TEE_DigestUpdate(source, b"abc")
    first = tee.TEE_DigestExtract(source, 5)
    tee.TEE_CopyOperation(copy, source)
    wanted = hashlib.shake_128(b"abc").digest(300)
    for op in (source, copy):
        assert first + tee.TEE_DigestExtract(op, 295) == wanted


def test_digests_and_macs_are_copied(tee: Tee) -> None:
    source, copy = (tee.TEE_AllocateOperation(cryp.TEE_ALG_SHA256, cryp.TEE_MODE_DIGEST, 0) for _ in range(2))
    tee.TEE_DigestUpdate(source, b"abc")
    tee.TEE_DigestUpdate(copy, b"other")
    tee.TEE_CopyOperation(copy, source)
    assert tee.TEE_DigestDoFinal(copy, b"d") == hashlib.sha256(b"abcd").digest()
    half = tee.TEE_DigestExtract(source, 10)
    tee.TEE_CopyOperation(copy, source)
    assert half + tee.TEE_DigestDoFinal(copy) == hashlib.sha256(b"abc").digest()
    one, two = (mac(tee, cryp.TEE_ALG_HMAC_SHA1, cryp.TEE_TYPE_HMAC_SHA1, k) for k in (KEY, KEY[::-1]))
    tee.TEE_MACUpdate(one, b"abc")
    tee.TEE_CopyOperation(two, one)
    assert tee.TEE_MACComputeFinal(two, b"d") == hmac.digest(KEY, b"abcd", "sha1")


@pytest.mark.parametrize("algo", [cryp.TEE_ALG_AES_GCM, cryp.TEE_ALG_AES_CCM])
def test_authenticated_encryption_is_copied(tee: Tee, algo: int) -> None:
    source, copy = (operation(tee, algo, ENCRYPT, secret(tee, cryp.TEE_TYPE_AES, KEY)) for _ in range(2))
    tee.TEE_AEInit(source, IV[:12], 128, 1, 40)
    tee.TEE_AEUpdateAAD(source, b"a")
    begun = tee.TEE_AEUpdate(source, bytes(21))
    tee.TEE_CopyOperation(copy, source)
    for op in (source, copy):
        assert begun + b"".join(tee.TEE_AEEncryptFinal(op, bytes(19))) == native_ae(algo, bytes(40), b"a")


# --- asymmetric ---


SIGNATURES = [
    (cryp.TEE_ALG_RSASSA_PKCS1_V1_5_SHA256, cryp.TEE_TYPE_RSA_KEYPAIR, 1024, (), 32),
    (cryp.TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA1, cryp.TEE_TYPE_RSA_KEYPAIR, 1024, (), 20),
    (
        cryp.TEE_ALG_ECDSA_SHA256,
        cryp.TEE_TYPE_ECDSA_KEYPAIR,
        256,
        ((cryp.TEE_ATTR_ECC_CURVE, cryp.TEE_ECC_CURVE_NIST_P256),),
        32,
    ),
    (
        cryp.TEE_ALG_ECDSA_SHA512,
        cryp.TEE_TYPE_ECDSA_KEYPAIR,
        521,
        ((cryp.TEE_ATTR_ECC_CURVE, cryp.TEE_ECC_CURVE_NIST_P521),),
        64,
    ),
    (cryp.TEE_ALG_ED25519, cryp.TEE_TYPE_ED25519_KEYPAIR, 256, (), 45),
    (cryp.TEE_ALG_SM2_DSA_SM3, cryp.TEE_TYPE_SM2_DSA_KEYPAIR, 256, (), 32),
]


@pytest.mark.parametrize(("algo", "kind", "size", "attrs", "length"), SIGNATURES)
def test_signatures(tee: Tee, algo: int, kind: int, size: int, attrs: tuple[Attr, ...], length: int) -> None:
    key, digest = pair(tee, kind, size, *attrs), os.urandom(length)
    signer, verifier = (with_pair(tee, algo, m, key, size) for m in (cryp.TEE_MODE_SIGN, cryp.TEE_MODE_VERIFY))
    with pytest.raises(TeeResult) as caught:
        tee.TEE_AsymmetricSignDigest(signer, digest, room=5)
    assert caught.value.code == gp.TEE_ERROR_SHORT_BUFFER
    signature = tee.TEE_AsymmetricSignDigest(signer, digest, room=caught.value.sizes[0])
    tee.TEE_AsymmetricVerifyDigest(verifier, digest, signature)
    for bad in (digest[:-1] + bytes([digest[-1] ^ 1]), digest[:-1] + bytes([digest[-1] ^ 0x80])):
        with pytest.raises(TeeResult) as caught:
            tee.TEE_AsymmetricVerifyDigest(verifier, bad, signature)
        assert caught.value.code == gp.TEE_ERROR_SIGNATURE_INVALID


@pytest.mark.parametrize(
    ("algo", "kind", "size"),
    [
        (cryp.TEE_ALG_RSAES_PKCS1_V1_5, cryp.TEE_TYPE_RSA_KEYPAIR, 1024),
        (cryp.TEE_ALG_RSAES_PKCS1_OAEP_MGF1_SHA1, cryp.TEE_TYPE_RSA_KEYPAIR, 1024),
        (cryp.TEE_ALG_RSAES_PKCS1_OAEP_MGF1_SHA256, cryp.TEE_TYPE_RSA_KEYPAIR, 1024),
        (cryp.TEE_ALG_SM2_PKE, cryp.TEE_TYPE_SM2_PKE_KEYPAIR, 256),
    ],
)
def test_asymmetric_ciphers(tee: Tee, algo: int, kind: int, size: int) -> None:
    key = pair(tee, kind, size)
    there, back = (with_pair(tee, algo, m, key, size) for m in (ENCRYPT, DECRYPT))
    assert tee.TEE_AsymmetricDecrypt(back, tee.TEE_AsymmetricEncrypt(there, b"a message")) == b"a message"


def test_an_oaep_label_is_part_of_the_message(tee: Tee) -> None:
    key = pair(tee, cryp.TEE_TYPE_RSA_KEYPAIR, 1024)
    there, back = (with_pair(tee, cryp.TEE_ALG_RSAES_PKCS1_OAEP_MGF1_SHA1, m, key, 1024) for m in (ENCRYPT, DECRYPT))
    label: list[Attr] = [(cryp.TEE_ATTR_RSA_OAEP_LABEL, b"label")]
    sealed = tee.TEE_AsymmetricEncrypt(there, b"a message", label)
    assert tee.TEE_AsymmetricDecrypt(back, sealed, label) == b"a message"
    with pytest.raises(TeeResult):
        tee.TEE_AsymmetricDecrypt(back, sealed)


def test_both_sides_derive_the_same_secret(tee: Tee) -> None:
    curve: Attr = (cryp.TEE_ATTR_ECC_CURVE, cryp.TEE_ECC_CURVE_NIST_P256)
    for algo, kind, public, attrs in (
        (cryp.TEE_ALG_X25519, cryp.TEE_TYPE_X25519_KEYPAIR, (cryp.TEE_ATTR_X25519_PUBLIC_VALUE,), ()),
        (
            cryp.TEE_ALG_ECDH_DERIVE_SHARED_SECRET,
            cryp.TEE_TYPE_ECDH_KEYPAIR,
            (cryp.TEE_ATTR_ECC_PUBLIC_VALUE_X, cryp.TEE_ATTR_ECC_PUBLIC_VALUE_Y),
            (curve,),
        ),
    ):
        ours, theirs = (pair(tee, kind, 256, *attrs) for _ in range(2))

        def shown(key: int, public: tuple[int, ...] = public) -> list[Attr]:
            return [(a, tee.TEE_GetObjectBufferAttribute(key, a)) for a in public]

        one, two = (derived(tee, algo, a, 256, shown(b), 256) for a, b in ((ours, theirs), (theirs, ours)))
        assert one == two
        assert len(one) == 32


def test_pbkdf2(tee: Tee) -> None:
    password = object_of(tee, cryp.TEE_TYPE_PBKDF2_PASSWORD, 64, (cryp.TEE_ATTR_PBKDF2_PASSWORD, b"password"))
    params: list[Attr] = [
        (cryp.TEE_ATTR_PBKDF2_SALT, b"salt"),
        (cryp.TEE_ATTR_PBKDF2_ITERATION_COUNT, 3),
        (cryp.TEE_ATTR_PBKDF2_DKM_LENGTH, 40),
    ]
    key = derived(tee, cryp.TEE_ALG_PBKDF2_HMAC_SHA256_DERIVE_KEY, password, 64, params, 320)
    assert key == hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 3, 40)


# --- information ---


def test_what_is_known_of_an_operation(tee: Tee) -> None:
    op = tee.TEE_AllocateOperation(cryp.TEE_ALG_AES_CBC_NOPAD, ENCRYPT, 256)
    info = tee.TEE_GetOperationInfo(op)
    assert info == (
        cryp.TEE_ALG_AES_CBC_NOPAD,
        cryp.TEE_OPERATION_CIPHER,
        ENCRYPT,
        0,
        256,
        0,
        cryp.TEE_USAGE_ENCRYPT,
        0,
    )
    tee.TEE_SetOperationKey(op, secret(tee, cryp.TEE_TYPE_AES, KEY[:16]))
    info = tee.TEE_GetOperationInfo(op)
    assert (info.key_size, info.handle_state) == (128, obj.TEE_HANDLE_FLAG_KEY_SET)
    tee.TEE_CipherInit(op, IV)
    both = obj.TEE_HANDLE_FLAG_KEY_SET | obj.TEE_HANDLE_FLAG_INITIALIZED
    assert tee.TEE_GetOperationInfo(op).handle_state == both
    assert tee.TEE_GetOperationInfoMultiple(op)[5:] == (both, 1, 1, 128, cryp.TEE_USAGE_ENCRYPT)
    tee.TEE_ResetOperation(op)
    assert tee.TEE_GetOperationInfo(op).handle_state == obj.TEE_HANDLE_FLAG_KEY_SET
    tee.TEE_SetOperationKey(op, 0)
    assert tee.TEE_GetOperationInfo(op)[5:] == (0, cryp.TEE_USAGE_ENCRYPT, 0)


def test_what_is_known_of_two_keys(tee: Tee) -> None:
    op = cipher(tee, cryp.TEE_ALG_AES_XTS, ENCRYPT)
    info = tee.TEE_GetOperationInfo(op)
    assert (info.max_key_size, info.key_size, info.required_key_usage) == (512, 0, 0)
    assert info.handle_state & obj.TEE_HANDLE_FLAG_EXPECT_TWO_KEYS
    assert tee.TEE_GetOperationInfoMultiple(op)[7:] == (2, *(256, cryp.TEE_USAGE_ENCRYPT) * 2)
    with pytest.raises(TeeResult) as caught:
        tee.TEE_GetOperationInfoMultiple(op, room=32 + 8)
    assert caught.value.code == gp.TEE_ERROR_SHORT_BUFFER


def test_two_keys_must_differ(tee: Tee) -> None:
    op = tee.TEE_AllocateOperation(cryp.TEE_ALG_AES_XTS, ENCRYPT, 256)
    key = secret(tee, cryp.TEE_TYPE_AES, IV)
    with pytest.raises(TeeResult) as caught:
        tee.TEE_SetOperationKey2(op, key, key)
    assert caught.value.code == gp.TEE_ERROR_SECURITY


def test_the_library_and_the_core_know_the_same_algorithms(tee: Tee) -> None:
    """Each row of the core's table, in each mode: an operation, or TEE_ERROR_NOT_SUPPORTED."""
    sizes = (0, 56, 112, 128, 168, 192, 224, 256, 384, 448, 512, 521, 1024, 2048)
    refused = []
    for row in table.ALGORITHMS.values():
        for mode in table.MODE_NAMES:
            done = any(allocates(tee, row.number, mode, size) for size in sizes)
            if done != (mode in row.modes and row.support == table.FULL):
                refused.append((row.name, table.MODE_NAMES[mode], done))
    assert not refused, refused


def allocates(tee: Tee, algo: int, mode: int, size: int) -> bool:
    try:
        tee.TEE_FreeOperation(tee.TEE_AllocateOperation(algo, mode, size))
    except TeeResult as e:
        assert e.code == gp.TEE_ERROR_NOT_SUPPORTED
        return False
    return True


@pytest.mark.parametrize(
    ("algo", "element", "supported"),
    [
        (cryp.TEE_ALG_AES_GCM, 0, True),
        (cryp.TEE_ALG_AES_GCM, cryp.TEE_ECC_CURVE_NIST_P256, False),
        (cryp.TEE_ALG_ECDSA_SHA256, cryp.TEE_ECC_CURVE_NIST_P256, True),
        (cryp.TEE_ALG_ECDSA_SHA256, cryp.TEE_ECC_CURVE_NIST_P384, False),
        (cryp.TEE_ALG_ECDH_DERIVE_SHARED_SECRET, cryp.TEE_ECC_CURVE_NIST_P521, True),
        (cryp.TEE_ALG_ECDH_DERIVE_SHARED_SECRET, 0, False),
        (cryp.TEE_ALG_ED25519, cryp.TEE_ECC_CURVE_25519, True),
        (cryp.TEE_ALG_MD5SHA1, 0, True),
        (0x12345678, 0, False),
    ],
)
def test_supported_algorithms(tee: Tee, algo: int, element: int, supported: bool) -> None:
    try:
        tee.TEE_IsAlgorithmSupported(algo, element)
    except TeeResult as e:
        assert e.code == gp.TEE_ERROR_NOT_SUPPORTED
        assert not supported
    else:
        assert supported


# --- misuse ---


def digest(tee: Tee) -> int:
    return tee.TEE_AllocateOperation(cryp.TEE_ALG_SHA256, cryp.TEE_MODE_DIGEST, 0)


def aes(tee: Tee) -> int:
    return secret(tee, cryp.TEE_TYPE_AES, KEY)


def cbc(tee: Tee, mode: int = ENCRYPT) -> int:
    return tee.TEE_AllocateOperation(cryp.TEE_ALG_AES_CBC_NOPAD, mode, 256)


def gcm(tee: Tee) -> int:
    return operation(tee, cryp.TEE_ALG_AES_GCM, ENCRYPT, aes(tee))


def restricted(tee: Tee) -> int:
    key = aes(tee)
    tee.TEE_RestrictObjectUsage1(key, cryp.TEE_USAGE_DECRYPT)
    return key


def started(tee: Tee) -> int:
    op = gcm(tee)
    tee.TEE_AEInit(op, IV[:12], 128)
    return op


def extracting(tee: Tee) -> int:
    op = digest(tee)
    tee.TEE_DigestExtract(op, 1)
    return op


MISUSE: dict[str, tuple[int, Callable[[Tee], object]]] = {  # as upstream's lib/libutee panics
    "no operation": (0, lambda t: t.TEE_CipherInit(0, IV)),
    "another class": (0, lambda t: t.TEE_MACInit(digest(t))),
    "another mode": (0, lambda t: t.TEE_AsymmetricEncrypt(cbc(t), b"abc")),
    "update without init": (
        gp.TEE_ERROR_BAD_PARAMETERS,
        lambda t: t.TEE_CipherUpdate(operation(t, cryp.TEE_ALG_AES_CTR, ENCRYPT, aes(t)), b"abc"),
    ),
    "init without key": (0, lambda t: t.TEE_CipherInit(cbc(t), IV)),
    "iv for ecb": (0, lambda t: t.TEE_CipherInit(operation(t, cryp.TEE_ALG_AES_ECB_NOPAD, ENCRYPT, aes(t)), IV)),
    "iv of no block": (
        gp.TEE_ERROR_BAD_PARAMETERS,
        lambda t: t.TEE_CipherInit(operation(t, cryp.TEE_ALG_AES_CBC_NOPAD, ENCRYPT, aes(t)), IV[:15]),
    ),
    "half a block at the end": (
        gp.TEE_ERROR_BAD_PARAMETERS,
        lambda t: t.TEE_CipherDoFinal(cipher(t, cryp.TEE_ALG_AES_CBC_NOPAD, ENCRYPT), b"abc"),
    ),
    "half a block of SM4-CTR": (
        gp.TEE_ERROR_NOT_SUPPORTED,
        lambda t: t.TEE_CipherDoFinal(cipher(t, cryp.TEE_ALG_SM4_CTR, ENCRYPT), b"abc"),
    ),
    "usage not allowed": (gp.TEE_ERROR_BAD_PARAMETERS, lambda t: t.TEE_SetOperationKey(cbc(t), restricted(t))),
    "key too large": (
        gp.TEE_ERROR_BAD_PARAMETERS,
        lambda t: t.TEE_SetOperationKey(t.TEE_AllocateOperation(cryp.TEE_ALG_AES_CTR, ENCRYPT, 128), aes(t)),
    ),
    "key of another type": (
        gp.TEE_ERROR_BAD_PARAMETERS,
        lambda t: t.TEE_SetOperationKey(cbc(t), secret(t, cryp.TEE_TYPE_HMAC_SHA256, KEY)),
    ),
    "key without value": (
        0,
        lambda t: t.TEE_SetOperationKey(cbc(t), t.TEE_AllocateTransientObject(cryp.TEE_TYPE_AES, 256)),
    ),
    "key for a digest": (0, lambda t: t.TEE_SetOperationKey(digest(t), aes(t))),
    "key in mid-stream": (0, lambda t: t.TEE_SetOperationKey(cipher(t, cryp.TEE_ALG_AES_CTR, ENCRYPT), aes(t))),
    "one key of two": (
        gp.TEE_ERROR_BAD_PARAMETERS,
        lambda t: t.TEE_SetOperationKey(t.TEE_AllocateOperation(cryp.TEE_ALG_AES_XTS, ENCRYPT, 512), aes(t)),
    ),
    "two keys for one": (gp.TEE_ERROR_BAD_PARAMETERS, lambda t: t.TEE_SetOperationKey2(cbc(t), aes(t), aes(t))),
    "two keys, one of them none": (
        gp.TEE_ERROR_BAD_PARAMETERS,
        lambda t: t.TEE_SetOperationKey2(t.TEE_AllocateOperation(cryp.TEE_ALG_AES_XTS, ENCRYPT, 512), aes(t), 0),
    ),
    "reset without key": (0, lambda t: t.TEE_ResetOperation(cbc(t))),
    "copy of another mode": (0, lambda t: t.TEE_CopyOperation(cbc(t), cbc(t, DECRYPT))),
    "copy of another algorithm": (0, lambda t: t.TEE_CopyOperation(cbc(t), gcm(t))),
    "info without room": (gp.TEE_ERROR_BAD_PARAMETERS, lambda t: t.TEE_GetOperationInfoMultiple(cbc(t), room=31)),
    "aad after payload": (0, lambda t: (op := started(t), t.TEE_AEUpdate(op, b"abc"), t.TEE_AEUpdateAAD(op, b"a"))),
    "init after payload": (
        gp.TEE_ERROR_BAD_PARAMETERS,
        lambda t: (op := started(t), t.TEE_AEUpdate(op, b"abc"), t.TEE_AEInit(op, IV[:12], 128)),
    ),
    "no nonce": (gp.TEE_ERROR_BAD_PARAMETERS, lambda t: t.TEE_AEInit(gcm(t), None, 128)),
    "data after extraction": (gp.TEE_ERROR_BAD_PARAMETERS, lambda t: t.TEE_DigestDoFinal(extracting(t), b"abc")),
    "update after extraction": (0, lambda t: t.TEE_DigestUpdate(extracting(t), b"abc")),
    "mac with the wrong class": (
        gp.TEE_ERROR_BAD_PARAMETERS,
        lambda t: t.TEE_MACCompareFinal(digest(t), b"abc", bytes(32)),
    ),
    "closed twice": (gp.TEE_ERROR_BAD_STATE, lambda t: (key := aes(t), t.TEE_CloseObject(key), t.TEE_CloseObject(key))),
    "filled twice": (0, lambda t: t.TEE_PopulateTransientObject(aes(t), [(cryp.TEE_ATTR_SECRET_VALUE, KEY)])),
    "filled with nothing": (gp.TEE_ERROR_ITEM_NOT_FOUND, lambda t: object_of(t, cryp.TEE_TYPE_AES, 256)),
    "filled with what it has not": (
        gp.TEE_ERROR_ITEM_NOT_FOUND,
        lambda t: object_of(t, cryp.TEE_TYPE_AES, 256, (cryp.TEE_ATTR_RSA_MODULUS, KEY)),
    ),
    "copied over": (0, lambda t: t.TEE_CopyObjectAttributes1(aes(t), aes(t))),
    "value asked as octets": (
        gp.TEE_ERROR_BAD_PARAMETERS,
        lambda t: t.TEE_GetObjectBufferAttribute(aes(t), cryp.TEE_ATTR_ECC_CURVE),
    ),
    "octets asked as value": (
        gp.TEE_ERROR_BAD_PARAMETERS,
        lambda t: t.TEE_GetObjectValueAttribute(aes(t), cryp.TEE_ATTR_SECRET_VALUE),
    ),
    "derived into a key": (
        0,
        lambda t: t.TEE_DeriveKey(
            with_pair(t, cryp.TEE_ALG_X25519, cryp.TEE_MODE_DERIVE, pair(t, cryp.TEE_TYPE_X25519_KEYPAIR, 256), 256),
            [(cryp.TEE_ATTR_X25519_PUBLIC_VALUE, KEY)],
            t.TEE_AllocateTransientObject(cryp.TEE_TYPE_AES, 256),
        ),
    ),
}


@pytest.mark.parametrize("misuse", MISUSE)
def test_misuse_is_a_panic(tee: Tee, misuse: str, caplog: pytest.LogCaptureFixture) -> None:
    code, wrong = MISUSE[misuse]
    with pytest.raises(Panicked):
        wrong(tee)
    assert f"TA panicked with code 0x{code:x}" in caplog.messages


def test_null_closes_nothing(tee: Tee) -> None:
    tee.TEE_CloseObject(0)
    tee.TEE_FreeTransientObject(0)
    tee.TEE_FreeOperation(0)
    tee.TEE_CloseAndDeletePersistentObject1(0)


def test_attributes_that_are_refused(tee: Tee) -> None:
    key = tee.TEE_AllocateTransientObject(cryp.TEE_TYPE_AES, 256)
    with pytest.raises(TeeResult) as caught:
        tee.TEE_PopulateTransientObject(key, [(cryp.TEE_ATTR_SECRET_VALUE, KEY[:5])])
    assert caught.value.code == gp.TEE_ERROR_BAD_PARAMETERS


def test_data_objects_are_not_allocated(tee: Tee) -> None:
    with pytest.raises(TeeResult) as caught:
        tee.TEE_AllocateTransientObject(cryp.TEE_TYPE_DATA, 0)
    assert caught.value.code == gp.TEE_ERROR_NOT_SUPPORTED
