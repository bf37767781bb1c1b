"""``optemu ta install`` and ``remove``: the database of TAs in secure storage, of a machine that is not running."""

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path

from optemu.abi.elf import ELFMAG
from optemu.abi.gp import uuid_octets, uuid_str
from optemu.cli.common import trust_store
from optemu.cli.stopped import add_store_action, stopped_store, store_config
from optemu.errors import TeeError


def add_actions(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    install = actions.add_parser(
        "install",
        help="put TAs into secure storage",
        description="Put signed TAs into the secure storage of a machine that is not running. The checks are those of "
        "the core's secstor_ta_mgmt.pta: a bootstrap image that a root key itself signed, of no older version than the "
        "one that is installed.",
    )
    install.add_argument("files", metavar="FILE", nargs="+", type=Path, help="a signed image (UUID.ta)")
    add_store_action(install, "ta install", _install)
    remove = actions.add_parser(
        "remove",
        help="take TAs out of secure storage",
        description="Take TAs out of the secure storage of a machine that is not running. Their objects stay.",
    )
    remove.add_argument("uuids", metavar="UUID", nargs="+", help="as optemu storage ls names the installed TAs")
    add_store_action(remove, "ta remove", _remove)


def _install(args: argparse.Namespace) -> int:
    """All files are verified before the first is installed; each is on the disk when that is said."""
    from optemu.secure_world.core.secstor_ta import install_ta
    from optemu.secure_world.crypto.signed_header import verify_image

    trust = trust_store(store_config(args))
    images = []
    for file in args.files:
        raw = file.read_bytes()
        if raw.startswith(ELFMAG):
            raise ValueError(f"{file}: an ELF file, and nobody has signed it; optemu sign does")
        with _about(file):
            images.append((file, verify_image(raw, trust)))
    for file, image in images:
        with stopped_store(args, change=True, create=True) as store, _about(file):
            replaced = install_ta(store.tas, store.ree, image)
        instead = f" in place of version {replaced}" if replaced is not None else ""
        what = f"TA {uuid_str(image.uuid or b'')}, version {image.ta_version}{instead}, {len(image.payload)} bytes"
        print(f"installed {what}")
    return 0


@contextlib.contextmanager
def _about(file: Path) -> Iterator[None]:
    try:
        yield
    except TeeError as e:
        raise TeeError(e.code, f"{file}: {e}") from e


def _remove(args: argparse.Namespace) -> int:
    """All are looked for before the first is removed."""
    wanted = list(dict.fromkeys(uuid_octets(uuid) for uuid in args.uuids))
    with stopped_store(args, change=True) as store:
        versions = {uuid: version for uuid, version, _, _ in store.tas.installed(store.ree)}
        if missing := [uuid_str(uuid) for uuid in wanted if uuid not in versions]:
            there = ", ".join(uuid_str(uuid) for uuid in versions) or "none"
            raise ValueError(f"not installed: {', '.join(missing)}; installed TAs: {there}")
        for uuid in wanted:
            store.tas.delete(store.ree, uuid)
    for uuid in wanted:
        print(f"removed TA {uuid_str(uuid)}, version {versions[uuid]}")
    return 0
