"""What several verbs share: the machine's options, the log, the trace."""

import argparse
import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from optemu.board.config import LOG_LEVELS, Config, ConfigError, default_state, load
from optemu.errors import explain

if TYPE_CHECKING:
    from optemu.machine import Machine
    from optemu.normal_world.state import StateDir
    from optemu.secure_world.crypto.signed_header import TrustStore
    from optemu.trace import Tracer

DEFAULT_CONFIG = Path("optemu.toml")
_PYTHON_LEVELS = {
    "none": 100,
    "error": logging.ERROR,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "flow": logging.DEBUG,
}


def add_machine_options(p: argparse.ArgumentParser) -> None:
    """Options of every verb that powers a machine on."""
    p.add_argument(
        "--ta-dir",
        metavar="DIR",
        action="append",
        default=[],
        type=Path,
        help="directory with TA images, UUID.ta (repeatable; default: the current one, then /lib/optee_armtz)",
    )
    p.add_argument(
        "--state",
        metavar="DIR",
        type=Path,
        help="where the TEE keeps what lasts, for one optemu at a time (default: nothing outlasts the run)",
    )
    p.add_argument("--plugin-dir", metavar="DIR", type=Path, help="directory with plugins of the supplicant")
    p.add_argument(
        "--config", metavar="FILE", type=Path, help="settings of the board (default: optemu.toml, if there is one)"
    )
    p.add_argument(
        "--supplicant",
        choices=("builtin", "none"),
        default="builtin",
        help="who serves /dev/teepriv0: optemu itself (builtin, the default), or whichever tee-supplicant a program "
        "starts (none)",
    )
    p.add_argument("--seed", type=int, help="make the board's random numbers repeatable")
    p.add_argument(
        "--log-level",
        choices=LOG_LEVELS,
        help="what of the secure world's console comes to stderr: none, error, info (default), debug, flow; what TAs "
        "print, their D/TA lines too, comes from info on, as on a board",
    )
    p.add_argument("--log", metavar="FILE", help="send it to a file instead of stderr")


def read_config(path: Path | None) -> Config:
    """The configuration in ``path``, or else in optemu.toml if there is one. ConfigError."""
    if path is None and not DEFAULT_CONFIG.exists():
        return Config()
    path = path or DEFAULT_CONFIG
    config = load(path)
    if config.ta_keys:
        _check_keys(path, config)
    return config


def config_from(args: argparse.Namespace) -> Config:
    """The configuration file with the command line over it. ConfigError."""
    config = read_config(args.config)
    if args.state is not None:
        config.state = args.state
    if args.plugin_dir is not None:
        config.plugin_dir = _directory("--plugin-dir", args.plugin_dir)
    if args.seed is not None:
        config.seed = args.seed
    if args.log_level is not None:
        config.log_level = args.log_level
    for path in args.ta_dir:
        _directory("--ta-dir", path)
    return config


def _directory(option: str, path: Path) -> Path:
    if not path.is_dir():
        raise ConfigError(f"{option} {path}: {'not a directory' if path.exists() else 'no such directory'}")
    return path


def trust_store(config: Config) -> "TrustStore":
    """The keys that this board's TA images are signed and encrypted with. OSError, ValueError."""
    from optemu.secure_world.crypto.signed_header import TrustStore, load_trusted_key
    from optemu.secure_world.crypto.ta_enc import OtpKeys

    keys = [load_trusted_key(name, pem) for name, pem in config.trusted_keys()]
    return TrustStore(keys, OtpKeys(config.huk, config.ta_class_key))


def _check_keys(path: Path, config: Config) -> None:
    """Now, and not when a client opens its device and nobody can be told."""
    from optemu.secure_world.crypto.signed_header import load_trusted_key

    try:
        for name, pem in config.trusted_keys():
            load_trusted_key(name, pem)
    except (OSError, ValueError) as e:
        raise ConfigError(f"{path}: [tee] ta_keys: {explain(e)}") from e


def start_log(config: Config, file: str | None) -> None:
    """Send what the worlds say to stderr or ``file``: TA output as it is, our own lines with their origin."""
    handler = _Log(file)
    handler.setFormatter(_Formatter())
    root = logging.getLogger("optemu")
    root.handlers[:] = [handler]
    root.propagate = False
    level = _PYTHON_LEVELS[config.log_level]
    root.setLevel(max(level, logging.WARNING) if level == logging.INFO else level)
    logging.getLogger("optemu.console").setLevel(level)


class _Log(logging.StreamHandler[TextIO]):
    """The log in a file or on stderr. When it cannot be written that is said once, and the log ends."""

    def __init__(self, file: str | None) -> None:
        """OSError."""
        super().__init__(open(file, "a", encoding="utf-8") if file else sys.stderr)  # noqa: SIM115
        self._file = file

    def handleError(self, record: logging.LogRecord) -> None:
        why = sys.exc_info()[1]
        if not isinstance(why, OSError):
            super().handleError(record)
            return
        logging.getLogger("optemu").handlers[:] = [logging.NullHandler()]
        self.close()
        if self._file:
            complain(f"optemu: --log {self._file}: {explain(why)}; nothing more is logged")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            if self._file:
                self.stream.close()
        super().close()


def complain(text: str) -> None:
    """``text`` on stderr, if anybody reads that still."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


class _Formatter(logging.Formatter):
    """``E/TC: message`` for the core as on a board's console; TA lines carry their own prefix."""

    _origins = {"optemu.ta": "TC", "optemu.core": "TC", "optemu.syscalls": "TC", "optemu.driver": "driver"}

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if record.name == "optemu.console":
            return text
        level = record.levelname[0]
        origin = self._origins.get(record.name, record.name.removeprefix("optemu."))
        return f"{level}/{origin}:{' ' if text else ''}{text}"


def make_machine(
    config: Config, args: argparse.Namespace, trace: "Tracer | None" = None, state: "StateDir | None" = None
) -> "Machine":
    """Power a machine on. Imported late: a program that never opens a TEE device does not pay for it."""
    from optemu.machine import Machine

    builtin = args.supplicant == "builtin"
    return Machine(config, ta_dirs=args.ta_dir, trace=trace, supplicant=builtin, state=state)


def default_socket() -> Path:
    """Where ``optemu serve`` listens and ``optemu run --attach`` looks for it."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "optemu.socket" if runtime else default_state() / "socket"


def fail(verb: str, why: object) -> int:
    """One line on stderr; exit status 2."""
    print(f"optemu {verb}: {explain(why)}", file=sys.stderr)
    return 2
