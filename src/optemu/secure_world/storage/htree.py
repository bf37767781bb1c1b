"""Hash tree over the blocks of one file. Mirrors core/tee/fs_htree.c.

A binary tree in heap order: node n stands for block n - 1, its children are 2n and 2n + 1. A node's hash counts its
own body and its children's hashes, so that the root's says everything of the file; the head, encrypted and
authenticated with it, says how long the file is. Of head, nodes and blocks there are two copies each: a change goes to
the copy that is not committed.

Where upstream writes each block, node and head by itself, what waits is written here in as few pieces as may be: whole
pages of nodes, and over committed copies that lie between, if it is known what they hold. What is left in the file is
the same. The head of the database goes last and by itself, as all of it does upstream: whoever looks at it first knows
by it what counts. Which version of another file counts, the database says.

The normal world's files are reached through ``Files``, which each call brings along. Whoever gets a TeeError from a
change must drop the tree and open it again: it is then the committed one.
"""

import hashlib
import logging
from collections.abc import Iterator
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from optemu.abi import fs_htree as abi
from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.crypto.provider import Rng
from optemu.secure_world.storage.key_manager import KeyManager
from optemu.secure_world.storage.tee_fs import Files

log = logging.getLogger("optemu.core")

_IV, _NODE, _HEAD = abi.TEE_FS_HTREE_IV_SIZE, abi.NODE_IMAGE.size, abi.IMAGE.size
_RUN_MAX: Final = 256 << 10
_RECENT_MAX: Final = 2
"""As many blocks has an object of a page, for its head comes first."""
_PASSED_MAX: Final = 2
"""So many copies are written again at most, for that is cheaper than another request."""
Head: TypeAlias = tuple[bytes, bytes, bytes, bytes, int]
"""iv, tag, enc_fek, imeta, counter"""
Image: TypeAlias = tuple[bytes, bytes, bytes, int]
"""Of a node: hash, iv, tag, flags"""
Version: TypeAlias = tuple[Head, Image]
"""A head, and the root with it"""


def corrupt(name: object, what: str) -> TeeError:
    """TEE_ERROR_CORRUPT_OBJECT for the file called ``name``; what has a name is complained of in the log as well."""
    if name is not None:
        log.error("secure storage: %s: %s", name, what)
    return TeeError(gp.TEE_ERROR_CORRUPT_OBJECT, f"{name}: {what}")


class Unfinished(TeeError):
    """The file was never committed since it was created: the power went before."""


class Layout:
    """Where things are in a file of blocks of ``block_size`` octets. Mirrors get_offs_size.

    The heads have the first block. Then a block with the nodes of a group is followed by twice as many copies of
    blocks, but one: they fall behind their nodes by one copy each time.
    """

    __slots__ = ("block_size", "group")

    def __init__(self, block_size: int = abi.REE_FS_BLOCK_SIZE) -> None:
        self.block_size = block_size
        self.group = block_size // (2 * _NODE)
        """How many nodes, with two copies each, one block has room for."""

    def nodes(self, group: int) -> int:
        return (1 + 2 * group * self.group) * self.block_size

    def block(self, num: int, vers: int) -> int:
        return self.blocks([2 * num + vers])[0]

    def blocks(self, copies: list[int]) -> list[int]:
        """As ``block``, of many: copies 2n and 2n + 1 are those of block n."""
        size, between = self.block_size, 2 * self.group - 1
        return [(2 + copy + copy // between) * size for copy in copies]


LAYOUT: Final = Layout()


class Node:
    """struct htree_node with its tee_fs_htree_node_image."""

    __slots__ = ("flags", "hash", "iv", "tag")

    def __init__(self, node_hash: bytes = b"", iv: bytes = bytes(_IV), tag: bytes = bytes(_IV), flags: int = 0) -> None:
        self.hash = node_hash
        self.iv = iv
        self.tag = tag
        self.flags = flags


_NO_NODE: Final = Node()


class Htree:
    """struct tee_fs_htree: the file that is open as ``fd``. Use ``open`` or ``create``."""

    def __init__(
        self, fd: int, name: object, keys: KeyManager, rng: Rng, uuid: bytes | None, layout: Layout = LAYOUT
    ) -> None:
        self.fd = fd
        self.name = name
        """For the log; None: whoever called knows what he does."""
        self.length = 0
        """Octets of data in the file; whoever changes it calls ``set_dirty``."""
        self.layout = layout
        self._keys, self._rng, self._uuid = keys, rng, uuid
        self._counter = 0
        self._enc_fek = b""
        self._gcm: AESGCM
        self._heads = bytearray(2 * _HEAD)
        self._pages: list[bytearray] = []
        """The nodes as they are in the file, both copies, by group."""
        self._nodes: list[Node] = []
        """By number; there is none of number 0, and always one of number 1."""
        self._max_node_id = 0
        """As it is stored: still 0 where only the root is there."""
        self._dirty: set[int] = set()
        self._block_updated: set[int] = set()
        self._committed = 0
        """Nodes up to this number, or their blocks, may be part of a committed tree."""
        self._behind = 0
        """From here on there is nothing of worth in the file."""
        self._pending: dict[int, bytes] = {}
        """Copies of blocks that wait to be written, encrypted, by place."""
        self._front = bytearray()
        """How the file began when it was opened, with what has been written there since, or waits."""
        self._recent: dict[int, bytes] = {}
        """The blocks that were used last, decrypted."""
        self._copies: dict[int, tuple[int, bytes | bytearray]] = {}
        """Of some of these, where their committed copy is, and what it holds, encrypted."""

    @property
    def root_hash(self) -> bytes:
        return self._nodes[1].hash

    @property
    def counter(self) -> int:
        return self._counter

    # --- opening ------------------------------------------------------------------------------------------

    def create(self, files: Files, *, fresh: bool = False) -> "Htree":
        """An empty tree in an empty file, committed. Returns itself.

        ``fresh``: nobody can know the file before it is synced, and nothing is written until then.
        """
        fek = self._rng.read(abi.TEE_FS_HTREE_FEK_SIZE)
        self._enc_fek = self._keys.encrypt_fek(self._uuid, fek)
        self._gcm = AESGCM(fek)
        self._nodes = [_NO_NODE, Node()]
        self._pages = [self._page()]
        self._dirty = {1}
        if fresh:
            self._sync_nodes()
            self._update_root()
        else:
            self._committed = 1
            self.sync_to_storage(files)
            # The other head, last: a file that has it needs no second look.
            files.write(self.fd, 0, bytes(_HEAD))
        return self

    def open(self, files: Files, root_hash: bytes | None = None) -> "Htree":
        """The committed tree of a file, all nodes verified. Returns itself.

        The root is the one with ``root_hash``, or the later one. TeeError: TEE_ERROR_CORRUPT_OBJECT; Unfinished;
        TEE_ERROR_SECURITY when no head is committed.
        """
        for head, root in self._init_head_from_data(files, root_hash):
            self._nodes = [_NO_NODE, Node(*root)]
            if self._verify_root(*head):
                break
        else:
            raise corrupt(self.name, "its head is damaged, or encrypted with another key")
        self._init_tree_from_data(files)
        self._verify_tree()
        self._committed = len(self._nodes) - 1
        return self

    def reopen(self, files: Files, fd: int, root_hash: bytes | None = None) -> bool:
        """Is the file, open as ``fd``, still what this tree says? Then ``fd`` is used from now on."""
        other = Htree(fd, self.name, self._keys, self._rng, self._uuid, self.layout)
        at = (self._counter & 1) * _HEAD
        root = self._nodes[1]
        for head, node in other._init_head_from_data(files, root_hash):
            same = head[4] == self._counter and node == (root.hash, root.iv, root.tag, root.flags)
            if same and other._heads[at : at + _HEAD] == self._heads[at : at + _HEAD]:
                self.fd = fd
                return True
        return False

    def _init_head_from_data(self, files: Files, root_hash: bytes | None) -> list[Version]:
        """Heads with their roots that may be committed: both, when nothing but the head was changed."""
        block_size, at = self.layout.block_size, self.layout.nodes(0)
        raw = files.read(self.fd, 0, (2 + 2 * _RECENT_MAX) * block_size)
        if root_hash is None and self._never_committed(raw):
            raise Unfinished(gp.TEE_ERROR_CORRUPT_OBJECT, f"{self.name}: its creation was interrupted")
        if len(raw) < at + 2 * _NODE:
            raise corrupt(self.name, f"only {len(raw)} bytes of its head can be read")
        self._heads[:] = raw[: 2 * _HEAD]
        self._front[:] = raw
        first: Version = abi.IMAGE.unpack_from(raw, 0), abi.NODE_IMAGE.unpack_from(raw, at)
        second: Version = abi.IMAGE.unpack_from(raw, _HEAD), abi.NODE_IMAGE.unpack_from(raw, at + _NODE)
        if root_hash is None:
            return [self._later(first, second)]
        found = [version for version in (first, second) if version[1][0] == root_hash]
        if not found:
            raise corrupt(self.name, "it is not the version that belongs here")
        return found

    def _later(self, *both: Version) -> Version:
        """The head, with its root, that was committed last."""
        counters = [head[4] for head, _ in both]
        idx = _get_idx_from_counter(*counters)
        if idx is None:
            log.error("secure storage: %s: none of its heads is committed", self.name)
            raise TeeError(gp.TEE_ERROR_SECURITY, f"{self.name}: none of its heads is committed")
        if not _is_other(counters[idx], counters[1 - idx]):
            raise corrupt(self.name, f"its heads have the counters {counters[0]} and {counters[1]}")
        return both[idx]

    def _never_committed(self, raw: bytes) -> bool:
        """Does the file begin as one that ``create`` did not come to the end of? It can be created again."""
        first, second = raw[:_HEAD], raw[_HEAD : 2 * _HEAD]
        longest = self.layout.nodes(0) + 2 * _NODE
        return len(raw) <= longest and not any(first) and not any(second[-abi.COUNTER.size :])

    def _verify_root(self, iv: bytes, tag: bytes, enc_fek: bytes, imeta: bytes, counter: int) -> bool:
        self._counter, self._enc_fek = counter, enc_fek
        self._gcm = AESGCM(self._keys.decrypt_fek(self._uuid, enc_fek))
        try:
            plain = self._gcm.decrypt(iv, imeta + tag, self._root_aad(iv))
        except InvalidTag:
            return False
        self.length, self._max_node_id = abi.IMETA.unpack(plain)
        return True

    def _root_aad(self, iv: bytes) -> bytes:
        """As with CFG_REE_FS_HTREE_HASH_SIZE_COMPAT, the default: only half of the hash counts."""
        half = self._nodes[1].hash[: abi.TEE_FS_HTREE_FEK_SIZE]
        return half + abi.COUNTER.pack(self._counter) + self._enc_fek + iv

    def _init_tree_from_data(self, files: Files) -> None:
        group, nodes = self.layout.group, self._nodes
        start, size, last = self.layout.nodes(0), 2 * _NODE * group, self._max_node_id or 1
        raw: bytes | bytearray = self._front[start : start + size]
        for first in range(0, last, group):
            count = min(group, last - first)
            if first:
                raw = files.read(self.fd, self.layout.nodes(first // group), size)
            # Of its last node the file may have but the first copy.
            if len(raw) < (2 * count - 1) * _NODE:
                raise corrupt(self.name, f"nodes {first + 1} to {first + count}: {len(raw)} bytes of them can be read")
            page = self._page(raw)
            self._pages.append(page)
            for n in range(max(first + 1, 2), first + count + 1):
                vers = bool(nodes[n >> 1].flags & abi.HTREE_NODE_COMMITTED_CHILD[n & 1])
                nodes.append(Node(*abi.NODE_IMAGE.unpack_from(page, (2 * (n - first - 1) + vers) * _NODE)))

    def _verify_tree(self) -> None:
        for n in range(len(self._nodes) - 1, 0, -1):
            if self._calc_node_hash(n) != self._nodes[n].hash:
                raise corrupt(self.name, f"node {n} is damaged")

    def _page(self, raw: bytes | bytearray = b"") -> bytearray:
        return bytearray(raw.ljust(2 * _NODE * self.layout.group, b"\0"))

    def _calc_node_hash(self, n: int) -> bytes:
        nodes = self._nodes
        node = nodes[n]
        body = abi.NODE_BODY.pack(node.iv, node.tag, node.flags)
        if n == 1:
            body += abi.META.pack(self.length)
        for child in nodes[2 * n : 2 * n + 2]:
            body += child.hash
        return hashlib.sha256(body).digest()

    # --- blocks -------------------------------------------------------------------------------------------

    def read_blocks(self, files: Files, first: int, count: int) -> Iterator[list[bytes]]:
        """The plaintext of ``count`` blocks from ``first`` on, which must be there; some at a time."""
        if count <= _RECENT_MAX and all(n in self._recent for n in range(first, first + count)):
            yield [self._recent[n] for n in range(first, first + count)]
            return
        some = _RUN_MAX // (2 * self.layout.block_size)
        for n in range(first, first + count, some):
            yield self._read_run(files, n, min(some, first + count - n))

    def read_block(self, files: Files, num: int) -> bytes:
        block = self._recent.get(num)
        return self._read_run(files, num, 1)[0] if block is None else block

    def _remember(self, num: int, block: bytes) -> None:
        self._recent.pop(num, None)
        self._recent[num] = block
        if len(self._recent) > _RECENT_MAX:
            first = next(iter(self._recent))
            del self._recent[first]
            self._copies.pop(first, None)

    def _read_run(self, files: Files, first: int, count: int) -> list[bytes]:
        """Of blocks that follow each other: both copies at once, of which one is needed."""
        size = self.layout.block_size
        nodes = self._nodes[first + 1 : first + count + 1]
        copies = [2 * n + (node.flags & abi.HTREE_NODE_COMMITTED_BLOCK) for n, node in enumerate(nodes, first)]
        places = self.layout.blocks(copies)
        start, end = 0, places[-1] + size
        raw: bytes | bytearray = self._front
        if end > len(raw):
            if not self._pending.keys().isdisjoint(places):
                self._write(files, {})
            start = places[0]
            raw = files.read(self.fd, start, end - start)
        decrypt, enc_fek, blocks = self._gcm.decrypt, self._enc_fek, []
        for node, at in zip(nodes, places, strict=True):
            crypt = raw[at - start : at - start + size]
            try:
                blocks.append(decrypt(node.iv, crypt + node.tag, enc_fek + node.iv))
            except InvalidTag:
                short = f"has only {len(crypt)} of its {size} bytes"
                what = short if len(crypt) < size else "is damaged"
                raise corrupt(self.name, f"block {first + len(blocks)} {what}") from None
        for n in range(max(0, count - _RECENT_MAX), count):
            self._remember(first + n, blocks[n])
            if first + n + 1 not in self._block_updated:
                self._copies[first + n] = places[n], raw[places[n] - start : places[n] - start + size]
        return blocks

    def write_block(self, files: Files, num: int, block: bytes) -> None:
        """``block`` is block ``num`` from the next sync on. Blocks before it that were not there have no content."""
        n = num + 1
        while len(self._nodes) <= n:
            self._grow()
        node, size = self._nodes[n], self.layout.block_size
        if n not in self._block_updated:
            node.flags ^= abi.HTREE_NODE_COMMITTED_BLOCK
        self._dirty.add(n)
        self._block_updated.add(n)
        node.iv = self._rng.read(_IV)
        crypt = self._gcm.encrypt(node.iv, block, self._enc_fek + node.iv)
        node.tag = crypt[size:]
        self._remember(num, block)
        place = self._place(n)
        self._pending[place] = crypt[:size]
        if place + size <= len(self._front):
            self._front[place : place + size] = crypt[:size]
        if len(self._pending) * 2 * size >= _RUN_MAX:
            self._write(files, {})

    def _place(self, n: int) -> int:
        """Of the copy of node ``n``'s block that the node means."""
        return self.layout.block(n - 1, self._nodes[n].flags & abi.HTREE_NODE_COMMITTED_BLOCK)

    def _grow(self) -> None:
        self._nodes.append(Node())
        self._max_node_id = len(self._nodes) - 1
        self._dirty.add(self._max_node_id)
        if (self._max_node_id - 1) // self.layout.group == len(self._pages):
            self._pages.append(self._page())

    def _write(self, files: Files, others: dict[int, bytes]) -> None:
        """What waits, and ``others``, heads and pages of nodes by place: all of it is in the file."""
        size = self.layout.block_size
        known = dict(self._copies.values())
        behind = max(self._behind, self.layout.block(self._committed, 0))
        start, run = 0, bytearray()
        for place, data in sorted((self._pending | others).items()):
            run_end = start + len(run)
            between = range(-(-run_end // size) * size, place, size)
            if run and len(between) <= _PASSED_MAX and all(p in known or p >= behind for p in between):
                run += bytes(-run_end % size)
                for p in between:
                    run += known.get(p) or bytes(size)
            else:
                if run:
                    files.write(self.fd, start, bytes(run))
                start, run = place, bytearray()
            run += data
        if run:
            files.write(self.fd, start, bytes(run))
        self._behind = max(behind, start + len(run))
        self._pending.clear()

    def truncate(self, num: int) -> None:
        """No blocks behind block ``num`` from the next sync on; they stay in the file."""
        while (n := len(self._nodes) - 1) > num + 1:
            self._pending.pop(self._place(n), None)
            self._nodes.pop()
            self._dirty.discard(n)
            self._block_updated.discard(n)
            # Unlike upstream, which leaves the parent with a hash that counts what is no longer there.
            self._dirty.add(n >> 1)
            self._max_node_id = n - 1
        self._recent.clear()
        self._copies.clear()
        self.set_dirty()

    # --- committing ---------------------------------------------------------------------------------------

    def set_dirty(self) -> None:
        """tee_fs_htree_meta_set_dirty"""
        self._dirty.add(1)

    def sync_to_storage(self, files: Files) -> None:
        """All changes are in the file."""
        fresh = not self._committed
        if not self._dirty and not fresh:
            return
        groups = set(range(len(self._pages))) if fresh else set()
        if self._dirty:
            groups |= self._sync_nodes()
            self._update_root()
        written = self._pending.copy()
        pages = {}
        for group in groups:
            count = len(self._nodes) - 1 - group * self.layout.group
            pages[self.layout.nodes(group)] = bytes(self._pages[group][: 2 * _NODE * count])
        if self._uuid is None:
            at = (self._counter & 1) * _HEAD
            self._write(files, pages)
            files.write(self.fd, at, bytes(self._heads[at : at + _HEAD]))
        else:
            self._write(files, pages | {0: bytes(self._heads)})
        self._committed, self._behind = len(self._nodes) - 1, 0
        for num in self._recent:
            place = self._place(num + 1)
            if place in written:
                self._copies[num] = place, written[place]
            elif num in self._copies and self._copies[num][0] != place:
                del self._copies[num]

    def _sync_nodes(self) -> set[int]:
        """htree_sync_node_to_storage, into the pages: the groups that have changed."""
        changed = set(self._dirty)
        for n in self._dirty:
            while (n := n >> 1) and n not in changed:
                changed.add(n)
        groups = set()
        for n in sorted(changed, reverse=True):
            node = self._nodes[n]
            if n > 1:
                flag = abi.HTREE_NODE_COMMITTED_CHILD[n & 1]
                parent = self._nodes[n >> 1]
                parent.flags ^= flag
                vers = bool(parent.flags & flag)
            else:
                vers = not self._counter & 1
            node.hash = self._calc_node_hash(n)
            group, slot = divmod(n - 1, self.layout.group)
            at = (2 * slot + vers) * _NODE
            abi.NODE_IMAGE.pack_into(self._pages[group], at, node.hash, node.iv, node.tag, node.flags)
            groups.add(group)
        self._dirty.clear()
        self._block_updated.clear()
        return groups

    def _update_root(self) -> None:
        self._counter += 1
        iv = self._rng.read(_IV)
        imeta = abi.IMETA.pack(self.length, self._max_node_id)
        crypt = self._gcm.encrypt(iv, imeta, self._root_aad(iv))
        size = abi.IMETA.size
        at = (self._counter & 1) * _HEAD
        abi.IMAGE.pack_into(self._heads, at, iv, crypt[size:], self._enc_fek, crypt[:size], self._counter)


def _get_idx_from_counter(counter0: int, counter1: int) -> int | None:
    """Which head is committed: the even counters belong into the first, the odd ones into the second."""
    if not counter0 & 1:
        return 0 if not counter1 & 1 or counter0 > counter1 else 1
    return 1 if counter1 & 1 else None


def _is_other(counter: int, other: int) -> bool:
    """May the head that is not committed have this counter? It is one behind, or a torn write made it a mixture.

    Upstream does not ask, and takes the commit before for the last one where the counter of that is damaged.
    """
    before, after = abi.COUNTER.pack(counter - 1 & 0xFFFFFFFF), abi.COUNTER.pack(counter + 1 & 0xFFFFFFFF)
    return abi.COUNTER.pack(other) in [after[:n] + before[n:] for n in range(abi.COUNTER.size)]
