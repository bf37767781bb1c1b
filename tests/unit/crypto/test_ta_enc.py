"""Encrypted images: opened with the device's key or its class's, and with nothing else."""

from dataclasses import replace
from functools import cache
from importlib import resources

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from optemu.abi import gp, shdr
from optemu.errors import TeeError
from optemu.secure_world.crypto.signed_header import TrustedKey, TrustStore, load_trusted_key, verify_image
from optemu.secure_world.crypto.ta_enc import OtpKeys
from optemu.sign import SIG_ALGOS, bootstrap_ta, encrypt_ta
from optemu.sign.image import UnsignedImage

UUID = gp.uuid_octets("8aaaf200-2450-11e4-abe2-0002a5d5c51b")
PAYLOAD = bytes(range(100))
HUK = bytes(range(16))
CLASS_KEY = b"class" + bytes(27)
OTP = OtpKeys(HUK, CLASS_KEY)
DEVICE, CLASS = shdr.SHDR_ENC_KEY_DEV_SPECIFIC, shdr.SHDR_ENC_KEY_CLASS_WIDE


@cache
def root() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def trust(otp: OtpKeys = OTP) -> TrustStore:
    return TrustStore([TrustedKey("root", root().public_key())], otp)


def device_key() -> bytes:
    return OTP(DEVICE, TrustedKey("root", root().public_key()).modulus)


def encrypted(key: bytes, key_type: int = DEVICE, nonce: bytes | None = None) -> UnsignedImage:
    return encrypt_ta(bootstrap_ta(PAYLOAD, UUID, 2048, SIG_ALGOS["pss"], 9), key, key_type, nonce)


def refused(image: bytes, store: TrustStore) -> TeeError:
    with pytest.raises(TeeError) as caught:
        verify_image(image, store, UUID)
    return caught.value


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        (2048, "b64d239b1f3c7d3b06506229cd8ff7c8af2bb4db2168621ac62c84948468c4f4"),
        (4096, "e3ff381eb7859bb961c52f9b78b693f725c261e75eb488ef5893d6de5d097e6a"),
    ],
)
def test_the_device_key_is_upstreams(bits: int, expected: str) -> None:
    """What ta/link.mk has for TA_ENC_KEY: the key of a board with a zero HUK and the development key of its time."""
    pem = resources.files("optemu.board").joinpath("keys", f"optee-default-ta-{bits}.pub.pem").read_bytes()
    assert OtpKeys(bytes(16))(DEVICE, load_trusted_key("default", pem).modulus).hex() == expected


@pytest.mark.parametrize("key_type", [DEVICE, CLASS])
def test_opened(key_type: int) -> None:
    """The hash covers the plaintext, so an image and its encrypted self differ in the header only."""
    image = encrypted(CLASS_KEY if key_type else device_key(), key_type).sign(root())
    assert PAYLOAD not in image
    found = verify_image(image, trust(), UUID)
    assert (bytes(found.payload), found.ta_version, found.img_type) == (PAYLOAD, 9, shdr.SHDR_ENCRYPTED_TA)


def test_every_flipped_bit_of_every_byte_is_refused() -> None:
    """SECURITY, or NOT_IMPLEMENTED for another algorithm, which upstream too sees before the hash."""
    store = trust()
    image = bytearray(encrypted(device_key()).sign(root()))
    algo = 20 + 32 + 256 + shdr.SHDR_BOOTSTRAP.size
    for at in range(len(image)):
        for bit in (1, 0x80):
            image[at] ^= bit
            expected = gp.TEE_ERROR_NOT_IMPLEMENTED if at in range(algo, algo + 4) else gp.TEE_ERROR_SECURITY
            assert refused(bytes(image), store).code == expected, at
            image[at] ^= bit
    assert verify_image(bytes(image), store, UUID).payload == PAYLOAD


def test_other_keys() -> None:
    ours = encrypted(device_key()).sign(root())
    assert "device key does not decrypt" in str(refused(ours, trust(OtpKeys(bytes(16)))))
    theirs = encrypted(bytes(32), CLASS).sign(root())
    assert "class-wide key does not decrypt" in str(refused(theirs, trust()))
    assert "set ta_class_key in [board]" in str(refused(theirs, trust(OtpKeys(HUK))))


def test_a_key_of_another_signer() -> None:
    """The device key depends on the root key that the core is built with."""
    other = rsa.generate_private_key(65537, 2048)
    store = TrustStore([TrustedKey(n, k.public_key()) for n, k in (("a", root()), ("b", other))], OTP)
    image = encrypted(device_key())
    assert verify_image(image.sign(root()), store, UUID).key == "a"
    assert "device key" in str(refused(image.sign(other), store))


def test_well_signed_but_not_what_was_encrypted() -> None:
    """Who signs vouches for the plaintext: a good tag over another is not enough."""
    image = replace(encrypted(device_key()), payload=PAYLOAD[::-1]).sign(root())
    assert "hash of the TA" in str(refused(image, trust()))


@given(iv=st.binary(max_size=20), tag=st.binary(max_size=20), flags=st.integers(0, 2**32 - 1))
def test_signed_nonsense(iv: bytes, tag: bytes, flags: int) -> None:
    """Any sizes, however well signed, are an answer and no crash."""
    plain = bootstrap_ta(PAYLOAD, UUID, 2048, SIG_ALGOS["pkcs1"])
    ehdr = shdr.EncryptedTa(shdr.TEE_ALG_AES_GCM, flags, iv, tag)
    sub = plain.subheader + ehdr.pack()
    image = replace(plain, img_type=shdr.SHDR_ENCRYPTED_TA, subheader=sub).sign(root())
    usual = len(iv) >= 8 and 4 <= len(tag) <= 16
    assert refused(image, trust()).code == (gp.TEE_ERROR_SECURITY if usual else gp.TEE_ERROR_NOT_SUPPORTED)


def test_nonces() -> None:
    """Derived, so that digest and stitch see one image; another for another image or key."""
    key = device_key()
    assert encrypted(key) == encrypted(key)
    assert encrypted(key, nonce=bytes(12)).subheader[32:44] == bytes(12)
    others = [
        encrypt_ta(bootstrap_ta(PAYLOAD, UUID, 2048, SIG_ALGOS["pss"], v), k) for v, k in ((9, CLASS_KEY), (8, key))
    ]
    assert len({i.subheader[32:44] for i in (encrypted(key), *others)}) == 3
