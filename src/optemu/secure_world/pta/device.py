"""Enumeration of the TAs that are devices to the normal world. Mirrors core/pta/device.c."""

import logging

from optemu.abi import gp
from optemu.abi.ta_head import (
    TA_FLAG_DEVICE_ENUM,
    TA_FLAG_DEVICE_ENUM_SUPP,
    TA_FLAG_DEVICE_ENUM_TEE_STORAGE_PRIVATE,
)
from optemu.secure_world.core.param import param_types
from optemu.secure_world.core.pseudo_ta import PTA_DEFAULT_FLAGS, PseudoTa, PtaCall, PtaCommand

log = logging.getLogger("optemu.core")

PTA_CMD_GET_DEVICES = 0
PTA_CMD_GET_DEVICES_SUPP = 1
PTA_CMD_GET_DEVICES_RPMB = 2
_DEVICE_FLAGS = TA_FLAG_DEVICE_ENUM | TA_FLAG_DEVICE_ENUM_SUPP | TA_FLAG_DEVICE_ENUM_TEE_STORAGE_PRIVATE


def _give_devices(pta: PseudoTa, call: PtaCall, wanted: int) -> int:
    """[out] memref: UUIDs of the TAs with a device flag that is wanted, 16 octets each."""
    out = call.params[0]
    if out.buffer is None and out.size:
        return gp.TEE_ERROR_BAD_PARAMETERS
    found = b"".join(ta.uuid for ta in pta.tee.pseudo_tas.all() if _device_flag(ta) & wanted)
    room, out.size = out.size, len(found)
    if out.buffer is not None:
        fits = min(room // 16 * 16, len(found))
        out.buffer[:fits] = found[:fits]
    return gp.TEE_ERROR_SHORT_BUFFER if len(found) > room else gp.TEE_SUCCESS


def _device_flag(ta: PseudoTa) -> int:
    """The one flag that makes it a device; with several of them it is none."""
    flags = ta.flags & _DEVICE_FLAGS
    if flags & (flags - 1):
        log.error("%s: skipping TA %s, inconsistent flags", DevicePta.name, gp.uuid_str(ta.uuid))
        return 0
    return flags


def _command(number: int, name: str, wanted: int) -> PtaCommand:
    types = param_types(gp.TEE_PARAM_TYPE_MEMREF_OUTPUT)
    return PtaCommand(number, name, types, lambda pta, call: _give_devices(pta, call, wanted))


class DevicePta(PseudoTa):
    """device.pta"""

    uuid = gp.uuid_octets("7011a688-ddde-4053-a5a9-7b3c4ddf13b8")
    name = "device.pta"
    flags = PTA_DEFAULT_FLAGS
    commands = (
        _command(PTA_CMD_GET_DEVICES, "GET_DEVICES", TA_FLAG_DEVICE_ENUM),
        _command(
            PTA_CMD_GET_DEVICES_SUPP,
            "GET_DEVICES_SUPP",
            TA_FLAG_DEVICE_ENUM_SUPP | TA_FLAG_DEVICE_ENUM_TEE_STORAGE_PRIVATE,
        ),
        _command(PTA_CMD_GET_DEVICES_RPMB, "GET_DEVICES_RPMB", 0),
    )
