"""Waiting in the secure world. Mirrors core/kernel/wait_queue.c and core/kernel/mutex.c.

A secure thread that must wait leaves the core to the normal world: it asks by RPC to be woken by its number
(OPTEE_RPC_CMD_NOTIFICATION), and whoever wakes it asks by RPC as well. Critical sections are short and never
wait: a plain lock stands for the spin lock, and it is never held across an RPC.
"""

import threading
from collections import deque
from typing import Protocol


class Sleeper(Protocol):
    """A secure thread, as far as waiting goes."""

    def sleep(self) -> None: ...

    def wake(self, other: "Sleeper") -> None: ...


class _Waiter:
    __slots__ = ("thread", "woken")

    def __init__(self, thread: Sleeper) -> None:
        self.thread = thread
        self.woken = False


class Condvar:
    """Waiters on a condition that ``lock`` protects."""

    __slots__ = ("waiters",)

    def __init__(self) -> None:
        self.waiters: deque[_Waiter] = deque()
        """With the lock held: who waits."""

    def wait(self, thread: Sleeper, lock: threading.Lock) -> None:
        """Release ``lock``, sleep until woken, take ``lock`` again. The caller tests its condition in a loop."""
        waiter = _Waiter(thread)
        self.waiters.append(waiter)
        lock.release()
        try:
            while not waiter.woken:
                thread.sleep()
        finally:
            lock.acquire()

    def take(self, *, everyone: bool = False) -> list[Sleeper]:
        """With the lock held: who is to be woken. Hand them to ``wake`` after its release."""
        woken: list[Sleeper] = []
        while self.waiters and (everyone or not woken):
            waiter = self.waiters.popleft()
            waiter.woken = True
            woken.append(waiter.thread)
        return woken


def wake(thread: Sleeper, woken: list[Sleeper]) -> None:
    """Without the lock: wake those that ``take`` chose."""
    for other in woken:
        thread.wake(other)


class Mutex:
    """struct mutex: held by one writer, or by any number of readers."""

    __slots__ = ("_free", "_lock", "_state")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free = Condvar()
        self._state = 0
        """How many readers hold it; -1 for a writer."""

    def lock(self, thread: Sleeper) -> None:
        """mutex_lock."""
        with self._lock:
            while self._state:
                self._free.wait(thread, self._lock)
            self._state = -1

    def unlock(self, thread: Sleeper) -> None:
        """mutex_unlock."""
        with self._lock:
            assert self._state == -1, "no writer holds the mutex"
            self._state = 0
            if not self._free.waiters:
                return
            woken = self._free.take(everyone=True)
        wake(thread, woken)

    def read_lock(self, thread: Sleeper) -> None:
        """mutex_read_lock."""
        with self._lock:
            while self._state < 0:
                self._free.wait(thread, self._lock)
            self._state += 1

    def read_unlock(self, thread: Sleeper) -> None:
        """mutex_read_unlock."""
        with self._lock:
            assert self._state > 0, "no reader holds the mutex"
            self._state -= 1
            if self._state or not self._free.waiters:
                return
            woken = self._free.take(everyone=True)
        wake(thread, woken)


class Held:
    """For ``with``: ``thread`` holds ``mutex``, as its writer."""

    __slots__ = ("_mutex", "_thread")

    def __init__(self, mutex: Mutex, thread: Sleeper) -> None:
        self._mutex, self._thread = mutex, thread

    def __enter__(self) -> None:
        self._mutex.lock(self._thread)

    def __exit__(self, *exc: object) -> None:
        self._mutex.unlock(self._thread)
