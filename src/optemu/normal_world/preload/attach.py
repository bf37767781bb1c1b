"""Programs behind a gate whose device is in another process: that one gets the listener; the keeper stays ours."""

import errno
import mmap
import os
import signal
import socket
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from optemu.normal_world.gate.launcher import GateError, Launch, Signals, launch
from optemu.normal_world.gate.workers import MAX_WORKERS
from optemu.normal_world.preload import wire


def connect(path: Path) -> socket.socket:
    """A connection to the server at ``path``; OSError that says where none was found."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.connect(str(path))
        _say(sock, wire.HELLO, wire.VERSION)
        if wire.TO_CLIENT.unpack(sock.recv(wire.TO_CLIENT.size))[:2] != (wire.DONE, 0):
            raise OSError(errno.EPROTO, "it is of another version")
    except (OSError, struct.error) as error:
        sock.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise OSError(errno.ECONNREFUSED, f"no optemu serve answers at {path} ({reason})") from None
    return sock


def run_behind_gate(server: socket.socket, argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Runs a program served by the process that ``server`` is connected to; its status as from ``Gate.run``.

    Processes it leaves behind go on being served. OSError if it cannot be executed; GateError.
    """
    signals = Signals()
    shared = os.memfd_create("optemu-calls", os.MFD_CLOEXEC)
    os.ftruncate(shared, 8 * MAX_WORKERS)
    with signals.taken():
        started = launch(argv, env, mmap.mmap(shared, 8 * MAX_WORKERS), signals, server.fileno())
        try:
            if started.listener is not None:
                _attach(server, started, [started.listener, shared])
            signals.attach(started)
            return started.wait()
        finally:
            started.close()


def _say(sock: socket.socket, kind: int, cmd: int = 0, fds: Sequence[int] = ()) -> None:
    socket.send_fds(sock, [wire.TO_SERVER.pack(kind, cmd, 0, 0, -1, 0)], fds)


def _attach(server: socket.socket, started: Launch, fds: list[int]) -> None:
    """Gives the listener away."""
    _say(server, wire.ATTACH)
    while True:
        kind, result, which, _ = wire.TO_CLIENT.unpack(server.recv(wire.TO_CLIENT.size))
        if kind != wire.FETCH:
            break
        _say(server, wire.DESCRIPTOR, fds=[fds[which]])
    for fd in fds:
        os.close(fd)
    if result:
        started.send_signal(signal.SIGKILL)
        raise GateError(f"the server did not take the program over: {os.strerror(-result)}")
    started.attached()
