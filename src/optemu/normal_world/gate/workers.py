"""Who receives. Mostly one thread, which serves what it received itself: handing a call on costs as much as the call.

A worker that does not come back soon, or is about to enter a call known to wait, hands its *slot* (the right to
receive) to another, and stands by when it is done. When several clients make calls that take long enough to be worth
it, there is a slot for each processor, and its worker is bound to that processor: otherwise the scheduler, which
wakes a worker beside the client that called it, would put two working threads on one processor.
"""

import logging
import os
import select
import threading
from collections.abc import Callable
from typing import Final

from optemu.normal_world.gate.client import Client
from optemu.normal_world.gate.descriptors import Descriptor

log = logging.getLogger("optemu.gate")

MAX_WORKERS: Final = 512
HAND_OVER_AFTER: Final = 0.0004
_MOST_SLOTS: Final = 4
_SPARE_WORKERS: Final = 4
_CROWD_LASTS: Final = 0.1
_ANY_CPU: Final = -1


class Worker:
    """A serving thread. ``started`` is when its call came in, 0.0 between calls."""

    __slots__ = ("baton", "call", "client", "cpu", "device", "index", "slot", "started", "thread", "told")

    def __init__(self, index: int) -> None:
        self.index = index
        self.baton = threading.Lock()
        self.baton.acquire()
        self.thread: threading.Thread | None = None
        self.slot: Slot | None = None
        self.cpu = _ANY_CPU
        self.call = 0
        self.started = 0.0
        self.client: Client | None = None
        self.device: Descriptor | None = None
        self.told = False


class Slot:
    """The right to receive, on ``cpu`` or anywhere."""

    __slots__ = ("cpu", "seen", "worker")

    def __init__(self, worker: Worker, cpu: int) -> None:
        self.worker = worker
        self.cpu = cpu
        self.seen = 0


class Workers:
    """The threads behind one listener. ``receive`` is run by a worker while it has a slot."""

    def __init__(self, listener: int, receive: Callable[[Worker], None], may_crowd: bool) -> None:
        self._receive = receive
        self._lock = threading.Lock()
        self._workers: dict[int, Worker] = {}
        self._parked: list[Worker] = []
        self._slots: list[Slot] = []
        self._cpus = sorted(os.sched_getaffinity(0))
        self._may_crowd = may_crowd and len(self._cpus) > 1
        self._listener = listener
        self._crowded_at = 0.0
        self.crowded = False
        self.stopping = False

    def start(self) -> None:
        self._give(Slot(self._new(), _ANY_CPU))

    def all(self) -> list[Worker]:
        return list(self._workers.values())

    def _new(self) -> Worker:
        index = next(index for index in range(MAX_WORKERS + 1) if index not in self._workers)
        worker = Worker(index)
        name = f"optemu-gate-{index}"
        worker.thread = threading.Thread(target=self._work, args=(worker,), name=name, daemon=True)
        self._workers[index] = worker
        try:
            worker.thread.start()
        except RuntimeError:
            del self._workers[index]
            raise
        if self.crowded:  # a thread inherits the processors of the one that makes it
            self._bind(worker, _ANY_CPU, known=False)
        return worker

    def _give(self, slot: Slot) -> None:
        slot.worker.slot = slot
        self._slots.append(slot)
        slot.worker.baton.release()

    def _work(self, worker: Worker) -> None:
        while True:
            worker.baton.acquire()
            if not self.stopping:
                self._receive(worker)
            if not self._park(worker):
                return

    def _park(self, worker: Worker) -> bool:
        """Stand by, unless enough others do."""
        with self._lock:
            self._bind(worker, _ANY_CPU)
            for slot in self._slots:
                self._bind(slot.worker, slot.cpu)
            if self.stopping or len(self._parked) >= _SPARE_WORKERS:
                del self._workers[worker.index]
                return False
            self._parked.append(worker)
            return True

    def _bind(self, worker: Worker, cpu: int, known: bool = True) -> None:
        if (worker.cpu != cpu or not known) and worker.thread is not None and worker.thread.native_id is not None:
            worker.cpu = cpu
            try:
                os.sched_setaffinity(worker.thread.native_id, self._cpus if cpu == _ANY_CPU else (cpu,))
            except OSError as error:  # the thread is just ending, or the processors have changed
                log.debug("cannot bind thread %d to processor %d: %s", worker.index, cpu, error)

    def hand_over(self, worker: Worker, waits: bool) -> None:
        """Another thread receives from now on in ``worker``'s place; ``waits`` if its call needs no processor."""
        with self._lock:
            slot = worker.slot
            if slot is None or self.stopping:
                return
            if worker.client is not None:
                worker.client.late = True
                worker.client.forget_window()
            successor = self._idle_worker()
            if successor is None:
                return
            worker.slot = None
            slot.worker = successor
            successor.slot = slot
            if waits:
                self._bind(worker, _ANY_CPU)
                self._bind(successor, slot.cpu)
            successor.baton.release()

    def _idle_worker(self) -> Worker | None:
        if self._parked:
            return self._parked.pop()
        if len(self._workers) >= MAX_WORKERS:
            return None
        try:
            return self._new()
        except RuntimeError as error:
            log.warning("no further serving thread (%s); other calls wait for this one", error)
            return None

    def crowd(self, now: float) -> None:
        """Calls of several clients would keep each other waiting: one slot for each processor, for a while."""
        self._crowded_at = now
        if self.crowded or not self._may_crowd:
            return
        with self._lock:
            if self.crowded or self.stopping:
                return
            self.crowded = True
            for cpu in self._cpus[1:_MOST_SLOTS]:
                worker = self._idle_worker()
                if worker is not None:
                    self._bind(worker, cpu)
                    self._give(Slot(worker, cpu))
            self._slots[0].cpu = self._cpus[0]
            self._bind(self._slots[0].worker, self._cpus[0])

    def _disperse(self) -> None:
        """The extra workers stand by after the next call each receives."""
        with self._lock:
            self.crowded = False
            for slot in self._slots[1:]:
                slot.worker.slot = None
            del self._slots[1:]
            self._slots[0].cpu = _ANY_CPU
            self._bind(self._slots[0].worker, _ANY_CPU)

    def check(self, now: float) -> bool:
        """Hands over what is late, if nobody receives; whether any call came in since the last check."""
        active, receiving = False, False
        for slot in self._slots:
            worker = slot.worker
            active |= bool(worker.started) or worker.call != slot.seen
            receiving |= not worker.started
            slot.seen = worker.call
        if not receiving and (not self.crowded or self._call_waits()):
            self._hand_over_late(now)
        if self.crowded and now - self._crowded_at > _CROWD_LASTS:
            self._disperse()
        return active

    def _hand_over_late(self, now: float) -> None:
        for slot in self._slots:
            started = slot.worker.started
            if started and now - started > HAND_OVER_AFTER:
                self.hand_over(slot.worker, waits=False)
                return

    def _call_waits(self) -> bool:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        return bool(poll.poll(0))

    def is_serving(self) -> bool:
        """Whether a worker that is to receive is inside a call."""
        return any(slot.worker.started for slot in self._slots)

    def begin_stop(self) -> None:
        """Those standing by end; those receiving end with the next notification."""
        with self._lock:
            self.stopping = True
            for worker in self._parked:
                worker.baton.release()
            self._parked.clear()
