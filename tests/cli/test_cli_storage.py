"""``optemu storage``, on a store that was made here: some data, a key, an object with an odd name, a damaged one."""

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
from optemu.cli.store import Store, Stored, read_id, show_id
from optemu.normal_world.state import StateDir

ONE, TWO = "11111111-2222-3333-4444-555555555555", "8da74583-f878-42c1-b664-0cdca277e348"
DATA = Stored(cryp.TEE_TYPE_DATA, 0, 0, 0xFFFFFFFF, 0, b"", 0, 0, 0)
KEY = Stored(cryp.TEE_TYPE_AES, 128, 256, cryp.TEE_USAGE_ENCRYPT, 1, b"\0\0\0\x10" + bytes(range(16)), 0, 0, 0)


def make(directory: Path) -> None:
    directory.mkdir(parents=True)
    store = Store(directory, bytes(16), change=True)
    one, two = gp.uuid_octets(ONE), gp.uuid_octets(TWO)
    store.write(one, b"greeting", DATA, b"hello, world\n", False)
    store.write(two, b"aes", KEY, b"", False)
    store.write(two, b"\0\xff odd", DATA, bytes(10_000), False)
    store.write(two, b"broken", DATA, bytes(9_000), False)
    store.write(one, b"greeting", DATA, b"hello, world\n", True)
    store.files.end()


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


@pytest.mark.parametrize(("name", "lines"), [("storage", LOOK), ("storage-move", MOVE), ("storage-errors", ERRORS)])
def test_transcript(here: Shell, golden: Callable[[str, str], None], name: str, lines: list[str]) -> None:
    golden(f"{name}.txt", here.transcript(lines))


def test_nothing_is_changed_by_looking(here: Shell) -> None:
    store = here.cwd / "state" / "tee"
    before = {path.name: path.read_bytes() for path in store.iterdir()}
    for line in LOOK:
        here(line)
    assert {path.name: path.read_bytes() for path in store.iterdir()} == before


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
