"""A workshop where every ``optemu`` command has something to work on."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_shell import HELLO_UUID, ROOT, Shell
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hello_world example, built by ``optemu build``."""
    work = tmp_path_factory.mktemp("cli")
    shutil.copytree(ROOT / "examples" / "hello_world", work / "hello", ignore=shutil.ignore_patterns("out"))
    status, _, err = Shell(work)("optemu build hello")
    assert status == 0, err
    return work


@pytest.fixture(scope="session")
def workshop(built: Path) -> Path:
    """A directory as README's commands expect it: a client, its TA, a file, a record; and things that are wrong."""
    out = built / "hello" / "out"
    shutil.copy(out / "hello", built / "client")
    shutil.copy(out / f"{HELLO_UUID}.ta", built)
    shutil.copy(out / f"{HELLO_UUID}.elf", built / "hello.elf")
    shutil.copy(Path(__file__).parent / "invoke.jsonl", built / "trace.jsonl")
    (built / "file").write_bytes(b"contents of a file")
    (built / "empty").mkdir()
    (built / "text").write_text("plain text\n")
    (built / "wrong.toml").write_text('[board]\nhuk = "12"\n')
    (built / "keys.toml").write_text('[tee]\nta_keys = ["text"]\n')
    (built / "nokeys.toml").write_text('[tee]\nta_keys = ["nowhere.pem"]\n')
    (built / "elliptic.toml").write_text('[tee]\nta_keys = ["elliptic.pem"]\n')
    (built / "elliptic.pem").write_bytes(_elliptic_key())
    (built / "nolog.toml").write_text('[board]\ntpm_event_log = "nowhere.log"\n')
    (built / "hollow").mkdir()
    (built / "hollow" / f"{HELLO_UUID}.ta").touch()
    shutil.copy(built / "text", built / "text.pftrace")
    (built / "text.toml").write_text("plain text\n")
    return built


def _elliptic_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def shell(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """In the workshop; afterwards the log is as it was."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("XDG_STATE_HOME", str(workshop / "state"))
    loggers = [logging.getLogger(name) for name in ("optemu", "optemu.console")]
    before = [(logger, logger.level, logger.propagate, list(logger.handlers)) for logger in loggers]
    yield Shell(workshop)
    for logger, level, propagate, handlers in before:
        logger.setLevel(level)
        logger.propagate = propagate
        logger.handlers[:] = handlers
