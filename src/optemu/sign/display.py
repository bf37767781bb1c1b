"""A signed image field by field, in the words of scripts/sign_encrypt.py display."""

from collections.abc import Iterator, Mapping

from optemu.abi import gp, shdr

_TITLES = {
    shdr.SHDR_TA: "Legacy TA",
    shdr.SHDR_BOOTSTRAP_TA: "Bootstrap TA",
    shdr.SHDR_ENCRYPTED_TA: "Encrypted TA",
    shdr.SHDR_SUBKEY: "Subkey",
}


def display_image(image: bytes) -> Iterator[str]:
    """The lines; ShdrError at the first thing that is no signed header."""
    offs = 0
    name: bytes | None = None
    for part in shdr.parse_image(image):
        if name is not None:
            offs += len(name)
            yield _row("next name", f'"{shdr.name_str(name)}"')
            yield f"Next header at offset: {_dec_hex(offs)}"
        yield from _shdr(part.header)
        offs += part.header.size
        if isinstance(part, shdr.SubkeyPart):
            yield from _subkey(part.subkey)
            offs += part.header.img_size
            name = part.name
        else:
            yield from _ta(part, offs + len(part.subheader))


def _row(label: str, value: object, indent: int = 2) -> str:
    return f"{' ' * indent}{label + ':':<11} {value}"


def _dec_hex(value: int) -> str:
    return f"{value} (0x{value:x})"


def _named(value: int, names: Mapping[int, str], width: int = 8) -> str:
    return f"0x{value:0{width}x} ({names.get(value, 'Unknown')})"


def _shdr(header: shdr.Shdr) -> Iterator[str]:
    yield _TITLES.get(header.img_type, "Unknown")
    yield " struct shdr"
    yield _row("magic", f"0x{header.magic:08x}")
    yield _row("img_type", f"{header.img_type} ({shdr.IMG_TYPE_NAMES.get(header.img_type, 'Unknown')})")
    yield _row("img_size", f"{header.img_size} bytes")
    yield _row("algo", _named(header.algo, shdr.SIG_ALGO_NAMES))
    yield _row("hash_size", f"{len(header.hash)} bytes")
    yield _row("sig_size", f"{len(header.sig)} bytes")
    yield _row("hash", header.hash.hex())


def _subkey(subkey: shdr.Subkey) -> Iterator[str]:
    yield " struct shdr_subkey"
    yield _row("uuid", gp.uuid_str(subkey.uuid))
    yield _row("name_size", subkey.name_size)
    yield _row("subkey_version", subkey.subkey_version)
    yield _row("max_depth", subkey.max_depth)
    yield _row("algo", _named(subkey.algo, shdr.SIG_ALGO_NAMES))
    yield _row("attr_count", subkey.attr_count)


def _ta(ta: shdr.TaPart, offs: int) -> Iterator[str]:
    if ta.bootstrap:
        yield " struct shdr_bootstrap_ta"
        yield _row("uuid", gp.uuid_str(ta.bootstrap.uuid))
        yield _row("ta_version", ta.bootstrap.ta_version)
    if ta.encrypted:
        ehdr = ta.encrypted
        yield " struct shdr_encrypted_ta"
        yield _row("enc_algo", _named(ehdr.enc_algo, shdr.ENC_ALGO_NAMES))
        yield _row("flags", _named(ehdr.flags, shdr.ENC_KEY_TYPE_NAMES, 1))
        yield _row("iv_size", f"{len(ehdr.iv)} (bytes)")
        yield _row("iv", ehdr.iv.hex())
        yield _row("tag_size", f"{len(ehdr.tag)} (bytes)")
        yield _row("tag", ehdr.tag.hex())
    yield _row("TA offset", f"{_dec_hex(offs)} bytes", 1)
    yield _row("TA size", f"{_dec_hex(len(ta.payload))} bytes", 1)
    if len(ta.payload) != ta.header.img_size:
        raise shdr.ShdrError(f"the header says {ta.header.img_size} bytes, {len(ta.payload)} follow")
