"""The packets of the preload library, well-formed and not."""

import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import optemu.sdk
from optemu.abi import tee_ioctl
from optemu.normal_world.preload import wire

u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
WIRE_H = Path(optemu.sdk.__file__).parent / "preload" / "wire.h"


@given(st.binary(max_size=200))
def test_any_bytes(packet: bytes) -> None:
    try:
        request = wire.parse(packet)
    except wire.WireError:
        return
    assert request.kind in (wire.HELLO, wire.OPEN, wire.IOCTL, wire.ATTACH)
    assert not request.block or len(request.block) == struct.unpack_from("<Q", request.head, 8)[0]


@given(kind=st.integers(0, 8), cmd=u32, size=st.integers(0, 80), tail=st.binary(max_size=80), fd=st.integers(-1, 99))
def test_any_sizes(kind: int, cmd: int, size: int, tail: bytes, fd: int) -> None:
    packet = wire.TO_SERVER.pack(kind, cmd, 1, 2, fd, size) + tail
    try:
        request = wire.parse(packet)
    except wire.WireError:
        return
    assert request.head + request.block == tail
    assert len(request.head) == size


@given(arg=u64, block_addr=u64, block=st.binary(min_size=1, max_size=4096))
def test_an_invoke_comes_back_as_it_went(arg: int, block_addr: int, block: bytes) -> None:
    head = tee_ioctl.BUF_DATA.pack(block_addr, len(block))
    packet = wire.TO_SERVER.pack(wire.IOCTL, tee_ioctl.TEE_IOC_INVOKE, 9, arg, 3, len(head)) + head + block
    assert wire.parse(packet) == wire.Request(wire.IOCTL, tee_ioctl.TEE_IOC_INVOKE, 9, arg, 3, head, block_addr, block)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        wire.TO_SERVER.pack(wire.DATA, 0, 0, 0, 0, 0),
        wire.TO_SERVER.pack(wire.OPEN, 0, 0, 0, 0, 0) + b"more",
        wire.TO_SERVER.pack(wire.IOCTL, tee_ioctl.TEE_IOC_VERSION, 0, 0, 0, 12) + bytes(16),
        wire.TO_SERVER.pack(wire.IOCTL, tee_ioctl.TEE_IOC_INVOKE, 0, 0, 0, 16) + struct.pack("<QQ", 0, 3) + b"four",
        wire.TO_SERVER.pack(wire.IOCTL, tee_ioctl.TEE_IOC_INVOKE, 0, 0, 0, 2**32 - 1),
    ],
)
def test_what_the_library_never_sends(packet: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.parse(packet)


def test_both_languages_say_the_same() -> None:
    header = WIRE_H.read_text()
    names = [name.lower() for enum in re.findall(r"enum \w+ \{(.*?)\}", header, re.S) for name in _members(enum)]
    assert names == [
        *("hello", "open", "ioctl", "data", "fault", "descriptor", "attach"),
        *("wire_tee", "wire_teepriv"),
        *("done", "pass", "read", "write", "fetch", "knock"),
    ]
    assert [wire.HELLO, wire.ATTACH, wire.DONE, wire.KNOCK] == [1, 7, 1, 6]
    assert f"#define WIRE_VERSION {wire.VERSION}\n" in header
    assert _struct_size(header, "to_server") == wire.TO_SERVER.size
    assert _struct_size(header, "to_client") == wire.TO_CLIENT.size


def _members(enum: str) -> list[str]:
    return re.findall(r"(\w+)(?: = 1)?\s*,", re.sub(r"/\*.*?\*/", "", enum) + ",")


def _struct_size(header: str, name: str) -> int:
    body = re.search(rf"struct {name} \{{(.*?)\}}", header, re.S)
    assert body is not None
    return sum(int(bits) // 8 for bits in re.findall(r"int(\d+)_t", body[1]))
