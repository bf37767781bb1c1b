"""How processes reach the driver that cannot be put behind the gate: a library loaded into them, and this server."""

from optemu.normal_world.preload.launch import environment, run
from optemu.normal_world.preload.server import Server

__all__ = ["Server", "environment", "run"]
