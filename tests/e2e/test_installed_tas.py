"""TAs installed in secure storage, and the versions below which TAs and subkeys are refused."""

import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from tas.constants import QUIET_UUID

from optemu import sign
from optemu.abi import gp, shdr
from optemu.board.config import Config
from optemu.cli import main
from optemu.machine import Machine
from optemu.normal_world.libteec import (
    TEEC_ERROR_ACCESS_CONFLICT,
    TEEC_ERROR_ITEM_NOT_FOUND,
    TEEC_ERROR_SECURITY,
    Operation,
    TeecError,
    TempMemref,
)
from optemu.secure_world.pta.secstor_ta_mgmt import PTA_SECSTOR_TA_MGMT_BOOTSTRAP, SecstorTaMgmtPta

UUID_OCTETS = UUID(QUIET_UUID).bytes
PSS = sign.SIG_ALGOS["pss"]
KEY = sign.load_private_key(sign.DEV_KEY)
NAME = f"{QUIET_UUID}.ta"


@pytest.fixture(scope="module")
def elf(built: Path) -> bytes:
    part = next(iter(shdr.parse_image((built / NAME).read_bytes())))
    assert isinstance(part, shdr.TaPart)
    return bytes(part.payload)


@pytest.fixture
def image(elf: bytes) -> Callable[[int], bytes]:
    """``image(version)``: a signed one."""
    return lambda version: sign.bootstrap_ta(elf, UUID_OCTETS, KEY.key_size, PSS, version).sign(KEY)


def under_subkey(elf: bytes, subkey_version: int, ta_version: int = 0) -> bytes:
    """The TA below the development key once more, as a subkey of that version."""
    key = sign.subkey_image(
        KEY.public_key(), UUID_OCTETS, KEY.key_size, PSS, version=subkey_version, max_depth=0, name_size=0
    )
    return sign.bootstrap_ta(elf, UUID_OCTETS, KEY.key_size, PSS, ta_version).under(key.sign(KEY)).sign(KEY)


class Board:
    """Machines on one state directory, one after the other, and the directory of the normal world's images."""

    def __init__(self, at: Path) -> None:
        self.state, self.tas = at / "state", at / "tas"
        self.tas.mkdir()
        self.config = Config()

    @property
    def store(self) -> Path:
        return self.state / "tee"

    def machine(self) -> Machine:
        return Machine(replace(self.config, state=self.state), ta_dirs=[self.tas])

    def put(self, raw: bytes) -> None:
        (self.tas / NAME).write_bytes(raw)

    def open(self, m: Machine) -> int:
        """TEE_Result of a session with the TA."""
        with m.connect() as c:
            try:
                c.OpenSession(UUID(QUIET_UUID)).CloseSession()
            except TeecError as e:
                return e.code
        return 0

    def run(self, raw: bytes) -> int:
        """A machine is started, with ``raw`` in the normal world."""
        self.put(raw)
        with self.machine() as m:
            return self.open(m)


def install(m: Machine, raw: bytes) -> int:
    with m.connect() as c, c.OpenSession(UUID(bytes=SecstorTaMgmtPta.uuid)) as pta:
        try:
            pta.InvokeCommand(PTA_SECSTOR_TA_MGMT_BOOTSTRAP, Operation(TempMemref.input(raw)))
        except TeecError as e:
            return e.code
    return 0


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


@pytest.fixture
def core_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logger = logging.getLogger("optemu.core")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


# --- versions of what is in the normal world ---------------------------------------------------------------------


def test_an_older_version_is_refused(
    board: Board, image: Callable[[int], bytes], core_log: pytest.LogCaptureFixture
) -> None:
    """By the same machine and by the next on its state; one of another state has seen nothing."""
    with board.machine() as m:
        for version, code in ((1, 0), (2, 0), (1, TEEC_ERROR_ACCESS_CONFLICT), (2, 0)):
            board.put(image(version))
            assert board.open(m) == code
    assert "is of version 1, and version 2 was seen here" in core_log.text
    assert board.run(image(1)) == board.run(image(0)) == TEEC_ERROR_ACCESS_CONFLICT
    assert [board.run(image(2)), board.run(image(3))] == [0, 0]
    board.state = board.state.with_name("another")
    assert board.run(image(1)) == 0


def test_an_image_that_is_not_believed_raises_no_version(board: Board, image: Callable[[int], bytes]) -> None:
    wrong = bytearray(image(9))
    wrong[-1] ^= 1
    assert [board.run(image(1)), board.run(bytes(wrong)), board.run(image(1))] == [0, TEEC_ERROR_SECURITY, 0]


def test_an_older_subkey_is_refused(board: Board, elf: bytes, core_log: pytest.LogCaptureFixture) -> None:
    assert board.run(under_subkey(elf, 2)) == 0
    assert board.run(under_subkey(elf, 1)) == TEEC_ERROR_SECURITY
    assert f"subkey {QUIET_UUID} is of version 1, and version 2 was seen here" in core_log.text
    assert board.run(under_subkey(elf, 2)) == 0


def test_versions_that_lost_their_file(board: Board, image: Callable[[int], bytes]) -> None:
    """Whoever removes the database's file does not get the older version to run: the TA is refused."""
    assert board.run(image(2)) == 0
    (board.store / "0").unlink()
    assert board.run(image(1)) != 0


@pytest.mark.parametrize("in_rpmb", [False, True])
def test_versions_outlive_the_files_only_in_rpmb(board: Board, image: Callable[[int], bytes], in_rpmb: bool) -> None:
    board.config = Config(rpmb=True, rpmb_size=128, ta_version_db_rpmb=in_rpmb)
    assert board.run(image(2)) == 0
    shutil.rmtree(board.store)
    assert board.run(image(1)) == (TEEC_ERROR_ACCESS_CONFLICT if in_rpmb else 0)


# --- installed ---------------------------------------------------------------------------------------------------


def test_the_installed_ta_runs_and_lasts(board: Board, image: Callable[[int], bytes]) -> None:
    with board.machine() as m:
        assert board.open(m) == TEEC_ERROR_ITEM_NOT_FOUND
        assert install(m, image(1)) == 0
        assert board.open(m) == 0
    assert (board.store / "0.ta").exists()
    with board.machine() as m:
        assert board.open(m) == 0


def test_it_comes_before_the_normal_worlds(board: Board, image: Callable[[int], bytes]) -> None:
    """And that one is not even looked at: neither what is wrong with it, nor its version."""
    with board.machine() as m:
        assert install(m, image(1)) == 0
    assert board.run(b"rubbish") == 0
    assert board.run(image(7)) == 0
    (board.store / "dirf.db").unlink()
    assert board.run(image(0)) == 0
    assert board.run(b"rubbish") == TEEC_ERROR_SECURITY


def test_it_is_sealed(board: Board, elf: bytes, image: Callable[[int], bytes]) -> None:
    with board.machine() as m:
        assert install(m, image(1)) == 0
    raw = (board.store / "0.ta").read_bytes()
    assert len(raw) == len(elf)
    assert elf[:16] not in raw
    assert b"GNU" not in raw


@pytest.mark.parametrize("at", [0, 5000, -1])
def test_a_damaged_file_is_refused(
    board: Board, image: Callable[[int], bytes], core_log: pytest.LogCaptureFixture, at: int
) -> None:
    """No image of the normal world takes its place. Installing it again heals it."""
    with board.machine() as m:
        assert install(m, image(1)) == 0
    file = board.store / "0.ta"
    raw = bytearray(file.read_bytes())
    raw[at] ^= 1
    file.write_bytes(raw)
    assert board.run(image(1)) == gp.TEE_ERROR_MAC_INVALID
    assert "is not what was installed: install it again" in core_log.text
    file.write_bytes(raw[: len(raw) // 2])
    assert board.run(image(1)) == gp.TEE_ERROR_MAC_INVALID
    with board.machine() as m:
        assert install(m, image(1)) == 0
        assert board.open(m) == 0
    assert [path.name for path in board.store.glob("*.ta")] == ["1.ta"]


def test_only_the_same_version_or_a_newer_replaces_it(
    board: Board, image: Callable[[int], bytes], core_log: pytest.LogCaptureFixture
) -> None:
    with board.machine() as m:
        assert [install(m, image(v)) for v in (2, 2, 3)] == [0, 0, 0]
        assert install(m, image(2)) == TEEC_ERROR_ACCESS_CONFLICT
    with board.machine() as m:
        assert install(m, image(2)) == TEEC_ERROR_ACCESS_CONFLICT
        assert board.open(m) == 0
    assert len(list(board.store.glob("*.ta"))) == 1


def test_what_cannot_be_installed(
    board: Board, elf: bytes, image: Callable[[int], bytes], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Neither by a client of the pseudo TA nor by ``optemu ta install``."""
    raw = image(1)
    legacy = sign.UnsignedImage(shdr.SHDR_TA, PSS, KEY.key_size // 8, b"", elf).sign(KEY)
    encrypted = sign.encrypt_ta(sign.bootstrap_ta(elf, UUID_OCTETS, KEY.key_size, PSS, 1), bytes(32)).sign(KEY)
    flipped = raw[:-1] + bytes([raw[-1] ^ 1])
    wrong = (b"", raw[:100], raw[:-1], raw + b"\0", flipped, legacy, encrypted, under_subkey(elf, 1))
    with board.machine() as m:
        assert [install(m, one) for one in wrong] == [TEEC_ERROR_SECURITY] * len(wrong)
        assert board.open(m) == TEEC_ERROR_ITEM_NOT_FOUND
    file = tmp_path / "wrong.ta"
    for one in wrong:
        file.write_bytes(one)
        assert main(["ta", "install", "--state", str(board.state), str(file)]) == 2
        assert capsys.readouterr().err.endswith("(TEE_ERROR_SECURITY)\n")
    assert not list(board.state.rglob("*.ta"))


def test_the_verbs_and_the_pseudo_ta_share_one_database(
    board: Board, image: Callable[[int], bytes], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What one has installed the other does not fall behind, and what is removed is gone for both."""
    file, state = tmp_path / NAME, ["--state", str(board.state)]
    board.state.mkdir()
    file.write_bytes(image(2))
    assert main(["ta", "install", *state, str(file)]) == 0
    with board.machine() as m:
        assert board.open(m) == 0
        assert install(m, image(1)) == TEEC_ERROR_ACCESS_CONFLICT
        assert install(m, image(3)) == 0
    assert main(["ta", "install", *state, str(file)]) == 2
    assert "is of version 2, and version 3 is installed" in capsys.readouterr().err
    assert main(["ta", "remove", *state, QUIET_UUID]) == 0
    with board.machine() as m:
        assert board.open(m) == TEEC_ERROR_ITEM_NOT_FOUND
        assert install(m, image(1)) == 0
        assert board.open(m) == 0


def test_the_versions_seen_are_listed(
    board: Board, elf: bytes, image: Callable[[int], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    codes = [board.run(raw) for raw in (image(2), image(1), under_subkey(elf, 4, 3), under_subkey(elf, 3, 3))]
    assert codes == [0, TEEC_ERROR_ACCESS_CONFLICT, 0, TEEC_ERROR_SECURITY]
    assert main(["storage", "ls", "--state", str(board.state)]) == 0
    listed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("lowest")]
    assert sorted(listed) == [
        f"lowest accepted: TA {QUIET_UUID}, version 3",
        f"lowest accepted: subkey {QUIET_UUID}, version 4",
    ]


def test_the_storage_verbs_know_what_is_the_cores(
    board: Board, image: Callable[[int], bytes], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with board.machine() as m:
        assert install(m, image(1)) == 0
    nobody = str(UUID(int=0))
    assert main(["storage", "check", "--state", str(board.state)]) == 0
    assert capsys.readouterr().out == "1 object, 1 installed TA, 0 damaged\n"
    assert main(["storage", "ls", "--state", str(board.state)]) == 0
    listed = capsys.readouterr().out.splitlines()[1]
    assert listed.split() == ["REE", "0", nobody, "ta.db", "installed", "TAs", "96", "2"]
    assert main(["storage", "export", "--state", str(board.state), nobody, "ta.db", str(tmp_path / "out")]) == 2
    assert "the core's own" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (board.store / "7.ta").touch()
    assert main(["storage", "check", "--state", str(board.state)]) == 0
    assert "file 7.ta: belongs to no object" in capsys.readouterr().out
