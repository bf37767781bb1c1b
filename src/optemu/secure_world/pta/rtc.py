"""The real-time clock for the normal world's kernel. Mirrors core/pta/rtc.c and core/include/drivers/rtc.h.

The board's clock has no alarm: GET_INFO says so, and the commands about it are TEE_ERROR_NOT_SUPPORTED.
"""

import struct

from optemu.abi import gp
from optemu.abi.ta_head import TA_FLAG_CONCURRENT, TA_FLAG_DEVICE_ENUM
from optemu.board.rtc import RANGE_MAX, RANGE_MIN, RtcTime
from optemu.errors import TeeError
from optemu.secure_world.core.param import param_types
from optemu.secure_world.core.pseudo_ta import PTA_DEFAULT_FLAGS, PseudoTa, PtaCall, PtaCommand, PtaMemref, PtaParam
from optemu.secure_world.core.session import Identity
from optemu.secure_world.core.thread import Thread

PTA_CMD_RTC_GET_INFO = 0
PTA_CMD_RTC_GET_TIME = 1
PTA_CMD_RTC_SET_TIME = 2
PTA_CMD_RTC_GET_OFFSET = 3
PTA_CMD_RTC_SET_OFFSET = 4
PTA_CMD_RTC_READ_ALARM = 5
PTA_CMD_RTC_SET_ALARM = 6
PTA_CMD_RTC_ENABLE_ALARM = 7
PTA_CMD_RTC_WAIT_ALARM = 8
PTA_CMD_RTC_CANCEL_WAIT_ALARM = 9
PTA_CMD_RTC_SET_WAKE_ALARM_STATUS = 10

PTA_RTC_INFO_VERSION = 1
PTA_RTC_FEATURE_CORRECTION = 1
# struct pta_rtc_time: sec, min, hour, mday, mon, year, wday
RTC_TIME = struct.Struct("<7I")
# struct pta_rtc_info: version, features, range_min, range_max
RTC_INFO = struct.Struct("<QQ28s28s")
# struct pta_rtc_alarm: enabled, pending, time
RTC_ALARM = struct.Struct("<BBxx28s")

_IN, _OUT = param_types(gp.TEE_PARAM_TYPE_VALUE_INPUT), param_types(gp.TEE_PARAM_TYPE_VALUE_OUTPUT)
_MEM_IN, _MEM_OUT = param_types(gp.TEE_PARAM_TYPE_MEMREF_INPUT), param_types(gp.TEE_PARAM_TYPE_MEMREF_OUTPUT)
_NO_ALARM = "the board's clock has no alarm"


def _pack(time: RtcTime) -> bytes:
    return RTC_TIME.pack(time.sec, time.min, time.hour, time.mday, time.mon, time.year, time.wday)


def _struct(call: PtaCall, size: int) -> PtaMemref:
    """The reference to one structure of ``size`` bytes, aligned as C wants it."""
    param: PtaMemref = call.params[0]
    if param.buffer is None or param.size != size or param.pa % 4:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"{param.size} bytes at 0x{param.pa:x} for a structure of {size}")
    return param


def _get_info(pta: PseudoTa, call: PtaCall) -> int:
    info = RTC_INFO.pack(PTA_RTC_INFO_VERSION, PTA_RTC_FEATURE_CORRECTION, _pack(RANGE_MIN), _pack(RANGE_MAX))
    return _struct(call, RTC_INFO.size).give(info)


def _get_time(pta: PseudoTa, call: PtaCall) -> int:
    return _struct(call, RTC_TIME.size).give(_pack(pta.tee.board.rtc.get_time()))


def _set_time(pta: PseudoTa, call: PtaCall) -> int:
    sec, minute, hour, mday, mon, year, wday = RTC_TIME.unpack(_struct(call, RTC_TIME.size).read())
    try:
        pta.tee.board.rtc.set_time(RtcTime(year, mon, mday, wday, hour, minute, sec))
    except (ValueError, OverflowError) as error:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, str(error)) from error
    return gp.TEE_SUCCESS


def _get_offset(pta: PseudoTa, call: PtaCall) -> int:
    call.params[0].a = pta.tee.board.rtc.offset & 0xFFFFFFFF
    return gp.TEE_SUCCESS


def _set_offset(pta: PseudoTa, call: PtaCall) -> int:
    ppb = call.params[0].a
    try:
        pta.tee.board.rtc.offset = ppb - (1 << 32) if ppb >> 31 else ppb
    except ValueError as error:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, str(error)) from error
    return gp.TEE_SUCCESS


def _alarm(pta: PseudoTa, call: PtaCall) -> int:
    """READ_ALARM, SET_ALARM: the structure is checked first."""
    _struct(call, RTC_ALARM.size)
    return gp.TEE_ERROR_NOT_SUPPORTED


def _alarm_flag(pta: PseudoTa, call: PtaCall) -> int:
    """ENABLE_ALARM, SET_WAKE_ALARM_STATUS: 0 or 1."""
    return gp.TEE_ERROR_NOT_SUPPORTED if call.params[0].a <= 1 else gp.TEE_ERROR_BAD_PARAMETERS


class RtcPta(PseudoTa):
    """rtc.pta: for the normal world's kernel only."""

    uuid = gp.uuid_octets("f389f8c8-845f-496c-8bbe-d64bd24c92fd")
    name = "rtc.pta"
    flags = PTA_DEFAULT_FLAGS | TA_FLAG_CONCURRENT | TA_FLAG_DEVICE_ENUM
    commands = (
        PtaCommand(PTA_CMD_RTC_GET_INFO, "GET_INFO", _MEM_OUT, _get_info),
        PtaCommand(PTA_CMD_RTC_GET_TIME, "GET_TIME", _MEM_OUT, _get_time),
        PtaCommand(PTA_CMD_RTC_SET_TIME, "SET_TIME", _MEM_IN, _set_time),
        PtaCommand(PTA_CMD_RTC_GET_OFFSET, "GET_OFFSET", _OUT, _get_offset),
        PtaCommand(PTA_CMD_RTC_SET_OFFSET, "SET_OFFSET", _IN, _set_offset),
        PtaCommand(PTA_CMD_RTC_READ_ALARM, "READ_ALARM", _MEM_OUT, _alarm),
        PtaCommand(PTA_CMD_RTC_SET_ALARM, "SET_ALARM", _MEM_IN, _alarm),
        PtaCommand(PTA_CMD_RTC_ENABLE_ALARM, "ENABLE_ALARM", _IN, _alarm_flag),
        PtaCommand(PTA_CMD_RTC_WAIT_ALARM, "WAIT_ALARM", _OUT, None, _NO_ALARM),
        PtaCommand(PTA_CMD_RTC_CANCEL_WAIT_ALARM, "CANCEL_WAIT_ALARM", 0, None, _NO_ALARM),
        PtaCommand(PTA_CMD_RTC_SET_WAKE_ALARM_STATUS, "SET_WAKE_ALARM_STATUS", _IN, _alarm_flag),
    )

    def open_session(self, thread: Thread, client: Identity, types: int, params: list[PtaParam]) -> None:
        if client.login != gp.TEE_LOGIN_REE_KERNEL:
            raise TeeError(gp.TEE_ERROR_ACCESS_DENIED, "rtc.pta serves the normal world's kernel only")
