"""A tee-supplicant that answers rubbish."""

import os
import threading
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from tas.constants import QUIET_UUID

from campaigns.campaign import Campaign, damaged, edge
from campaigns.process import Process
from optemu.abi import gp
from optemu.abi import optee_rpc_cmd as rpc
from optemu.abi import tee_ioctl as ioc
from optemu.machine import Machine
from optemu.normal_world.libteec import TeecError

_HEAD = ioc.SUPP_RECV_ARG.size
_ROOM = 5
_AT = Process.BASE + 64
_META = ioc.TEE_IOCTL_PARAM_ATTR_META


class Supplicant(Campaign):
    """It serves /dev/teepriv0 in a thread of its own; each input is one session opened meanwhile."""

    name, share = "supplicant", 4

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self.context = self.machine.connect()
        self.rng = Random(0)
        self.image = (scratch / f"{QUIET_UUID}.ta").read_bytes()
        self.memory: dict[int, Any] = {}
        """What it has allocated and given to the TEE, by id."""
        self.task = Process()
        self.file = self.machine.device.open("/dev/teepriv0", self.task)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.over = False
        self.thread.start()

    def make_machine(self, scratch: Path) -> Machine:
        return Machine(supplicant=False)

    def one(self, rng: Random) -> None:
        self.rng = rng
        try:
            self.context.OpenSession(UUID(QUIET_UUID)).CloseSession()
        except TeecError as e:
            assert e.code
        assert self.machine.tee.threads.busy == 0
        assert not self.machine.tee.manager.contexts

    def _serve(self) -> None:
        task, file = self.task, self.file
        while not self.over:
            empty = b"".join(ioc.PARAM.pack(_META if n == 0 else 0, 0, 0, 0) for n in range(_ROOM))
            task.write(_AT, ioc.SUPP_RECV_ARG.pack(0, _ROOM) + empty)
            task.write(task.BASE, ioc.BUF_DATA.pack(_AT, _HEAD + _ROOM * ioc.PARAM.size))
            if file.ioctl(ioc.TEE_IOC_SUPPL_RECV, task.BASE, task):
                continue
            func, count = ioc.SUPP_RECV_ARG.unpack(task.read(_AT, _HEAD))
            taken = [ioc.PARAM.unpack(task.read(_AT + _HEAD + 32 * n, 32)) for n in range(count)]
            self._answer(func, taken)

    def _answer(self, func: int, taken: list[tuple[int, ...]]) -> None:
        """As a supplicant should, or with wrong numbers; now and then with a wrong number of them first."""
        rng, task = self.rng, self.task
        while True:
            right = rng.randrange(6) > 0
            count = len(taken) if right else edge(rng, 32, len(taken)) & 0xFF
            params = [list(p) for p in taken]
            ret = self._serve_request(func, params)
            for p in params[1:]:
                if rng.randrange(6) == 0:
                    p[rng.randrange(1, 4)] = edge(rng, 64, *p[1:], 100, 4096)
            if rng.randrange(8) == 0:
                ret = rng.choice((gp.TEE_ERROR_GENERIC, edge(rng, 32)))
            block = ioc.SUPP_SEND_ARG.pack(ret, count) + b"".join(ioc.PARAM.pack(*p) for p in params)
            task.write(_AT, block)
            task.write(task.BASE, ioc.BUF_DATA.pack(_AT, len(block)))
            if self.file.ioctl(ioc.TEE_IOC_SUPPL_SEND, task.BASE, task) == 0 or right:
                return

    def _serve_request(self, func: int, params: list[list[int]]) -> int:
        task = self.task
        if func == rpc.OPTEE_RPC_CMD_LOAD_TA and len(params) == 3:
            shm = self.memory.get(params[2][3])
            if shm is not None:
                image = damaged(self.rng, self.image)
                os.pwrite(shm.fd, image[: shm.size], 0)
            params[2][2] = len(self.image)
        elif func == rpc.OPTEE_RPC_CMD_SHM_ALLOC and len(params) == 2:
            task.write(task.BASE + 32, ioc.SHM_ALLOC_DATA.pack(params[1][2] or 1, 0, 0))
            if self.file.ioctl(ioc.TEE_IOC_SHM_ALLOC, task.BASE + 32, task) < 0:
                return gp.TEE_ERROR_OUT_OF_MEMORY
            number = ioc.SHM_ALLOC_DATA.unpack(task.read(task.BASE + 32, 16))[2]
            self.memory[number] = task.shms.pop()
            params[1][3] = number
        elif func == rpc.OPTEE_RPC_CMD_SHM_FREE and len(params) == 2:
            shm = self.memory.pop(params[1][2], None)
            if shm is not None:
                shm.released()
        return 0

    def close(self) -> None:
        self.over = True
        self.file.interrupted(self.task)
        self.file.close()
        self.thread.join(2)
        self.context.FinalizeContext()
        super().close()
