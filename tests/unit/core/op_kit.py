"""A TA without code that makes system calls of operations: sample keys of every type, and a word for each call."""

import struct
from functools import lru_cache

from obj_kit import OK, OUT, ObjRoom

from optemu.abi import cryp
from optemu.abi import syscalls as scn
from optemu.abi.obj import TEE_HANDLE_FLAG_INITIALIZED
from optemu.board.entropy import Entropy
from optemu.board.memory import PAGE_SIZE
from optemu.secure_world.core.tee_obj import TeeObj
from optemu.secure_world.crypto import acipher
from optemu.secure_world.crypto.algorithms import ALGORITHMS, Algorithm
from optemu.secure_world.syscalls.cryp_types import OBJECT_TYPES, find_type_props

IN, AUX, SIZE = OUT + PAGE_SIZE, OUT + 2 * PAGE_SIZE, OUT + 3 * PAGE_SIZE
"""Where input lies (ObjRoom's attributes too), a second input or output, and numbers that the core writes."""
SERVED = [row for row in ALGORITHMS.values() if row.provider]

_P = int(
    "827AA0B8C82E6E48F8FECEF002AC5D2E37D85D60143CE7577E2881198E240C9C"
    "74ACA9E9FD29E25A28480626BBD35A2280E608E63CED77C1ADC9B7D404D99089",
    16,
)
_Q = 0x8960AFE94BBDBB01DC14ED575E0730B3CC170C31
_G = int(
    "71B0F3D33AB4B9D6453C631E4C2D3CF57D64912663C6917093175E339A5A53FD"
    "2D05429A52EE69EEB371840F26C1C00EA77D21723F3418FB93814A90F400545F",
    16,
)


def octets(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


_DSA = {
    cryp.TEE_ATTR_DSA_PRIME: octets(_P),
    cryp.TEE_ATTR_DSA_SUBPRIME: octets(_Q),
    cryp.TEE_ATTR_DSA_BASE: octets(_G),
}
_DH = {cryp.TEE_ATTR_DH_PRIME: octets(_P), cryp.TEE_ATTR_DH_BASE: octets(_G)}
_P256 = {cryp.TEE_ATTR_ECC_CURVE: cryp.TEE_ECC_CURVE_NIST_P256}
_PARAMETERS: dict[int, tuple[int, dict[int, bytes | int]]] = {
    cryp.TEE_TYPE_RSA_KEYPAIR: (1280, {cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT: b"\1\0\1"}),
    cryp.TEE_TYPE_DSA_KEYPAIR: (512, _DSA),
    cryp.TEE_TYPE_DH_KEYPAIR: (512, _DH),
    cryp.TEE_TYPE_ECDSA_KEYPAIR: (256, _P256),
    cryp.TEE_TYPE_ECDH_KEYPAIR: (256, _P256),
    cryp.TEE_TYPE_X448_KEYPAIR: (448, {}),
}
_KEYPAIR = 1 << 24
_SECRET_SIZES = {
    cryp.TEE_TYPE_AES: 16,
    cryp.TEE_TYPE_DES: 8,
    cryp.TEE_TYPE_DES3: 24,
    cryp.TEE_TYPE_SM4: 16,
}


@lru_cache
def sample(object_type: int) -> dict[int, bytes | int]:
    """Attributes of a key of that type; the two halves of a pair belong together."""
    props = find_type_props(object_type)
    assert props is not None
    if props.secret_size:
        size = _SECRET_SIZES.get(object_type, 32)
        return {props.attrs[0].attr_id: bytes(range(1, size + 1))}
    if not object_type & _KEYPAIR:
        return {k: v for k, v in sample(object_type | _KEYPAIR).items() if k in props.index}
    bits, params = _PARAMETERS.get(object_type, (256, {}))
    return params | acipher.generate_key(object_type, bits, params, Entropy(7))


def curve_of(row: Algorithm) -> int:
    """The curve that upstream ties an ECDSA algorithm to."""
    return 1 + (row.number - cryp.TEE_ALG_ECDSA_SHA1 >> 12)


class OpRoom(ObjRoom):
    """One TA and its operations."""

    def key(self, object_type: int, values: dict[int, bytes | int] | None = None) -> int:
        """The handle of a key that is set."""
        o = TeeObj(object_type, 4096)
        values = sample(object_type) if values is None else values
        o.attrs = {k: bytearray(v) if isinstance(v, bytes) else v for k, v in values.items()}
        o.handle_flags = TEE_HANDLE_FLAG_INITIALIZED
        self.ta.objs.add(o.handle, o)
        return o.handle

    def empty(self, object_type: int, max_object_size: int = 512) -> int:
        o = TeeObj(object_type, max_object_size)
        self.ta.objs.add(o.handle, o)
        return o.handle

    def keys(self, row: Algorithm, mode: int) -> tuple[int, int]:
        """New keys that an operation of ``row`` in that mode takes."""
        if not row.keys or row.key_types is None:
            return 0, 0
        object_type = row.key_types.of(mode)[0]
        values = None
        if object_type == cryp.TEE_TYPE_ECDSA_KEYPAIR:
            values = _ecdsa(curve_of(row))
        return self.key(object_type, values), self.key(object_type, values) if row.keys > 1 else 0

    # --- calls ------------------------------------------------------------------------------------------------------

    def try_alloc(self, algo: int, mode: int, key1: int = 0, key2: int = 0, state: int = OUT) -> int:
        return self.call(scn.TEE_SCN_CRYP_STATE_ALLOC, algo, mode, key1, key2, state)

    def op(self, row: Algorithm | int, mode: int, *keys: int) -> int:
        """An operation, with new keys unless there are some."""
        if isinstance(row, int):
            row = ALGORITHMS[row]
        assert self.try_alloc(row.number, mode, *(keys or self.keys(row, mode))) == OK
        (handle,) = struct.unpack("<I", self.get(OUT, 4))
        return int(handle)

    def size(self) -> int:
        """What the core wrote at SIZE."""
        return int.from_bytes(self.get(SIZE, 8), "little")

    def put_size(self, size: int, va: int = SIZE) -> int:
        return self.put(va, size.to_bytes(8, "little"))

    def init(
        self, row: Algorithm, state: int, *, iv: bytes = b"", payload: int = 0, aad: int = 0, tag: int = 16
    ) -> int:
        self.put(AUX, iv or b"\0")
        if row.op_class == cryp.TEE_OPERATION_CIPHER:
            return self.call(scn.TEE_SCN_CIPHER_INIT, state, AUX, len(iv))
        if row.op_class == cryp.TEE_OPERATION_AE:
            return self.call(scn.TEE_SCN_AUTHENC_INIT, state, AUX, len(iv), tag, aad, payload)
        return self.call(scn.TEE_SCN_HASH_INIT, state, 0, 0)

    def data(self, number: int, state: int, data: bytes, room: int | None = None) -> tuple[int, bytes]:
        """An update or final of a cipher or AE payload, in place: (TEE_Result, output)."""
        self.put(IN, data or b"\0")
        self.put_size(len(data) if room is None else room)
        ret = self.call(number, state, IN, len(data), IN, SIZE)
        return ret, self.get(IN, len(data)) if ret == OK else b""

    def hash_update(self, state: int, data: bytes) -> int:
        self.put(IN, data or b"\0")
        return self.call(scn.TEE_SCN_HASH_UPDATE, state, IN, len(data))

    def hash_final(self, state: int, data: bytes = b"", room: int = 64) -> tuple[int, bytes]:
        self.put(IN, data or b"\0")
        self.put_size(room)
        ret = self.call(scn.TEE_SCN_HASH_FINAL, state, IN, len(data), AUX, SIZE)
        return ret, self.get(AUX, self.size()) if ret == OK else b""

    def operate(
        self, state: int, data: bytes, values: dict[int, bytes | int] | None = None, room: int = PAGE_SIZE
    ) -> tuple[int, bytes]:
        attrs = self.put_values(values or {})
        self.put(OUT, data or b"\0")
        self.put_size(room)
        ret = self.call(scn.TEE_SCN_ASYMM_OPERATE, state, *attrs, OUT, len(data), OUT, SIZE)
        return ret, self.get(OUT, self.size()) if ret == OK else b""

    def verify(self, state: int, data: bytes, sig: bytes, values: dict[int, bytes | int] | None = None) -> int:
        attrs = self.put_values(values or {})
        self.put(OUT, data or b"\0")
        self.put(OUT + PAGE_SIZE // 2, sig or b"\0")
        return self.call(scn.TEE_SCN_ASYMM_VERIFY, state, *attrs, OUT, len(data), OUT + PAGE_SIZE // 2, len(sig))

    def derive(self, state: int, values: dict[int, bytes | int], derived: int) -> int:
        return self.call(scn.TEE_SCN_CRYP_DERIVE_KEY, state, *self.put_values(values), derived)

    def secret(self, handle: int) -> bytes:
        value = self.obj(handle).attrs[cryp.TEE_ATTR_SECRET_VALUE]
        assert isinstance(value, bytearray)
        return bytes(value)


@lru_cache
def _ecdsa(curve: int) -> dict[int, bytes | int]:
    bits = {1: 192, 2: 224, 3: 256, 4: 384, 5: 521}[curve]
    params: dict[int, bytes | int] = {cryp.TEE_ATTR_ECC_CURVE: curve}
    return params | acipher.generate_key(cryp.TEE_TYPE_ECDSA_KEYPAIR, bits, params, Entropy(7))


ALL_TYPES = [props.object_type for props in OBJECT_TYPES]
