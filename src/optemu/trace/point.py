"""Trace points: the declared places where a call is seen."""

from dataclasses import dataclass
from enum import Enum


class World(Enum):
    __hash__ = object.__hash__
    """Members are singletons; Enum's own hash is slow, and the sinks look things up by world all the time."""

    NORMAL = "normal"
    MONITOR = "monitor"
    SECURE = "secure"


class EL(Enum):
    __hash__ = object.__hash__

    EL0 = "EL0"
    EL1 = "EL1"
    EL3 = "EL3"
    S_EL1 = "S-EL1"
    S_EL0 = "S-EL0"


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """One place in the code, declared once beside it and passed to every event recorded there.

    ``args`` and ``result`` name what is recorded on the way in and out, ``label:kind`` for each, separated by
    blanks (``"cmd:msg_cmd session:dec"``); the kinds are in trace/kinds.py. ``where`` is our function,
    ``upstream`` the file it mirrors.
    """

    name: str
    world: World
    el: EL
    layer: str
    args: str = ""
    result: str = ""
    where: str = ""
    upstream: str = ""
