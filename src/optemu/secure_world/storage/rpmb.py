"""Blocks in a replay protected memory block, both ways authenticated. Mirrors the lower half of core/tee/tee_rpmb_fs.c.

The normal world carries the frames and may change, drop or repeat them. A response counts when its MAC is right, and
when it answers this request: the nonce of a read, the block and the counter of a write. Blocks are octets here; what
is encrypted in them is the file system's.
"""

import hmac
import logging
import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from optemu.abi import gp
from optemu.abi import rpmb as abi
from optemu.errors import TeeError
from optemu.secure_world.crypto.huk_subkey import COMPAT_CHIP_ID, HUK_SUBKEY_RPMB, huk_subkey_derive
from optemu.secure_world.crypto.provider import Rng
from optemu.secure_world.storage.tee_fs import RpmbFrames

log = logging.getLogger("optemu.core")

BLOCK_SIZE: Final = abi.RPMB_DATA_SIZE
RPMB_MAX_RETRIES: Final = 10
REL_WR_BLKCNT: Final = 1
"""Blocks in a write: one, as upstream without RPMB_DRIVER_MULTIPLE_WRITE_FIXED, whatever the device could do."""
_MAX_DEVICES: Final = 16
_CID_PRV_OFFSET: Final = 9
_CID_CRC_OFFSET: Final = 15
_FIELDS: Final = struct.Struct(">16sIHHHH")
_FIELDS_OFFSET: Final = abi.RPMB_FRAME_SIZE - _FIELDS.size
_NO_ROAD: Final = (gp.TEE_ERROR_NOT_SUPPORTED, gp.TEE_ERROR_NOT_IMPLEMENTED)


class Fields(NamedTuple):
    """What a frame says besides its data."""

    nonce: bytes
    write_counter: int
    address: int
    block_count: int
    op_result: int
    msg_type: int


@dataclass(frozen=True, slots=True)
class _Device:
    """struct tee_rpmb_ctx, as far as it does not change."""

    key: bytes
    blocks: int
    kernel: bool


class Rpmb:
    """The device with this board's key. ``write_key``: program the key of a device that has none (CFG_RPMB_WRITE_KEY).

    All of it raises TeeError; after TEE_ERROR_COMMUNICATION nobody knows what has been written, and nothing works
    until the next start.
    """

    def __init__(self, huk: bytes, rng: Rng, write_key: bool, chip_id: bytes | None = COMPAT_CHIP_ID) -> None:
        self._huk, self._chip_id = huk, chip_id
        self._rng = rng
        self._write_key = write_key
        self._device: _Device | None = None
        self._wr_cnt = 0
        self._dead = False

    def blocks(self, frames: RpmbFrames) -> int:
        """How many blocks the device has."""
        return self._init(frames).blocks

    def read(self, frames: RpmbFrames, block: int, count: int) -> list[bytes]:
        """tee_rpmb_read: ``count`` blocks from ``block`` on."""
        device = self._init(frames)
        _check_range(device, block, count)
        nonce = self._rng.read(abi.RPMB_NONCE_SIZE)
        request = _frame(abi.RPMB_MSG_TYPE_REQ_AUTH_DATA_READ, nonce=nonce, address=block)
        answer = _split(frames.data_request(request, count, device.kernel), count)
        _verify(answer, device.key, abi.RPMB_MSG_TYPE_RESP_AUTH_DATA_READ, block=block, nonce=nonce)
        return [one[abi.RPMB_DATA_OFFSET :][:BLOCK_SIZE] for one in answer]

    def write(self, frames: RpmbFrames, block: int, data: list[bytes]) -> None:
        """tee_rpmb_write_blk: blocks from ``block`` on, each in a request of its own that is done or not done."""
        device = self._init(frames)
        _check_range(device, block, len(data))
        for at, octets in enumerate(data, block):
            self._write_req(frames, device, at, octets)

    # --- the device -----------------------------------------------------------------------------------------

    def _init(self, frames: RpmbFrames) -> _Device:
        """tee_rpmb_init."""
        if self._dead:
            raise TeeError(gp.TEE_ERROR_COMMUNICATION, "RPMB: given up after a write whose result is unknown")
        if self._device is None:
            self._device = self._legacy_init(frames) if self._write_key else self._probe(frames)
        return self._device

    def _probe(self, frames: RpmbFrames) -> _Device:
        """The first of the kernel's devices that has our key; tee-supplicant's when the kernel has no such road."""
        try:
            frames.probe_reset()
        except TeeError as error:
            if error.code not in _NO_ROAD:
                raise
            return self._legacy_init(frames)
        for _ in range(_MAX_DEVICES):
            try:
                info = frames.probe_next()
            except TeeError as error:
                if error.code != gp.TEE_ERROR_ITEM_NOT_FOUND:
                    raise
                break
            try:
                device = self._device_of(info, kernel=True)
                self._wr_cnt = self._read_wr_cnt(frames, device)
            except TeeError as error:
                log.info("RPMB: not this device: %s", error)
                continue
            return device
        log.error("RPMB: no device has this board's key; [tee] rpmb_write_key = true gives it to one that has none")
        raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, "no RPMB device has this board's key")

    def _legacy_init(self, frames: RpmbFrames) -> _Device:
        """legacy_rpmb_init."""
        device = self._device_of(frames.dev_info(), kernel=False)
        try:
            self._wr_cnt = self._read_wr_cnt(frames, device)
        except TeeError as error:
            if error.code != gp.TEE_ERROR_ITEM_NOT_FOUND:
                why = f"{error}; the device's key could not be verified, is it another board's (huk)?"
                log.error("%s", why)
                raise TeeError(error.code, why) from error
            self._write_and_verify_key(frames, device)
        return device

    def _device_of(self, info: bytes, kernel: bool) -> _Device:
        """rpmb_set_dev_info and tee_rpmb_key_gen."""
        if len(info) != abi.RPMB_DEV_INFO.size:
            raise TeeError(gp.TEE_ERROR_GENERIC, f"RPMB: device information of {len(info)} octets")
        cid, size_mult, _, ret_code = abi.RPMB_DEV_INFO.unpack(info)
        if ret_code != abi.RPMB_CMD_GET_DEV_INFO_RET_OK or not size_mult:
            raise TeeError(gp.TEE_ERROR_GENERIC, "RPMB: the device information says that there is none")
        blocks = size_mult * abi.RPMB_SIZE_SINGLE // BLOCK_SIZE
        if blocks - 1 > 0xFFFF:
            raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"RPMB: a device of {blocks} blocks")
        # The key outlives an update of the device's firmware, which changes these two.
        known = bytearray(cid)
        known[_CID_PRV_OFFSET] = known[_CID_CRC_OFFSET] = 0
        key = huk_subkey_derive(self._huk, HUK_SUBKEY_RPMB, abi.RPMB_KEY_MAC_SIZE, bytes(known), self._chip_id)
        return _Device(key, blocks, kernel)

    def _read_wr_cnt(self, frames: RpmbFrames, device: _Device) -> int:
        """tee_rpmb_init_read_wr_cnt: shows, too, whether the device has our key."""
        nonce = self._rng.read(abi.RPMB_NONCE_SIZE)
        request = _frame(abi.RPMB_MSG_TYPE_REQ_WRITE_COUNTER_VAL_READ, nonce=nonce)
        answer = _split(frames.data_request(request, 1, device.kernel), 1)
        return _verify(answer, device.key, abi.RPMB_MSG_TYPE_RESP_WRITE_COUNTER_VAL_READ, nonce=nonce).write_counter

    def _write_and_verify_key(self, frames: RpmbFrames, device: _Device) -> None:
        if not self._write_key:
            why = "RPMB: the device has no key yet; [tee] rpmb_write_key = true gives it this board's"
            raise TeeError(gp.TEE_ERROR_STORAGE_NOT_AVAILABLE, why)
        log.info("RPMB: programming the key of a new device")
        request = _frame(abi.RPMB_MSG_TYPE_REQ_AUTH_KEY_PROGRAM, key_mac=device.key)
        answer = _split(frames.data_request(request, 1, device.kernel), 1)
        _check_answer(_fields(answer[0]), abi.RPMB_MSG_TYPE_RESP_AUTH_KEY_PROGRAM)
        self._wr_cnt = self._read_wr_cnt(frames, device)

    # --- writing --------------------------------------------------------------------------------------------

    def _write_req(self, frames: RpmbFrames, device: _Device, block: int, data: bytes) -> None:
        """write_req. Another try is the same request: nothing is signed that a device could do later and besides."""
        kind = abi.RPMB_MSG_TYPE_REQ_AUTH_DATA_WRITE
        request = _frame(kind, data=data, write_counter=self._wr_cnt, address=block, block_count=REL_WR_BLKCNT)
        request = _signed(request, device.key)
        for tries in range(1, RPMB_MAX_RETRIES + 1):
            try:
                answer = _split(frames.data_request(request, 1, device.kernel), 1)
                wanted = (self._wr_cnt + 1) & 0xFFFFFFFF
                _verify(answer, device.key, abi.RPMB_MSG_TYPE_RESP_AUTH_DATA_WRITE, block=block, counter=wanted)
            except TeeError as error:
                log.warning("RPMB: writing block %d, try %d: %s", block, tries, error)
                continue
            self._wr_cnt += 1
            return
        self._dead = True
        raise TeeError(gp.TEE_ERROR_COMMUNICATION, f"RPMB: whether block {block} was written is not known")


def _check_range(device: _Device, block: int, count: int) -> None:
    if count < 1 or block < 0 or block + count > device.blocks:
        raise TeeError(gp.TEE_ERROR_GENERIC, f"RPMB: {count} blocks at {block}, of {device.blocks}")


def _frame(
    msg_type: int,
    *,
    key_mac: bytes = b"",
    data: bytes = b"",
    nonce: bytes = b"",
    write_counter: int = 0,
    address: int = 0,
    block_count: int = 0,
) -> bytes:
    """tee_rpmb_req_pack."""
    return abi.RPMB_DATA_FRAME.pack(b"", key_mac, data, nonce, write_counter, address, block_count, 0, msg_type)


def _signed(frame: bytes, key: bytes) -> bytes:
    at = abi.RPMB_STUFF_DATA_SIZE
    return frame[:at] + _mac([frame], key) + frame[abi.RPMB_DATA_OFFSET :]


def _mac(frames: list[bytes], key: bytes) -> bytes:
    """tee_rpmb_mac_calc."""
    return hmac.digest(key, b"".join([frame[abi.RPMB_DATA_OFFSET :] for frame in frames]), "sha256")


def _fields(frame: bytes) -> Fields:
    return Fields(*_FIELDS.unpack_from(frame, _FIELDS_OFFSET))


def _split(answer: bytes, count: int) -> list[bytes]:
    size = abi.RPMB_FRAME_SIZE
    if len(answer) != count * size:
        raise TeeError(gp.TEE_ERROR_GENERIC, f"RPMB: {len(answer)} octets in answer, not {count} frames")
    return [answer[at : at + size] for at in range(0, len(answer), size)]


def _check_answer(last: Fields, msg_type: int) -> None:
    """What the device says it did. Not authenticated yet."""
    result = last.op_result & abi.RPMB_RESULT_MASK
    if result == abi.RPMB_RESULT_AUTH_KEY_NOT_PROGRAMMED:
        raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, "RPMB: the device has no key yet")
    if result != abi.RPMB_RESULT_OK:
        raise TeeError(gp.TEE_ERROR_GENERIC, f"RPMB: the device answers with result 0x{last.op_result:x}")
    if last.msg_type != msg_type:
        raise TeeError(gp.TEE_ERROR_GENERIC, f"RPMB: an answer of type 0x{last.msg_type:04x}, not 0x{msg_type:04x}")


def _verify(
    answer: list[bytes],
    key: bytes,
    msg_type: int,
    *,
    block: int | None = None,
    counter: int | None = None,
    nonce: bytes = b"",
) -> Fields:
    """tee_rpmb_resp_unpack_verify: the fields of an answer that is the device's, and to this request."""
    last = _fields(answer[-1])
    _check_answer(last, msg_type)
    if block is not None and last.address != block:
        raise TeeError(gp.TEE_ERROR_GENERIC, f"RPMB: an answer about block {last.address}, not {block}")
    if counter is not None and last.write_counter != counter:
        raise TeeError(gp.TEE_ERROR_SECURITY, f"RPMB: the write counter is {last.write_counter}, not {counter}")
    if nonce and last.nonce != nonce:
        raise TeeError(gp.TEE_ERROR_SECURITY, "RPMB: an answer to another request (nonce)")
    told = answer[-1][abi.RPMB_STUFF_DATA_SIZE : abi.RPMB_DATA_OFFSET]
    if not hmac.compare_digest(_mac(answer, key), told):
        raise TeeError(gp.TEE_ERROR_SECURITY, "RPMB: an answer that is not the device's (MAC)")
    return last
