"""RSA keys for signing TA images."""

from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

DEV_KEY: Final = Path(__file__).parent / "keys" / "optemu_dev_ta.pem"
"""Our development key. Everybody has it: it says nothing about who made an image."""

MIN_KEY_BITS: Final = 2048
"""shdr_verify_signature() calls anything shorter weak."""


class SignKeyError(ValueError):
    """The file holds no key that can sign a TA."""


def load_private_key(path: Path, password: bytes | None = None) -> RSAPrivateKey:
    """The RSA key in the PEM file ``path``; SignKeyError for any other, OSError when it cannot be read."""
    pem = path.read_bytes()
    try:
        key = load_pem_private_key(pem, password)
    except TypeError as e:  # a password is missing, or not needed
        raise SignKeyError(f"{path}: {e}") from None
    except (ValueError, UnsupportedAlgorithm):
        if b"-----BEGIN PUBLIC KEY-----" in pem:
            raise SignKeyError(
                f"{path}: a public key cannot sign; to sign elsewhere use optemu sign digest and stitch"
            ) from None
        raise SignKeyError(f"{path}: no private key in PEM form") from None
    if not isinstance(key, RSAPrivateKey):
        raise SignKeyError(f"{path}: TA images are signed with RSA keys, this is a {type(key).__name__}")
    _check_size(path, key.key_size)
    return key


def load_public_key(path: Path) -> RSAPublicKey:
    """The public RSA key in the PEM file ``path``, or the public half of a private one; errors as above."""
    pem = path.read_bytes()
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        return load_private_key(path).public_key()
    if not isinstance(key, RSAPublicKey):
        raise SignKeyError(f"{path}: TA images are signed with RSA keys, this is a {type(key).__name__}")
    _check_size(path, key.key_size)
    return key


def _check_size(path: Path, bits: int) -> None:
    if bits < MIN_KEY_BITS:
        raise SignKeyError(f"{path}: {bits} bits, OP-TEE takes {MIN_KEY_BITS} and more")
