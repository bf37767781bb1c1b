"""Taking times, and running a compiled client under ``optemu run``."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

HERE = Path(__file__).parent
CALLS = 5000


class Figures(NamedTuple):
    """us of one call."""

    low: float
    p50: float
    p99: float


class Built(NamedTuple):
    """What the benchmarks are made with: the directory of TAs, and the client, which prints what calls took."""

    tas: Path
    client: Path


def percentiles(took: list[int]) -> Figures:
    """Of nanoseconds."""
    took.sort()
    return Figures(took[0] / 1000, took[len(took) // 2] / 1000, took[len(took) * 99 // 100] / 1000)


def measure(call: Callable[[], object], count: int = CALLS) -> Figures:
    took = []
    for _ in range(count):
        start = time.perf_counter_ns()
        call()
        took.append(time.perf_counter_ns() - start)
    return percentiles(took)


def gate_run(tas: Path, *command: str) -> list[list[int]]:
    """What the client prints, a list for each line, when ``command`` runs under ``optemu run``."""
    run = [sys.executable, "-m", "optemu", "run", "--log-level", "none", "--ta-dir", str(tas), "--"]
    done = subprocess.run([*run, *command], capture_output=True, text=True, check=True)
    return [[int(number) for number in line.split()] for line in done.stdout.splitlines()]


def through_the_gate(built: Built, uuid: UUID, command: int, *args: int, count: int = CALLS) -> Figures:
    """One invoke of ``count`` by an unmodified, compiled client; ``args`` are a and b of p0, and the size of p1."""
    numbers = map(str, (command, count, *args))
    ((low, middle, high, _),) = gate_run(built.tas, str(built.client), uuid.hex, *numbers)
    return Figures(low / 1000, middle / 1000, high / 1000)
