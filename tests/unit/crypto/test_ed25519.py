"""Ed25519 of all three kinds, X25519 and X448: RFC 8032 and RFC 7748, and another library."""

import pytest
from acipher_fakes import Real, Seeded, attributes, code_of, flipped, key
from Cryptodome.Hash import SHA512
from Cryptodome.PublicKey import ECC
from Cryptodome.Signature import eddsa
from hypothesis import given, settings
from hypothesis import strategies as st

from optemu.abi import cryp, gp
from optemu.secure_world.crypto import acipher
from optemu.secure_world.crypto.ed25519 import Ed25519Key

PAIR = cryp.TEE_TYPE_ED25519_KEYPAIR
PUBLIC_VALUE, PRIVATE_VALUE = cryp.TEE_ATTR_ED25519_PUBLIC_VALUE, cryp.TEE_ATTR_ED25519_PRIVATE_VALUE
L = 2**252 + 27742317777372353535851937790883648493

# RFC 8032, 7.1 to 7.3: secret and public key, message, is it of a digest, context, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        False,
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "0305334e381af78f141cb666f6199f57bc3495335a256a95bd2a55bf546663f6",
        "dfc9425e4f968f7f0c29f0259cf5f9aed6851c2bb4ad8bfb860cfee0ab248292",
        "f726936d19c800494e3fdaff20b276a8",
        False,
        "666f6f",
        "55a4cc2f70a54e04288c5f4cd1e45a7bb520b36292911876cada7323198dd87a8b36950b95130022907a7fb7c4e9b2d5f6cca685a587b4b21f4b888e4e7edb0d",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "616263",
        True,
        "",
        "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae4131f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406",
    ),
]


@pytest.mark.parametrize(("secret", "public", "message", "prehash", "ctx", "sig"), RFC_8032)
def test_rfc_8032(secret, public, message, prehash, ctx, sig):
    secret, public, message, ctx, sig = (bytes.fromhex(each) for each in (secret, public, message, ctx, sig))
    pair = acipher.load_key(PAIR, {PRIVATE_VALUE: secret, PUBLIC_VALUE: public})
    assert acipher.ed25519_sign(pair, message, prehash, ctx) == sig
    verifier = acipher.load_key(cryp.TEE_TYPE_ED25519_PUBLIC_KEY, {PUBLIC_VALUE: public})
    acipher.ed25519_verify(verifier, message, sig, prehash, ctx)


KINDS = [(False, b""), (False, b"context"), (True, b""), (True, b"c" * 255)]


@pytest.mark.parametrize(("prehash", "ctx"), KINDS)
def test_pycryptodome_agrees(prehash, ctx):
    attrs = attributes(PAIR, 256)
    theirs = eddsa.new(ECC.construct(curve="Ed25519", seed=attrs[PRIVATE_VALUE]), "rfc8032", context=ctx or None)
    message = SHA512.new(b"message") if prehash else b"message"
    assert acipher.ed25519_sign(key(PAIR, 256), b"message", prehash, ctx) == theirs.sign(message)


@given(
    kind=st.sampled_from(KINDS), bit=st.integers(0, 511), where=st.sampled_from(["message", "signature", "ctx", "key"])
)
@settings(max_examples=40)
def test_a_bit_flipped_anywhere_is_refused(kind, bit, where):
    prehash, ctx = kind
    pair, message = key(PAIR, 256), b"message"
    sig = acipher.ed25519_sign(pair, message, prehash, ctx)
    acipher.ed25519_verify(pair, message, sig, prehash, ctx)
    if where == "message":
        message = flipped(message, bit)
    elif where == "signature":
        sig = flipped(sig, bit)
    elif where == "ctx":
        ctx = flipped(ctx or b"x", bit)
    else:
        pair = Ed25519Key(flipped(pair.public, bit))
    refused = code_of(acipher.ed25519_verify, pair, message, sig, prehash, ctx)
    on_curve = refused == gp.TEE_ERROR_SIGNATURE_INVALID
    assert on_curve or (where == "key" and refused == gp.TEE_ERROR_BAD_PARAMETERS)


@pytest.mark.parametrize(("prehash", "ctx"), KINDS)
def test_misuse(prehash, ctx):
    pair = key(PAIR, 256)
    sig = acipher.ed25519_sign(pair, b"m", prehash, ctx)
    greater = sig[:32] + (int.from_bytes(sig[32:], "little") + L).to_bytes(32, "little")
    assert code_of(acipher.ed25519_verify, pair, b"m", greater, prehash, ctx) == gp.TEE_ERROR_SIGNATURE_INVALID
    for wrong in (b"", sig[1:], sig + b"\0"):
        assert code_of(acipher.ed25519_verify, pair, b"m", wrong, prehash, ctx) == gp.TEE_ERROR_BAD_PARAMETERS
    no_point = Ed25519Key(b"\2" + bytes(31))
    assert code_of(acipher.ed25519_verify, no_point, b"m", sig, prehash, ctx) == gp.TEE_ERROR_BAD_PARAMETERS
    long = code_of(acipher.ed25519_sign, pair, b"m", True, bytes(256))
    assert long == gp.TEE_ERROR_BAD_PARAMETERS


def test_the_public_half_that_was_given_is_the_one_signed_with():
    """As upstream; OpenSSL would compute it anew."""
    mine, others = attributes(PAIR, 256), attributes(PAIR, 256, 0, b"other")
    mixed = acipher.load_key(PAIR, {PRIVATE_VALUE: mine[PRIVATE_VALUE], PUBLIC_VALUE: others[PUBLIC_VALUE]})
    own = acipher.ed25519_sign(key(PAIR, 256), b"m", False, b"")
    sig = acipher.ed25519_sign(mixed, b"m", False, b"")
    assert sig[:32] == own[:32]
    assert sig != own


@pytest.mark.parametrize("object_type", [PAIR, cryp.TEE_TYPE_X25519_KEYPAIR, cryp.TEE_TYPE_X448_KEYPAIR])
def test_keys_are_made_of_the_rngs_bytes_alone(object_type):
    bits = 448 if object_type == cryp.TEE_TYPE_X448_KEYPAIR else 256
    made = [acipher.generate_key(object_type, bits, {}, Seeded(b"s")) for _ in range(2)]
    assert made[0] == made[1] != acipher.generate_key(object_type, bits, {}, Real())
    assert Seeded(b"s").read(bits // 8) in made[0].values()
    assert code_of(acipher.generate_key, object_type, bits - 8, {}, Real()) == gp.TEE_ERROR_BAD_PARAMETERS


@pytest.mark.parametrize("size", [0, 31, 33, 55])
def test_values_of_the_wrong_size(size):
    for object_type, attrs in (
        (PAIR, {PUBLIC_VALUE: bytes(size), PRIVATE_VALUE: bytes(32)}),
        (cryp.TEE_TYPE_X25519_KEYPAIR, {cryp.TEE_ATTR_X25519_PRIVATE_VALUE: bytes(size)}),
        (cryp.TEE_TYPE_X448_KEYPAIR, {cryp.TEE_ATTR_X448_PRIVATE_VALUE: bytes(size)}),
    ):
        assert code_of(acipher.load_key, object_type, attrs) == gp.TEE_ERROR_BAD_PARAMETERS


# --- X25519 and X448 --------------------------------------------------------------------------------------------

X25519 = (cryp.TEE_TYPE_X25519_KEYPAIR, cryp.TEE_ATTR_X25519_PRIVATE_VALUE, acipher.x25519_shared_secret)
X448 = (cryp.TEE_TYPE_X448_KEYPAIR, cryp.TEE_ATTR_X448_PRIVATE_VALUE, acipher.x448_shared_secret)
RFC_7748 = [
    (
        *X25519,
        "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
        "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
    ),
    (
        *X448,
        "3d262fddf9ec8e88495266fea19a34d28882acef045104d0d1aae121700a779c984c24f8cdd78fbff44943eba368f54b29259a4f1c600ad3",
        "06fce640fa3487bfda5f6cf2d5263f8aad88334cbd07437f020f08f9814dc031ddbdc38c19c6da2583fa5429db94ada18aa7a7fb4ef8a086",
        "ce3e4ff95a60dc6697da1db1d85e6afbdf79b50a2412d7546d5f239fe14fbaadeb445fc66a01b0779d98223961111e21766282f73dd96b6f",
    ),
]


@pytest.mark.parametrize(("object_type", "attr", "derive", "scalar", "public", "secret"), RFC_7748)
def test_rfc_7748(object_type, attr, derive, scalar, public, secret):
    pair = acipher.load_key(object_type, {attr: bytes.fromhex(scalar)})
    assert derive(pair, bytes.fromhex(public)).hex() == secret
    size = len(scalar) // 2
    for point in (bytes(size), b"\1" + bytes(size - 1)):
        assert code_of(derive, pair, point) == gp.TEE_ERROR_SECURITY
    for point in (b"", bytes(size - 1), bytes(size + 1)):
        assert code_of(derive, pair, point) == gp.TEE_ERROR_BAD_PARAMETERS


@pytest.mark.parametrize(("object_type", "attr", "derive"), [X25519, X448])
def test_both_sides_have_one_secret(object_type, attr, derive):
    bits = 256 if object_type == X25519[0] else 448
    ours, theirs = attributes(object_type, bits, 0, b"a"), attributes(object_type, bits, 0, b"b")
    (our_public,), (their_public,) = ([v for a, v in each.items() if a != attr] for each in (ours, theirs))
    secret = derive(acipher.load_key(object_type, ours), their_public)
    assert secret == derive(acipher.load_key(object_type, theirs), our_public)
