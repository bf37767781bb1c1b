"""Files of the normal world, by RPC: what secure storage stands on. Mirrors core/tee/tee_fs_rpc.c.

Nothing that comes back is believed: sizes are checked here, contents are the caller's to verify. TeeError is what
tee-supplicant answers, or TEE_ERROR_COMMUNICATION for what cannot be an answer.
"""

from optemu.abi import gp
from optemu.abi import optee_rpc_cmd as rpc
from optemu.abi.optee_msg import (
    OPTEE_MSG_ATTR_TYPE_RMEM_INPUT,
    OPTEE_MSG_ATTR_TYPE_RMEM_OUTPUT,
    OPTEE_MSG_ATTR_TYPE_VALUE_INPUT,
    OPTEE_MSG_ATTR_TYPE_VALUE_OUTPUT,
)
from optemu.errors import TeeError
from optemu.secure_world.core.thread import RpcParam, ShmCacheUser, Thread

TEE_FS_NAME_MAX = 350
_OFF_MAX = (1 << 63) - 1


def _commit(thread: Thread, op: int, b: int = 0, c: int = 0, *rest: RpcParam) -> None:
    """operation_commit."""
    if not 0 <= c <= _OFF_MAX:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"offset {c} in a file")
    request = RpcParam(OPTEE_MSG_ATTR_TYPE_VALUE_INPUT, op, b, c)
    ret = thread.rpc_cmd(rpc.OPTEE_RPC_CMD_FS, [request, *rest])
    if ret:
        raise TeeError(ret, f"the normal world's file system: {gp.result_name(ret)}")


def _names(thread: Thread, *names: bytes) -> list[RpcParam]:
    """Memory references to names, each with its terminator."""
    if any(len(name) >= TEE_FS_NAME_MAX for name in names):
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, "a file name is too long")
    mobj = thread.rpc_shm_cache_alloc(ShmCacheUser.FS, TEE_FS_NAME_MAX * len(names))
    params = []
    for n, name in enumerate(names):
        mobj.write(n * TEE_FS_NAME_MAX, name.ljust(TEE_FS_NAME_MAX, b"\0"))
        params.append(RpcParam(OPTEE_MSG_ATTR_TYPE_RMEM_INPUT, n * TEE_FS_NAME_MAX, TEE_FS_NAME_MAX, mobj=mobj))
    return params


def _handle(thread: Thread, op: int, name: bytes) -> int:
    out = RpcParam(OPTEE_MSG_ATTR_TYPE_VALUE_OUTPUT)
    _commit(thread, op, 0, 0, *_names(thread, name), out)
    return out.a & 0xFFFFFFFF


def tee_fs_rpc_open(thread: Thread, name: bytes) -> int:
    """The descriptor of a file that is there."""
    return _handle(thread, rpc.OPTEE_RPC_FS_OPEN, name)


def tee_fs_rpc_create(thread: Thread, name: bytes) -> int:
    """The descriptor of a file that is empty now."""
    return _handle(thread, rpc.OPTEE_RPC_FS_CREATE, name)


def tee_fs_rpc_close(thread: Thread, fd: int) -> None:
    _commit(thread, rpc.OPTEE_RPC_FS_CLOSE, fd)


def tee_fs_rpc_read(thread: Thread, fd: int, offset: int, size: int) -> bytes:
    """Up to ``size`` bytes at ``offset``."""
    mobj = thread.rpc_shm_cache_alloc(ShmCacheUser.FS, size)
    out = RpcParam(OPTEE_MSG_ATTR_TYPE_RMEM_OUTPUT, 0, size, mobj=mobj)
    _commit(thread, rpc.OPTEE_RPC_FS_READ, fd, offset, out)
    return mobj.read(0, _told(out.b, size))


def tee_fs_rpc_write(thread: Thread, fd: int, offset: int, data: bytes) -> None:
    """All of ``data`` at ``offset``."""
    mobj = thread.rpc_shm_cache_alloc(ShmCacheUser.FS, len(data))
    mobj.write(0, data)
    source = RpcParam(OPTEE_MSG_ATTR_TYPE_RMEM_INPUT, 0, len(data), mobj=mobj)
    _commit(thread, rpc.OPTEE_RPC_FS_WRITE, fd, offset, source)


def tee_fs_rpc_truncate(thread: Thread, fd: int, size: int) -> None:
    _commit(thread, rpc.OPTEE_RPC_FS_TRUNCATE, fd, size)


def tee_fs_rpc_remove(thread: Thread, name: bytes) -> None:
    _commit(thread, rpc.OPTEE_RPC_FS_REMOVE, 0, 0, *_names(thread, name))


def tee_fs_rpc_rename(thread: Thread, old: bytes, new: bytes, overwrite: bool) -> None:
    """TeeError(TEE_ERROR_ACCESS_CONFLICT) when ``new`` is there and may not be overwritten."""
    _commit(thread, rpc.OPTEE_RPC_FS_RENAME, overwrite, 0, *_names(thread, old, new))


def tee_fs_rpc_opendir(thread: Thread, name: bytes) -> int:
    """A handle for ``tee_fs_rpc_readdir``; TeeError(TEE_ERROR_ITEM_NOT_FOUND) for an empty directory, too."""
    return _handle(thread, rpc.OPTEE_RPC_FS_OPENDIR, name)


def tee_fs_rpc_closedir(thread: Thread, handle: int) -> None:
    _commit(thread, rpc.OPTEE_RPC_FS_CLOSEDIR, handle)


def tee_fs_rpc_readdir(thread: Thread, handle: int) -> bytes:
    """The next name; TeeError(TEE_ERROR_ITEM_NOT_FOUND) after the last."""
    mobj = thread.rpc_shm_cache_alloc(ShmCacheUser.FS, TEE_FS_NAME_MAX)
    out = RpcParam(OPTEE_MSG_ATTR_TYPE_RMEM_OUTPUT, 0, TEE_FS_NAME_MAX, mobj=mobj)
    _commit(thread, rpc.OPTEE_RPC_FS_READDIR, handle, 0, out)
    return mobj.read(0, _told(out.b, TEE_FS_NAME_MAX)).split(b"\0")[0]


def _told(size: int, room: int) -> int:
    if size > room:
        raise TeeError(gp.TEE_ERROR_COMMUNICATION, f"tee-supplicant says it put {size} bytes where {room} fit")
    return size
