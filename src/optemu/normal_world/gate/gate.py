"""The gate: runs unmodified Linux programs and serves their /dev/tee0 and /dev/teepriv0 from this process."""

import contextlib
import fcntl
import logging
import mmap
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Self

from optemu.normal_world.driver.interface import Device
from optemu.normal_world.gate import kernel
from optemu.normal_world.gate.descriptors import Descriptor, Descriptors
from optemu.normal_world.gate.janitor import Janitor
from optemu.normal_world.gate.launcher import Launch, Signals, launch
from optemu.normal_world.gate.receiver import Receiver
from optemu.normal_world.gate.watchdog import Watchdog
from optemu.normal_world.gate.workers import MAX_WORKERS

log = logging.getLogger("optemu.gate")

_SWITCH_INTERVAL: Final = 0.0005
_STOP_TIMEOUT: Final = 2.0


class Gate:
    """Serves ``device`` to the programs it runs, and to theirs. ``run`` may be called again, also concurrently."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._receivers: list[Receiver] = []
        self._launches: list[tuple[Launch, Receiver | None]] = []
        self._adopted: dict[Receiver, Callable[[], None]] = {}
        self._switch_interval = sys.getswitchinterval()
        self._janitor: Janitor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> int:
        """Runs a program to its end; its exit status, or minus the signal that ended it.

        Processes it leaves behind are served until ``stop``. Raises OSError if it cannot be executed, GateError if
        this machine cannot do it.
        """
        signals = Signals()
        calls = mmap.mmap(-1, 8 * MAX_WORKERS)
        with signals.taken():
            started = launch(argv, os.environ if env is None else env, calls, signals)
            receiver = self._serve(started.listener, calls)
            self._launches.append((started, receiver))
            signals.attach(started)
            status = started.wait()
        if not started.leftovers:
            self._finish(started, receiver)
        return status

    def adopt(self, listener: int, calls: mmap.mmap, knock: Callable[[], None]) -> Receiver:
        """Serves programs that another process has launched, whose ``listener`` is ours now (see attach.py)."""
        receiver = self._serve(listener, calls)
        assert receiver is not None
        self._adopted[receiver] = knock
        return receiver

    def release(self, receiver: Receiver) -> None:
        """The process that launched them has gone, and its keeper answers for us. Returns when they have gone, too."""
        if self._adopted.pop(receiver, None) is not None:
            self._end(receiver, lambda: None, threading.TIMEOUT_MAX)

    def stop(self) -> None:
        """Ends serving: pending calls are interrupted, every file is closed. The gate may be used again."""
        for started, receiver in list(self._launches):
            self._finish(started, receiver)
        while self._adopted:
            self._end(*self._adopted.popitem())
        if self._janitor is not None:
            self._janitor.run(self._descriptors.close)
            self._janitor.run(self._watchdog.close)
            self._janitor.stop()
            self._janitor = None
            sys.setswitchinterval(self._switch_interval)

    def _serve(self, listener: int | None, calls: mmap.mmap) -> Receiver | None:
        if listener is None:
            log.warning("this is inside another optemu run already: that one serves /dev/tee0 to the program")
            return None
        self._start_janitor()
        with contextlib.suppress(OSError):  # Linux 6.6; slower without
            fcntl.ioctl(listener, kernel.NOTIF_SET_FLAGS, kernel.FD_SYNC_WAKE_UP)
        slots = memoryview(calls).cast("Q")
        receiver = Receiver(listener, self._device, self._descriptors, self._watchdog, slots)
        self._receivers.append(receiver)
        return receiver

    def _start_janitor(self) -> None:
        """Not before the first fork: a process with threads forks badly."""
        if self._janitor is None:
            self._janitor = Janitor()
            self._descriptors = Descriptors(self._janitor, self._is_inside, self._hung_up)
            self._watchdog = Watchdog(self._janitor, self._receivers, self._paused)
            self._switch_interval = sys.getswitchinterval()
            sys.setswitchinterval(min(self._switch_interval, _SWITCH_INTERVAL))

    def _finish(self, started: Launch, receiver: Receiver | None) -> None:
        self._launches.remove((started, receiver))
        if receiver is not None:
            self._end(receiver, started.knock)
        started.close()

    def _end(self, receiver: Receiver, knock: Callable[[], None], timeout: float = _STOP_TIMEOUT) -> None:
        if self._janitor is None:
            return
        receiver.begin_stop(knock)
        if not receiver.end_stop(timeout):
            log.error("calls of the client's did not end when interrupted; their threads are left behind")
        if self._janitor is None:
            return
        self._receivers.remove(receiver)
        # hang-ups that have happened are reported in at most two rounds
        self._janitor.run(lambda: None)
        self._janitor.run(lambda: None)

    def _is_inside(self, device: Descriptor) -> bool:
        return any(receiver.is_inside(device) for receiver in self._receivers)

    def _hung_up(self, device: Descriptor) -> None:
        for receiver in self._receivers:
            receiver.interrupt_device(device)

    def _paused(self) -> None:
        for receiver in self._receivers:
            receiver.forget_gone_clients()
