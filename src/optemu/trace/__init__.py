"""Events of both worlds on one clock. Recording is record.py; the sinks are text.py, jsonl.py, perfetto.py."""

from optemu.trace.point import EL, Point, World
from optemu.trace.record import Tracer

__all__ = ["EL", "Point", "Tracer", "World"]
