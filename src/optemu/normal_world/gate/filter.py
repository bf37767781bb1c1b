"""The seccomp filter a client runs under: a classic BPF program over ``struct seccomp_data``.

It notifies the server of every ioctl of type 0xa4 and every open or openat for reading and writing, as libteec and
tee-supplicant open the device; with O_CREAT too, or the kernel would make a file where a board has the device. With
O_EXCL, as temporary files are made, it can only be meant for what is not there. All other calls pass at kernel speed.
"""

import os
import struct
from collections.abc import Iterable
from typing import Final

from optemu.abi.tee_ioctl import TEE_IOC_MAGIC
from optemu.normal_world.gate.kernel import ARCHS, Arch

SECCOMP_RET_ALLOW: Final = 0x7FFF0000
SECCOMP_RET_USER_NOTIF: Final = 0x7FC00000

_INSTRUCTION: Final = struct.Struct("=HBBI")
_LD_W_ABS: Final = 0x20
_ALU_AND_K: Final = 0x54
_JEQ_K: Final = 0x15
_RET_K: Final = 0x06

# struct seccomp_data: nr, arch, instruction_pointer, args[6]; only the low words of arguments are looked at
_NR: Final = 0
_ARCH: Final = 4
_ARGS: Final = 16

_IOCTL_TYPE_MASK: Final = 0xFF00
_OPEN_MASK: Final = os.O_ACCMODE | os.O_EXCL


def _load(offset: int) -> bytes:
    return _INSTRUCTION.pack(_LD_W_ABS, 0, 0, offset)


def _return(action: int) -> bytes:
    return _INSTRUCTION.pack(_RET_K, 0, 0, action)


def _if_equal(value: int, body: bytes) -> bytes:
    """Runs ``body`` if the accumulator is ``value``, else jumps over it."""
    return _INSTRUCTION.pack(_JEQ_K, 0, len(body) // _INSTRUCTION.size, value) + body


def _notify(argument: int, mask: int, value: int) -> bytes:
    """Ends the program: notify if ``args[argument] & mask == value``, else allow."""
    return (
        _load(_ARGS + 8 * argument)
        + _INSTRUCTION.pack(_ALU_AND_K, 0, 0, mask)
        + _if_equal(value, _return(SECCOMP_RET_USER_NOTIF))
        + _return(SECCOMP_RET_ALLOW)
    )


def _arch_block(arch: Arch) -> bytes:
    block = _load(_NR)
    block += _if_equal(arch.ioctl, _notify(1, _IOCTL_TYPE_MASK, TEE_IOC_MAGIC << 8))
    block += _if_equal(arch.openat, _notify(2, _OPEN_MASK, os.O_RDWR))
    if arch.open is not None:
        block += _if_equal(arch.open, _notify(1, _OPEN_MASK, os.O_RDWR))
    return block + _return(SECCOMP_RET_ALLOW)


def program(archs: Iterable[Arch] | None = None) -> bytes:
    """The filter as an array of ``struct sock_filter``, for the architectures of this machine by default."""
    code = _load(_ARCH)
    for arch in ARCHS[os.uname().machine] if archs is None else archs:
        code += _if_equal(arch.audit, _arch_block(arch))
    return code + _return(SECCOMP_RET_ALLOW)
