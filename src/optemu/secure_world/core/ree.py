"""What the normal world lends storage, over the RPCs of a secure thread. Mirrors core/tee/tee_fs_rpc.c's users."""

from optemu.secure_world.core.rpmb_rpc import RpmbRpc
from optemu.secure_world.core.sync import Mutex
from optemu.secure_world.core.tee_fs_rpc import RpcFiles
from optemu.secure_world.core.thread import Thread


class ThreadRee:
    """The normal world as ``thread`` reaches it; ``with`` it, the only one that does (ree_fs_mutex, rpmb_mutex).

    Mirrors nothing: upstream's file systems find thread and mutex in global variables.
    """

    __slots__ = ("_mutex", "files", "thread")

    def __init__(self, thread: Thread, mutex: Mutex) -> None:
        self.thread = thread
        self.files = RpcFiles(thread)
        self._mutex = mutex

    @property
    def rpmb(self) -> RpmbRpc:
        return RpmbRpc(self.thread)

    def __enter__(self) -> "ThreadRee":
        self._mutex.lock(self.thread)
        return self

    def __exit__(self, *exc: object) -> None:
        self._mutex.unlock(self.thread)
