"""``optemu ta install`` and ``remove``: from a file to a call of the TA in it, and what is refused with which words."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_shell import HELLO_UUID, Shell

from optemu import sign
from optemu.abi import gp, shdr
from optemu.board.config import Config
from optemu.cli.store import open_store
from optemu.normal_world.state import StateDir
from optemu.secure_world.crypto.signed_header import TrustedKey
from optemu.secure_world.crypto.ta_enc import OtpKeys

OTHER_UUID = "11111111-2222-3333-4444-555555555555"
PSS = sign.SIG_ALGOS["pss"]
KEY = sign.load_private_key(sign.DEV_KEY)
CALL = f"optemu invoke --state tee --ta-dir empty --log-level error {HELLO_UUID} 0 valueio:41"

STORY = [
    CALL,
    f"optemu ta install --state tee {HELLO_UUID}.ta",
    CALL,
    "optemu ta install --state tee version2.ta",
    "optemu ta install --state tee version1.ta",
    "optemu ta install --state tee version2.ta",
    "optemu storage check --state tee",
    CALL,
    f"optemu ta remove --state tee {HELLO_UUID}",
    CALL,
    "optemu storage check --state tee",
    "optemu ta install --state tee version1.ta",
]
REFUSED = [
    "optemu ta install version1.ta",
    "optemu ta install --state nowhere version1.ta",
    "optemu ta install --state full nowhere.ta",
    "optemu ta install --state full text",
    "optemu ta install --state full hello.elf",
    "optemu ta install --state full changed.ta",
    "optemu ta install --state full --config others.toml version1.ta",
    "optemu ta install --state full subkey.ta",
    "optemu ta install --state full encrypted.ta",
    "optemu ta install --state full legacy.ta",
    "optemu ta install --state full version2.ta",
    "optemu ta install --state full other.ta changed.ta",
    "optemu ta remove --state full 1234",
    f"optemu ta remove --state full {HELLO_UUID} {OTHER_UUID}",
    f"optemu ta remove --state empty {HELLO_UUID}",
    "optemu storage ls --state full",
]


def image(payload: bytes, version: int, uuid: str = HELLO_UUID) -> sign.UnsignedImage:
    return sign.bootstrap_ta(payload, gp.uuid_octets(uuid), KEY.key_size, PSS, version)


def make_images(at: Path, elf: bytes) -> None:
    uuid, size = gp.uuid_octets(HELLO_UUID), KEY.key_size
    modulus = TrustedKey("", KEY.public_key()).modulus
    device_key = OtpKeys(Config().huk)(shdr.SHDR_ENC_KEY_DEV_SPECIFIC, modulus)
    for version in (1, 2):
        (at / f"version{version}.ta").write_bytes(image(elf, version).sign(KEY))
    good = image(b"no more", 9).sign(KEY)
    (at / "changed.ta").write_bytes(good[:-1] + b"\0")
    (at / "other.ta").write_bytes(image(b"another", 1, OTHER_UUID).sign(KEY))
    (at / "encrypted.ta").write_bytes(sign.encrypt_ta(image(elf, 9), device_key).sign(KEY))
    (at / "legacy.ta").write_bytes(sign.UnsignedImage(shdr.SHDR_TA, PSS, size // 8, b"", elf).sign(KEY))
    subkey = sign.subkey_image(KEY.public_key(), uuid, size, PSS, version=1, max_depth=0, name_size=0).sign(KEY)
    (at / "subkey.ta").write_bytes(image(elf, 9).under(subkey).sign(KEY))


@pytest.fixture
def here(shell: Shell, tmp_path: Path) -> Shell:
    """``tee``: an empty state directory. ``full``: version 3 is installed there. And images, good and bad."""
    for name in (f"{HELLO_UUID}.ta", "hello.elf", "text"):
        shutil.copy(shell.cwd / name, tmp_path)
    make_images(tmp_path, (tmp_path / "hello.elf").read_bytes())
    (tmp_path / "others.toml").write_text('[tee]\nta_keys = ["others.pem"]\n')
    (tmp_path / "others.pem").write_bytes(dict(Config().trusted_keys())["optee-default-ta-2048.pub.pem"])
    for name in ("tee", "full", "empty"):
        (tmp_path / name).mkdir()
    with open_store(Config(state=tmp_path / "full"), change=True, create=True) as store:
        store.tas.install(store.ree, gp.uuid_octets(HELLO_UUID), 3, bytes(1000))
    return Shell(tmp_path)


@pytest.mark.parametrize(("name", "lines"), [("ta-db", STORY), ("ta-db-refused", REFUSED)])
def test_transcript(here: Shell, golden: Callable[[str, str], None], name: str, lines: list[str]) -> None:
    golden(f"{name}.txt", here.transcript(lines))


def test_a_store_that_is_in_use_is_left_alone(here: Shell) -> None:
    with StateDir(here.cwd / "full"):
        for line in ("optemu ta install --state full other.ta", f"optemu ta remove --state full {HELLO_UUID}"):
            status, out, err = here(line)
            assert (status, out) == (2, "")
            assert "another optemu works on this state" in err
    assert [path.name for path in (here.cwd / "full" / "tee").glob("*.ta")] == ["0.ta"]


def test_removing_from_where_nothing_is_makes_nothing(here: Shell) -> None:
    assert here(f"optemu ta remove --state empty {HELLO_UUID}")[0] == 2
    assert not list((here.cwd / "empty").iterdir())


def test_several_at_once(here: Shell) -> None:
    """Into a copy of a board's /var/lib/tee, which is no state directory."""
    shutil.copytree(here.cwd / "full" / "tee", here.cwd / "board")
    status, out, _ = here("optemu ta install --state board other.ta version2.ta")
    assert status == 2
    assert [line.split(",")[0] for line in out.splitlines()] == [f"installed TA {OTHER_UUID}"]
    status, out, _ = here(f"optemu ta remove --state board {OTHER_UUID.upper()} {HELLO_UUID} {OTHER_UUID}")
    assert (status, out) == (0, f"removed TA {OTHER_UUID}, version 1\nremoved TA {HELLO_UUID}, version 3\n")
    assert not list((here.cwd / "board").glob("*.ta"))
