"""The calls, made by the test TA (tests/e2e/tas/crypt): client API, driver, SMC, core, TA, its library, system call."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

from conformance.vectors.case import Attrs, Refused
from optemu.abi import cryp, gp
from optemu.machine import Machine
from optemu.normal_world.libteec import RegisteredMemref, Session, SharedMemory, TempMemref
from optemu.sdk import build as sdk
from optemu.sdk.toolchain import AARCH64, ARM

_TESTS = Path(__file__).parents[2] / "tests" / "e2e"
sys.path.insert(0, str(_TESTS))

from crypt_client import Attr, Memref, Octets, Panicked, Tee, TeeResult  # noqa: E402
from tas.constants import CRYPT_ARM_UUID, CRYPT_UUID  # noqa: E402

ARCHITECTURES = {"a64": (AARCH64, CRYPT_UUID), "a32": (ARM, CRYPT_ARM_UUID)}
_MANY = 16
_ROOM = 1 << 16
_Key = tuple[int, int, Attrs]
"""TEE_TYPE_*, bits, attributes."""


@contextmanager
def trusted_application(arch: str) -> Iterator["TrustedApplication"]:
    """The test TA, compiled and started on a machine of its own."""
    target, uuid = ARCHITECTURES[arch]
    with TemporaryDirectory(prefix="optemu-vectors-") as scratch:
        sdk.build(_TESTS / "tas" / "crypt", sdk.Options(out=Path(scratch), host=False, target=target))
        (built,) = Path(scratch).glob("*.ta")
        built.rename(built.with_name(f"{uuid}.ta"))
        with Machine(ta_dirs=[scratch]) as machine, machine.connect() as context:
            pages = context.AllocateSharedMemory(4 * _ROOM)
            yield TrustedApplication(lambda: _Tee(context.OpenSession(UUID(uuid)), pages))


class _Tee(Tee):
    """The buffers of all calls lie in the same shared memory, which is several times as fast."""

    def __init__(self, session: Session, pages: SharedMemory) -> None:
        super().__init__(session)
        self._pages = pages

    def share(self, request: bytes, src: Octets, dst: Octets, tag: Octets) -> tuple[Memref, ...]:
        if max(len(octets or b"") for octets in (request, src, dst, tag)) > _ROOM:
            return super().share(request, src, dst, tag)
        return tuple(self._place(n, octets) for n, octets in enumerate((request, src, dst, tag)))

    def _place(self, n: int, octets: Octets) -> Memref:
        if octets is None:
            return (TempMemref.input if n == 1 else TempMemref.inout)(None)
        at, size = n * _ROOM, len(octets)
        assert self._pages.buffer is not None
        self._pages.buffer[at : at + size] = octets
        return (RegisteredMemref.input if n == 1 else RegisteredMemref.inout)(self._pages, at, size)


class TrustedApplication:
    """``Calls``. Operations and key objects are used again, with other keys, until something is refused.

    Refused with what a function returned, or with TEE_ERROR_TARGET_DEAD when the TA panicked.
    """

    def __init__(self, connect: Callable[[], Tee]) -> None:
        self._connect = connect
        self._begin()

    def _begin(self) -> None:
        self._tee = self._connect()
        self._operations: dict[tuple[int, int, int], tuple[int, Sequence[_Key]]] = {}
        self._objects: dict[tuple[int, int, int], int] = {}

    def _free(self) -> None:
        for op, _ in self._operations.values():
            self._tee.TEE_FreeOperation(op)
        for obj in self._objects.values():
            self._tee.TEE_FreeTransientObject(obj)
        self._operations.clear()
        self._objects.clear()

    @contextmanager
    def _calls(self) -> Iterator[Tee]:
        try:
            yield self._tee
        except Panicked:
            self._tee.session.CloseSession()
            self._begin()
            raise Refused(gp.TEE_ERROR_TARGET_DEAD) from None
        except TeeResult as result:
            self._free()
            raise Refused(result.code) from None

    def _operation(self, algo: int, mode: int, *keys: _Key) -> int:
        """The operation, with the keys set."""
        name = algo, mode, sum(size for _, size, _ in keys)
        op, has = self._operations.get(name, (0, ()))
        if not op:
            if len(self._operations) + len(self._objects) >= _MANY:
                self._free()
            op = self._tee.TEE_AllocateOperation(*name)
            self._operations[name] = op, ()
        if keys and has != keys:
            objects = [self._object(n, *key) for n, key in enumerate(keys)]
            set_key = self._tee.TEE_SetOperationKey if len(keys) == 1 else self._tee.TEE_SetOperationKey2
            set_key(op, *objects)
            self._operations[name] = op, keys
        return op

    def _object(self, place: int, key_type: int, size: int, attrs: Attrs) -> int:
        name = place, key_type, size
        if name in self._objects:
            self._tee.TEE_ResetTransientObject(self._objects[name])
        else:
            self._objects[name] = self._tee.TEE_AllocateTransientObject(key_type, size)
        self._tee.TEE_PopulateTransientObject(self._objects[name], _list(attrs))
        return self._objects[name]

    def digest(self, algo: int, data: bytes, size: int) -> bytes:
        with self._calls() as tee:
            return tee.TEE_DigestDoFinal(self._operation(algo, cryp.TEE_MODE_DIGEST), data, size)

    def mac(self, algo: int, key_type: int, key: bytes, data: bytes) -> bytes:
        with self._calls() as tee:
            op = self._operation(algo, cryp.TEE_MODE_MAC, _secret(key_type, key))
            tee.TEE_MACInit(op)
            return tee.TEE_MACComputeFinal(op, data)

    def cipher(
        self, algo: int, mode: int, key_type: int, key: bytes, iv: bytes, data: bytes, key2: bytes = b""
    ) -> bytes:
        with self._calls() as tee:
            op = self._operation(algo, mode, *(_secret(key_type, k) for k in (key, key2) if k))
            tee.TEE_CipherInit(op, iv or None)
            return tee.TEE_CipherDoFinal(op, data)

    def seal(self, algo: int, key: bytes, nonce: bytes, aad: bytes, data: bytes, tag_len: int) -> tuple[bytes, bytes]:
        with self._calls() as tee:
            op = self._sealed(cryp.TEE_MODE_ENCRYPT, algo, key, nonce, aad, data, tag_len)
            return tee.TEE_AEEncryptFinal(op, data, tag_room=tag_len)

    def unseal(self, algo: int, key: bytes, nonce: bytes, aad: bytes, data: bytes, tag: bytes) -> bytes:
        with self._calls() as tee:
            op = self._sealed(cryp.TEE_MODE_DECRYPT, algo, key, nonce, aad, data, len(tag))
            return tee.TEE_AEDecryptFinal(op, data, tag)

    def _sealed(self, mode: int, algo: int, key: bytes, nonce: bytes, aad: bytes, data: bytes, tag_len: int) -> int:
        op = self._operation(algo, mode, _secret(cryp.TEE_TYPE_AES, key))
        self._tee.TEE_AEInit(op, nonce, 8 * tag_len, len(aad), len(data))
        if aad:
            self._tee.TEE_AEUpdateAAD(op, aad)
        return op

    def operate(
        self, algo: int, mode: int, key_type: int, size: int, attrs: Attrs, data: bytes, params: Attrs
    ) -> bytes:
        with self._calls() as tee:
            call = {
                cryp.TEE_MODE_ENCRYPT: tee.TEE_AsymmetricEncrypt,
                cryp.TEE_MODE_DECRYPT: tee.TEE_AsymmetricDecrypt,
                cryp.TEE_MODE_SIGN: tee.TEE_AsymmetricSignDigest,
            }[mode]
            return call(self._operation(algo, mode, (key_type, size, attrs)), data, _list(params))

    def verify(
        self, algo: int, key_type: int, size: int, attrs: Attrs, digest: bytes, signature: bytes, params: Attrs
    ) -> None:
        with self._calls() as tee:
            op = self._operation(algo, cryp.TEE_MODE_VERIFY, (key_type, size, attrs))
            tee.TEE_AsymmetricVerifyDigest(op, digest, signature, _list(params))

    def derive(
        self,
        algo: int,
        key_type: int,
        size: int,
        attrs: Attrs,
        params: Attrs,
        out_size: int,
        attrs2: Attrs | None = None,
    ) -> bytes:
        with self._calls() as tee:
            op = self._operation(algo, cryp.TEE_MODE_DERIVE, *((key_type, size, a) for a in (attrs, attrs2) if a))
            secret = tee.TEE_AllocateTransientObject(cryp.TEE_TYPE_GENERIC_SECRET, 8 * out_size)
            tee.TEE_DeriveKey(op, _list(params), secret)
            found = tee.TEE_GetObjectBufferAttribute(secret, cryp.TEE_ATTR_SECRET_VALUE)
            tee.TEE_FreeTransientObject(secret)
            return found


def _secret(key_type: int, key: bytes) -> _Key:
    return key_type, 8 * len(key), {cryp.TEE_ATTR_SECRET_VALUE: key}


def _list(attrs: Attrs) -> Sequence[Attr]:
    return [(number, value) for number, value in attrs.items()]
