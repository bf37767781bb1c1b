"""A TA that makes the system calls of cryptography and storage with handles that exist, and the other way round."""

import struct
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final
from uuid import UUID

from tas.constants import PROBE, PROBE_ARM_UUID, PROBE_UUID

from campaigns.campaign import TaCampaign, edge
from optemu.abi import cryp, obj
from optemu.abi import syscalls as scn
from optemu.normal_world.libteec import TEEC_ERROR_TARGET_DEAD, TeecError, TempMemref, Value
from optemu.secure_world.core.user_ta import UserTaCtx
from optemu.secure_world.crypto.algorithms import ALGORITHMS
from optemu.secure_world.syscalls.cryp_types import OBJECT_TYPES

_RAW: Final = PROBE["PROBE_CMD_RAW_SYSCALL"]
_ROOM: Final = 2048
_SMALL: Final = (0, 1, 7, 8, 12, 16, 20, 24, 32, 48, 64, 65, 100, 256, _ROOM)
_BITS: Final = (0, 56, 112, 128, 192, 256, 384, 448, 512, 521, 640)
_ATTRS: Final = [
    *sorted({row.attr_id for t in OBJECT_TYPES for row in t.attrs}),
    *(v for name, v in vars(cryp).items() if name.startswith("TEE_ATTR_") and isinstance(v, int)),
]

# What arguments are: o, s, e handles of objects, operations, enumerators; P private, p any address; n a size, N the
# address of one; A attributes, c how many; t type, k bits, a algorithm, m mode; f flags, S storage; # any number.
CALLS: Final = {
    scn.TEE_SCN_CRYP_STATE_ALLOC: "amooP",
    scn.TEE_SCN_CRYP_STATE_COPY: "ss",
    scn.TEE_SCN_CRYP_STATE_FREE: "s",
    scn.TEE_SCN_HASH_INIT: "spn",
    scn.TEE_SCN_HASH_UPDATE: "spn",
    scn.TEE_SCN_HASH_FINAL: "spnpN",
    scn.TEE_SCN_CIPHER_INIT: "spn",
    scn.TEE_SCN_CIPHER_UPDATE: "spnpN",
    scn.TEE_SCN_CIPHER_FINAL: "spnpN",
    scn.TEE_SCN_CRYP_OBJ_GET_INFO: "oP",
    scn.TEE_SCN_CRYP_OBJ_RESTRICT_USAGE: "of",
    scn.TEE_SCN_CRYP_OBJ_GET_ATTR: "oipN",
    scn.TEE_SCN_CRYP_OBJ_ALLOC: "tkP",
    scn.TEE_SCN_CRYP_OBJ_CLOSE: "o",
    scn.TEE_SCN_CRYP_OBJ_RESET: "o",
    scn.TEE_SCN_CRYP_OBJ_POPULATE: "oAc",
    scn.TEE_SCN_CRYP_OBJ_COPY: "oo",
    scn.TEE_SCN_CRYP_DERIVE_KEY: "sAco",
    scn.TEE_SCN_CRYP_RANDOM_NUMBER_GENERATE: "Pn",
    scn.TEE_SCN_AUTHENC_INIT: "spnnnn",
    scn.TEE_SCN_AUTHENC_UPDATE_AAD: "spn",
    scn.TEE_SCN_AUTHENC_UPDATE_PAYLOAD: "spnpN",
    scn.TEE_SCN_AUTHENC_ENC_FINAL: "spnpNpN",
    scn.TEE_SCN_AUTHENC_DEC_FINAL: "spnpNpn",
    scn.TEE_SCN_ASYMM_OPERATE: "sAcpnpN",
    scn.TEE_SCN_ASYMM_VERIFY: "sAcpnpn",
    scn.TEE_SCN_STORAGE_OBJ_OPEN: "SPnfP",
    scn.TEE_SCN_STORAGE_OBJ_CREATE: "SPnfopnP",
    scn.TEE_SCN_STORAGE_OBJ_DEL: "o",
    scn.TEE_SCN_STORAGE_OBJ_RENAME: "oPn",
    scn.TEE_SCN_STORAGE_ENUM_ALLOC: "P",
    scn.TEE_SCN_STORAGE_ENUM_FREE: "e",
    scn.TEE_SCN_STORAGE_ENUM_RESET: "e",
    scn.TEE_SCN_STORAGE_ENUM_START: "eS",
    scn.TEE_SCN_STORAGE_ENUM_NEXT: "ePPN",
    scn.TEE_SCN_STORAGE_OBJ_READ: "opnN",
    scn.TEE_SCN_STORAGE_OBJ_WRITE: "opn",
    scn.TEE_SCN_STORAGE_OBJ_TRUNC: "on",
    scn.TEE_SCN_STORAGE_OBJ_SEEK: "o##",
    scn.TEE_SCN_CRYP_OBJ_GENERATE_KEY: "okAc",
}
# Operations to begin with: algorithm, mode, keys to generate, and how it is initialized.
_AES, _HMAC, _RSA = (cryp.TEE_TYPE_AES, 256), (cryp.TEE_TYPE_HMAC_SHA256, 256), (cryp.TEE_TYPE_RSA_KEYPAIR, 512)
_NO_DATA = (0, 0)
_16 = (PROBE["PROBE_ARG_P3"] + 16, 16)
_ENC, _DEC, _MAC = cryp.TEE_MODE_ENCRYPT, cryp.TEE_MODE_DECRYPT, cryp.TEE_MODE_MAC
_SIGN, _VERIFY, _DERIVE = cryp.TEE_MODE_SIGN, cryp.TEE_MODE_VERIFY, cryp.TEE_MODE_DERIVE
_HASH, _CIPHER, _AE = scn.TEE_SCN_HASH_INIT, scn.TEE_SCN_CIPHER_INIT, scn.TEE_SCN_AUTHENC_INIT
RECIPES: Final[tuple[tuple[int, int, tuple[tuple[int, int], ...], int, tuple[int, ...]], ...]] = (
    (cryp.TEE_ALG_SHA256, cryp.TEE_MODE_DIGEST, (), _HASH, _NO_DATA),
    (cryp.TEE_ALG_SHAKE128, cryp.TEE_MODE_DIGEST, (), _HASH, _NO_DATA),
    (cryp.TEE_ALG_HMAC_SHA256, _MAC, (_HMAC,), _HASH, _NO_DATA),
    (cryp.TEE_ALG_AES_CMAC, _MAC, (_AES,), _HASH, _NO_DATA),
    (cryp.TEE_ALG_AES_CBC_MAC_PKCS5, _MAC, (_AES,), _HASH, _NO_DATA),
    (cryp.TEE_ALG_AES_CTR, _ENC, (_AES,), _CIPHER, _16),
    (cryp.TEE_ALG_AES_CBC_NOPAD, _DEC, (_AES,), _CIPHER, _16),
    (cryp.TEE_ALG_AES_CTS, _DEC, (_AES,), _CIPHER, _16),
    (cryp.TEE_ALG_AES_XTS, _ENC, (_AES, _AES), _CIPHER, _16),
    (cryp.TEE_ALG_AES_GCM, _ENC, (_AES,), _AE, (_16[0], 12, 16, 0, 0)),
    (cryp.TEE_ALG_AES_GCM, _DEC, (_AES,), _AE, (_16[0], 12, 16, 0, 0)),
    (cryp.TEE_ALG_AES_CCM, _ENC, (_AES,), _AE, (_16[0], 12, 16, 32, 48)),
    (cryp.TEE_ALG_RSASSA_PKCS1_V1_5_SHA256, _SIGN, (_RSA,), 0, ()),
    (cryp.TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA1, _VERIFY, (_RSA,), 0, ()),
    (cryp.TEE_ALG_RSAES_PKCS1_V1_5, _DEC, (_RSA,), 0, ()),
    (cryp.TEE_ALG_RSA_NOPAD, _ENC, (_RSA,), 0, ()),
    (cryp.TEE_ALG_ED25519, _SIGN, ((cryp.TEE_TYPE_ED25519_KEYPAIR, 256),), 0, ()),
    (cryp.TEE_ALG_X25519, _DERIVE, ((cryp.TEE_TYPE_X25519_KEYPAIR, 256),), 0, ()),
    (cryp.TEE_ALG_SM2_DSA_SM3, _VERIFY, ((cryp.TEE_TYPE_SM2_DSA_KEYPAIR, 256),), 0, ()),
    (cryp.TEE_ALG_SM2_PKE, _DEC, ((cryp.TEE_TYPE_SM2_PKE_KEYPAIR, 256),), 0, ()),
)
_CLASSES: Final[dict[range, tuple[int, ...]]] = {
    range(scn.TEE_SCN_HASH_INIT, scn.TEE_SCN_HASH_FINAL + 1): (cryp.TEE_OPERATION_DIGEST, cryp.TEE_OPERATION_MAC),
    range(scn.TEE_SCN_CIPHER_INIT, scn.TEE_SCN_CIPHER_FINAL + 1): (cryp.TEE_OPERATION_CIPHER,),
    range(scn.TEE_SCN_AUTHENC_INIT, scn.TEE_SCN_AUTHENC_DEC_FINAL + 1): (cryp.TEE_OPERATION_AE,),
    range(scn.TEE_SCN_ASYMM_OPERATE, scn.TEE_SCN_ASYMM_VERIFY + 1): (
        cryp.TEE_OPERATION_ASYMMETRIC_CIPHER,
        cryp.TEE_OPERATION_ASYMMETRIC_SIGNATURE,
    ),
}
_P3: Final = PROBE["PROBE_ARG_P3"]
_SIZE_AT, _DATA_AT, _ATTRS_AT = 0, 16, 1024


def _fitting(ta: UserTaCtx, number: int) -> list[int]:
    """Operations that a call may be meant for."""
    classes = next((c for calls, c in _CLASSES.items() if number in calls), ())
    return [h for h, cs in ta.cryp_states.items() if not classes or cs.alg.op_class in classes]


class Objects(TaCampaign):
    """Most arguments are what the call wants; each may be wrong. One TA in two is an Arm32 one."""

    name, share = "objects", 10

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self.private = 0

    def one(self, rng: Random) -> None:
        if self.session is None or self.calls > 100:
            self._open(rng)
        self.calls += 1
        number = rng.choice(list(CALLS))
        args = [self._argument(rng, number, kind) for kind in CALLS[number]]
        if rng.randrange(4) == 0:
            at = rng.randrange(len(args))
            args[at] = edge(rng, 64, self.secret.base, args[at], self.private, 0x4000_0000)
        self._syscall(number, args, self._memory(rng))
        assert self.machine.tee.threads.busy == 0

    def _syscall(self, number: int, args: Sequence[int], memory: bytes = bytes(_ROOM)) -> None:
        if self.session is None:
            return
        packed = TempMemref.input(struct.pack("<8Q", *args, *[0] * (8 - len(args))))
        try:
            self.session.invoke(_RAW, Value.input(number), packed, Value.output(), TempMemref.inout(bytearray(memory)))
        except TeecError as e:
            if e.code == TEEC_ERROR_TARGET_DEAD:
                self.end_session()

    def _open(self, rng: Random) -> None:
        self.end_session()
        self.session, self.calls = self.context.OpenSession(UUID(rng.choice((PROBE_UUID, PROBE_ARM_UUID)))), 0
        addresses = TempMemref.inout(bytearray(8 * PROBE["PROBE_ADDR_COUNT"]))
        self.session.invoke(PROBE["PROBE_CMD_ADDRESSES"], addresses)
        (self.private,) = struct.unpack_from("<Q", addresses.data, 8 * PROBE["PROBE_ADDR_BSS"])
        for recipe in rng.sample(RECIPES, 4):
            self._make(*recipe)

    def _make(self, algo: int, mode: int, keys: tuple[tuple[int, int], ...], init: int, args: tuple[int, ...]) -> None:
        """An operation that is ready for data, and objects with the keys that it has."""
        ta, made = self._ta, [0, 0]
        for n, (kind, bits) in enumerate(keys):
            self._syscall(scn.TEE_SCN_CRYP_OBJ_ALLOC, (kind, bits, self.private))
            made[n] = next(reversed(ta.objs))
            self._syscall(scn.TEE_SCN_CRYP_OBJ_GENERATE_KEY, (made[n], bits, 0, 0))
        self._syscall(scn.TEE_SCN_CRYP_STATE_ALLOC, (algo, mode, *made, self.private))
        if init:
            self._syscall(init, (next(reversed(ta.cryp_states)), *args))

    @property
    def _ta(self) -> UserTaCtx:
        return next(c for c in self.machine.tee.manager.contexts if isinstance(c, UserTaCtx))

    def _argument(self, rng: Random, number: int, kind: str) -> int:
        ta = self._ta
        match kind:
            case "o" | "s" | "e":
                held = {"o": ta.objs, "s": _fitting(ta, number), "e": ta.storage_enums}[kind]
                return rng.choice([*held, 0]) if rng.randrange(8) else edge(rng, 32, *held)
            case "P":
                return self.private
            case "p":
                return rng.choice((_P3 + _DATA_AT, _P3 + _DATA_AT, _P3 + _DATA_AT + 1, self.private, 0))
            case "N":
                return _P3 + _SIZE_AT
            case "A":
                return _P3 + _ATTRS_AT
            case "i":
                return rng.choice(_ATTRS)
            case "t":
                return rng.choice(OBJECT_TYPES).object_type
            case "a":
                return rng.choice(list(ALGORITHMS))
            case "k":
                return rng.choice(_BITS)
            case "m":
                return rng.randrange(8)
            case "c":
                return rng.choice((0, 0, 1, rng.randrange(9)))
            case "S":
                return rng.choice((obj.TEE_STORAGE_PRIVATE, obj.TEE_STORAGE_PRIVATE_REE))
            case "f":
                return rng.choice((0x7, 0x37, 0x407, 0x1, edge(rng, 32)))
            case "n":
                return rng.choice(_SMALL)
            case _:
                return edge(rng)

    def _memory(self, rng: Random) -> bytes:
        """A size, octets, and attributes that point to those octets."""
        octets = rng.randbytes(_ATTRS_AT - _DATA_AT) if rng.randrange(4) else bytes(_ATTRS_AT - _DATA_AT)
        attrs = b""
        for _ in range(8):
            attr_id = rng.choice(_ATTRS) if rng.randrange(16) else edge(rng, 32)
            attrs += obj.UTEE_ATTRIBUTE.pack(self.private, rng.choice(_SMALL[:-2]), attr_id)
        return (struct.pack("<QQ", rng.choice(_SMALL), 0) + octets + attrs).ljust(_ROOM, b"\0")

    def check(self) -> None:
        super().check()
        assert not any(isinstance(c, UserTaCtx) for c in self.machine.tee.manager.contexts), "a TA was left"
