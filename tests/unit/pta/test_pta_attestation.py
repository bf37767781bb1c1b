"""attestation.pta: what it refuses, and its key in storage. That its signatures are right, tests/e2e shows."""

import shutil
from pathlib import Path
from uuid import UUID

import pytest
from pta_kit import result

from optemu.abi import gp
from optemu.board.config import Config
from optemu.machine import Machine
from optemu.normal_world.libteec import TempMemref, Value
from optemu.secure_world.pta import attestation
from optemu.secure_world.pta.attestation import AttestationPta

GET_PUBKEY, SHDR_DIGEST, TA_MEMORY, TEE_MEMORY = range(4)
BAD, SHORT = gp.TEE_ERROR_BAD_PARAMETERS, gp.TEE_ERROR_SHORT_BUFFER


@pytest.fixture(autouse=True)
def small_key(monkeypatch):
    monkeypatch.setattr(attestation, "CFG_ATTESTATION_PTA_KEY_SIZE", 1024)


@pytest.fixture
def pta(session):
    return session(AttestationPta.uuid)


def pubkey(pta) -> bytes:
    exponent, modulus = TempMemref.output(3), TempMemref.output(128)
    pta.invoke(GET_PUBKEY, exponent, modulus, Value.output())
    assert exponent.data == b"\1\0\1"
    return modulus.data


def test_the_public_key_says_how_large_it_is(pta):
    for sizes in (0, 0), (3, 127), (2, 128):
        exponent, modulus = (TempMemref.output(size) for size in sizes)
        assert result(pta.invoke, GET_PUBKEY, exponent, modulus, Value.output()) == SHORT
        assert (exponent.size, modulus.size) == (3, 128)
    assert pubkey(pta) == pubkey(pta)


@pytest.mark.parametrize("cmd", [SHDR_DIGEST, TEE_MEMORY])
def test_the_answer_says_how_large_it_is(pta, cmd):
    uuid = [TempMemref.input(bytes(16))] if cmd == SHDR_DIGEST else []
    out = TempMemref.output(32 + 127)
    assert result(pta.invoke, cmd, *uuid, TempMemref.input(b"nonce"), out) == SHORT
    assert out.size == 32 + 128


def test_parameters(pta):
    nonce, out = TempMemref.input(b"nonce"), TempMemref.output(512)
    assert result(pta.invoke, TEE_MEMORY, TempMemref.input(b""), out) == BAD
    assert result(pta.invoke, SHDR_DIGEST, TempMemref.input(bytes(15)), nonce, out) == BAD
    assert result(pta.invoke, SHDR_DIGEST, TempMemref.input(bytes(16)), TempMemref.input(b""), out) == BAD
    assert result(pta.invoke, GET_PUBKEY) == BAD
    assert result(pta.invoke, 4) == BAD


def test_only_a_ta_has_memory_to_be_hashed(pta):
    """Upstream looks at the nonce before it looks who calls."""
    out = TempMemref.output(512)
    assert result(pta.invoke, TA_MEMORY, TempMemref.input(b""), out) == BAD
    assert result(pta.invoke, TA_MEMORY, TempMemref.input(b"nonce"), out) == gp.TEE_ERROR_ACCESS_DENIED


def key_on(state: Path) -> bytes | int:
    """The modulus on a machine that is started on ``state``, or the TEE_Result in place of it."""
    uuid = UUID(bytes=AttestationPta.uuid)
    with Machine(Config(state=state, log_level="none")) as m, m.connect() as c, c.OpenSession(uuid) as pta:
        modulus = TempMemref.output(128)
        code = result(pta.invoke, GET_PUBKEY, TempMemref.output(3), modulus, Value.output())
        return code or modulus.data


def test_the_key_lasts_as_long_as_the_state(tmp_path):
    one = key_on(tmp_path / "one")
    assert key_on(tmp_path / "one") == one
    assert key_on(tmp_path / "two") != one


def test_a_damaged_key_is_refused_and_then_made_anew(tmp_path):
    state = tmp_path / "state"
    one = key_on(state)
    shutil.copytree(state, tmp_path / "copy")
    file = state / "tee" / "0"
    raw = bytearray(file.read_bytes())
    for copy in range(2 * 4096, len(raw), 4096):
        raw[copy] ^= 1
    file.write_bytes(raw)
    assert key_on(state) == gp.TEE_ERROR_CORRUPT_OBJECT
    new = key_on(state)
    assert isinstance(new, bytes)
    assert new != one
    assert key_on(tmp_path / "copy") == one
