"""``optemu ta info``: what a TA image says of itself, and who signed it."""

import argparse
import json
from pathlib import Path
from typing import Any

from optemu.cli.common import fail


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    p = verbs.add_parser("ta", help="look into TA images", description="Look into TA images.")
    actions = p.add_subparsers(dest="action", metavar="ACTION", required=True)
    info = actions.add_parser(
        "info",
        help="header, signer, flags, properties, segments, needed libraries",
        description="Show a TA image: signed header and signer, flags, properties, segments, needed libraries.",
    )
    info.add_argument("file", metavar="FILE", type=Path, help="a signed image (UUID.ta) or a plain ELF file")
    info.add_argument("--json", action="store_true", help="as JSON")
    info.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from optemu.errors import TeeError

    try:
        raw = args.file.read_bytes()
    except OSError as e:
        return fail("ta info", e)
    try:
        described = describe(raw)
    except TeeError as e:
        return fail("ta info", f"{args.file}: {e}")
    if args.json:
        print(json.dumps(described, indent=1))
    else:
        print(_text(described), end="")
    return 0


def describe(raw: bytes) -> dict[str, Any]:
    """Everything there is to say about an image; TeeError when it is neither signed image nor ELF file."""
    from optemu.abi import elf

    found: dict[str, Any] = {"size": len(raw)}
    if raw[:4] == elf.ELFMAG:
        found["signature"] = {"signed": False}
        found.update(_elf(raw))
    else:
        payload = _signature(raw, found)
        found.update(_elf(payload))
    return found


def _signature(raw: bytes, found: dict[str, Any]) -> bytes:
    from optemu.abi import gp, shdr
    from optemu.board.config import Config
    from optemu.errors import TeeError
    from optemu.secure_world.crypto.signed_header import TrustStore, load_trusted_key, verify_image

    try:
        header = shdr.parse_shdr(raw)
        bootstrap = shdr.parse_bootstrap_ta(raw, header.size)
    except shdr.ShdrError as e:
        raise TeeError(gp.TEE_ERROR_BAD_FORMAT, f"neither a signed image nor an ELF file: {e}") from e
    trust = TrustStore([load_trusted_key(name, pem) for name, pem in Config().trusted_keys()])
    try:
        verdict = f"trusted, by {verify_image(raw, trust).key}"
    except TeeError as e:
        verdict = f"refused: {e}"
    found["signature"] = {
        "signed": True,
        "type": shdr.IMG_TYPE_NAMES.get(header.img_type, str(header.img_type)),
        "algorithm": shdr.SIG_ALGO_NAMES.get(header.algo, f"0x{header.algo:08x}"),
        "bits": 8 * len(header.sig),
        "hash": header.hash.hex(),
        "uuid": gp.uuid_str(bootstrap.uuid),
        "ta_version": bootstrap.ta_version,
        "verdict": verdict,
    }
    return raw[header.size + shdr.SHDR_BOOTSTRAP.size :]


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
    sig = d["signature"]
    uuid = d.get("uuid") or sig.get("uuid", "of no name")
    lines = [f"{'library' if d['library'] else 'TA'} {uuid}, {d['arch']}, {d['size']} bytes"]
    if sig["signed"]:
        lines += [
            f"  signed      {sig['type']}, {sig['algorithm']}, {sig['bits']} bit, version {sig['ta_version']}",
            f"  signer      {sig['verdict']}",
        ]
    else:
        lines.append("  signed      no: a plain ELF file")
    if not d["library"]:
        lines += [
            f"  flags       {', '.join(d['flags']) or 'none'}",
            f"  stack       {d['stack_size']} bytes",
            f"  entry       0x{d['entry']:x}",
        ]
    lines += ["  branches    targets enforced (BTI)"] if d["bti"] else []
    lines += [f"  needs       {', '.join(d['needed']) or 'no library'}"]
    lines += [f"  segment     0x{s['va']:06x} 0x{s['size']:06x} {s['rights']}" for s in d["segments"]]
    lines += [f"  property    {name} = {value}" for name, value in d.get("properties", {}).items()]
    return "\n".join(lines) + "\n"
