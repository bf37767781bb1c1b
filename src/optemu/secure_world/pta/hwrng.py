"""Random numbers for the normal world's kernel. Mirrors core/pta/hwrng.c."""

from optemu.abi import gp
from optemu.abi.ta_head import TA_FLAG_CONCURRENT, TA_FLAG_DEVICE_ENUM
from optemu.secure_world.core.param import param_types
from optemu.secure_world.core.pseudo_ta import PTA_DEFAULT_FLAGS, PseudoTa, PtaCall, PtaCommand

PTA_CMD_GET_ENTROPY = 0
PTA_CMD_GET_RNG_INFO = 1
CFG_HWRNG_RATE = 0
"""Bytes a second the source gives; 0: as fast as it is read."""
CFG_HWRNG_QUALITY = 1024
"""Bits of entropy in 1024 bits."""
_AT_ONCE = 1 << 20


def _get_entropy(pta: PseudoTa, call: PtaCall) -> int:
    """[inout] memref: filled."""
    out = call.params[0]
    if out.buffer is None:
        return gp.TEE_ERROR_BAD_PARAMETERS
    for at in range(0, out.size, _AT_ONCE):
        part = out.buffer[at : at + _AT_ONCE]
        part[:] = pta.tee.board.entropy.read(len(part))
    return gp.TEE_SUCCESS


def _get_info(pta: PseudoTa, call: PtaCall) -> None:
    """[out] value: rate, quality."""
    call.params[0].a, call.params[0].b = CFG_HWRNG_RATE, CFG_HWRNG_QUALITY


class HwrngPta(PseudoTa):
    """rng.pta"""

    uuid = gp.uuid_octets("ab7a617c-b8e7-4d8f-8301-d09b61036b64")
    name = "rng.pta"
    flags = PTA_DEFAULT_FLAGS | TA_FLAG_CONCURRENT | TA_FLAG_DEVICE_ENUM
    commands = (
        PtaCommand(PTA_CMD_GET_ENTROPY, "GET_ENTROPY", param_types(gp.TEE_PARAM_TYPE_MEMREF_INOUT), _get_entropy),
        PtaCommand(PTA_CMD_GET_RNG_INFO, "GET_RNG_INFO", param_types(gp.TEE_PARAM_TYPE_VALUE_OUTPUT), _get_info),
    )
