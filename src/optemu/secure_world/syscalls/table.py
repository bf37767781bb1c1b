"""The table of system calls a user TA can make. Mirrors core/kernel/scall.c.

To add one: write the handler in a module of this room, and its row here. A handler reads: decode, check, one
call into the core, encode. It gets the TA and its arguments as unsigned numbers and returns a TEE_Result;
TeeError is the same as returning its code, TaPanic kills the TA.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optemu.abi import gp
from optemu.abi import syscalls as scn
from optemu.errors import TeeError
from optemu.secure_world.cpu import Arm32, Cpu
from optemu.secure_world.syscalls import (
    cryp_asymm,
    cryp_authenc,
    cryp_cipher,
    cryp_derive,
    cryp_hash,
    cryp_obj,
    cryp_state,
    misc,
    properties,
    storage,
    storage_data,
    storage_enum,
    ta_to_ta,
    time,
)
from optemu.trace import EL, Point, World

if TYPE_CHECKING:
    from optemu.secure_world.core.tee import Tee
    from optemu.secure_world.core.user_ta import UserTaCtx

log = logging.getLogger("optemu.syscalls")

TEE_SVC_MAX_ARGS = 8
Handler = Callable[..., int]
FULL, LATER, DEPRECATED, CORE = "full", "not yet", "deprecated", "full"


@dataclass(frozen=True, slots=True)
class SyscallRow:
    """``args`` is the trace format: one ``label:kind`` for each argument the handler takes."""

    number: int
    name: str
    handler: Handler | None
    args: str
    support: str
    note: str = ""


def _row(number: int, name: str, handler: Handler | None, args: str = "", note: str = "") -> SyscallRow:
    return SyscallRow(number, f"syscall_{name}", handler, args, FULL if handler else LATER, note)


SYSCALLS: tuple[SyscallRow, ...] = (
    SyscallRow(scn.TEE_SCN_RETURN, "syscall_sys_return", None, "ret:tee_result", CORE, "ends the call"),
    _row(scn.TEE_SCN_LOG, "log", misc.syscall_log, "buf:ptr len:size"),
    SyscallRow(scn.TEE_SCN_PANIC, "syscall_panic", None, "code:hex", CORE, "kills the context"),
    _row(
        scn.TEE_SCN_GET_PROPERTY,
        "get_property",
        properties.syscall_get_property,
        "set:hex index:dec name:ptr name_len:ptr buf:ptr blen:ptr type:ptr",
    ),
    _row(
        scn.TEE_SCN_GET_PROPERTY_NAME_TO_INDEX,
        "get_property_name_to_index",
        properties.syscall_get_property_name_to_index,
        "set:hex name:ptr name_len:size index:ptr",
    ),
    _row(
        scn.TEE_SCN_OPEN_TA_SESSION,
        "open_ta_session",
        ta_to_ta.syscall_open_ta_session,
        "dest:ptr timeout:hex params:ptr session:ptr origin:ptr",
    ),
    _row(scn.TEE_SCN_CLOSE_TA_SESSION, "close_ta_session", ta_to_ta.syscall_close_ta_session, "session:dec"),
    _row(
        scn.TEE_SCN_INVOKE_TA_COMMAND,
        "invoke_ta_command",
        ta_to_ta.syscall_invoke_ta_command,
        "session:dec timeout:hex cmd:dec params:ptr origin:ptr",
    ),
    _row(
        scn.TEE_SCN_CHECK_ACCESS_RIGHTS,
        "check_access_rights",
        misc.syscall_check_access_rights,
        "flags:hex buf:ptr len:size",
    ),
    _row(scn.TEE_SCN_GET_CANCELLATION_FLAG, "get_cancellation_flag", misc.syscall_get_cancellation_flag, "cancel:ptr"),
    _row(scn.TEE_SCN_UNMASK_CANCELLATION, "unmask_cancellation", misc.syscall_unmask_cancellation, "old_mask:ptr"),
    _row(scn.TEE_SCN_MASK_CANCELLATION, "mask_cancellation", misc.syscall_mask_cancellation, "old_mask:ptr"),
    _row(scn.TEE_SCN_WAIT, "wait", time.syscall_wait, "timeout:dec"),
    _row(scn.TEE_SCN_GET_TIME, "get_time", time.syscall_get_time, "cat:dec time:ptr"),
    _row(scn.TEE_SCN_SET_TA_TIME, "set_ta_time", time.syscall_set_ta_time, "time:ptr"),
    _row(
        scn.TEE_SCN_CRYP_STATE_ALLOC,
        "cryp_state_alloc",
        cryp_state.syscall_cryp_state_alloc,
        "algo:hex mode:dec key1:hex key2:hex state:ptr",
    ),
    _row(
        scn.TEE_SCN_CRYP_STATE_COPY,
        "cryp_state_copy",
        cryp_state.syscall_cryp_state_copy,
        "dst:hex src:hex",
    ),
    _row(
        scn.TEE_SCN_CRYP_STATE_FREE,
        "cryp_state_free",
        cryp_state.syscall_cryp_state_free,
        "state:hex",
    ),
    _row(
        scn.TEE_SCN_HASH_INIT,
        "hash_init",
        cryp_hash.syscall_hash_init,
        "state:hex iv:ptr iv_len:size",
    ),
    _row(
        scn.TEE_SCN_HASH_UPDATE,
        "hash_update",
        cryp_hash.syscall_hash_update,
        "state:hex chunk:ptr chunk_size:size",
    ),
    _row(
        scn.TEE_SCN_HASH_FINAL,
        "hash_final",
        cryp_hash.syscall_hash_final,
        "state:hex chunk:ptr chunk_size:size hash:ptr hash_len:ptr",
    ),
    _row(
        scn.TEE_SCN_CIPHER_INIT,
        "cipher_init",
        cryp_cipher.syscall_cipher_init,
        "state:hex iv:ptr iv_len:size",
    ),
    _row(
        scn.TEE_SCN_CIPHER_UPDATE,
        "cipher_update",
        cryp_cipher.syscall_cipher_update,
        "state:hex src:ptr src_len:size dst:ptr dst_len:ptr",
    ),
    _row(
        scn.TEE_SCN_CIPHER_FINAL,
        "cipher_final",
        cryp_cipher.syscall_cipher_final,
        "state:hex src:ptr src_len:size dst:ptr dst_len:ptr",
    ),
    _row(scn.TEE_SCN_CRYP_OBJ_GET_INFO, "cryp_obj_get_info", cryp_obj.syscall_cryp_obj_get_info, "obj:hex info:ptr"),
    _row(
        scn.TEE_SCN_CRYP_OBJ_RESTRICT_USAGE,
        "cryp_obj_restrict_usage",
        cryp_obj.syscall_cryp_obj_restrict_usage,
        "obj:hex usage:hex",
    ),
    _row(
        scn.TEE_SCN_CRYP_OBJ_GET_ATTR,
        "cryp_obj_get_attr",
        cryp_obj.syscall_cryp_obj_get_attr,
        "obj:hex attr:hex buf:ptr size:ptr",
    ),
    _row(
        scn.TEE_SCN_CRYP_OBJ_ALLOC,
        "cryp_obj_alloc",
        cryp_obj.syscall_cryp_obj_alloc,
        "type:hex max_size:dec obj:ptr",
    ),
    _row(scn.TEE_SCN_CRYP_OBJ_CLOSE, "cryp_obj_close", cryp_obj.syscall_cryp_obj_close, "obj:hex"),
    _row(scn.TEE_SCN_CRYP_OBJ_RESET, "cryp_obj_reset", cryp_obj.syscall_cryp_obj_reset, "obj:hex"),
    _row(
        scn.TEE_SCN_CRYP_OBJ_POPULATE,
        "cryp_obj_populate",
        cryp_obj.syscall_cryp_obj_populate,
        "obj:hex attrs:ptr count:dec",
    ),
    _row(scn.TEE_SCN_CRYP_OBJ_COPY, "cryp_obj_copy", cryp_obj.syscall_cryp_obj_copy, "dst:hex src:hex"),
    _row(
        scn.TEE_SCN_CRYP_DERIVE_KEY,
        "cryp_derive_key",
        cryp_derive.syscall_cryp_derive_key,
        "state:hex params:ptr param_count:dec derived_key:hex",
    ),
    _row(
        scn.TEE_SCN_CRYP_RANDOM_NUMBER_GENERATE,
        "cryp_random_number_generate",
        misc.syscall_cryp_random_number_generate,
        "buf:ptr blen:size",
    ),
    _row(
        scn.TEE_SCN_AUTHENC_INIT,
        "authenc_init",
        cryp_authenc.syscall_authenc_init,
        "state:hex nonce:ptr nonce_len:size tag_len:size aad_len:size payload_len:size",
    ),
    _row(
        scn.TEE_SCN_AUTHENC_UPDATE_AAD,
        "authenc_update_aad",
        cryp_authenc.syscall_authenc_update_aad,
        "state:hex aad:ptr aad_len:size",
    ),
    _row(
        scn.TEE_SCN_AUTHENC_UPDATE_PAYLOAD,
        "authenc_update_payload",
        cryp_authenc.syscall_authenc_update_payload,
        "state:hex src:ptr src_len:size dst:ptr dst_len:ptr",
    ),
    _row(
        scn.TEE_SCN_AUTHENC_ENC_FINAL,
        "authenc_enc_final",
        cryp_authenc.syscall_authenc_enc_final,
        "state:hex src:ptr src_len:size dst:ptr dst_len:ptr tag:ptr tag_len:ptr",
    ),
    _row(
        scn.TEE_SCN_AUTHENC_DEC_FINAL,
        "authenc_dec_final",
        cryp_authenc.syscall_authenc_dec_final,
        "state:hex src:ptr src_len:size dst:ptr dst_len:ptr tag:ptr tag_len:size",
    ),
    _row(
        scn.TEE_SCN_ASYMM_OPERATE,
        "asymm_operate",
        cryp_asymm.syscall_asymm_operate,
        "state:hex params:ptr num_params:dec src:ptr src_len:size dst:ptr dst_len:ptr",
    ),
    _row(
        scn.TEE_SCN_ASYMM_VERIFY,
        "asymm_verify",
        cryp_asymm.syscall_asymm_verify,
        "state:hex params:ptr num_params:dec data:ptr data_len:size sig:ptr sig_len:size",
    ),
    _row(
        scn.TEE_SCN_STORAGE_OBJ_OPEN,
        "storage_obj_open",
        storage.syscall_storage_obj_open,
        "storage:hex id:ptr id_len:size flags:hex obj:ptr",
    ),
    _row(
        scn.TEE_SCN_STORAGE_OBJ_CREATE,
        "storage_obj_create",
        storage.syscall_storage_obj_create,
        "storage:hex id:ptr id_len:size flags:hex attr:hex data:ptr len:size obj:ptr",
    ),
    _row(
        scn.TEE_SCN_STORAGE_OBJ_DEL,
        "storage_obj_del",
        storage.syscall_storage_obj_del,
        "obj:hex",
    ),
    _row(
        scn.TEE_SCN_STORAGE_OBJ_RENAME,
        "storage_obj_rename",
        storage.syscall_storage_obj_rename,
        "obj:hex id:ptr id_len:size",
    ),
    _row(
        scn.TEE_SCN_STORAGE_ENUM_ALLOC,
        "storage_alloc_enum",
        storage_enum.syscall_storage_alloc_enum,
        "enum:ptr",
    ),
    _row(
        scn.TEE_SCN_STORAGE_ENUM_FREE,
        "storage_free_enum",
        storage_enum.syscall_storage_free_enum,
        "enum:hex",
    ),
    _row(
        scn.TEE_SCN_STORAGE_ENUM_RESET,
        "storage_reset_enum",
        storage_enum.syscall_storage_reset_enum,
        "enum:hex",
    ),
    _row(
        scn.TEE_SCN_STORAGE_ENUM_START,
        "storage_start_enum",
        storage_enum.syscall_storage_start_enum,
        "enum:hex storage:hex",
    ),
    _row(
        scn.TEE_SCN_STORAGE_ENUM_NEXT,
        "storage_next_enum",
        storage_enum.syscall_storage_next_enum,
        "enum:hex info:ptr id:ptr id_len:ptr",
    ),
    _row(
        scn.TEE_SCN_STORAGE_OBJ_READ,
        "storage_obj_read",
        storage_data.syscall_storage_obj_read,
        "obj:hex data:ptr len:size count:ptr",
    ),
    _row(
        scn.TEE_SCN_STORAGE_OBJ_WRITE,
        "storage_obj_write",
        storage_data.syscall_storage_obj_write,
        "obj:hex data:ptr len:size",
    ),
    _row(
        scn.TEE_SCN_STORAGE_OBJ_TRUNC,
        "storage_obj_trunc",
        storage_data.syscall_storage_obj_trunc,
        "obj:hex len:size",
    ),
    _row(
        scn.TEE_SCN_STORAGE_OBJ_SEEK,
        "storage_obj_seek",
        storage_data.syscall_storage_obj_seek,
        "obj:hex offset:hex whence:dec",
    ),
    _row(
        scn.TEE_SCN_CRYP_OBJ_GENERATE_KEY,
        "obj_generate_key",
        cryp_obj.syscall_obj_generate_key,
        "obj:hex key_size:dec params:ptr count:dec",
    ),
    *(
        SyscallRow(number, f"syscall_se_{number}", None, "", DEPRECATED, "secure elements: as upstream, not supported")
        for number in range(55, 70)
    ),
    _row(scn.TEE_SCN_CACHE_OPERATION, "cache_operation", misc.syscall_cache_operation, "va:ptr len:size op:dec"),
)


def _point(row: SyscallRow) -> Point:
    where = (
        f"syscalls/{row.handler.__module__.rpartition('.')[2]}.py {row.name}" if row.handler else "syscalls/table.py"
    )
    upstream = "core/kernel/scall.c"
    return Point(row.name, World.SECURE, EL.S_EL1, "syscall", row.args, "ret:tee_result", where, upstream)


class SyscallTable:
    """The rows made ready: how many arguments each takes, and its trace point."""

    def __init__(self, tee: "Tee") -> None:
        self._tee = tee
        self._rows = {
            row.number: (
                row.handler,
                len(row.args.split()),
                _point(row),
                row,
            )
            for row in SYSCALLS
        }

    def call(self, ta: "UserTaCtx", number: int, cpu: Cpu) -> int:
        """scall_handle_user_ta: do the call ``number`` with the arguments in ``cpu``'s registers."""
        found = self._rows.get(number)
        if found is None:
            log.error("TA %s made syscall %d, which does not exist", gp.uuid_str(ta.uuid), number)
            return gp.TEE_ERROR_NOT_SUPPORTED
        handler, count, point, row = found
        try:
            args = arguments(ta, cpu, count)
        except TeeError as e:
            log.error("TA %s: %s: %s", gp.uuid_str(ta.uuid), row.name, e)
            return e.code
        trace = self._tee.trace
        if trace.on:
            trace.enter(point, *args)
        if handler is None:
            log.warning("TA %s called %s: not supported yet (%s)", gp.uuid_str(ta.uuid), row.name, row.note)
            ret = gp.TEE_ERROR_NOT_SUPPORTED
        else:
            try:
                ret = handler(ta, *args)
            except TeeError as e:
                if e.message:
                    log.debug("%s: %s", row.name, e)
                ret = e.code
        if trace.on:
            trace.exit(point, ret)
        return ret


def arguments(ta: "UserTaCtx", cpu: Cpu, count: int) -> list[int]:
    """The first ``count`` arguments: registers, and on a 32-bit TA the words on its stack after r3.

    TeeError(TEE_ERROR_GENERIC) when it claims to pass more than there can be, TEE_ERROR_ACCESS_DENIED when they are
    nowhere. What it does not pass is 0.
    """
    if not isinstance(cpu, Arm32):
        return cpu.args[:count]
    args, words = cpu.args[:count], cpu.stack_words
    if 4 + words > TEE_SVC_MAX_ARGS:
        raise TeeError(gp.TEE_ERROR_GENERIC, f"{4 + words} arguments for a system call")
    words = min(words, count - 4)
    if words > 0:
        raw = ta.space.copy_from_user(cpu.stack_ptr, 4 * words)
        args[4 : 4 + words] = memoryview(raw).cast("I").tolist()
    return args
