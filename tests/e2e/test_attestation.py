"""The attestation TA: what it says of images, of a TA's memory and of the core, and that its signature says so."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from tas.constants import PROBE, PROBE_ARM_UUID, PROBE_UUID

from optemu.abi import gp, shdr
from optemu.board.config import Config
from optemu.machine import Machine
from optemu.normal_world.libteec import Context, Operation, Session, TeecError, TempMemref, Value
from optemu.secure_world.pta.attestation import (
    PTA_ATTESTATION_GET_PUBKEY,
    PTA_ATTESTATION_GET_TA_SHDR_DIGEST,
    PTA_ATTESTATION_HASH_TA_MEMORY,
    PTA_ATTESTATION_HASH_TEE_MEMORY,
    AttestationPta,
)

PTA = UUID(bytes=AttestationPta.uuid)
NONCE = b"asked just now"
SIGNED_SIZE = 32 + 3072 // 8


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kept for all tests here: making the key takes its time."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture
def machine(built: Path, state: Path) -> Iterator[Machine]:
    with Machine(Config(state=state), ta_dirs=[built]) as m:
        yield m


def public_key(context: Context) -> RSAPublicKey:
    exponent, modulus, algorithm = TempMemref.output(8), TempMemref.output(512), Value.output()
    with context.OpenSession(PTA) as pta:
        pta.InvokeCommand(PTA_ATTESTATION_GET_PUBKEY, Operation(exponent, modulus, algorithm))
    assert algorithm.a == shdr.TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256
    e, n = (int.from_bytes(ref.data[: ref.size], "big") for ref in (exponent, modulus))
    return RSAPublicNumbers(e, n).public_key()


def verified(context: Context, out: bytes, nonce: bytes = NONCE) -> bytes:
    """The hash in ``out``, whose signature is right; InvalidSignature."""
    assert len(out) == SIGNED_SIZE
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), salt_length=32)
    public_key(context).verify(out[32:], nonce + out[:32], pss, hashes.SHA256())
    return out[:32]


def shdr_digest(context: Context, uuid: str) -> bytes:
    out = TempMemref.output(SIGNED_SIZE)
    memory = gp.uuid_to_memory(UUID(uuid).bytes)
    with context.OpenSession(PTA) as pta:
        operation = Operation(TempMemref.input(memory), TempMemref.input(NONCE), out)
        pta.InvokeCommand(PTA_ATTESTATION_GET_TA_SHDR_DIGEST, operation)
    return out.data


def ta_memory(probe: Session) -> bytes:
    """As the TA behind ``probe`` asks for it."""
    handle = Value.output()
    pta = TempMemref.input(AttestationPta.uuid)
    probe.InvokeCommand(PROBE["PROBE_CMD_OPEN_TA"], Operation(pta, handle))
    out = TempMemref.output(SIGNED_SIZE)
    request = Value.input(handle.a, PTA_ATTESTATION_HASH_TA_MEMORY)
    operation = Operation(request, TempMemref.input(NONCE), out, Value.output())
    probe.InvokeCommand(PROBE["PROBE_CMD_INVOKE_TA"], operation)
    probe.InvokeCommand(PROBE["PROBE_CMD_CLOSE_TA"], Operation(Value.input(handle.a, 0)))
    return out.data


def test_the_digest_of_an_image(context: Context, built: Path) -> None:
    for uuid in (PROBE_UUID, PROBE_ARM_UUID):
        part = next(iter(shdr.parse_image((built / f"{uuid}.ta").read_bytes())))
        assert isinstance(part, shdr.TaPart)
        assert verified(context, shdr_digest(context, uuid)) == bytes(part.header.hash)


def test_what_was_changed_or_asked_before_is_not_signed(context: Context) -> None:
    out = shdr_digest(context, PROBE_UUID)
    verified(context, out)
    for wrong in (bytes([out[0] ^ 1]) + out[1:], out[:-1] + bytes([out[-1] ^ 1])):
        with pytest.raises(InvalidSignature):
            verified(context, wrong)
    with pytest.raises(InvalidSignature):
        verified(context, out, b"asked before")


def test_an_image_that_is_not_there(context: Context) -> None:
    with pytest.raises(TeecError) as failure:
        shdr_digest(context, str(UUID(int=1)))
    assert failure.value.code == gp.TEE_ERROR_ITEM_NOT_FOUND


def test_the_memory_of_a_ta(context: Context, built: Path, state: Path) -> None:
    """The same in every instance, wherever it is loaded and whatever it has done; another for another TA."""
    found: dict[str, set[bytes]] = {PROBE_UUID: set(), PROBE_ARM_UUID: set()}
    for uuid, seen in found.items():
        with context.OpenSession(UUID(uuid)) as one:
            seen.add(verified(context, ta_memory(one)))
            one.InvokeCommand(PROBE["PROBE_CMD_RANDOM"], Operation(TempMemref.output(64)))
            seen.add(verified(context, ta_memory(one)))
        with context.OpenSession(UUID(uuid)) as two:
            seen.add(verified(context, ta_memory(two)))
    assert [len(seen) for seen in found.values()] == [1, 1]
    assert found[PROBE_UUID] != found[PROBE_ARM_UUID]


def test_the_memory_of_a_ta_on_other_machines(built: Path, tmp_path: Path, state: Path) -> None:
    """Loaded elsewhere, as the seed has it; the key and all that it signs is that of the state directory."""
    hashes_, bases, keys = set(), set(), set()
    for seed in (1, 2, 3):
        with Machine(Config(state=state, seed=seed), ta_dirs=[built]) as m, m.connect() as c:
            with c.OpenSession(UUID(PROBE_UUID)) as probe:
                hashes_.add(verified(c, ta_memory(probe)))
                (ctx,) = (ctx for ctx in m.tee.manager.contexts if ctx.uuid == UUID(PROBE_UUID).bytes)
                bases.add(ctx.instance.image.elf.entry)
            keys.add(public_key(c).public_numbers().n)
    assert (len(hashes_), len(keys)) == (1, 1)
    assert len(bases) > 1


def test_the_core(context: Context) -> None:
    found = set()
    for _ in range(2):
        out = TempMemref.output(SIGNED_SIZE + 5)
        with context.OpenSession(PTA) as pta:
            pta.InvokeCommand(PTA_ATTESTATION_HASH_TEE_MEMORY, Operation(TempMemref.input(NONCE), out))
        assert out.size == SIGNED_SIZE
        found.add(verified(context, out.data[:SIGNED_SIZE]))
    assert len(found) == 1
