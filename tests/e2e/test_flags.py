"""What each TA flag promises: instances and sessions, what outlives a crash, flags that are no user TA's."""

import struct
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from tas.constants import HERE, MULTI_UUIDS, SESSIONS

from optemu import sign
from optemu.abi import gp
from optemu.abi import ta_head as th
from optemu.machine import Machine
from optemu.normal_world.libteec import (
    TEEC_ERROR_TARGET_DEAD,
    TEEC_ORIGIN_TEE,
    TEEC_ORIGIN_TRUSTED_APP,
    Context,
    Operation,
    Session,
    TeecError,
    Value,
)
from optemu.sdk import build as sdk
from optemu.sdk.toolchain import TARGETS

MANY, ONE_SESSION, MANY_SESSIONS, FAILING, KEPT_CRASHED = range(5)
BUSY, BAD_FORMAT, NO_DATA = 0xFFFF000D, 0xFFFF0005, 0xFFFF000B


@pytest.fixture(scope="module", params=["aarch64", "arm"])
def tas(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp(request.param)
    for variant in range(5):
        options = sdk.Options(out=out, host=False, defines=(f"VARIANT={variant}",), target=TARGETS[request.param])
        sdk.build(HERE / "multi", options)
    return out


@pytest.fixture
def machine(tas: Path) -> Iterator[Machine]:
    with Machine(ta_dirs=[tas]) as m:
        yield m


def open_(context: Context, variant: int, *params: Value) -> Session:
    return context.OpenSession(UUID(MULTI_UUIDS[variant]), operation=Operation(*params))


def counts(session: Session) -> tuple[int, int, int, int]:
    """Create and open entry calls of the instance, close entry calls, sessions now open."""
    a, b = Value.output(), Value.output()
    session.invoke(SESSIONS["SESSIONS_CMD_COUNTS"], a, b)
    return a.a, a.b, b.a, b.b


def count(session: Session) -> tuple[int, int]:
    """This session's counter and the instance's, before each is incremented."""
    value = Value.output()
    session.invoke(SESSIONS["SESSIONS_CMD_COUNT"], value)
    return value.a, value.b


def panic(session: Session) -> None:
    with pytest.raises(TeecError) as caught:
        session.invoke(SESSIONS["SESSIONS_CMD_PANIC"], Value.input(1))
    assert (caught.value.code, caught.value.origin) == (TEEC_ERROR_TARGET_DEAD, TEEC_ORIGIN_TEE)


def refusal(context: Context, variant: int) -> tuple[int, int]:
    with pytest.raises(TeecError) as caught:
        open_(context, variant)
    return caught.value.code, caught.value.origin


def test_without_flags_every_session_has_an_instance(context: Context, machine: Machine) -> None:
    with open_(context, MANY) as first, open_(context, MANY) as second:
        assert (count(first), count(first), count(second)) == ((0, 0), (1, 1), (0, 0))
        assert counts(first) == counts(second) == (1, 1, 0, 1)
        panic(first)
        assert count(second) == (1, 1), "another instance's panic is not ours"
    assert machine.tee.manager.contexts == []


def test_single_instance_takes_one_session(context: Context) -> None:
    with open_(context, ONE_SESSION) as only:
        assert refusal(context, ONE_SESSION) == (BUSY, TEEC_ORIGIN_TEE)
        assert count(only) == (0, 0)
    with open_(context, ONE_SESSION) as again:
        assert counts(again) == (1, 1, 0, 1), "not kept alive: a new instance"


def test_multi_session_shares_the_instance(context: Context) -> None:
    with open_(context, MANY_SESSIONS) as first:
        with open_(context, MANY_SESSIONS) as second:
            assert (count(first), count(second)) == ((0, 0), (0, 1))
            assert counts(first) == (1, 2, 0, 2)
        assert counts(first) == (1, 2, 1, 1)
    with open_(context, MANY_SESSIONS) as later:
        assert counts(later) == (1, 1, 0, 1), "gone with the last session"


def test_a_panic_takes_all_sessions_of_the_instance(context: Context) -> None:
    with open_(context, MANY_SESSIONS) as first, open_(context, MANY_SESSIONS) as second:
        panic(first)
        panic(second)
        with open_(context, MANY_SESSIONS) as third:
            assert count(third) == (0, 0), "which is not the dead one"


def test_create_entry_point_that_fails(context: Context, machine: Machine) -> None:
    assert refusal(context, FAILING) == (NO_DATA, TEEC_ORIGIN_TRUSTED_APP)
    assert machine.tee.manager.contexts == []


def test_open_entry_point_that_refuses_leaves_the_instance_to_others(context: Context) -> None:
    with open_(context, MANY_SESSIONS) as first:
        with pytest.raises(TeecError) as caught:
            open_(context, MANY_SESSIONS, Value.input(SESSIONS["SESSIONS_OPEN_REFUSE"], 0xFFFF0007))
        assert (caught.value.code, caught.value.origin) == (0xFFFF0007, TEEC_ORIGIN_TRUSTED_APP)
        assert counts(first) == (1, 2, 0, 1)


def test_keep_alive_outlives_its_sessions(context: Context) -> None:
    for n in range(3):
        with open_(context, KEPT_CRASHED) as session:
            assert count(session) == (0, n)
            assert counts(session) == (1, n + 1, n, 1)


def test_keep_crashed_stays_dead(context: Context, machine: Machine) -> None:
    """As upstream: the dead instance is not replaced, so nobody gets in until the next power-on."""
    with open_(context, KEPT_CRASHED) as session:
        panic(session)
        panic(session)
    assert refusal(context, KEPT_CRASHED)[0] == TEEC_ERROR_TARGET_DEAD
    assert len(machine.tee.manager.contexts) == 1


def with_flags(tas: Path, directory: Path, flags: int) -> None:
    """Variant 0 with other flags in its ta_head, signed anew."""
    uuid = UUID(MULTI_UUIDS[MANY])
    raw = (tas / f"{uuid}.ta").read_bytes()
    elf = bytearray(raw[raw.index(b"\x7fELF") :])
    head = elf.index(gp.uuid_to_memory(uuid.bytes))
    struct.pack_into("<I", elf, head + 20, flags)
    image = sign.sign_ta(bytes(elf), uuid.bytes, sign.load_private_key(sign.DEV_KEY))
    (directory / f"{uuid}.ta").write_bytes(image)


REMAP_SUPPORT, USER_MODE, EXEC_DDR = 1 << 6, 1 << 0, 1 << 1
"""Of kits before 3.x; they mean nothing any more and are accepted."""


@pytest.mark.parametrize(
    ("flags", "loads"),
    [
        (th.TA_FLAG_CONCURRENT, False),
        (th.TA_FLAG_CONCURRENT | th.TA_FLAG_SINGLE_INSTANCE, False),
        (1 << 14, False),
        (1 << 31, False),
        (USER_MODE | EXEC_DDR | REMAP_SUPPORT, True),
        (th.TA_FLAG_SECURE_DATA_PATH | th.TA_FLAG_CACHE_MAINTENANCE | th.TA_FLAG_DEVICE_ENUM_SUPP, True),
        (th.TA_FLAG_MULTI_SESSION | th.TA_FLAG_INSTANCE_KEEP_ALIVE | th.TA_FLAG_INSTANCE_KEEP_CRASHED, True),
        (th.TA_FLAG_DONT_CLOSE_HANDLE_ON_CORRUPT_OBJECT | th.TA_FLAG_DEVICE_ENUM_TEE_STORAGE_PRIVATE, True),
    ],
)
def test_flags_a_user_ta_may_have(tas: Path, tmp_path: Path, flags: int, loads: bool) -> None:
    with_flags(tas, tmp_path, flags)
    with Machine(ta_dirs=[tmp_path]) as m, m.connect() as c:
        if loads:
            with open_(c, MANY) as first, open_(c, MANY) as second:
                assert (count(first), count(second)) == ((0, 0), (0, 0)), "only of a single instance the rest says much"
            assert m.tee.manager.contexts == []
        else:
            assert refusal(c, MANY) == (BAD_FORMAT, TEEC_ORIGIN_TEE)
