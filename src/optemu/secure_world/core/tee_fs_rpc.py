"""Files of the normal world, by RPC: what secure storage stands on. Mirrors core/tee/tee_fs_rpc.c.

Nothing that comes back is believed: sizes are checked here, contents are the caller's to verify. TeeError is what
tee-supplicant answers, or TEE_ERROR_COMMUNICATION for what cannot be an answer.
"""

from optemu.abi import gp
from optemu.abi import optee_rpc_cmd as rpc
from optemu.abi.optee_msg import OPTEE_MSG_ATTR_TYPE_RMEM_INPUT as _MEM_IN
from optemu.abi.optee_msg import OPTEE_MSG_ATTR_TYPE_RMEM_OUTPUT as _MEM_OUT
from optemu.abi.optee_msg import OPTEE_MSG_ATTR_TYPE_VALUE_INPUT as _VALUE_IN
from optemu.abi.optee_msg import OPTEE_MSG_ATTR_TYPE_VALUE_OUTPUT as _VALUE_OUT
from optemu.errors import TeeError
from optemu.secure_world.core.thread import ShmCacheUser, Thread

TEE_FS_NAME_MAX = 350
_FS = ShmCacheUser.FS
_OFF_MAX = (1 << 63) - 1
_FIRST = 4
"""Where in an answer the numbers of the first parameter behind the operation begin: attribute, a, b, c."""


class RpcFiles:
    """``Files``: tee-supplicant's, by OPTEE_RPC_CMD_FS of ``thread``."""

    __slots__ = ("thread",)

    def __init__(self, thread: Thread) -> None:
        self.thread = thread

    def _commit(self, op: int, b: int = 0, c: int = 0, *rest: int) -> tuple[int, ...]:
        """operation_commit: the numbers of all parameters as they come back. ``rest``: those behind the operation."""
        if not 0 <= c <= _OFF_MAX:
            raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"offset {c} in a file")
        ret, answer = self.thread.rpc_msg(rpc.OPTEE_RPC_CMD_FS, (_VALUE_IN, op, b, c, *rest))
        if ret:
            raise TeeError(ret, f"the normal world's file system: {gp.result_name(ret)}")
        return answer

    def _names(self, *names: bytes) -> tuple[int, ...]:
        """Memory references to names, each with its terminator."""
        if max(map(len, names)) >= TEE_FS_NAME_MAX:
            raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, "a file name is too long")
        mobj = self.thread.rpc_shm_cache_alloc(_FS, TEE_FS_NAME_MAX * len(names))
        mobj.write(0, b"".join([name.ljust(TEE_FS_NAME_MAX, b"\0") for name in names]))
        numbers: tuple[int, ...] = ()
        for n in range(len(names)):
            numbers += (_MEM_IN, n * TEE_FS_NAME_MAX, TEE_FS_NAME_MAX, mobj.cookie)
        return numbers

    def _handle(self, op: int, name: bytes) -> int:
        answer = self._commit(op, 0, 0, *self._names(name), _VALUE_OUT, 0, 0, 0)
        return answer[_FIRST + 5] & 0xFFFFFFFF

    def _fetch(self, op: int, fd: int, offset: int, size: int) -> bytes:
        mobj = self.thread.rpc_shm_cache_alloc(_FS, size)
        told = self._commit(op, fd, offset, _MEM_OUT, 0, size, mobj.cookie)[_FIRST + 2]
        if told > size:
            raise TeeError(gp.TEE_ERROR_COMMUNICATION, f"tee-supplicant says it put {told} bytes where {size} fit")
        return mobj.read(0, told)

    def open(self, name: bytes) -> int:
        """The descriptor of a file that is there."""
        return self._handle(rpc.OPTEE_RPC_FS_OPEN, name)

    def create(self, name: bytes) -> int:
        """The descriptor of a file that is empty now."""
        return self._handle(rpc.OPTEE_RPC_FS_CREATE, name)

    def close(self, fd: int) -> None:
        self._commit(rpc.OPTEE_RPC_FS_CLOSE, fd)

    def read(self, fd: int, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes at ``offset``."""
        return self._fetch(rpc.OPTEE_RPC_FS_READ, fd, offset, size) if size else b""

    def write(self, fd: int, offset: int, data: bytes) -> None:
        """All of ``data`` at ``offset``."""
        if data:
            mobj = self.thread.rpc_shm_cache_alloc(_FS, len(data))
            mobj.write(0, data)
            self._commit(rpc.OPTEE_RPC_FS_WRITE, fd, offset, _MEM_IN, 0, len(data), mobj.cookie)

    def truncate(self, fd: int, size: int) -> None:
        self._commit(rpc.OPTEE_RPC_FS_TRUNCATE, fd, size)

    def remove(self, name: bytes) -> None:
        self._commit(rpc.OPTEE_RPC_FS_REMOVE, 0, 0, *self._names(name))

    def rename(self, old: bytes, new: bytes, overwrite: bool) -> None:
        """TeeError(TEE_ERROR_ACCESS_CONFLICT) when ``new`` is there and may not be overwritten."""
        self._commit(rpc.OPTEE_RPC_FS_RENAME, overwrite, 0, *self._names(old, new))

    def opendir(self, name: bytes) -> int:
        """A handle for ``readdir``; TeeError(TEE_ERROR_ITEM_NOT_FOUND) for an empty directory, too."""
        return self._handle(rpc.OPTEE_RPC_FS_OPENDIR, name)

    def closedir(self, handle: int) -> None:
        self._commit(rpc.OPTEE_RPC_FS_CLOSEDIR, handle)

    def readdir(self, handle: int) -> bytes:
        """The next name; TeeError(TEE_ERROR_ITEM_NOT_FOUND) after the last."""
        return self._fetch(rpc.OPTEE_RPC_FS_READDIR, handle, 0, TEE_FS_NAME_MAX).split(b"\0")[0]
