"""The normal world's RPMB device, by RPC. Mirrors the lowest layer of core/tee/tee_rpmb_fs.c.

Frames travel as they are; what is in them is storage's to verify. TeeError is what the normal world answers.
"""

from optemu.abi import gp
from optemu.abi import optee_rpc_cmd as rpc
from optemu.abi import rpmb as abi
from optemu.abi.optee_msg import (
    OPTEE_MSG_ATTR_TYPE_RMEM_INPUT,
    OPTEE_MSG_ATTR_TYPE_RMEM_OUTPUT,
    OPTEE_MSG_ATTR_TYPE_VALUE_OUTPUT,
)
from optemu.board.memory import round_up
from optemu.errors import TeeError
from optemu.secure_world.core.mobj import Mobj
from optemu.secure_world.core.thread import RpcParam, ShmCacheUser, Thread

_MAX_DEVICES = 16
"""A kernel that names more which are none of ours is not asked on."""
_GET_DEV_INFO = abi.RPMB_REQ.pack(abi.RPMB_CMD_GET_DEV_INFO, abi.RPMB_DEV_ID, 0)


class RpmbRpc:
    """RpmbFrames for the length of one call of ``thread``."""

    __slots__ = ("_thread",)

    def __init__(self, thread: Thread) -> None:
        self._thread = thread

    def probe_reset(self) -> None:
        """rpmb_probe_reset."""
        kind = RpcParam(OPTEE_MSG_ATTR_TYPE_VALUE_OUTPUT)
        _check(self._thread.rpc_cmd(rpc.OPTEE_RPC_CMD_RPMB_PROBE_RESET, [kind]), "probing for RPMB devices")
        if kind.a != rpc.OPTEE_RPC_SHM_TYPE_KERNEL:
            raise TeeError(gp.TEE_ERROR_GENERIC, f"the kernel wants RPMB frames in memory of kind {kind.a}")

    def probe_next(self) -> bytes:
        """rpmb_probe_next. A device whose id is too long to be a CID is none we know: the next one."""
        size = abi.RPMB_EMMC_CID_SIZE
        mobj = self._thread.rpc_shm_cache_alloc(ShmCacheUser.RPMB_KERNEL, size)
        for _ in range(_MAX_DEVICES):
            device, cid = RpcParam(OPTEE_MSG_ATTR_TYPE_VALUE_OUTPUT), _out(mobj, 0, size)
            ret = self._thread.rpc_cmd(rpc.OPTEE_RPC_CMD_RPMB_PROBE_NEXT, [device, cid])
            if ret != gp.TEE_ERROR_SHORT_BUFFER:
                break
        _check(ret, "the next RPMB device")
        if device.a != rpc.OPTEE_RPC_RPMB_EMMC:
            raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, f"an RPMB device of kind {device.a}, not an eMMC")
        # uint8_t: the kernel's numbers are cut to what an eMMC's registers can say.
        figures = device.b & 0xFF, device.c & 0xFF, abi.RPMB_CMD_GET_DEV_INFO_RET_OK
        return abi.RPMB_DEV_INFO.pack(mobj.read(0, size), *figures)

    def dev_info(self) -> bytes:
        """tee_rpmb_get_dev_info."""
        return self._legacy(_GET_DEV_INFO, abi.RPMB_DEV_INFO.size)

    def data_request(self, frames: bytes, response_frames: int, kernel: bool) -> bytes:
        """tee_rpmb_invoke."""
        room = response_frames * abi.RPMB_FRAME_SIZE
        if kernel:
            return self._invoke(rpc.OPTEE_RPC_CMD_RPMB_FRAMES, ShmCacheUser.RPMB_KERNEL, frames, room)
        request = abi.RPMB_REQ.pack(abi.RPMB_CMD_DATA_REQ, abi.RPMB_DEV_ID, response_frames)
        return self._legacy(request + frames, room)

    def _legacy(self, request: bytes, room: int) -> bytes:
        return self._invoke(rpc.OPTEE_RPC_CMD_RPMB, ShmCacheUser.RPMB, request, room)

    def _invoke(self, cmd: int, user: ShmCacheUser, request: bytes, room: int) -> bytes:
        at = round_up(len(request))
        mobj = self._thread.rpc_shm_cache_alloc(user, at + round_up(room))
        mobj.write(0, request)
        # An answer that nobody wrote shall not be the last one once more.
        mobj.write(at, bytes(room))
        source = RpcParam(OPTEE_MSG_ATTR_TYPE_RMEM_INPUT, 0, len(request), mobj=mobj)
        _check(self._thread.rpc_cmd(cmd, [source, _out(mobj, at, room)]), "the RPMB device")
        return mobj.read(at, room)


def _out(mobj: Mobj, offset: int, size: int) -> RpcParam:
    return RpcParam(OPTEE_MSG_ATTR_TYPE_RMEM_OUTPUT, offset, size, mobj=mobj)


def _check(ret: int, what: str) -> None:
    if ret:
        raise TeeError(ret, f"{what}: {gp.result_name(ret)}")
