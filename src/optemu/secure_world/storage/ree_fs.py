"""Persistent objects as files of the normal world. Mirrors core/tee/tee_ree_fs.c.

Each object is a file with a number for its name; the database ``dirf.db`` says whose it is, and which version of it
counts. A change is committed when the database is: until then the object is the old one. Where upstream's order would
lose what is committed, or leave files behind that nothing names, ours differs, and says so.

One call at a time: whoever calls sees to that (ree_fs_mutex).
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, Protocol, TypeVar

from optemu.abi import gp
from optemu.abi.fs_htree import DIRFILE_NAME
from optemu.errors import TeeError
from optemu.secure_world.crypto.provider import Rng
from optemu.secure_world.storage.dirfile import Dirfile, Entry, file_name
from optemu.secure_world.storage.htree import Htree, Unfinished
from optemu.secure_world.storage.key_manager import KeyManager
from optemu.secure_world.storage.ree_file import FileName, ReeFile, read_data, read_runs, truncate_data, write_data
from optemu.secure_world.storage.tee_fs import Directory, FileHandle, FileOperations, Files, Pobj, Ree

log = logging.getLogger("optemu.core")
_T = TypeVar("_T")
_GAP: Final = 16
"""So many numbers without a file, and there are no more files that a lost database has left."""
_MOST_LOST: Final = 4096
"""So many are removed at most: a normal world that says that each was there is not asked for ever."""


class Root(Protocol):
    """Something that cannot be set back to what it was, and remembers the database (CFG_REE_FS_INTEGRITY_RPMB)."""

    def read(self, ree: Ree) -> bytes | None:
        """The hash of the database's root (32 octets); None when there was no database yet."""

    def commit(self, ree: Ree, root_hash: bytes, counter: int) -> None:
        """``root_hash`` is what ``read`` gives from now on; ``counter`` says how many commits there were."""


class ReeDirectory(Directory):
    """struct tee_fs_dir: which entry is the next that is looked at. Changes meanwhile are seen."""

    __slots__ = ("idx", "uuid")

    def __init__(self, uuid: bytes) -> None:
        self.uuid = uuid
        self.idx = 0


class ReeFs(FileOperations):
    """ree_fs_ops. Without ``root`` nobody notices when all files are set back together.

    ``tidy``: remove files that the database does not name, when it is opened for the first time.
    """

    anew_blocks = 32
    """Where a write changes so many blocks, and half of the object, all of it is written to another file."""

    def __init__(self, keys: KeyManager, rng: Rng, root: Root | None = None, *, tidy: bool = True) -> None:
        self._keys, self._rng, self._root = keys, rng, root
        self._tidy = tidy
        self._dirh: Dirfile | None = None
        """Kept when its file is closed: if that is still the same, it need not be read again."""
        self._dirh_open = False
        self._open_numbers: Counter[int] = Counter()
        """How many handles there are of each file."""
        self._directories = 0
        """How many are open. Without any, and without handles, the database's file is closed."""

    # --- the database -------------------------------------------------------------------------------------

    def _get_dirh(self, ree: Ree, *, create: bool = False) -> Dirfile:
        """get_dirh: the database, whose file is open until ``_put_dirh``.

        Upstream makes a database whoever asks; here TEE_ERROR_ITEM_NOT_FOUND says that there is none, until an object
        is made.
        """
        if self._dirh is not None and self._dirh_open:
            return self._dirh
        dirh = self._dirh = self._open_dirh(ree, create)
        self._dirh_open = True
        for number in self._open_numbers:
            dirh.hold(number)
        if self._tidy:
            self._tidy = False
            self._remove_orphans(ree.files, dirh)
        return dirh

    def _put_dirh(self, ree: Ree) -> None:
        """put_dirh: changes that are not committed, as an error came, are forgotten."""
        dirh = self._dirh
        if dirh is None or not self._dirh_open:
            return
        if dirh.changed:
            self._dirh = None
        elif self._open_numbers or self._directories:
            return
        self._dirh_open = False
        _close(ree.files, dirh.tree.fd)

    def _open_dirh(self, ree: Ree, create: bool) -> Dirfile:
        """open_dirh"""
        anchor = None
        if self._root is not None and (anchor := self._root.read(ree)) is None:
            return self._create_dirh(ree, create)
        try:
            fd = ree.files.open(DIRFILE_NAME)
        except TeeError as e:
            if e.code != gp.TEE_ERROR_ITEM_NOT_FOUND:
                raise
            if anchor is not None:
                log.error("secure storage: dirf.db is gone, which was there")
                raise TeeError(gp.TEE_ERROR_SECURITY, "dirf.db is gone, which was there") from None
            return self._create_dirh(ree, create)
        try:
            if self._dirh is not None and self._dirh.tree.reopen(ree.files, fd, anchor):
                return self._dirh
            return Dirfile(self._tree(fd, "dirf.db", None).open(ree.files, anchor)).load(ree.files)
        except Unfinished:
            _close(ree.files, fd)
            return self._create_dirh(ree, create)
        except Exception:
            # Unlike upstream, which removes a database that it cannot read, and with it all objects.
            _close(ree.files, fd)
            raise

    def _create_dirh(self, ree: Ree, create: bool) -> Dirfile:
        if not create:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, "there are no objects yet")
        log.info("secure storage: creating dirf.db")
        fd = ree.files.create(DIRFILE_NAME)
        try:
            tree = self._tree(fd, "dirf.db", None).create(ree.files)
            if self._root is not None:
                self._root.commit(ree, tree.root_hash, tree.counter)
        except Exception:
            _close(ree.files, fd)
            raise
        return Dirfile(tree)

    def _commit(self, ree: Ree, dirh: Dirfile) -> None:
        """commit_dirh_writes"""
        dirh.commit_writes(ree.files)
        if self._root is not None:
            self._root.commit(ree, dirh.tree.root_hash, dirh.tree.counter)
        dirh.changed = False

    def _remove_orphans(self, files: Files, dirh: Dirfile) -> None:
        """Files that the power going between two steps left behind. Upstream leaves them."""
        for number in dirh.unused_numbers():
            _remove(files, number, expected=False)
        # Where there is no entry, there may be the files of a database that was lost.
        missing = 0
        for number in range(1, 0 if dirh.entries else _MOST_LOST):
            missing = 0 if _remove(files, number, expected=False) else missing + 1
            if missing == _GAP:
                break

    def _tree(self, fd: int, name: object, uuid: bytes | None) -> Htree:
        return Htree(fd, name, self._keys, self._rng, uuid)

    # --- objects ------------------------------------------------------------------------------------------

    def open(self, ree: Ree, po: Pobj) -> tuple[int, FileHandle]:
        with _Dirh(self, ree) as dirh:
            _, entry = dirh.entry_named(po.uuid, po.obj_id)
            name = FileName(entry.file_number, po.uuid, po.obj_id)
            try:
                fd = ree.files.open(file_name(name.number))
            except TeeError as e:
                if e.code != gp.TEE_ERROR_ITEM_NOT_FOUND:
                    raise
                log.error("secure storage: %s is gone", name)
                raise TeeError(gp.TEE_ERROR_CORRUPT_OBJECT, f"{name} is gone") from None
            try:
                tree = self._tree(fd, name, name.uuid).open(ree.files, entry.hash)
            except Exception:
                _close(ree.files, fd)
                raise
            self._open_numbers[name.number] += 1
        return tree.length, ReeFile(fd, name, tree)

    def version(self, ree: Ree, po: Pobj) -> bytes | None:
        dirh = self._dirh
        if dirh is None:
            with _Dirh(self, ree) as dirh:
                pass
        return dirh.entry_named(po.uuid, po.obj_id)[1].hash

    def _committed(self, files: Files, dirh: Dirfile, fh: ReeFile) -> Htree:
        """The object as it is now. Upstream's handles do not see, and undo, what another has written since.

        Of an object that is gone: what it was last, as long as that can be had; else TEE_ERROR_ITEM_NOT_FOUND.
        """
        tree, entry = fh.tree, dirh.entry_of(fh.name.number)
        if entry is None:
            if tree is None or not tree.reopen(files, fh.fd):
                raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, f"{fh.name} belongs to no object any more")
            return tree
        if tree is not None and tree.root_hash == entry.hash:
            return tree
        return self._tree(fh.fd, fh.name, fh.name.uuid).open(files, entry.hash)

    def create(self, ree: Ree, po: Pobj, overwrite: bool, head: bytes, attr: bytes, data: bytes) -> FileHandle:
        with _Dirh(self, ree, create=True) as dirh:
            idx = dirh.find(po.uuid, po.obj_id)
            if idx is not None and not overwrite:
                raise TeeError(gp.TEE_ERROR_ACCESS_CONFLICT, f"there is an object {po.obj_id!r} already")
            name = FileName(dirh.get_tmp(), po.uuid, po.obj_id)
            fh = self._create_file(ree.files, dirh, name, b"".join((head, attr, data)))
            try:
                self._set_name(ree, dirh, idx, fh)
            except Exception:
                # The file stays: the database may name it by now.
                _close(ree.files, fh.fd)
                raise
            self._open_numbers[name.number] += 1
        return fh

    def _create_file(self, files: Files, dirh: Dirfile, name: FileName, data: bytes) -> ReeFile:
        """A file with ``data``, which nothing names yet."""
        try:
            fd = files.create(file_name(name.number))
        except Exception:
            dirh.release(name.number)
            raise
        try:
            tree = self._tree(fd, name, name.uuid).create(files, fresh=True)
            write_data(files, tree, 0, data)
            tree.sync_to_storage(files)
        except Exception:
            _close(files, fd)
            _remove(files, name.number)
            dirh.release(name.number)
            raise
        return ReeFile(fd, name, tree)

    def _set_name(self, ree: Ree, dirh: Dirfile, idx: int | None, fh: ReeFile) -> None:
        """set_name: ``fh`` is the object of its name, in place of entry ``idx``'s file."""
        assert fh.tree is not None
        old = None if idx is None else dirh.entry(idx)
        entry = Entry(fh.name.uuid, fh.name.obj_id, fh.tree.root_hash, fh.name.number)
        dirh.rename(ree.files, idx, entry)
        self._commit(ree, dirh)
        if old is not None:
            self._gone(ree.files, dirh, old.file_number)

    def _gone(self, files: Files, dirh: Dirfile, number: int) -> None:
        """No object is in file ``number`` any more. Who has it open keeps its number: it names no other file yet.

        Upstream frees the number at once, and a write through the old handle then changes another object's entry.
        """
        _remove(files, number)
        if number not in self._open_numbers:
            dirh.release(number)

    def close(self, ree: Ree, fh: FileHandle) -> None:
        assert isinstance(fh, ReeFile)
        number, dirh = fh.name.number, self._dirh
        self._open_numbers[number] -= 1
        if not self._open_numbers[number]:
            del self._open_numbers[number]
            if dirh is not None and dirh.entry_of(number) is None:
                dirh.release(number)
        _close(ree.files, fh.fd)
        self._put_dirh(ree)

    def read(self, ree: Ree, fh: FileHandle, pos: int, size: int) -> bytes:
        return b"".join(self.read_runs(ree, fh, pos, size))

    def read_runs(self, ree: Ree, fh: FileHandle, pos: int, size: int) -> Iterator[bytes]:
        assert isinstance(fh, ReeFile)
        # It need not be put back: it stays open as long as the handle is, and nothing is changed.
        fh.tree = self._committed(ree.files, self._get_dirh(ree), fh)
        return read_runs(ree.files, fh.tree, pos, size)

    def write(self, ree: Ree, fh: FileHandle, pos: int, data: bytes) -> None:
        assert isinstance(fh, ReeFile)
        if self._open_numbers[fh.name.number] == 1 and self._is_most(fh.tree, pos, len(data)):
            try:
                self._write_anew(ree, fh, pos, data)
                return
            except TeeError as e:
                if e.code != gp.TEE_ERROR_STORAGE_NO_SPACE:
                    raise
            # Where there is no room for another file, there may be for the other copies of the blocks.
        self._change(ree, fh, lambda tree: write_data(ree.files, tree, pos, data))

    def _is_most(self, tree: Htree | None, pos: int, size: int) -> bool:
        """Does a write of ``size`` octets at ``pos`` change half of the object, and much?"""
        if tree is None:
            return False
        changed = (min(pos + size, tree.length) - pos) // tree.layout.block_size
        return changed >= self.anew_blocks and 2 * changed * tree.layout.block_size >= tree.length

    def _write_anew(self, ree: Ree, fh: ReeFile, pos: int, data: bytes) -> None:
        """The object with ``data`` in it goes to another file, as if created again; nobody but ``fh`` has it open.

        Upstream writes to the same file, with a request for each block, for the committed copies lie between.
        """
        new: ReeFile | None = None
        try:
            with _Dirh(self, ree) as dirh:
                tree, idx, end = self._committed(ree.files, dirh, fh), dirh.index(fh.name.number), pos + len(data)
                behind = read_data(ree.files, tree, end, max(0, tree.length - end))
                whole = b"".join((read_data(ree.files, tree, 0, pos), data, behind))
                # Its name may be another than when it was opened.
                entry = dirh.entry(idx)
                name = FileName(dirh.get_tmp(), entry.uuid, entry.obj_id)
                new = self._create_file(ree.files, dirh, name, whole)
                self._open_numbers[name.number] += 1
                self._set_name(ree, dirh, idx, new)
        finally:
            # After an error, too, the database may name the new file: the handle is the object's, wherever that is.
            if new is not None and self._is_named(ree, new):
                self._move(ree, fh, new)
            elif new is not None:
                self.close(ree, new)

    def _is_named(self, ree: Ree, fh: ReeFile) -> bool:
        """Is it what the database says now? Not known: no."""
        try:
            return self._get_dirh(ree).entry_of(fh.name.number) is not None
        except TeeError:
            return False

    def _move(self, ree: Ree, fh: ReeFile, new: ReeFile) -> None:
        """``fh`` is what ``new`` is; the file that it was is closed."""
        left = ReeFile(fh.fd, fh.name, fh.tree)
        fh.fd, fh.name, fh.tree = new.fd, new.name, new.tree
        self.close(ree, left)

    def truncate(self, ree: Ree, fh: FileHandle, size: int) -> None:
        assert isinstance(fh, ReeFile)
        needed = self._change(ree, fh, lambda tree: truncate_data(ree.files, tree, size))
        if needed is not None:
            try:
                ree.files.truncate(fh.fd, needed)
            except TeeError as e:
                log.info("secure storage: %s stays longer than need be: %s", fh.name, e)

    def _change(self, ree: Ree, fh: ReeFile, change: Callable[[Htree], _T]) -> _T:
        """What ``change`` does to the object's tree is committed, or the tree forgotten."""
        with _Dirh(self, ree) as dirh:
            tree = self._committed(ree.files, dirh, fh)
            idx = dirh.index(fh.name.number)
            before, fh.tree = tree.root_hash, None
            done = change(tree)
            tree.sync_to_storage(ree.files)
            root_hash = tree.root_hash
            if root_hash != before:
                dirh.update_hash(ree.files, idx, root_hash)
                self._commit(ree, dirh)
            fh.tree = tree
        return done

    def rename(self, ree: Ree, old: Pobj, new_id: bytes) -> None:
        with _Dirh(self, ree) as dirh:
            if dirh.find(old.uuid, new_id) is not None:
                raise TeeError(gp.TEE_ERROR_ACCESS_CONFLICT, f"there is an object {new_id!r} already")
            idx, entry = dirh.entry_named(old.uuid, old.obj_id)
            dirh.rename(ree.files, idx, entry._replace(obj_id=new_id))
            self._commit(ree, dirh)

    def remove(self, ree: Ree, po: Pobj) -> None:
        with _Dirh(self, ree) as dirh:
            idx, entry = dirh.entry_named(po.uuid, po.obj_id)
            dirh.remove(ree.files, idx)
            self._commit(ree, dirh)
            self._gone(ree.files, dirh, entry.file_number)

    # --- directories --------------------------------------------------------------------------------------

    def opendir(self, ree: Ree, uuid: bytes) -> Directory:
        with _Dirh(self, ree) as dirh:
            dirh.get_next(uuid, 0)
            self._directories += 1
        return ReeDirectory(uuid)

    def readdir(self, ree: Ree, directory: Directory) -> bytes:
        assert isinstance(directory, ReeDirectory)
        # Another one than ``opendir`` saw, when a change failed since. It stays open as long as the directory is.
        idx, obj_id = self._get_dirh(ree).get_next(directory.uuid, directory.idx)
        directory.idx = idx + 1
        return obj_id

    def closedir(self, ree: Ree, directory: Directory) -> None:
        self._directories -= 1
        self._put_dirh(ree)


class _Dirh:
    """For ``with``: the database, from get_dirh to put_dirh."""

    __slots__ = ("_create", "_fs", "_ree")

    def __init__(self, fs: ReeFs, ree: Ree, *, create: bool = False) -> None:
        self._fs, self._ree, self._create = fs, ree, create

    def __enter__(self) -> Dirfile:
        return self._fs._get_dirh(self._ree, create=self._create)

    def __exit__(self, *exc: object) -> None:
        self._fs._put_dirh(self._ree)


def _close(files: Files, fd: int) -> None:
    try:
        files.close(fd)
    except TeeError as e:
        log.info("secure storage: a file cannot be closed: %s", e)


def _remove(files: Files, number: int, *, expected: bool = True) -> bool:
    """Was file ``number`` there, and is it gone? Where it cannot be removed, who uses its number next overwrites it."""
    try:
        files.remove(file_name(number))
    except TeeError as e:
        if expected or e.code != gp.TEE_ERROR_ITEM_NOT_FOUND:
            log.info("secure storage: file %x cannot be removed: %s", number, e)
        return False
    if not expected:
        log.info("secure storage: removed file %x, which belongs to no object", number)
    return True
