"""Campaigns of the normal world's kernel and of client processes."""

import struct
import sys
import threading
from pathlib import Path
from random import Random

from campaigns.campaign import Campaign, edge
from campaigns.kernel import Kernel
from campaigns.process import Process
from optemu.abi import gp, optee_msg
from optemu.abi import optee_smc as smc
from optemu.abi import tee_ioctl as ioc
from optemu.normal_world.driver.tee_core import TeeContext

DEMO = gp.uuid_octets("e3a1d2c0-5b0f-4f0c-9d3e-6f7074656d75")
UUIDS = (DEMO, gp.uuid_octets("7011a688-ddde-4053-a5a9-7b3c4ddf13b8"), bytes(16))
_COMMANDS = (0, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8)


class _Plain(Random):
    """Makes a message without parameters and without changes."""

    def __init__(self) -> None:
        super().__init__(0)

    def randrange(self, *args: int) -> int:  # type: ignore[override]
        return 0

    def choice(self, seq):  # type: ignore[no-untyped-def]
        return seq[0]


class Attack(Campaign):
    """By the kernel."""

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self.kernel = Kernel(self.machine, self.secret.base)

    def set_up(self) -> int:
        """A session, opened if there is none, and registered memory; the session's id."""
        tee, kernel = self.machine.tee, self.kernel
        if not tee.open_sessions:
            kernel.write(2, kernel.message(_Plain(), optee_msg.OPTEE_MSG_CMD_OPEN_SESSION, 0, (DEMO,)))
            self.send(Random(0), 2)
        if tee.shm.get_by_cookie(kernel.cookies[0]) is None:
            good = tee.shm.from_noncontig(self._list_of_pages(), 2 * 4096, kernel.cookies[0])
            assert good is not None
            assert tee.shm.register(good)
        return next(reversed(tee.open_sessions), 1)

    def _list_of_pages(self) -> int:
        self.kernel.write(
            0, struct.pack("<512Q", *self.kernel.pages * 63 + self.kernel.pages[:7], self.kernel.pages[0])
        )
        return self.kernel.pages[0]

    def send(self, rng: Random, page: int) -> int:
        """Hand the message in ``page`` over, in one of the three ways."""
        pa = self.kernel.pages[page]
        a0 = rng.choice((smc.OPTEE_SMC_CALL_WITH_ARG, smc.OPTEE_SMC_CALL_WITH_RPC_ARG))
        return self.kernel.call(rng, a0, pa >> 32, pa & 0xFFFFFFFF)

    def check(self) -> None:
        super().check()
        tee = self.machine.tee
        for session in list(tee.open_sessions):
            self.kernel.write(
                7, optee_msg.MSG_ARG.pack(optee_msg.OPTEE_MSG_CMD_CLOSE_SESSION, 0, session, 0, 0, 0, 0, 0)
            )
            self.send(Random(0), 7)
        assert not tee.open_sessions, "a session cannot be closed"
        for cookie in list(tee.shm._by_cookie):
            if cookie in self.kernel.cookies:
                tee.shm.release_by_cookie(cookie)


class Registers(Attack):
    """Any SMC with any registers."""

    name, share = "registers", 30

    def one(self, rng: Random) -> None:
        a0 = rng.choice(sorted(smc.SMC_NAMES)) if rng.randrange(8) else edge(rng, 64)
        rest = [edge(rng, 64, *self.kernel.addresses, *self.kernel.cookies) for _ in range(7)]
        if a0 & smc.SMC_FAST_CALL:
            self.kernel.smc(a0, *rest)
        else:
            self.kernel.call(rng, a0, rest[0], rest[1], rest[2])
        assert self.machine.tee.threads.busy == 0


class Messages(Attack):
    """Messages that are wrong, or become so while they are looked at, by a second core."""

    name, share = "messages", 20

    def one(self, rng: Random) -> None:
        cmd = rng.choice(_COMMANDS)
        session = self.set_up()
        self.kernel.write(2, self.kernel.message(rng, cmd, session, UUIDS).ljust(4096, b"\0"))
        self.kernel.page_list(rng, 2)
        self.send(rng, 2)
        assert self.machine.tee.threads.busy == 0


class Races(Messages):
    """The same, and another core changes the message all the time."""

    name, share = "races", 5

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self._interval = sys.getswitchinterval()
        self._over = threading.Event()
        self._core = threading.Thread(target=self._change, daemon=True)
        sys.setswitchinterval(1e-6)
        self._core.start()

    def _change(self) -> None:
        rng = Random(0)
        view = self.kernel.region.view
        while not self._over.is_set():
            at = 2 * 4096 + 8 * rng.randrange(40)
            view[at : at + 8] = edge(rng, 64, *self.kernel.addresses, *self.kernel.cookies).to_bytes(8, "little")

    def close(self) -> None:
        self._over.set()
        self._core.join()
        sys.setswitchinterval(self._interval)
        super().close()


class PageLists(Attack):
    """Memory registered by lists that name other people's pages, themselves, or nothing."""

    name, share = "page lists", 15

    def one(self, rng: Random) -> None:
        cookie = rng.choice(self.kernel.cookies)
        size = edge(rng, 64, 1, 4096, 8192, 511 * 4096, 512 * 4096)
        self.kernel.page_list(rng, min(size, 1 << 30) // 4096 + 1)
        attr = optee_msg.OPTEE_MSG_ATTR_TYPE_TMEM_OUTPUT | optee_msg.OPTEE_MSG_ATTR_NONCONTIG
        start = edge(rng, 64, *self.kernel.pages[:2]) if rng.randrange(3) == 0 else self.kernel.pages[rng.randrange(2)]
        head = optee_msg.MSG_ARG.pack(optee_msg.OPTEE_MSG_CMD_REGISTER_SHM, 0, 0, 0, 0, 0, 0, 1)
        self.kernel.write(2, head + optee_msg.MSG_PARAM.pack(attr, start, size, cookie))
        self.send(rng, 2)
        shm = self.machine.tee.shm
        mobj = shm.get_by_cookie(cookie)
        if mobj is not None:
            assert all(not run.region.secure for run in mobj.runs), "secure memory was registered"
            assert sum(run.size for run in mobj.runs) >= mobj.size + mobj.page_offset
            shm.release_by_cookie(cookie)
        assert self.machine.tee.threads.busy == 0


class Ioctls(Campaign):
    """Argument blocks of a client process."""

    name, share = "ioctls", 20

    def one(self, rng: Random) -> None:
        task = Process()
        file = self.machine.device.open("/dev/tee0", task)
        if rng.randrange(4):
            self._good_calls(file, task)
        for _ in range(rng.randrange(1, 6)):
            cmd = rng.choice(sorted(ioc.IOCTL_NAMES))
            block = self._block(rng, cmd, file)
            task.write(task.BASE + 64, block)
            task.write(task.BASE, self._argument(rng, cmd, task, block))
            where = task.BASE if rng.randrange(10) else edge(rng, 64, task.BASE, task.BASE + len(task.memory))
            assert -4095 <= file.ioctl(cmd, where, task) < 1 << 31
        file.close()
        for shm in task.shms:
            shm.released()  # type: ignore[attr-defined]
        assert not self.machine.tee.open_sessions, "closing the device left a session"
        assert self.machine.device.shm_count() == 0, "shared memory was left"

    @staticmethod
    def _good_calls(file: TeeContext, task: Process) -> None:
        """A session, and a page of shared memory."""
        task.write(task.BASE + 64, ioc.OPEN_SESSION_ARG.pack(DEMO, bytes(16), 0, 0, 0, 0, 0, 0))
        task.write(task.BASE, ioc.BUF_DATA.pack(task.BASE + 64, ioc.OPEN_SESSION_ARG.size))
        assert file.ioctl(ioc.TEE_IOC_OPEN_SESSION, task.BASE, task) == 0
        task.write(task.BASE, ioc.SHM_ALLOC_DATA.pack(4096, 0, 0))
        assert file.ioctl(ioc.TEE_IOC_SHM_ALLOC, task.BASE, task) > 0

    @staticmethod
    def _argument(rng: Random, cmd: int, task: Process, block: bytes) -> bytes:
        near = (task.BASE, task.BASE + 64, len(block), 4096)
        match cmd:
            case ioc.TEE_IOC_SHM_ALLOC:
                return ioc.SHM_ALLOC_DATA.pack(rng.choice((rng.getrandbits(14), 0, 1 << 40)), rng.choice((0, 0, 1)), 0)
            case ioc.TEE_IOC_SHM_REGISTER:
                return ioc.SHM_REGISTER_DATA.pack(edge(rng, 64, *near), rng.getrandbits(14), rng.choice((0, 0, 1)), 0)
            case ioc.TEE_IOC_CANCEL | ioc.TEE_IOC_CLOSE_SESSION:
                return edge(rng, 32, 1, 2).to_bytes(4, "little") + edge(rng, 32, 1, 2).to_bytes(4, "little")
        if rng.randrange(6):
            return ioc.BUF_DATA.pack(task.BASE + 64, len(block))
        return ioc.BUF_DATA.pack(edge(rng, 64, *near), edge(rng, 64, *near))

    @staticmethod
    def _block(rng: Random, cmd: int, file: TeeContext) -> bytes:
        params = [_param(rng, sorted(file.shms)) for _ in range(rng.randrange(5))]
        count = len(params) if rng.randrange(8) else edge(rng, 32, len(params))
        if cmd == ioc.TEE_IOC_OPEN_SESSION:
            login = 0 if rng.randrange(4) else edge(rng, 32, 0, 1, 2, 4)
            head = ioc.OPEN_SESSION_ARG.pack(rng.choice(UUIDS), bytes(16), login, 0, 0, 0, 0, count)
        else:
            session = max(file.sessions, default=1) if rng.randrange(4) else edge(rng, 32)
            head = ioc.INVOKE_ARG.pack(edge(rng, 32, *range(5)), session, 0, 0, 0, count)
        return head + b"".join(ioc.PARAM.pack(*p) for p in params)


def _param(rng: Random, shms: list[int]) -> tuple[int, int, int, int]:
    kind = rng.choice((0, 1, 2, 3, 5, 6, 7)) if rng.randrange(16) else edge(rng)
    if kind < 5:
        return kind, edge(rng), edge(rng), edge(rng)
    number = shms[-1] if shms and rng.randrange(4) else edge(rng, 64, 1, 2, ioc.TEE_MEMREF_NULL)
    return kind, edge(rng, 64, 0, 4096), edge(rng, 64, 0, 100, 4096), number
