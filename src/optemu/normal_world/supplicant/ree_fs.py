"""Files of the REE file system, OPTEE_RPC_CMD_FS. Mirrors tee-supplicant/src/tee_supp_fs.c.

All of them lie below one directory (a board's /var/lib/tee). Unlike upstream's, names cannot leave it: each
directory on the way is opened by itself, symbolic links are not followed, ``..`` is refused; and what the secure
world holds are numbers of open files here, not descriptors of this process.

Upstream opens files with O_SYNC; here, if asked to, what has to be on the disk is put there when objects are committed
(unsynced.py). Without it what is written outlives this process all the same, only not a power cut of the host.
"""

import contextlib
import errno
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

from optemu.abi import gp
from optemu.abi import optee_rpc_cmd as rpc
from optemu.abi import tee_ioctl as ioc
from optemu.errors import TeeError
from optemu.normal_world.state import make_directory
from optemu.normal_world.supplicant.params import Param, bad_parameters, expect
from optemu.normal_world.supplicant.shm import SharedMemory
from optemu.normal_world.supplicant.unsynced import Unsynced, write_all

_VALUE_IN: Final = ioc.TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_INPUT
_VALUE_OUT: Final = ioc.TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_OUTPUT
_MEM_IN: Final = ioc.TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_INPUT
_MEM_OUT: Final = ioc.TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_OUTPUT
PATH_MAX: Final = 4096
_SHOWN: Final = 80
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK a fifo of that name would hold us for ever.
_FILE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_RESULTS: Final = {errno.ENOSPC: gp.TEE_ERROR_STORAGE_NO_SPACE, errno.ENOENT: gp.TEE_ERROR_ITEM_NOT_FOUND}


@contextlib.contextmanager
def _failing(what: str, results: dict[int, int] = _RESULTS, other: int = gp.TEE_ERROR_GENERIC) -> Iterator[None]:
    """errno_to_teec: OSError as the TeeError that ``results`` names for its number."""
    try:
        yield
    except OSError as error:
        raise _failed(what, error, results, other) from error


def _failed(
    what: str, error: OSError, results: dict[int, int] = _RESULTS, other: int = gp.TEE_ERROR_GENERIC
) -> TeeError:
    return TeeError(results.get(error.errno or 0, other), f"{what}: {error.strerror}")


def _open(name: bytes, directory: int) -> int:
    """A descriptor of the file, for writing too if it may be written."""
    try:
        return os.open(name, os.O_RDWR | _FILE, dir_fd=directory)
    except OSError:
        return os.open(name, os.O_RDONLY | _FILE, dir_fd=directory)


def _signed(number: int) -> int:
    """off_t, as C takes it from 64 bits."""
    return number - (1 << 64) if number >> 63 else number


_numbers: Final = itertools.count()
"""Of all supplicants there are: what the core has open from one that is gone means no file of the next."""


class _OpenItems:
    """What the secure world has open, by number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._items: dict[int, int | Iterator[bytes]] = {}

    def add(self, item: "int | Iterator[bytes]") -> int:
        with self._lock:
            # 31 bits: the core keeps it in an int.
            while (number := next(_numbers) & 0x7FFFFFFF) in self._items:
                pass
            self._items[number] = item
        return number

    def file(self, number: int) -> int:
        fd = self._items.get(number & 0xFFFFFFFF)
        if not isinstance(fd, int):
            raise TeeError(gp.TEE_ERROR_GENERIC, f"no file {number} is open")
        return fd

    def remove_file(self, number: int) -> int:
        """No longer open. Of several that close the same file only one gets it."""
        with self._lock:
            fd = self.file(number)
            del self._items[number & 0xFFFFFFFF]
        return fd

    def names(self, number: int) -> Iterator[bytes]:
        names = self._items.get(number & 0xFFFFFFFF)
        if names is None or isinstance(names, int):
            raise bad_parameters(f"no directory {number} is open")
        return names

    def remove_names(self, number: int) -> None:
        with self._lock:
            self.names(number)
            del self._items[number & 0xFFFFFFFF]

    def __len__(self) -> int:
        return len(self._items)

    def close(self) -> None:
        with self._lock:
            items, self._items = self._items, {}
        for item in items.values():
            if isinstance(item, int):
                os.close(item)


class ReeFs:
    """The eleven operations on files below ``root``, which is made when the first of them comes."""

    def __init__(self, root: Path, sync: bool = False) -> None:
        self.root = root
        self.open_items = _OpenItems()
        self._unsynced = Unsynced() if sync else None
        self._root_fd = -1
        self._lock = threading.Lock()

    def process(self, shm: SharedMemory, params: list[Param]) -> int:
        """tee_supp_fs_process."""
        if not params:
            raise bad_parameters("no parameters")
        row = _OPERATIONS.get(params[0].a)
        if row is None:
            raise bad_parameters(f"file operation {params[0].a}")
        types, operation = row
        expect(params, *types)
        if self._root_fd < 0:
            self._mount()
        operation(self, shm, params)
        return gp.TEE_SUCCESS

    def _mount(self) -> None:
        """tee_supp_fs_init."""
        with self._lock:
            if self._root_fd >= 0:
                return
            try:
                make_directory(self.root, self._unsynced is not None)
                self._root_fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                message = f"cannot use {self.root} for secure storage: {error.strerror}; name another with --state"
                raise TeeError(gp.TEE_ERROR_STORAGE_NOT_AVAILABLE, message) from error

    def close(self) -> None:
        if self._unsynced is not None:
            with contextlib.suppress(OSError):
                self._unsynced.sync()
        self.open_items.close()
        with self._lock:
            if self._root_fd >= 0:
                os.close(self._root_fd)
                self._root_fd = -1

    # --- names --------------------------------------------------------------------------------------------

    def _walk(self, directories: list[bytes], make: bool = False) -> tuple[int, int]:
        """(descriptor of the last of ``directories``, how many of them were made for it). OSError.

        Without any it is the root's own; ``_leave`` knows.
        """
        fd = self._root_fd
        made = deepest = 0
        try:
            for n, name in enumerate(directories):
                try:
                    inner = os.open(name, _DIRECTORY, dir_fd=fd)
                except FileNotFoundError:
                    # A file brings up to two directories with it, as upstream has it.
                    if not make or len(directories) - n > 2:
                        raise
                    os.mkdir(name, 0o700, dir_fd=fd)
                    made, deepest = made + 1, n + 1
                    inner = os.open(name, _DIRECTORY, dir_fd=fd)
                _leave(fd, directories[:n])
                fd = inner
        except BaseException:
            _leave(fd, directories[:n])
            self._prune(directories[:deepest], made)
            raise
        return fd, made

    def _prune(self, directories: list[bytes], levels: int) -> None:
        """Remove the last of ``directories`` if it is empty, then the one that held it, and so on ``levels`` times."""
        for depth in range(len(directories), max(len(directories) - levels, 0), -1):
            with contextlib.suppress(OSError), self._parent(directories[:depth]) as parent:
                os.rmdir(directories[depth - 1], dir_fd=parent)

    @contextlib.contextmanager
    def _parent(self, path: list[bytes]) -> Iterator[int]:
        """The directory that holds what ``path`` names."""
        fd, _ = self._walk(path[:-1])
        try:
            yield fd
        finally:
            _leave(fd, path[:-1])

    # --- operations -----------------------------------------------------------------------------------------

    def open(self, shm: SharedMemory, params: list[Param]) -> None:
        """[in] memref 1: name. [out] value 2.a: number of the file, opened read-only where it cannot be written."""
        *directories, name = path = _path(shm, params[1])
        try:
            parent, _ = self._walk(directories)
            try:
                fd = _open(name, parent)
            finally:
                _leave(parent, directories)
        except OSError as error:
            raise _failed(_shown(path), error, {}, gp.TEE_ERROR_ITEM_NOT_FOUND) from error
        self._opened(fd, name, params[2])

    def _opened(self, fd: int, name: bytes, number: Param) -> None:
        if self._unsynced is not None:
            self._unsynced.opened(fd, name)
        number.a = self.open_items.add(fd)

    def create(self, shm: SharedMemory, params: list[Param]) -> None:
        """[in] memref 1: name. [out] value 2.a: number of the file, which is empty now."""
        *directories, name = path = _path(shm, params[1])
        try:
            parent, made = self._walk(directories, make=True)
            try:
                fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC | _FILE, 0o600, dir_fd=parent)
                if self._unsynced is not None:
                    self._unsynced.renamed(parent)
            except OSError:
                self._prune(directories, made)
                raise
            finally:
                _leave(parent, directories)
        except OSError as error:
            raise _failed(_shown(path), error) from error
        self._opened(fd, name, params[2])

    def close_file(self, shm: SharedMemory, params: list[Param]) -> None:
        """[in] value 0.b: number of the file."""
        fd = self.open_items.remove_file(params[0].b)
        try:
            try:
                if self._unsynced is not None:
                    self._unsynced.closing(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise _failed("closing", error) from error

    def read(self, shm: SharedMemory, params: list[Param]) -> None:
        """[in] value 0: b file, c offset. [out] memref 1: what there is, its size what there was."""
        fd, offset, buffer = self._transfer(shm, params)
        done = 0
        try:
            while buffer and (count := os.preadv(fd, [buffer], offset + done)):
                buffer, done = buffer[count:], done + count
        except OSError as error:
            raise _failed("reading", error) from error
        params[1].b = done

    def write(self, shm: SharedMemory, params: list[Param]) -> None:
        """[in] value 0: b file, c offset; memref 1: bytes."""
        fd, offset, buffer = self._transfer(shm, params)
        try:
            if self._unsynced is not None:
                self._unsynced.write(fd, offset, buffer)
            else:
                write_all(fd, offset, buffer)
        except OSError as error:
            raise _failed("writing", error) from error

    def _transfer(self, shm: SharedMemory, params: list[Param]) -> tuple[int, int, memoryview]:
        buffer = shm.view(params[1])
        if buffer is None:
            raise bad_parameters("no shared memory to transfer from or to")
        offset = params[0].c
        if offset >> 63:
            # preadv would take -1 for the place where the last one stopped.
            raise TeeError(gp.TEE_ERROR_GENERIC, f"offset {_signed(offset)} in a file")
        return self.open_items.file(params[0].b), offset, buffer

    def truncate(self, shm: SharedMemory, params: list[Param]) -> None:
        """[in] value 0: b file, c its new length."""
        fd = self.open_items.file(params[0].b)
        with _failing("truncating"):
            os.ftruncate(fd, _signed(params[0].c))
            if self._unsynced is not None:
                self._unsynced.changed(fd)

    def remove(self, shm: SharedMemory, params: list[Param]) -> None:
        """[in] memref 1: name. Directories that are left empty go too."""
        path = _path(shm, params[1])
        with _failing(_shown(path)), self._parent(path) as parent:
            os.unlink(path[-1], dir_fd=parent)
        self._prune(path[:-1], 2)

    def rename(self, shm: SharedMemory, params: list[Param]) -> None:
        """[in] value 0.b: may replace; memref 1: old name; memref 2: new name."""
        old, new = _path(shm, params[1]), _path(shm, params[2])
        results = _RESULTS | {errno.EEXIST: gp.TEE_ERROR_ACCESS_CONFLICT}
        with _failing(_shown(new), results), self._parent(old) as source, self._parent(new) as target:
            if params[0].b:
                os.replace(old[-1], new[-1], src_dir_fd=source, dst_dir_fd=target)
            else:
                os.link(old[-1], new[-1], src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
                os.unlink(old[-1], dir_fd=source)
            if self._unsynced is not None:
                self._unsynced.renamed(target)

    def opendir(self, shm: SharedMemory, params: list[Param]) -> None:
        """[in] memref 1: name. [out] value 2.a: number of the directory; one without files counts as not there."""
        path = _path(shm, params[1], root=True)
        with _failing(_shown(path), {}, gp.TEE_ERROR_ITEM_NOT_FOUND):
            fd, _ = self._walk(path)
            try:
                names = [os.fsencode(name) for name in os.listdir(fd) if not name.startswith(".")]
            finally:
                _leave(fd, path)
        if not names:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, f"{_shown(path)}: empty")
        params[2].a = self.open_items.add(iter(names))

    def closedir(self, shm: SharedMemory, params: list[Param]) -> None:
        """[in] value 0.b: number of the directory."""
        self.open_items.remove_names(params[0].b)

    def readdir(self, shm: SharedMemory, params: list[Param]) -> None:
        """[in] value 0.b: number of the directory. [out] memref 1: the next name, with its terminator."""
        buffer = shm.view(params[1])
        if buffer is None:
            raise bad_parameters("no shared memory for a name")
        name = next(self.open_items.names(params[0].b), None)
        if name is None:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, "no more names")
        params[1].b = len(name) + 1
        if params[1].b > len(buffer):
            raise TeeError(gp.TEE_ERROR_SHORT_BUFFER, f"a name of {len(name)} bytes")
        buffer[: len(name) + 1] = name + b"\0"


_Operation: TypeAlias = Callable[[ReeFs, SharedMemory, list[Param]], None]
_OPERATIONS: Final[dict[int, tuple[tuple[int, ...], _Operation]]] = {
    rpc.OPTEE_RPC_FS_OPEN: ((_VALUE_IN, _MEM_IN, _VALUE_OUT), ReeFs.open),
    rpc.OPTEE_RPC_FS_CREATE: ((_VALUE_IN, _MEM_IN, _VALUE_OUT), ReeFs.create),
    rpc.OPTEE_RPC_FS_CLOSE: ((_VALUE_IN,), ReeFs.close_file),
    rpc.OPTEE_RPC_FS_READ: ((_VALUE_IN, _MEM_OUT), ReeFs.read),
    rpc.OPTEE_RPC_FS_WRITE: ((_VALUE_IN, _MEM_IN), ReeFs.write),
    rpc.OPTEE_RPC_FS_TRUNCATE: ((_VALUE_IN,), ReeFs.truncate),
    rpc.OPTEE_RPC_FS_REMOVE: ((_VALUE_IN, _MEM_IN), ReeFs.remove),
    rpc.OPTEE_RPC_FS_RENAME: ((_VALUE_IN, _MEM_IN, _MEM_IN), ReeFs.rename),
    rpc.OPTEE_RPC_FS_OPENDIR: ((_VALUE_IN, _MEM_IN, _VALUE_OUT), ReeFs.opendir),
    rpc.OPTEE_RPC_FS_CLOSEDIR: ((_VALUE_IN,), ReeFs.closedir),
    rpc.OPTEE_RPC_FS_READDIR: ((_VALUE_IN, _MEM_OUT), ReeFs.readdir),
}


def _path(shm: SharedMemory, ref: Param, root: bool = False) -> list[bytes]:
    """The components of a file's name, which counts from the root whether it starts with a slash or not.

    None at all name the ``root``, if it may be.
    """
    buffer = shm.view(ref)
    # Copied once: the secure world still holds the memory.
    name, end, _ = bytes(buffer or b"")[:PATH_MAX].partition(b"\0")
    if not end or len(name) + 3 >= PATH_MAX:
        raise bad_parameters("a file name without end, or too long")
    path = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in path:
        raise bad_parameters(f"the file name {_shown(path)} leaves the directory of the TEE's files")
    if not path and not root:
        raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, "the name of no file")
    return path


def _leave(fd: int, directories: list[bytes]) -> None:
    """Done with what walking ``directories`` has led to; the root stays open."""
    if directories:
        os.close(fd)


def _shown(path: list[bytes]) -> str:
    shown = "/" + b"/".join(path).decode("utf-8", "backslashreplace")
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
