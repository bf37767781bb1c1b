"""System calls about transient objects: from allocation to the end of the TA, misuse in the order it is found."""

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obj_kit import (
    BAD,
    CODE,
    DATA,
    DENIED,
    NOT_FOUND,
    NOWHERE,
    OK,
    OOM,
    OUT,
    SECURITY,
    SHORT,
    STATE,
    UNSUPPORTED,
    VALUES,
    ObjRoom,
    Values,
)

from optemu.abi import cryp, gp
from optemu.abi import syscalls as scn
from optemu.abi.obj import TEE_HANDLE_FLAG_INITIALIZED
from optemu.secure_world.core import tee_obj
from optemu.secure_world.core.tee_obj import OBJECTS_HEAP

SECRET = cryp.TEE_ATTR_SECRET_VALUE
KEY = bytes(range(16))


@pytest.fixture
def room() -> ObjRoom:
    return ObjRoom()


# --- alloc, info, close ------------------------------------------------------------------------------------------------


def test_a_new_object_is_empty(room: ObjRoom) -> None:
    assert room.info(room.alloc(cryp.TEE_TYPE_AES, 192)) == (cryp.TEE_TYPE_AES, 0, 192, 0xFFFFFFFF, 0, 0, 0)


@pytest.mark.parametrize(
    ("object_type", "size"),
    [
        (cryp.TEE_TYPE_AES, 64),
        (cryp.TEE_TYPE_AES, 100),
        (cryp.TEE_TYPE_AES, 320),
        (cryp.TEE_TYPE_AES, 1 << 32 | 128),
        (cryp.TEE_TYPE_AES, (1 << 64) - 64),
        (cryp.TEE_TYPE_DES, 48),
        (cryp.TEE_TYPE_DES3, 56),
        (cryp.TEE_TYPE_HMAC_SHA1, 72),
        (cryp.TEE_TYPE_RSA_KEYPAIR, 255),
        (cryp.TEE_TYPE_RSA_KEYPAIR, 4097),
        (cryp.TEE_TYPE_DSA_KEYPAIR, 1000),
        (cryp.TEE_TYPE_DATA, 8),
        (cryp.TEE_TYPE_ILLEGAL_VALUE, 0),
        (cryp.TEE_TYPE_X25519_PUBLIC_KEY, 256),
    ],
)
def test_types_and_sizes_that_are_not_there(room: ObjRoom, object_type: int, size: int) -> None:
    assert room.call(scn.TEE_SCN_CRYP_OBJ_ALLOC, object_type, size, OUT) == UNSUPPORTED
    assert not room.ta.objs


@pytest.mark.parametrize(
    ("object_type", "size"),
    [
        (cryp.TEE_TYPE_DES, 56),
        (cryp.TEE_TYPE_DES, 64),
        (cryp.TEE_TYPE_DES3, 112),
        (cryp.TEE_TYPE_DES3, 168),
        (cryp.TEE_TYPE_RSA_KEYPAIR, 257),
        (cryp.TEE_TYPE_GENERIC_SECRET, 0),
        (cryp.TEE_TYPE_DATA, 0),
        (1 << 32 | cryp.TEE_TYPE_AES, 128),
    ],
)
def test_types_and_sizes_that_are_there(room: ObjRoom, object_type: int, size: int) -> None:
    assert room.info(room.alloc(object_type, size)).max_size == size


@pytest.mark.parametrize("where", [0, CODE, NOWHERE, DATA - 2, (1 << 64) - 2])
def test_a_handle_that_cannot_be_told_is_taken_back(room: ObjRoom, where: int) -> None:
    assert room.call(scn.TEE_SCN_CRYP_OBJ_ALLOC, cryp.TEE_TYPE_AES, 128, where) == DENIED
    assert not room.ta.objs


def test_handles_and_information_go_to_the_tas_own_memory_only(room: ObjRoom) -> None:
    va = room.share()
    assert room.call(scn.TEE_SCN_CRYP_OBJ_ALLOC, cryp.TEE_TYPE_AES, 128, va) == DENIED
    assert room.call(scn.TEE_SCN_CRYP_OBJ_GET_INFO, room.aes(), va) == DENIED


def test_closed_handles_are_no_more(room: ObjRoom) -> None:
    handle = room.aes()
    o = room.obj(handle)
    key = o.attrs[SECRET]
    assert room.close(1 << 32 | handle) == OK  # the upper half of a register is no part of it
    assert key == bytes(16), "the key is wiped"
    assert room.close(handle) == STATE
    assert room.call(scn.TEE_SCN_CRYP_OBJ_GET_INFO, handle, OUT) == STATE


def test_made_up_handles(room: ObjRoom) -> None:
    handle = room.aes()
    for made_up in (0, 1, handle + 1, 0xFFFFFFFF, (1 << 64) - 1):
        assert room.close(made_up) == STATE
        assert room.call(scn.TEE_SCN_CRYP_OBJ_GET_INFO, made_up, OUT) == STATE
        assert room.call(scn.TEE_SCN_CRYP_OBJ_RESTRICT_USAGE, made_up, 0) == STATE
        assert room.call(scn.TEE_SCN_CRYP_OBJ_RESET, made_up) == STATE
        assert room.call(scn.TEE_SCN_CRYP_OBJ_COPY, made_up, handle) == STATE
        assert room.call(scn.TEE_SCN_CRYP_OBJ_COPY, handle, made_up) == STATE
        assert room.populate(made_up, {}) == STATE
        assert room.generate(made_up, 128) == STATE
        assert room.get_attr(made_up, SECRET)[0] == NOT_FOUND, "the one that says it differently"


def test_an_operations_object_is_not_closed(room: ObjRoom) -> None:
    handle = room.aes()
    room.obj(handle).busy = True
    assert room.close(handle) == NOT_FOUND
    assert handle in room.ta.objs


# --- ten thousand objects ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("object_type", "size", "least"), [(cryp.TEE_TYPE_AES, 128, 5000), (cryp.TEE_TYPE_RSA_KEYPAIR, 2048, 200)]
)
def test_objects_never_freed_are_bounded_and_reclaimed(room: ObjRoom, object_type: int, size: int, least: int) -> None:
    made = 0
    while (ret := room.call(scn.TEE_SCN_CRYP_OBJ_ALLOC, object_type, size, OUT)) == OK:
        made += 1
        assert made <= 10_000
    assert ret == OOM
    assert made >= least
    assert sum(o.heap for o in room.ta.objs.values()) < OBJECTS_HEAP + 8192
    first = next(iter(room.ta.objs))
    assert room.close(first) == OK
    assert room.call(scn.TEE_SCN_CRYP_OBJ_ALLOC, cryp.TEE_TYPE_AES, 128, OUT) == OK


def test_handles_begin_again_and_leave_out_what_is_in_use(room: ObjRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    first = room.aes()
    monkeypatch.setattr(
        tee_obj, "_handles", map(tee_obj._handle, itertools.count((first - 0x1000) // 16 + (1 << 28) - 256))
    )
    assert room.call(scn.TEE_SCN_CRYP_OBJ_ALLOC, cryp.TEE_TYPE_AES, 128, OUT) == OOM
    assert room.attr(first, SECRET) == KEY
    assert room.alloc(cryp.TEE_TYPE_AES, 128) == first + 16
    assert tee_obj._handle((1 << 28) - 257) < 1 << 32


def test_a_ta_that_is_gone_leaves_no_keys(room: ObjRoom) -> None:
    keys = [room.obj(room.aes()).attrs[SECRET] for _ in range(3)]
    room.ta.instance = None
    room.ta.release_state(room.thread)
    assert not room.ta.objs
    assert keys == [bytes(16)] * 3


# --- usage ---------------------------------------------------------------------------------------------------------------


def test_usage_is_only_ever_restricted(room: ObjRoom) -> None:
    handle = room.aes()
    for usage, left in ((0xFFFF_FFFF_0000_00F7, 0xF7), (0xFF, 0xF7), (1 << 32 | 0x1F, 0x17)):
        assert room.call(scn.TEE_SCN_CRYP_OBJ_RESTRICT_USAGE, handle, usage) == OK
        assert room.info(handle).usage == left


def test_secrets_need_extractable_and_public_values_do_not(room: ObjRoom) -> None:
    values = {cryp.TEE_ATTR_RSA_MODULUS: b"\xff" * 32, cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT: b"\3"}
    handle = room.made(cryp.TEE_TYPE_RSA_KEYPAIR, 256, {**values, cryp.TEE_ATTR_RSA_PRIVATE_EXPONENT: b"\7"})
    assert room.attr(handle, cryp.TEE_ATTR_RSA_PRIVATE_EXPONENT) == b"\7"
    room.call(scn.TEE_SCN_CRYP_OBJ_RESTRICT_USAGE, handle, ~cryp.TEE_USAGE_EXTRACTABLE & 0xFFFFFFFF)
    assert room.get_attr(handle, cryp.TEE_ATTR_RSA_PRIVATE_EXPONENT)[0] == BAD
    assert room.get_attr(handle, 0)[0] == BAD, "before it is looked up"
    assert room.attr(handle, cryp.TEE_ATTR_RSA_MODULUS) == b"\xff" * 32


# --- get_attr --------------------------------------------------------------------------------------------------------------


def test_attributes_of_an_empty_object(room: ObjRoom) -> None:
    assert room.get_attr(room.alloc(cryp.TEE_TYPE_AES, 128), SECRET)[0] == BAD


def test_attributes_not_of_the_type_or_not_set(room: ObjRoom) -> None:
    assert room.get_attr(room.aes(), cryp.TEE_ATTR_RSA_MODULUS)[0] == NOT_FOUND
    handle = room.made(
        cryp.TEE_TYPE_RSA_KEYPAIR,
        256,
        {
            cryp.TEE_ATTR_RSA_MODULUS: b"\xff" * 32,
            cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT: b"\3",
            cryp.TEE_ATTR_RSA_PRIVATE_EXPONENT: b"\7",
        },
    )
    assert room.get_attr(handle, cryp.TEE_ATTR_RSA_PRIME1)[0] == NOT_FOUND


def test_a_short_buffer_is_told_the_size(room: ObjRoom) -> None:
    handle = room.aes(KEY)
    assert room.get_attr(handle, SECRET, 15) == (SHORT, 16)
    assert room.get_attr(handle, SECRET, 0) == (SHORT, 16)
    assert room.get_attr(handle, SECRET, 16, buffer=0) == (SHORT, 16)
    assert room.get_attr(handle, SECRET, 16) == (OK, 16)
    assert room.get(VALUES, 16) == KEY


def test_a_value_tells_no_size(room: ObjRoom) -> None:
    p256 = cryp.TEE_ECC_CURVE_NIST_P256
    handle = room.made(
        cryp.TEE_TYPE_ECDSA_PUBLIC_KEY,
        256,
        {cryp.TEE_ATTR_ECC_PUBLIC_VALUE_X: b"x", cryp.TEE_ATTR_ECC_PUBLIC_VALUE_Y: b"y", cryp.TEE_ATTR_ECC_CURVE: p256},
    )
    assert room.get_attr(handle, cryp.TEE_ATTR_ECC_CURVE, 7) == (SHORT, 7)
    assert room.get_attr(handle, cryp.TEE_ATTR_ECC_CURVE, 9) == (OK, 9)
    assert room.get(VALUES, 8) == struct.pack("<II", p256, 0)


def test_a_number_that_is_zero_is_told_as_nothing(room: ObjRoom) -> None:
    values = {cryp.TEE_ATTR_RSA_MODULUS: bytes(32), cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT: b""}
    handle = room.made(cryp.TEE_TYPE_RSA_PUBLIC_KEY, 256, values)
    assert room.get_attr(handle, cryp.TEE_ATTR_RSA_MODULUS, 0, buffer=0) == (OK, 0)
    assert room.get_attr(handle, cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT, 0, buffer=0) == (OK, 0)


@pytest.mark.parametrize("size_va", [0, CODE, NOWHERE, (1 << 64) - 4])
def test_where_the_size_is_must_be_the_tas(room: ObjRoom, size_va: int) -> None:
    call = scn.TEE_SCN_CRYP_OBJ_GET_ATTR
    room.put(VALUES, b"untouched")
    assert room.call(call, room.aes(), SECRET, VALUES + 512, size_va) == DENIED
    assert room.get(VALUES + 512, 16) == bytes(16)


def test_where_the_value_goes_must_be_the_tas(room: ObjRoom) -> None:
    handle = room.aes()
    for buffer in (CODE, NOWHERE, (1 << 64) - 8, DATA - 8):
        assert room.get_attr(handle, SECRET, 16, buffer)[0] == DENIED
    shared = room.share()
    assert room.get_attr(handle, SECRET, 16, shared)[0] == OK, "the normal world's memory will do"
    assert room.get(shared, 16) == KEY


# --- reset -------------------------------------------------------------------------------------------------------------------


def test_reset_begins_again(room: ObjRoom) -> None:
    handle = room.aes()
    key = room.obj(handle).attrs[SECRET]
    room.call(scn.TEE_SCN_CRYP_OBJ_RESTRICT_USAGE, handle, 0)
    assert room.populate(handle, {SECRET: KEY}) == BAD
    assert room.call(scn.TEE_SCN_CRYP_OBJ_RESET, handle) == OK
    assert key == bytes(16)
    assert room.info(handle) == (cryp.TEE_TYPE_AES, 0, 256, 0xFFFFFFFF, 0, 0, 0)
    assert room.get_attr(handle, SECRET)[0] == BAD
    assert room.populate(handle, {SECRET: KEY[::-1]}) == OK
    assert room.attr(handle, SECRET) == KEY[::-1]


# --- copy --------------------------------------------------------------------------------------------------------------------


def test_a_copy_is_its_own(room: ObjRoom) -> None:
    src, dst = room.aes(), room.alloc(cryp.TEE_TYPE_AES, 256)
    room.call(scn.TEE_SCN_CRYP_OBJ_RESTRICT_USAGE, src, 0xF)
    assert room.call(scn.TEE_SCN_CRYP_OBJ_COPY, dst, src) == OK
    room.close(src)
    assert room.info(dst) == (cryp.TEE_TYPE_AES, 128, 256, 0xF, 0, 0, TEE_HANDLE_FLAG_INITIALIZED)
    assert room.attr(dst, SECRET) == KEY


def test_copies_that_cannot_be(room: ObjRoom) -> None:
    full, empty = room.aes(), room.alloc(cryp.TEE_TYPE_AES, 256)
    copy = scn.TEE_SCN_CRYP_OBJ_COPY
    assert room.call(copy, empty, empty) == BAD
    assert room.call(copy, full, full) == BAD
    assert room.call(copy, full, empty) == BAD
    assert room.call(copy, room.alloc(cryp.TEE_TYPE_SM4, 128), full) == BAD


def test_the_public_half_of_a_key_pair(room: ObjRoom) -> None:
    public = {cryp.TEE_ATTR_RSA_MODULUS: b"\xff" * 32, cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT: b"\3"}
    pair = room.made(cryp.TEE_TYPE_RSA_KEYPAIR, 256, {**public, cryp.TEE_ATTR_RSA_PRIVATE_EXPONENT: b"\7"})
    dst = room.alloc(cryp.TEE_TYPE_RSA_PUBLIC_KEY, 256)
    assert room.call(scn.TEE_SCN_CRYP_OBJ_COPY, room.alloc(cryp.TEE_TYPE_DSA_PUBLIC_KEY, 512), pair) == BAD
    assert room.call(scn.TEE_SCN_CRYP_OBJ_COPY, dst, pair) == OK
    assert {attr_id: room.attr(dst, attr_id) for attr_id in public} == public
    assert set(room.obj(dst).attrs) == set(public)
    assert room.call(scn.TEE_SCN_CRYP_OBJ_COPY, room.alloc(cryp.TEE_TYPE_RSA_KEYPAIR, 256), dst) == BAD


# --- generating secrets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("object_type", "size", "octets"),
    [
        (cryp.TEE_TYPE_AES, 192, 24),
        (cryp.TEE_TYPE_DES, 56, 8),
        (cryp.TEE_TYPE_DES, 64, 8),
        (cryp.TEE_TYPE_DES3, 112, 16),
        (cryp.TEE_TYPE_DES3, 192, 24),
        (cryp.TEE_TYPE_HMAC_SHA512, 1024, 128),
        (cryp.TEE_TYPE_GENERIC_SECRET, 0, 0),
        (cryp.TEE_TYPE_GENERIC_SECRET, 4096, 512),
    ],
)
def test_generated_secrets(room: ObjRoom, object_type: int, size: int, octets: int) -> None:
    handle = room.alloc(object_type, size)
    assert room.generate(handle, size) == OK
    assert len(room.attr(handle, SECRET)) == octets
    info = room.info(handle)
    assert (info.size, info.flags) == (size, TEE_HANDLE_FLAG_INITIALIZED)
    assert room.generate(handle, size) == STATE, "only once"


def test_generated_secrets_differ(room: ObjRoom) -> None:
    keys = set()
    for _ in range(5):
        handle = room.alloc(cryp.TEE_TYPE_AES, 256)
        assert room.generate(handle, 256) == OK
        keys.add(room.attr(handle, SECRET))
    assert len(keys) == 5


def test_keys_that_are_not_generated(room: ObjRoom) -> None:
    aes = room.alloc(cryp.TEE_TYPE_AES, 128)
    assert room.generate(aes, 100) == UNSUPPORTED
    assert room.generate(aes, 1 << 32 | 128) == UNSUPPORTED
    assert room.generate(aes, 128, {SECRET: KEY}) == NOT_FOUND, "it takes no attributes"
    assert room.generate(aes, 256) == OK, "upstream leaves it to the TA's library that this is more than was asked for"
    assert room.generate(room.alloc(cryp.TEE_TYPE_HMAC_SM3, 1024), 1024) == gp.TEE_ERROR_EXCESS_DATA
    assert room.generate(room.alloc(cryp.TEE_TYPE_DATA, 0), 0) == UNSUPPORTED
    for object_type in (cryp.TEE_TYPE_HKDF_IKM, cryp.TEE_TYPE_RSA_PUBLIC_KEY, cryp.TEE_TYPE_ED25519_PUBLIC_KEY):
        assert room.generate(room.alloc(object_type, 256), 256) == gp.TEE_ERROR_BAD_FORMAT


def test_wrong_keys_of_fixed_size(room: ObjRoom) -> None:
    handle = room.alloc(cryp.TEE_TYPE_ED25519_PUBLIC_KEY, 256)
    for size in (0, 31, 33):
        assert room.populate(handle, {cryp.TEE_ATTR_ED25519_PUBLIC_VALUE: bytes(size)}) == SECURITY
    assert room.populate(handle, {cryp.TEE_ATTR_ED25519_PUBLIC_VALUE: bytes(31) + b"!"}) == OK


# --- any calls in any order ----------------------------------------------------------------------------------------------------

_TYPES = st.sampled_from(
    [
        (cryp.TEE_TYPE_AES, 128),
        (cryp.TEE_TYPE_AES, 256),
        (cryp.TEE_TYPE_DES, 56),
        (cryp.TEE_TYPE_DATA, 0),
        (cryp.TEE_TYPE_ECDSA_KEYPAIR, 256),
        (cryp.TEE_TYPE_ECDSA_PUBLIC_KEY, 256),
        (cryp.TEE_TYPE_ED25519_KEYPAIR, 256),
        (cryp.TEE_TYPE_RSA_PUBLIC_KEY, 512),
    ]
)
_ADDRESSES = st.sampled_from([0, CODE, DATA, OUT, VALUES, DATA + 0x3FFC, NOWHERE, (1 << 64) - 4])
_CALLS = st.lists(
    st.tuples(
        st.sampled_from(["alloc", "close", "reset", "populate", "generate", "copy", "get", "info", "restrict"]),
        st.integers(0, 4),
        st.integers(0, 4),
        _TYPES,
        _ADDRESSES,
        _ADDRESSES,
    ),
    max_size=30,
)


@given(_CALLS)
def test_any_calls_in_any_order(calls: list[tuple[str, int, int, tuple[int, int], int, int]]) -> None:
    room = ObjRoom()
    p256 = cryp.TEE_ECC_CURVE_NIST_P256
    values: list[Values] = [{}, {SECRET: KEY}, {SECRET: KEY[:8]}, {cryp.TEE_ATTR_ECC_CURVE: p256}, {0: b""}]
    for name, n, m, (object_type, size), where, other in calls:
        handles = [*room.ta.objs, 0x123, 0, 0xFFFFFFFF]
        one, two = handles[n % len(handles)], handles[m % len(handles)]
        match name:
            case "alloc":
                ret = room.call(scn.TEE_SCN_CRYP_OBJ_ALLOC, object_type, size, where if m == 4 else OUT)
            case "close":
                ret = room.close(one)
            case "reset":
                ret = room.call(scn.TEE_SCN_CRYP_OBJ_RESET, one)
            case "populate":
                ret = room.populate(one, values[m])
            case "generate":
                ret = room.generate(one, size, values[m])
            case "copy":
                ret = room.call(scn.TEE_SCN_CRYP_OBJ_COPY, one, two)
            case "get":
                ret = room.call(scn.TEE_SCN_CRYP_OBJ_GET_ATTR, one, next(iter(values[m]), 0), where, other)
            case "info":
                ret = room.call(scn.TEE_SCN_CRYP_OBJ_GET_INFO, one, where)
            case _:
                ret = room.call(scn.TEE_SCN_CRYP_OBJ_RESTRICT_USAGE, one, where)
        assert ret == OK or gp.result_name(ret).startswith("TEE_ERROR_")
        for handle, o in room.ta.objs.items():
            assert handle == o.handle
            assert o.handle_flags in (0, TEE_HANDLE_FLAG_INITIALIZED)
    keys = [v for o in room.ta.objs.values() for v in o.attrs.values() if isinstance(v, bytearray)]
    room.ta.instance = None
    room.ta.release_state(room.thread)
    assert not any(any(key) for key in keys)
