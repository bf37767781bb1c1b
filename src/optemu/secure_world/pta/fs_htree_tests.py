"""The hash tree of secure storage, tried in memory. Mirrors core/pta/tests/fs_htree.c; xtest 1015 calls it.

Blocks are written, synced, changed without a sync, and read again; then every part of a file is damaged, which must
be noticed. TeeError(TEE_ERROR_SECURITY) when what is read is not what it should be.
"""

import struct
from collections.abc import Iterable
from typing import Final

from optemu.abi import fs_htree as abi
from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.crypto.provider import Rng
from optemu.secure_world.storage.htree import Htree, Layout
from optemu.secure_world.storage.key_manager import KeyManager

BLOCK_SIZE: Final = 144
"""The smallest, in words of four bytes, that has room for two nodes or two heads."""
_LAYOUT = Layout(BLOCK_SIZE)
_WORDS = struct.Struct(f"<{BLOCK_SIZE // 4}I")
_FD: Final = 0


class _Memory:
    """``Files`` with a single file, which is open."""

    def __init__(self, data: bytes | bytearray = b"") -> None:
        self.data = bytearray(data)

    def read(self, fd: int, offset: int, size: int) -> bytes:
        return bytes(self.data[offset : offset + size])

    def write(self, fd: int, offset: int, data: bytes) -> None:
        self.data.extend(bytes(max(offset + len(data) - len(self.data), 0)))
        self.data[offset : offset + len(data)] = data

    def _no_such_call(self, *args: object) -> int:
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, "the hash tree asks for blocks alone")

    open = create = _no_such_call

    def close(self, fd: int) -> None:
        self._no_such_call()

    def truncate(self, fd: int, size: int) -> None:
        self._no_such_call()

    def remove(self, name: bytes) -> None:
        self._no_such_call()

    def rename(self, old: bytes, new: bytes, overwrite: bool) -> None:
        self._no_such_call()


class FsHtreeTests:
    """core_fs_htree_tests, with the keys of TA ``uuid``."""

    def __init__(self, keys: KeyManager, rng: Rng, uuid: bytes) -> None:
        self._keys, self._rng, self._uuid = keys, rng, uuid

    def run(self) -> None:
        num_blocks = 10
        for blocks in range(0, num_blocks, 3):
            for first in range(0, blocks, 3):
                for count in range(0, blocks - first, 3):
                    self.rewrite(blocks, range(first, first + count))
        self.corrupt(5)

    def _tree(self) -> Htree:
        return Htree(_FD, None, self._keys, self._rng, self._uuid, _LAYOUT)

    def rewrite(self, num_blocks: int, again: range) -> None:
        """htree_test_rewrite: what is written is read, and what is not synced, those ``again``, is gone afterwards."""
        memory, everything = _Memory(), range(num_blocks)
        tree = self._tree().create(memory)
        for salt, order in ((23, everything), (24, everything[::-1]), (25, everything)):
            _write(tree, memory, order, salt)
            _check(tree, memory, everything, salt)
        tree.sync_to_storage(memory)
        root_hash = tree.root_hash
        _check(tree, memory, everything, 25)
        tree = self._tree().open(memory, root_hash)
        _check(tree, memory, everything, 25)
        for salt, order in ((26, again[::-1]), (27, again)):
            _write(tree, memory, order, salt)
            _check(tree, memory, [n for n in everything if n not in again], 25)
            _check(tree, memory, again, salt)
        for found in (root_hash, None):
            _check(self._tree().open(memory, found), memory, everything, 25)

    def corrupt(self, num_blocks: int) -> None:
        """test_corrupt: no byte of a head, a node or a block can be another without being noticed."""
        memory, everything = _Memory(), range(num_blocks)
        tree = self._tree().create(memory)
        _write(tree, memory, everything, 1)
        tree.sync_to_storage(memory)
        _check(self._tree().open(memory, tree.root_hash), memory, everything, 1)
        # Both copies of each: (offset, offset, size).
        parts = [(0, abi.IMAGE.size, abi.IMAGE.size)]
        node = abi.NODE_IMAGE.size
        parts += [(_LAYOUT.nodes(n), _LAYOUT.nodes(n) + node, node) for n in everything]
        parts += [(_LAYOUT.block(n, 0), _LAYOUT.block(n, 1), BLOCK_SIZE) for n in everything]
        for *copies, size in parts:
            for at in [0, *(1 << n for n in range(size.bit_length()) if 1 << n < size - 1), size - 1]:
                damaged = _Memory(memory.data.ljust(_LAYOUT.block(num_blocks, 1), b"\0"))
                for copy in copies:
                    damaged.data[copy + at] = damaged.data[copy + at] + 1 & 0xFF
                self._notice(damaged, tree.root_hash, everything)

    def _notice(self, damaged: _Memory, root_hash: bytes, blocks: Iterable[int]) -> None:
        try:
            tree = self._tree().open(damaged, root_hash)
            for n in blocks:
                tree.read_block(damaged, n)
        except TeeError:
            return
        raise TeeError(gp.TEE_ERROR_SECURITY, "a damaged file is read as if nothing were")


def _block(num: int, salt: int) -> bytes:
    """Words that say which block, which word and which time of writing they are of."""
    return _WORDS.pack(*(n << 16 | num << 8 | salt for n in range(BLOCK_SIZE // 4)))


def _write(tree: Htree, memory: _Memory, blocks: Iterable[int], salt: int) -> None:
    for num in blocks:
        tree.write_block(memory, num, _block(num, salt))


def _check(tree: Htree, memory: _Memory, blocks: Iterable[int], salt: int) -> None:
    for num in blocks:
        if tree.read_block(memory, num) != _block(num, salt):
            raise TeeError(gp.TEE_ERROR_SECURITY, f"block {num} is not what was written")
