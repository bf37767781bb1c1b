"""Says, signed, what runs here: images, a TA's memory, the core's. Mirrors core/pta/attestation.c.

The key is made when it is first needed, and kept in trusted storage as this TA's object ``key``: exponent, private
exponent and modulus, each behind its length in two octets.
"""

import hashlib
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from optemu.abi import cryp, gp
from optemu.abi.obj import TEE_STORAGE_PRIVATE
from optemu.board.measurement import core_code
from optemu.errors import TeeError
from optemu.secure_world.core.param import param_types
from optemu.secure_world.core.pseudo_ta import (
    PTA_DEFAULT_FLAGS,
    PseudoTa,
    PtaCall,
    PtaCommand,
    PtaMemref,
)
from optemu.secure_world.core.ta_store import open_bin
from optemu.secure_world.core.thread import Thread
from optemu.secure_world.core.vm import AddressSpace
from optemu.secure_world.cpu import Prot
from optemu.secure_world.crypto import rsa
from optemu.secure_world.crypto.provider import Attrs
from optemu.secure_world.crypto.rsa import RsaKey
from optemu.secure_world.pta.caller import calling_user_ta
from optemu.secure_world.storage.tee_fs import Pobj

if TYPE_CHECKING:
    from optemu.secure_world.core.tee import Tee

PTA_ATTESTATION_GET_PUBKEY = 0
PTA_ATTESTATION_GET_TA_SHDR_DIGEST = 1
PTA_ATTESTATION_HASH_TA_MEMORY = 2
PTA_ATTESTATION_HASH_TEE_MEMORY = 3
CFG_ATTESTATION_PTA_KEY_SIZE = 3072
"""Bits."""
_ALGORITHM = cryp.TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256
_HASH_SIZE = _SALT_SIZE = 32
_U16 = struct.Struct(">H")
_KEPT = (cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT, cryp.TEE_ATTR_RSA_PRIVATE_EXPONENT, cryp.TEE_ATTR_RSA_MODULUS)
_IN, _OUT = gp.TEE_PARAM_TYPE_MEMREF_INPUT, gp.TEE_PARAM_TYPE_MEMREF_OUTPUT


class AttestationPta(PseudoTa):
    """attestation.pta"""

    uuid = gp.uuid_octets("39800861-182a-4720-9b67-2bcd622bc0b5")
    name = "attestation.pta"
    flags = PTA_DEFAULT_FLAGS
    unknown_command = gp.TEE_ERROR_BAD_PARAMETERS

    def __init__(self, tee: "Tee") -> None:
        super().__init__(tee)
        self._attrs: Attrs | None = None
        self._key: RsaKey | None = None

    def attrs(self, thread: Thread) -> Attrs:
        """init_key: the key pair, out of storage or new."""
        if self._attrs is None:
            self._attrs = self._load(thread) or self._generate(thread)
            self._key = rsa.load(self._attrs)
        return self._attrs

    def octets(self, thread: Thread, attr: int) -> bytes:
        value = self.attrs(thread)[attr]
        assert not isinstance(value, int)
        return bytes(value)

    def sign(self, thread: Thread, nonce: bytes, digest: bytes) -> bytes:
        """``digest``, and behind it the signature of SHA-256(nonce, digest)."""
        self.attrs(thread)
        assert self._key is not None
        signed = hashlib.sha256(nonce + digest).digest()
        return digest + rsa.rsassa_sign(_ALGORITHM, self._key, _SALT_SIZE, signed, self.tee.board.entropy)

    # --- the key in storage -----------------------------------------------------------------------------------

    def _pobj(self) -> Pobj:
        fops = self.tee.storage.file_ops(TEE_STORAGE_PRIVATE)
        assert fops is not None
        return Pobj(fops, self.uuid, b"key")

    def _load(self, thread: Thread) -> Attrs | None:
        po = self._pobj()
        with self.tee.storage.ree(thread) as ree:
            try:
                size, fh = po.fops.open(ree, po)
            except TeeError as e:
                if e.code == gp.TEE_ERROR_ITEM_NOT_FOUND:
                    return None
                raise
            try:
                raw = po.fops.read(ree, fh, 0, size)
            except TeeError as e:
                if e.code == gp.TEE_ERROR_CORRUPT_OBJECT:
                    po.fops.remove(ree, po)  # as upstream: the next call makes a new one
                raise
            finally:
                po.fops.close(ree, fh)
        return _deserialize(raw)

    def _generate(self, thread: Thread) -> Attrs:
        exponent = {cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT: b"\1\0\1"}
        entropy = self.tee.board.entropy
        made = rsa.generate(CFG_ATTESTATION_PTA_KEY_SIZE, exponent, entropy)
        attrs = {attr: made[attr] for attr in _KEPT}
        po = self._pobj()
        with self.tee.storage.ree(thread) as ree:
            po.fops.close(ree, po.fops.create(ree, po, False, b"", b"", _serialize(attrs)))
        return attrs


def _serialize(attrs: Attrs) -> bytes:
    raw = b""
    for attr in _KEPT:
        value = attrs[attr]
        assert not isinstance(value, int)
        raw += _U16.pack(len(value)) + value
    return raw


def _deserialize(raw: bytes) -> Attrs:
    attrs = {}
    at = 0
    for attr in _KEPT:
        if at + _U16.size > len(raw):
            break
        (size,) = _U16.unpack_from(raw, at)
        at += _U16.size
        attrs[attr] = raw[at : at + size]
        at += size
    if at > len(raw) or len(attrs) != len(_KEPT):
        raise TeeError(
            gp.TEE_ERROR_GENERIC, "the attestation key in trusted storage is none: delete it to have a new one"
        )
    return attrs


# --- commands -----------------------------------------------------------------------------------------------------


def _get_pubkey(pta: AttestationPta, call: PtaCall) -> int:
    """[out] memref: exponent. [out] memref: modulus. [out] value: the algorithm of the signatures."""
    exponent: PtaMemref
    modulus: PtaMemref
    exponent, modulus, algorithm = call.params[:3]
    given = exponent.give(pta.octets(call.thread, cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT))
    given = modulus.give(pta.octets(call.thread, cryp.TEE_ATTR_RSA_MODULUS)) or given
    algorithm.a = _ALGORITHM
    return given


def _nonce(nonce: PtaMemref, out: PtaMemref) -> bytes:
    """What the caller wants to see signed; TEE_ERROR_BAD_PARAMETERS without it."""
    salt = nonce.read()
    if not salt or (out.buffer is None and out.size):
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS)
    return salt


def _signed(pta: AttestationPta, call: PtaCall, salt: bytes, out: PtaMemref, measure: Callable[[], bytes]) -> int:
    """What ``measure`` gives and its signature into ``out``, once it is clear that they fit."""
    room, out.size = out.size, _HASH_SIZE + len(pta.octets(call.thread, cryp.TEE_ATTR_RSA_MODULUS))
    if room < out.size:
        return gp.TEE_ERROR_SHORT_BUFFER
    return out.give(pta.sign(call.thread, salt, measure()))


def _get_ta_shdr_digest(pta: AttestationPta, call: PtaCall) -> int:
    """[in] memref: TEE_UUID. [in] memref: nonce. [out] memref: the digest in the image's signed header, signed."""
    uuid = call.params[0].read()
    if len(uuid) != 16:
        return gp.TEE_ERROR_BAD_PARAMETERS

    def digest() -> bytes:
        tag = open_bin(pta.tee, call.thread, gp.uuid_from_memory(uuid)).tag
        if len(tag) > _HASH_SIZE:
            raise TeeError(gp.TEE_ERROR_SHORT_BUFFER, f"the image is signed over a digest of {len(tag)} octets")
        return tag.ljust(_HASH_SIZE, b"\0")

    out = call.params[2]
    return _signed(pta, call, _nonce(call.params[1], out), out, digest)


def _hash_ta_memory(pta: AttestationPta, call: PtaCall) -> int:
    """[in] memref: nonce. [out] memref: the hash of what the calling TA cannot change of its memory, signed."""
    nonce, out = call.params[:2]
    salt = _nonce(nonce, out)
    space = calling_user_ta(call.thread, pta.name).space
    return _signed(pta, call, salt, out, lambda: _hash_regions(space))


def _hash_regions(space: AddressSpace) -> bytes:
    """hash_regions: by size and content, for their addresses are random."""
    fixed = [r for r in space.regions if r.private and not r.prot & Prot.W]
    contents = (bytes(r.region.view[r.offset : r.offset + r.size]) for r in fixed)
    digest = hashlib.sha256()
    for content in sorted(contents, key=lambda content: (len(content), content)):
        digest.update(content)
    return digest.digest()


def _hash_tee_memory(pta: AttestationPta, call: PtaCall) -> int:
    """[in] memref: nonce. [out] memref: the hash of the core's code, signed."""
    nonce, out = call.params[:2]
    return _signed(pta, call, _nonce(nonce, out), out, core_code)


AttestationPta.commands = (
    PtaCommand(
        PTA_ATTESTATION_GET_PUBKEY, "GET_PUBKEY", param_types(_OUT, _OUT, gp.TEE_PARAM_TYPE_VALUE_OUTPUT), _get_pubkey
    ),
    PtaCommand(
        PTA_ATTESTATION_GET_TA_SHDR_DIGEST, "GET_TA_SHDR_DIGEST", param_types(_IN, _IN, _OUT), _get_ta_shdr_digest
    ),
    PtaCommand(PTA_ATTESTATION_HASH_TA_MEMORY, "HASH_TA_MEMORY", param_types(_IN, _OUT), _hash_ta_memory),
    PtaCommand(PTA_ATTESTATION_HASH_TEE_MEMORY, "HASH_TEE_MEMORY", param_types(_IN, _OUT), _hash_tee_memory),
)
