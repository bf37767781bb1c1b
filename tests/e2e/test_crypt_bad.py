"""Keys and objects that are wrong, through a TA: each is refused with upstream's code, and nothing is left behind."""

import os
import struct
from collections.abc import Callable, Sequence
from uuid import UUID

import pytest
from crypt_client import Attr, Panicked, Tee, TeeResult
from crypt_steps import object_of, operation, secret, with_pair
from tas.constants import PROBE

from optemu.abi import cryp, gp
from optemu.abi import syscalls as scn
from optemu.machine import Machine
from optemu.normal_world.libteec import Context, Session, TeecError, TempMemref, Value

X, Y, D = cryp.TEE_ATTR_ECC_PUBLIC_VALUE_X, cryp.TEE_ATTR_ECC_PUBLIC_VALUE_Y, cryp.TEE_ATTR_ECC_PRIVATE_VALUE
CURVE: Attr = (cryp.TEE_ATTR_ECC_CURVE, cryp.TEE_ECC_CURVE_NIST_P256, 0)
N, E = cryp.TEE_ATTR_RSA_MODULUS, cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT
SECRET = cryp.TEE_ATTR_SECRET_VALUE
MODULUS = bytes([0xC5] * 63 + [0x01])
ED25519 = cryp.TEE_ATTR_ED25519_PUBLIC_VALUE

REFUSED: dict[str, tuple[int, int, int, Sequence[Attr]]] = {  # panic or result, type, size, attributes
    "missing": (gp.TEE_ERROR_ITEM_NOT_FOUND, cryp.TEE_TYPE_RSA_PUBLIC_KEY, 512, [(N, MODULUS)]),
    "doubled": (gp.TEE_ERROR_ITEM_NOT_FOUND, cryp.TEE_TYPE_AES, 128, [(SECRET, bytes(16)), (SECRET, bytes(16))]),
    "of another type": (gp.TEE_ERROR_ITEM_NOT_FOUND, cryp.TEE_TYPE_AES, 128, [(N, bytes(16))]),
    "a value for octets": (gp.TEE_ERROR_ITEM_NOT_FOUND, cryp.TEE_TYPE_AES, 128, [(SECRET | 1 << 29, 5, 5)]),
    "octets for a value": (
        gp.TEE_ERROR_ITEM_NOT_FOUND,
        cryp.TEE_TYPE_ECDSA_PUBLIC_KEY,
        256,
        [(X, b"\1"), (Y, b"\1"), (cryp.TEE_ATTR_ECC_CURVE & ~(1 << 29), b"\3")],
    ),
    "half of a group": (
        gp.TEE_ERROR_ITEM_NOT_FOUND,
        cryp.TEE_TYPE_RSA_KEYPAIR,
        512,
        [(N, MODULUS), (E, b"\3"), (cryp.TEE_ATTR_RSA_PRIVATE_EXPONENT, b"\3"), (cryp.TEE_ATTR_RSA_PRIME1, b"\3")],
    ),
    "longer than the object": (gp.TEE_ERROR_BAD_STATE, cryp.TEE_TYPE_AES, 128, [(SECRET, bytes(32))]),
    "longer than any": (gp.TEE_ERROR_SECURITY, cryp.TEE_TYPE_AES, 128, [(SECRET, bytes(100))]),
    "much too long": (gp.TEE_ERROR_OUT_OF_MEMORY, cryp.TEE_TYPE_RSA_PUBLIC_KEY, 512, [(N, bytes(5000)), (E, b"\3")]),
    "too short": (0, cryp.TEE_TYPE_AES, 128, [(SECRET, bytes(8))]),
    "of no length": (0, cryp.TEE_TYPE_AES, 128, [(SECRET, b"")]),
    "a curve there is not": (
        gp.TEE_ERROR_NOT_SUPPORTED,
        cryp.TEE_TYPE_ECDSA_PUBLIC_KEY,
        256,
        [(X, b"\1"), (Y, b"\1"), (cryp.TEE_ATTR_ECC_CURVE, 77, 0)],
    ),
    "a curve too large": (
        gp.TEE_ERROR_BAD_STATE,
        cryp.TEE_TYPE_ECDSA_PUBLIC_KEY,
        256,
        [(X, b"\1"), (Y, b"\1"), (cryp.TEE_ATTR_ECC_CURVE, cryp.TEE_ECC_CURVE_NIST_P521, 0)],
    ),
    "a point of 31 octets": (gp.TEE_ERROR_SECURITY, cryp.TEE_TYPE_ED25519_PUBLIC_KEY, 256, [(ED25519, bytes(31))]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_attributes_that_are_refused(tee: Tee, name: str, caplog: pytest.LogCaptureFixture) -> None:
    code, kind, size, attrs = REFUSED[name]
    with pytest.raises(Panicked if code else TeeResult) as caught:
        object_of(tee, kind, size, *attrs)
    if isinstance(caught.value, TeeResult):
        assert caught.value.code == gp.TEE_ERROR_BAD_PARAMETERS
    else:
        assert f"TA panicked with code 0x{code:x}" in caplog.messages


USELESS: dict[str, tuple[int, int, int, int, Sequence[Attr]]] = {  # algorithm, mode, type, size, attributes
    "a point that is not on the curve": (
        cryp.TEE_ALG_ECDSA_SHA256,
        cryp.TEE_MODE_VERIFY,
        cryp.TEE_TYPE_ECDSA_PUBLIC_KEY,
        256,
        [(X, b"\1" * 32), (Y, b"\1" * 32), CURVE],
    ),
    "the point of zeros": (
        cryp.TEE_ALG_ECDSA_SHA256,
        cryp.TEE_MODE_VERIFY,
        cryp.TEE_TYPE_ECDSA_PUBLIC_KEY,
        256,
        [(X, bytes(32)), (Y, bytes(32)), CURVE],
    ),
    "an even modulus": (
        cryp.TEE_ALG_RSASSA_PKCS1_V1_5_SHA256,
        cryp.TEE_MODE_VERIFY,
        cryp.TEE_TYPE_RSA_PUBLIC_KEY,
        512,
        [(N, MODULUS[:-1] + b"\2"), (E, b"\1\0\1")],
    ),
    "exponent 1": (
        cryp.TEE_ALG_RSASSA_PKCS1_V1_5_SHA256,
        cryp.TEE_MODE_VERIFY,
        cryp.TEE_TYPE_RSA_PUBLIC_KEY,
        512,
        [(N, MODULUS), (E, b"\1")],
    ),
    "an even modulus to sign with": (
        cryp.TEE_ALG_RSASSA_PKCS1_V1_5_SHA256,
        cryp.TEE_MODE_SIGN,
        cryp.TEE_TYPE_RSA_KEYPAIR,
        512,
        [(N, MODULUS[:-1] + b"\2"), (E, b"\1\0\1"), (cryp.TEE_ATTR_RSA_PRIVATE_EXPONENT, MODULUS)],
    ),
    "a modulus of zeros": (
        cryp.TEE_ALG_RSA_NOPAD,
        cryp.TEE_MODE_ENCRYPT,
        cryp.TEE_TYPE_RSA_PUBLIC_KEY,
        512,
        [(N, bytes(64)), (E, b"\3")],
    ),
    "DSA of ones": (
        cryp.TEE_ALG_DSA_SHA1,
        cryp.TEE_MODE_SIGN,
        cryp.TEE_TYPE_DSA_KEYPAIR,
        512,
        [
            (cryp.TEE_ATTR_DSA_PRIME, MODULUS),
            (cryp.TEE_ATTR_DSA_SUBPRIME, b"\1"),
            (cryp.TEE_ATTR_DSA_BASE, b"\1"),
            (cryp.TEE_ATTR_DSA_PRIVATE_VALUE, b"\1"),
            (cryp.TEE_ATTR_DSA_PUBLIC_VALUE, b"\1"),
        ],
    ),
    "a point of small order": (
        cryp.TEE_ALG_ED25519,
        cryp.TEE_MODE_VERIFY,
        cryp.TEE_TYPE_ED25519_PUBLIC_KEY,
        256,
        [(ED25519, bytes(32))],
    ),
}


@pytest.mark.parametrize("name", USELESS)
def test_keys_that_are_none(tee: Tee, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """They are taken, as upstream takes them, and no use of them succeeds, or is a bug of ours."""
    algo, mode, kind, size, attrs = USELESS[name]
    op = with_pair(tee, algo, mode, object_of(tee, kind, size, *attrs), size)
    digest = os.urandom(20 if algo == cryp.TEE_ALG_DSA_SHA1 else 32)
    use: dict[int, Callable[[], object]] = {
        cryp.TEE_MODE_SIGN: lambda: tee.TEE_AsymmetricSignDigest(op, digest),
        cryp.TEE_MODE_VERIFY: lambda: tee.TEE_AsymmetricVerifyDigest(op, digest, b"\1" * 64),
        cryp.TEE_MODE_ENCRYPT: lambda: tee.TEE_AsymmetricEncrypt(op, digest),
    }
    with pytest.raises((TeeResult, Panicked)):
        use[mode]()
    assert not [r for r in caplog.records if r.exc_info], "it is a bug of ours"


def test_agreement_with_a_point_off_the_curve(tee: Tee) -> None:
    key = tee.TEE_AllocateTransientObject(cryp.TEE_TYPE_ECDH_KEYPAIR, 256)
    tee.TEE_GenerateKey(key, 256, [CURVE])
    op = with_pair(tee, cryp.TEE_ALG_ECDH_DERIVE_SHARED_SECRET, cryp.TEE_MODE_DERIVE, key, 256)
    out = tee.TEE_AllocateTransientObject(cryp.TEE_TYPE_GENERIC_SECRET, 256)
    with pytest.raises(Panicked):
        tee.TEE_DeriveKey(op, [(X, b"\1" * 32), (Y, b"\2" * 32)], out)


# --- objects without end ---


def as_many_as_there_can_be(allocate: Callable[[], int]) -> list[int]:
    """Handles, up to where memory ends."""
    made = []
    try:
        for _ in range(10_000):
            made.append(allocate())
    except TeeResult as e:
        assert e.code == gp.TEE_ERROR_OUT_OF_MEMORY
        return made
    pytest.fail("there is no end of them")


@pytest.mark.parametrize(
    ("kind", "size"),
    [(cryp.TEE_TYPE_RSA_KEYPAIR, 2048), (cryp.TEE_TYPE_GENERIC_SECRET, 4096)],
)
def test_objects_never_freed(machine: Machine, context: Context, crypt_uuid: UUID, kind: int, size: int) -> None:
    """Their number is bounded; the others of the TA still work; all are gone with it."""
    with context.OpenSession(crypt_uuid) as session:
        Tee(session).TEE_AllocateTransientObject(kind, size)
    before = machine.board.memory.usage(secure=True).used
    with context.OpenSession(crypt_uuid) as session:
        tee = Tee(session)
        made = as_many_as_there_can_be(lambda: tee.TEE_AllocateTransientObject(kind, size))
        tee.TEE_FreeTransientObject(made[-1])
        assert tee.TEE_AllocateTransientObject(kind, size)
    assert machine.board.memory.usage(secure=True).used == before
    with context.OpenSession(crypt_uuid) as session:
        assert Tee(session).TEE_AllocateTransientObject(kind, size)


def test_operations_never_freed(context: Context, crypt_uuid: UUID) -> None:
    with context.OpenSession(crypt_uuid) as session:
        tee = Tee(session)
        as_many_as_there_can_be(lambda: tee.TEE_AllocateOperation(cryp.TEE_ALG_SHA256, cryp.TEE_MODE_DIGEST, 0))
    with context.OpenSession(crypt_uuid) as session:
        tee = Tee(session)
        op = operation(tee, cryp.TEE_ALG_AES_CTR, cryp.TEE_MODE_ENCRYPT, secret(tee, cryp.TEE_TYPE_AES, bytes(16)))
        tee.TEE_CipherInit(op, bytes(16))
        assert len(tee.TEE_CipherDoFinal(op, b"abc")) == 3


# --- sizes near the ends of the address space ---


def raw(probe: Session, number: int, *args: int) -> int:
    """The result of a system call, on Arm32 too; TEE_ERROR_TARGET_DEAD when the TA did not survive."""
    packed = struct.pack("<8Q", *[a & 2**64 - 1 for a in args], *[0] * (8 - len(args)))
    result = Value.output()
    try:
        probe.invoke(PROBE["PROBE_CMD_RAW_SYSCALL"], Value.input(number), TempMemref.input(packed), result)
    except TeecError as e:
        return e.code
    return result.a


@pytest.mark.parametrize("size", [2**31, 2**32 - 1, 2**32 + 16, 2**63 + 16, 2**64 - 4096, 2**64 - 1])
@pytest.mark.parametrize("where", [0x1000, 2**32 - 16, 2**64 - 16])
def test_sizes_without_measure(
    machine: Machine, context: Context, probe_uuid: UUID, size: int, where: int, caplog: pytest.LogCaptureFixture
) -> None:
    calls = (
        (scn.TEE_SCN_HASH_UPDATE, 0x1000, where, size),
        (scn.TEE_SCN_CRYP_RANDOM_NUMBER_GENERATE, where, size),
        (scn.TEE_SCN_CRYP_OBJ_POPULATE, 0x1000, where, size),
        (scn.TEE_SCN_STORAGE_OBJ_OPEN, 1, where, size, 1, where),
        (scn.TEE_SCN_STORAGE_OBJ_CREATE, 1, where, size, 1, 0, where, size, where),
    )
    for call in calls:
        with context.OpenSession(probe_uuid) as session:
            assert raw(session, *call) != gp.TEE_SUCCESS
    assert not [r for r in caplog.records if r.exc_info], "it is a bug of ours"
    assert machine.tee.threads.busy == 0
