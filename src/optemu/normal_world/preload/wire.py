"""What the preload library and the server say to each other: packets of a SOCK_SEQPACKET connection.

sdk/preload/wire.h has the same in C. The client begins an exchange with HELLO, OPEN or IOCTL; the server may ask for
memory and descriptors any number of times before it ends the exchange with DONE or PASS.
"""

import struct
from dataclasses import dataclass
from typing import Final

from optemu.abi import tee_ioctl

VERSION: Final = 1
CHUNK: Final = 1 << 16
"""Most bytes of memory in one packet."""
REQUEST_MAX: Final = 8192

# struct to_server: kind, cmd, inode, arg, fd, arg_size
TO_SERVER: Final = struct.Struct("=IIQQiI")
# struct to_client: kind, result, addr, size
TO_CLIENT: Final = struct.Struct("=IiQQ")

HELLO, OPEN, IOCTL, DATA, FAULT, DESCRIPTOR, ATTACH = range(1, 8)
DONE, PASS, READ, WRITE, FETCH, KNOCK = range(1, 7)
GIVES_FD: Final = 1
"""In ``addr`` of DONE: the result is the number that the descriptor coming along gets."""

LISTENER, CALLS = range(2)
"""What FETCH asks for in answer to ATTACH: the seccomp listener, and the memory shared with its keeper."""

DEVICES: Final = ("/dev/tee0", "/dev/teepriv0")
_WITH_BLOCK: Final = frozenset(
    {
        tee_ioctl.TEE_IOC_OPEN_SESSION,
        tee_ioctl.TEE_IOC_INVOKE,
        tee_ioctl.TEE_IOC_SUPPL_RECV,
        tee_ioctl.TEE_IOC_SUPPL_SEND,
    }
)


class WireError(Exception):
    """The client says what the library never would; the connection ends."""


@dataclass(slots=True)
class Request:
    """What begins an exchange. ``head`` lies at ``arg`` in the client, ``block`` at ``block_addr``, if they came."""

    kind: int
    cmd: int
    inode: int
    arg: int
    fd: int
    head: bytes
    block_addr: int
    block: bytes


def parse(packet: bytes) -> Request:
    """WireError for anything but a well-formed HELLO, OPEN, IOCTL or ATTACH."""
    if len(packet) < TO_SERVER.size:
        raise WireError(f"a packet of {len(packet)} bytes")
    kind, cmd, inode, arg, fd, arg_size = TO_SERVER.unpack_from(packet)
    end = TO_SERVER.size + arg_size
    if kind not in (HELLO, OPEN, IOCTL, ATTACH):
        raise WireError(f"a packet of kind {kind} that answers nothing")
    if len(packet) < end or (kind != IOCTL and len(packet) != TO_SERVER.size):
        raise WireError(f"a packet of {len(packet)} bytes with an argument of {arg_size}")
    head, block, block_addr = packet[TO_SERVER.size : end], packet[end:], 0
    if block:
        if cmd not in _WITH_BLOCK or arg_size != tee_ioctl.BUF_DATA.size:
            raise WireError(f"{len(block)} bytes behind the argument of ioctl 0x{cmd:x}")
        block_addr, size = tee_ioctl.BUF_DATA.unpack(head)
        if size != len(block):
            raise WireError(f"a block of {len(block)} bytes where the argument says {size}")
    return Request(kind, cmd, inode, arg, fd, head, block_addr, block)
