"""A directory that the real OP-TEE wrote (board_directory/README.md) opens here, in the verbs and in a TA."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from crypt_client import Tee
from cryptography.hazmat.primitives.asymmetric import ec
from tas.constants import CRYPT_UUID, QUIET_UUID
from test_ta_storage import names

from optemu import sign
from optemu.abi import cryp, gp, shdr
from optemu.abi.obj import TEE_DATA_FLAG_ACCESS_READ, TEE_DATA_FLAG_ACCESS_WRITE, TEE_STORAGE_PRIVATE
from optemu.board.config import Config
from optemu.cli import main
from optemu.cli.store import show_id
from optemu.machine import Machine
from optemu.normal_world.libteec import TeecError

BOARD = Path(__file__).parent / "board_directory" / "tee"
HELLO_UUID = "8da74583-f878-42c1-b664-0cdca277e348"
NOTES_UUID = "6d9d1bb2-5c34-4f0a-8e61-3a0b77c215d4"
READ_WRITE = TEE_DATA_FLAG_ACCESS_READ | TEE_DATA_FLAG_ACCESS_WRITE


def pattern(size: int, step: int) -> bytes:
    return bytes((step * n + n // 251) % 256 for n in range(size))


def often_written() -> bytes:
    """Begun with 3000 zeros, then forty overlapping writes of 300 octets."""
    data = bytearray(3000)
    for n in range(40):
        data[65 * n : 65 * n + 300] = pattern(300, n)
    return bytes(data)


AES_KEY = pattern(32, 11)
EC_KEY = ec.derive_private_key(int.from_bytes(b"a key that is thirty-two octets."), ec.SECP256R1())

OBJECTS = {
    bytes(range(64)): b"id of 64 octets",
    b"i": b"",
    b"one-block": pattern(4000, 3),
    b"five-blocks": pattern(20000, 5),
    b"often-written": often_written(),
    b"cut": pattern(10, 7),  # of 9000
    b"back": b"created again",
    b"key": b"data of the key",
    b"ec": b"",
}
"""What the board's crypt TA kept, by identifier."""

NOTE = pattern(1000, 13)
"""The note "long" that the TA of examples/secure_storage kept there."""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with the board's."""
    shutil.copytree(BOARD, tmp_path / "state" / "tee")
    return tmp_path / "state"


@pytest.fixture
def machine(state: Path, built: Path, tmp_path: Path) -> Iterator[Machine]:
    """On the board's directory; the quiet TA is not in the normal world, for the board has it installed."""
    tas = tmp_path / "tas"
    tas.mkdir()
    for uuid in (CRYPT_UUID, HELLO_UUID):
        shutil.copy(built / f"{uuid}.ta", tas)
    with Machine(Config(state=state), ta_dirs=[tas]) as m:
        yield m


@pytest.fixture
def tee(machine: Machine) -> Iterator[Tee]:
    with machine.connect() as c, c.OpenSession(UUID(CRYPT_UUID)) as session:
        yield Tee(session)


def cat(capfdbinary: pytest.CaptureFixture[bytes], state: Path, uuid: str, name: bytes) -> bytes | int:
    """The object's data, or the status."""
    status = main(["storage", "cat", "--state", str(state), uuid, show_id(name)])
    return status or capfdbinary.readouterr().out


def test_the_verbs_read_it(state: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for directory in (state, state / "tee"):
        assert main(["storage", "check", "--state", str(directory)]) == 0
        assert capfdbinary.readouterr().out == b"12 objects, 1 installed TA, 0 damaged\n"
    assert main(["storage", "ls", "--state", str(state)]) == 0
    listed = capfdbinary.readouterr().out.decode()
    assert f"installed TA: {QUIET_UUID}, version 2" in listed
    assert "AES 256" in listed
    assert "ECDSA_KEYPAIR 256" in listed
    for name, data in OBJECTS.items():
        assert cat(capfdbinary, state, CRYPT_UUID, name) == data
    assert cat(capfdbinary, state, NOTES_UUID, b"long") == NOTE


def test_a_ta_reads_it(tee: Tee) -> None:
    assert {name: info.data_size for name, info in names(tee).items()} == {k: len(v) for k, v in OBJECTS.items()}
    for name, data in OBJECTS.items():
        obj = tee.TEE_OpenPersistentObject(TEE_STORAGE_PRIVATE, name, TEE_DATA_FLAG_ACCESS_READ)
        assert tee.TEE_ReadObjectData(obj, 1 << 16) == data
        tee.TEE_CloseObject(obj)
    key = tee.TEE_OpenPersistentObject(TEE_STORAGE_PRIVATE, b"key", READ_WRITE)
    assert tee.TEE_GetObjectInfo1(key).usage == cryp.TEE_USAGE_EXTRACTABLE | cryp.TEE_USAGE_ENCRYPT
    assert tee.TEE_GetObjectBufferAttribute(key, cryp.TEE_ATTR_SECRET_VALUE) == AES_KEY
    pair = tee.TEE_OpenPersistentObject(TEE_STORAGE_PRIVATE, b"ec", READ_WRITE)
    for attr, value in ec_attributes():
        if not attr & cryp.TEE_ATTR_FLAG_VALUE:
            assert tee.TEE_GetObjectBufferAttribute(pair, attr) == value


def ec_attributes() -> list[tuple[int, bytes] | tuple[int, int]]:
    numbers = EC_KEY.private_numbers()
    return [
        (cryp.TEE_ATTR_ECC_CURVE, cryp.TEE_ECC_CURVE_NIST_P256),
        (cryp.TEE_ATTR_ECC_PRIVATE_VALUE, numbers.private_value.to_bytes(32)),
        (cryp.TEE_ATTR_ECC_PUBLIC_VALUE_X, numbers.public_numbers.x.to_bytes(32)),
        (cryp.TEE_ATTR_ECC_PUBLIC_VALUE_Y, numbers.public_numbers.y.to_bytes(32)),
    ]


def test_a_ta_changes_it(state: Path, built: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with (
        Machine(Config(state=state), ta_dirs=[built]) as m,
        m.connect() as c,
        c.OpenSession(UUID(CRYPT_UUID)) as session,
    ):
        tee = Tee(session)
        obj = tee.TEE_OpenPersistentObject(TEE_STORAGE_PRIVATE, b"five-blocks", READ_WRITE)
        tee.TEE_WriteObjectData(obj, b"changed here")
        tee.TEE_CreatePersistentObject(TEE_STORAGE_PRIVATE, b"of ours", READ_WRITE, 0, b"new", handle=False)
    assert main(["storage", "check", "--state", str(state)]) == 0
    assert capfdbinary.readouterr().out == b"13 objects, 1 installed TA, 0 damaged\n"
    assert cat(capfdbinary, state, CRYPT_UUID, b"five-blocks") == b"changed here" + OBJECTS[b"five-blocks"][12:]


def test_the_installed_ta_runs(machine: Machine) -> None:
    with machine.connect() as c, c.OpenSession(UUID(QUIET_UUID)):
        pass


def test_a_version_seen_on_the_board_counts(machine: Machine, built: Path, tmp_path: Path) -> None:
    """It loaded version 3 of hello_world."""
    part = next(iter(shdr.parse_image((built / f"{HELLO_UUID}.ta").read_bytes())))
    assert isinstance(part, shdr.TaPart)
    key, pss = sign.load_private_key(sign.DEV_KEY), sign.SIG_ALGOS["pss"]
    results = []
    for version in (0, 2, 3):
        image = sign.bootstrap_ta(bytes(part.payload), UUID(HELLO_UUID).bytes, key.key_size, pss, version)
        (tmp_path / "tas" / f"{HELLO_UUID}.ta").write_bytes(image.sign(key))
        with machine.connect() as c:
            try:
                c.OpenSession(UUID(HELLO_UUID)).CloseSession()
                results.append(0)
            except TeecError as e:
                results.append(e.code)
    assert results == [gp.TEE_ERROR_ACCESS_CONFLICT, gp.TEE_ERROR_ACCESS_CONFLICT, 0]


@pytest.mark.parametrize("name", sorted(p.name for p in BOARD.iterdir()))
def test_a_flipped_byte(state: Path, capfdbinary: pytest.CaptureFixture[bytes], name: str) -> None:
    """Is found, unless it lies in what an older version left behind: then all reads as before."""
    file = state / "tee" / name
    raw = file.read_bytes()
    found = 0
    for at in range(7, len(raw), 1499):
        file.write_bytes(raw[:at] + bytes([raw[at] ^ 0x40]) + raw[at + 1 :])
        if main(["storage", "check", "--state", str(state)]):
            found += 1
        else:
            capfdbinary.readouterr()
            assert all(cat(capfdbinary, state, CRYPT_UUID, k) == v for k, v in OBJECTS.items()), at
            assert cat(capfdbinary, state, NOTES_UUID, b"long") == NOTE
    assert found
