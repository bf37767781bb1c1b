"""What a call costs, beside the floor (a unix-socket round trip between two processes) of the same run."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from uuid import UUID

from benchmarks.common import Built, Figures, gate_run, measure, percentiles, through_the_gate
from optemu.machine import Machine
from optemu.normal_world.libteec import RegisteredMemref, Value
from optemu.trace import Tracer

QUIET = UUID("b2617ad4-7189-4dd4-97de-cf860415c962")
DEMO = UUID("e3a1d2c0-5b0f-4f0c-9d3e-6f7074656d75")
WORK, WORK_ROUNDS = 3, 100_000
INSTANCES = 16


def floor() -> Figures:
    """One message there and back between two processes."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        while data := theirs.recv(64):
            theirs.send(data)
        os._exit(0)
    theirs.close()
    figures = measure(lambda: (ours.send(b"x" * 24), ours.recv(64)))
    ours.close()
    os.wait()
    return figures


COLD = """
import sys, time, uuid
from optemu.machine import Machine
with Machine(ta_dirs=[sys.argv[1]]) as machine, machine.connect() as context:
    start = time.perf_counter_ns()
    context.OpenSession(uuid.UUID(sys.argv[2])).CloseSession()
    print(time.perf_counter_ns() - start)
"""


def cold_open(tas: Path) -> Figures:
    """The first open and close of a machine, in a process of its own each time."""
    took = [int(subprocess.check_output([sys.executable, "-c", COLD, str(tas), str(QUIET)])) for _ in range(9)]
    return percentiles(took)


def two_clients(built: Built) -> float:
    """How much more two clients get done than one, each calling an instance of its own that computes for about 1 ms."""
    call = f"{built.client} {QUIET.hex} {WORK} 1000 {WORK_ROUNDS}"
    ((*_, alone),) = gate_run(built.tas, "sh", "-c", call)
    both = max(line[-1] for line in gate_run(built.tas, "sh", "-c", f"{call} & {call}; wait"))
    return 2 * alone / both


def instance_memory(tas: Path) -> float:
    """MiB of memory that each further instance of a TA takes."""
    with Machine(ta_dirs=[tas]) as machine, machine.connect() as context:
        sessions = [context.OpenSession(QUIET)]
        before = _resident()
        sessions += [context.OpenSession(QUIET) for _ in range(INSTANCES)]
        grown = _resident() - before
        for session in sessions:
            session.CloseSession()
    return grown / INSTANCES / (1 << 20)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def rows(built: Built) -> list[tuple[str, Figures]]:
    table = [("floor: unix socket round trip", floor())]
    table.append(("open + close of a signed TA, cold", cold_open(built.tas)))
    tracer = Tracer()
    with Machine(ta_dirs=[built.tas], trace=tracer) as machine, machine.connect() as context:
        context.OpenSession(QUIET).CloseSession()
        table.append(("open + close, warm", measure(lambda: context.OpenSession(QUIET).CloseSession(), 300)))
        with context.OpenSession(QUIET) as session, context.AllocateSharedMemory(1 << 20) as shm:
            value, memory = Value.inout(1), RegisteredMemref.inout(shm)
            table.append(("invoke of a user TA, in process", measure(lambda: session.invoke(0, value))))
            table.append(("with 1 MiB of shared memory", measure(lambda: session.invoke(1, memory))))
            tracer.on = True
            table.append(("with the trace on", measure(lambda: session.invoke(0, value))))
            tracer.on = False
        with context.OpenSession(DEMO) as session:
            table.append(("invoke of a static TA, in process", measure(lambda: session.invoke(0))))
    table.append(("invoke of a user TA, through the gate", through_the_gate(built, QUIET, 0)))
    table.append(("invoke of a static TA, through the gate", through_the_gate(built, DEMO, 0)))
    run = [sys.executable, "-m", "optemu", "run", "--", "true"]
    table.append(("optemu run -- true", measure(lambda: subprocess.run(run, check=True), 10)))
    return table


def report(built: Built) -> None:
    table = rows(built)
    base = table[0][1].p50
    print(f"{'us':<42} {'min':>10} {'p50':>10} {'p99':>10}  p50 / floor")
    for name, (low, middle, high) in table:
        print(f"{name:<42} {low:>10.1f} {middle:>10.1f} {high:>10.1f}  {middle / base:>8.1f}")
    print(f"two clients on two cores that compute for 1 ms a call: {two_clients(built):.2f} times one")
    print(f"each further instance of a TA: {instance_memory(built.tas):.1f} MiB")
