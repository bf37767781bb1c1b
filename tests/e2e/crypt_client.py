"""The TEE_* functions of cryptography and storage, called in a TA (tas/crypt) that hands parameters over as they are.

Use::

    with context.OpenSession(UUID(CRYPT_UUID)) as session:
        tee = Tee(session)
        op = tee.TEE_AllocateOperation(TEE_ALG_SHA256, TEE_MODE_DIGEST, 0)
        tee.TEE_DigestDoFinal(op, b"abc")

Handles are numbers, sizes of keys bits. Where a function fills a buffer, ``room`` is how large it is, and what comes
back is what the function says it wrote. ``None`` for octets is NULL.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tas.constants import CRYPT

from optemu.abi import gp
from optemu.abi.cryp import TEE_ATTR_FLAG_VALUE
from optemu.normal_world.libteec import RegisteredMemref, Session, TeecError, TempMemref
from optemu.normal_world.libteec.constants import TEEC_ORIGIN_TRUSTED_APP

_WORDS = struct.Struct("<8Q")
_ROOM = 4096
Octets = bytes | bytearray | memoryview | None
Memref = TempMemref | RegisteredMemref
Attr = tuple[int, bytes] | tuple[int, int] | tuple[int, int, int]
"""Identifier and octets, or identifier, a and maybe b."""


class TeeResult(Exception):
    """The function returned something else than TEE_SUCCESS. ``sizes``: what it made of the sizes of its buffers."""

    def __init__(self, code: int, sizes: tuple[int, int]) -> None:
        super().__init__(f"{gp.result_name(code)}, sizes {sizes}")
        self.code, self.sizes = code, sizes


class Panicked(Exception):
    """The TA is dead: so is the session."""


class ObjectInfo(NamedTuple):
    type: int
    size: int
    max_size: int
    usage: int
    data_size: int
    data_position: int
    flags: int


class OperationInfo(NamedTuple):
    algorithm: int
    operation_class: int
    mode: int
    digest_length: int
    max_key_size: int
    key_size: int
    required_key_usage: int
    handle_state: int


def pack(attrs: Iterable[Attr]) -> bytes:
    packed = b""
    for number, *content in attrs:
        if number & TEE_ATTR_FLAG_VALUE:
            packed += struct.pack("<III", number, *content, *([0] if len(content) == 1 else []))
        else:
            (octets,) = content
            assert isinstance(octets, bytes)
            packed += struct.pack("<II", number, len(octets)) + octets
    return packed


class Tee:
    """Each method is the function of its name; TeeResult and Panicked as the function does."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.words: tuple[int, ...] = ()

    def _call(
        self,
        name: str,
        *words: int,
        src: Octets = None,
        dst: Octets = None,
        tag: Octets = None,
        attrs: Sequence[Attr] = (),
    ) -> tuple[Memref, Memref]:
        filled = [w & (2**64 - 1) for w in words] + [0] * (7 - len(words)) + [len(attrs)]
        request, data, out, second = self.share(_WORDS.pack(*filled) + pack(attrs), src, dst, tag)
        try:
            self.session.invoke(CRYPT[f"CRYPT_{name}"], request, data, out, second)
        except TeecError as e:
            if e.code == gp.TEE_ERROR_TARGET_DEAD:
                raise Panicked(name) from None
            assert e.origin == TEEC_ORIGIN_TRUSTED_APP
            raise TeeResult(e.code, (out.size, second.size)) from None
        self.words = _WORDS.unpack_from(request.data)
        return out, second

    def share(self, request: bytes, src: Octets, dst: Octets, tag: Octets) -> tuple[Memref, ...]:
        """The memory references of a call: all but the second are written to."""
        out, second = (TempMemref.inout(None if b is None else bytearray(b)) for b in (dst, tag))
        return TempMemref.inout(bytearray(request)), TempMemref.input(src), out, second

    def _out(self, name: str, *words: int, src: Octets = None, room: int, attrs: Sequence[Attr] = ()) -> bytes:
        return self._call(name, *words, src=src, dst=bytes(room), attrs=attrs)[0].data

    # --- objects ---

    def TEE_GetObjectInfo1(self, obj: int) -> ObjectInfo:
        self._call("TEE_GetObjectInfo1", obj)
        return ObjectInfo(*self.words[:7])

    def TEE_RestrictObjectUsage1(self, obj: int, usage: int) -> None:
        self._call("TEE_RestrictObjectUsage1", obj, usage)

    def TEE_GetObjectBufferAttribute(self, obj: int, attr: int, room: int = _ROOM) -> bytes:
        return self._out("TEE_GetObjectBufferAttribute", obj, attr, room=room)

    def TEE_GetObjectValueAttribute(self, obj: int, attr: int) -> tuple[int, int]:
        self._call("TEE_GetObjectValueAttribute", obj, attr)
        return self.words[0], self.words[1]

    def TEE_CloseObject(self, obj: int) -> None:
        self._call("TEE_CloseObject", obj)

    def TEE_AllocateTransientObject(self, kind: int, size: int) -> int:
        self._call("TEE_AllocateTransientObject", kind, size)
        return self.words[0]

    def TEE_FreeTransientObject(self, obj: int) -> None:
        self._call("TEE_FreeTransientObject", obj)

    def TEE_ResetTransientObject(self, obj: int) -> None:
        self._call("TEE_ResetTransientObject", obj)

    def TEE_PopulateTransientObject(self, obj: int, attrs: Sequence[Attr]) -> None:
        self._call("TEE_PopulateTransientObject", obj, attrs=attrs)

    def TEE_CopyObjectAttributes1(self, dst: int, src: int) -> None:
        self._call("TEE_CopyObjectAttributes1", dst, src)

    def TEE_GenerateKey(self, obj: int, size: int, attrs: Sequence[Attr] = ()) -> None:
        self._call("TEE_GenerateKey", obj, size, attrs=attrs)

    # --- operations ---

    def TEE_AllocateOperation(self, algo: int, mode: int, size: int) -> int:
        self._call("TEE_AllocateOperation", algo, mode, size)
        return self.words[0]

    def TEE_FreeOperation(self, op: int) -> None:
        self._call("TEE_FreeOperation", op)

    def TEE_GetOperationInfo(self, op: int) -> OperationInfo:
        self._call("TEE_GetOperationInfo", op)
        return OperationInfo(*self.words)

    def TEE_GetOperationInfoMultiple(self, op: int, room: int = _ROOM) -> tuple[int, ...]:
        """All members, key after key."""
        raw = self._out("TEE_GetOperationInfoMultiple", op, room=room)
        head = struct.unpack_from("<8I", raw)
        return head + struct.unpack_from(f"<{2 * head[7]}I", raw, 32)

    def TEE_ResetOperation(self, op: int) -> None:
        self._call("TEE_ResetOperation", op)

    def TEE_SetOperationKey(self, op: int, key: int) -> None:
        self._call("TEE_SetOperationKey", op, key)

    def TEE_SetOperationKey2(self, op: int, key1: int, key2: int) -> None:
        self._call("TEE_SetOperationKey2", op, key1, key2)

    def TEE_CopyOperation(self, dst: int, src: int) -> None:
        self._call("TEE_CopyOperation", dst, src)

    def TEE_IsAlgorithmSupported(self, algo: int, element: int = 0) -> None:
        self._call("TEE_IsAlgorithmSupported", algo, element)

    def TEE_DigestUpdate(self, op: int, data: Octets) -> None:
        self._call("TEE_DigestUpdate", op, src=data)

    def TEE_DigestDoFinal(self, op: int, data: Octets = None, room: int = _ROOM) -> bytes:
        return self._out("TEE_DigestDoFinal", op, src=data, room=room)

    def TEE_DigestExtract(self, op: int, room: int) -> bytes:
        return self._out("TEE_DigestExtract", op, room=room)

    def TEE_CipherInit(self, op: int, iv: Octets = None) -> None:
        self._call("TEE_CipherInit", op, src=iv)

    def TEE_CipherUpdate(self, op: int, data: Octets, room: int | None = None) -> bytes:
        return self._out("TEE_CipherUpdate", op, src=data, room=len(data or b"") + 32 if room is None else room)

    def in_place(self, op: int, data: bytes) -> bytes:
        """TEE_CipherUpdate with one buffer for input and output."""
        return self._call("TEE_CipherUpdate", op, 1, len(data), dst=data + bytes(32))[0].data

    def TEE_CipherDoFinal(self, op: int, data: Octets = None, room: int | None = None) -> bytes:
        return self._out("TEE_CipherDoFinal", op, src=data, room=len(data or b"") + 32 if room is None else room)

    def TEE_MACInit(self, op: int, iv: Octets = None) -> None:
        self._call("TEE_MACInit", op, src=iv)

    def TEE_MACUpdate(self, op: int, data: Octets) -> None:
        self._call("TEE_MACUpdate", op, src=data)

    def TEE_MACComputeFinal(self, op: int, data: Octets = None, room: int = 64) -> bytes:
        return self._out("TEE_MACComputeFinal", op, src=data, room=room)

    def TEE_MACCompareFinal(self, op: int, data: Octets, mac: Octets) -> None:
        self._call("TEE_MACCompareFinal", op, src=data, dst=mac)

    def TEE_AEInit(self, op: int, nonce: Octets, tag_bits: int, aad_size: int = 0, payload_size: int = 0) -> None:
        self._call("TEE_AEInit", op, tag_bits, aad_size, payload_size, src=nonce)

    def TEE_AEUpdateAAD(self, op: int, aad: Octets) -> None:
        self._call("TEE_AEUpdateAAD", op, src=aad)

    def TEE_AEUpdate(self, op: int, data: Octets, room: int | None = None) -> bytes:
        return self._out("TEE_AEUpdate", op, src=data, room=len(data or b"") + 16 if room is None else room)

    def TEE_AEEncryptFinal(
        self, op: int, data: Octets = None, room: int | None = None, tag_room: int = 16
    ) -> tuple[bytes, bytes]:
        dst = bytes(len(data or b"") + 16 if room is None else room)
        out, tag = self._call("TEE_AEEncryptFinal", op, src=data, dst=dst, tag=bytes(tag_room))
        return out.data, tag.data

    def TEE_AEDecryptFinal(self, op: int, data: Octets, tag: Octets, room: int | None = None) -> bytes:
        dst = bytes(len(data or b"") + 16 if room is None else room)
        return self._call("TEE_AEDecryptFinal", op, src=data, dst=dst, tag=tag)[0].data

    def TEE_AsymmetricEncrypt(self, op: int, data: Octets, attrs: Sequence[Attr] = (), room: int = _ROOM) -> bytes:
        return self._out("TEE_AsymmetricEncrypt", op, src=data, attrs=attrs, room=room)

    def TEE_AsymmetricDecrypt(self, op: int, data: Octets, attrs: Sequence[Attr] = (), room: int = _ROOM) -> bytes:
        return self._out("TEE_AsymmetricDecrypt", op, src=data, attrs=attrs, room=room)

    def TEE_AsymmetricSignDigest(self, op: int, digest: Octets, attrs: Sequence[Attr] = (), room: int = _ROOM) -> bytes:
        return self._out("TEE_AsymmetricSignDigest", op, src=digest, attrs=attrs, room=room)

    def TEE_AsymmetricVerifyDigest(
        self, op: int, digest: Octets, signature: Octets, attrs: Sequence[Attr] = ()
    ) -> None:
        self._call("TEE_AsymmetricVerifyDigest", op, src=digest, dst=signature, attrs=attrs)

    def TEE_DeriveKey(self, op: int, attrs: Sequence[Attr], obj: int) -> None:
        self._call("TEE_DeriveKey", op, obj, attrs=attrs)

    def TEE_GenerateRandom(self, size: int) -> bytes:
        return self._out("TEE_GenerateRandom", room=size)

    # --- storage ---

    def TEE_OpenPersistentObject(self, storage: int, name: Octets, flags: int) -> int:
        self._call("TEE_OpenPersistentObject", storage, flags, src=name)
        return self.words[0]

    def TEE_CreatePersistentObject(
        self, storage: int, name: Octets, flags: int, attributes: int = 0, data: Octets = b"", handle: bool = True
    ) -> int:
        """The object's handle; with ``handle`` false the function gets NULL for it, and the answer is 0."""
        self._call("TEE_CreatePersistentObject", storage, flags, attributes, not handle, src=name, dst=data)
        return self.words[0]

    def TEE_CloseAndDeletePersistentObject1(self, obj: int) -> None:
        self._call("TEE_CloseAndDeletePersistentObject1", obj)

    def TEE_RenamePersistentObject(self, obj: int, name: Octets) -> None:
        self._call("TEE_RenamePersistentObject", obj, src=name)

    def TEE_AllocatePersistentObjectEnumerator(self) -> int:
        self._call("TEE_AllocatePersistentObjectEnumerator")
        return self.words[0]

    def TEE_FreePersistentObjectEnumerator(self, enumerator: int) -> None:
        self._call("TEE_FreePersistentObjectEnumerator", enumerator)

    def TEE_ResetPersistentObjectEnumerator(self, enumerator: int) -> None:
        self._call("TEE_ResetPersistentObjectEnumerator", enumerator)

    def TEE_StartPersistentObjectEnumerator(self, enumerator: int, storage: int) -> None:
        self._call("TEE_StartPersistentObjectEnumerator", enumerator, storage)

    def TEE_GetNextPersistentObject(self, enumerator: int) -> tuple[ObjectInfo, bytes]:
        name = self._out("TEE_GetNextPersistentObject", enumerator, room=64)
        return ObjectInfo(*self.words[:7]), name

    def TEE_ReadObjectData(self, obj: int, size: int) -> bytes:
        return self._out("TEE_ReadObjectData", obj, room=size)

    def TEE_WriteObjectData(self, obj: int, data: Octets) -> None:
        self._call("TEE_WriteObjectData", obj, src=data)

    def TEE_TruncateObjectData(self, obj: int, size: int) -> None:
        self._call("TEE_TruncateObjectData", obj, size)

    def TEE_SeekObjectData(self, obj: int, offset: int, whence: int) -> None:
        self._call("TEE_SeekObjectData", obj, offset, whence)
