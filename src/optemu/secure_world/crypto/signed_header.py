"""Is a TA image signed by somebody we trust? Mirrors core/crypto/signed_hdr.c and core/kernel/ree_fs_ta.c.

Everything is decided on one copy of the image, in secure memory.
"""

import hmac
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from optemu.abi import gp, shdr
from optemu.errors import TeeError

MIN_KEY_BITS = 2048
_DIGEST_SIZE = 32
_PREHASHED = Prehashed(hashes.SHA256())
_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=_DIGEST_SIZE)
_PADDINGS: dict[int, padding.AsymmetricPadding] = {
    shdr.TEE_ALG_RSASSA_PKCS1_V1_5_SHA256: padding.PKCS1v15(),
    shdr.TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256: _PSS,
}


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key that images may be signed with, and how people know it."""

    name: str
    key: rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class SignedImage:
    """A believed image: whose it is, which key vouches for it, and the ELF file in it."""

    uuid: bytes
    ta_version: int
    img_type: int
    algo: int
    key: str
    hash: bytes
    payload: memoryview


def load_trusted_key(name: str, pem: bytes) -> TrustedKey:
    """A key from PEM bytes; ValueError when it is no RSA public key, or one that OP-TEE calls weak."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as e:
        raise ValueError(f"{name}: no public key in PEM form") from e
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError(f"{name}: TA images are signed with RSA keys, this is another kind")
    if key.key_size < MIN_KEY_BITS:
        raise ValueError(f"{name}: {key.key_size} bits, OP-TEE takes {MIN_KEY_BITS} and more")
    return TrustedKey(name, key)


class TrustStore:
    """The trusted keys, and the signatures of theirs that have been seen: a signature is good for ever or never."""

    MAX_SEEN = 256

    def __init__(self, keys: list[TrustedKey]) -> None:
        self._keys = keys
        self._seen: dict[tuple[int, bytes, bytes], TrustedKey] = {}

    def signer(self, header: shdr.Shdr) -> TrustedKey:
        """The key that signed the header's hash; TeeError(TEE_ERROR_SECURITY) when none did."""
        signature = header.algo, header.hash, header.sig
        key = self._seen.get(signature)
        if key is None:
            key = _verify_signature(header, self._keys)
            if len(self._seen) >= self.MAX_SEEN:
                self._seen.clear()
            self._seen[signature] = key
        return key


def verify_image(image: bytes, trust: TrustStore, uuid: bytes | None = None) -> SignedImage:
    """Check header, signature and hash, in upstream's order; TEE_ERROR_SECURITY says what failed.

    With ``uuid`` the image must be that TA's.
    """
    try:
        header = shdr.parse_shdr(image)
        key = trust.signer(header)
        if header.img_type in (shdr.SHDR_SUBKEY, shdr.SHDR_ENCRYPTED_TA):
            name = shdr.IMG_TYPE_NAMES[header.img_type]
            raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, f"images of type {name} are not supported yet")
        if header.img_type != shdr.SHDR_BOOTSTRAP_TA:
            raise shdr.ShdrError(f"image type {header.img_type} has no UUID to check")
        bootstrap = shdr.parse_bootstrap_ta(image, header.size)
    except shdr.ShdrError as e:
        raise TeeError(gp.TEE_ERROR_SECURITY, f"the signed header is wrong: {e}") from e
    if uuid is not None and bootstrap.uuid != uuid:
        raise _refused(f"the image is of TA {gp.uuid_str(bootstrap.uuid)}, not {gp.uuid_str(uuid)}")
    start = header.size + shdr.SHDR_BOOTSTRAP.size
    if len(image) != start + header.img_size:
        raise _refused(f"the image is {len(image)} bytes long, its header says {start + header.img_size}")
    digest = sha256(header.fixed)
    digest.update(memoryview(image)[header.size :])
    if not hmac.compare_digest(digest.digest(), header.hash):
        raise _refused("the hash of the image is not the signed one: it was changed after signing")
    return SignedImage(
        bootstrap.uuid,
        bootstrap.ta_version,
        header.img_type,
        header.algo,
        key.name,
        header.hash,
        memoryview(image)[start:],
    )


def _verify_signature(header: shdr.Shdr, keys: list[TrustedKey]) -> TrustedKey:
    """shdr_verify_signature: the key that signed the hash."""
    scheme = _PADDINGS.get(header.algo)
    if scheme is None:
        raise _refused(f"signature algorithm 0x{header.algo:08x} is none of RSA PKCS#1 v1.5 and PSS with SHA-256")
    if len(header.hash) != _DIGEST_SIZE:
        raise _refused(f"a hash of {len(header.hash)} bytes; SHA-256 has {_DIGEST_SIZE}")
    for trusted in keys:
        if trusted.key.key_size != 8 * len(header.sig):
            continue
        try:
            trusted.key.verify(header.sig, header.hash, scheme, _PREHASHED)
        except InvalidSignature:
            continue
        return trusted
    tried = ", ".join(f"{k.name} ({k.key.key_size} bit)" for k in keys) or "none configured"
    raise _refused(f"no trusted key made its {8 * len(header.sig)}-bit signature; tried {tried}")


def _refused(why: str) -> TeeError:
    return TeeError(gp.TEE_ERROR_SECURITY, why)
