"""Of every algorithm of the core's table, in a TA: data in pieces is data at once, and a bit flipped is refused."""

import os

import pytest
from crypt_client import Tee, TeeResult
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_crypt import CIPHERS, EXAMPLES, KEY, SIGNATURES, Attr, operation, pair, pieces, secret, with_pair

from optemu.abi import cryp, gp
from optemu.secure_world.crypto.algorithms import ALGORITHMS, FULL

ENCRYPT, DECRYPT = cryp.TEE_MODE_ENCRYPT, cryp.TEE_MODE_DECRYPT
NONCE = bytes(range(12))
REFUSALS = (gp.TEE_ERROR_CIPHERTEXT_INVALID, gp.TEE_ERROR_BAD_PARAMETERS, gp.TEE_ERROR_NOT_SUPPORTED)
"""The last one: a point of SM2 in another form than uncompressed."""
BLOCK_KEYS = {"AES": KEY[:16], "DES3": KEY[:24], "DES": KEY[:8]}


def of_class(op_class: int) -> list[int]:
    return [n for n, row in ALGORITHMS.items() if row.op_class == op_class and row.support == FULL]


DIGESTS, MACS = of_class(cryp.TEE_OPERATION_DIGEST), of_class(cryp.TEE_OPERATION_MAC)
AES = [cryp.TEE_ALG_AES_GCM, cryp.TEE_ALG_AES_CCM]
SINGLE_DES = [cryp.TEE_ALG_DES_ECB_NOPAD, cryp.TEE_ALG_DES_CBC_NOPAD]


def flipped(octets: bytes, bit: int) -> bytes:
    turned = bytearray(octets)
    turned[bit // 8 % len(turned)] ^= 1 << bit % 8
    return bytes(turned)


def test_no_algorithm_is_left_out() -> None:
    assert set(of_class(cryp.TEE_OPERATION_CIPHER)) == {*CIPHERS, *SINGLE_DES}
    assert set(of_class(cryp.TEE_OPERATION_AE)) == set(AES)


CUTS = st.lists(st.integers(0, 300), max_size=4)


@settings(EXAMPLES, max_examples=60)
@given(algo=st.sampled_from(DIGESTS), data=st.binary(max_size=300), cuts=CUTS)
def test_digests(tee: Tee, algo: int, data: bytes, cuts: list[int]) -> None:
    whole, parts = (tee.TEE_AllocateOperation(algo, cryp.TEE_MODE_DIGEST, 0) for _ in range(2))
    *first, last = pieces(data, cuts)
    for piece in first:
        tee.TEE_DigestUpdate(parts, piece)
    assert tee.TEE_DigestDoFinal(parts, last, 100) == tee.TEE_DigestDoFinal(whole, data, 100)
    tee.TEE_FreeOperation(parts)
    tee.TEE_FreeOperation(whole)


def mac_key(tee: Tee, algo: int) -> int:
    """Of a kind that the algorithm takes."""
    name = ALGORITHMS[algo].name.removeprefix("TEE_ALG_")
    if name.startswith("HMAC"):
        return secret(tee, getattr(cryp, f"TEE_TYPE_{name}"), KEY)
    kind = name.split("_")[0]
    return secret(tee, getattr(cryp, f"TEE_TYPE_{kind}"), BLOCK_KEYS[kind])


@settings(EXAMPLES, max_examples=100)
@given(algo=st.sampled_from(MACS), blocks=st.integers(1, 15), cuts=CUTS, bit=st.integers(0, 511))
def test_macs(tee: Tee, algo: int, blocks: int, cuts: list[int], bit: int) -> None:
    data = os.urandom(16 * blocks)
    op = operation(tee, algo, cryp.TEE_MODE_MAC, mac_key(tee, algo))
    tee.TEE_MACInit(op)
    wanted = tee.TEE_MACComputeFinal(op, data)
    tee.TEE_MACInit(op)
    *first, last = pieces(data, cuts)
    for piece in first:
        tee.TEE_MACUpdate(op, piece)
    tee.TEE_MACCompareFinal(op, last, wanted)
    for message, mac in ((flipped(data, bit), wanted), (data, flipped(wanted, bit))):
        tee.TEE_MACInit(op)
        with pytest.raises(TeeResult) as caught:
            tee.TEE_MACCompareFinal(op, message, mac)
        assert caught.value.code == gp.TEE_ERROR_MAC_INVALID
    tee.TEE_FreeOperation(op)


@settings(EXAMPLES, max_examples=30)
@given(algo=st.sampled_from(SINGLE_DES), blocks=st.integers(0, 12), cuts=CUTS)
def test_single_des(tee: Tee, algo: int, blocks: int, cuts: list[int]) -> None:
    """The other ciphers are in test_crypt."""
    iv = None if algo == cryp.TEE_ALG_DES_ECB_NOPAD else NONCE[:8]

    def ciphered(mode: int, source: bytes) -> bytes:
        op = operation(tee, algo, mode, secret(tee, cryp.TEE_TYPE_DES, KEY[:8]))
        tee.TEE_CipherInit(op, iv)
        whole = tee.TEE_CipherDoFinal(op, source)
        tee.TEE_CipherInit(op, iv)
        *first, last = pieces(source, cuts)
        assert b"".join(tee.TEE_CipherUpdate(op, p) for p in first) + tee.TEE_CipherDoFinal(op, last) == whole
        tee.TEE_FreeOperation(op)
        return whole

    data = os.urandom(8 * blocks)
    assert ciphered(DECRYPT, ciphered(ENCRYPT, data)) == data


@settings(EXAMPLES, max_examples=60)
@given(
    algo=st.sampled_from(AES),
    data=st.binary(min_size=1, max_size=70),
    aad=st.binary(min_size=1, max_size=40),
    where=st.sampled_from(["key", "nonce", "aad", "ciphertext", "tag"]),
    bit=st.integers(0, 559),
)
def test_authenticated_encryption(tee: Tee, algo: int, data: bytes, aad: bytes, where: str, bit: int) -> None:
    def begun(mode: int, key: bytes, nonce: bytes, aad: bytes) -> int:
        op = operation(tee, algo, mode, secret(tee, cryp.TEE_TYPE_AES, key))
        tee.TEE_AEInit(op, nonce, 128, len(aad), len(data))
        tee.TEE_AEUpdateAAD(op, aad)
        return op

    op = begun(ENCRYPT, KEY, NONCE, aad)
    sealed, tag = tee.TEE_AEEncryptFinal(op, data)
    tee.TEE_FreeOperation(op)
    given = {"key": KEY, "nonce": NONCE, "aad": aad, "ciphertext": sealed, "tag": tag}
    given[where] = flipped(given[where], bit)
    op = begun(DECRYPT, given["key"], given["nonce"], given["aad"])
    with pytest.raises(TeeResult) as caught:
        tee.TEE_AEDecryptFinal(op, given["ciphertext"], given["tag"])
    assert caught.value.code == gp.TEE_ERROR_MAC_INVALID
    tee.TEE_FreeOperation(op)


@pytest.mark.parametrize(("algo", "kind", "size", "attrs", "length"), SIGNATURES)
def test_signatures(tee: Tee, algo: int, kind: int, size: int, attrs: tuple[Attr, ...], length: int) -> None:
    digest, key, other = os.urandom(length), pair(tee, kind, size, *attrs), pair(tee, kind, size, *attrs)
    signer = with_pair(tee, algo, cryp.TEE_MODE_SIGN, key, size)
    verifier, stranger = (with_pair(tee, algo, cryp.TEE_MODE_VERIFY, k, size) for k in (key, other))
    signature = tee.TEE_AsymmetricSignDigest(signer, digest)

    def refused(by: int, digest: bytes, signature: bytes) -> None:
        with pytest.raises(TeeResult) as caught:
            tee.TEE_AsymmetricVerifyDigest(by, digest, signature)
        assert caught.value.code == gp.TEE_ERROR_SIGNATURE_INVALID

    @settings(EXAMPLES, max_examples=25)
    @given(bit=st.integers(0, 8 * len(signature) - 1))
    def turned(bit: int) -> None:
        refused(verifier, digest, flipped(signature, bit))
        refused(verifier, flipped(digest, bit), signature)

    tee.TEE_AsymmetricVerifyDigest(verifier, digest, signature)
    turned()
    refused(stranger, digest, signature)


@pytest.mark.parametrize(
    ("algo", "kind", "size"),
    [
        (cryp.TEE_ALG_RSAES_PKCS1_OAEP_MGF1_SHA256, cryp.TEE_TYPE_RSA_KEYPAIR, 1024),
        (cryp.TEE_ALG_SM2_PKE, cryp.TEE_TYPE_SM2_PKE_KEYPAIR, 256),
    ],
)
def test_ciphertexts(tee: Tee, algo: int, kind: int, size: int) -> None:
    key = pair(tee, kind, size)
    there, back = (with_pair(tee, algo, mode, key, size) for mode in (ENCRYPT, DECRYPT))
    sealed = tee.TEE_AsymmetricEncrypt(there, b"a message")

    @settings(EXAMPLES, max_examples=25)
    @example(bit=1)
    @given(bit=st.integers(0, 8 * len(sealed) - 1))
    def turned(bit: int) -> None:
        with pytest.raises(TeeResult) as caught:
            tee.TEE_AsymmetricDecrypt(back, flipped(sealed, bit))
        assert caught.value.code in REFUSALS

    turned()
    assert tee.TEE_AsymmetricDecrypt(back, sealed) == b"a message"
