"""``optemu run``: start an unmodified program that uses the TEE."""

import argparse
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from optemu.board.config import Config, ConfigError
from optemu.cli.common import add_machine_options, config_from, default_socket, fail, make_machine, start_log
from optemu.cli.tracing import Tracing, add_trace_options

if TYPE_CHECKING:
    from optemu.machine import Machine
    from optemu.normal_world.driver.interface import File, Task
    from optemu.normal_world.program import Plan


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
    p.add_argument(
        "--via",
        choices=("gate", "preload"),
        help="how the program's calls are taken: by the kernel for us (gate), or by a library loaded into it (preload, "
        "which programs under qemu-user need); default: what can be done here, the gate first",
    )
    p.add_argument(
        "--attach",
        metavar="SOCKET",
        nargs="?",
        type=Path,
        const=default_socket(),
        help="use the TEE of a running optemu serve instead of one of its own",
    )
    p.add_argument("-v", "--verbose", action="store_true", help="say which way was taken, and why")
    p.add_argument("command", metavar="PROGRAM", nargs=argparse.REMAINDER, help="the program and its arguments")
    p.set_defaults(run=run)


_OF_THE_SERVER: dict[str, object] = {
    "ta_dir": [],
    "state": None,
    "seed": None,
    "supplicant": "builtin",
    "plugin_dir": None,
    "trace": False,
    "output": None,
}
"""Options that make no sense with ``--attach``, and their defaults."""


class RunError(Exception):
    """No TEE to attach to, or no library to load; the message says why."""


class LazyDevice:
    """The machine's devices; the machine is powered on when a program first opens one."""

    def __init__(self, config: Config, args: argparse.Namespace, tracing: Tracing) -> None:
        """OSError: the state directory cannot be used, or somebody else works on it."""
        from optemu.normal_world.state import StateDir

        self._config, self._args, self._tracing = config, args, tracing
        self._state = StateDir(config.state)
        self._lock = threading.Lock()
        self.machine: Machine | None = None

    def open(self, path: str, task: "Task") -> "File":
        with self._lock:
            if self.machine is None:
                self._tracing.start()
                self.machine = make_machine(self._config, self._args, self._tracing.tracer, self._state)
        return self.machine.device.open(path, task)

    def abandon_calls(self) -> None:
        if self.machine is not None:
            self.machine.abandon_calls()

    def power_off(self) -> None:
        if self.machine is not None:
            self.machine.power_off()
        self._state.close()


def run(args: argparse.Namespace) -> int:
    from optemu.normal_world.gate import GateError, exit_as, support
    from optemu.normal_world.program import NAMES, RoadError, plan

    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        return fail("run", "which program? optemu run [options] -- PROGRAM [ARGS...]")
    check = support.check if args.attach is None else support.check_attached
    try:
        config = _config(args)
        start_log(config, args.log)
        tracing = Tracing(args)
        road = plan(command, args.via, lambda: check().reason)
        device = LazyDevice(config, args, tracing)
    except (ConfigError, OSError, RoadError) as e:
        return fail("run", e)
    if args.verbose:
        print(f"optemu run: by way of the {NAMES[road.road]} ({road.because})", file=sys.stderr)
    try:
        with tracing:
            try:
                status = _run(device, road) if args.attach is None else _run_attached(args.attach, road)
            finally:
                device.power_off()
    except (GateError, RunError) as e:
        return fail("run", e)
    except OSError as e:
        print(f"optemu run: {command[0]}: {e.strerror}", file=sys.stderr)
        return 127 if isinstance(e, FileNotFoundError) else 126
    exit_as(status)


def _config(args: argparse.Namespace) -> Config:
    """ConfigError, also for options that are the server's."""
    given = [name for name, default in _OF_THE_SERVER.items() if getattr(args, name) != default]
    if given and args.attach is not None:
        raise ConfigError(f"--{given[0].replace('_', '-')} is for optemu serve, whose TEE the program will use")
    return config_from(args)


def _run(device: LazyDevice, road: "Plan") -> int:
    """With a TEE of its own."""
    from optemu.normal_world.gate import Gate
    from optemu.normal_world.program import GATE

    if road.road == GATE:
        with Gate(device) as gate:
            try:
                return gate.run(road.argv)
            finally:
                device.abandon_calls()
    from optemu.normal_world import preload

    library = _library(road)
    with tempfile.TemporaryDirectory(prefix="optemu-") as private:
        path = Path(private) / "socket"
        with preload.Server(device, path):
            try:
                return preload.run(road.argv, preload.environment(os.environ, str(path), library, road.emulated))
            finally:
                device.abandon_calls()


def _run_attached(path: Path, road: "Plan") -> int:
    """With the TEE that listens at ``path``."""
    from optemu.normal_world import preload
    from optemu.normal_world.program import GATE

    try:
        server = preload.connect(path)
    except OSError as e:
        raise RunError(e.strerror) from e
    with server:
        if road.road == GATE:
            return preload.run_behind_gate(server, road.argv, os.environ)
    return preload.run(road.argv, preload.environment(os.environ, str(path), _library(road), road.emulated))


def _library(road: "Plan") -> str:
    from optemu.sdk.toolchain import BuildError, Toolchain, preload_library

    try:
        return str(preload_library(Toolchain(lambda text: print(text, file=sys.stderr)), road.machine))
    except BuildError as e:
        raise RunError(e) from e
