"""``optemu serve``: a TEE that several programs share."""

import argparse
import signal
import sys
from pathlib import Path

from optemu.board.config import ConfigError
from optemu.cli.common import add_machine_options, config_from, default_socket, fail, make_machine, start_log
from optemu.cli.tracing import Tracing, add_trace_options


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    p = verbs.add_parser(
        "serve",
        help="power a machine on for programs to share",
        description="Power a machine on and serve its TEE over a socket until interrupted. Programs of this user's use "
        "it with optemu run --attach.",
    )
    p.add_argument(
        "--socket", metavar="PATH", type=Path, help="where to listen (default: optemu.socket in XDG_RUNTIME_DIR)"
    )
    add_machine_options(p)
    add_trace_options(p)
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from optemu.normal_world.gate import Gate
    from optemu.normal_world.gate.launcher import raise_nofile
    from optemu.normal_world.preload import Server

    path: Path = args.socket or default_socket()
    stopped = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    try:
        config = config_from(args)
        start_log(config, args.log)
        tracing = Tracing(args)
        path.parent.mkdir(parents=True, exist_ok=True)
        signal.pthread_sigmask(signal.SIG_BLOCK, stopped)  # before there are threads, which inherit it
        raise_nofile()
        with tracing, make_machine(config, args, tracing.tracer) as machine:
            tracing.start()
            gate = Gate(machine.device)
            with Server(machine.device, path, gate), gate:
                print(f"optemu serve: listening at {path}", file=sys.stderr, flush=True)
                signal.sigwait(stopped)
                machine.abandon_calls()
    except (ConfigError, OSError) as e:
        return fail("serve", e)
    return 0
