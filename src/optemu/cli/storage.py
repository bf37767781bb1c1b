"""``optemu storage``: look into a stopped machine's trusted storage, and move objects.

An exported object is a directory: ``object.json`` (owner, id, type, sizes, usage), ``attributes`` (a key's, as OP-TEE
stores them; empty for data) and ``data``. It is in the clear, and not bound to a board.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optemu.abi.gp import uuid_octets
from optemu.cli.stopped import Action, add_store_action, stopped_store

if TYPE_CHECKING:
    from optemu.cli.store import Place, Store, Stored

_OBJECT_HELP = "the object's identifier: text, or hex: and hexadecimal digits"
_NUMBERS = ("object_type", "object_size", "max_object_size", "usage", "have_attrs")


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    p = verbs.add_parser(
        "storage",
        help="look into trusted storage",
        description="Look into the trusted storage of a machine that is not running, and move objects. Keys are those "
        "of the board's configuration.",
    )
    actions = p.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, run: Action, text: str) -> argparse.ArgumentParser:
        a = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        add_store_action(a, f"storage {name}", run)
        return a

    ls = action(
        "ls",
        _ls,
        "list objects: store, file, TA, identifier, kind, size, version; installed TAs, lowest versions, and damage",
    )
    ls.add_argument("uuid", metavar="UUID", nargs="?", help="only those of this TA")
    cat = action("cat", _cat, "write an object's data to standard output")
    export = action("export", _export, "write an object into a directory: object.json, attributes, data, in the clear")
    for a in (cat, export):
        a.add_argument("--store", choices=("REE", "RPMB"), help="where it is (default: REE if it is there)")
        a.add_argument("uuid", metavar="UUID", help="the TA that owns it")
        a.add_argument("object", metavar="OBJECT", help=_OBJECT_HELP)
    export.add_argument("to", metavar="TO", type=Path, help="the directory, which is made")
    imp = action("import", _import, "put an exported object into a store")
    imp.add_argument("source", metavar="FROM", type=Path, help="what optemu storage export wrote")
    imp.add_argument("--store", choices=("REE", "RPMB"), default="REE", help="which one (default: REE)")
    imp.add_argument("--overwrite", action="store_true", help="replace the object if it is there")
    check = action("check", _check, "verify every object to its last byte; status 1 if anything is damaged")
    du = action("du", _du, "objects and bytes of each TA, and bytes on disk")
    for a in (ls, check, du):
        a.add_argument("--json", action="store_true", help="as JSON")


# --- looking ----------------------------------------------------------------------------------------------------------


def _describe(store: "Store", place: "Place", look: "Callable[[str, bytes, bytes], Stored]") -> dict[str, Any]:
    from optemu.abi import gp
    from optemu.cli.store import CORES, VERSIONS, show_id
    from optemu.errors import TeeError

    cores = (place.owner, place.obj_id) in CORES
    found: dict[str, Any] = {
        "store": place.store,
        "file": place.file,
        "owner": gp.uuid_str(place.owner),
        "id": show_id(place.obj_id.rstrip(b"\0") if cores else place.obj_id),
        "on_disk": place.on_disk,
    }
    try:
        stored = look(place.store, place.owner, place.obj_id)
        if cores and (of := VERSIONS.get(place.obj_id)):
            lowest = store.lowest_versions(place.store, place.obj_id)
            found["entries"] = [{"of": of, "uuid": gp.uuid_str(uuid), "lowest": version} for uuid, version in lowest]
    except TeeError as e:
        return found | {"damaged": str(e)}
    return found | {"kind": stored.kind, "size": stored.data_size, "version": stored.version}


def _all(store: "Store", owner: bytes | None = None) -> list[dict[str, Any]]:
    return [_describe(store, place, store.look) for place in store.places() if owner in (None, place.owner)]


def _ls(args: argparse.Namespace) -> int:
    owner = uuid_octets(args.uuid) if args.uuid else None
    with stopped_store(args) as store:
        objects = _all(store, owner)
        tas = _installed(store, verify=False) if owner is None else []
    if args.json:
        print(json.dumps({"objects": objects, "installed": tas}, indent=1))
        return 0
    rows = [("store", "file", "TA", "object", "kind", "bytes", "version")]
    for o in objects:
        kind = "damaged" if "damaged" in o else o["kind"]
        size, version = (str(o[key]) if o.get(key) is not None else "-" for key in ("size", "version"))
        rows.append((o["store"], o["file"], o["owner"], o["id"], kind, size, version))
    _table(rows, right=(5, 6))
    for ta in tas:
        print(f"installed TA: {ta['uuid']}, version {ta['version']}, {ta['size']} bytes in {ta['file']}")
    for entry in (entry for o in objects for entry in o.get("entries", ())):
        print(f"lowest accepted: {entry['of']} {entry['uuid']}, version {entry['lowest']}")
    for o in objects:
        if "damaged" in o:
            print(f"damaged: {o['damaged']}")
    return 0


def _installed(store: "Store", *, verify: bool) -> list[dict[str, Any]]:
    """The TAs in secure storage."""
    from optemu.abi import gp
    from optemu.errors import TeeError

    found: list[dict[str, Any]] = []
    try:
        tas = store.tas.installed(store.ree)
    except TeeError:
        return []  # ta.db is damaged, which is said where it is listed
    for uuid, version, size, file in tas:
        found.append({"uuid": gp.uuid_str(uuid), "version": version, "size": size, "file": file})
        try:
            if verify:
                store.tas.open(store.ree, uuid)
        except TeeError as e:
            found[-1]["damaged"] = str(e)
    return found


def _table(rows: Sequence[tuple[str, ...]], right: tuple[int, ...]) -> None:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        cells = [c.rjust(w) if n in right else c.ljust(w) for n, (c, w) in enumerate(zip(row, widths, strict=True))]
        print("  ".join(cells).rstrip())


def _check(args: argparse.Namespace) -> int:
    with stopped_store(args) as store:
        objects = [_describe(store, place, lambda *where: store.read(*where)[0]) for place in store.places()]
        tas = _installed(store, verify=True)
        known = {o["file"] for o in objects if o["store"] == "REE"} | {ta["file"] for ta in tas} | {"dirf.db"}
        orphans = [name for name in store.files.names() if name not in known]
    damaged = [o for o in (*objects, *tas) if "damaged" in o]
    if args.json:
        told = {"objects": len(objects), "installed": len(tas), "damaged": damaged, "orphans": orphans}
        print(json.dumps(told, indent=1))
    else:
        for o in damaged:
            print(f"damaged: {o['damaged']}")
        for name in orphans:
            print(f"file {name}: belongs to no object; an interrupted run may have left it")
        counted = [f"{len(objects)} object{'s' * (len(objects) != 1)}"]
        if tas:
            counted.append(f"{len(tas)} installed TA{'s' * (len(tas) != 1)}")
        print(f"{', '.join(counted)}, {len(damaged)} damaged")
    return 1 if damaged else 0


def _du(args: argparse.Namespace) -> int:
    with stopped_store(args) as store:
        objects = _all(store)
        database = store.files.size_on_disk("dirf.db")
    tas: dict[str, dict[str, int]] = {}
    for o in objects:
        ta = tas.setdefault(o["owner"], {"objects": 0, "size": 0, "on_disk": 0})
        ta["objects"] += 1
        ta["size"] += o.get("size", 0)
        ta["on_disk"] += o["on_disk"]
    if args.json:
        print(json.dumps({"tas": tas, "dirf.db": database}, indent=1))
        return 0
    rows = [("TA", "objects", "bytes", "on disk")]
    rows += [(owner, str(ta["objects"]), str(ta["size"]), str(ta["on_disk"])) for owner, ta in sorted(tas.items())]
    if database:
        rows.append(("dirf.db", "", "", str(database)))
    _table(rows, right=(1, 2, 3))
    return 0


def _named(args: argparse.Namespace) -> tuple[bytes, bytes]:
    """Owner and identifier of the object that ``ls`` shows so; the core's own end in a zero, which it leaves out."""
    from optemu.cli.store import CORES, read_id

    owner, obj_id = uuid_octets(args.uuid), read_id(args.object)
    return owner, obj_id + b"\0" if (owner, obj_id + b"\0") in CORES else obj_id


def _cat(args: argparse.Namespace) -> int:
    owner, obj_id = _named(args)
    with stopped_store(args) as store:
        _, data = store.read(store.find(owner, obj_id, args.store), owner, obj_id)
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    return 0


# --- moving -----------------------------------------------------------------------------------------------------------


def _export(args: argparse.Namespace) -> int:
    owner, obj_id = _named(args)
    with stopped_store(args) as store:
        stored, data = store.read(store.find(owner, obj_id, args.store), owner, obj_id)
    if stored.cores:
        raise ValueError(f"object {args.object} is the core's own: it belongs to its board, and is not moved")
    to: Path = args.to
    to.mkdir(mode=0o700)
    numbers = {name: getattr(stored, name) for name in _NUMBERS}
    about = {"owner": args.uuid.lower(), "id": obj_id.hex(), **numbers}
    for name, content in (
        ("object.json", json.dumps(about, indent=1).encode() + b"\n"),
        ("attributes", stored.attributes),
        ("data", data),
    ):
        (to / name).touch(mode=0o600)
        (to / name).write_bytes(content)
    return 0


def _import(args: argparse.Namespace) -> int:
    from optemu.abi import gp
    from optemu.errors import TeeError

    owner, obj_id, stored = _exported(args.source)
    data = (args.source / "data").read_bytes()
    stored = dataclasses.replace(stored, attributes=(args.source / "attributes").read_bytes())
    with stopped_store(args, change=True, create=True) as store:
        try:
            store.write(args.store, owner, obj_id, stored, data, args.overwrite)
        except TeeError as e:
            if e.code != gp.TEE_ERROR_ACCESS_CONFLICT:
                raise
            raise ValueError(f"{e}; --overwrite replaces it") from None
    return 0


def _exported(source: Path) -> tuple[bytes, bytes, "Stored"]:
    """Owner, identifier and head that object.json tells; ValueError says what is wrong with it."""
    from optemu.abi.obj import TEE_OBJECT_ID_MAX_LEN
    from optemu.cli.store import Stored

    path = source / "object.json"
    try:
        about = json.loads(path.read_bytes())
        numbers = {name: about[name] for name in _NUMBERS}
        owner, obj_id = uuid_octets(about["owner"]), bytes.fromhex(about["id"])
    except (ValueError, TypeError, KeyError, AttributeError) as e:
        raise ValueError(f"{path}: not what optemu storage export writes: {e}") from None
    if not all(type(n) is int and 0 <= n <= 0xFFFFFFFF for n in numbers.values()):
        raise ValueError(f"{path}: {', '.join(_NUMBERS)} are numbers of 32 bits")
    if len(obj_id) > TEE_OBJECT_ID_MAX_LEN:
        raise ValueError(f"{path}: an identifier has {TEE_OBJECT_ID_MAX_LEN} bytes at most")
    return owner, obj_id, Stored(**numbers, attributes=b"", data_offset=0, data_size=0, version=0)
