"""Signed headers come from the normal world: the parsers take any bytes."""

import hashlib
import struct
from dataclasses import replace
from uuid import UUID

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


def subkey(attrs: bytes, count: int, name_size: int = 0) -> bytes:
    return bytes(16) + struct.pack("<IIIII", name_size, 1, 2, 3, count) + attrs


@given(st.one_of(st.binary(max_size=200), st.builds(subkey, st.binary(max_size=100), st.integers(0, 9))))
def test_any_subkey(img: bytes) -> None:
    try:
        parsed = shdr.parse_subkey(b"xx" + img, 2, len(img))
        attrs = parsed.attrs()
    except shdr.ShdrError:
        return
    assert len(attrs) <= parsed.attr_count
    assert all(bytes(v) in img for v in attrs.values())


def test_subkey_attributes() -> None:
    """The first of each id counts."""
    attrs = struct.pack("<9I", shdr.TEE_ATTR_RSA_MODULUS, 72, 4, 5, 76, 3, shdr.TEE_ATTR_RSA_MODULUS, 0, 1)
    body = subkey(attrs + b"\1\2\3\4\1\0\1", 3, name_size=5)
    parsed = shdr.parse_subkey(b"xx" + body, 2, len(body))
    assert parsed.attrs() == {shdr.TEE_ATTR_RSA_MODULUS: b"\1\2\3\4", 5: b"\1\0\1"}
    assert (parsed.name_size, parsed.subkey_version, parsed.max_depth) == (5, 1, 2)


@pytest.mark.parametrize(("offs", "size"), [(65, 0), (64, 1), (0, 65), (0xFFFFFFFF, 0xFFFFFFFF)])
def test_attribute_outside_the_subkey(offs: int, size: int) -> None:
    body = subkey(struct.pack("<III", 1, offs, size) + bytes(16), 1)
    assert len(body) == 64
    with pytest.raises(shdr.ShdrError, match="attribute 0x00000001"):
        shdr.parse_subkey(body, 0, len(body)).attrs()


def test_attribute_count_beyond_the_image() -> None:
    body = subkey(bytes(64), 0xFFFFFFFF)
    with pytest.raises(shdr.ShdrError, match="attributes"):
        shdr.parse_subkey(body, 0, len(body))


def test_name_space() -> None:
    """Python's UUID knows version and variant; the name ends at its first NUL."""
    space = bytes(range(16))
    parent = shdr.Subkey(space, 8, 0, 0, 0, 0, memoryview(b""))
    digest = hashlib.sha512(space + b"ta").digest()
    for name in (b"ta", b"ta\0\0", b"ta\0x"):
        assert parent.next_uuid(name) == UUID(bytes=digest[:16], version=5).bytes
    assert replace(parent, name_size=0).next_uuid(b"") == space


PART = st.builds(
    lambda t, size, h, s, body: struct.pack("<IIIIHH", shdr.SHDR_MAGIC, t, size, 0, h, s) + body,
    st.sampled_from([0, 1, 2, 3, 3, 3, 4]),
    st.sampled_from([0, 36, 48, 64, 0xFFFFFFFF]),
    st.sampled_from([0, 32]),
    st.sampled_from([0, 8]),
    st.one_of(st.binary(max_size=120), st.builds(subkey, st.binary(max_size=40), st.integers(0, 2), st.integers(0, 9))),
)


@given(st.one_of(st.binary(max_size=100), st.lists(PART, min_size=1, max_size=4).map(b"".join)))
def test_any_image(img: bytes) -> None:
    """The parts lie one behind the other and are all there is."""
    seen = 0
    try:
        for part in shdr.parse_image(img):
            assert img[seen:].startswith(part.header.pack())
            seen += part.header.size
            if isinstance(part, shdr.SubkeyPart):
                assert img[seen:].startswith(bytes(part.subkey.body) + part.name)
                seen += len(part.subkey.body) + len(part.name)
            else:
                assert img[seen:] == part.subheader + bytes(part.payload)
                seen = len(img)
    except shdr.ShdrError:
        return
    assert seen == len(img)
