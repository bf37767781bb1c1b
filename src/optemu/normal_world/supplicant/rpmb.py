"""Requests to the eMMC's RPMB partition, OPTEE_RPC_CMD_RPMB. Mirrors tee-supplicant/src/rpmb.c.

Here is the road of the frames: requests are checked and taken apart, and handed to a device. The machine has no
such device yet, so each request is answered as upstream answers where there is no eMMC.
"""

import threading
from collections.abc import Sequence
from typing import Final, Protocol

from optemu.abi import gp
from optemu.abi import rpmb as abi
from optemu.errors import TeeError
from optemu.normal_world.supplicant.params import Param, bad_parameters, memref
from optemu.normal_world.supplicant.shm import SharedMemory

_WRITES: Final = (abi.RPMB_MSG_TYPE_REQ_AUTH_KEY_PROGRAM, abi.RPMB_MSG_TYPE_REQ_AUTH_DATA_WRITE)
_READS: Final = (abi.RPMB_MSG_TYPE_REQ_WRITE_COUNTER_VAL_READ, abi.RPMB_MSG_TYPE_REQ_AUTH_DATA_READ)


class RpmbDevice(Protocol):
    """An RPMB partition. Frames are RPMB_FRAME_SIZE bytes each (struct rpmb_data_frame)."""

    cid: bytes
    size_mult: int
    rel_wr_sec_c: int

    def write_blocks(self, frames: Sequence[bytes]) -> None:
        """MMC_WRITE_MULTIPLE_BLOCK."""

    def read_blocks(self, count: int) -> list[bytes]:
        """MMC_READ_MULTIPLE_BLOCK: the response to what was written last."""
        ...


class Rpmb:
    """One RPMB partition at most, whatever device number a request names."""

    def __init__(self, device: RpmbDevice | None = None) -> None:
        self.device = device
        self._lock = threading.Lock()

    def process(self, shm: SharedMemory, params: list[Param]) -> int:
        """[in] memref 0: struct rpmb_req and frames. [out] memref 1: frames, or struct rpmb_dev_info."""
        request, response = shm.view(memref(params, 0)), shm.view(memref(params, 1))
        # Copied once: the secure world still holds the memory.
        raw = bytes(request or b"")
        room = len(response) if response is not None else 0
        with self._lock:
            answer = self._answer(raw, room)
        if response is not None:
            response[: len(answer)] = answer
        return gp.TEE_SUCCESS

    def _answer(self, raw: bytes, room: int) -> bytes:
        """rpmb_process_request, for a response of ``room`` bytes."""
        if len(raw) < abi.RPMB_REQ.size:
            raise bad_parameters(f"an RPMB request of {len(raw)} bytes")
        cmd, _, _ = abi.RPMB_REQ.unpack_from(raw)
        if cmd == abi.RPMB_CMD_GET_DEV_INFO:
            if len(raw) != abi.RPMB_REQ.size or room != abi.RPMB_DEV_INFO.size:
                raise bad_parameters(f"device information asked for by {len(raw)} bytes, in {room}")
            return self._dev_info()
        if cmd == abi.RPMB_CMD_DATA_REQ:
            return self._data_req(_frames(raw[abi.RPMB_REQ.size :]), room // abi.RPMB_FRAME_SIZE)
        raise bad_parameters(f"RPMB command {cmd}")

    def _dev_info(self) -> bytes:
        device = self.device
        if device is None:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, "there is no eMMC with an RPMB partition")
        ok = abi.RPMB_CMD_GET_DEV_INFO_RET_OK
        return abi.RPMB_DEV_INFO.pack(device.cid, device.size_mult, device.rel_wr_sec_c, ok)

    def _data_req(self, frames: list[bytes], count: int) -> bytes:
        """rpmb_data_req: what the device answers to ``frames``, in ``count`` frames."""
        device = self.device
        if device is None:
            raise bad_parameters("there is no eMMC with an RPMB partition")
        kind = _msg_type(frames[0]) if frames else 0
        if any(_msg_type(frame) != kind for frame in frames):
            raise bad_parameters("the request frames are of several types")
        if kind not in _WRITES + _READS:
            raise TeeError(gp.TEE_ERROR_GENERIC, f"RPMB message type {kind}")
        if kind != abi.RPMB_MSG_TYPE_REQ_AUTH_DATA_READ and count != 1:
            raise bad_parameters(f"{count} response frames where there is one")
        if kind in _READS and len(frames) != 1:
            raise bad_parameters(f"{len(frames)} request frames where there is one")
        device.write_blocks(frames)
        if kind in _WRITES:
            device.write_blocks([_RESULT_READ])
        return b"".join(device.read_blocks(count))


def _frames(raw: bytes) -> list[bytes]:
    size = abi.RPMB_FRAME_SIZE
    return [raw[at : at + size] for at in range(0, len(raw) - size + 1, size)]


def _msg_type(frame: bytes) -> int:
    return int.from_bytes(frame[abi.RPMB_MSG_TYPE_OFFSET :], "big")


_RESULT_READ: Final = abi.RPMB_DATA_FRAME.pack(b"", b"", b"", b"", 0, 0, 0, 0, abi.RPMB_MSG_TYPE_REQ_RESULT_READ)
