"""What the normal world lends storage, over the RPCs of a secure thread. Mirrors core/tee/tee_fs_rpc.c's users."""

from optemu.secure_world.core import tee_fs_rpc as fs
from optemu.secure_world.core.rpmb_rpc import RpmbRpc
from optemu.secure_world.core.sync import Mutex
from optemu.secure_world.core.thread import Thread


class ThreadRee:
    """The normal world as ``thread`` reaches it; ``with`` it, the only one that does (ree_fs_mutex, rpmb_mutex).

    Mirrors nothing: upstream's file systems find thread and mutex in global variables.
    """

    __slots__ = ("_mutex", "files", "thread")

    def __init__(self, thread: Thread, mutex: Mutex) -> None:
        self.thread = thread
        """Whoever comes back to a directory it has begun to read changes it."""
        self._mutex = mutex
        self.files = RpcFiles(self)

    @property
    def rpmb(self) -> RpmbRpc:
        return RpmbRpc(self.thread)

    def __enter__(self) -> "ThreadRee":
        self._mutex.lock(self.thread)
        return self

    def __exit__(self, *exc: object) -> None:
        self._mutex.unlock(self.thread)


class RpcFiles:
    """``Files``: tee-supplicant's, by OPTEE_RPC_CMD_FS."""

    __slots__ = ("_ree",)

    def __init__(self, ree: ThreadRee) -> None:
        self._ree = ree

    def open(self, name: bytes) -> int:
        return fs.tee_fs_rpc_open(self._ree.thread, name)

    def create(self, name: bytes) -> int:
        return fs.tee_fs_rpc_create(self._ree.thread, name)

    def close(self, fd: int) -> None:
        fs.tee_fs_rpc_close(self._ree.thread, fd)

    def read(self, fd: int, offset: int, size: int) -> bytes:
        return fs.tee_fs_rpc_read(self._ree.thread, fd, offset, size) if size else b""

    def write(self, fd: int, offset: int, data: bytes) -> None:
        if data:
            fs.tee_fs_rpc_write(self._ree.thread, fd, offset, data)

    def truncate(self, fd: int, size: int) -> None:
        fs.tee_fs_rpc_truncate(self._ree.thread, fd, size)

    def remove(self, name: bytes) -> None:
        fs.tee_fs_rpc_remove(self._ree.thread, name)

    def rename(self, old: bytes, new: bytes, overwrite: bool) -> None:
        fs.tee_fs_rpc_rename(self._ree.thread, old, new, overwrite)
