"""Random numbers for the normal world's kernel. Mirrors core/pta/hwrng.c."""

from optemu.abi import gp
from optemu.abi.ta_head import TA_FLAG_CONCURRENT, TA_FLAG_DEVICE_ENUM
from optemu.secure_world.core.param import Value, param_types
from optemu.secure_world.core.pseudo_ta import PTA_DEFAULT_FLAGS, PseudoTa, PtaMemref, PtaParam
from optemu.secure_world.core.thread import Thread

PTA_CMD_GET_ENTROPY = 0
PTA_CMD_GET_RNG_INFO = 1
CFG_HWRNG_RATE = 0
"""Bytes a second the source gives; 0: as fast as it is read."""
CFG_HWRNG_QUALITY = 1024
"""Bits of entropy in 1024 bits."""


class HwrngPta(PseudoTa):
    """rng.pta"""

    uuid = gp.uuid_octets("ab7a617c-b8e7-4d8f-8301-d09b61036b64")
    name = "rng.pta"
    flags = PTA_DEFAULT_FLAGS | TA_FLAG_CONCURRENT | TA_FLAG_DEVICE_ENUM

    def invoke_command(
        self, thread: Thread, session: object, cmd: int, types: int, params: list[PtaParam]
    ) -> int | None:
        match cmd:
            case 0:
                return self._get_entropy(types, params[0])
            case 1:
                return _get_info(types, params[0])
        return gp.TEE_ERROR_NOT_IMPLEMENTED

    def _get_entropy(self, types: int, out: PtaParam) -> int:
        """[inout] memref: filled."""
        if types != param_types(gp.TEE_PARAM_TYPE_MEMREF_INOUT):
            return gp.TEE_ERROR_BAD_PARAMETERS
        assert isinstance(out, PtaMemref)
        if out.buffer is None:
            return gp.TEE_ERROR_BAD_PARAMETERS
        out.buffer[:] = self.tee.board.entropy.read(out.size)
        return gp.TEE_SUCCESS


def _get_info(types: int, out: PtaParam) -> int:
    """[out] value: rate, quality."""
    if types != param_types(gp.TEE_PARAM_TYPE_VALUE_OUTPUT):
        return gp.TEE_ERROR_BAD_PARAMETERS
    assert isinstance(out, Value)
    out.a, out.b = CFG_HWRNG_RATE, CFG_HWRNG_QUALITY
    return gp.TEE_SUCCESS
