"""The thread that waits for everything that is not a call: hang-ups, closed memory, the watchdog's tick."""

import logging
import os
import select
import threading
from collections import deque
from collections.abc import Callable

log = logging.getLogger("optemu.gate")


class Janitor:
    """Runs ``action`` when a watched descriptor hangs up, or as soon as it can when one is posted."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._actions: dict[int, Callable[[], None]] = {}
        self._posted: deque[Callable[[], None]] = deque()
        self._fresh: set[int] = set()
        """Watched since the last poll: what that one said of the number was about a descriptor closed meanwhile."""
        self._stopping = False
        self.watch(self._wake, self._run_posted, readable=True)
        self._thread = threading.Thread(target=self._run, name="optemu-gate-janitor", daemon=True)
        self._thread.start()

    def watch(self, fd: int, action: Callable[[], None], readable: bool = False) -> None:
        self._fresh.add(fd)
        self._actions[fd] = action
        self._epoll.register(fd, select.EPOLLIN if readable else 0)

    def forget(self, fd: int) -> None:
        """Before ``fd`` is closed, on the janitor's own thread."""
        if self._actions.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def post(self, action: Callable[[], None]) -> None:
        self._posted.append(action)
        os.eventfd_write(self._wake, 1)

    def run(self, action: Callable[[], None]) -> None:
        """Posts ``action`` and waits until it has run."""
        done = threading.Event()
        self.post(action)
        self.post(done.set)
        done.wait()

    def stop(self) -> None:
        self._stopping = True
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        self._epoll.close()
        os.close(self._wake)

    def _run_posted(self) -> None:
        os.eventfd_read(self._wake)
        while self._posted:
            self._guarded(self._posted.popleft())

    def _run(self) -> None:
        while not self._stopping:
            self._fresh.clear()
            for fd, _ in self._epoll.poll():
                action = self._actions.get(fd)
                if action is not None and fd not in self._fresh:
                    self._guarded(action)

    @staticmethod
    def _guarded(action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:
            log.exception("the gate's janitor failed at %r; it goes on with the next event", action)
