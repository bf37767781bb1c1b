"""How processes reach the driver that cannot be put behind the gate, or whose driver is in another process."""

from optemu.normal_world.preload.attach import connect, run_behind_gate
from optemu.normal_world.preload.launch import environment, run
from optemu.normal_world.preload.server import Server

__all__ = ["Server", "connect", "environment", "run", "run_behind_gate"]
