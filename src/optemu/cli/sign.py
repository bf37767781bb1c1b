"""``optemu sign``, and the same as a program of its own, ``optemu-sign``: the verbs of scripts/sign_encrypt.py.

The program is for the makefiles of upstream's TA kit, where the last word of SIGN_ENC has to be a file:
``make SIGN_ENC=$(command -v optemu-sign)``.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uuid import UUID

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

    from optemu.sign import SubkeyFile, UnsignedImage

_ALGOS = ("TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256", "TEE_ALG_RSASSA_PKCS1_V1_5_SHA256")
_KEY_TYPES = ("SHDR_ENC_KEY_DEV_SPECIFIC", "SHDR_ENC_KEY_CLASS_WIDE")
_U32 = range(1 << 32)


class _Refused(Exception):
    """Says why the command cannot be done."""


def main(argv: Sequence[str] | None = None) -> int:
    """``optemu-sign``; the exit status."""
    parser = argparse.ArgumentParser(prog="optemu-sign", description=_DESCRIPTION)
    _add_verbs(parser)
    args = parser.parse_args(with_verb(sys.argv[1:] if argv is None else argv))
    return _do(args)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    p = verbs.add_parser("sign", help="sign and encrypt TA images", description=_DESCRIPTION)
    p.set_defaults(run=_do)
    _add_verbs(p)


def with_verb(argv: Sequence[str]) -> list[str]:
    """``argv`` with the default verb, sign-enc, when it starts with an option."""
    default = argv and argv[0].startswith("-") and argv[0] not in ("-h", "--help")
    return [*(["sign-enc"] if default else []), *argv]


def _do(args: argparse.Namespace) -> int:
    """Run the verb; 1 and a line on stderr when it fails."""
    from optemu.errors import TeeError

    try:
        args.command(args)
    except (_Refused, ValueError, TeeError) as e:
        why = str(e)
    except OSError as e:
        why = f"{e.filename}: {e.strerror}"
    else:
        return 0
    print(f"optemu sign {args.what}: {why}", file=sys.stderr)
    return 1


# --- verbs ----------------------------------------------------------------------------------------------------


def _sign_enc(args: argparse.Namespace) -> None:
    key = _private_key(args.key)
    image = _under(_ta(args, key.key_size), args)
    _write(args.outf or f"{args.uuid}.ta", image.sign(key))


def _digest(args: argparse.Namespace) -> None:
    import base64

    image = _ta(args, _public_key(args.key).key_size)
    _write(args.digf or f"{args.uuid}.dig", base64.b64encode(image.digest()))


def _stitch(args: argparse.Namespace) -> None:
    import base64

    key = _public_key(args.key)
    image = _ta(args, key.key_size)
    path = Path(args.sigf or f"{args.uuid}.sig")
    try:
        sig = base64.b64decode(path.read_bytes())
    except ValueError as e:
        raise _Refused(f"{path}: no base64 ({e})") from None
    signed = image.stitch(sig)
    image.check(sig, key)
    _write(args.outf or f"{args.uuid}.ta", signed)


def _sign_subkey(args: argparse.Namespace) -> None:
    from optemu import sign
    from optemu.abi import shdr

    key = _private_key(args.key)
    image = sign.subkey_image(
        _public_key(args.inf),
        args.uuid.bytes,
        key.key_size,
        getattr(shdr, args.algo),
        version=args.subkey_version,
        max_depth=sign.depth_below(_subkeys(args.subkey), args.max_depth),
        name_size=args.name_size,
    )
    _write(args.outf, _under(image, args).sign(key))


def _subkey_uuid(args: argparse.Namespace) -> None:
    from optemu.abi import gp

    file = _subkeys(args.inf)
    assert file is not None
    for subkey in file.subkeys:
        print(f"Subkey UUID: {gp.uuid_str(subkey.uuid)}")
    if args.name:
        print(f"Next subkey UUID: {gp.uuid_str(file.next_uuid(args.name))}")
    else:
        print(f"Next subkey UUID unchanged: {gp.uuid_str(file.last.uuid)}")


def _display(args: argparse.Namespace) -> None:
    from optemu.sign import display_image

    for line in display_image(Path(args.inf).read_bytes()):
        print(line)


def _verify(args: argparse.Namespace) -> None:
    """What the core does, with one root key and the encryption key given."""
    from optemu.abi import gp, shdr
    from optemu.errors import TeeError
    from optemu.secure_world.crypto.signed_header import TrustedKey, TrustStore, verify_image, verify_subkeys

    def enc_key(key_type: int, modulus: bytes) -> bytes:
        if not args.enc_key:
            raise TeeError(gp.TEE_ERROR_SECURITY, "the TA is encrypted: --enc-key is needed")
        return _enc_key(args.enc_key)

    trust = TrustStore([TrustedKey(args.key, _public_key(args.key))], enc_key)
    image = Path(args.inf or f"{args.uuid}.ta").read_bytes()
    has_ta = False
    for part in shdr.parse_image(image):
        if isinstance(part, shdr.SubkeyPart):
            print(f"Subkey UUID: {gp.uuid_str(part.subkey.uuid)}")
            continue
        has_ta = True
        if part.bootstrap:
            print(f"TA UUID: {gp.uuid_str(part.bootstrap.uuid)}")
    if has_ta:
        verify_image(image, trust, args.uuid.bytes)
    else:
        verify_subkeys(image, trust)


# --- what they share ------------------------------------------------------------------------------------------


def _pem(text: str) -> Path:
    if text.startswith(("arn:", "pkcs11:")):
        raise _Refused(
            f"{text}: keys are read from PEM files only; with a key kept elsewhere make the digest "
            "(optemu sign digest), sign it there, and put the signature in (optemu sign stitch)"
        )
    return Path(text)


def _private_key(text: str) -> "RSAPrivateKey":
    from optemu.sign import load_private_key

    return load_private_key(_pem(text))


def _public_key(text: str) -> "RSAPublicKey":
    from optemu.sign import load_public_key

    return load_public_key(_pem(text))


def _enc_key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) not in (16, 24, 32):
        raise _Refused("--enc-key: expected 64 hexadecimal digits")
    if len(key) != 32:
        _warn(f"--enc-key has {len(key)} bytes: OP-TEE decrypts with keys of 32")
    return key


def _subkeys(path: str | None) -> "SubkeyFile | None":
    from optemu.sign import parse_subkeys

    return parse_subkeys(Path(path).read_bytes(), Path(path)) if path else None


def _ta(args: argparse.Namespace, key_bits: int) -> "UnsignedImage":
    """The TA that the options describe, not signed yet."""
    from optemu import sign
    from optemu.abi import shdr

    if args.ta_version not in _U32:
        raise _Refused(f"--ta-version {args.ta_version}: it is a number of 32 bits")
    elf = Path(args.inf or f"{args.uuid}.stripped.elf").read_bytes()
    image = sign.bootstrap_ta(elf, args.uuid.bytes, key_bits, getattr(shdr, args.algo), args.ta_version)
    if not args.enc_key:
        return image
    return sign.encrypt_ta(image, _enc_key(args.enc_key), getattr(shdr, args.enc_key_type))


def _under(image: "UnsignedImage", args: argparse.Namespace) -> "UnsignedImage":
    """``image`` behind --subkey, if there is one."""
    from optemu.abi import gp

    file = _subkeys(args.subkey)
    name = args.name or ""
    if file is None:
        if name:
            _warn("--name means nothing without --subkey")
        return image
    above, expected = file.above(name), file.next_uuid(name)
    if args.uuid.bytes != expected:
        _warn(f"no core will take {args.uuid} under this subkey and name, which ask for {gp.uuid_str(expected)}")
    return image.under(above)


def _write(path: str, data: bytes) -> None:
    Path(path).write_bytes(data)


def _warn(text: str) -> None:
    print(f"optemu sign: warning: {text}", file=sys.stderr)


# --- the command line -----------------------------------------------------------------------------------------


def _int(text: str) -> int:
    return int(text, 0)


def _uuid(text: str) -> "UUID":
    from uuid import UUID

    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no UUID") from None


_DESCRIPTION = "Sign TA images, and encrypt them: the verbs and options of OP-TEE's sign_encrypt.py."
_OFFLINE = """\
To sign the digest elsewhere with OpenSSL (for PKCS1_V1_5: rsa_padding_mode:pkcs1, and neither of the last two):
  base64 -d UUID.dig | openssl pkeyutl -sign -inkey KEY.pem -pkeyopt digest:sha256 \\
      -pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:digest -pkeyopt rsa_mgf1_md:sha256 | base64 > UUID.sig
"""

_OPTIONS: dict[str, dict[str, Any]] = {
    "--uuid": {"metavar": "UUID", "type": _uuid, "required": True, "help": "UUID of the TA or subkey"},
    "--key": {"metavar": "PEM", "required": True, "help": "key to sign with; to digest, stitch or verify either half"},
    "--in": {"metavar": "FILE", "dest": "inf", "help": "what to read"},
    "--out": {"metavar": "FILE", "dest": "outf", "help": "what to write (default for a TA: UUID.ta)"},
    "--ta-version": {"metavar": "N", "type": _int, "default": 0, "help": "for rollback protection (default 0)"},
    "--subkey": {"metavar": "FILE", "help": "the subkey that --key is, as sign-subkey wrote it"},
    "--name": {"metavar": "NAME", "help": "name below the subkey, of which it makes the UUID"},
    "--enc-key": {"metavar": "HEX", "help": "AES-GCM key of 32 bytes: the TA is encrypted"},
    "--enc-key-type": {"choices": _KEY_TYPES, "default": _KEY_TYPES[0], "help": "whose it is (default: one device's)"},
    "--algo": {"choices": _ALGOS, "default": _ALGOS[0], "help": "hash and signature (default: the first)"},
    "--sig": {"metavar": "FILE", "dest": "sigf", "help": "signature to read, in base64 (default UUID.sig)"},
    "--dig": {"metavar": "FILE", "dest": "digf", "help": "digest to write, in base64 (default UUID.dig)"},
    "--max-depth": {"metavar": "N", "type": _int, "help": "levels of subkeys below (default: as many as may be, or 0)"},
    "--name-size": {"metavar": "N", "type": _int, "help": "room for names below; 0: the UUID is handed on as it is"},
    "--subkey-version": {"metavar": "N", "type": _int, "default": 0, "help": "for rollback protection (default 0)"},
}


@dataclass(frozen=True, slots=True)
class _Verb:
    """A row of the table of verbs; in ``options`` an exclamation mark follows those that must be given."""

    name: str
    alias: str | None
    command: Callable[[argparse.Namespace], None]
    help: str
    reads: str
    options: str


_ELF = "stripped ELF file (default UUID.stripped.elf)"
_TA = "--uuid --key --in --ta-version --enc-key --enc-key-type --algo"
_VERBS = (
    _Verb("sign-enc", None, _sign_enc, "sign a TA; the default verb", _ELF, f"{_TA} --subkey --name --out"),
    _Verb("digest", "generate-digest", _digest, "write the digest that is signed, of a TA", _ELF, f"{_TA} --dig"),
    _Verb("stitch", "stitch-ta", _stitch, "make the image with a signature made elsewhere", _ELF, f"{_TA} --sig --out"),
    _Verb("verify", None, _verify, "check an image", "image (default UUID.ta)", "--uuid --key --in --enc-key"),
    _Verb("display", None, _display, "show an image field by field", "image", "--in!"),
    _Verb("subkey-uuid", None, _subkey_uuid, "show the UUID of the next subkey or TA", "subkey file", "--in! --name"),
    _Verb(
        "sign-subkey",
        None,
        _sign_subkey,
        "sign a key that is to sign TAs or further subkeys",
        "PEM file with the new key, either half of it",
        "--uuid --key --in! --out! --max-depth --name-size! --subkey --name --subkey-version --algo",
    ),
)


def _add_verbs(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="what", metavar="VERB", required=True)
    for verb in _VERBS:
        p = verbs.add_parser(
            verb.name,
            aliases=[verb.alias] if verb.alias else [],
            help=verb.help,
            description=f"{verb.help[0].upper()}{verb.help[1:]}.",
            epilog=_OFFLINE if verb.command is _digest else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for option in verb.options.split():
            settings = dict(_OPTIONS[option.rstrip("!")])
            if option.endswith("!"):
                settings["required"] = True
            if settings.get("dest") == "inf":
                settings["help"] = verb.reads
            p.add_argument(option.rstrip("!"), **settings)
        p.set_defaults(command=verb.command)
