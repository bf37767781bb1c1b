"""How real processes reach the driver: seccomp user notification, answered from this process."""

from optemu.normal_world.gate.gate import Gate
from optemu.normal_world.gate.launcher import GateError, exit_as

__all__ = ["Gate", "GateError", "exit_as"]
