"""Requests from the secure world that wait for tee-supplicant. Mirrors drivers/tee/optee/supp.c."""

import errno
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from optemu.abi import tee_ioctl as ioc
from optemu.normal_world.driver.params import VALUES, Copied

if TYPE_CHECKING:
    from optemu.normal_world.driver.interface import Task
    from optemu.normal_world.driver.tee_core import TeeContext

TEEC_ERROR_COMMUNICATION = 0xFFFF000E
META = ioc.TEE_IOCTL_PARAM_ATTR_META | ioc.TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_INOUT
_ROOM = frozenset((0, ioc.TEE_IOCTL_PARAM_ATTR_META))


class Request:
    """struct optee_supp_req."""

    __slots__ = ("_answered", "_done", "copied", "func", "outputs", "params", "ret")

    def __init__(self, func: int, params: list[int], outputs: list[int], copied: Copied) -> None:
        self.func = func
        self.params = params
        """The numbers of the parameters; once it is complete, those of ``outputs`` are the answer's."""
        self.outputs = outputs
        """Where among the numbers the parameters begin that bring something back."""
        self.copied = copied
        self.ret = TEEC_ERROR_COMMUNICATION
        self._done = False
        self._answered: threading.Lock | None = None
        """Taken until the answer is there; only made for who has to wait, and a fifth of what an Event costs."""

    def complete(self) -> None:
        """``ret`` is what it will be; once only."""
        self._done = True
        if self._answered is not None:
            self._answered.release()

    def wait(self, seconds: float) -> bool:
        """Is it complete? Asked by the one who made it, until the answer is yes."""
        if not self._done and self._answered is None:
            answered = threading.Lock()
            answered.acquire()
            self._answered = answered
        # Looked at once more: whoever completed it before the lock was there has not released that.
        return self._done or (self._answered is not None and self._answered.acquire(timeout=seconds))


class Supp:
    """The queue between callers and the supplicant's threads (struct optee_supp)."""

    def __init__(self) -> None:
        self.ctx: TeeContext | None = None
        self._lend: Callable[[], None] | None = None
        self._lent: frozenset[int] = frozenset()
        # Taken for each request: by itself it is cheaper than through the condition.
        self._lock = threading.Lock()
        self._cond = threading.Condition(self._lock)
        self._queue: deque[Request] = deque()
        self._asking: dict[int, Request] = {}
        """By OS thread, which made the request and will receive it itself."""
        self._taken: dict[int, Request] = {}
        self._ids = itertools.count(1)
        self._sync_id = -1
        """The request of a supplicant that does not use meta parameters, and so takes one at a time."""

    def lend(self, serve: Callable[[], None], funcs: Iterable[int]) -> None:
        """A supplicant in this process: ``serve`` receives and answers one of ``funcs`` on the thread that asks."""
        self._lend, self._lent = serve, frozenset(funcs)

    def open(self, ctx: "TeeContext") -> None:
        with self._lock:
            if self.ctx is not None:
                raise OSError(errno.EBUSY, "a tee-supplicant is already running")
            self.ctx = ctx

    def release(self, ctx: "TeeContext") -> None:
        """optee_supp_release: the supplicant is gone, and with it every answer that was still due."""
        with self._lock:
            if self.ctx is not ctx:
                return
            self.ctx = self._lend = None
            self._lent = frozenset()
            self._sync_id = -1
            abandoned = [*self._taken.values(), *self._asking.values(), *self._queue]
            self._taken.clear()
            self._asking.clear()
            self._queue.clear()
            self._cond.notify_all()
        for request in abandoned:
            request.complete()

    def interrupt(self) -> None:
        """Have the threads that wait in ``recv`` look whether they still should."""
        with self._lock:
            self._cond.notify_all()

    def thrd_req(self, request: Request, gone: Callable[[], bool]) -> int:
        """optee_supp_thrd_req: ask the supplicant and wait; TEE_Result. ``gone`` says when nobody waits any more."""
        with self._lock:
            serve = self._lend if request.func in self._lent else None
            if serve is None:
                self._queue.append(request)
                self._cond.notify()
            else:
                self._asking[threading.get_ident()] = request
        if serve is not None:
            serve()
        while not request.wait(0.1):
            if gone():
                self._withdraw(request)
                break
        return request.ret

    def _withdraw(self, request: Request) -> None:
        with self._lock:
            if request in self._queue:
                self._queue.remove(request)
            for held in (self._asking, self._taken):
                for number, other in list(held.items()):
                    if other is request:
                        del held[number]

    def recv(self, ctx: "TeeContext", attrs: Sequence[int]) -> tuple[int, Request]:
        """optee_supp_recv: wait for a request, and what to call it, 0 where it is the only one. OSError(EINVAL, EINTR).

        ``attrs``: those of the parameters that there is room for.
        """
        meta = 1 if attrs and attrs[0] == ioc.TEE_IOCTL_PARAM_ATTR_META else 0
        if not _ROOM.issuperset(attrs):
            raise OSError(errno.EINVAL, "parameters of SUPPL_RECV carry nothing in")
        with self._lock:
            while True:
                if self._sync_id >= 0:
                    raise OSError(errno.EINVAL, "a request is under way; only one at a time without meta parameters")
                if (request := self._asking.pop(threading.get_ident(), None)) is not None:
                    break
                if self._queue:
                    request = self._queue.popleft()
                    break
                if ctx.gone_since or self.ctx is not ctx:
                    raise OSError(errno.EINTR, "")
                self._cond.wait()
            if 4 * (len(attrs) - meta) < len(request.params):
                request.complete()
                raise OSError(errno.EINVAL, f"no room for {len(request.params) >> 2} parameters")
            number = next(self._ids)
            self._taken[number] = request
            if meta:
                return number, request
            self._sync_id = number
            return 0, request

    def send(self, ret: int, answer: tuple[int, ...], task: "Task") -> None:
        """optee_supp_send: ``task`` answers, with the numbers of its parameters. OSError(EINVAL, ENOENT, EFAULT)."""
        with self._lock:
            if self._sync_id >= 0:
                number = self._sync_id
            else:
                if answer[:1] != (META,):
                    raise OSError(errno.EINVAL, "the answer does not say which request it answers")
                number, answer = answer[1], answer[4:]
            request = self._taken.get(number)
            if request is None:
                self._sync_id = -1  # withdrawn meanwhile: with this answer the supplicant is free again
                raise OSError(errno.ENOENT, f"nobody waits for an answer to request {number}")
            params = request.params
            if len(answer) != len(params):
                raise OSError(errno.EINVAL, f"{len(answer) >> 2} parameters answer {len(params) >> 2}")
            del self._taken[number]
            self._sync_id = -1
        try:
            for at in request.outputs:
                if params[at] in VALUES:
                    params[at + 1 : at + 4] = answer[at + 1 : at + 4]
                else:
                    params[at + 2] = answer[at + 2]
            for at, shm in request.copied:
                if at in request.outputs:
                    shm.copy_in(task)
            request.ret = ret
        finally:
            request.complete()
