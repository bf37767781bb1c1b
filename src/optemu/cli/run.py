"""``optemu run``: start an unmodified program that uses the TEE."""

import argparse
import sys
import threading
from typing import TYPE_CHECKING

from optemu.board.config import Config, ConfigError
from optemu.cli.common import add_machine_options, config_from, fail, make_machine, start_log
from optemu.cli.tracing import Tracing, add_trace_options

if TYPE_CHECKING:
    from optemu.machine import Machine
    from optemu.normal_world.gate.interface import File, Task


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    p = verbs.add_parser(
        "run",
        help="run a program that uses the TEE",
        description="Run an unmodified Linux program. Its /dev/tee0 is a machine of its own, powered on when it is "
        "first opened. Terminal, standard streams and signals are the program's; so is the exit status.",
        usage="optemu run [options] -- PROGRAM [ARGS...]",
    )
    add_machine_options(p)
    add_trace_options(p)
    p.add_argument("command", metavar="PROGRAM", nargs=argparse.REMAINDER, help="the program and its arguments")
    p.set_defaults(run=run)


class LazyDevice:
    """The machine's devices; the machine is powered on when a program first opens one."""

    def __init__(self, config: Config, args: argparse.Namespace, tracing: Tracing) -> None:
        self._config, self._args, self._tracing = config, args, tracing
        self._lock = threading.Lock()
        self.machine: Machine | None = None

    def open(self, path: str, task: "Task") -> "File":
        with self._lock:
            if self.machine is None:
                self._tracing.start()
                self.machine = make_machine(self._config, self._args, self._tracing.tracer)
        return self.machine.device.open(path, task)

    def power_off(self) -> None:
        if self.machine is not None:
            self.machine.power_off()


def run(args: argparse.Namespace) -> int:
    from optemu.normal_world.gate import Gate, GateError, exit_as

    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        return fail("run", "which program? optemu run [options] -- PROGRAM [ARGS...]")
    try:
        config = config_from(args)
        start_log(config, args.log)
        tracing = Tracing(args)
    except (ConfigError, OSError) as e:
        return fail("run", e)
    with tracing:
        device = LazyDevice(config, args, tracing)
        gate = Gate(device)
        try:
            status = gate.run(command)
        except GateError as e:
            return fail("run", e)
        except OSError as e:
            print(f"optemu run: {command[0]}: {e.strerror}", file=sys.stderr)
            return 127 if isinstance(e, FileNotFoundError) else 126
        finally:
            if device.machine is not None:
                device.machine.abandon_calls()
            gate.stop()
            device.power_off()
    exit_as(status)
