"""Attributes of objects: what populates each type, in the order of upstream's checks, and the form they are stored in."""

import pytest
from core_fakes import PAGE
from hypothesis import given
from hypothesis import strategies as st
from obj_kit import (
    ATTRS,
    BAD,
    CODE,
    DATA,
    DENIED,
    NOT_FOUND,
    NOWHERE,
    OK,
    OOM,
    PAGES,
    SECURITY,
    STATE,
    UNSUPPORTED,
    VALUES,
    ObjRoom,
    Values,
)

from optemu.abi import cryp, gp
from optemu.abi import syscalls as scn
from optemu.abi.obj import TEE_HANDLE_FLAG_INITIALIZED, UTEE_ATTRIBUTE
from optemu.errors import TeeError
from optemu.secure_world.core import tee_obj
from optemu.secure_world.core.tee_obj import TeeObj
from optemu.secure_world.syscalls.cryp_attr import (
    tee_obj_attr_copy_from,
    tee_obj_attr_from_binary,
    tee_obj_attr_to_binary,
    tee_obj_set_type,
)
from optemu.secure_world.syscalls.cryp_state import native_key
from optemu.secure_world.syscalls.cryp_types import KEYPAIR_OF, OBJECT_TYPES, Flag, Kind, ObjectType

C = cryp
SECRET = C.TEE_ATTR_SECRET_VALUE
RSA_PUBLIC: Values = {C.TEE_ATTR_RSA_MODULUS: b"\xc1" * 64, C.TEE_ATTR_RSA_PUBLIC_EXPONENT: b"\1\0\1"}
RSA: Values = {**RSA_PUBLIC, C.TEE_ATTR_RSA_PRIVATE_EXPONENT: b"\x51" * 64}
RSA_CRT: Values = {
    **RSA,
    C.TEE_ATTR_RSA_PRIME1: b"\xd1" * 32,
    C.TEE_ATTR_RSA_PRIME2: b"\xd3" * 32,
    C.TEE_ATTR_RSA_EXPONENT1: b"\x11" * 32,
    C.TEE_ATTR_RSA_EXPONENT2: b"\x13" * 32,
    C.TEE_ATTR_RSA_COEFFICIENT: b"\x15" * 32,
}
DSA_PUBLIC: Values = {
    C.TEE_ATTR_DSA_PRIME: b"\xf1" * 64,
    C.TEE_ATTR_DSA_SUBPRIME: b"\xf3" * 20,
    C.TEE_ATTR_DSA_BASE: b"\x41" * 64,
    C.TEE_ATTR_DSA_PUBLIC_VALUE: b"\x43" * 64,
}
XY: Values = {C.TEE_ATTR_ECC_PUBLIC_VALUE_X: b"\x21" * 32, C.TEE_ATTR_ECC_PUBLIC_VALUE_Y: b"\x23" * 32}
P256: Values = {C.TEE_ATTR_ECC_CURVE: C.TEE_ECC_CURVE_NIST_P256}


@pytest.fixture
def room() -> ObjRoom:
    return ObjRoom()


def populated(room: ObjRoom, object_type: int, size: int, values: Values) -> int:
    """What populating a new object returns."""
    handle = room.alloc(object_type, size)
    ret = room.populate(handle, values)
    assert bool(room.obj(handle).handle_flags & TEE_HANDLE_FLAG_INITIALIZED) == (ret == OK)
    return ret


# --- the table -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("props", OBJECT_TYPES, ids=lambda p: f"{p.object_type:x}")
def test_types_are_consistent(props: ObjectType) -> None:
    assert len(props.index) == len(props.attrs) <= 32
    assert sum(bool(row.flags & Flag.SIZE_INDICATOR) for row in props.attrs) <= 1
    assert tee_obj.OBJECT_HEAP + props.heap <= tee_obj._LARGEST_OBJECT
    for row in props.attrs:
        assert (row.kind is Kind.VALUE) == bool(row.attr_id & C.TEE_ATTR_FLAG_VALUE)
        assert row.kind is Kind.BIGNUM or not row.flags & Flag.BIGNUM_MAXBITS


def test_public_keys_are_a_part_of_their_key_pairs() -> None:
    types = {p.object_type: p for p in OBJECT_TYPES}
    for public, pair in KEYPAIR_OF.items():
        assert set(types[public].index) < set(types[pair].index)
        assert (types[public].min_size, types[public].max_size) == (types[pair].min_size, types[pair].max_size)


# --- the array of attributes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [0, CODE - 1, NOWHERE, DATA - 8, DATA + PAGES * PAGE - 8, (1 << 64) - 24])
def test_the_array_must_be_readable(room: ObjRoom, where: int) -> None:
    assert room.call(scn.TEE_SCN_CRYP_OBJ_POPULATE, room.alloc(C.TEE_TYPE_AES, 128), where, 1) == DENIED


def test_the_array_may_be_the_normal_worlds(room: ObjRoom) -> None:
    va = room.share()
    room.put(va, UTEE_ATTRIBUTE.pack(va + 100, 16, SECRET))
    room.put(va + 100, b"sixteen octets!!")
    handle = room.alloc(C.TEE_TYPE_AES, 128)
    assert room.call(scn.TEE_SCN_CRYP_OBJ_POPULATE, handle, va, 1) == OK
    assert room.attr(handle, SECRET) == b"sixteen octets!!"


@pytest.mark.parametrize(
    ("count", "ret"),
    [
        (0, NOT_FOUND),
        (170, NOT_FOUND),
        (171, OOM),
        (1 << 32, OOM),
        ((1 << 64) // 24, OOM),
        ((1 << 64) // 24 + 1, gp.TEE_ERROR_OVERFLOW),
        ((1 << 64) - 1, gp.TEE_ERROR_OVERFLOW),
    ],
)
def test_how_many_attributes_there_may_be(room: ObjRoom, count: int, ret: int) -> None:
    for call, extra in ((scn.TEE_SCN_CRYP_OBJ_POPULATE, ()), (scn.TEE_SCN_CRYP_OBJ_GENERATE_KEY, (1024,))):
        handle = room.alloc(C.TEE_TYPE_RSA_KEYPAIR, 1024)
        room.put(DATA, bytes(PAGES * PAGE))
        if not count and extra:
            continue
        assert room.call(call, handle, *extra, ATTRS, count) == ret


@pytest.mark.parametrize(
    ("a", "b"),
    [(NOWHERE, 16), (0, 16), (DATA, 1 << 32), (DATA, (1 << 64) - 1), ((1 << 64) - 8, 16), (1 << 32 | DATA, 16)],
)
def test_what_an_attribute_points_to_must_be_readable(room: ObjRoom, a: int, b: int) -> None:
    handle = room.alloc(C.TEE_TYPE_AES, 128)
    # the pointers are all checked before one attribute is looked at
    attrs = room.put_attrs((0, 0, C.TEE_ATTR_RSA_MODULUS), (a, b, SECRET))
    assert room.call(scn.TEE_SCN_CRYP_OBJ_POPULATE, handle, attrs, 2) == DENIED


# --- which attributes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("object_type", "values"),
    [
        (C.TEE_TYPE_RSA_PUBLIC_KEY, RSA_PUBLIC),
        (C.TEE_TYPE_RSA_KEYPAIR, RSA),
        (C.TEE_TYPE_RSA_KEYPAIR, RSA_CRT),
        (C.TEE_TYPE_DSA_PUBLIC_KEY, DSA_PUBLIC),
        (C.TEE_TYPE_ECDSA_PUBLIC_KEY, {**XY, **P256}),
        (C.TEE_TYPE_ECDH_KEYPAIR, {**P256, **XY, C.TEE_ATTR_ECC_PRIVATE_VALUE: b"d"}),
        (C.TEE_TYPE_SM2_DSA_PUBLIC_KEY, XY),
        (C.TEE_TYPE_HKDF_IKM, {C.TEE_ATTR_HKDF_IKM: b"ikm"}),
        (C.TEE_TYPE_X448_KEYPAIR, {C.TEE_ATTR_X448_PRIVATE_VALUE: b"4" * 56, C.TEE_ATTR_X448_PUBLIC_VALUE: b"8" * 56}),
    ],
)
def test_all_of_a_key_and_no_less(room: ObjRoom, object_type: int, values: Values) -> None:
    size = next(p.min_size for p in OBJECT_TYPES if p.object_type == object_type)
    size = max(size, 512) if C.TEE_ATTR_RSA_MODULUS in values else max(size, 256)
    handle = room.made(object_type, size, values)
    for attr_id, value in values.items():
        assert room.attr(handle, attr_id)[:4] == (
            value[:4] if isinstance(value, bytes) else value.to_bytes(4, "little")
        )
    for missing in values:
        left = {attr_id: value for attr_id, value in values.items() if attr_id != missing}
        assert populated(room, object_type, size, left) == NOT_FOUND


def test_attributes_of_another_type_and_doubled_ones(room: ObjRoom) -> None:
    handle = room.alloc(C.TEE_TYPE_AES, 128)
    room.put(VALUES, bytes(16))
    secret, foreign = (VALUES, 16, SECRET), (VALUES, 16, C.TEE_ATTR_HKDF_IKM)
    populate = scn.TEE_SCN_CRYP_OBJ_POPULATE
    for attrs in ([foreign], [secret, foreign], [secret, secret], [(0, 0, SECRET | C.TEE_ATTR_FLAG_VALUE)]):
        assert room.call(populate, handle, room.put_attrs(*attrs), len(attrs)) == NOT_FOUND
    assert room.call(populate, handle, room.put_attrs(secret), 1) == OK


def test_an_attribute_that_only_generation_takes(room: ObjRoom) -> None:
    dh: Values = {
        C.TEE_ATTR_DH_PRIME: b"\xff" * 32,
        C.TEE_ATTR_DH_BASE: b"\2",
        C.TEE_ATTR_DH_PUBLIC_VALUE: b"y",
        C.TEE_ATTR_DH_PRIVATE_VALUE: b"x",
    }
    assert populated(room, C.TEE_TYPE_DH_KEYPAIR, 256, {**dh, C.TEE_ATTR_DH_X_BITS: 8}) == NOT_FOUND
    assert populated(room, C.TEE_TYPE_DH_KEYPAIR, 256, {**dh, C.TEE_ATTR_DH_SUBPRIME: b"q"}) == OK
    assert populated(room, C.TEE_TYPE_DH_KEYPAIR, 256, dh) == OK


def test_pure_data_takes_none(room: ObjRoom) -> None:
    assert room.populate(room.alloc(C.TEE_TYPE_DATA, 0), {}) == gp.TEE_ERROR_NOT_IMPLEMENTED


# --- sizes ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("object_type", "size", "octets", "ret"),
    [
        (C.TEE_TYPE_AES, 128, 16, OK),
        (C.TEE_TYPE_AES, 256, 24, OK),
        (C.TEE_TYPE_AES, 128, 24, STATE),
        (C.TEE_TYPE_AES, 256, 33, SECURITY),
        (C.TEE_TYPE_AES, 256, 8, BAD),
        (C.TEE_TYPE_AES, 256, 17, BAD),
        (C.TEE_TYPE_AES, 256, 0, BAD),
        (C.TEE_TYPE_DES, 64, 8, OK),
        (C.TEE_TYPE_DES, 56, 8, OK),
        (C.TEE_TYPE_DES, 56, 7, BAD),
        (C.TEE_TYPE_DES3, 112, 16, OK),
        (C.TEE_TYPE_DES3, 112, 24, STATE),
        (C.TEE_TYPE_DES3, 168, 16, OK),
        (C.TEE_TYPE_HMAC_SM3, 1024, 64, OK),
        (C.TEE_TYPE_HMAC_SM3, 1024, 65, SECURITY),
        (C.TEE_TYPE_GENERIC_SECRET, 0, 0, OK),
        (C.TEE_TYPE_GENERIC_SECRET, 4096, 512, OK),
        (C.TEE_TYPE_GENERIC_SECRET, 4096, 513, SECURITY),
        (C.TEE_TYPE_GENERIC_SECRET, 4088, 512, STATE),
    ],
)
def test_sizes_of_secrets(room: ObjRoom, object_type: int, size: int, octets: int, ret: int) -> None:
    assert populated(room, object_type, size, {SECRET: bytes(octets)}) == ret


def test_sizes_told_of_legacy_des_keys(room: ObjRoom) -> None:
    """The parity bits are taken off twice, as upstream does."""
    for object_type, size, octets, told in ((C.TEE_TYPE_DES, 56, 8, 49), (C.TEE_TYPE_DES3, 168, 24, 147)):
        assert room.info(room.made(object_type, size, {SECRET: bytes(octets)})).size == told
    assert room.info(room.made(C.TEE_TYPE_DES, 64, {SECRET: bytes(8)})).size == 64


def test_sizes_of_numbers(room: ObjRoom) -> None:
    modulus, exponent = C.TEE_ATTR_RSA_MODULUS, C.TEE_ATTR_RSA_PUBLIC_EXPONENT
    for octets, ret in ((32, OK), (31, BAD), (64, OK), (65, STATE)):
        assert populated(room, C.TEE_TYPE_RSA_PUBLIC_KEY, 512, {modulus: b"\xff" * octets, exponent: b"\3"}) == ret
    for octets, ret in ((512, OK), (513, BAD), (4096, BAD), (4097, OOM)):
        values = {exponent: b"\xff" * octets, modulus: b"\xff" * 32}
        assert populated(room, C.TEE_TYPE_RSA_PUBLIC_KEY, 512, values) == ret
    handle = room.made(C.TEE_TYPE_RSA_PUBLIC_KEY, 512, {modulus: bytes(40) + b"\1", exponent: bytes(4000) + b"\3"})
    assert (room.attr(handle, modulus), room.attr(handle, exponent)) == (b"\1", b"\3")
    assert room.info(handle).size == 328, "the octets count, not what they say"


@pytest.mark.parametrize("attr_id", [C.TEE_ATTR_DSA_BASE, C.TEE_ATTR_DSA_PUBLIC_VALUE])
def test_numbers_bounded_by_the_objects_size(room: ObjRoom, attr_id: int) -> None:
    assert populated(room, C.TEE_TYPE_DSA_PUBLIC_KEY, 512, {**DSA_PUBLIC, attr_id: b"\1" + bytes(64)}) == STATE
    assert populated(room, C.TEE_TYPE_DSA_PUBLIC_KEY, 512, {**DSA_PUBLIC, attr_id: b"\0" + b"\xff" * 64}) == OK


@pytest.mark.parametrize(
    ("size", "curve", "ret"),
    [
        (521, C.TEE_ECC_CURVE_NIST_P192, OK),
        (521, C.TEE_ECC_CURVE_NIST_P521, OK),
        (384, C.TEE_ECC_CURVE_NIST_P521, STATE),
        (256, C.TEE_ECC_CURVE_25519, OK),
        (256, 0, UNSUPPORTED),
        (256, 0xFFFFFFFF, UNSUPPORTED),
    ],
)
def test_curves(room: ObjRoom, size: int, curve: int, ret: int) -> None:
    assert populated(room, C.TEE_TYPE_ECDSA_PUBLIC_KEY, size, {**XY, C.TEE_ATTR_ECC_CURVE: curve}) == ret


def test_an_object_that_was_refused_takes_another_key(room: ObjRoom) -> None:
    handle = room.alloc(C.TEE_TYPE_RSA_KEYPAIR, 512)
    assert room.populate(handle, {**RSA_CRT, C.TEE_ATTR_RSA_MODULUS: b"\1" * 65}) == STATE
    assert room.populate(handle, RSA) == OK
    assert room.get_attr(handle, C.TEE_ATTR_RSA_PRIME1)[0] == NOT_FOUND


# --- generating -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("object_type", "size", "params", "octets"),
    [
        (C.TEE_TYPE_ECDSA_KEYPAIR, 256, P256, {C.TEE_ATTR_ECC_CURVE: 8}),
        (C.TEE_TYPE_SM2_PKE_KEYPAIR, 256, {}, {}),
        (C.TEE_TYPE_ED25519_KEYPAIR, 256, {}, {C.TEE_ATTR_ED25519_PRIVATE_VALUE: 32}),
        (C.TEE_TYPE_X25519_KEYPAIR, 256, {}, {C.TEE_ATTR_X25519_PUBLIC_VALUE: 32}),
        (C.TEE_TYPE_X448_KEYPAIR, 448, {}, {C.TEE_ATTR_X448_PRIVATE_VALUE: 56}),
        (C.TEE_TYPE_RSA_KEYPAIR, 1024, {}, {C.TEE_ATTR_RSA_MODULUS: 128, C.TEE_ATTR_RSA_PUBLIC_EXPONENT: 3}),
        (
            C.TEE_TYPE_RSA_KEYPAIR,
            1024,
            {C.TEE_ATTR_RSA_PUBLIC_EXPONENT: b"\1\0\0\0\x0f"},
            {C.TEE_ATTR_RSA_PUBLIC_EXPONENT: 5},
        ),
    ],
)
def test_generated_key_pairs(
    room: ObjRoom, object_type: int, size: int, params: Values, octets: dict[int, int]
) -> None:
    handle = room.alloc(object_type, size)
    assert room.generate(handle, size, params) == OK
    assert (room.info(handle).size, room.info(handle).flags) == (size, TEE_HANDLE_FLAG_INITIALIZED)
    o = room.obj(handle)
    props = next(p for p in OBJECT_TYPES if p.object_type == object_type)
    assert o.have_attrs == props.all_attrs
    for row in props.attrs:
        assert len(room.attr(handle, row.attr_id)) == octets.get(row.attr_id, len(room.attr(handle, row.attr_id)))
        assert any(room.attr(handle, row.attr_id))
    assert native_key(o) is native_key(o)


def test_a_key_is_loaded_once_for_all_its_copies(room: ObjRoom) -> None:
    pair, copy, public = (
        room.alloc(kind, 256)
        for kind in (C.TEE_TYPE_ECDSA_KEYPAIR, C.TEE_TYPE_ECDSA_KEYPAIR, C.TEE_TYPE_ECDSA_PUBLIC_KEY)
    )
    assert room.generate(pair, 256, P256) == OK
    assert room.call(scn.TEE_SCN_CRYP_OBJ_COPY, copy, pair) == OK
    assert room.call(scn.TEE_SCN_CRYP_OBJ_COPY, public, pair) == OK
    loaded = native_key(room.obj(copy))
    assert native_key(room.obj(pair)) is loaded
    assert native_key(room.obj(public)) is not loaded, "it is another key"
    assert room.call(scn.TEE_SCN_CRYP_OBJ_RESET, pair) == OK
    assert room.generate(pair, 256, P256) == OK
    assert native_key(room.obj(pair)) is not loaded
    assert native_key(room.obj(copy)) is loaded


@pytest.mark.parametrize("exponent", [b"", b"\0", b"\3", b"\xff\xff", b"\1\0\0", b"\1\0\2", b"\1" + bytes(31) + b"\1"])
def test_public_exponents_nobody_should_use(room: ObjRoom, exponent: bytes) -> None:
    handle = room.alloc(C.TEE_TYPE_RSA_KEYPAIR, 1024)
    assert room.generate(handle, 1024, {C.TEE_ATTR_RSA_PUBLIC_EXPONENT: exponent}) == BAD
    assert room.info(handle).flags == 0
    assert room.generate(handle, 1024) == OK, "the object is as good as new"


def test_generation_takes_its_parameters_and_nothing_else(room: ObjRoom) -> None:
    ec = room.alloc(C.TEE_TYPE_ECDSA_KEYPAIR, 256)
    assert room.generate(ec, 256) == NOT_FOUND
    assert room.generate(ec, 256, {**P256, **XY}) == NOT_FOUND
    assert room.generate(ec, 256, {C.TEE_ATTR_ECC_CURVE: C.TEE_ECC_CURVE_NIST_P192}) == BAD, "another size"
    assert room.generate(ec, 256, P256) == OK
    dsa = room.alloc(C.TEE_TYPE_DSA_KEYPAIR, 512)
    assert room.generate(dsa, 512, {C.TEE_ATTR_DSA_PRIME: b"\xf1" * 64}) == NOT_FOUND


def test_dh_keys_have_the_subprime_that_was_given(room: ObjRoom) -> None:
    params: Values = {C.TEE_ATTR_DH_PRIME: b"\xff" * 31 + b"\x43", C.TEE_ATTR_DH_BASE: b"\2"}
    handle = room.alloc(C.TEE_TYPE_DH_KEYPAIR, 256)
    assert room.generate(handle, 256, params) == OK
    assert room.get_attr(handle, C.TEE_ATTR_DH_SUBPRIME)[0] == NOT_FOUND
    assert room.attr(handle, C.TEE_ATTR_DH_X_BITS) == bytes(8)
    assert room.attr(handle, C.TEE_ATTR_DH_PRIME) == params[C.TEE_ATTR_DH_PRIME]
    other = room.alloc(C.TEE_TYPE_DH_KEYPAIR, 256)
    assert room.generate(other, 256, {**params, C.TEE_ATTR_DH_SUBPRIME: b"\x7f" * 20}) == OK
    assert room.attr(other, C.TEE_ATTR_DH_SUBPRIME) == b"\x7f" * 20


# --- hostile arrays ------------------------------------------------------------------------------------------------------------------

_IDS = sorted({row.attr_id for props in OBJECT_TYPES for row in props.attrs} | {0, SECRET | C.TEE_ATTR_FLAG_VALUE})
_NUMBERS = st.sampled_from(
    [
        *(0, 1, 3, 8, 16, 24, 32, 56, 64, 65, 512, 513, 4096, 4097, 0x300, 0x400),
        *(DATA, VALUES, VALUES + 1, CODE, NOWHERE, DATA + PAGES * PAGE - 16),
        *((1 << 32) - 1, 1 << 32, (1 << 64) - 1),
    ]
)
_ATTRS = st.lists(st.tuples(_NUMBERS, _NUMBERS, st.sampled_from(_IDS)), max_size=9)


@given(st.sampled_from(OBJECT_TYPES), _ATTRS, st.binary(min_size=32, max_size=64), st.booleans(), st.data())
def test_any_array_gets_an_answer(
    props: ObjectType, attrs: list[tuple[int, int, int]], octets: bytes, own: bool, data: st.DataObject
) -> None:
    if own:
        attrs = [(a, b, data.draw(st.sampled_from(list(props.index)))) for a, b, _ in attrs]
    room = ObjRoom()
    handle = room.alloc(props.object_type, props.max_size)
    room.put(VALUES, octets)
    ret = room.call(scn.TEE_SCN_CRYP_OBJ_POPULATE, handle, room.put_attrs(*attrs), len(attrs))
    assert ret in (OK, NOT_FOUND, DENIED, SECURITY, STATE, BAD, OOM, UNSUPPORTED)
    o = room.obj(handle)
    if ret == OK:
        again = TeeObj()
        tee_obj_set_type(again, props.object_type, props.max_size)
        tee_obj_attr_from_binary(again, tee_obj_attr_to_binary(o))
        assert {k: v for k, v in again.attrs.items() if v} == {k: v for k, v in o.attrs.items() if v}
    else:
        assert not o.handle_flags
        assert room.get_attr(handle, props.attrs[0].attr_id)[0] == BAD


# --- the stored form --------------------------------------------------------------------------------------------------------------------


def obj(object_type: int, size: int) -> TeeObj:
    o = TeeObj()
    tee_obj_set_type(o, object_type, size)
    return o


def test_the_stored_form_is_upstreams(room: ObjRoom) -> None:
    def binary(object_type: int, size: int, values: Values) -> str:
        return tee_obj_attr_to_binary(room.obj(room.made(object_type, size, values))).hex()

    assert binary(C.TEE_TYPE_AES, 128, {SECRET: bytes(range(16))}) == "00000010" + bytes(range(16)).hex()
    rsa = {C.TEE_ATTR_RSA_MODULUS: b"\0" + b"\xc1" * 32, C.TEE_ATTR_RSA_PUBLIC_EXPONENT: b"\1\0\1"}
    assert binary(C.TEE_TYPE_RSA_PUBLIC_KEY, 512, rsa) == "00000020" + "c1" * 32 + "00000003010001"
    pair = binary(C.TEE_TYPE_RSA_KEYPAIR, 512, RSA)
    assert pair == "00000040" + "c1" * 64 + "00000003010001" + "00000040" + "51" * 64 + "00000000" * 5
    ec = binary(C.TEE_TYPE_ECDSA_PUBLIC_KEY, 256, {**P256, **XY})
    assert ec == "00000020" + "21" * 32 + "00000020" + "23" * 32 + "00000003"
    assert tee_obj_attr_to_binary(obj(C.TEE_TYPE_ED25519_PUBLIC_KEY, 256)).hex() == "00000020" + "00" * 32
    assert tee_obj_attr_to_binary(obj(C.TEE_TYPE_DATA, 0)) == b""


@pytest.mark.parametrize("props", OBJECT_TYPES, ids=lambda p: f"{p.object_type:x}")
def test_cut_short_it_is_corrupt(props: ObjectType) -> None:
    whole = tee_obj_attr_to_binary(obj(props.object_type, props.max_size))
    tee_obj_attr_from_binary(obj(props.object_type, props.max_size), whole + b"more does not matter")
    for size in range(len(whole)):
        with pytest.raises(TeeError) as caught:
            tee_obj_attr_from_binary(obj(props.object_type, props.max_size), whole[:size])
        assert caught.value.code == gp.TEE_ERROR_CORRUPT_OBJECT


_SIZES = st.sampled_from([0, 1, 3, 16, 31, 32, 33, 56, 57, 64, 512, 513, 0x300, 0x400, (1 << 32) - 1]) | st.integers(
    0, (1 << 32) - 1
)
_PIECE = st.tuples(_SIZES, st.binary(max_size=70)).map(lambda p: p[0].to_bytes(4, "big") + p[1])
_WELL_FORMED = st.binary(max_size=64).map(lambda b: len(b).to_bytes(4, "big") + b)


@given(
    st.sampled_from(OBJECT_TYPES),
    st.binary(max_size=300) | st.lists(_PIECE | _WELL_FORMED, max_size=9).map(b"".join),
)
def test_any_octets_are_a_key_or_corrupt(props: ObjectType, octets: bytes) -> None:
    o = obj(props.object_type, props.max_size)
    try:
        tee_obj_attr_from_binary(o, octets)
    except TeeError as e:
        assert e.code == gp.TEE_ERROR_CORRUPT_OBJECT
        assert not o.attrs
        return
    assert set(o.attrs) == set(props.index)
    again = obj(props.object_type, props.max_size)
    tee_obj_attr_from_binary(again, tee_obj_attr_to_binary(o))
    assert again.attrs == o.attrs
    copy = obj(props.object_type, props.max_size)
    tee_obj_attr_copy_from(copy, o)
    assert copy.attrs == o.attrs


_ASYMMETRIC = [p for p in OBJECT_TYPES if not p.secret_size]


@given(st.sampled_from(_ASYMMETRIC), st.lists(_WELL_FORMED, min_size=8, max_size=8), st.data())
def test_any_key_is_loaded_or_refused(props: ObjectType, values: list[bytes], data: st.DataObject) -> None:
    curves = st.sampled_from([0, 1, 3, 5, 0x300, 0x400, 0xFFFFFFFF])
    o = obj(props.object_type, props.max_size)
    parts = [
        data.draw(curves).to_bytes(4, "big") if row.kind is Kind.VALUE else value
        for row, value in zip(props.attrs, values, strict=False)
    ]
    try:
        tee_obj_attr_from_binary(o, b"".join(parts))
        native_key(o)
    except TeeError:
        pass
