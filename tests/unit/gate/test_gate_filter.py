"""The BPF program, run by an interpreter that knows the few instructions it may consist of."""

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optemu.normal_world.gate.filter import SECCOMP_RET_ALLOW, SECCOMP_RET_USER_NOTIF, program
from optemu.normal_world.gate.kernel import ARCHS, Arch

ALL = [arch for archs in ARCHS.values() for arch in archs]
WORDS = st.integers(0, 2**64 - 1)


def run(code: bytes, data: bytes) -> int:
    accumulator, at = 0, 0
    while True:
        op, if_true, if_false, k = struct.unpack_from("=HBBI", code, 8 * at)
        at += 1
        if op == 0x20:
            assert k % 4 == 0
            (accumulator,) = struct.unpack_from("=I", data, k)
        elif op == 0x54:
            accumulator &= k
        elif op == 0x15:
            at += if_true if accumulator == k else if_false
        elif op == 0x06:
            return k
        else:
            raise AssertionError(f"instruction {op:#x} is not expected")


def decide(arch: int, number: int, *args: int, archs: list[Arch] = ALL) -> bool:
    """Whether the call is notified."""
    data = struct.pack("=iIQ6Q", number, arch, 0, *(args + (0,) * 6)[:6])
    action = run(program(archs), data)
    assert action in (SECCOMP_RET_ALLOW, SECCOMP_RET_USER_NOTIF)
    return action == SECCOMP_RET_USER_NOTIF


@pytest.mark.parametrize("arch", ALL)
def test_tee_ioctls_and_read_write_opens_are_notified(arch: Arch) -> None:
    assert decide(arch.audit, arch.ioctl, 3, 0x8010A403, 0x7FFF0000)
    assert decide(arch.audit, arch.ioctl, 3, 0xFFFFFFFF_C010A401, 0)
    assert decide(arch.audit, arch.openat, 2**64 - 100, 0x1000, os.O_RDWR | os.O_CLOEXEC)
    assert decide(arch.audit, arch.openat, 2**64 - 100, 0x1000, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    if arch.open is not None:
        assert decide(arch.audit, arch.open, 0x1000, os.O_RDWR)


@pytest.mark.parametrize("arch", ALL)
def test_others_are_not(arch: Arch) -> None:
    assert not decide(arch.audit, arch.ioctl, 3, 0x5401, 0xA400)  # TCGETS, our type byte in the wrong place
    for flags in (os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_RDWR | os.O_CREAT | os.O_EXCL, os.O_ACCMODE):
        assert not decide(arch.audit, arch.openat, 2**64 - 100, os.O_RDWR, flags)
        if arch.open is not None:
            assert not decide(arch.audit, arch.open, os.O_RDWR, flags)


def test_an_unknown_architecture_passes() -> None:
    assert not decide(0x12345678, 16, 3, 0x8010A403)


def test_numbers_of_one_architecture_mean_nothing_in_another() -> None:
    x86_64, i386 = ARCHS["x86_64"]
    assert not decide(i386.audit, x86_64.ioctl, 3, 0x8010A403)
    assert not decide(x86_64.audit, i386.ioctl, 3, 0x8010A403)


@given(st.sampled_from([*(arch.audit for arch in ALL), 0, 2**32 - 1]), st.integers(0, 600), WORDS, WORDS, WORDS)
def test_exactly_these(arch: int, number: int, a: int, b: int, c: int) -> None:
    wanted = False
    for known in ALL:
        if known.audit == arch:
            wanted = (
                (number == known.ioctl and (b >> 8) & 0xFF == 0xA4)
                or (number == known.openat and c & 0o203 == 2)
                or (number == known.open and b & 0o203 == 2)
            )
    assert decide(arch, number, a, b, c) == wanted


def test_it_is_short() -> None:
    assert len(program()) // 8 < 64
    assert all(len(program([arch])) % 8 == 0 for arch in ALL)
