"""Is a TA image signed by somebody we trust? Mirrors core/crypto/signed_hdr.c and core/kernel/ree_fs_ta.c.

Everything is decided on one copy of the image, in secure memory. Trust goes from one of the root keys over any number
of subkeys, each of which signs the next and narrows what may follow, to the TA.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import new as new_hash

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from optemu.abi import gp, shdr
from optemu.errors import TeeError
from optemu.secure_world.crypto.ta_enc import TaEncKey, decrypt_ta

MIN_KEY_BITS = 2048
_NO_LIMIT = 0xFFFFFFFF
_RSA_MAIN_ALGO = 0x30


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key that images may be signed with, and how people know it. A subkey's ``hash`` tells it from others."""

    name: str
    key: rsa.RSAPublicKey
    hash: bytes = b""

    @property
    def sig_size(self) -> int:
        """Bytes of a signature made with it, which are those of its modulus."""
        return (self.key.key_size + 7) // 8

    @property
    def modulus(self) -> bytes:
        """As upstream has it in ta_pub_key_modulus."""
        return self.key.public_numbers().n.to_bytes(self.sig_size, "big")


@dataclass(frozen=True, slots=True)
class SignedSubkey:
    """A believed subkey: what it may sign, and the version that anti-rollback compares (subkey_ver.db)."""

    uuid: bytes
    version: int
    max_depth: int
    name: bytes
    next_uuid: bytes
    key: TrustedKey


@dataclass(frozen=True, slots=True)
class SignedImage:
    """A believed image: whose it is, which key vouches for it over which subkeys, and the ELF file in it.

    ``hash`` is over headers and ELF file in clear, and tells images apart. A legacy image (SHDR_TA) names no TA: its
    ``uuid`` and ``ta_version`` are None. Upstream compares the versions of ``subkeys`` with subkey_ver.db, in their
    order, and then ``ta_version`` with ta_ver.db.
    """

    uuid: bytes | None
    ta_version: int | None
    img_type: int
    algo: int
    key: str
    subkeys: tuple[SignedSubkey, ...]
    hash: bytes
    payload: memoryview | bytes


@dataclass(frozen=True, slots=True)
class _Scheme:
    """A signature algorithm: its digest, for hashlib and for the signature, and its padding."""

    digest: str
    digest_size: int
    prehashed: Prehashed
    padding: padding.AsymmetricPadding


def _schemes() -> dict[int, _Scheme]:
    """All of RSA that is not weak (is_weak_hash_algo); the salt of PSS is as long as the digest."""
    found = {}
    for algo, name in shdr.SIG_ALGO_NAMES.items():
        digest = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[name[-3:]]
        pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
        scheme = pss if "PSS" in name else padding.PKCS1v15()
        found[algo] = _Scheme(digest.name, digest.digest_size, Prehashed(digest), scheme)
    return found


_SCHEMES = _schemes()


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
    """The root keys, the keys that decrypt, and the signatures that have been seen: one is good for ever or never."""

    MAX_SEEN = 256

    def __init__(self, keys: Sequence[TrustedKey], enc_key: TaEncKey) -> None:
        self._keys = keys
        self.enc_key = enc_key
        self._seen: dict[tuple[bytes, int, bytes, bytes], TrustedKey] = {}

    def signer(self, header: shdr.Shdr, subkey: TrustedKey | None = None) -> TrustedKey:
        """The root key that signed the header's hash, or ``subkey``; TEE_ERROR_SECURITY when none did."""
        signature = subkey.hash if subkey else b"", header.algo, header.hash, header.sig
        key = self._seen.get(signature)
        if key is None:
            key = _verify_signature(header, [subkey] if subkey else self._keys)
            if key is None:
                raise _refused(self._no_signer(header, subkey))
            if len(self._seen) >= self.MAX_SEEN:
                self._seen.clear()
            self._seen[signature] = key
        return key

    def _no_signer(self, header: shdr.Shdr, subkey: TrustedKey | None) -> str:
        made = (
            f"made the {8 * len(header.sig)}-bit signature of the {shdr.IMG_TYPE_NAMES.get(header.img_type, 'image')}"
        )
        if subkey:
            return f"{subkey.name} ({subkey.key.key_size} bit) has not {made}: sign it with the key of that subkey"
        tried = ", ".join(f"{k.name} ({k.key.key_size} bit)" for k in self._keys) or "none configured"
        return (
            f"no trusted key {made}; tried {tried}: sign it with one of these, or name its public key in [tee] ta_keys"
        )


def verify_image(image: bytes, trust: TrustStore, uuid: bytes | None = None) -> SignedImage:
    """Check all headers, signatures and hashes; TEE_ERROR_SECURITY says what failed (ree_fs_ta_open, _read).

    With ``uuid`` the image must be that TA's.
    """
    try:
        subkeys, root, ta = _verify_chain(image, trust)
    except shdr.ShdrError as e:
        raise _refused(f"the signed header is wrong: {e}") from e
    if ta is None:
        raise _refused("the image ends after its subkeys: there is no TA in it")
    return _verify_ta(ta, subkeys, root, trust, uuid)


def verify_subkeys(image: bytes, trust: TrustStore) -> tuple[SignedSubkey, ...]:
    """The subkeys of a file that holds nothing else, from the root's down; TEE_ERROR_SECURITY."""
    try:
        subkeys, _, ta = _verify_chain(image, trust)
    except shdr.ShdrError as e:
        raise _refused(f"the signed header is wrong: {e}") from e
    if ta is not None:
        raise _refused("the file holds a TA, not subkeys alone")
    return subkeys


_Chain = tuple[tuple[SignedSubkey, ...], TrustedKey, shdr.TaPart | None]


def _verify_chain(image: bytes, trust: TrustStore) -> _Chain:
    """The believed subkeys, the root key, and the TA: its header's signature is good, the rest not yet looked at."""
    subkeys: tuple[SignedSubkey, ...] = ()
    above: SignedSubkey | None = None
    root: TrustedKey | None = None
    for part in shdr.parse_image(image):
        signer = trust.signer(part.header, above.key if above else None)
        root = root or signer
        if isinstance(part, shdr.TaPart):
            return subkeys, root, part
        above = _verify_subkey(part, above)
        subkeys += (above,)
    assert root is not None, "an image without any part is no image"
    return subkeys, root, None


def _verify_subkey(part: shdr.SubkeyPart, above: SignedSubkey | None) -> SignedSubkey:
    """shdr_load_pub_key: a subkey whose header's signature is good."""
    subkey = part.subkey
    name = f"subkey {gp.uuid_str(subkey.uuid)}"
    _check_hash(part.header, (subkey.body,), name)
    limit = above.max_depth if above else _NO_LIMIT
    if subkey.max_depth >= limit:
        raise _refused(
            f"{name} allows {subkey.max_depth} levels below itself, and what is above it allows it only fewer than "
            f"{limit}: sign it with a smaller --max-depth"
        )
    _check_name_space(name, subkey.uuid, above)
    return SignedSubkey(
        subkey.uuid,
        subkey.subkey_version,
        subkey.max_depth,
        part.name,
        subkey.next_uuid(part.name),
        TrustedKey(name, _load_rsa_key(subkey, name), part.header.hash),
    )


def _check_name_space(what: str, uuid: bytes, above: SignedSubkey | None) -> None:
    """The UUID must be the one that the subkey above gives to the name behind it."""
    if above is not None and uuid != above.next_uuid:
        raise _refused(
            f"{what} is not in the name space of {above.key.name}, which gives the name {shdr.name_str(above.name)!r} "
            f"{gp.uuid_str(above.next_uuid)}: see optemu sign subkey-uuid"
        )


def _load_rsa_key(subkey: shdr.Subkey, name: str) -> rsa.RSAPublicKey:
    """load_rsa_key; as upstream, weak ones too: who has the key above vouches for it."""
    if subkey.algo & 0xFF != _RSA_MAIN_ALGO:
        raise _refused(f"{name}: algorithm 0x{subkey.algo:08x} is not RSA")
    attrs = subkey.attrs()
    try:
        n, e = attrs[shdr.TEE_ATTR_RSA_MODULUS], attrs[shdr.TEE_ATTR_RSA_PUBLIC_EXPONENT]
        return rsa.RSAPublicNumbers(int.from_bytes(e, "big"), int.from_bytes(n, "big")).public_key()
    except (KeyError, ValueError) as wrong:
        raise _refused(f"{name} holds no RSA public key ({wrong})") from None


def _verify_ta(
    ta: shdr.TaPart, subkeys: tuple[SignedSubkey, ...], root: TrustedKey, trust: TrustStore, uuid: bytes | None
) -> SignedImage:
    header, bootstrap = ta.header, ta.bootstrap
    if bootstrap is None and header.img_type != shdr.SHDR_TA:
        raise _refused(f"image type {header.img_type} is none of {', '.join(shdr.IMG_TYPE_NAMES.values())}")
    its_uuid = bootstrap.uuid if bootstrap else uuid
    if subkeys and its_uuid is not None:
        _check_name_space(f"TA {gp.uuid_str(its_uuid)}", its_uuid, subkeys[-1])
    if uuid is not None and its_uuid != uuid:
        raise _refused(f"the image is of TA {gp.uuid_str(its_uuid or b'')}, not {gp.uuid_str(uuid)}")
    if len(ta.payload) != header.img_size:
        raise _refused(f"{len(ta.payload)} bytes follow the headers of the TA, which say {header.img_size}")
    payload: memoryview | bytes = ta.payload
    if ta.encrypted is not None:
        payload = decrypt_ta(ta.encrypted, ta.payload, trust.enc_key, root.modulus)
    _check_hash(header, (ta.subheader, payload), "TA")
    return SignedImage(
        bootstrap.uuid if bootstrap else None,
        bootstrap.ta_version if bootstrap else None,
        header.img_type,
        header.algo,
        root.name,
        subkeys,
        header.hash,
        payload,
    )


def _check_hash(header: shdr.Shdr, parts: Sequence[bytes | memoryview], what: str) -> None:
    digest = new_hash(_SCHEMES[header.algo].digest, header.fixed)
    for part in parts:
        digest.update(part)
    if not hmac.compare_digest(digest.digest(), header.hash):
        raise _refused(f"the hash of the {what} is not the signed one: it was changed after signing")


def _verify_signature(header: shdr.Shdr, keys: Sequence[TrustedKey]) -> TrustedKey | None:
    """shdr_verify_signature and shdr_verify_signature2: the key that signed the hash."""
    scheme = _SCHEMES.get(header.algo)
    if scheme is None:
        raise _refused(f"signature algorithm 0x{header.algo:08x} is none of RSA PKCS#1 v1.5 and PSS with SHA-2")
    if len(header.hash) != scheme.digest_size:
        raise _refused(f"a hash of {len(header.hash)} bytes; {scheme.digest} has {scheme.digest_size}")
    for trusted in keys:
        if trusted.sig_size != len(header.sig):
            continue
        try:
            trusted.key.verify(header.sig, header.hash, scheme.padding, scheme.prehashed)
        except (InvalidSignature, ValueError):
            continue
        return trusted
    return None


def _refused(why: str) -> TeeError:
    return TeeError(gp.TEE_ERROR_SECURITY, why)
