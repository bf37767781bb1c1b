"""The TEE subsystem: its two devices as ioctl numbers and argument bytes. Mirrors drivers/tee/tee_core.c."""

import errno
import logging
import os
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optemu.abi import tee_ioctl as ioc
from optemu.abi.optee_msg import OPTEE_MSG_ATTR_TYPE_TMEM_INPUT
from optemu.board.memory import PAGE_MASK
from optemu.normal_world.driver import points
from optemu.normal_world.driver.interface import Task
from optemu.normal_world.driver.optee import MsgArg, Optee
from optemu.normal_world.driver.params import MEMREFS
from optemu.normal_world.driver.supp import META
from optemu.normal_world.driver.tee_shm import MAX_SHM_SIZE, TeeShm, keep_size

log = logging.getLogger("optemu.driver")

LOGIN_REE_KERNEL_MIN = 0x80000000
LOGIN_REE_KERNEL_MAX = 0xBFFFFFFF
CLIENT_DEVICE = "/dev/tee0"
SUPPLICANT_DEVICE = "/dev/teepriv0"
_ARG_HEAD = ioc.BUF_DATA.size
_MAX_PARAMS = (ioc.TEE_MAX_ARG_SIZE - ioc.INVOKE_ARG.size) // ioc.PARAM.size
_U32 = struct.Struct("<I")
_RET_ORIGIN = struct.Struct("<II")
_SESSION_RET_ORIGIN = struct.Struct("<III")
_PARAMS = [struct.Struct(f"<{4 * n}Q") for n in range(_MAX_PARAMS + 1)]
_INVOKE = [struct.Struct(f"<6I{4 * n}Q") for n in range(_MAX_PARAMS + 1)]
_INVOKE_ANSWER = [struct.Struct(f"<3I{4 * n}Q") for n in range(_MAX_PARAMS + 1)]
_SUPP_RECV = [struct.Struct(f"<2I{4 * n}Q") for n in range(_MAX_PARAMS + 1)]
_SUPP_ATTRS = frozenset(kind | meta for kind in (0, 1, 2, 3, 5, 6, 7) for meta in (0, ioc.TEE_IOCTL_PARAM_ATTR_META))


class TeeContext:
    """struct tee_context: an open file of either device."""

    def __init__(self, subsystem: "TeeSubsystem", privileged: bool, pid: int) -> None:
        self.subsystem = subsystem
        self.optee = subsystem.optee
        self.trace = subsystem.optee.trace
        self.privileged = privileged
        self.pid = pid
        self.sessions: set[int] = set()
        self.shms: dict[int, TeeShm] = {}
        self.closed = False
        self.gone_since = 0.0
        """When the process behind a call under way was found dead; 0 while it lives."""
        self.calls: set[MsgArg] = set()
        """Calls into the secure world under way."""

    # --- the file's operations --------------------------------------------------------------------------------

    def ioctl(self, cmd: int, arg: int, task: Task) -> int:
        """One ioctl of ``task``: its result, or a negative errno. Blocks as the kernel's would."""
        row = IOCTLS.get(cmd)
        if row is None or (row.device is not None and row.device != self.privileged):
            return -errno.EINVAL
        if self.gone_since and not self.privileged:
            # Another process that shares the file goes on.
            self.gone_since = 0.0
        trace = self.trace
        if trace.on:
            trace.enter(points.IOCTL[cmd], task.pid)
        try:
            rc = row.handler(self, arg, task)
        except OSError as e:
            if e.strerror:
                log.info("%s of pid %d: %s", row.name, task.pid, e.strerror)
            rc = -(e.errno or errno.EIO)
        except MemoryError as e:
            log.info("%s of pid %d: %s", row.name, task.pid, e)
            rc = -errno.ENOMEM
        except Exception:
            log.exception("%s failed inside the driver: this is a bug of optemu", row.name)
            rc = -errno.EIO
        if trace.on:
            trace.exit(points.IOCTL[cmd], rc)
        return rc

    def interrupted(self, task: Task) -> None:
        """The process whose call is under way has died: end the call."""
        self.gone_since = self.gone_since or time.monotonic()
        if self.privileged:
            self.optee.supp.interrupt()
        elif self.calls:
            threading.Thread(target=self.optee.end_calls, args=(self,), name="optemu-end-calls", daemon=True).start()

    def close(self) -> None:
        """tee_release: the last reference to the file is gone."""
        if self.closed:
            return
        self.closed = True
        self.gone_since = self.gone_since or time.monotonic()
        trace = self.trace
        if trace.on:
            trace.enter(points.RELEASE, len(self.sessions))
        for session in list(self.sessions):
            self.optee.close_session(self, session)
        if self.privileged:
            self.optee.supp.release(self)
        self.subsystem.closed(self)
        if trace.on:
            trace.exit(points.RELEASE)

    # --- shared memory ------------------------------------------------------------------------------------------

    def shm_get(self, number: int) -> TeeShm | None:
        """tee_shm_get_from_id: the object, with one reference more."""
        with self.subsystem.lock:
            shm = self.shms.get(number)
            if shm is not None:
                shm.refs += 1
            return shm

    def shm_put(self, shm: TeeShm) -> None:
        """tee_shm_put: with the last reference the memory goes."""
        with self.subsystem.lock:
            shm.refs -= 1
            if shm.refs:
                return
            self.shms.pop(shm.id, None)
        if not self.privileged:
            self.optee.shm_unregister(shm)
        self.optee.by_cookie.pop(shm.cookie, None)
        if shm.fd >= 0:
            self.optee.pool.recycle(self.pid, shm.region, shm.fd)
        else:
            self.optee.board.memory.free(shm.region)
        if self.closed:
            self.subsystem.closed(self)

    def _shm_add(self, shm: TeeShm) -> None:
        shm.ctx = self
        with self.subsystem.lock:
            shm.id = self.subsystem.new_shm_id()
            self.shms[shm.id] = shm
        if not self.privileged:
            try:
                self.optee.shm_register(shm)
            except BaseException:
                self.shm_put(shm)
                raise


def _ioctl_version(ctx: TeeContext, arg: int, task: Task) -> int:
    caps = ioc.TEE_GEN_CAP_GP | ioc.TEE_GEN_CAP_MEMREF_NULL
    if ctx.optee.board.config.reg_mem:
        caps |= ioc.TEE_GEN_CAP_REG_MEM
    if ctx.privileged:
        caps |= ioc.TEE_GEN_CAP_PRIVILEGED
    task.write(arg, ioc.VERSION_DATA.pack(ioc.TEE_IMPL_ID_OPTEE, ioc.TEE_OPTEE_CAP_TZ, caps))
    return 0


def _ioctl_shm_alloc(ctx: TeeContext, arg: int, task: Task) -> int:
    size, flags, _ = ioc.SHM_ALLOC_DATA.unpack(task.read(arg, ioc.SHM_ALLOC_DATA.size))
    if flags or not 0 < size <= MAX_SHM_SIZE:
        raise OSError(errno.ENOMEM if size > MAX_SHM_SIZE else errno.EINVAL, "")
    region, fd = ctx.optee.pool.allocate(ctx.pid, size)
    shm = TeeShm(region, size, ctx.shm_put, fd)
    ctx._shm_add(shm)
    try:
        task.write(arg, ioc.SHM_ALLOC_DATA.pack(size, 0, shm.id))
        return task.install_shm(shm)
    except BaseException:
        ctx.shm_put(shm)
        raise


def _ioctl_shm_register(ctx: TeeContext, arg: int, task: Task) -> int:
    """Memory of the process itself: true sharing is impossible here, so it is copied around each call."""
    addr, size, flags, _ = ioc.SHM_REGISTER_DATA.unpack(task.read(arg, ioc.SHM_REGISTER_DATA.size))
    if flags or not 0 < size <= MAX_SHM_SIZE:
        raise OSError(errno.ENOMEM if size > MAX_SHM_SIZE else errno.EINVAL, "")
    task.read(addr, 1)
    task.read(addr + size - 1, 1)
    shm = TeeShm(ctx.optee.board.memory.allocate(size, secure=False), size, ctx.shm_put)
    shm.user_addr = addr
    ctx._shm_add(shm)
    try:
        task.write(arg, ioc.SHM_REGISTER_DATA.pack(addr, size, 0, shm.id))
        return task.install_shm(shm)
    except BaseException:
        ctx.shm_put(shm)
        raise


def _ioctl_shm_register_fd(ctx: TeeContext, arg: int, task: Task) -> int:
    """Memory behind a descriptor of the process (a dma-buf on a board): a memfd can be shared for real."""
    fd, _, flags, _ = ioc.SHM_REGISTER_FD_DATA.unpack(task.read(arg, ioc.SHM_REGISTER_FD_DATA.size))
    if flags:
        raise OSError(errno.EINVAL, "")
    ours = task.fetch_fd(fd)
    try:
        size = os.fstat(ours).st_size
        if not 0 < size <= MAX_SHM_SIZE or size & PAGE_MASK:
            raise OSError(errno.EINVAL, f"descriptor {fd} has {size} bytes, not whole pages as a dma-buf")
        keep_size(ours)
        region = ctx.optee.board.memory.allocate(size, secure=False, fd=ours)
    finally:
        os.close(ours)
    shm = TeeShm(region, size, ctx.shm_put)
    ctx._shm_add(shm)
    try:
        task.write(arg, ioc.SHM_REGISTER_FD_DATA.pack(fd, size, 0, shm.id))
        return task.install_shm(shm)
    except BaseException:
        ctx.shm_put(shm)
        raise


def _read_arg(task: Task, arg: int, head_size: int, num_params_at: int) -> tuple[int, bytes, int]:
    """The block a struct tee_ioctl_buf_data points to: (its address, a copy, number of parameters)."""
    buf_ptr, buf_len = ioc.BUF_DATA.unpack(task.read(arg, _ARG_HEAD))
    if not head_size <= buf_len <= ioc.TEE_MAX_ARG_SIZE:
        raise OSError(errno.EINVAL, f"an argument of {buf_len} bytes")
    block = task.read(buf_ptr, buf_len)
    (num_params,) = _U32.unpack_from(block, num_params_at)
    if head_size + ioc.PARAM.size * num_params != buf_len:
        raise OSError(errno.EINVAL, f"{buf_len} bytes for {num_params} parameters")
    return buf_ptr, block, num_params


def _params_from_user(ctx: TeeContext, params: tuple[int, ...]) -> tuple[Sequence[int], list[TeeShm]]:
    """params_from_user: the numbers as they go into the message, and the objects held for the call.

    A value travels as it is; a memory reference names its object by cookie instead of by id.
    """
    attrs = params[::4]
    if not attrs or max(attrs) <= 3:  # TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_INOUT
        return params, []
    message = list(params)
    held: list[TeeShm] = []
    try:
        for n, attr in enumerate(attrs):
            if attr in MEMREFS:
                _memref_from_user(ctx, message, 4 * n, held)
            elif attr > ioc.TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_INOUT:
                raise OSError(errno.EINVAL, f"parameter attribute 0x{attr:x}")
    except BaseException:
        _put_shms(ctx, held)
        raise
    return message, held


def _memref_from_user(ctx: TeeContext, message: list[int], at: int, held: list[TeeShm]) -> None:
    attr, offset, size, number = message[at : at + 4]
    if number == ioc.TEE_MEMREF_NULL:
        tmem = attr + OPTEE_MSG_ATTR_TYPE_TMEM_INPUT - ioc.TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_INPUT
        message[at : at + 4] = (tmem, 0, size, 0)
        return
    shm = ctx.shm_get(number & 0xFFFFFFFF)
    if shm is None:
        raise OSError(errno.EINVAL, f"no shared memory {number} in this context")
    held.append(shm)
    if offset + size > shm.size:
        raise OSError(errno.EINVAL, f"0x{offset:x}+0x{size:x} exceeds shared memory of 0x{shm.size:x} bytes")
    message[at + 3] = shm.cookie


def _put_shms(ctx: TeeContext, held: list[TeeShm]) -> None:
    for shm in held:
        ctx.shm_put(shm)


def _params_to_user(params: tuple[int, ...], answer: Sequence[int]) -> list[int] | None:
    """params_to_user: the ioctl's parameters with their outputs from the message; None when there are none."""
    out: list[int] | None = None
    for at in range(0, len(params), 4):
        attr = params[at]
        if attr & 2:  # OUTPUT or INOUT, of either sort
            if out is None:
                out = list(params)
            if attr < ioc.TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_INPUT:
                out[at + 1 : at + 4] = answer[at + 1 : at + 4]
            else:
                out[at + 2] = answer[at + 2]
    return out


def _ioctl_open_session(ctx: TeeContext, arg: int, task: Task) -> int:
    head = ioc.OPEN_SESSION_ARG.size
    buf_ptr, block, count = _read_arg(task, arg, head, head - 4)
    uuid, client_data, login, cancel_id, *_ = ioc.OPEN_SESSION_ARG.unpack_from(block)
    if LOGIN_REE_KERNEL_MIN <= login <= LOGIN_REE_KERNEL_MAX:
        raise OSError(errno.EPERM, "that login method is the kernel's own")
    params = _PARAMS[count].unpack_from(block, head)
    message, held = _params_from_user(ctx, params)
    try:
        for shm in held:
            shm.copy_in(task)
        session, ret, origin, answer = ctx.optee.open_session(ctx, task, uuid, login, client_data, cancel_id, message)
        for shm in held:
            shm.copy_out(task)
        out = _params_to_user(params, answer)
        try:
            if out is not None:
                task.write(buf_ptr + head, _PARAMS[count].pack(*out))
            task.write(buf_ptr + 40, _SESSION_RET_ORIGIN.pack(session, ret, origin))
        except OSError:
            if not ret:
                ctx.optee.close_session(ctx, session)
            raise
    finally:
        if held:
            _put_shms(ctx, held)
    return 0


def _ioctl_invoke(ctx: TeeContext, arg: int, task: Task) -> int:
    buf_ptr, block, count = _read_arg(task, arg, ioc.INVOKE_ARG.size, ioc.INVOKE_ARG.size - 4)
    values = _INVOKE[count].unpack(block)
    params = values[6:]
    message, held = _params_from_user(ctx, params)
    try:
        for shm in held:
            shm.copy_in(task)
        ret, origin, answer = ctx.optee.invoke_func(ctx, values[0], values[1], values[2], message)
        for shm in held:
            shm.copy_out(task)
        out = _params_to_user(params, answer)
        if out is not None:
            task.write(buf_ptr + 12, _INVOKE_ANSWER[count].pack(ret, origin, count, *out))
        else:
            task.write(buf_ptr + 12, _RET_ORIGIN.pack(ret, origin))
    finally:
        if held:
            _put_shms(ctx, held)
    return 0


def _ioctl_cancel(ctx: TeeContext, arg: int, task: Task) -> int:
    cancel_id, session = ioc.CANCEL_ARG.unpack(task.read(arg, ioc.CANCEL_ARG.size))
    ctx.optee.cancel_req(ctx, cancel_id, session)
    return 0


def _ioctl_close_session(ctx: TeeContext, arg: int, task: Task) -> int:
    (session,) = ioc.CLOSE_SESSION_ARG.unpack(task.read(arg, ioc.CLOSE_SESSION_ARG.size))
    ctx.optee.close_session(ctx, session)
    return 0


def _ioctl_supp_recv(ctx: TeeContext, arg: int, task: Task) -> int:
    head = ioc.SUPP_RECV_ARG.size
    buf_ptr, block, count = _read_arg(task, arg, head, 4)
    number, request = ctx.optee.supp.recv(ctx, _SUPP_RECV[count].unpack(block)[2::4])
    for _, shm in request.copied:
        shm.copy_out(task)
    params = (META, number, 0, 0, *request.params) if number else request.params
    count = len(params) >> 2
    task.write(buf_ptr, _SUPP_RECV[count].pack(request.func, count, *params))
    return 0


def _ioctl_supp_send(ctx: TeeContext, arg: int, task: Task) -> int:
    head = ioc.SUPP_SEND_ARG.size
    buf_ptr, buf_len = ioc.BUF_DATA.unpack(task.read(arg, _ARG_HEAD))
    if not head <= buf_len <= ioc.TEE_MAX_ARG_SIZE:
        raise OSError(errno.EINVAL, f"an argument of {buf_len} bytes")
    block = task.read(buf_ptr, buf_len)
    ret, count = ioc.SUPP_SEND_ARG.unpack_from(block)
    if head + count * ioc.PARAM.size > buf_len:
        raise OSError(errno.EINVAL, f"{buf_len} bytes for {count} parameters")
    answer = _PARAMS[count].unpack_from(block, head)
    # Which of them fit a request is the queue's to say.
    if not _SUPP_ATTRS.issuperset(answer[::4]):
        raise OSError(errno.EINVAL, "a parameter's attribute says nothing that could be")
    ctx.optee.supp.send(ret, answer, task)
    return 0


@dataclass(frozen=True, slots=True)
class Ioctl:
    """One row of the table of ioctls; ``device`` is None for both devices, else whether it is the privileged one."""

    number: int
    name: str
    handler: Callable[[TeeContext, int, Task], int]
    device: bool | None
    note: str = ""


IOCTLS = {
    row.number: row
    for row in (
        Ioctl(ioc.TEE_IOC_VERSION, "TEE_IOC_VERSION", _ioctl_version, None),
        Ioctl(ioc.TEE_IOC_SHM_ALLOC, "TEE_IOC_SHM_ALLOC", _ioctl_shm_alloc, None),
        Ioctl(ioc.TEE_IOC_SHM_REGISTER, "TEE_IOC_SHM_REGISTER", _ioctl_shm_register, None, "copied around calls"),
        Ioctl(ioc.TEE_IOC_SHM_REGISTER_FD, "TEE_IOC_SHM_REGISTER_FD", _ioctl_shm_register_fd, None, "sealed memfds"),
        Ioctl(ioc.TEE_IOC_OPEN_SESSION, "TEE_IOC_OPEN_SESSION", _ioctl_open_session, False),
        Ioctl(ioc.TEE_IOC_INVOKE, "TEE_IOC_INVOKE", _ioctl_invoke, False),
        Ioctl(ioc.TEE_IOC_CANCEL, "TEE_IOC_CANCEL", _ioctl_cancel, False),
        Ioctl(ioc.TEE_IOC_CLOSE_SESSION, "TEE_IOC_CLOSE_SESSION", _ioctl_close_session, False),
        Ioctl(ioc.TEE_IOC_SUPPL_RECV, "TEE_IOC_SUPPL_RECV", _ioctl_supp_recv, True),
        Ioctl(ioc.TEE_IOC_SUPPL_SEND, "TEE_IOC_SUPPL_SEND", _ioctl_supp_send, True),
    )
}


class TeeSubsystem:
    """The two devices of one OP-TEE driver."""

    def __init__(self, optee: Optee) -> None:
        self.optee = optee
        self.lock = threading.Lock()
        self.contexts: set[TeeContext] = set()
        self._next_shm_id = 0

    def new_shm_id(self) -> int:
        """Under the lock: an id that no shared memory of either device has."""
        while True:
            self._next_shm_id = self._next_shm_id % 0x7FFFFFFF + 1
            if not any(self._next_shm_id in ctx.shms for ctx in self.contexts):
                return self._next_shm_id

    def open(self, path: str, task: Task) -> TeeContext:
        """tee_open. OSError(ENOENT) for other paths, OSError(EBUSY) for a second supplicant."""
        if path not in (CLIENT_DEVICE, SUPPLICANT_DEVICE):
            raise OSError(errno.ENOENT, f"{path} is not a TEE device")
        trace = self.optee.trace
        if trace.on:
            trace.enter(points.OPEN, path, task.pid)
        ctx = TeeContext(self, path == SUPPLICANT_DEVICE, task.pid)
        if ctx.privileged:
            self.optee.supp.open(ctx)
        with self.lock:
            self.contexts.add(ctx)
        if trace.on:
            trace.exit(points.OPEN, 0)
        return ctx

    def closed(self, ctx: TeeContext) -> None:
        """``ctx`` is closed; it goes when the last of its shared memory has gone too."""
        with self.lock:
            if ctx.shms:
                return
            self.contexts.discard(ctx)
            last = not any(other.pid == ctx.pid for other in self.contexts)
        if last:
            self.optee.pool.forget(ctx.pid)

    def shm_count(self) -> int:
        return sum(len(ctx.shms) for ctx in list(self.contexts))
