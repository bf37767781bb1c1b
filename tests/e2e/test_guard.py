"""Branch protection: guarded pages as the image asks for them, signed return addresses on a board that has them."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from tas.constants import GUARD, GUARD_UUID

from optemu import sign
from optemu.board.config import Config
from optemu.machine import Machine
from optemu.normal_world.libteec import TEEC_ERROR_TARGET_DEAD, Context, TeecError, Value

ITEM_NOT_FOUND = 0xFFFF0008
BLR, BR, BR_X16 = range(3)
C, J, JC, NONE = range(4)
ALLOWED = {(BLR, C), (BLR, JC), (BR, J), (BR, JC), (BR_X16, C), (BR_X16, J), (BR_X16, JC)}


@pytest.fixture(params=[False, True], ids=["plain", "pauth"])
def pauth(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def context(built: Path, pauth: bool) -> Iterator[Context]:
    with Machine(Config(ta_pauth=pauth), ta_dirs=[built]) as m, m.connect() as c:
        yield c


def jump(context: Context, how: int, where: int) -> int:
    with context.OpenSession(UUID(GUARD_UUID)) as session:
        try:
            session.invoke(GUARD["GUARD_CMD_JUMP"], Value.input(how, where))
        except TeecError as e:
            return e.code
    return 0


def test_branch_targets(context: Context, caplog: pytest.LogCaptureFixture) -> None:
    for how in (BLR, BR, BR_X16):
        for where in (C, J, JC, NONE):
            assert jump(context, how, where) == (0 if (how, where) in ALLOWED else TEEC_ERROR_TARGET_DEAD)
    assert caplog.text.count("(BTI)") == 5


def test_an_image_that_does_not_ask_is_not_guarded(built: Path, tmp_path: Path) -> None:
    raw = (built / f"{GUARD_UUID}.ta").read_bytes()
    note = bytes.fromhex("000000c0 04000000")  # GNU_PROPERTY_AARCH64_FEATURE_1_AND, 4 bytes, bit 0 is BTI
    elf = raw[raw.index(b"\x7fELF") :].replace(note + b"\1", note + b"\0")
    image = sign.sign_ta(elf, UUID(GUARD_UUID).bytes, sign.load_private_key(sign.DEV_KEY))
    (tmp_path / f"{GUARD_UUID}.ta").write_bytes(image)
    with Machine(ta_dirs=[tmp_path]) as m, m.connect() as c:
        assert jump(c, BLR, NONE) == 0


def test_signatures(context: Context, pauth: bool) -> None:
    with context.OpenSession(UUID(GUARD_UUID)) as session:
        signs = Value.output()
        session.invoke(GUARD["GUARD_CMD_SIGNS"], signs)
        assert (signs.a, signs.b) == ((1, 0) if pauth else (0, ITEM_NOT_FOUND))
        with pytest.raises(TeecError) as caught:
            session.invoke(GUARD["GUARD_CMD_CORRUPT"])
        assert caught.value.code == TEEC_ERROR_TARGET_DEAD


def test_the_call_stack_shows_addresses_not_signatures(context: Context, caplog: pytest.LogCaptureFixture) -> None:
    with context.OpenSession(UUID(GUARD_UUID)) as session:
        with caplog.at_level(logging.ERROR, "optemu.ta"), pytest.raises(TeecError):
            session.invoke(GUARD["GUARD_CMD_PANIC"], Value.output())
        base, end = 0x4010_0000, 0x4030_0000
        stack = [int(a, 16) for a in re.findall(r" (0x[0-9a-f]{16})$", caplog.text, re.M)]
        assert len(stack) >= 4
        assert all(base <= a < end for a in stack)
