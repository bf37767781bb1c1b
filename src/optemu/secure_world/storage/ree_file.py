"""The octets of a file of the REE file system, over its hash tree. Mirrors the primitives of core/tee/tee_ree_fs.c."""

from collections.abc import Iterator
from typing import Final

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.storage.htree import Htree
from optemu.secure_world.storage.tee_fs import FileHandle, Files

MAX_LENGTH: Final = (64 << 20) + (64 << 10)
"""An object's octets: 64 MiB of data, behind head and attributes.

A write far behind the end fills the gap; upstream's heap ends long before, and here a call would take that much longer.
"""


class FileName:
    """What a file is, for the log."""

    __slots__ = ("number", "obj_id", "uuid")

    def __init__(self, number: int, uuid: bytes, obj_id: bytes) -> None:
        self.number, self.uuid, self.obj_id = number, uuid, obj_id

    def __str__(self) -> str:
        return f"file {self.number:x} (object {self.obj_id!r} of TA {gp.uuid_str(self.uuid)})"


class ReeFile(FileHandle):
    """struct tee_fs_fd: an object that is open. ``tree`` is None when a change failed, and must be read again."""

    __slots__ = ("fd", "name", "tree")

    def __init__(self, fd: int, name: FileName, tree: Htree | None) -> None:
        self.fd = fd
        self.name = name
        self.tree = tree

    @property
    def version(self) -> bytes | None:
        return None if self.tree is None else self.tree.root_hash


def read_data(files: Files, tree: Htree, pos: int, size: int) -> bytes:
    """ree_fs_read_primitive: up to ``size`` octets at ``pos``, fewer at the end."""
    return b"".join(read_runs(files, tree, pos, size))


def read_runs(files: Files, tree: Htree, pos: int, size: int) -> Iterator[bytes]:
    """``read_data``, some octets at a time."""
    block_size = tree.layout.block_size
    left = min(size, tree.length - pos)
    if left <= 0:
        return
    first, before = divmod(pos, block_size)
    count = (pos + left - 1) // block_size - first + 1
    for blocks in tree.read_blocks(files, first, count):
        if before:
            blocks[0] = blocks[0][before:]
            before = 0
        octets = b"".join(blocks)[:left]
        left -= len(octets)
        yield octets


def write_data(files: Files, tree: Htree, pos: int, data: bytes) -> None:
    """ree_fs_write_primitive. A gap between the end and ``pos`` is filled with zeros."""
    if not data:
        return
    _check_length(tree, pos + len(data))
    if pos > tree.length:
        _out_of_place_write(files, tree, tree.length, None, pos - tree.length)
    _out_of_place_write(files, tree, pos, memoryview(data), len(data))


def truncate_data(files: Files, tree: Htree, size: int) -> int | None:
    """ree_fs_ftruncate_internal: to ``size`` octets, less or more. If less: what the file may be cut to once that is
    committed.

    Upstream cuts it before: what is committed would be lost if the power went then.
    """
    _check_length(tree, size)
    if size >= tree.length:
        _out_of_place_write(files, tree, tree.length, None, size - tree.length)
        return None
    tree.truncate(size // tree.layout.block_size)
    tree.length = size
    blocks = -(-size // tree.layout.block_size)
    return tree.layout.block(blocks, 1) + tree.layout.block_size


def _check_length(tree: Htree, length: int) -> None:
    if length > max(MAX_LENGTH, tree.length):
        raise TeeError(gp.TEE_ERROR_STORAGE_NO_SPACE, f"{tree.name}: an object cannot have {length} octets")


def _out_of_place_write(files: Files, tree: Htree, pos: int, data: memoryview | None, size: int) -> None:
    """``data``, or zeros, at ``pos``, which is not behind the end."""
    block_size = tree.layout.block_size
    filled = -(-tree.length // block_size)
    done = 0
    while done < size:
        num, offset = divmod(pos + done, block_size)
        some = min(size - done, block_size - offset)
        piece = bytes(some) if data is None else bytes(data[done : done + some])
        if some < block_size:
            old = tree.read_block(files, num) if num < filled else bytes(block_size)
            piece = old[:offset] + piece + old[offset + some :]
        tree.write_block(files, num, piece)
        done += some
    if pos + size > tree.length:
        tree.length = pos + size
        tree.set_dirty()
