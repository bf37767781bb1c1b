"""Objects and TAs that ``optemu storage`` and ``optemu ta`` put on a board which was never started: there it finds them."""

import shutil
from pathlib import Path
from uuid import UUID

import pytest
from crypt_client import Tee
from tas.constants import CRYPT_UUID

from optemu.abi import gp
from optemu.abi.obj import TEE_DATA_FLAG_ACCESS_READ, TEE_STORAGE_PRIVATE, TEE_STORAGE_PRIVATE_RPMB
from optemu.board.config import Config, load
from optemu.cli import main
from optemu.machine import Machine
from optemu.normal_world.libteec import TeecError

HUK = "[board]\nhuk = '0123456789abcdef0123456789abcdef'\n"
BOARDS = [
    ("REE", "", TEE_STORAGE_PRIVATE),
    ("REE", "[tee]\nree_fs_integrity_rpmb = true\n[normal_world]\nrpmb = true\n", TEE_STORAGE_PRIVATE),
    ("RPMB", "[normal_world]\nrpmb = true\nrpmb_size = 128\n", TEE_STORAGE_PRIVATE_RPMB),
]


def machine(built: Path, config: Config, state: Path) -> Machine:
    config.state = state
    return Machine(config, ta_dirs=[built])


@pytest.fixture
def exported(built: Path, tmp_path: Path) -> Path:
    """What a TA has made on a board of another key."""
    with (
        machine(built, Config(), tmp_path / "old") as m,
        m.connect() as context,
        context.OpenSession(UUID(CRYPT_UUID)) as session,
    ):
        Tee(session).TEE_CreatePersistentObject(TEE_STORAGE_PRIVATE, b"object", TEE_DATA_FLAG_ACCESS_READ, 0, b"data")
    out = tmp_path / "exported"
    assert main(["storage", "export", "--state", str(tmp_path / "old"), CRYPT_UUID, "object", str(out)]) == 0
    return out


@pytest.mark.parametrize(("store", "settings", "storage"), BOARDS, ids=["REE", "REE with its root in RPMB", "RPMB"])
def test_an_import_before_the_first_start(
    built: Path, exported: Path, tmp_path: Path, store: str, settings: str, storage: int
) -> None:
    """And one after it, when the RPMB device has its key."""
    config, state = tmp_path / "optemu.toml", tmp_path / "new"
    config.write_text(HUK + settings)
    state.mkdir()
    moved = ["storage", "import", "--config", str(config), "--state", str(state), "--store", store, str(exported)]
    assert main(moved) == 0
    for _ in range(2):
        with (
            machine(built, load(config), state) as m,
            m.connect() as context,
            context.OpenSession(UUID(CRYPT_UUID)) as session,
        ):
            tee = Tee(session)
            obj = tee.TEE_OpenPersistentObject(storage, b"object", TEE_DATA_FLAG_ACCESS_READ)
            assert tee.TEE_ReadObjectData(obj, 100) == b"data"
        assert main([*moved, "--overwrite"]) == 0


def test_a_ta_installed_before_the_first_start(built: Path, tmp_path: Path) -> None:
    """With the root in RPMB, where it stays: a copy from before the TA was removed does not bring it back."""
    config, state, empty = tmp_path / "optemu.toml", tmp_path / "state", tmp_path / "empty"
    config.write_text(BOARDS[1][1])
    state.mkdir()
    empty.mkdir()
    options = ["--config", str(config), "--state", str(state)]
    assert main(["ta", "install", *options, str(built / f"{CRYPT_UUID}.ta")]) == 0

    def opened() -> int:
        with machine(empty, load(config), state) as m, m.connect() as context:
            try:
                context.OpenSession(UUID(CRYPT_UUID)).CloseSession()
            except TeecError as e:
                return e.code
        return 0

    assert opened() == 0
    shutil.copytree(state / "tee", tmp_path / "before")
    assert main(["ta", "remove", *options, CRYPT_UUID]) == 0
    assert opened() == gp.TEE_ERROR_ITEM_NOT_FOUND
    shutil.rmtree(state / "tee")
    shutil.copytree(tmp_path / "before", state / "tee")
    assert opened() == gp.TEE_ERROR_CORRUPT_OBJECT
