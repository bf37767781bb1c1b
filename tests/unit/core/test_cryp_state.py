"""Operations: which keys they take, who holds them, copies, the end. The matrix comes from the table of algorithms."""

import pytest
from obj_kit import BAD, CODE, DENIED, OK, OOM, STATE, UNSUPPORTED
from op_kit import ALL_TYPES, IN, SERVED, OpRoom

from optemu.abi import cryp, gp
from optemu.abi import syscalls as scn
from optemu.secure_world.core.tee_cryp_state import CRYP_STATES_MAX
from optemu.secure_world.crypto.algorithms import ALGORITHMS, COMPAT, MODE_NAMES, Algorithm, get_class
from optemu.secure_world.crypto.authenc import AUTHENCS
from optemu.secure_world.crypto.cipher import CIPHERS
from optemu.secure_world.crypto.hash import HASHES
from optemu.secure_world.crypto.mac import MACS

ENCRYPT, DECRYPT, SIGN, VERIFY = range(4)
MAC, DIGEST, DERIVE = cryp.TEE_MODE_MAC, cryp.TEE_MODE_DIGEST, cryp.TEE_MODE_DERIVE
MISSING = gp.TEE_ERROR_NOT_IMPLEMENTED
by_name = pytest.mark.parametrize("row", ALGORITHMS.values(), ids=lambda row: row.name)


@pytest.fixture
def room() -> OpRoom:
    return OpRoom()


# --- the table -------------------------------------------------------------------------------------------------------


def test_every_algorithm_with_a_name_has_a_row() -> None:
    names = {name for name in vars(cryp) if name.startswith("TEE_ALG_")} - {"TEE_ALG_ILLEGAL_VALUE"}
    assert {row.name for row in ALGORITHMS.values()} == names


@pytest.mark.parametrize(
    ("provider", "contexts"), [("hash", HASHES), ("mac", MACS), ("cipher", CIPHERS), ("authenc", AUTHENCS)]
)
def test_providers_have_what_the_table_says(provider: str, contexts: dict[int, object]) -> None:
    assert {row.number for row in SERVED if row.provider == provider} == contexts.keys()


@pytest.mark.parametrize(
    ("algo", "op_class", "digest"),
    [
        (cryp.TEE_ALG_SM2_PKE, cryp.TEE_OPERATION_ASYMMETRIC_CIPHER, 0),
        (cryp.TEE_ALG_SM2_KEP, cryp.TEE_OPERATION_KEY_DERIVATION, 0),
        (cryp.TEE_ALG_SM2_DSA_SM3, cryp.TEE_OPERATION_ASYMMETRIC_SIGNATURE, cryp.TEE_ALG_SM3),
        (cryp.TEE_ALG_DES3_CMAC, cryp.TEE_OPERATION_MAC, 0),
        (cryp.TEE_ALG_RSAES_PKCS1_OAEP_MGF1_MD5, cryp.TEE_OPERATION_ASYMMETRIC_CIPHER, cryp.TEE_ALG_MD5),
        (cryp.TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA384, cryp.TEE_OPERATION_ASYMMETRIC_SIGNATURE, cryp.TEE_ALG_SHA384),
        (cryp.TEE_ALG_PBKDF2_HMAC_SM3_DERIVE_KEY, cryp.TEE_OPERATION_KEY_DERIVATION, cryp.TEE_ALG_SM3),
        (cryp.TEE_ALG_HKDF, cryp.TEE_OPERATION_KEY_DERIVATION, 0),
    ],
)
def test_what_numbers_say(algo: int, op_class: int, digest: int) -> None:
    assert (ALGORITHMS[algo].op_class, ALGORITHMS[algo].digest) == (op_class, digest)


# --- alloc -----------------------------------------------------------------------------------------------------------


@by_name
def test_each_type_of_key_in_each_mode(room: OpRoom, row: Algorithm) -> None:
    """A key is taken where the table has its type; whatever is right with the key, refused algorithms are refused."""
    handles = {object_type: room.empty(object_type) for object_type in ALL_TYPES}
    for mode in MODE_NAMES:
        for object_type, handle in handles.items():
            second = room.empty(object_type) if row.keys > 1 else 0
            ret = room.try_alloc(row.number, mode, handle, second)
            takes = row.keys and row.key_types is not None and object_type in row.key_types.of(mode)
            assert ret == (OK if takes else BAD), (mode, hex(object_type))
            assert room.obj(handle).busy is bool(takes)
            room.obj(handle).busy = False
            if second:
                room.close(second)


@pytest.mark.parametrize(
    ("algo", "mode", "object_type", "ret"),
    [
        (cryp.TEE_ALG_AES_CTR, ENCRYPT, cryp.TEE_TYPE_AES, OK),
        (cryp.TEE_ALG_AES_CTR, MAC, cryp.TEE_TYPE_AES, OK),
        (cryp.TEE_ALG_AES_CTR, ENCRYPT, cryp.TEE_TYPE_SM4, BAD),
        (cryp.TEE_ALG_HMAC_SHA1, MAC, cryp.TEE_TYPE_GENERIC_SECRET, BAD),
        (cryp.TEE_ALG_RSAES_PKCS1_V1_5, ENCRYPT, cryp.TEE_TYPE_RSA_PUBLIC_KEY, OK),
        (cryp.TEE_ALG_RSAES_PKCS1_V1_5, ENCRYPT, cryp.TEE_TYPE_RSA_KEYPAIR, OK),
        (cryp.TEE_ALG_RSAES_PKCS1_V1_5, DECRYPT, cryp.TEE_TYPE_RSA_PUBLIC_KEY, BAD),
        (cryp.TEE_ALG_RSASSA_PKCS1_V1_5_SHA1, SIGN, cryp.TEE_TYPE_RSA_PUBLIC_KEY, BAD),
        (cryp.TEE_ALG_DSA_SHA1, VERIFY, cryp.TEE_TYPE_DSA_PUBLIC_KEY, OK),
        (cryp.TEE_ALG_ECDSA_SHA256, VERIFY, cryp.TEE_TYPE_ECDSA_KEYPAIR, OK),
        (cryp.TEE_ALG_ECDSA_SHA256, ENCRYPT, cryp.TEE_TYPE_ECDSA_PUBLIC_KEY, BAD),
        (cryp.TEE_ALG_ECDSA_SHA256, SIGN, cryp.TEE_TYPE_ECDH_KEYPAIR, BAD),
        (cryp.TEE_ALG_SM2_DSA_SM3, VERIFY, cryp.TEE_TYPE_SM2_DSA_KEYPAIR, BAD),
        (cryp.TEE_ALG_SM2_PKE, ENCRYPT, cryp.TEE_TYPE_SM2_PKE_KEYPAIR, BAD),
        (cryp.TEE_ALG_SM2_PKE, ENCRYPT, cryp.TEE_TYPE_SM2_PKE_PUBLIC_KEY, OK),
        (cryp.TEE_ALG_HKDF, DERIVE, cryp.TEE_TYPE_HKDF_IKM, OK),
        (cryp.TEE_ALG_X25519, DERIVE, cryp.TEE_TYPE_X448_KEYPAIR, BAD),
        (cryp.TEE_ALG_ED448, SIGN, cryp.TEE_TYPE_X25519_KEYPAIR, OK),
    ],
)
def test_keys_as_upstream_takes_them(room: OpRoom, algo: int, mode: int, object_type: int, ret: int) -> None:
    assert room.try_alloc(algo, mode, room.empty(object_type)) == ret


@pytest.mark.parametrize("row", SERVED, ids=lambda row: row.name)
def test_too_many_and_too_few_keys(room: OpRoom, row: Algorithm) -> None:
    first, second = room.keys(row, row.modes[0])
    wrong = {
        0: [],
        1: [(0, 0), (0, first), (first, room.keys(row, row.modes[0])[0])],
        2: [(0, 0), (first, 0), (0, second)],
    }[row.keys]
    for keys in wrong:
        assert room.try_alloc(row.number, row.modes[0], *keys) == BAD
    assert not room.ta.cryp_states


@pytest.mark.parametrize(
    ("algo", "ret"),
    [
        (cryp.TEE_ALG_MD5SHA1, MISSING),
        (0x5000000C, MISSING),
        (0x50000103, MISSING),
        (0, UNSUPPORTED),
        (0x20000010, UNSUPPORTED),
        (cryp.TEE_ALG_ILLEGAL_VALUE, UNSUPPORTED),
        (cryp.TEE_ALG_AES_CTR, BAD),
    ],
)
def test_without_a_key(room: OpRoom, algo: int, ret: int) -> None:
    assert room.try_alloc(algo, DIGEST) == ret


@pytest.mark.parametrize(
    ("algo", "ret"),
    [(0x10000910, MISSING), (0x40000910, MISSING), (0x30000710, UNSUPPORTED), (0x20000010, UNSUPPORTED)],
)
def test_algorithms_of_aes_that_there_are_not(room: OpRoom, algo: int, ret: int) -> None:
    key = room.key(cryp.TEE_TYPE_AES)
    assert room.try_alloc(algo, ENCRYPT, key) == ret
    assert not room.obj(key).busy


def test_numbers_of_old_tas(room: OpRoom) -> None:
    for old, new in COMPAT.items():
        mode = SIGN if get_class(new) == cryp.TEE_OPERATION_ASYMMETRIC_SIGNATURE else DERIVE
        state = room.try_alloc(old, mode, room.keys(ALGORITHMS[new], mode)[0])
        assert state == OK
        assert list(room.ta.cryp_states.values())[-1].alg is ALGORITHMS[new]


def test_only_32_bits_of_a_number_count(room: OpRoom) -> None:
    assert room.try_alloc(cryp.TEE_ALG_SHA1 | 1 << 32, DIGEST | 5 << 32) == OK


def test_a_key_serves_one_operation_and_is_closed_with_it(room: OpRoom) -> None:
    key = room.key(cryp.TEE_TYPE_AES)
    state = room.op(cryp.TEE_ALG_AES_CTR, ENCRYPT, key)
    assert room.try_alloc(cryp.TEE_ALG_AES_CTR, ENCRYPT, key) == BAD
    assert room.close(key) != OK
    assert room.call(scn.TEE_SCN_CRYP_STATE_FREE, state) == OK
    assert not room.ta.objs
    assert room.call(scn.TEE_SCN_CRYP_STATE_FREE, state) == BAD


def test_one_key_twice_is_closed_once(room: OpRoom) -> None:
    key = room.key(cryp.TEE_TYPE_AES)
    state = room.op(cryp.TEE_ALG_AES_XTS, ENCRYPT, key, key)
    assert room.call(scn.TEE_SCN_CRYP_STATE_FREE, state) == OK
    assert not room.ta.objs


def test_an_unknown_key(room: OpRoom) -> None:
    assert room.try_alloc(cryp.TEE_ALG_AES_CTR, ENCRYPT, 0xBAD0) == STATE
    assert room.try_alloc(cryp.TEE_ALG_SHA1, DIGEST, 0xBAD0) == STATE
    key = room.key(cryp.TEE_TYPE_AES)
    assert room.try_alloc(cryp.TEE_ALG_AES_XTS, ENCRYPT, key, 0xBAD0) == STATE


@pytest.mark.parametrize("where", [0, CODE, "shared"])
def test_nowhere_to_put_the_handle(room: OpRoom, where: int | str) -> None:
    """It must be the TA's own memory."""
    key = room.key(cryp.TEE_TYPE_AES)
    va = room.share() if isinstance(where, str) else where
    assert room.try_alloc(cryp.TEE_ALG_AES_CTR, ENCRYPT, key, 0, va) == DENIED
    assert not room.ta.cryp_states
    assert not room.obj(key).busy


def test_operations_are_bounded(room: OpRoom) -> None:
    for _ in range(CRYP_STATES_MAX):
        room.op(cryp.TEE_ALG_SHA1, DIGEST)
    assert room.try_alloc(cryp.TEE_ALG_SHA1, DIGEST) == OOM


# --- copy ------------------------------------------------------------------------------------------------------------


def test_copy_goes_on_where_the_other_is(room: OpRoom) -> None:
    first, second = room.op(cryp.TEE_ALG_SHA256, DIGEST), room.op(cryp.TEE_ALG_SHA256, DIGEST)
    row = ALGORITHMS[cryp.TEE_ALG_SHA256]
    assert room.init(row, first) == OK
    assert room.hash_update(first, b"abc") == OK
    assert room.call(scn.TEE_SCN_CRYP_STATE_COPY, second, first) == OK
    assert room.hash_update(first, b"other") == OK
    digest = room.hash_final(second)
    assert room.init(row, first) == OK
    assert room.hash_final(first, b"abc") == digest


def test_copy_of_what_has_not_begun(room: OpRoom) -> None:
    first, second = room.op(cryp.TEE_ALG_SHA256, DIGEST), room.op(cryp.TEE_ALG_SHA256, DIGEST)
    assert room.init(ALGORITHMS[cryp.TEE_ALG_SHA256], second) == OK
    assert room.call(scn.TEE_SCN_CRYP_STATE_COPY, second, first) == OK
    assert room.hash_update(second, b"x") == STATE


def test_copy_between_operations_that_differ(room: OpRoom) -> None:
    digest = room.op(cryp.TEE_ALG_SHA256, DIGEST)
    for other in (room.op(cryp.TEE_ALG_SHA1, DIGEST), room.op(cryp.TEE_ALG_SHA256, MAC)):
        assert room.call(scn.TEE_SCN_CRYP_STATE_COPY, digest, other) == BAD
    sign = room.op(cryp.TEE_ALG_ED25519, SIGN)
    assert room.call(scn.TEE_SCN_CRYP_STATE_COPY, sign, sign) == STATE
    assert room.call(scn.TEE_SCN_CRYP_STATE_COPY, 0, digest) == BAD
    assert room.call(scn.TEE_SCN_CRYP_STATE_COPY, digest, 0) == BAD


# --- what is no operation --------------------------------------------------------------------------------------------

CALLS = [
    scn.TEE_SCN_HASH_INIT,
    scn.TEE_SCN_CIPHER_INIT,
    scn.TEE_SCN_CIPHER_UPDATE,
    scn.TEE_SCN_CIPHER_FINAL,
    scn.TEE_SCN_AUTHENC_INIT,
    scn.TEE_SCN_AUTHENC_UPDATE_AAD,
    scn.TEE_SCN_AUTHENC_UPDATE_PAYLOAD,
    scn.TEE_SCN_AUTHENC_ENC_FINAL,
    scn.TEE_SCN_AUTHENC_DEC_FINAL,
    scn.TEE_SCN_ASYMM_OPERATE,
    scn.TEE_SCN_ASYMM_VERIFY,
    scn.TEE_SCN_CRYP_DERIVE_KEY,
]


@pytest.mark.parametrize("number", CALLS)
def test_no_such_operation(room: OpRoom, number: int) -> None:
    assert room.call(number, 0x123450) == BAD
    assert room.call(number, room.key(cryp.TEE_TYPE_AES)) == BAD


@by_name
def test_calls_of_another_class(room: OpRoom, row: Algorithm) -> None:
    """Whatever operation it is, a call that is not for it gives an error, before and after init."""
    if not row.provider:
        return
    for mode in row.modes:
        state = room.op(row, mode)
        for number in CALLS:
            room.put_size(64)
            ret = room.call(number, state, IN, 0, 0, 0)
            assert ret == OK or ret >= 0xF0000000


@pytest.mark.parametrize(
    ("number", "args", "ret"),
    [
        (scn.TEE_SCN_HASH_INIT, (), BAD),
        (scn.TEE_SCN_CIPHER_INIT, (), STATE),
        (scn.TEE_SCN_AUTHENC_INIT, (), STATE),
        (scn.TEE_SCN_HASH_UPDATE, (IN, 16), STATE),
        (scn.TEE_SCN_CIPHER_UPDATE, (), STATE),
        (scn.TEE_SCN_AUTHENC_UPDATE_AAD, (), STATE),
        (scn.TEE_SCN_AUTHENC_UPDATE_PAYLOAD, (), STATE),
        (scn.TEE_SCN_AUTHENC_ENC_FINAL, (), STATE),
        (scn.TEE_SCN_AUTHENC_DEC_FINAL, (), STATE),
        (scn.TEE_SCN_CRYP_DERIVE_KEY, (0, 0, 0), STATE),
    ],
)
def test_a_signature_is_none_of_these(room: OpRoom, number: int, args: tuple[int, ...], ret: int) -> None:
    assert room.call(number, room.op(cryp.TEE_ALG_ED25519, SIGN), *args) == ret
