"""Which images are believed: each scheme and key size, and nothing that was touched afterwards."""

import hashlib
from dataclasses import replace
from functools import cache
from importlib import resources

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from optemu.abi import gp, shdr
from optemu.errors import TeeError
from optemu.secure_world.crypto.signed_header import (
    SignedImage,
    TrustedKey,
    TrustStore,
    load_trusted_key,
    verify_image,
)
from optemu.secure_world.crypto.ta_enc import OtpKeys
from optemu.sign import SIG_ALGOS, UnsignedImage, bootstrap_ta, sign_ta

UUID = gp.uuid_octets("8aaaf200-2450-11e4-abe2-0002a5d5c51b")
OTHER = bytes(16)
PAYLOAD = bytes(range(100))


@cache
def private(bits: int, number: int) -> RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def pem(key: RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def trusted(bits: int, number: int = 0) -> TrustedKey:
    return load_trusted_key(f"key-{bits}-{number}", pem(private(bits, number)))


def signed(bits: int = 2048, scheme: str = "pss", number: int = 0) -> bytes:
    return sign_ta(PAYLOAD, UUID, private(bits, number), SIG_ALGOS[scheme], ta_version=3)


def store(*keys: TrustedKey) -> TrustStore:
    return TrustStore(keys, OtpKeys(bytes(16)))


def refused(image: bytes, trust: TrustStore, uuid: bytes | None = UUID) -> TeeError:
    with pytest.raises(TeeError) as caught:
        verify_image(image, trust, uuid)
    return caught.value


@pytest.mark.parametrize("scheme", ["pss", "pkcs1"])
@pytest.mark.parametrize("bits", [2048, 4096])
def test_good_images(bits: int, scheme: str) -> None:
    trust = store(trusted(2048), trusted(4096))
    image = signed(bits, scheme)
    found = verify_image(image, trust, UUID)
    header = shdr.parse_shdr(image)
    assert isinstance(found, SignedImage)
    assert (found.uuid, found.ta_version, found.key) == (UUID, 3, f"key-{bits}-0")
    assert (found.img_type, found.algo) == (shdr.SHDR_BOOTSTRAP_TA, SIG_ALGOS[scheme])
    assert (bytes(found.payload), found.hash) == (PAYLOAD, header.hash)


def test_the_key_that_signed_is_found_among_many() -> None:
    trust = store(trusted(2048, 1), trusted(2048, 2), trusted(2048))
    assert verify_image(signed(), trust).key == "key-2048-0"


def test_every_flipped_bit_of_every_byte_is_refused() -> None:
    trust = store(trusted(2048))
    image = bytearray(signed())
    for at in range(len(image)):
        for bit in (1, 0x80):
            image[at] ^= bit
            error = refused(bytes(image), trust, uuid=None)
            assert error.code == gp.TEE_ERROR_SECURITY, (at, error)
            image[at] ^= bit
    assert verify_image(bytes(image), trust, UUID).key


def test_a_signature_seen_before_vouches_for_its_own_hash_only() -> None:
    """The store remembers signatures: neither another payload nor another key's image profits."""
    trust = store(trusted(2048))
    image = signed()
    for _ in range(2):
        assert bytes(verify_image(image, trust, UUID).payload) == PAYLOAD
    refused(image[:-1] + b"?", trust)
    header, stranger = shdr.parse_shdr(image), bytearray(sign_ta(PAYLOAD + b"!", UUID, private(2048, 1)))
    assert "no trusted key" in str(refused(bytes(stranger), trust))
    stranger[52 : 52 + 256] = header.sig
    assert "no trusted key" in str(refused(bytes(stranger), trust))


def test_refusal_names_the_keys_that_were_tried() -> None:
    error = refused(signed(), store(trusted(2048, 1), trusted(4096)))
    assert error.code == gp.TEE_ERROR_SECURITY
    assert "key-2048-1 (2048 bit)" in str(error)
    assert "key-4096-0 (4096 bit)" in str(error)
    assert "none configured" in str(refused(signed(), store()))


@pytest.mark.parametrize("uuid", [OTHER, UUID[::-1]])
def test_image_of_another_ta(uuid: bytes) -> None:
    assert gp.uuid_str(UUID) in str(refused(signed(), store(trusted(2048)), uuid))


@pytest.mark.parametrize("size", [0, 1, 19, 20, 51, 52, 300, 307, 308, 327, 328, 400, 427])
def test_truncated(size: int) -> None:
    image = signed()
    assert size < len(image) == 428
    assert refused(image[:size], store(trusted(2048))).code == gp.TEE_ERROR_SECURITY


def test_appended() -> None:
    assert "bytes follow" in str(refused(signed() + b"\0", store(trusted(2048))))


@pytest.mark.parametrize("algo", [0, 0x60000030, 0x70006930, 0x70002830, 0x70414930 + 1])
def test_other_algorithms(algo: int) -> None:
    """Also SHA-1 and raw RSA, however well signed."""
    image = bytearray(signed())
    image[12:16] = algo.to_bytes(4, "little")
    assert f"0x{algo:08x}" in str(refused(bytes(image), store(trusted(2048))))


def test_pss_is_no_pkcs1() -> None:
    unsigned = bootstrap_ta(PAYLOAD, UUID, 2048, SIG_ALGOS["pkcs1"])
    as_pss = bootstrap_ta(PAYLOAD, UUID, 2048, SIG_ALGOS["pss"])
    sig = shdr.parse_shdr(as_pss.sign(private(2048, 0))).sig
    assert "no trusted key" in str(refused(unsigned.stitch(sig), store(trusted(2048))))


def retyped(img_type: int) -> bytes:
    """An image of another type, signed by a trusted key."""
    u = bootstrap_ta(PAYLOAD, UUID, 2048, SIG_ALGOS["pss"])
    return replace(u, img_type=img_type).sign(private(2048, 0))


@pytest.mark.parametrize("img_type", [4, 0x10001, 0xFFFFFFFF])
def test_unknown_types(img_type: int) -> None:
    error = refused(retyped(img_type), store(trusted(2048)))
    assert error.code == gp.TEE_ERROR_SECURITY
    assert str(img_type) in str(error)


def test_legacy_image() -> None:
    """SHDR_TA: no UUID in the header, so it is any TA's."""
    image = UnsignedImage(shdr.SHDR_TA, SIG_ALGOS["pss"], 256, b"", PAYLOAD).sign(private(2048, 0))
    found = verify_image(image, store(trusted(2048)), UUID)
    assert (found.uuid, found.ta_version, bytes(found.payload)) == (None, None, PAYLOAD)
    assert verify_image(image, store(trusted(2048)), OTHER).uuid is None
    refused(image + b"!", store(trusted(2048)))


@pytest.mark.parametrize("digest", [hashes.SHA384(), hashes.SHA512()])
@pytest.mark.parametrize("scheme", ["PSS_MGF1", "V1_5"])
def test_longer_digests(scheme: str, digest: hashes.HashAlgorithm) -> None:
    """No tool of upstream's makes these, its core takes them."""
    algo = getattr(shdr, f"TEE_ALG_RSASSA_PKCS1_{scheme}_SHA{8 * digest.digest_size}")
    pad = padding.PKCS1v15() if scheme == "V1_5" else padding.PSS(padding.MGF1(digest), digest.digest_size)
    size = digest.digest_size
    fixed = shdr.Shdr(shdr.SHDR_MAGIC, shdr.SHDR_TA, len(PAYLOAD), algo, bytes(size), bytes(256)).fixed
    hashed = hashlib.new(digest.name, fixed + PAYLOAD).digest()
    sig = private(2048, 0).sign(hashed, pad, Prehashed(digest))
    image = fixed + hashed + sig + PAYLOAD
    assert bytes(verify_image(image, store(trusted(2048))).payload) == PAYLOAD
    refused(image[:-1] + b"?", store(trusted(2048)))
    refused(image[:20] + bytes(size) + image[20 + size :], store(trusted(2048)))


@given(st.binary(max_size=600))
def test_noise(raw: bytes) -> None:
    trust = store(trusted(2048))
    refused(raw, trust)
    refused(b"HSTO" + raw, trust)


@given(st.data())
def test_any_changes(data: st.DataObject) -> None:
    image = bytearray(signed())
    at = data.draw(st.integers(0, len(image) - 1))
    new = data.draw(st.binary(min_size=1, max_size=16))
    changed = bytes(image[:at]) + new + bytes(image[at + len(new) :])
    trust = store(trusted(2048))
    if changed != bytes(image):
        refused(changed, trust)


def test_the_default_keys_are_keys() -> None:
    folder = resources.files("optemu.board").joinpath("keys")
    keys = {k.name: load_trusted_key(k.name, k.read_bytes()).key.key_size for k in folder.iterdir()}
    assert sorted(keys.values())[-1] == 4096
    assert keys["optee-default-ta-2048.pub.pem"] == 2048


@pytest.mark.parametrize(
    "bad", [b"", b"nonsense", pem(ec.generate_private_key(ec.SECP256R1())), pem(rsa.generate_private_key(65537, 1024))]
)
def test_keys_of_no_use(bad: bytes) -> None:
    with pytest.raises(ValueError, match=r"^mine\.pem: "):
        load_trusted_key("mine.pem", bad)
