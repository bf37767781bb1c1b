"""Requests from the secure world that wait for tee-supplicant. Mirrors drivers/tee/optee/supp.c."""

import errno
import itertools
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from optemu.abi import tee_ioctl as ioc
from optemu.normal_world.driver.params import MEMREFS, OUTPUTS, TeeParam

if TYPE_CHECKING:
    from optemu.normal_world.driver.tee_core import TeeContext
    from optemu.normal_world.driver.tee_shm import TeeShm

TEEC_ERROR_COMMUNICATION = 0xFFFF000E
_META = ioc.TEE_IOCTL_PARAM_ATTR_META | ioc.TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_INOUT


class Request:
    """struct optee_supp_req."""

    __slots__ = ("done", "func", "params", "ret")

    def __init__(self, func: int, params: list[TeeParam]) -> None:
        self.func = func
        self.params = params
        self.ret = TEEC_ERROR_COMMUNICATION
        self.done = threading.Event()


class Supp:
    """The queue between callers and the supplicant's threads (struct optee_supp)."""

    def __init__(self) -> None:
        self.ctx: TeeContext | None = None
        self.lend: Callable[[], None] | None = None
        """A supplicant in this process that serves on the thread of whoever asks; else one waits in ``recv``."""
        self._cond = threading.Condition()
        self._queue: deque[Request] = deque()
        self._taken: dict[int, Request] = {}
        self._ids = itertools.count(1)
        self._sync_id = -1
        """The request of a supplicant that does not use meta parameters, and so takes one at a time."""

    def open(self, ctx: "TeeContext") -> None:
        with self._cond:
            if self.ctx is not None:
                raise OSError(errno.EBUSY, "a tee-supplicant is already running")
            self.ctx = ctx

    def release(self, ctx: "TeeContext") -> None:
        """optee_supp_release: the supplicant is gone, and with it every answer that was still due."""
        with self._cond:
            if self.ctx is not ctx:
                return
            self.ctx = None
            self._sync_id = -1
            abandoned = [*self._taken.values(), *self._queue]
            self._taken.clear()
            self._queue.clear()
            self._cond.notify_all()
        for request in abandoned:
            request.done.set()

    def interrupt(self) -> None:
        """Have the threads that wait in ``recv`` look whether they still should."""
        with self._cond:
            self._cond.notify_all()

    def thrd_req(self, func: int, params: list[TeeParam], gone: Callable[[], bool]) -> int:
        """optee_supp_thrd_req: ask the supplicant and wait; TEE_Result. ``gone`` says when nobody waits any more."""
        request = Request(func, params)
        with self._cond:
            self._queue.append(request)
            if self.lend is None:
                self._cond.notify()
        if self.lend is not None:
            self.lend()
        while not request.done.wait(0.1):
            if gone():
                self._withdraw(request)
                break
        return request.ret

    def _withdraw(self, request: Request) -> None:
        with self._cond:
            if request in self._queue:
                self._queue.remove(request)
            for number, taken in list(self._taken.items()):
                if taken is request:
                    del self._taken[number]

    def recv(self, ctx: "TeeContext", params: list[TeeParam]) -> tuple[int, list[TeeParam]]:
        """optee_supp_recv: wait for a request: (func, parameters). OSError(EINVAL, EINTR)."""
        meta = 1 if params and params[0].attr == ioc.TEE_IOCTL_PARAM_ATTR_META else 0
        if any(p.attr not in (0, ioc.TEE_IOCTL_PARAM_ATTR_META) for p in params):
            raise OSError(errno.EINVAL, "parameters of SUPPL_RECV carry nothing in")
        with self._cond:
            while not self._queue:
                if ctx.gone_since or self.ctx is not ctx:
                    raise OSError(errno.EINTR, "")
                self._cond.wait()
            if not meta and self._sync_id >= 0:
                raise OSError(errno.EINVAL, "a request is under way; only one at a time without meta parameters")
            request = self._queue.popleft()
            if len(params) - meta < len(request.params):
                request.done.set()
                raise OSError(errno.EINVAL, f"no room for {len(request.params)} parameters")
            number = next(self._ids)
            self._taken[number] = request
            if meta:
                return request.func, [TeeParam(_META, number), *request.params]
            self._sync_id = number
            return request.func, list(request.params)

    def send(self, ret: int, params: list[TeeParam], fetch: "Callable[[TeeShm], None]") -> None:
        """optee_supp_send: the answer to a request. OSError(EINVAL, ENOENT, EFAULT).

        ``fetch`` is called for memory that the supplicant has filled.
        """
        with self._cond:
            if self._sync_id >= 0:
                number, rest = self._sync_id, params
            else:
                if not params or params[0].attr != _META:
                    raise OSError(errno.EINVAL, "the answer does not say which request it answers")
                number, rest = params[0].a, params[1:]
            request = self._taken.get(number)
            if request is None:
                raise OSError(errno.ENOENT, f"nobody waits for an answer to request {number}")
            if len(rest) != len(request.params):
                raise OSError(errno.EINVAL, f"{len(rest)} parameters answer {len(request.params)}")
            del self._taken[number]
            self._sync_id = -1
        try:
            for p, answer in zip(request.params, rest, strict=True):
                if p.attr in MEMREFS and p.attr in OUTPUTS:
                    p.b = answer.b
                    if p.shm is not None:
                        fetch(p.shm)
                elif p.attr in OUTPUTS:
                    p.a, p.b, p.c = answer.a, answer.b, answer.c
            request.ret = ret
        finally:
            request.done.set()
