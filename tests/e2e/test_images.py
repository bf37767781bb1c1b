"""Every form an image may have and every place it may lie in, on a whole machine."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from tas.constants import QUIET_UUID

from optemu import sign
from optemu.abi import gp, shdr
from optemu.board.config import Config, ConfigError, load
from optemu.cli import main
from optemu.errors import TeeError
from optemu.machine import Machine
from optemu.normal_world.libteec import TEEC_ERROR_ITEM_NOT_FOUND, TEEC_ERROR_SECURITY, TEEC_ORIGIN_TEE, TeecError
from optemu.secure_world.core import ta_store
from optemu.secure_world.core.ta_store import TA_STORES, TaBinary, TaStore
from optemu.secure_world.crypto.signed_header import TrustedKey
from optemu.secure_world.crypto.ta_enc import OtpKeys
from optemu.sign import UnsignedImage

UUID_OCTETS = UUID(QUIET_UUID).bytes
PSS = sign.SIG_ALGOS["pss"]
KEY = sign.load_private_key(sign.DEV_KEY)
CLASS_KEY = bytes(range(32))
HUK = b"\x11" * 16


@pytest.fixture(scope="module")
def elf(built: Path) -> bytes:
    parts = list(shdr.parse_image((built / f"{QUIET_UUID}.ta").read_bytes()))
    assert isinstance(parts[0], shdr.TaPart)
    return bytes(parts[0].payload)


def plain(elf: bytes) -> UnsignedImage:
    return sign.bootstrap_ta(elf, UUID_OCTETS, KEY.key_size, PSS, 3)


def legacy(elf: bytes) -> UnsignedImage:
    return UnsignedImage(shdr.SHDR_TA, PSS, KEY.key_size // 8, b"", elf)


def device(elf: bytes) -> UnsignedImage:
    modulus = TrustedKey("dev", KEY.public_key()).modulus
    return sign.encrypt_ta(plain(elf), OtpKeys(HUK)(shdr.SHDR_ENC_KEY_DEV_SPECIFIC, modulus))


def class_wide(elf: bytes) -> UnsignedImage:
    return sign.encrypt_ta(plain(elf), CLASS_KEY, shdr.SHDR_ENC_KEY_CLASS_WIDE)


def identity() -> bytes:
    """The development key as its own subkey, twice, for the UUID of the TA."""
    file = b""
    for depth in (1, 0):
        key = sign.subkey_image(
            KEY.public_key(), UUID_OCTETS, KEY.key_size, PSS, version=1, max_depth=depth, name_size=0
        )
        file = key.under(file).sign(KEY)
    return file


FORMS: dict[str, Callable[[bytes], UnsignedImage]] = {
    "legacy": legacy,
    "bootstrap": plain,
    "device": device,
    "class": class_wide,
    "subkeys": lambda elf: plain(elf).under(identity()),
    "subkeys, encrypted": lambda elf: device(elf).under(identity()),
}


def board(**settings: object) -> Config:
    return Config(huk=HUK, ta_class_key=CLASS_KEY, **settings)  # type: ignore[arg-type]


def open_and_close(m: Machine, uuid: str = QUIET_UUID) -> int:
    """TEE_Result of a session; when it is none, nothing may have been mapped."""
    before = m.board.memory.count(secure=True)
    with m.connect() as c:
        try:
            c.OpenSession(UUID(uuid)).CloseSession()
        except TeecError as e:
            assert e.origin == TEEC_ORIGIN_TEE
            assert m.board.memory.count(secure=True) == before
            assert not m.tee.manager.contexts
            return e.code
    return 0


@pytest.mark.parametrize("form", FORMS)
def test_every_form_runs(elf: bytes, tmp_path: Path, form: str) -> None:
    """Twice: the second time everything about it has been seen before."""
    (tmp_path / f"{QUIET_UUID}.ta").write_bytes(FORMS[form](elf).sign(KEY))
    with Machine(board(), ta_dirs=[tmp_path]) as m:
        assert [open_and_close(m), open_and_close(m)] == [0, 0]


@pytest.mark.parametrize("form", ["device", "subkeys"])
def test_every_flipped_byte_is_refused(elf: bytes, tmp_path: Path, form: str) -> None:
    image = FORMS[form](elf).sign(KEY)
    path = tmp_path / f"{QUIET_UUID}.ta"
    with Machine(board(), ta_dirs=[tmp_path]) as m:
        # The headers through the whole road, and then the payload.
        for at in [*range(len(image) - len(elf)), *range(len(image) - len(elf), len(image), 97)]:
            flipped = bytearray(image)
            flipped[at] ^= 1 << at % 8
            path.write_bytes(flipped)
            assert open_and_close(m) in (TEEC_ERROR_SECURITY, gp.TEE_ERROR_NOT_IMPLEMENTED)
        path.write_bytes(image)
        assert open_and_close(m) == 0


def test_a_legacy_image_under_another_name(elf: bytes, tmp_path: Path) -> None:
    """Its header names no TA, and nothing in upstream's core or ldelf asks the ELF file: the file's name counts."""
    other = str(UUID(int=1))
    for name in (QUIET_UUID, other):
        (tmp_path / f"{name}.ta").write_bytes(legacy(elf).sign(KEY))
    with Machine(board(), ta_dirs=[tmp_path]) as m:
        assert [open_and_close(m), open_and_close(m, other)] == [0, 0]
        (tmp_path / f"{other}.ta").write_bytes(plain(elf).sign(KEY))
        assert open_and_close(m, other) == TEEC_ERROR_SECURITY


def test_the_log_says_who_refused_what(elf: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / f"{QUIET_UUID}.ta").write_bytes(class_wide(elf).sign(KEY))
    logging.getLogger("optemu.core").addHandler(caplog.handler)
    with Machine(Config(huk=HUK), ta_dirs=[tmp_path]) as m:
        assert open_and_close(m) == TEEC_ERROR_SECURITY
    logging.getLogger("optemu.core").removeHandler(caplog.handler)
    assert f"Failed for TA {QUIET_UUID}: the image is encrypted with a class-wide key" in caplog.text
    assert "set ta_class_key in [board]" in caplog.text


# --- early TAs ------------------------------------------------------------------------------------------------


@pytest.fixture
def early(elf: bytes, tmp_path: Path) -> Path:
    path = tmp_path / f"{QUIET_UUID}.stripped.elf"
    path.write_bytes(elf)
    return path


def test_early_ta(early: Path) -> None:
    """From nowhere but the board's memory: there is no supplicant."""
    with Machine(board(early_tas=[early]), supplicant=False) as m:
        early.unlink()
        assert [open_and_close(m), open_and_close(m)] == [0, 0]


def test_the_early_ta_comes_first(early: Path, tmp_path: Path) -> None:
    """And where there is none, the file system's is not asked for in vain."""
    (tmp_path / f"{QUIET_UUID}.ta").write_bytes(b"rubbish")
    with Machine(board(early_tas=[early]), ta_dirs=[tmp_path]) as m:
        assert open_and_close(m) == 0
        assert open_and_close(m, str(UUID(int=1))) == TEEC_ERROR_ITEM_NOT_FOUND
    with Machine(board(), ta_dirs=[tmp_path]) as m:
        assert open_and_close(m) == TEEC_ERROR_SECURITY


def test_stores_in_their_order(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next is asked when one has not got the TA or cannot be reached, and not when it refuses."""
    asked: list[int] = []

    def store(code: int) -> TaStore:
        def refuse(*_: object) -> TaBinary:
            asked.append(code)
            raise TeeError(code)

        return TaStore(0, "test", refuse)

    missing, away, refuses = gp.TEE_ERROR_ITEM_NOT_FOUND, gp.TEE_ERROR_STORAGE_NOT_AVAILABLE, gp.TEE_ERROR_SECURITY
    for codes in ([missing, away, missing], [away, missing, away], [missing, away, refuses, missing]):
        asked.clear()
        monkeypatch.setattr(ta_store, "TA_STORES", [store(code) for code in codes])
        upto = codes.index(refuses) + 1 if refuses in codes else len(codes)
        assert open_and_close(machine) == codes[upto - 1]
        assert asked == codes[:upto]
    assert [row.priority for row in TA_STORES] == sorted(row.priority for row in TA_STORES)


def test_configuration(early: Path, tmp_path: Path) -> None:
    file = tmp_path / "optemu.toml"
    file.write_text(f'[board]\nta_class_key = "{CLASS_KEY.hex()}"\n[tee]\nearly_tas = ["{early.name}"]\n')
    config = load(file)
    assert (config.ta_class_key, config.early_tas) == (CLASS_KEY, [early])
    signed = tmp_path / f"{QUIET_UUID}.ta"
    signed.write_bytes(b"HSTO")
    for wrong, why in (
        ('[board]\nta_class_key = "00"', "64 hexadecimal digits"),
        ('[tee]\nearly_tas = "x"', "a list of ELF files"),
        ('[tee]\nearly_tas = ["quiet.elf"]', "name must be UUID.elf"),
        (f'[tee]\nearly_tas = ["{UUID(int=1)}.elf"]', "No such file"),
        (f'[tee]\nearly_tas = ["{signed.name}"]', "a signed image"),
        (f'[tee]\nearly_tas = ["{early.name}", "{early.name}"]', "another with this UUID"),
    ):
        file.write_text(wrong)
        with pytest.raises(ConfigError, match=why):
            load(file)


# --- optemu ta info -------------------------------------------------------------------------------------------


@pytest.fixture
def info(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    monkeypatch.chdir(tmp_path)
    Path("optemu.toml").write_text(f'[board]\nhuk = "{HUK.hex()}"\n')

    def call(image: bytes, *options: str) -> str:
        Path("image").write_bytes(image)
        assert main(["ta", "info", "image", *options]) == 0
        return capsys.readouterr().out

    return call


def test_info_encrypted_under_subkeys(elf: bytes, info: Callable[..., str]) -> None:
    lines = info(FORMS["subkeys, encrypted"](elf).sign(KEY)).splitlines()
    assert lines[0].startswith(f"TA {QUIET_UUID}, aarch64, ")
    assert lines[1:8] == [
        f"  subkey      {QUIET_UUID}, version 1, depth 1",
        "    signed    TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256, 4096 bit",
        f"  subkey      {QUIET_UUID}, version 1, depth 0",
        "    signed    TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256, 4096 bit",
        "  signed      SHDR_ENCRYPTED_TA, TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256, 4096 bit, version 3",
        "  encrypted   TEE_ALG_AES_GCM, device key",
        "  signer      trusted, by optemu-dev-ta.pub.pem",
    ]


def test_info_encrypted_with_a_key_not_ours(elf: bytes, info: Callable[..., str]) -> None:
    """What the headers say, and why there is no more."""
    found = json.loads(info(class_wide(elf).sign(KEY), "--json"))
    assert found["signature"]["encryption"]["key"] == "class-wide"
    assert found["signature"]["verdict"].startswith("refused: the image is encrypted with a class-wide key")
    assert "arch" not in found


def test_key_for_this_board(elf: bytes, info: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ta", "enc-key"]) == 0
    key = capsys.readouterr().out.strip()
    Path("ta.elf").write_bytes(elf)
    options = ["--uuid", QUIET_UUID, "--key", str(sign.DEV_KEY), "--in", "ta.elf", "--out", "ta"]
    assert main(["sign", *options, "--enc-key", key]) == 0
    assert "signer      trusted" in info(Path("ta").read_bytes())
    assert main(["ta", "enc-key", "--key", "optemu.toml"]) == 2


def test_info_subkey_file(info: Callable[..., str]) -> None:
    text = info(identity())
    assert text.startswith(f"Subkey {QUIET_UUID}, ")
    assert text.endswith("  signer      trusted, by optemu-dev-ta.pub.pem\n")


def test_info_legacy_and_broken(elf: bytes, info: Callable[..., str]) -> None:
    assert "SHDR_TA, TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256, 4096 bit\n" in info(legacy(elf).sign(KEY))
    assert "  contents    " in info(plain(b"\x7fELF and no more").sign(KEY))
