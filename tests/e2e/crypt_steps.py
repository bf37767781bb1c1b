"""What most tests of cryptography do with a Tee: objects that have a value, operations that have their keys."""

from crypt_client import Attr, Tee

from optemu.abi import cryp


def object_of(tee: Tee, kind: int, size: int, *attrs: Attr) -> int:
    key = tee.TEE_AllocateTransientObject(kind, size)
    tee.TEE_PopulateTransientObject(key, attrs)
    return key


def secret(tee: Tee, kind: int, octets: bytes) -> int:
    size = {cryp.TEE_TYPE_DES: 7, cryp.TEE_TYPE_DES3: 7}.get(kind, 8) * len(octets)
    return object_of(tee, kind, size, (cryp.TEE_ATTR_SECRET_VALUE, octets))


def operation(tee: Tee, algo: int, mode: int, *keys: int) -> int:
    sizes = [tee.TEE_GetObjectInfo1(key).max_size for key in keys]
    op = tee.TEE_AllocateOperation(algo, mode, sum(sizes))
    if len(keys) == 1:
        tee.TEE_SetOperationKey(op, keys[0])
    elif keys:
        tee.TEE_SetOperationKey2(op, *keys)
    for key in keys:
        tee.TEE_FreeTransientObject(key)
    return op


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted(min(c, len(data)) for c in cuts)
    return [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]


def mac(tee: Tee, algo: int, kind: int, key: bytes) -> int:
    op = operation(tee, algo, cryp.TEE_MODE_MAC, secret(tee, kind, key))
    tee.TEE_MACInit(op)
    return op


def pair(tee: Tee, kind: int, size: int, *attrs: Attr) -> int:
    key = tee.TEE_AllocateTransientObject(kind, size)
    tee.TEE_GenerateKey(key, size, attrs)
    return key


def with_pair(tee: Tee, algo: int, mode: int, key: int, size: int) -> int:
    op = tee.TEE_AllocateOperation(algo, mode, size)
    tee.TEE_SetOperationKey(op, key)
    return op


def derived(tee: Tee, algo: int, key: int, size: int, attrs: list[Attr], room: int) -> bytes:
    op = with_pair(tee, algo, cryp.TEE_MODE_DERIVE, key, size)
    out = tee.TEE_AllocateTransientObject(cryp.TEE_TYPE_GENERIC_SECRET, room)
    tee.TEE_DeriveKey(op, attrs, out)
    return tee.TEE_GetObjectBufferAttribute(out, cryp.TEE_ATTR_SECRET_VALUE)
