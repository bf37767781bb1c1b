"""TAs from before the entry moved from ta_head to the ELF header: their head holds it, as an address."""

import struct
from pathlib import Path
from uuid import UUID

import pytest
from tas.constants import HERE, QUIET, QUIET_UUID

from optemu import sign
from optemu.abi import elf, gp
from optemu.board.config import Config
from optemu.machine import Machine
from optemu.normal_world.libteec import TeecError, Value
from optemu.sdk import build as sdk
from optemu.sdk.toolchain import TARGETS

BAD_FORMAT = 0xFFFF0005
LOAD_BASE = 0x4010_0000
"""Where images are loaded when it is not drawn."""


@pytest.fixture(scope="module", params=["aarch64", "arm"])
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The quiet TA's ELF file."""
    out = tmp_path_factory.mktemp(request.param)
    built = sdk.build(HERE / "quiet", sdk.Options(out=out, host=False, target=TARGETS[request.param]))
    assert built.ta is not None
    raw = built.ta.read_bytes()
    return raw[raw.index(elf.ELFMAG) :]


def legacy(image: bytes, directory: Path, entry: int) -> None:
    """Sign ``image`` with its entry (plus ``entry``) in ta_head and none in the ELF header."""
    raw = bytearray(image)
    layout = elf.ELF64 if raw[4] == elf.ELFCLASS64 else elf.ELF32
    word = "<Q" if layout is elf.ELF64 else "<I"
    e_entry = elf.Ehdr(*layout.ehdr.unpack_from(raw)).e_entry
    struct.pack_into(word, raw, 24, 0)
    head = raw.index(gp.uuid_to_memory(UUID(QUIET_UUID).bytes))
    struct.pack_into("<Q", raw, head + 24, entry + e_entry)
    signed = sign.sign_ta(bytes(raw), UUID(QUIET_UUID).bytes, sign.load_private_key(sign.DEV_KEY))
    (directory / f"{QUIET_UUID}.ta").write_bytes(signed)


def test_entered_at_the_address_in_its_head(image: bytes, tmp_path: Path) -> None:
    legacy(image, tmp_path, LOAD_BASE)
    with Machine(Config(ta_aslr=False), ta_dirs=[tmp_path]) as m, m.connect() as c:
        for _ in range(2):
            with c.OpenSession(UUID(QUIET_UUID)) as session:
                value = Value.inout(41)
                session.invoke(QUIET["QUIET_CMD_INC"], value)
                assert value.a == 42


def test_an_entry_that_is_nowhere(image: bytes, tmp_path: Path) -> None:
    legacy(image, tmp_path, LOAD_BASE + (1 << 24))
    with Machine(Config(ta_aslr=False), ta_dirs=[tmp_path]) as m, m.connect() as c:
        with pytest.raises(TeecError) as caught:
            c.OpenSession(UUID(QUIET_UUID))
        assert caught.value.code == BAD_FORMAT
