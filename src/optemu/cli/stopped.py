"""What verbs on a stopped machine's storage share: where it is, the way in, and how they fail."""

import argparse
import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from optemu.board.config import Config, ConfigError
from optemu.cli.common import fail, read_config

if TYPE_CHECKING:
    from optemu.cli.store import Store

Action = Callable[[argparse.Namespace], int]


def add_store_action(p: argparse.ArgumentParser, verb: str, action: Action) -> None:
    """Options that say whose store, and ``action`` on it as the verb."""
    p.add_argument("--state", metavar="DIR", type=Path, help="state directory, or a copy of a board's /var/lib/tee")
    p.add_argument("--config", metavar="FILE", type=Path, help="settings of the board (default: optemu.toml)")
    p.set_defaults(run=lambda args: _run(verb, action, args))


def _run(verb: str, action: Action, args: argparse.Namespace) -> int:
    from optemu.abi import gp
    from optemu.errors import TeeError

    # What is damaged is said on our own lines, once.
    logging.getLogger("optemu").addHandler(logging.NullHandler())
    try:
        return action(args)
    except BrokenPipeError:
        raise
    except (ConfigError, OSError, ValueError) as e:
        return fail(verb, e)
    except TeeError as e:
        return fail(verb, f"{e} ({gp.result_name(e.code)})")


def store_config(args: argparse.Namespace) -> Config:
    """ConfigError."""
    config = read_config(args.config)
    if args.state is not None:
        config.state = args.state
    return config


@contextlib.contextmanager
def stopped_store(args: argparse.Namespace, change: bool = False, create: bool = False) -> Iterator["Store"]:
    """The store that the options name, for us alone (``open_store``)."""
    from optemu.cli.store import open_store

    with open_store(store_config(args), change, create) as store:
        yield store
