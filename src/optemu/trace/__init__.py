"""Events of both worlds on one clock (temporary recording half, the trace room replaces it)."""

from dataclasses import dataclass
from enum import Enum
from threading import get_ident
from time import perf_counter_ns
from typing import Any


class World(Enum):
    NORMAL = "normal"
    MONITOR = "monitor"
    SECURE = "secure"


class EL(Enum):
    EL0 = "EL0"
    EL1 = "EL1"
    EL3 = "EL3"
    S_EL1 = "S-EL1"
    S_EL0 = "S-EL0"


@dataclass(frozen=True, slots=True)
class Point:
    name: str
    world: World
    el: EL
    layer: str
    args: str = ""
    result: str = ""
    where: str = ""
    upstream: str = ""


class Tracer:
    __slots__ = ("events", "on")

    def __init__(self) -> None:
        self.on = False
        self.events: list[Any] = []

    def enter(self, point: Point, *args: Any) -> None:
        self.events.append((perf_counter_ns(), get_ident(), "B", point, args))

    def exit(self, point: Point, *args: Any) -> None:
        self.events.append((perf_counter_ns(), get_ident(), "E", point, args))

    def mark(self, point: Point, *args: Any) -> None:
        self.events.append((perf_counter_ns(), get_ident(), "i", point, args))
