"""Hash trees that are rewritten, left uncommitted and damaged (xtest 1015). Mirrors core/pta/tests/fs_htree.c.

The trees are in memory, of the smallest blocks that hold two heads or two nodes, so that each node has a block of
its own.
"""

import logging
import struct
from collections.abc import Iterable, Iterator

from optemu.abi import fs_htree as abi
from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.crypto.provider import Rng
from optemu.secure_world.storage.htree import Htree, Layout
from optemu.secure_world.storage.key_manager import KeyManager

log = logging.getLogger("optemu.core")

_LAYOUT = Layout(144)
_HEAD, _NODE = abi.IMAGE.size, abi.NODE_IMAGE.size
_REWRITE_BLOCKS, _CORRUPT_BLOCKS, _STEP = 10, 5, 3


class _File:
    """``Files`` of one file, in memory."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)

    def open(self, name: bytes) -> int:
        return 0

    def create(self, name: bytes) -> int:
        self.data.clear()
        return 0

    def close(self, fd: int) -> None:
        pass

    def read(self, fd: int, offset: int, size: int) -> bytes:
        return bytes(self.data[offset : offset + size])

    def write(self, fd: int, offset: int, data: bytes) -> None:
        self.truncate(fd, max(len(self.data), offset + len(data)))
        self.data[offset : offset + len(data)] = data

    def truncate(self, fd: int, size: int) -> None:
        del self.data[size:]
        self.data.extend(bytes(size - len(self.data)))

    def remove(self, name: bytes) -> None:
        self.data.clear()

    def rename(self, old: bytes, new: bytes, overwrite: bool) -> None:
        pass


class HtreeTests:
    """With the keys that belong to static TA ``uuid``."""

    def __init__(self, huk: bytes, rng: Rng, uuid: bytes) -> None:
        self._keys, self._rng, self._uuid = KeyManager(huk), rng, uuid

    def run(self) -> int:
        """TEE_SUCCESS; TEE_ERROR_SECURITY when a tree gave what it should not; what a tree failed with. All logged."""
        try:
            for blocks in range(0, _REWRITE_BLOCKS, _STEP):
                for first in range(0, blocks, _STEP):
                    for count in range(0, blocks - first, _STEP):
                        self._rewrite(blocks, range(first, first + count))
            self._corrupt(_CORRUPT_BLOCKS)
        except TeeError as e:
            log.error("hash tree test: %s", e)
            return e.code
        return gp.TEE_SUCCESS

    def _rewrite(self, blocks: int, part: range) -> None:
        """All ``blocks`` are written and committed, then ``part`` of them written and not committed."""
        file = _File()
        tree = self._tree().create(file)
        every = range(blocks)
        for salt, order in ((23, every), (24, reversed(every)), (25, every)):
            _write(tree, file, order, salt)
            _check(tree, file, every, salt)
        tree.sync_to_storage(file)
        _check(tree, file, every, 25)
        root_hash = tree.root_hash
        tree = self._tree().open(file, root_hash)
        _check(tree, file, every, 25)
        for salt, order in ((26, reversed(part)), (27, part)):
            _write(tree, file, order, salt)
            _check(tree, file, part, salt)
            _check(tree, file, (n for n in every if n not in part), 25)
        for known in (root_hash, None):
            _check(self._tree().open(file, known), file, every, 25)

    def _corrupt(self, blocks: int) -> None:
        """Wherever head, node or block is damaged in both copies, opening or reading says so."""
        file = _File()
        tree = self._tree().create(file)
        _write(tree, file, range(blocks), 1)
        tree.sync_to_storage(file)
        _check(self._tree().open(file, tree.root_hash), file, range(blocks), 1)
        for places in _copies(blocks):
            for at in _offsets(places[0]):
                damaged = _File(bytes(file.data))
                for place in places:
                    if place.start + at < len(damaged.data):
                        damaged.data[place.start + at] = damaged.data[place.start + at] + 1 & 0xFF
                if not self._finds_damage(damaged, tree.root_hash, blocks):
                    raise TeeError(gp.TEE_ERROR_SECURITY, f"octet {places[0].start + at} was changed unnoticed")

    def _finds_damage(self, file: _File, root_hash: bytes, blocks: int) -> bool:
        try:
            tree = self._tree().open(file, root_hash)
            for n in range(blocks):
                tree.read_block(file, n)
        except TeeError:
            return True
        return False

    def _tree(self) -> Htree:
        return Htree(0, None, self._keys, self._rng, self._uuid, _LAYOUT)


def _content(num: int, salt: int) -> bytes:
    words = _LAYOUT.block_size // 4
    return struct.pack(f"<{words}I", *(n << 16 | num << 8 | salt for n in range(words)))


def _write(tree: Htree, file: _File, numbers: Iterable[int], salt: int) -> None:
    for num in numbers:
        tree.write_block(file, num, _content(num, salt))


def _check(tree: Htree, file: _File, numbers: Iterable[int], salt: int) -> None:
    for num in numbers:
        if tree.read_block(file, num) != _content(num, salt):
            raise TeeError(gp.TEE_ERROR_SECURITY, f"block {num} is not what was written as number {salt}")


def _copies(blocks: int) -> Iterator[tuple[range, range]]:
    """Where in the file the two copies are of the head, then of each node, then of each block."""
    yield range(_HEAD), range(_HEAD, 2 * _HEAD)
    for n in range(blocks):
        at = _LAYOUT.nodes(n // _LAYOUT.group) + 2 * _NODE * (n % _LAYOUT.group)
        yield range(at, at + _NODE), range(at + _NODE, at + 2 * _NODE)
    for n in range(blocks):
        first, second = (_LAYOUT.block(n, vers) for vers in (0, 1))
        yield range(first, first + _LAYOUT.block_size), range(second, second + _LAYOUT.block_size)


def _offsets(place: range) -> Iterator[int]:
    """The first, then twice as far each time, and the last."""
    at = 0
    while at < len(place) - 1:
        yield at
        at = 2 * at or 1
    yield len(place) - 1
