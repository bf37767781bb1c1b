"""An RPMB device in memory, by JEDEC JESD84-B51 and nothing of optemu; and the RPMB file system over it."""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

from memory_files import HUK, TA, SeededRng

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.storage.key_manager import KeyManager
from optemu.secure_world.storage.rpmb import Rpmb
from optemu.secure_world.storage.rpmb_fs import RpmbFs
from optemu.secure_world.storage.tee_fs import Pobj

CID = bytes.fromhex("fe014e4d4d4330344742c8f6552a6115")
KEY, COUNTER, WRITE, READ = 1, 2, 3, 4


def field_of(frame: bytes, at: int, size: int = 2) -> int:
    return int.from_bytes(frame[at : at + size], "big")


def frame(kind: int, result: int, data: bytes, nonce: bytes, counter: int, address: int, count: int) -> bytes:
    numbers = counter.to_bytes(4, "big") + b"".join(n.to_bytes(2, "big") for n in (address, count, result, kind))
    return bytes(228) + data.ljust(256, b"\0") + nonce.ljust(16, b"\0") + numbers


class PowerCut(BaseException):
    """The board is off."""


@dataclass
class MemoryRpmb:
    """``RpmbFrames``. ``size_mult`` 1: 512 blocks."""

    content: bytearray = field(default_factory=lambda: bytearray(128 * 1024))
    key: bytes | None = None
    counter: int = 0
    kernel: bool = False
    """Does the kernel have the device, too?"""
    calls: int = 0
    stop_before: int = -1
    stop_after: int = -1
    """The number of the request at which the power goes."""
    tamper: Callable[[int, bytes], bytes] | None = None
    """What becomes of an answer on its way: (type of the request, frames) to frames."""
    seen: list[bytes] = field(default_factory=list)

    def copy(self) -> "MemoryRpmb":
        return MemoryRpmb(bytearray(self.content), self.key, self.counter, self.kernel)

    def probe_reset(self) -> None:
        if not self.kernel:
            raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED)
        self._probed = 0

    def probe_next(self) -> bytes:
        self._probed += 1
        if self._probed > 1:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND)
        return self.dev_info()

    def dev_info(self) -> bytes:
        return CID + bytes([1, 1, 0])

    def data_request(self, frames: bytes, response_frames: int, kernel: bool) -> bytes:
        assert kernel == self.kernel
        number, self.calls = self.calls, self.calls + 1
        if number == self.stop_before:
            raise PowerCut
        self.seen.append(frames)
        answer = self._answer(frames, response_frames)
        if number == self.stop_after:
            raise PowerCut
        return self.tamper(field_of(frames, 510), answer) if self.tamper else answer

    def _answer(self, request: bytes, count: int) -> bytes:
        kind, address, nonce = field_of(request, 510), field_of(request, 504), request[484:500]
        if kind == KEY:
            result = 1 if self.key else 0
            self.key = self.key or request[196:228]
            return frame(kind << 8, result, b"", b"", 0, 0, 0)
        if self.key is None:
            return frame(kind << 8, 7, b"", nonce, 0, address, 0) * count
        if kind == COUNTER:
            return self._signed([frame(0x200, 0, b"", nonce, self.counter, 0, 0)])
        if kind == READ:
            blocks = [bytes(self.content[n * 256 : (n + 1) * 256]) for n in range(address, address + count)]
            return self._signed([frame(0x400, 0, block, nonce, 0, address, count) for block in blocks])
        assert kind == WRITE
        return self._signed([frame(0x300, self._write(request, address), b"", b"", self.counter, address, 0)])

    def _write(self, request: bytes, address: int) -> int:
        assert len(request) == 512
        if self.mac([request]) != request[196:228]:
            return 2
        if field_of(request, 500, 4) != self.counter:
            return 3
        self.content[address * 256 : (address + 1) * 256] = request[228:484]
        self.counter += 1
        return 0

    def mac(self, frames: list[bytes]) -> bytes:
        return hmac.new(self.key or b"", b"".join(f[228:] for f in frames), hashlib.sha256).digest()

    def _signed(self, frames: list[bytes]) -> bytes:
        last = frames[-1]
        return b"".join(frames[:-1]) + last[:196] + self.mac(frames) + last[228:]


class RpmbStore:
    """A board that is switched on with ``device``."""

    def __init__(self, device: MemoryRpmb | None = None, *, write_key: bool = True, huk: bytes = HUK) -> None:
        self.rpmb = device or MemoryRpmb()
        rng = SeededRng()
        self.fs = RpmbFs(Rpmb(huk, rng, write_key), KeyManager(huk), rng)

    @property
    def files(self) -> None:
        raise AssertionError("not the REE file system's")

    def pobj(self, obj_id: bytes, uuid: bytes = TA) -> Pobj:
        return Pobj(self.fs, uuid, obj_id)

    def put(self, obj_id: bytes, data: bytes, uuid: bytes = TA, overwrite: bool = True) -> None:
        po = self.pobj(obj_id, uuid)
        po.temporary = True
        self.fs.close(self, self.fs.create(self, po, overwrite, b"", b"", data))

    def get(self, obj_id: bytes, uuid: bytes = TA) -> bytes:
        size, fh = self.fs.open(self, self.pobj(obj_id, uuid))
        data = self.fs.read(self, fh, 0, size + 100)
        assert len(data) == size
        return data

    def all(self, uuid: bytes = TA) -> dict[bytes, bytes]:
        return {obj_id: self.get(obj_id, uuid) for obj_id in list(self.fs.objects(self, uuid))}
