"""``optemu storage``, on a store that was made here: some data, a key, an object with an odd name, a damaged one."""

import hmac
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_shell import Shell
from hypothesis import given
from hypothesis import strategies as st

from optemu.abi import cryp, gp
from optemu.board.config import Config
from optemu.cli.store import REE, RPMB, Store, Stored, read_id, show_id
from optemu.normal_world.emmc.rpmb_device import CID
from optemu.normal_world.emmc.rpmb_image import RpmbImage
from optemu.normal_world.state import StateDir
from optemu.secure_world.storage.tee_fs import Pobj
from optemu.secure_world.storage.ver_db import SUBKEY_VER_DB, TA_VER_DB, VersionDb

ONE, TWO = "11111111-2222-3333-4444-555555555555", "8da74583-f878-42c1-b664-0cdca277e348"
DATA = Stored(cryp.TEE_TYPE_DATA, 0, 0, 0xFFFFFFFF, 0, b"", 0, 0, 0)
KEY = Stored(cryp.TEE_TYPE_AES, 128, 256, cryp.TEE_USAGE_ENCRYPT, 1, b"\0\0\0\x10" + bytes(range(16)), 0, 0, 0)


def make(directory: Path) -> None:
    directory.mkdir(parents=True)
    store = Store(directory, Config(), change=True)
    one, two = gp.uuid_octets(ONE), gp.uuid_octets(TWO)
    store.write(REE, one, b"greeting", DATA, b"hello, world\n", False)
    store.write(REE, two, b"aes", KEY, b"", False)
    store.write(REE, two, b"\0\xff odd", DATA, bytes(10_000), False)
    store.write(REE, two, b"broken", DATA, bytes(9_000), False)
    store.write(REE, one, b"greeting", DATA, b"hello, world\n", True)
    store.end()


def make_with_rpmb(state: Path) -> None:
    """What a machine with RPMB has: its root there, an object there, a TA installed, and versions it has seen."""
    directory = state / "tee"
    directory.mkdir(parents=True)
    image = RpmbImage(state / "rpmb", 1, sync=False)
    image.program_key(hmac.digest(bytes(16), CID[:9] + b"\0" + CID[10:15] + b"\0", "sha256"))
    image.close()
    store = Store(directory, Config(ree_fs_integrity_rpmb=True), change=True, rpmb=state / "rpmb")
    one, two = gp.uuid_octets(ONE), gp.uuid_octets(TWO)
    store.write(REE, one, b"greeting", DATA, b"hello, world\n", False)
    store.write(RPMB, one, b"counter", DATA, b"42\n", False)
    store.write(RPMB, two, b"aes", KEY, b"", False)
    store.tas.install(store.ree, two, 3, bytes(1000))
    VersionDb(store.fs[REE], TA_VER_DB).check_update(store.ree, two, 3)
    VersionDb(store.fs[REE], SUBKEY_VER_DB).check_update(store.ree, one, 1)
    store.end()


def make_torn(directory: Path) -> None:
    """A version database that counts two entries and has one, and one that was only begun."""
    directory.mkdir(parents=True)
    store = Store(directory, Config(), change=True)
    fs = store.fs[REE]
    for name, raw in ((TA_VER_DB, b"\0\0\0\0\2\0\0\0" + bytes(20)), (SUBKEY_VER_DB, b"")):
        fs.close(store.ree, fs.create(store.ree, Pobj(fs, gp.NIL_UUID, name), False, b"", b"", raw))
    store.end()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("COLUMNS", "100")
    make(tmp_path / "sound" / "tee")
    shutil.copytree(tmp_path / "sound", tmp_path / "state")
    raw = bytearray((tmp_path / "state" / "tee" / "3").read_bytes())
    raw[-1] ^= 1
    (tmp_path / "state" / "tee" / "3").write_bytes(raw)
    (tmp_path / "state" / "tee" / "f").touch()
    (tmp_path / "empty" / "tee").mkdir(parents=True)
    (tmp_path / "nothing").mkdir()
    shutil.copytree(tmp_path / "sound" / "tee", tmp_path / "board")
    shutil.copytree(tmp_path / "sound", tmp_path / "gone")
    (tmp_path / "gone" / "tee" / "2").unlink()
    make_with_rpmb(tmp_path / "emmc")
    (tmp_path / "rpmb.toml").write_text("[tee]\nree_fs_integrity_rpmb = true\n[normal_world]\nrpmb = true\n")
    (tmp_path / "device.toml").write_text("[normal_world]\nrpmb = true\nrpmb_size = 128\n")
    (tmp_path / "keyless.toml").write_text("[tee]\nrpmb_write_key = false\n[normal_world]\nrpmb = true\n")
    make_torn(tmp_path / "torn" / "tee")
    for name in ("new", "blank", "rooted"):
        (tmp_path / name).mkdir()
    shutil.copytree(tmp_path / "emmc", tmp_path / "back")
    (tmp_path / "other.toml").write_text('[board]\nhuk = "ffffffffffffffffffffffffffffffff"\n')
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "object.json").write_text('{"owner": 1}')
    return Shell(tmp_path)


LOOK = [
    "optemu storage ls --state state",
    f"optemu storage ls --state state {ONE}",
    "optemu storage ls --state board",
    "optemu storage ls --state empty",
    f"optemu storage cat --state state {ONE} greeting",
    "optemu storage check --state sound",
    "optemu storage check --state state",
    "optemu storage ls --state gone",
]
WITH_RPMB = [
    "optemu storage ls --state emmc --config rpmb.toml",
    "optemu storage check --state emmc --config rpmb.toml",
    f"optemu storage cat --state emmc --config rpmb.toml {ONE} counter",
    f"optemu storage cat --state emmc --config rpmb.toml --store REE {ONE} counter",
    f"optemu storage export --state emmc --config rpmb.toml {TWO} aes key",
    "optemu storage import --state emmc --config rpmb.toml key",
    "optemu storage import --state emmc --config rpmb.toml key --store RPMB --overwrite",
    "optemu storage import --state sound key --store RPMB",
    f"optemu storage ls --state emmc --config rpmb.toml {TWO}",
    "optemu storage check --state emmc --config rpmb.toml",
    "optemu storage ls --state sound --config rpmb.toml",
    "optemu storage import --state emmc key --overwrite",
]
VERSIONS = [
    "optemu storage ls --state torn",
    "optemu storage check --state torn",
    f"optemu storage ls --state emmc --config rpmb.toml {gp.uuid_str(gp.NIL_UUID)}",
]
NEW_RPMB = [
    f"optemu storage export --state sound {ONE} greeting out",
    "optemu storage import --state new --config device.toml out --store RPMB",
    "optemu storage ls --state new --config device.toml",
    f"optemu storage cat --state new {ONE} greeting",
    "optemu storage import --state new out",
    "optemu storage import --state new --config rpmb.toml out --overwrite",
    "optemu storage check --state new",
    "optemu storage import --state blank out --store RPMB",
    "optemu storage import --state blank --config keyless.toml out --store RPMB",
    "optemu storage ls --state blank --config keyless.toml",
    f"optemu storage cat --state blank {ONE} greeting",
    "optemu storage import --state blank out",
    f"optemu storage cat --state blank --store RPMB {ONE} greeting",
    "optemu storage import --state blank out --store RPMB",
    "optemu storage import --state rooted --config rpmb.toml out",
    "optemu storage check --state rooted --config rpmb.toml",
    "optemu storage import --state rooted out --overwrite",
    "optemu storage import --state new --config other.toml out --store RPMB",
]
MOVE = [
    f"optemu storage export --state state {TWO} aes key",
    "optemu storage import --state empty key",
    "optemu storage ls --state empty",
    "optemu storage import --state empty key",
    "optemu storage import --state empty --overwrite key",
    "optemu storage check --state empty",
]
ERRORS = [
    "optemu storage",
    "optemu storage ls",
    "optemu storage ls --state nowhere",
    "optemu storage ls --state nothing",
    "optemu storage ls --state state --config other.toml",
    "optemu storage ls --state state 1234",
    f"optemu storage cat --state state {ONE} missing",
    f"optemu storage cat --state state {TWO} broken",
    f"optemu storage cat --state state {ONE} hex:1",
    f"optemu storage export --state state {ONE} greeting sound",
    "optemu storage import --state state nowhere",
    "optemu storage import --state state wrong",
]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("storage", LOOK),
        ("storage-versions", VERSIONS),
        ("storage-rpmb", WITH_RPMB),
        ("storage-new-rpmb", NEW_RPMB),
        ("storage-move", MOVE),
        ("storage-errors", ERRORS),
    ],
)
def test_transcript(here: Shell, golden: Callable[[str, str], None], name: str, lines: list[str]) -> None:
    golden(f"{name}.txt", here.transcript(lines))


def test_nothing_is_changed_by_looking(here: Shell) -> None:
    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in here.cwd.glob("*/*") if path.is_file()} | {
            path: path.read_bytes() for path in here.cwd.glob("*/tee/*")
        }

    before = files()
    for line in (*LOOK, *WITH_RPMB[:4], *VERSIONS):
        here(line)
    assert files() == before


def test_what_is_set_back_or_damaged_is_told(here: Shell) -> None:
    """The root is in RPMB, and that was not set back."""
    here(f"optemu storage export --state emmc --config rpmb.toml {ONE} greeting out")
    assert here("optemu storage import --state emmc --config rpmb.toml out --overwrite")[0] == 0
    assert here("optemu storage check --state emmc --config rpmb.toml")[0] == 0
    sealed = here.cwd / "emmc" / "tee" / "0.ta"
    raw = sealed.read_bytes()
    sealed.write_bytes(raw[:-1] + bytes((raw[-1] ^ 1,)))
    status, out, _ = here("optemu storage check --state emmc --config rpmb.toml")
    assert (status, "(0.ta) is not what was installed" in out) == (1, True)
    for file in (here.cwd / "back" / "tee").iterdir():
        shutil.copy(file, here.cwd / "emmc" / "tee")
    status, _, err = here("optemu storage check --state emmc --config rpmb.toml")
    assert (status, "dirf.db: it is not the version that belongs here" in err) == (2, True)


def test_a_store_that_is_in_use_is_left_alone(here: Shell) -> None:
    here(MOVE[0])
    with StateDir(here.cwd / "state"):
        for line in (LOOK[0], MOVE[1].replace("empty", "state")):
            status, _, err = here(line)
            assert status == 2
            assert "another optemu works on this state" in err


def test_what_is_exported_and_imported_is_the_same(here: Shell) -> None:
    for n, obj in enumerate(("aes", show_id(b"\0\xff odd"))):
        assert here(f"optemu storage export --state sound {TWO} {obj} out{n}")[0] == 0
        assert here(f"optemu storage import --state empty out{n}")[0] == 0
        assert here(f"optemu storage export --state empty {TWO} {obj} again{n}")[0] == 0
        for name in ("object.json", "attributes", "data"):
            files = [here.cwd / f"{which}{n}" / name for which in ("out", "again")]
            assert files[0].read_bytes() == files[1].read_bytes()
            assert files[0].stat().st_mode & 0o777 == 0o600
    assert sorted(os.listdir(here.cwd / "empty" / "tee")) == ["0", "1", "dirf.db"]


def test_the_lowest_versions_as_json(here: Shell) -> None:
    status, out, _ = here("optemu storage ls --state emmc --config rpmb.toml --json")
    entries = [o["entries"] for o in json.loads(out)["objects"] if "entries" in o]
    assert status == 0
    assert entries == [[{"of": "TA", "uuid": TWO, "lowest": 3}], [{"of": "subkey", "uuid": ONE, "lowest": 1}]]


def test_a_key_is_programmed_only_for_what_goes_to_rpmb(here: Shell) -> None:
    """And never where the configuration forbids it."""
    state = here.cwd / "blank"
    RpmbImage(state / "rpmb", 1, sync=False).close()
    here(NEW_RPMB[0])
    assert here("optemu storage import --state blank out")[0] == 0
    assert here("optemu storage import --state blank --config keyless.toml --store RPMB out")[0] == 2
    assert here("optemu storage check --state blank")[0] == 0
    assert _has_key(state / "rpmb") is False
    assert here("optemu storage import --state blank --store RPMB out")[0] == 0
    assert _has_key(state / "rpmb") is True


def _has_key(path: Path) -> bool:
    image = RpmbImage(path, 1, sync=False)
    image.close()
    return image.key is not None


def test_what_is_damaged_as_json(here: Shell) -> None:
    status, out, _ = here("optemu storage check --state state --json")
    told = json.loads(out)
    assert (status, told["objects"], told["orphans"]) == (1, 4, ["f"])
    assert [(o["file"], o["owner"], o["id"]) for o in told["damaged"]] == [("3", TWO, "broken")]
    assert "block 2 is damaged" in told["damaged"][0]["damaged"]


def test_how_much_there_is(here: Shell) -> None:
    status, out, _ = here("optemu storage du --state sound --json")
    told = json.loads(out)
    assert status == 0
    assert {owner: (ta["objects"], ta["size"]) for owner, ta in told["tas"].items()} == {ONE: (1, 13), TWO: (3, 19_000)}
    assert all(ta["on_disk"] >= ta["size"] for ta in told["tas"].values())
    status, out, _ = here("optemu storage du --state sound")
    assert [line.split()[:3] for line in out.splitlines()[1:3]] == [[ONE, "1", "13"], [TWO, "3", "19000"]]


@given(st.binary(max_size=64))
def test_every_identifier_has_a_text_of_its_own(obj_id: bytes) -> None:
    assert read_id(show_id(obj_id)) == obj_id
