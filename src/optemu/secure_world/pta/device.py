"""Enumeration of the TAs that are devices to the normal world. Mirrors core/pta/device.c."""

import logging

from optemu.abi import gp
from optemu.abi.ta_head import (
    TA_FLAG_DEVICE_ENUM,
    TA_FLAG_DEVICE_ENUM_SUPP,
    TA_FLAG_DEVICE_ENUM_TEE_STORAGE_PRIVATE,
)
from optemu.errors import TeeError
from optemu.secure_world.core.param import param_types
from optemu.secure_world.core.pseudo_ta import PTA_DEFAULT_FLAGS, PseudoTa, PtaMemref, PtaParam
from optemu.secure_world.core.thread import Thread

log = logging.getLogger("optemu.core")

PTA_CMD_GET_DEVICES = 0
PTA_CMD_GET_DEVICES_SUPP = 1
PTA_CMD_GET_DEVICES_RPMB = 2
_DEVICE_FLAGS = TA_FLAG_DEVICE_ENUM | TA_FLAG_DEVICE_ENUM_SUPP | TA_FLAG_DEVICE_ENUM_TEE_STORAGE_PRIVATE
_WANTED = {
    PTA_CMD_GET_DEVICES: TA_FLAG_DEVICE_ENUM,
    PTA_CMD_GET_DEVICES_SUPP: TA_FLAG_DEVICE_ENUM_SUPP | TA_FLAG_DEVICE_ENUM_TEE_STORAGE_PRIVATE,
    PTA_CMD_GET_DEVICES_RPMB: 0,
}


class DevicePta(PseudoTa):
    """device.pta: UUIDs of the TAs with a device flag, 16 octets each."""

    uuid = gp.uuid_octets("7011a688-ddde-4053-a5a9-7b3c4ddf13b8")
    name = "device.pta"
    flags = PTA_DEFAULT_FLAGS

    def invoke_command(
        self, thread: Thread, session: object, cmd: int, types: int, params: list[PtaParam]
    ) -> int | None:
        wanted = _WANTED.get(cmd)
        if wanted is None:
            return gp.TEE_ERROR_NOT_IMPLEMENTED
        out = params[0]
        if types != param_types(gp.TEE_PARAM_TYPE_MEMREF_OUTPUT) or not isinstance(out, PtaMemref):
            return gp.TEE_ERROR_BAD_PARAMETERS
        if out.buffer is None and out.size:
            return gp.TEE_ERROR_BAD_PARAMETERS
        found = b"".join(ta.uuid for ta in self.tee.pseudo_tas.all() if _device_flag(ta) & wanted)
        room, out.size = out.size, len(found)
        if out.buffer is not None:
            fits = min(room // 16 * 16, len(found))
            out.buffer[:fits] = found[:fits]
        if len(found) > room:
            raise TeeError(gp.TEE_ERROR_SHORT_BUFFER)
        return None


def _device_flag(ta: PseudoTa) -> int:
    """The one flag that makes it a device; with several of them it is none."""
    flags = ta.flags & _DEVICE_FLAGS
    if flags & (flags - 1):
        log.error("%s: skipping TA %s, inconsistent flags", DevicePta.name, gp.uuid_str(ta.uuid))
        return 0
    return flags
