"""Services a user TA's runtime asks of the core beyond the syscalls. Mirrors core/pta/system.c.

What concerns the TA's address space is here: zero-initialised memory, which a runtime needs to show another TA a copy
of its private data, and libdl. The rest is in system_services.py.
"""

import logging

from optemu.abi import gp
from optemu.abi.ta_head import TA_FLAG_CONCURRENT
from optemu.errors import TeeError
from optemu.secure_world.core.param import param_types
from optemu.secure_world.core.pseudo_ta import PTA_DEFAULT_FLAGS, PseudoTa, PtaCall, PtaCommand, PtaMemref, PtaParam
from optemu.secure_world.core.session import Identity
from optemu.secure_world.core.thread import Thread
from optemu.secure_world.pta.caller import calling_user_ta
from optemu.secure_world.pta.system_services import SERVICES

log = logging.getLogger("optemu.core")

PTA_SYSTEM_MAP_ZI = 2
PTA_SYSTEM_UNMAP = 3
PTA_SYSTEM_DLOPEN = 10
PTA_SYSTEM_DLSYM = 11
PTA_SYSTEM_MAP_FLAG_SHAREABLE = 1

RTLD_NOW, RTLD_GLOBAL, RTLD_NODELETE = 2, 0x100, 0x1000

_IN, _INOUT = gp.TEE_PARAM_TYPE_VALUE_INPUT, gp.TEE_PARAM_TYPE_VALUE_INOUT
_OUT, _MEMREF_IN = gp.TEE_PARAM_TYPE_VALUE_OUTPUT, gp.TEE_PARAM_TYPE_MEMREF_INPUT
_NIL = bytes(16)


def _map_zi(pta: PseudoTa, call: PtaCall) -> int | None:
    """[in] size, flags; [inout] address, high word first (0: the core chooses); [in] padding before and after."""
    what, where, padding, _ = call.params
    caller = calling_user_ta(call.thread, pta.name)
    if not what.a or what.b & ~PTA_SYSTEM_MAP_FLAG_SHAREABLE:
        return gp.TEE_ERROR_BAD_PARAMETERS
    va = (where.a & 0xFFFFFFFF) << 32 | where.b & 0xFFFFFFFF
    shareable = bool(what.b & PTA_SYSTEM_MAP_FLAG_SHAREABLE)
    va = caller.space.map_zi(caller.tee.board.memory, va, what.a, shareable, padding.a, padding.b)
    where.a, where.b = va >> 32, va & 0xFFFFFFFF
    return None


def _unmap(pta: PseudoTa, call: PtaCall) -> int | None:
    """[in] size; [in] address, high word first."""
    size, where, *_ = call.params
    caller = calling_user_ta(call.thread, pta.name)
    if size.b or not size.a:
        return gp.TEE_ERROR_BAD_PARAMETERS
    caller.space.unmap_zi(caller.tee.board.memory, (where.a & 0xFFFFFFFF) << 32 | where.b & 0xFFFFFFFF, size.a)
    return None


def _dlopen(pta: PseudoTa, call: PtaCall) -> int | None:
    """[in] UUID; [in] flags, those of RTLD that mean now, for all, for ever. The nil UUID is the TA itself."""
    library, flags, *_ = call.params
    caller = calling_user_ta(call.thread, pta.name)
    uuid = _uuid(library)
    if flags.a != RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE:
        return gp.TEE_ERROR_BAD_PARAMETERS
    if uuid != _NIL:
        try:
            caller.tee.user_tas.dlopen(call.thread, caller, uuid)
        except TeeError as e:
            # The TA only gets NULL from dlopen(): why is to be read here or nowhere.
            log.error("TA %s cannot open library %s: %s", gp.uuid_str(caller.uuid), gp.uuid_str(uuid), e)
            raise
    return None


def _dlsym(pta: PseudoTa, call: PtaCall) -> int | None:
    """[in] UUID, nil for all; [in] name; [out] address, high word first."""
    library, name, address, _ = call.params
    caller = calling_user_ta(call.thread, pta.name)
    uuid = _uuid(library)
    if name.buffer is None:
        return gp.TEE_ERROR_BAD_PARAMETERS
    symbol = bytes(name.buffer).split(b"\0")[0]
    va = caller.tee.user_tas.dlsym(caller, None if uuid == _NIL else uuid, symbol)
    address.a, address.b = va >> 32, va & 0xFFFFFFFF
    return None


def _uuid(param: PtaMemref) -> bytes:
    """A TEE_UUID in the caller's memory, as octets."""
    if param.buffer is None or param.size != 16:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, "a UUID of 16 bytes is wanted")
    return gp.uuid_from_memory(bytes(param.buffer))


class SystemPta(PseudoTa):
    """system.pta"""

    uuid = gp.uuid_octets("3a2f8978-5dc0-11e8-9c2d-fa7ae01bbebc")
    name = "system.pta"
    flags = PTA_DEFAULT_FLAGS | TA_FLAG_CONCURRENT
    commands = (
        PtaCommand(PTA_SYSTEM_MAP_ZI, "MAP_ZI", param_types(_IN, _INOUT, _IN), _map_zi),
        PtaCommand(PTA_SYSTEM_UNMAP, "UNMAP", param_types(_IN, _IN), _unmap),
        PtaCommand(PTA_SYSTEM_DLOPEN, "DLOPEN", param_types(_MEMREF_IN, _IN), _dlopen),
        PtaCommand(PTA_SYSTEM_DLSYM, "DLSYM", param_types(_MEMREF_IN, _MEMREF_IN, _OUT), _dlsym),
        *SERVICES,
    )

    def open_session(self, thread: Thread, client: Identity, types: int, params: list[PtaParam]) -> None:
        calling_user_ta(thread, self.name)
