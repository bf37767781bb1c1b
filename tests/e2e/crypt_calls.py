"""The calls of conformance.vectors, made in the test TA: one operation from its allocation to its end each."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from crypt_client import Attr, Panicked, Tee, TeeResult

from conformance.vectors.case import Attrs, Refused
from optemu.abi import cryp, gp

PANIC = gp.TEE_ERROR_TARGET_DEAD
_PARITY_BITS = {cryp.TEE_TYPE_DES, cryp.TEE_TYPE_DES3}


def _listed(attrs: Attrs) -> list[Attr]:
    return [(number, value) for number, value in attrs.items()]  # type: ignore[misc]


class TaCalls:
    """Implements Calls. ``connect`` gives a session's Tee, and a new one after each panic: Refused(PANIC)."""

    def __init__(self, connect: Callable[[], Tee]) -> None:
        self._connect = connect
        self._tee = connect()

    @contextmanager
    def _refusals(self) -> Iterator[Tee]:
        try:
            yield self._tee
        except TeeResult as e:
            raise Refused(e.code) from None
        except Panicked:
            self._tee = self._connect()
            raise Refused(PANIC) from None

    @contextmanager
    def _operation(self, algo: int, mode: int, size: int, *keys: tuple[int, int, Attrs]) -> Iterator[tuple[Tee, int]]:
        """An operation with its keys (type, size, attributes), freed at the end unless the TA is dead."""
        with self._refusals() as tee:
            made: list[int] = []
            op = tee.TEE_AllocateOperation(algo, mode, size)
            try:
                for kind, bits, attrs in keys:
                    made.append(tee.TEE_AllocateTransientObject(kind, bits))
                    tee.TEE_PopulateTransientObject(made[-1], _listed(attrs))
                if len(made) == 1:
                    tee.TEE_SetOperationKey(op, made[0])
                elif made:
                    tee.TEE_SetOperationKey2(op, *made)
                yield tee, op
            except TeeResult:
                _free(tee, op, made)
                raise
            _free(tee, op, made)

    def _secret(self, kind: int, key: bytes) -> tuple[int, int, Attrs]:
        bits = (7 if kind in _PARITY_BITS else 8) * len(key)
        return kind, bits, {cryp.TEE_ATTR_SECRET_VALUE: key}

    def digest(self, algo: int, data: bytes, size: int) -> bytes:
        with self._operation(algo, cryp.TEE_MODE_DIGEST, 0) as (tee, op):
            return tee.TEE_DigestDoFinal(op, data, size)

    def mac(self, algo: int, key_type: int, key: bytes, data: bytes) -> bytes:
        secret = self._secret(key_type, key)
        with self._operation(algo, cryp.TEE_MODE_MAC, secret[1], secret) as (tee, op):
            tee.TEE_MACInit(op)
            return tee.TEE_MACComputeFinal(op, data)

    def cipher(
        self, algo: int, mode: int, key_type: int, key: bytes, iv: bytes, data: bytes, key2: bytes = b""
    ) -> bytes:
        keys = [self._secret(key_type, k) for k in (key, key2) if k]
        with self._operation(algo, mode, sum(bits for _, bits, _ in keys), *keys) as (tee, op):
            tee.TEE_CipherInit(op, iv or None)
            return tee.TEE_CipherDoFinal(op, data)

    def seal(self, algo: int, key: bytes, nonce: bytes, aad: bytes, data: bytes, tag_len: int) -> tuple[bytes, bytes]:
        with self._authenticated(algo, cryp.TEE_MODE_ENCRYPT, key, nonce, aad, len(data), tag_len) as (tee, op):
            return tee.TEE_AEEncryptFinal(op, data)

    def unseal(self, algo: int, key: bytes, nonce: bytes, aad: bytes, data: bytes, tag: bytes) -> bytes:
        with self._authenticated(algo, cryp.TEE_MODE_DECRYPT, key, nonce, aad, len(data), len(tag)) as (tee, op):
            return tee.TEE_AEDecryptFinal(op, data, tag)

    @contextmanager
    def _authenticated(
        self, algo: int, mode: int, key: bytes, nonce: bytes, aad: bytes, size: int, tag_len: int
    ) -> Iterator[tuple[Tee, int]]:
        secret = self._secret(cryp.TEE_TYPE_AES, key)
        with self._operation(algo, mode, secret[1], secret) as (tee, op):
            tee.TEE_AEInit(op, nonce, 8 * tag_len, len(aad), size)
            if aad:
                tee.TEE_AEUpdateAAD(op, aad)
            yield tee, op

    def operate(
        self, algo: int, mode: int, key_type: int, size: int, attrs: Attrs, data: bytes, params: Attrs
    ) -> bytes:
        with self._operation(algo, mode, size, (key_type, size, attrs)) as (tee, op):
            call = {
                cryp.TEE_MODE_ENCRYPT: tee.TEE_AsymmetricEncrypt,
                cryp.TEE_MODE_DECRYPT: tee.TEE_AsymmetricDecrypt,
                cryp.TEE_MODE_SIGN: tee.TEE_AsymmetricSignDigest,
            }[mode]
            return call(op, data, _listed(params))

    def verify(
        self, algo: int, key_type: int, size: int, attrs: Attrs, digest: bytes, signature: bytes, params: Attrs
    ) -> None:
        with self._operation(algo, cryp.TEE_MODE_VERIFY, size, (key_type, size, attrs)) as (tee, op):
            tee.TEE_AsymmetricVerifyDigest(op, digest, signature, _listed(params))

    def derive(self, algo: int, key_type: int, size: int, attrs: Attrs, params: Attrs, out_size: int) -> bytes:
        with self._operation(algo, cryp.TEE_MODE_DERIVE, size, (key_type, size, attrs)) as (tee, op):
            secret = tee.TEE_AllocateTransientObject(cryp.TEE_TYPE_GENERIC_SECRET, max(8 * out_size, 8))
            tee.TEE_DeriveKey(op, _listed(params), secret)
            octets = tee.TEE_GetObjectBufferAttribute(secret, cryp.TEE_ATTR_SECRET_VALUE)
            tee.TEE_FreeTransientObject(secret)
            return octets


def _free(tee: Tee, op: int, keys: list[int]) -> None:
    tee.TEE_FreeOperation(op)
    for key in keys:
        tee.TEE_FreeTransientObject(key)
