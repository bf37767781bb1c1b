"""How the kernel talks to an RPMB partition. Mirrors mmc_route_rpmb_frames in drivers/mmc/core/block.c.

The supplicant's road, MMC_IOC_MULTI_CMD, ends in the same commands.
"""

import threading
from collections.abc import Sequence
from typing import Final, Protocol

from optemu.abi import rpmb as abi

WRITES: Final = (abi.RPMB_MSG_TYPE_REQ_AUTH_KEY_PROGRAM, abi.RPMB_MSG_TYPE_REQ_AUTH_DATA_WRITE)
READS: Final = (abi.RPMB_MSG_TYPE_REQ_WRITE_COUNTER_VAL_READ, abi.RPMB_MSG_TYPE_REQ_AUTH_DATA_READ)


class RpmbDevice(Protocol):
    """An RPMB partition. Frames are RPMB_FRAME_SIZE octets each (struct rpmb_data_frame)."""

    cid: bytes
    size_mult: int
    rel_wr_sec_c: int
    lock: threading.Lock
    """Held from the first command of a request to its last."""

    def write_blocks(self, frames: Sequence[bytes]) -> None:
        """MMC_WRITE_MULTIPLE_BLOCK."""

    def read_blocks(self, count: int) -> list[bytes]:
        """MMC_READ_MULTIPLE_BLOCK: the response to what was written last."""
        ...


def exchange(device: RpmbDevice, frames: Sequence[bytes], count: int) -> bytes:
    """The ``count`` frames that the device answers to ``frames``, which are all of one type out of WRITES or READS."""
    with device.lock:
        device.write_blocks(frames)
        if msg_type(frames[0]) in WRITES:
            device.write_blocks([_RESULT_READ])
        return b"".join(device.read_blocks(count))


def may_route(raw: bytes, room: int) -> bool:
    """Are these request frames that the kernel passes on, with room for the right number of response frames?"""
    size = abi.RPMB_FRAME_SIZE
    if not raw or not room or len(raw) % size or room % size:
        return False
    kind, one_in, one_out = msg_type(raw[:size]), len(raw) == size, room == size
    match kind:
        case abi.RPMB_MSG_TYPE_REQ_AUTH_DATA_WRITE:
            return one_out
        case abi.RPMB_MSG_TYPE_REQ_AUTH_DATA_READ:
            return one_in
    return kind in WRITES + READS and one_in and one_out


def split(raw: bytes) -> list[bytes]:
    """The whole frames in ``raw``."""
    size = abi.RPMB_FRAME_SIZE
    return [raw[at : at + size] for at in range(0, len(raw) - size + 1, size)]


def msg_type(frame: bytes) -> int:
    return int.from_bytes(frame[abi.RPMB_MSG_TYPE_OFFSET :], "big")


_RESULT_READ: Final = abi.RPMB_DATA_FRAME.pack(b"", b"", b"", b"", 0, 0, 0, 0, abi.RPMB_MSG_TYPE_REQ_RESULT_READ)
