"""An eMMC's RPMB partition, emulated. Mirrors RPMB_EMU of tee-supplicant/src/rpmb.c, in the standard's own words.

Where upstream's emulation and the standard differ, the standard holds: a write is refused for a wrong address, MAC,
counter or number of blocks, in this order; it counts once however many blocks it has; and it is kept in a file.
"""

import hmac
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from optemu.abi import rpmb as abi
from optemu.errors import explain
from optemu.normal_world.emmc.rpmb_image import RpmbImage

log = logging.getLogger("optemu.normal_world")

# The chip that upstream's emulation says it is: the RPMB key is derived from this.
CID: Final = bytes.fromhex("fe014e4d4d4330344742c8f6552a6115")
REL_WR_SEC_C: Final = 1
_MAX_WRITE_BLOCKS: Final = 2 * REL_WR_SEC_C


class _Frame(NamedTuple):
    """struct rpmb_data_frame."""

    stuff: bytes = b""
    key_mac: bytes = b""
    data: bytes = b""
    nonce: bytes = b""
    write_counter: int = 0
    address: int = 0
    block_count: int = 0
    result: int = 0
    msg_type: int = 0


class EmulatedRpmb:
    """RpmbDevice that is kept in the file ``path``, ``size_mult`` times 128 KiB. Opened when it is used first."""

    cid = CID
    rel_wr_sec_c = REL_WR_SEC_C

    def __init__(self, path: Path, size_mult: int = 1, sync: bool = True) -> None:
        self.size_mult = size_mult
        self._sync = sync
        self.lock = threading.Lock()
        self._path = path
        self._image: RpmbImage | None = None
        self._failed = False
        self._request = _Frame()
        """What a read answers to; of RPMB_MSG_TYPE_REQ_RESULT_READ: the result register."""
        self._result = _Frame(result=abi.RPMB_RESULT_GENERAL_FAILURE)

    def close(self) -> None:
        with self.lock:
            image, self._image = self._image, None
            self._failed = True
        if image is not None:
            image.close()

    def write_blocks(self, frames: Sequence[bytes]) -> None:
        """A request: frames of one type."""
        parsed = [_Frame(*abi.RPMB_DATA_FRAME.unpack(frame)) for frame in frames]
        self._request = parsed[0]
        match self._request.msg_type:
            case abi.RPMB_MSG_TYPE_REQ_AUTH_KEY_PROGRAM:
                result = self._change(lambda image: _program_key(image, parsed))
                self._result = _Frame(result=result, msg_type=abi.RPMB_MSG_TYPE_RESP_AUTH_KEY_PROGRAM)
            case abi.RPMB_MSG_TYPE_REQ_AUTH_DATA_WRITE:
                result = self._change(lambda image: _write(image, parsed, frames))
                response = abi.RPMB_MSG_TYPE_RESP_AUTH_DATA_WRITE
                self._result = _Frame(address=self._request.address, result=result, msg_type=response)

    def read_blocks(self, count: int) -> list[bytes]:
        """The response to the last request."""
        match self._request.msg_type:
            case abi.RPMB_MSG_TYPE_REQ_RESULT_READ:
                answer = self._register()
            case abi.RPMB_MSG_TYPE_REQ_WRITE_COUNTER_VAL_READ:
                answer = self._counter()
            case abi.RPMB_MSG_TYPE_REQ_AUTH_DATA_READ:
                return self._pack(self._read(count))
            case _:
                answer = _Frame(result=abi.RPMB_RESULT_GENERAL_FAILURE)
        return self._pack([answer] * count)

    # --- its file -------------------------------------------------------------------------------------------

    def _available(self) -> RpmbImage | None:
        """What the partition remembers; None when that cannot be had."""
        if self._image is None and not self._failed:
            try:
                self._image = RpmbImage(self._path, self.size_mult, self._sync)
            except OSError as error:
                self._fail(error)
        return None if self._failed else self._image

    def _change(self, change: Callable[[RpmbImage], int]) -> int:
        image = self._available()
        try:
            return change(image) if image is not None else abi.RPMB_RESULT_GENERAL_FAILURE
        except OSError as error:
            self._fail(error)
            return abi.RPMB_RESULT_WRITE_FAILURE

    def _fail(self, error: OSError) -> None:
        """After a failure of its file nothing is promised any more, until the next start has looked at it."""
        self._failed = True
        log.error("the emulated RPMB device fails from now on: %s", explain(error))

    # --- responses ------------------------------------------------------------------------------------------

    def _register(self) -> _Frame:
        """The result register."""
        image = self._available()
        if image is None or self._result.msg_type != abi.RPMB_MSG_TYPE_RESP_AUTH_DATA_WRITE:
            return self._result
        return self._result._replace(write_counter=image.write_counter)

    def _counter(self) -> _Frame:
        image = self._available()
        answer = _Frame(
            nonce=self._request.nonce, result=_readable(image), msg_type=abi.RPMB_MSG_TYPE_RESP_WRITE_COUNTER_VAL_READ
        )
        if image is None or answer.result:
            return answer
        return answer._replace(write_counter=image.write_counter)

    def _read(self, count: int) -> list[_Frame]:
        image = self._available()
        result, address = _readable(image), self._request.address
        blocks = [bytes(abi.RPMB_DATA_SIZE)] * count
        if image is not None and not result:
            if address + count > image.blocks:
                result = abi.RPMB_RESULT_ADDRESS_FAILURE
            else:
                blocks = image.read(address, count)
        response = abi.RPMB_MSG_TYPE_RESP_AUTH_DATA_READ
        answer = _Frame(b"", b"", b"", self._request.nonce, 0, address, count & 0xFFFF, result, response)
        return [answer._replace(data=block) for block in blocks]

    def _pack(self, frames: list[_Frame]) -> list[bytes]:
        """Frames as octets, the last with the MAC over all of them once there is a key."""
        key = self._image.key if self._image is not None else None
        expired = self._image is not None and self._image.write_counter == abi.RPMB_WRITE_COUNTER_MAX
        flag = abi.RPMB_RESULT_WR_CNT_EXPIRED if expired else 0
        raw = [abi.RPMB_DATA_FRAME.pack(*f._replace(result=f.result | flag)) for f in frames]
        if key is not None and frames and frames[0].msg_type != abi.RPMB_MSG_TYPE_RESP_AUTH_KEY_PROGRAM:
            at = abi.RPMB_STUFF_DATA_SIZE
            raw[-1] = raw[-1][:at] + _mac(key, raw) + raw[-1][at + abi.RPMB_KEY_MAC_SIZE :]
        return raw


def _program_key(image: RpmbImage, frames: list[_Frame]) -> int:
    if image.key is not None or len(frames) != 1:
        return abi.RPMB_RESULT_GENERAL_FAILURE
    image.program_key(frames[0].key_mac)
    return abi.RPMB_RESULT_OK


def _write(image: RpmbImage, frames: list[_Frame], raw: Sequence[bytes]) -> int:
    first, count = frames[0], len(frames)
    if image.key is None:
        return abi.RPMB_RESULT_AUTH_KEY_NOT_PROGRAMMED
    if image.write_counter == abi.RPMB_WRITE_COUNTER_MAX:
        return abi.RPMB_RESULT_WRITE_FAILURE
    if count > _MAX_WRITE_BLOCKS or first.block_count != count:
        return abi.RPMB_RESULT_GENERAL_FAILURE
    if first.address + count > image.blocks:
        return abi.RPMB_RESULT_ADDRESS_FAILURE
    if not hmac.compare_digest(_mac(image.key, raw), frames[-1].key_mac):
        return abi.RPMB_RESULT_AUTH_FAILURE
    if first.write_counter != image.write_counter:
        return abi.RPMB_RESULT_COUNTER_FAILURE
    image.write(first.address, [frame.data for frame in frames])
    return abi.RPMB_RESULT_OK


def _readable(image: RpmbImage | None) -> int:
    if image is None:
        return abi.RPMB_RESULT_GENERAL_FAILURE
    return abi.RPMB_RESULT_OK if image.key is not None else abi.RPMB_RESULT_AUTH_KEY_NOT_PROGRAMMED


def _mac(key: bytes, frames: Sequence[bytes]) -> bytes:
    return hmac.digest(key, b"".join(frame[abi.RPMB_DATA_OFFSET :] for frame in frames), "sha256")
