"""Requests to the eMMC's RPMB partition, OPTEE_RPC_CMD_RPMB. Mirrors tee-supplicant/src/rpmb.c.

Requests are checked, taken apart and handed to the board's device; where there is none, each is answered as upstream
answers where there is no eMMC.
"""

from optemu.abi import gp
from optemu.abi import rpmb as abi
from optemu.errors import TeeError
from optemu.normal_world.emmc.access import READS, WRITES, RpmbDevice, exchange, msg_type, split
from optemu.normal_world.supplicant.params import Param, bad_parameters, memref
from optemu.normal_world.supplicant.shm import SharedMemory


class Rpmb:
    """One RPMB partition at most, whatever device number a request names."""

    def __init__(self, device: RpmbDevice | None = None) -> None:
        self.device = device

    def process(self, shm: SharedMemory, params: list[Param]) -> int:
        """[in] memref 0: struct rpmb_req and frames. [out] memref 1: frames, or struct rpmb_dev_info."""
        request, response = shm.view(memref(params, 0)), shm.view(memref(params, 1))
        # Copied once: the secure world still holds the memory.
        raw = bytes(request or b"")
        room = len(response) if response is not None else 0
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
            return self._data_req(split(raw[abi.RPMB_REQ.size :]), room // abi.RPMB_FRAME_SIZE)
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
        kind = msg_type(frames[0]) if frames else 0
        if any(msg_type(frame) != kind for frame in frames):
            raise bad_parameters("the request frames are of several types")
        if kind not in WRITES + READS:
            raise TeeError(gp.TEE_ERROR_GENERIC, f"RPMB message type {kind}")
        if kind != abi.RPMB_MSG_TYPE_REQ_AUTH_DATA_READ and count != 1:
            raise bad_parameters(f"{count} response frames where there is one")
        if kind in READS and len(frames) != 1:
            raise bad_parameters(f"{len(frames)} request frames where there is one")
        return exchange(device, frames, count)
