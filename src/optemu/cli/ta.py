"""``optemu ta``: what a TA image says of itself, and who signed it; the key that encrypts one for this board.

Installing TAs in secure storage is in ta_db.py.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optemu.board.config import Config
from optemu.cli import ta_db
from optemu.cli.common import fail, read_config, trust_store

if TYPE_CHECKING:
    from optemu.abi import shdr

Bytes = bytes | memoryview


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "look into TA images, install TAs"
    p = verbs.add_parser("ta", help=text, description="Look into TA images, and install TAs in secure storage.")
    actions = p.add_subparsers(dest="action", metavar="ACTION", required=True)
    info = actions.add_parser(
        "info",
        help="header, signer, flags, properties, segments, needed libraries",
        description="Show a TA image: signed headers and who signed them, versions, flags, properties, segments, "
        "needed libraries. An encrypted one is opened with the keys of the board.",
    )
    info.add_argument("file", metavar="FILE", type=Path, help="a signed image (UUID.ta), a subkey or a plain ELF file")
    info.add_argument("--json", action="store_true", help="as JSON")
    info.set_defaults(run=run)
    enc_key = actions.add_parser(
        "enc-key",
        help="the key to encrypt TAs for this board with",
        description="Print the key, for optemu sign --enc-key, that encrypts a TA for this board alone. It depends on "
        "the board's hardware unique key and on the root key that the image is signed with.",
    )
    enc_key.add_argument("--key", metavar="PEM", type=Path, help="root key, either half (default: optemu's own)")
    enc_key.set_defaults(run=run_enc_key)
    for action in (info, enc_key):
        action.add_argument("--config", metavar="FILE", type=Path, help="settings of the board (default: optemu.toml)")
    ta_db.add_actions(actions)


def run_enc_key(args: argparse.Namespace) -> int:
    from optemu import sign
    from optemu.abi.shdr import SHDR_ENC_KEY_DEV_SPECIFIC
    from optemu.secure_world.crypto.signed_header import TrustedKey
    from optemu.secure_world.crypto.ta_enc import OtpKeys

    path = args.key or sign.DEV_KEY
    try:
        root = TrustedKey(path.name, sign.load_public_key(path))
        huk = read_config(args.config).huk
    except (OSError, ValueError) as e:
        return fail("ta enc-key", e)
    print(OtpKeys(huk)(SHDR_ENC_KEY_DEV_SPECIFIC, root.modulus).hex())
    return 0


def run(args: argparse.Namespace) -> int:
    from optemu.errors import TeeError

    try:
        config = read_config(args.config)
        described = describe(args.file.read_bytes(), config)
    except (OSError, ValueError) as e:
        return fail("ta info", e)
    except TeeError as e:
        return fail("ta info", f"{args.file}: {e}")
    if args.json:
        print(json.dumps(described, indent=1))
    else:
        print(_text(described), end="")
    return 0


def describe(raw: bytes, config: Config) -> dict[str, Any]:
    """Everything there is to say about an image; TeeError when it is neither signed image nor ELF file."""
    from optemu.abi import elf
    from optemu.errors import TeeError

    found: dict[str, Any] = {"size": len(raw)}
    if raw[:4] == elf.ELFMAG:
        return found | {"signature": {"signed": False}} | _elf(raw)
    payload = _signature(raw, config, found)
    if payload is not None:
        try:
            found.update(_elf(bytes(payload)))
        except TeeError as e:
            found["not_loadable"] = str(e)
    return found


def _signature(raw: bytes, config: Config, found: dict[str, Any]) -> Bytes | None:
    """Describe the signed headers; the ELF file, if there is one and it can be read."""
    from optemu.abi import gp, shdr
    from optemu.errors import TeeError
    from optemu.secure_world.crypto.signed_header import verify_image, verify_subkeys

    try:
        parts = list(shdr.parse_image(raw))
    except shdr.ShdrError as e:
        raise TeeError(gp.TEE_ERROR_BAD_FORMAT, f"neither a signed image nor an ELF file: {e}") from e
    trust = trust_store(config)
    ta = parts[-1]
    signature = found["signature"] = {"signed": True, **_header(ta.header)}
    subkeys = [part for part in parts if isinstance(part, shdr.SubkeyPart)]
    signature["subkeys"] = [_subkey(part) for part in subkeys]
    payload: Bytes | None = None
    if isinstance(ta, shdr.TaPart):
        signature.update(_ta(ta))
        payload = None if ta.encrypted else ta.payload
    try:
        if isinstance(ta, shdr.TaPart):
            signed = verify_image(raw, trust)
            payload, signer = signed.payload, signed.key
        else:
            verify_subkeys(raw, trust)
            signer = trust.signer(parts[0].header).name
        signature["verdict"] = f"trusted, by {signer}"
    except TeeError as e:
        signature["verdict"] = f"refused: {e}"
    return payload


def _header(header: "shdr.Shdr") -> dict[str, Any]:
    from optemu.abi import shdr

    return {
        "type": shdr.IMG_TYPE_NAMES.get(header.img_type, str(header.img_type)),
        "algorithm": shdr.SIG_ALGO_NAMES.get(header.algo, f"0x{header.algo:08x}"),
        "bits": 8 * len(header.sig),
        "hash": header.hash.hex(),
    }


def _subkey(part: "shdr.SubkeyPart") -> dict[str, Any]:
    from optemu.abi import gp, shdr

    subkey = part.subkey
    return {
        **_header(part.header),
        "uuid": gp.uuid_str(subkey.uuid),
        "version": subkey.subkey_version,
        "max_depth": subkey.max_depth,
        "name_size": subkey.name_size,
        "name": shdr.name_str(part.name),
    }


def _ta(part: "shdr.TaPart") -> dict[str, Any]:
    from optemu.abi import gp, shdr

    found: dict[str, Any] = {}
    if part.bootstrap:
        found = {"uuid": gp.uuid_str(part.bootstrap.uuid), "ta_version": part.bootstrap.ta_version}
    if ehdr := part.encrypted:
        class_wide = ehdr.flags & shdr.SHDR_ENC_KEY_TYPE_MASK
        found["encryption"] = {
            "algorithm": shdr.ENC_ALGO_NAMES.get(ehdr.enc_algo, f"0x{ehdr.enc_algo:08x}"),
            "key": "class-wide" if class_wide else "device",
            "iv": ehdr.iv.hex(),
            "tag": ehdr.tag.hex(),
        }
    return found


def _elf(payload: bytes) -> dict[str, Any]:
    from optemu.abi import gp
    from optemu.abi.ta_head import flag_names
    from optemu.secure_world.ldelf import link, map_elf

    module = map_elf(payload, 0x4010_0000)
    found = {
        "arch": module.arch,
        "library": module.is_library,
        "bti": module.bti,
        "needed": list(module.needed),
        "segments": [{"va": m.vaddr, "size": m.size, "rights": _rights(int(m.prot))} for m in module.mappings],
    }
    if module.is_library:
        return found
    image = link([module], strict=False)
    head = image.ta_head
    return found | {
        "uuid": gp.uuid_str(head.uuid),
        "stack_size": head.stack_size,
        "flags": flag_names(head.flags),
        "entry": image.entry - image.base,
        "properties": {p.name: p.value for p in image.properties()},
    }


def _rights(prot: int) -> str:
    return "".join(letter if prot & bit else "-" for bit, letter in ((1, "r"), (2, "w"), (4, "x")))


def _text(d: dict[str, Any]) -> str:
    lines = [f"{_title(d)}, {d['size']} bytes", *_signature_lines(d["signature"])]
    if "arch" in d:
        lines += _elf_lines(d)
    elif "not_loadable" in d:
        lines.append(f"  contents    {d['not_loadable']}")
    return "\n".join(lines) + "\n"


def _title(d: dict[str, Any]) -> str:
    sig = d["signature"]
    if "arch" in d:
        uuid = d.get("uuid") or sig.get("uuid", "of no name")
        return f"{'library' if d['library'] else 'TA'} {uuid}, {d['arch']}"
    if sig["type"] == "SHDR_SUBKEY":
        return f"Subkey {sig['subkeys'][-1]['uuid']}"
    return f"TA {sig.get('uuid', 'without a UUID')}"


def _signature_lines(sig: dict[str, Any]) -> Iterator[str]:
    if not sig["signed"]:
        yield "  signed      no: a plain ELF file"
        return
    for s in sig["subkeys"]:
        name = f", name {s['name']!r}" if s["name"] else ""
        yield f"  subkey      {s['uuid']}, version {s['version']}, depth {s['max_depth']}{name}"
        yield f"    signed    {s['algorithm']}, {s['bits']} bit"
    if sig["type"] != "SHDR_SUBKEY":
        version = f", version {sig['ta_version']}" if "ta_version" in sig else ""
        yield f"  signed      {sig['type']}, {sig['algorithm']}, {sig['bits']} bit{version}"
    if "encryption" in sig:
        yield f"  encrypted   {sig['encryption']['algorithm']}, {sig['encryption']['key']} key"
    yield f"  signer      {sig['verdict']}"


def _elf_lines(d: dict[str, Any]) -> Iterator[str]:
    if not d["library"]:
        yield f"  flags       {', '.join(d['flags']) or 'none'}"
        yield f"  stack       {d['stack_size']} bytes"
        yield f"  entry       0x{d['entry']:x}"
    if d["bti"]:
        yield "  branches    targets enforced (BTI)"
    yield f"  needs       {', '.join(d['needed']) or 'no library'}"
    for s in d["segments"]:
        yield f"  segment     0x{s['va']:06x} 0x{s['size']:06x} {s['rights']}"
    for name, value in d.get("properties", {}).items():
        yield f"  property    {name} = {value}"
