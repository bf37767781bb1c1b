"""Images are laid out and signed as OP-TEE's core checks them; the check here is written apart from the signing."""

import hashlib
import struct
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from optemu import board, sign
from optemu.abi import shdr

UUID = bytes(range(16))
ELF = b"\x7fELF" + bytes(1000)


@pytest.fixture(scope="module")
def keys() -> dict[int, rsa.RSAPrivateKey]:
    return {bits: rsa.generate_private_key(public_exponent=65537, key_size=bits) for bits in (2048, 4096)}


def check(image: bytes, key: rsa.RSAPublicKey) -> bytes:
    """What shdr_verify_signature() and the hash check of ree_fs_ta.c do; the payload."""
    magic, img_type, img_size, algo, hash_size, sig_size = struct.unpack_from("<IIIIHH", image)
    assert (magic, img_type, hash_size) == (0x4F545348, 1, 32)
    digest, sig = image[20:52], image[52 : 52 + sig_size]
    rest = image[52 + sig_size :]
    assert hashlib.sha256(image[:20] + rest).digest() == digest
    pad = {
        0x70414930: padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32),
        0x70004830: padding.PKCS1v15(),
    }[algo]
    key.verify(sig, digest, pad, utils.Prehashed(hashes.SHA256()))
    assert rest[:16] == UUID
    assert len(rest) - 20 == img_size
    return rest[20:]


@pytest.mark.parametrize("bits", [2048, 4096])
@pytest.mark.parametrize("algo", ["pss", "pkcs1"])
def test_signed_image_verifies(keys: dict[int, rsa.RSAPrivateKey], bits: int, algo: str) -> None:
    image = sign.sign_ta(ELF, UUID, keys[bits], sign.SIG_ALGOS[algo], ta_version=7)
    assert check(image, keys[bits].public_key()) == ELF
    assert len(image) == 20 + 32 + bits // 8 + 20 + len(ELF)


def test_another_key_does_not_verify(keys: dict[int, rsa.RSAPrivateKey]) -> None:
    image = sign.sign_ta(ELF, UUID, keys[2048])
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with pytest.raises(InvalidSignature):
        check(image, stranger.public_key())


def test_header_reads_back(keys: dict[int, rsa.RSAPrivateKey]) -> None:
    image = sign.sign_ta(ELF, UUID, keys[2048], ta_version=7)
    header = shdr.parse_shdr(image)
    assert shdr.parse_bootstrap_ta(image, header.size) == shdr.BootstrapTa(UUID, 7)
    assert header.algo == shdr.TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256


def test_signature_made_elsewhere(keys: dict[int, rsa.RSAPrivateKey]) -> None:
    unsigned = sign.bootstrap_ta(ELF, UUID, 2048, sign.SIG_ALGOS["pkcs1"])
    sha256 = utils.Prehashed(hashes.SHA256())
    sig = keys[2048].sign(unsigned.digest(), padding.PKCS1v15(), sha256)
    assert check(unsigned.stitch(sig), keys[2048].public_key()) == ELF
    with pytest.raises(ValueError, match="255 bytes"):
        unsigned.stitch(sig[:-1])


def test_development_key_is_the_one_the_board_trusts() -> None:
    pub = load_pem_public_key((Path(board.__file__).parent / "keys" / "optemu-dev-ta.pub.pem").read_bytes())
    assert sign.load_private_key(sign.DEV_KEY).public_key() == pub


@pytest.mark.parametrize(
    ("text", "message"),
    [(b"no key", "no private key"), (b"", "no private key")],
)
def test_refused_keys(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(text)
    with pytest.raises(sign.SignKeyError, match=message):
        sign.load_private_key(path)


def test_weak_and_foreign_keys_are_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as ser
    from cryptography.hazmat.primitives.asymmetric import ec

    path = tmp_path / "key.pem"
    for key, message in (
        (rsa.generate_private_key(public_exponent=65537, key_size=1024), "1024 bits"),
        (ec.generate_private_key(ec.SECP256R1()), "RSA keys"),
    ):
        path.write_bytes(key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption()))
        with pytest.raises(sign.SignKeyError, match=message):
            sign.load_private_key(path)
