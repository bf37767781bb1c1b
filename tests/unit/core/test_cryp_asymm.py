"""Asymmetric operations and key derivation: modes, attributes, sizes, buffers; any flipped bit is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obj_kit import BAD, CODE, DENIED, NOWHERE, OK, OOM, OUT, PAGE, SECURITY, SHORT, STATE, UNSUPPORTED
from op_kit import SERVED, SIZE, OpRoom, sample

from optemu.abi import cryp, gp
from optemu.abi import syscalls as scn
from optemu.secure_world.crypto.algorithms import ALGORITHMS, Algorithm
from optemu.secure_world.crypto.hash import digest, digest_size
from optemu.secure_world.syscalls.cryp_derive import PBKDF2_COUNT_MAX
from optemu.secure_world.syscalls.cryp_types import find_type_props

ENCRYPT, DECRYPT, SIGN, VERIFY = range(4)
DERIVE = cryp.TEE_MODE_DERIVE
GENERIC, INVALID = gp.TEE_ERROR_GENERIC, gp.TEE_ERROR_SIGNATURE_INVALID
GENERIC_SECRET = cryp.TEE_TYPE_GENERIC_SECRET
RSA, PKE, ED25519 = cryp.TEE_ALG_RSAES_PKCS1_V1_5, cryp.TEE_ALG_SM2_PKE, cryp.TEE_ALG_ED25519
OAEP = cryp.TEE_ALG_RSAES_PKCS1_OAEP_MGF1_SHA1
Values = dict[int, bytes | int]


def of_class(op_class: int) -> pytest.MarkDecorator:
    found = [row for row in SERVED if row.op_class == op_class]
    return pytest.mark.parametrize("row", found, ids=lambda row: row.name)


signatures = of_class(cryp.TEE_OPERATION_ASYMMETRIC_SIGNATURE)


@pytest.fixture(scope="module")
def room() -> OpRoom:
    return OpRoom()


# --- signatures ------------------------------------------------------------------------------------------------------


def signed(row: Algorithm) -> bytes:
    """What an algorithm signs: a digest of its size, cut to DSA's q."""
    size = digest_size(row.digest) if row.digest else 32
    return bytes(range(1, size + 1))[:20] if row.provider == "dsa" else bytes(range(1, size + 1))


@signatures
def test_what_is_signed_verifies(room: OpRoom, row: Algorithm) -> None:
    state, other = room.op(row, SIGN), room.op(row, VERIFY)
    ret, sig = room.operate(state, signed(row))
    assert ret == OK
    assert room.verify(other, signed(row), sig) == OK
    assert room.verify(other, bytes(len(signed(row))), sig) == INVALID


@signatures
@settings(max_examples=8)
@given(bit=st.integers(0, 1 << 13))
def test_any_flipped_bit_of_a_signature(room: OpRoom, row: Algorithm, bit: int) -> None:
    _, sig = room.operate(room.op(row, SIGN), signed(row))
    wrong = bytearray(sig)
    wrong[bit // 8 % len(sig)] ^= 1 << bit % 8
    assert room.verify(room.op(row, VERIFY), signed(row), bytes(wrong)) == INVALID
    room.ta.cryp_states.clear()


@signatures
def test_too_little_room_for_a_signature(room: OpRoom, row: Algorithm) -> None:
    state = room.op(row, SIGN)
    assert room.operate(state, signed(row), room=0)[0] == SHORT
    needed = room.size()
    assert room.operate(state, signed(row), room=needed - 1)[0] == SHORT
    assert room.size() == needed
    ret, sig = room.operate(state, signed(row), room=needed)
    assert (ret, len(sig)) == (OK, needed)


@signatures
def test_digests_of_a_wrong_size(room: OpRoom, row: Algorithm) -> None:
    if row.provider == "rsassa" and row.digest:
        assert room.operate(room.op(row, SIGN), bytes(7))[0] == BAD
        assert room.verify(room.op(row, VERIFY), bytes(7), bytes(128)) == BAD
    elif row.provider == "dsa":
        assert room.operate(room.op(row, SIGN), bytes(7))[0] == SECURITY
        assert room.verify(room.op(row, VERIFY), bytes(7), bytes(40)) == BAD


@signatures
def test_signing_in_another_mode(room: OpRoom, row: Algorithm) -> None:
    """RSA looks at the mode; the others sign with whatever has a private half."""
    if row.key_types is None or row.key_types.only:
        return
    state = room.op(row, VERIFY, room.key(row.key_types.public, sample(row.key_types.public)))
    assert room.operate(state, signed(row))[0] == BAD
    assert room.verify(room.op(row, SIGN), signed(row), b"") == BAD


@pytest.mark.parametrize(
    "algo",
    [
        cryp.TEE_ALG_RSASSA_PKCS1_V1_5_SHA3_256,
        cryp.TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA3_512,
        cryp.TEE_ALG_RSAES_PKCS1_OAEP_MGF1_SHA3_224,
        cryp.TEE_ALG_ECDSA_SHA3_256,
        cryp.TEE_ALG_ED448,
        cryp.TEE_ALG_DSA_SHA3_256,
    ],
)
def test_refused_algorithms_do_nothing(room: OpRoom, algo: int) -> None:
    row = ALGORITHMS[algo]
    assert row.key_types is not None
    key = room.key(row.key_types.key)
    assert room.operate(room.op(row, SIGN, key), bytes(32))[0] == BAD
    key = room.key(row.key_types.key)
    assert room.verify(room.op(row, VERIFY, key), bytes(32), bytes(64)) >= 0xF0000000


def test_salt_lengths(room: OpRoom) -> None:
    row = ALGORITHMS[cryp.TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256]
    salt = cryp.TEE_ATTR_RSA_PSS_SALT_LENGTH
    text = signed(row)
    ret, sig = room.operate(room.op(row, SIGN), text, {salt: 11})
    assert ret == OK
    verify = room.op(row, VERIFY)
    assert room.verify(verify, text, sig, {salt: 11}) == OK
    assert room.verify(verify, text, sig) == INVALID
    ret, sig = room.operate(room.op(row, SIGN), text, {salt: 0x7FFFFFFF})
    assert ret == OK
    assert room.verify(verify, text, sig) == OK, "as long as the digest"


@pytest.mark.parametrize(
    "values",
    [
        {cryp.TEE_ATTR_EDDSA_PREHASH: 2},
        {cryp.TEE_ATTR_EDDSA_CTX: bytes(256)},
        {cryp.TEE_ATTR_RSA_PSS_SALT_LENGTH: 1},
    ],
)
def test_attributes_that_are_none_of_ed25519(room: OpRoom, values: Values) -> None:
    assert room.operate(room.op(ED25519, SIGN), b"x", values)[0] == BAD
    assert room.verify(room.op(ED25519, VERIFY), b"x", bytes(64), values) == BAD


def test_ed25519_with_a_context_and_prehashed(room: OpRoom) -> None:
    sign, verify = room.op(ED25519, SIGN), room.op(ED25519, VERIFY)
    kinds: list[Values] = [{}, {cryp.TEE_ATTR_EDDSA_CTX: b"ctx"}, {cryp.TEE_ATTR_EDDSA_PREHASH: 1}]
    for n, values in enumerate(kinds):
        ret, sig = room.operate(sign, b"message", values)
        assert ret == OK
        assert [room.verify(verify, b"message", sig, other) == OK for other in kinds] == [m == n for m in range(3)]


# --- encryption ------------------------------------------------------------------------------------------------------


@of_class(cryp.TEE_OPERATION_ASYMMETRIC_CIPHER)
def test_what_is_encrypted_is_decrypted(room: OpRoom, row: Algorithm) -> None:
    ret, text = room.operate(room.op(row, ENCRYPT), b"hello")
    assert ret == OK
    assert room.operate(room.op(row, DECRYPT), text) == (OK, b"hello")


@pytest.mark.parametrize(("algo", "ret"), [(cryp.TEE_ALG_RSA_NOPAD, GENERIC), (PKE, GENERIC), (RSA, BAD), (OAEP, BAD)])
def test_encrypting_in_another_mode(room: OpRoom, algo: int, ret: int) -> None:
    assert room.operate(room.op(algo, SIGN), bytes(32))[0] == ret


def test_too_little_room_for_what_rsa_encrypts(room: OpRoom) -> None:
    assert room.operate(room.op(RSA, ENCRYPT), bytes(200), room=159)[0] == SHORT, "before the text is looked at"
    assert room.size() == 160
    assert room.operate(room.op(RSA, ENCRYPT), bytes(200))[0] == BAD
    _, text = room.operate(room.op(RSA, ENCRYPT), b"hello")
    assert room.operate(room.op(RSA, DECRYPT), text, room=4)[0] == SHORT
    assert room.size() == 5


def test_too_little_room_for_what_sm2_encrypts(room: OpRoom) -> None:
    """As upstream: no size for less than a point, and what does not fit of a plaintext is lost."""
    state = room.op(PKE, ENCRYPT)
    assert room.operate(state, b"hello", room=64)[0] == STATE
    assert room.operate(state, b"hello", room=101)[0] == SHORT
    assert room.size() == 102
    ret, text = room.operate(state, b"hello", room=102)
    assert ret == OK
    assert room.operate(room.op(PKE, DECRYPT), text, room=3) == (OK, b"hel")


def test_label_and_digests_of_oaep(room: OpRoom) -> None:
    label, mgf = cryp.TEE_ATTR_RSA_OAEP_LABEL, cryp.TEE_ATTR_RSA_OAEP_MGF_HASH
    sha256 = cryp.TEE_ALG_SHA256.to_bytes(4, "little")
    values: Values = {mgf: sha256, label: b"label"}
    ret, text = room.operate(room.op(OAEP, ENCRYPT), b"hello", values)
    assert ret == OK
    decrypt = room.op(OAEP, DECRYPT)
    assert room.operate(decrypt, text, values) == (OK, b"hello")
    assert room.operate(decrypt, text, {mgf: sha256})[0] == BAD
    assert room.operate(decrypt, text, {label: b"label"})[0] == BAD
    assert room.operate(decrypt, text, {label: b"label", mgf: sha256})[0] == BAD, "a digest behind the label is ignored"
    assert room.operate(decrypt, text, {mgf: sha256 + b"\0"})[0] == BAD


# --- pointers --------------------------------------------------------------------------------------------------------


def test_pointers_of_asymmetric_operations(room: OpRoom) -> None:
    sign, verify = room.op(ED25519, SIGN), room.op(ED25519, VERIFY)
    operate = scn.TEE_SCN_ASYMM_OPERATE
    room.put_size(64)
    assert room.call(operate, sign, 0, 0, NOWHERE, 1, OUT, SIZE) == DENIED
    assert room.call(operate, sign, 0, 0, OUT, 1, OUT, 0) == DENIED
    assert room.call(operate, sign, 0, 0, OUT, 1, CODE, SIZE) == DENIED
    assert room.call(operate, sign, NOWHERE, 1, OUT, 1, OUT, SIZE) == DENIED
    assert room.call(operate, sign, NOWHERE, 171, OUT, 1, OUT, SIZE) == OOM
    assert room.call(operate, sign, NOWHERE, 1 << 62, OUT, 1, OUT, SIZE) == gp.TEE_ERROR_OVERFLOW
    assert room.call(operate, sign, 0, 0, OUT, 1, OUT, SIZE) == OK
    assert room.call(scn.TEE_SCN_ASYMM_VERIFY, verify, 0, 0, NOWHERE, 1, OUT, 64) == DENIED
    assert room.call(scn.TEE_SCN_ASYMM_VERIFY, verify, 0, 0, OUT, 1, NOWHERE, 64) == DENIED


def test_a_key_that_is_not_set(room: OpRoom) -> None:
    sign = room.op(ED25519, SIGN, room.empty(cryp.TEE_TYPE_ED25519_KEYPAIR))
    assert room.operate(sign, b"x")[0] == GENERIC
    verify = room.op(ED25519, VERIFY, room.empty(cryp.TEE_TYPE_ED25519_KEYPAIR))
    assert room.verify(verify, b"x", bytes(64)) == BAD
    assert room.operate(room.op(cryp.TEE_ALG_SHA1, cryp.TEE_MODE_DIGEST), b"x")[0] == STATE


# --- derivation ------------------------------------------------------------------------------------------------------

_PUBLIC = {
    "dh": (cryp.TEE_ATTR_DH_PUBLIC_VALUE,),
    "ecdh": (cryp.TEE_ATTR_ECC_PUBLIC_VALUE_X, cryp.TEE_ATTR_ECC_PUBLIC_VALUE_Y),
    "x25519": (cryp.TEE_ATTR_X25519_PUBLIC_VALUE,),
    "x448": (cryp.TEE_ATTR_X448_PUBLIC_VALUE,),
}
_AGREEMENT = [row for row in SERVED if row.provider in _PUBLIC]
agreements = pytest.mark.parametrize("row", _AGREEMENT, ids=lambda row: row.name)


def public(row: Algorithm) -> Values:
    assert row.key_types is not None
    return {attr_id: sample(row.key_types.key)[attr_id] for attr_id in _PUBLIC[row.provider]}


@agreements
def test_agreement(room: OpRoom, row: Algorithm) -> None:
    derived = room.empty(GENERIC_SECRET)
    assert room.derive(room.op(row, DERIVE), public(row), derived) == OK
    assert len(room.secret(derived)) in (32, 56, 64)
    assert room.obj(derived).have_attrs == 1


@agreements
def test_agreement_on_nothing(room: OpRoom, row: Algorithm) -> None:
    values, state, derived = public(row), room.op(row, DERIVE), room.empty(GENERIC_SECRET)
    first = next(iter(values))
    wrong: list[Values] = [
        {},
        {cryp.TEE_ATTR_SECRET_VALUE: b"x"},
        values | {cryp.TEE_ATTR_SECRET_VALUE: b"x"},
        dict(reversed([*values.items(), (cryp.TEE_ATTR_DSA_BASE, b"x")])),
    ]
    if row.provider != "dh":
        wrong.append(values | {first: b"\1" * 7})
    for attrs in wrong:
        assert room.derive(state, attrs, derived) == BAD
    assert not room.obj(derived).attrs
    assert room.derive(state, values, room.empty(cryp.TEE_TYPE_DES)) == BAD, "it has no room for so much"
    assert room.derive(state, values, room.empty(cryp.TEE_TYPE_RSA_KEYPAIR)) == UNSUPPORTED
    assert room.derive(state, values, room.empty(cryp.TEE_TYPE_HKDF_IKM)) == UNSUPPORTED
    assert room.derive(state, values, 0xBAD0) == STATE
    keyless = room.op(row, DERIVE, room.empty(row.key_types.key)) if row.key_types else 0
    assert room.derive(keyless, values, derived) >= 0xF0000000


def test_points_and_curves_that_are_wrong(room: OpRoom) -> None:
    row = ALGORITHMS[cryp.TEE_ALG_ECDH_DERIVE_SHARED_SECRET]
    x, y = public(row).values()
    assert isinstance(x, bytes)
    values: Values = {cryp.TEE_ATTR_ECC_PUBLIC_VALUE_X: y, cryp.TEE_ATTR_ECC_PUBLIC_VALUE_Y: x}
    assert room.derive(room.op(row, DERIVE), values, room.empty(GENERIC_SECRET)) == BAD
    row = ALGORITHMS[cryp.TEE_ALG_X25519]
    low_order: Values = {cryp.TEE_ATTR_X25519_PUBLIC_VALUE: bytes(32)}
    assert room.derive(room.op(row, DERIVE), low_order, room.empty(GENERIC_SECRET)) == SECURITY


_LENGTH = {
    "hkdf": {cryp.TEE_ATTR_HKDF_OKM_LENGTH: 40},
    "concat_kdf": {cryp.TEE_ATTR_CONCAT_KDF_DKM_LENGTH: 40},
    "pbkdf2": {cryp.TEE_ATTR_PBKDF2_DKM_LENGTH: 40, cryp.TEE_ATTR_PBKDF2_ITERATION_COUNT: 3},
}
_KDF = [row for row in SERVED if row.provider in _LENGTH]


@pytest.mark.parametrize("row", _KDF, ids=lambda row: row.name)
def test_derivation_functions(room: OpRoom, row: Algorithm) -> None:
    length: Values = dict(_LENGTH[row.provider])
    state, derived = room.op(row, DERIVE), room.empty(GENERIC_SECRET)
    assert room.derive(state, length, derived) == OK
    assert len(room.secret(derived)) == 40
    for missing in length:
        assert room.derive(state, {k: v for k, v in length.items() if k != missing}, derived) == BAD
    assert room.derive(state, length | {cryp.TEE_ATTR_DSA_BASE: b"x"}, derived) == BAD
    assert room.derive(state, {k: 513 if v == 40 else v for k, v in length.items()}, derived) == BAD
    assert room.derive(state, {k: 512 if v == 40 else v for k, v in length.items()}, derived) == OK


def test_nobody_iterates_for_ever(room: OpRoom) -> None:
    state, derived = room.op(cryp.TEE_ALG_PBKDF2_HMAC_SHA1_DERIVE_KEY, DERIVE), room.empty(GENERIC_SECRET)
    length: Values = {cryp.TEE_ATTR_PBKDF2_DKM_LENGTH: 40}
    for count in (PBKDF2_COUNT_MAX + 1, 0xFFFFFFFF):
        assert room.derive(state, length | {cryp.TEE_ATTR_PBKDF2_ITERATION_COUNT: count}, derived) == BAD


def test_the_first_attribute_counts_and_hkdf_is_told_its_digest(room: OpRoom) -> None:
    state, derived = room.op(cryp.TEE_ALG_HKDF, DERIVE), room.empty(GENERIC_SECRET)
    length: Values = {cryp.TEE_ATTR_HKDF_OKM_LENGTH: 16}
    assert room.derive(state, length | {cryp.TEE_ATTR_HKDF_HASH_ALGORITHM: cryp.TEE_ALG_SHA1}, derived) == OK
    by_sha1 = room.secret(derived)
    assert room.derive(state, length | {cryp.TEE_ATTR_KDF_KEY_SIZE: 8}, derived) == OK
    assert len(room.secret(derived)) == 16
    assert room.secret(derived) != by_sha1
    other = room.op(cryp.TEE_ALG_HKDF_SHA1_DERIVE_KEY, DERIVE)
    assert room.derive(other, length | {cryp.TEE_ATTR_HKDF_HASH_ALGORITHM: cryp.TEE_ALG_MD5}, derived) == OK
    assert room.secret(derived) == by_sha1


def test_concat_kdf_is_digests_of_counter_secret_and_info(room: OpRoom) -> None:
    state, derived = room.op(cryp.TEE_ALG_CONCAT_KDF_SHA256_DERIVE_KEY, DERIVE), room.empty(GENERIC_SECRET)
    values: Values = {cryp.TEE_ATTR_CONCAT_KDF_OTHER_INFO: b"info", cryp.TEE_ATTR_CONCAT_KDF_DKM_LENGTH: 32}
    assert room.derive(state, values, derived) == OK
    z = bytes(range(1, 33))
    assert room.secret(derived) == digest(cryp.TEE_ALG_SHA256, b"\0\0\0\1" + z + b"info")


def test_sm2_key_exchange(room: OpRoom) -> None:
    """Both sides get the same key and the confirmation that the other expects."""
    x, y = cryp.TEE_ATTR_ECC_PUBLIC_VALUE_X, cryp.TEE_ATTR_ECC_PUBLIC_VALUE_Y
    row = ALGORITHMS[cryp.TEE_ALG_SM2_KEP]
    pair = sample(cryp.TEE_TYPE_SM2_KEP_KEYPAIR)
    ours: Values = {
        cryp.TEE_ATTR_SM2_KEP_USER: 0,
        x: pair[x],
        y: pair[y],
        cryp.TEE_ATTR_ECC_EPHEMERAL_PUBLIC_VALUE_X: pair[x],
        cryp.TEE_ATTR_ECC_EPHEMERAL_PUBLIC_VALUE_Y: pair[y],
        cryp.TEE_ATTR_SM2_ID_INITIATOR: b"A",
        cryp.TEE_ATTR_SM2_ID_RESPONDER: b"B",
    }
    first, second = room.empty(GENERIC_SECRET, 128), room.empty(GENERIC_SECRET, 128)
    assert room.derive(room.op(row, DERIVE), ours, first) == OK
    theirs = ours | {cryp.TEE_ATTR_SM2_KEP_USER: 1}
    assert room.derive(room.op(row, DERIVE), theirs, second) == OK
    assert room.secret(first) == room.secret(second)
    out = {cryp.TEE_ATTR_SM2_KEP_CONFIRMATION_OUT: bytes(32)}
    attrs = room.put_values(out | ours)
    state = room.op(row, DERIVE)
    assert room.call(scn.TEE_SCN_CRYP_DERIVE_KEY, state, *attrs, first) == OK
    confirmation = room.get(OUT + 2 * PAGE, 32)
    assert confirmation != bytes(32)
    checked = theirs | {cryp.TEE_ATTR_SM2_KEP_CONFIRMATION_IN: confirmation}
    assert room.derive(room.op(row, DERIVE), checked, second) == OK
    assert (
        room.derive(room.op(row, DERIVE), checked | {cryp.TEE_ATTR_SM2_KEP_CONFIRMATION_IN: bytes(32)}, second) == STATE
    )
    for missing in ours:
        assert room.derive(room.op(row, DERIVE), {k: v for k, v in ours.items() if k != missing}, first) == BAD
    assert room.derive(room.op(row, DERIVE), ours | {cryp.TEE_ATTR_SECRET_VALUE: b"x"}, first) == BAD
    props = find_type_props(GENERIC_SECRET)
    assert props is not None
    assert room.derive(room.op(row, DERIVE), ours, room.empty(GENERIC_SECRET, props.secret_size + 1)) == BAD


def test_what_derives_nothing(room: OpRoom) -> None:
    derived = room.empty(GENERIC_SECRET)
    assert room.derive(room.op(ED25519, SIGN), {}, derived) == UNSUPPORTED
    assert room.derive(room.op(cryp.TEE_ALG_SHA1, cryp.TEE_MODE_DIGEST), {}, derived) == STATE
