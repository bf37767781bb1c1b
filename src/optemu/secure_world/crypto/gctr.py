"""GCTR, the key stream of GCM: of the counter only the low 32 bits count. Mirrors internal_aes_gcm_inc_ctr."""

from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm

from optemu.secure_world.crypto.ctr import KeyStream
from optemu.secure_world.crypto.provider import Buffer

_COUNTERS = 1 << 32


class Gctr:
    """From any position on. Nobody takes so much that the 32 bits wrap around twice."""

    __slots__ = ("_algorithm", "_first", "_native", "_position", "_room")

    def __init__(self, algorithm: BlockCipherAlgorithm, first: int, position: int = 0) -> None:
        """``first`` is the counter of the first block, ``position`` counts octets."""
        self._algorithm = algorithm
        self._first = first
        self._start(position)

    def _start(self, position: int) -> None:
        self._position = position
        low = self._first % _COUNTERS
        until_wrap = 16 * (_COUNTERS - low)
        if position < until_wrap:
            self._native = KeyStream(self._algorithm, self._first, position)
            self._room = until_wrap - position
        else:
            self._native = KeyStream(self._algorithm, self._first - low, position - until_wrap)
            self._room = 16 * _COUNTERS

    def update(self, data: Buffer) -> bytes:
        if len(data) > self._room:
            view, room = memoryview(data), self._room
            head = self._native.update(view[:room])
            self._start(self._position + room)
            return head + self.update(view[room:])
        self._position += len(data)
        self._room -= len(data)
        return self._native.update(data)

    def copy(self) -> "Gctr":
        return Gctr(self._algorithm, self._first, self._position)


def after(counter: int) -> int:
    """The counter of the next block."""
    return counter - _COUNTERS + 1 if counter % _COUNTERS == _COUNTERS - 1 else counter + 1
