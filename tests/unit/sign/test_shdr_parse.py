"""Signed headers come from the normal world: the parsers take any bytes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optemu.abi import shdr

HEADER = st.builds(
    lambda magic, t, size, algo, h, s, tail: struct.pack("<IIIIHH", magic, t, size, algo, h, s) + tail,
    st.sampled_from([shdr.SHDR_MAGIC, 0, 0xFFFFFFFF]),
    st.integers(0, 4),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 1, 32, 0xFFFF]),
    st.sampled_from([0, 1, 256, 0xFFFF]),
    st.binary(max_size=400),
)


@given(st.one_of(st.binary(max_size=100), HEADER), st.integers(-5, 600))
def test_any_bytes(img: bytes, offs: int) -> None:
    for parse in (shdr.parse_shdr, shdr.parse_bootstrap_ta, shdr.parse_encrypted_ta):
        try:
            parsed = parse(img, offs)
        except shdr.ShdrError:
            continue
        packed = parsed.pack()
        assert img[offs : offs + len(packed)] == packed


@given(st.binary(max_size=200), st.integers(0, 50), st.integers(-1, 300))
def test_any_subkey(img: bytes, offs: int, size: int) -> None:
    try:
        subkey = shdr.parse_subkey(img, offs, size)
    except shdr.ShdrError:
        return
    assert all(len(v) <= size for v in subkey.attrs.values())


def test_subkey_attributes() -> None:
    attrs = struct.pack("<IIIIII", shdr.TEE_ATTR_RSA_MODULUS, 60, 4, shdr.TEE_ATTR_RSA_PUBLIC_EXPONENT, 64, 3)
    body = bytes(16) + struct.pack("<IIIII", 5, 1, 2, 3, 2) + attrs + b"\1\2\3\4\1\0\1"
    subkey = shdr.parse_subkey(b"xx" + body, 2, len(body))
    assert subkey.attrs == {
        shdr.TEE_ATTR_RSA_MODULUS: b"\1\2\3\4",
        shdr.TEE_ATTR_RSA_PUBLIC_EXPONENT: b"\1\0\1",
    }
    assert (subkey.name_size, subkey.subkey_version, subkey.max_depth) == (5, 1, 2)


def test_attribute_count_beyond_the_image() -> None:
    body = bytes(16) + struct.pack("<IIIII", 0, 0, 0, 0, 0xFFFFFFFF) + bytes(64)
    with pytest.raises(shdr.ShdrError, match="attributes"):
        shdr.parse_subkey(body, 0, len(body))
