"""``optemu sign``: verbs, options and output of sign_encrypt.py, byte for byte where it is deterministic.

The hashes below are of our own output; upstream's script made the same bytes of the same inputs when they were
written down. Whoever changes one runs it again.
"""

import base64
import hashlib
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from optemu import sign
from optemu.abi import shdr
from optemu.cli import main
from optemu.cli.sign import main as optemu_sign

UUID = "8aaaf200-2450-11e4-abe2-0002a5d5c51b"
SUBKEY = "f04fa996-148a-453c-b037-1dcfbad120a6"
ELF = b"\x7fELF" + bytes(range(256)) * 4
PKCS1 = ("--algo", "TEE_ALG_RSASSA_PKCS1_V1_5_SHA256")
ENC_KEY = bytes(range(32)).hex()
OTHER_KEY = resources.files("optemu.board").joinpath("keys", "optee-default-ta-2048.pub.pem").read_bytes()

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in a directory with the ELF file and both halves of the development key; its stdout."""
    monkeypatch.chdir(tmp_path)
    Path("ta.elf").write_bytes(ELF)
    Path("key.pem").write_bytes(sign.DEV_KEY.read_bytes())
    public = sign.load_public_key(Path("key.pem"))
    Path("key.pub").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    Path("other.pub").write_bytes(OTHER_KEY)

    def call(*args: str, status: int = 0) -> str:
        assert optemu_sign(args) == status
        out, err = capsys.readouterr()
        assert bool(err) == bool(status)
        return err if status else out

    return call


TA = ("--uuid", UUID, "--key", "key.pem", "--in", "ta.elf")
TOP = ("sign-subkey", "--uuid", SUBKEY, "--key", "key.pem", "--in", "key.pub", "--name-size", "16", *PKCS1)
IDENTITY = ("sign-subkey", "--uuid", UUID, "--key", "key.pem", "--in", "other.pub", "--name-size", "0", *PKCS1)


def sha256(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((*TA, *PKCS1), "c000b40816730deeb5ad187b1448ff388b1c8cedb55a9551b5e82b558ea561b3"),
        (
            ("sign-enc", *TA, *PKCS1, "--ta-version", "0x10"),
            "9d9f77be76f56c0c53816f911d53f2711d4e273785577784c5cdcf3e2dd9e98a",
        ),
        (("digest", *TA, *PKCS1), "92ea6b535d5e215854b046bd524981162664dfbb693756e2400fc5e728ecb769"),
        (("generate-digest", *TA), "f0d24f8005423b7820b8cbb671d76ce87018fc7296c1f04f54da989195722662"),
        (
            (*TOP, "--max-depth", "2", "--subkey-version", "7"),
            "897caed5292ad5da18ad3ae1146b8324fae2fd19c0f9e81463758744a099470c",
        ),
        (IDENTITY, "697c5add79d7b52af51801109bd23385b3c86413e9e6337a0582a0ec41efa26e"),
    ],
)
def test_deterministic_output(run: Run, args: tuple[str, ...], expected: str) -> None:
    run(*args, "--dig" if "digest" in args[0] else "--out", "out")
    assert sha256("out") == expected


@pytest.mark.parametrize(
    ("key_type", "expected"),
    [
        ("SHDR_ENC_KEY_DEV_SPECIFIC", "de7f2a4b261cce7ffc6ebf633110e46ec59c51254cec0b25f59e6ed20a75df4b"),
        ("SHDR_ENC_KEY_CLASS_WIDE", "0d61dd2ff43a2bc3a9f7a1d901903a6b56d7febd4e7308668af140aafb27d524"),
    ],
)
def test_deterministic_output_encrypted(
    run: Run, monkeypatch: pytest.MonkeyPatch, key_type: str, expected: str
) -> None:
    """With the nonce fixed, which upstream draws and we derive."""
    encrypt = sign.encrypt_ta
    monkeypatch.setattr(sign, "encrypt_ta", lambda image, key, kind: encrypt(image, key, kind, bytes(range(12))))
    run(*TA, *PKCS1, "--enc-key", ENC_KEY, "--enc-key-type", key_type, "--out", "out")
    assert sha256("out") == expected


def below(run: Run) -> tuple[str, str]:
    """Two subkeys and a TA, in top.bin, mid.bin and leaf.ta; the UUIDs of the second and the third."""
    run(*TOP, "--max-depth", "2", "--subkey-version", "7", "--out", "top.bin")
    mid = run("subkey-uuid", "--in", "top.bin", "--name", "mid").split()[-1]
    under_top = ("--key", "key.pem", "--in", "key.pub", "--subkey", "top.bin", "--name", "mid")
    run("sign-subkey", "--uuid", mid, *under_top, "--name-size", "8", "--out", "mid.bin", *PKCS1)
    ta = run("subkey-uuid", "--in", "mid.bin", "--name", "ta").split()[-1]
    under_mid = ("--key", "key.pem", "--in", "ta.elf", "--subkey", "mid.bin", "--name", "ta")
    run("--uuid", ta, *under_mid, "--out", "leaf.ta", *PKCS1)
    return mid, ta


def test_chain_of_subkeys(run: Run) -> None:
    mid, ta = below(run)
    assert (mid, ta) == ("e72d4a34-9ccf-558b-8fe6-46d354f733ce", "3220ba35-95db-550d-aa28-f7f274491c3b")
    assert sha256("mid.bin") == "a6b3af08c246302a06be7e74825055c2806572f4c6c967309659108f78ba7dd0"
    assert sha256("leaf.ta") == "ea9005234c73c7a6a8934fd784d48e0cd5c1d126e272d7cfd2980cdeccf29d9c"
    subkeys = f"Subkey UUID: {SUBKEY}\nSubkey UUID: {mid}\n"
    assert run("subkey-uuid", "--in", "mid.bin") == subkeys + f"Next subkey UUID unchanged: {mid}\n"
    assert run("verify", "--uuid", mid, "--key", "key.pub", "--in", "mid.bin") == subkeys
    assert run("verify", "--uuid", ta, "--key", "key.pub", "--in", "leaf.ta") == subkeys + f"TA UUID: {ta}\n"
    why = run("verify", "--uuid", ta, "--key", "other.pub", "--in", "leaf.ta", status=1)
    assert why.startswith("optemu sign verify: no trusted key made the 4096-bit signature of the SHDR_SUBKEY")


def test_display(run: Run) -> None:
    below(run)
    golden = Path(__file__).parent / "golden" / "display-leaf.txt"
    assert run("display", "--in", "leaf.ta") == golden.read_text()


def test_display_encrypted(run: Run) -> None:
    run(*TA, "--enc-key", ENC_KEY, "--enc-key-type", "SHDR_ENC_KEY_CLASS_WIDE", "--out", "enc.ta")
    ta = next(shdr.parse_image(Path("enc.ta").read_bytes()))
    assert isinstance(ta, shdr.TaPart)
    assert ta.encrypted
    assert f"""\
 struct shdr_encrypted_ta
  enc_algo:   0x40000810 (TEE_ALG_AES_GCM)
  flags:      0x1 (SHDR_ENC_KEY_CLASS_WIDE)
  iv_size:    12 (bytes)
  iv:         {ta.encrypted.iv.hex()}
  tag_size:   16 (bytes)
  tag:        {ta.encrypted.tag.hex()}
 TA offset:  624 (0x270) bytes
 TA size:    1028 (0x404) bytes
""" in run("display", "--in", "enc.ta")


@pytest.mark.parametrize("enc", [(), ("--enc-key", ENC_KEY)])
@pytest.mark.parametrize("algo", [(), PKCS1])
def test_signed_elsewhere(run: Run, algo: tuple[str, ...], enc: tuple[str, ...]) -> None:
    """digest, a signature from somewhere else, stitch: also of an encrypted TA."""
    ta = ("--uuid", UUID, "--key", "key.pub", "--in", "ta.elf", *algo, *enc)
    run("digest", *ta)
    digest = base64.b64decode(Path(f"{UUID}.dig").read_bytes())
    pad = padding.PKCS1v15() if algo else padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    sig = sign.load_private_key(Path("key.pem")).sign(digest, pad, Prehashed(hashes.SHA256()))
    Path(f"{UUID}.sig").write_bytes(base64.encodebytes(sig))
    run("stitch", *ta)
    assert run("verify", "--uuid", UUID, "--key", "key.pub", *enc) == f"TA UUID: {UUID}\n"
    Path("one.sig").write_bytes(base64.encodebytes(sig[:-1]))
    assert "511 bytes" in run("stitch-ta", *ta, "--sig", "one.sig", "--out", "no.ta", status=1)
    Path("one.sig").write_bytes(base64.encodebytes(sig[:-1] + bytes([sig[-1] ^ 1])))
    assert "not made with this key" in run("stitch", *ta, "--sig", "one.sig", "--out", "no.ta", status=1)
    assert not Path("no.ta").exists()


def test_default_names(run: Run) -> None:
    Path(f"{UUID}.stripped.elf").write_bytes(ELF)
    run("--uuid", UUID, "--key", "key.pem")
    assert run("verify", "--uuid", UUID, "--key", "key.pem") == f"TA UUID: {UUID}\n"


REFUSED = {
    "a public key cannot sign": ("--uuid", UUID, "--key", "key.pub", "--in", "ta.elf"),
    "keys are read from PEM files only": ("--uuid", UUID, "--key", "arn:aws:kms:x", "--in", "ta.elf"),
    "no.elf: No such file": ("--uuid", UUID, "--key", "key.pem", "--in", "no.elf"),
    "no private key in PEM form": ("--uuid", UUID, "--key", "ta.elf", "--in", "ta.elf"),
    "--enc-key: expected 64 hexadecimal": (*TA, "--enc-key", "xyz"),
    "--enc-key: expected 64": (*TA, "--enc-key", "00"),
    "--ta-version -1": (*TA, "--ta-version", "-1"),
    "ta.elf: no subkey file": (*TA, "--subkey", "ta.elf"),
    "signed.ta: no subkey file: there is a TA": ("subkey-uuid", "--in", "signed.ta"),
    "is encrypted: --enc-key": ("verify", "--uuid", UUID, "--key", "key.pub", "--in", "encrypted.ta"),
    "device key does not decrypt": ("verify", *TA[:4], "--in", "encrypted.ta", "--enc-key", "00" * 32),
    f"not {SUBKEY}": ("verify", "--uuid", SUBKEY, "--key", "key.pub", "--in", "signed.ta"),
    "32 bits": (*IDENTITY, "--max-depth", "-1"),
    "none, but TAs": (*IDENTITY, "--subkey", "identity.bin"),
    "with a depth smaller than 2": (*TOP, "--subkey", "top.bin", "--max-depth", "2"),
    "gives no names": (*TA, "--subkey", "identity.bin", "--name", "x"),
    "takes 16 bytes": (*TA, "--subkey", "top.bin", "--name", "x" * 17),
    "magic is 0x464c457f": ("display", "--in", "ta.elf"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_refused(run: Run, why: str) -> None:
    """One line, exit status 1, and nothing is written."""
    run(*TA, "--out", "signed.ta")
    run(*TA, "--enc-key", ENC_KEY, "--out", "encrypted.ta")
    run(*IDENTITY, "--out", "identity.bin")
    run(*TOP, "--max-depth", "2", "--out", "top.bin")
    args = REFUSED[why]
    line = run(*args, *(() if args[0] in ("verify", "display", "subkey-uuid") else ("--out", "no.ta")), status=1)
    assert line.count("\n") == 1
    assert why in line
    assert not Path("no.ta").exists()


def test_warnings(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """What upstream's tool does without a word and no core takes."""
    run(*TOP, "--out", "top.bin")
    assert optemu_sign([*TA, "--subkey", "top.bin", "--name", "x", "--out", "out"]) == 0
    assert f"no core will take {UUID}" in capsys.readouterr().err
    assert optemu_sign([*TA, "--name", "x", "--out", "out"]) == 0
    assert "--subkey" in capsys.readouterr().err
    assert optemu_sign([*TA, "--enc-key", "00" * 16, "--out", "out"]) == 0
    assert "keys of 32" in capsys.readouterr().err


@pytest.mark.parametrize("args", [("--uuid", "x", *TA[2:]), ("frobnicate",), (), ("sign-enc",)])
def test_usage(run: Run, args: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit, match="2"):
        optemu_sign(args)


def test_both_programs(run: Run) -> None:
    """``optemu sign`` is the same, default verb and all."""
    assert main(["sign", *TA, *PKCS1, "--out", "a"]) == 0
    assert main(["sign", "sign-enc", *TA, *PKCS1, "--out", "b"]) == 0
    run(*TA, *PKCS1, "--out", "c")
    assert Path("a").read_bytes() == Path("b").read_bytes() == Path("c").read_bytes()


def test_in_a_makefile(run: Run) -> None:
    """As in upstream's ta/link.mk: the last word of SIGN_ENC is a prerequisite, so it has to be a file."""
    Path("Makefile").write_text(
        f"{UUID}.ta: ta.elf key.pem $(lastword $(SIGN_ENC))\n"
        f"\t$(SIGN_ENC) --key key.pem --uuid {UUID} --ta-version 3 --in $< --out $@\n"
    )
    program = Path(sys.executable).with_name("optemu-sign")
    subprocess.run(["make", f"SIGN_ENC={program}"], check=True, capture_output=True)
    assert run("verify", "--uuid", UUID, "--key", "key.pub") == f"TA UUID: {UUID}\n"
