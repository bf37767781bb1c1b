"""What the driver stands on in its tests: a secure world behind ``invoke_fn`` that is a script, and a process of bytes."""

import errno
import os
import struct
import time
from collections.abc import Callable, Generator
from typing import Any

from campaigns.process import Process

from optemu.abi import optee_msg
from optemu.abi import optee_smc as smc
from optemu.abi import tee_ioctl as ioc
from optemu.board.board import Board
from optemu.board.config import Config
from optemu.normal_world.driver.optee import Optee
from optemu.normal_world.driver.tee_core import TeeContext, TeeSubsystem

PAGE = 4096
Registers = tuple[int, int, int, int, int, int, int, int]
Param = tuple[int, int, int, int]


class Message:
    """One optee_msg_arg, as the secure world finds it; ``answer`` writes its result."""

    def __init__(self, view: memoryview) -> None:
        self.view = view
        head = optee_msg.MSG_ARG.unpack_from(view)
        self.cmd, self.func, self.session, self.cancel_id = head[:4]
        self.params: list[Param] = [
            optee_msg.MSG_PARAM.unpack_from(view, 32 + 32 * n)  # type: ignore[misc]
            for n in range(head[7])
        ]

    def answer(self, ret: int = 0, origin: int = 4, session: int = 0, params: list[Param] | None = None) -> None:
        if session:
            struct.pack_into("<I", self.view, 8, session)
        struct.pack_into("<II", self.view, 20, ret, origin)
        for n, p in enumerate(params or []):
            optee_msg.MSG_PARAM.pack_into(self.view, 32 + 32 * n, *p)


Rpcs = Generator[tuple[int, int, int], Registers, None]


class FakeSecureWorld:
    """``invoke_fn``. ``serve`` answers each message; one that is a generator yields RPCs (r0, r1, r2) first."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.fast: dict[int, tuple[int, ...]] = {
            smc.OPTEE_SMC_CALLS_UID: optee_msg.OPTEE_MSG_UID,
            smc.OPTEE_SMC_CALLS_REVISION: optee_msg.OPTEE_MSG_REVISION,
            smc.OPTEE_SMC_CALL_GET_OS_REVISION: (4, 10, 0xABC),
            smc.OPTEE_SMC_EXCHANGE_CAPABILITIES: (
                0,
                smc.OPTEE_SMC_SEC_CAP_DYNAMIC_SHM | smc.OPTEE_SMC_SEC_CAP_RPC_ARG,
                0,
                4,
            ),
            smc.OPTEE_SMC_GET_THREAD_COUNT: (0, 2),
        }
        self.fast_calls: list[Registers] = []
        self.serve: Callable[[Message], Any] = lambda message: message.answer()
        self.messages: list[Message] = []
        self.registered: dict[int, tuple[list[int], int, int]] = {}
        """cookie -> (pages, offset into the first, size)"""
        self.no_thread = 0
        """So many of the next calls find no thread free."""
        self.result = smc.OPTEE_SMC_RETURN_OK
        self.resumed: list[Registers] = []
        self._waiting: dict[int, Rpcs] = {}

    def __call__(self, *given: int) -> Registers:
        regs = (*given, *[0] * (8 - len(given)))
        if regs[0] & smc.SMC_FAST_CALL:
            self.fast_calls.append(regs)  # type: ignore[arg-type]
            return (*self.fast.get(regs[0], (0,)), *[0] * 8)[:8]  # type: ignore[return-value]
        if regs[0] == smc.OPTEE_SMC_CALL_RETURN_FROM_RPC:
            self.resumed.append(regs)  # type: ignore[arg-type]
            return self._go_on(regs[3], regs)
        if self.no_thread:
            self.no_thread -= 1
            return (smc.OPTEE_SMC_RETURN_ETHREAD_LIMIT, 0, 0, 0, 0, 0, 0, 0)
        if self.result:
            return (self.result, 0, 0, 0, 0, 0, 0, 0)
        message = Message(self._message(regs))
        self.messages.append(message)
        if message.cmd == optee_msg.OPTEE_MSG_CMD_REGISTER_SHM:
            self._register(message)
        elif message.cmd == optee_msg.OPTEE_MSG_CMD_UNREGISTER_SHM:
            message.answer(0 if self.registered.pop(message.params[0][3], None) else 0xFFFF0006)
        else:
            script = self.serve(message)
            if script is not None:
                thread = len(self._waiting)
                self._waiting[thread] = script
                return self._go_on(thread, None)
        return (smc.OPTEE_SMC_RETURN_OK, 0, 0, 0, 0, 0, 0, 0)

    def _go_on(self, thread: int, regs: Any) -> Registers:
        try:
            r0, r1, r2 = self._waiting[thread].send(regs)
        except StopIteration:
            return (smc.OPTEE_SMC_RETURN_OK, 0, 0, 0, 0, 0, 0, 0)
        return (r0, r1, r2, thread, 0, 0, 0, 0)

    def _message(self, regs: tuple[int, ...]) -> memoryview:
        at = regs[1] << 32 | regs[2]
        if regs[0] == smc.OPTEE_SMC_CALL_WITH_REGD_ARG:
            pages, offset, _ = self.registered[at]
            return self.memory(pages[0] + offset + regs[3])
        return self.memory(at)

    def memory(self, pa: int) -> memoryview:
        """Non-secure memory from ``pa`` on."""
        region = self.board.memory.find(pa, secure=False)
        assert region is not None
        return region.view[pa - region.base :]

    def page_list(self, pa: int, size: int) -> list[int]:
        """The pages of a list for ``size`` bytes, read as OP-TEE reads them."""
        left = -(-(pa % PAGE + size) // PAGE)
        pages: list[int] = []
        pa &= -PAGE
        while left:
            entries = struct.unpack_from("<512Q", self.memory(pa))
            take = min(left, 511)
            pages += entries[:take]
            left -= take
            pa = entries[511]
        return pages

    def _register(self, message: Message) -> None:
        [(attr, buf_ptr, size, cookie)] = message.params
        assert attr == optee_msg.OPTEE_MSG_ATTR_TYPE_TMEM_OUTPUT | optee_msg.OPTEE_MSG_ATTR_NONCONTIG
        assert cookie not in self.registered
        pages = self.page_list(buf_ptr, size)
        ours = all(page % PAGE == 0 and self.board.memory.find(page, secure=False) for page in pages)
        message.answer(0 if ours else 0xFFFF0006)
        self.registered[cookie] = (pages, buf_ptr % PAGE, size)


class FakeTask(Process):
    """A process that can be made to fail: ``faults`` are addresses it cannot write, ``full`` takes no descriptor."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: range = range(0)
        self.full = False
        self.their_fds: dict[int, int] = {}

    def write(self, addr: int, data: bytes) -> None:
        if any(at in self.faults for at in range(addr, addr + len(data))):
            raise OSError(errno.EFAULT, "")
        super().write(addr, data)

    def install_shm(self, shm: Any) -> int:
        if self.full:
            raise OSError(errno.EMFILE, "")
        return super().install_shm(shm)

    def fetch_fd(self, fd: int) -> int:
        if fd not in self.their_fds:
            raise OSError(errno.EBADF, "")
        return os.dup(self.their_fds[fd])


class Normal:
    """Board, fake secure world, driver, and one process with an open /dev/tee0."""

    def __init__(self, **config: Any) -> None:
        self.board = Board(Config(**config))
        self.secure = FakeSecureWorld(self.board)
        self.optee = Optee(self.board, self.secure)
        self.device = TeeSubsystem(self.optee)
        self.task = FakeTask()
        self.file: TeeContext = self.device.open("/dev/tee0", self.task)

    def close(self) -> None:
        """No descriptor stays."""
        self.secure.serve = lambda message: message.answer()
        for ctx in list(self.device.contexts):
            ctx.close()
        for shm in self.task.shms:
            if shm.ctx is not None and shm.id in shm.ctx.shms:
                shm.released()
        for fd in self.task.their_fds.values():
            os.close(fd)

    def ioctl(self, cmd: int, argument: bytes, file: TeeContext | None = None) -> tuple[int, bytes]:
        """One ioctl with ``argument`` at BASE: (result, the argument afterwards)."""
        self.task.write(self.task.BASE, argument)
        rc = (file or self.file).ioctl(cmd, self.task.BASE, self.task)
        return rc, self.task.read(self.task.BASE, len(argument))

    def buf_ioctl(self, cmd: int, block: bytes, file: TeeContext | None = None) -> tuple[int, bytes]:
        """One ioctl whose argument is a struct tee_ioctl_buf_data: (result, the block afterwards)."""
        at = self.task.BASE + 0x1000
        self.task.write(at, block)
        rc, _ = self.ioctl(cmd, ioc.BUF_DATA.pack(at, len(block)), file)
        return rc, self.task.read(at, len(block))

    def open(
        self, uuid: bytes = bytes(16), params: list[Param] | None = None, login: int = 0, data: bytes = bytes(16)
    ) -> tuple[int, int, int, int, list[Param]]:
        """TEE_IOC_OPEN_SESSION: (result, session, ret, origin, parameters)."""
        params = params or []
        block = ioc.OPEN_SESSION_ARG.pack(uuid, data, login, 0, 0, 0, 0, len(params))
        rc, block = self.buf_ioctl(ioc.TEE_IOC_OPEN_SESSION, block + pack(params))
        *_, session, ret, origin, _ = ioc.OPEN_SESSION_ARG.unpack_from(block)
        return rc, session, ret, origin, unpack(block, ioc.OPEN_SESSION_ARG.size)

    def session(self, number: int = 7) -> int:
        """An open session of that number."""
        self.secure.serve = lambda message: message.answer(session=number)
        assert self.open()[:3] == (0, number, 0)
        self.secure.serve = lambda message: message.answer()
        return number

    def invoke(self, session: int, func: int = 0, params: list[Param] | None = None) -> tuple[int, Any, list[Param]]:
        """TEE_IOC_INVOKE: (result, (ret, origin), parameters)."""
        params = params or []
        block = ioc.INVOKE_ARG.pack(func, session, 0, 0, 0, len(params))
        rc, block = self.buf_ioctl(ioc.TEE_IOC_INVOKE, block + pack(params))
        _, _, _, ret, origin, _ = ioc.INVOKE_ARG.unpack_from(block)
        return rc, (ret, origin), unpack(block, ioc.INVOKE_ARG.size)

    def shm_alloc(self, size: int) -> tuple[int, int, int]:
        """TEE_IOC_SHM_ALLOC: (result, size, id)."""
        rc, block = self.ioctl(ioc.TEE_IOC_SHM_ALLOC, ioc.SHM_ALLOC_DATA.pack(size, 0, -1))
        got, _, number = ioc.SHM_ALLOC_DATA.unpack(block)
        return rc, got, number


def until(condition: Callable[[], bool]) -> None:
    """Wait for another thread to get there."""
    for _ in range(10_000):
        if condition():
            return
        time.sleep(0.001)
    raise AssertionError("it did not come")


def pack(params: list[Param]) -> bytes:
    return b"".join(ioc.PARAM.pack(*p) for p in params)


def unpack(block: bytes, at: int) -> list[Param]:
    return list(ioc.PARAM.iter_unpack(block[at:]))  # type: ignore[arg-type]
