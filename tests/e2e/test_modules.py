"""TAs in several parts: shared libraries, libraries opened at run time, thread-local storage, constructors."""

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from tas.constants import HERE as TAS
from tas.constants import LIB_LINKED_UUID, LIB_OPENED_UUID, MODULES, MODULES_UUID, PROBE_UUID

from optemu import sign
from optemu.board.config import Config
from optemu.board.memory import Region
from optemu.cli.ta import describe
from optemu.machine import Machine
from optemu.normal_world.libteec import (
    TEEC_ERROR_ITEM_NOT_FOUND,
    TEEC_ERROR_SECURITY,
    TEEC_ORIGIN_TEE,
    Session,
    TeecError,
    TempMemref,
    Value,
)
from optemu.sdk import build as sdk
from optemu.sdk.toolchain import AARCH64, ARM

TA = UUID(MODULES_UUID)


ARM_CODE = replace(ARM, cflags=tuple("-marm" if flag == "-mthumb" else flag for flag in ARM.cflags))


@pytest.fixture(scope="module", params=[AARCH64, ARM, ARM_CODE], ids=["aarch64", "thumb", "arm"])
def modules_dir(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("modules")
    sdk.build(TAS / "modules", sdk.Options(out=out, host=False, target=request.param))
    return out


@pytest.fixture
def machine(modules_dir: Path) -> Iterator[Machine]:
    with Machine(Config(seed=5), ta_dirs=[modules_dir]) as m:
        yield m


@pytest.fixture
def ta(machine: Machine) -> Iterator[Session]:
    with machine.connect() as c, c.OpenSession(TA) as session:
        yield session


def values(ta: Session, name: str, a: int = 0, b: int = 0) -> tuple[int, int]:
    p = Value.inout(a, b)
    ta.invoke(MODULES[f"MODULES_CMD_{name}"], p)
    return p.a, p.b


def opens(ta: Session, name: str) -> bool:
    done = Value.output()
    ta.invoke(MODULES["MODULES_CMD_OPEN"], TempMemref.input(name.encode()), done)
    return bool(done.a)


def call_opened(ta: Session, name: str, argument: int = 0) -> int | None:
    p = Value.inout(argument, 0)
    ta.invoke(MODULES["MODULES_CMD_CALL_OPENED"], TempMemref.input(name.encode()), p)
    return p.a if p.b else None


def test_constructors_run_once_the_libraries_first(ta: Session) -> None:
    assert values(ta, "STARTED") == (0x21, 2)
    assert values(ta, "STARTED") == (0x21, 2)
    assert opens(ta, LIB_OPENED_UUID)
    assert values(ta, "STARTED") == (0x213, 3)
    assert opens(ta, LIB_OPENED_UUID)
    assert values(ta, "STARTED") == (0x213, 3)


def test_destructors_run_the_ta_first(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    with machine.connect() as c, caplog.at_level(logging.INFO, "optemu.console"):
        with c.OpenSession(TA) as session:
            assert opens(session, LIB_OPENED_UUID)
        assert re.findall(r"(\w+)(?: library)? stops", caplog.text) == ["TA", "linked", "opened"]


def test_calls_between_ta_and_library(ta: Session) -> None:
    """Through a table of addresses that the loader filled in, and back into the TA by pointer and by name."""
    assert values(ta, "CALL", 40, 2) == (42, 2 * 2 + 3 * 2)


def test_thread_local_variables(ta: Session) -> None:
    for n in (1, 2, 3):
        mine, theirs = Value.output(), Value.output()
        ta.invoke(MODULES["MODULES_CMD_TLS"], mine, theirs)
        assert (mine.a, mine.b) == (100 + n + n, 200 + n - 1)
        assert (theirs.a, theirs.b) == (200 + n + n, 200 + n)
        if n == 1:
            assert opens(ta, LIB_OPENED_UUID)
            assert call_opened(ta, "opened_next_tls", 5) == 305
    assert call_opened(ta, "opened_next_tls", 1) == 306


def test_an_opened_library(ta: Session) -> None:
    assert opens(ta, LIB_OPENED_UUID)
    assert call_opened(ta, "opened_half", 84) == 42
    assert call_opened(ta, "opened_constructed", 1) == 2
    assert call_opened(ta, "linked_next_tls") == 202, "not in the library, but in one that is loaded"
    assert call_opened(ta, "nobody_has_this") is None
    assert opens(ta, ""), "NULL stands for all of them"
    assert call_opened(ta, "opened_half", 8) == 4


def test_libraries_that_cannot_be_opened(ta: Session, machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    nobody = "00000000-0000-0000-0000-000000000001"
    assert not opens(ta, nobody)
    said = [r.getMessage() for r in caplog.records if r.name == "optemu.core" and r.levelno == logging.ERROR]
    assert said == [f"TA {MODULES_UUID} cannot open library {nobody}: tee-supplicant has no image {nobody}.ta"]
    assert not opens(ta, "no UUID")
    assert values(ta, "STARTED") == (0x21, 2), "the TA is as it was"
    assert opens(ta, LIB_OPENED_UUID)


def test_the_runtime_knows_its_modules(ta: Session) -> None:
    out = TempMemref.output(400)
    ta.invoke(MODULES["MODULES_CMD_MODULES"], out)
    name, *rest = out.data.decode().splitlines()
    assert name == " 2 1", "the TA has no name"
    assert [line.split()[0] for line in rest] == [LIB_LINKED_UUID]
    assert all(line.endswith(" 1") for line in rest)


def test_what_was_opened_is_gone_with_the_instance(machine: Machine) -> None:
    with machine.connect() as c:
        with c.OpenSession(TA) as session:
            before = machine.board.memory.count(secure=True)
            assert opens(session, LIB_OPENED_UUID)
            assert machine.board.memory.count(secure=True) > before
        assert machine.board.memory.count(secure=True) == before
        with c.OpenSession(TA) as session:
            assert values(session, "STARTED") == (0x21, 2)
            assert call_opened(session, "opened_half") is None


def test_nothing_is_left_of_more_instances_than_are_kept(machine: Machine) -> None:
    def regions_after(name: str) -> int:
        with machine.connect() as c:
            sessions = [c.OpenSession(TA) for _ in range(10)]
            for session in sessions:
                assert opens(session, name)
                session.CloseSession()
        return machine.board.memory.count(secure=True)

    assert regions_after("") == regions_after(LIB_OPENED_UUID)


def test_no_memory_for_a_library(machine: Machine, ta: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of its segments it is that finds none: the TA is as it was."""
    memory = machine.board.memory
    allocate, before = memory.allocate, memory.count(secure=True)
    for given in range(4):
        left = given

        def scarce(size: int, *, secure: bool, fd: int = -1) -> Region:
            nonlocal left
            left -= secure
            if secure and left < 0:
                raise MemoryError
            return allocate(size, secure=secure, fd=fd)

        with monkeypatch.context() as patch:
            patch.setattr(memory, "allocate", scarce)
            assert not opens(ta, LIB_OPENED_UUID)
        assert memory.count(secure=True) == before
        assert values(ta, "STARTED") == (0x21, 2)
    assert opens(ta, LIB_OPENED_UUID)
    assert values(ta, "STARTED") == (0x213, 3)


def test_a_panic_in_a_library_names_it(machine: Machine, ta: Session, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "optemu.ta"), pytest.raises(TeecError):
        ta.invoke(MODULES["MODULES_CMD_PANIC"])
    text = caplog.text
    assert "TA panicked with code 0x11b" in text
    bases = dict(re.findall(r"\[\d\] ([0-9a-f-]{36}) @ 0x([0-9a-f]+)", text))
    assert list(bases) == [MODULES_UUID, LIB_LINKED_UUID]
    numbers = re.findall(r"flags ....( \[\d\]| \(\w+\))", text)
    assert " [0]" in numbers
    assert " [1]" in numbers


def test_addresses_are_drawn_and_repeat_with_the_seed(modules_dir: Path) -> None:
    def addresses(seed: int, aslr: bool = True) -> list[tuple[int, int]]:
        found = []
        with Machine(Config(seed=seed, ta_aslr=aslr), ta_dirs=[modules_dir]) as m, m.connect() as c:
            for _ in range(2):
                with c.OpenSession(TA) as session:
                    found.append(values(session, "ADDRESSES"))
        return found

    first = addresses(1)
    assert first == addresses(1)
    assert first[0] == first[1], "an image is relocated once"
    assert len({tuple(addresses(seed)) for seed in (1, 2, 3, 4)}) == 4
    (ta, library), *_ = addresses(1, aslr=False)
    assert ta >> 12 == 0x40100
    assert library < ta + 0x10_0000
    assert addresses(1, aslr=False) == addresses(2, aslr=False)


def _sign(uuid: str, elf: bytes) -> bytes:
    return sign.sign_ta(elf, UUID(uuid).bytes, sign.load_private_key(sign.DEV_KEY))


def _opening(directory: Path) -> TeecError:
    with Machine(ta_dirs=[directory]) as m, m.connect() as c, pytest.raises(TeecError) as caught:
        c.OpenSession(TA)
    assert caught.value.origin == TEEC_ORIGIN_TEE
    return caught.value


def _copy(modules_dir: Path, tmp_path: Path) -> Path:
    for image in modules_dir.glob("*.ta"):
        (tmp_path / image.name).write_bytes(image.read_bytes())
    return tmp_path / f"{LIB_LINKED_UUID}.ta"


def test_every_library_is_verified(modules_dir: Path, tmp_path: Path) -> None:
    library = _copy(modules_dir, tmp_path)
    raw = bytearray(library.read_bytes())
    raw[-1] ^= 1
    library.write_bytes(raw)
    assert _opening(tmp_path).code == TEEC_ERROR_SECURITY


def test_a_library_that_is_missing(modules_dir: Path, tmp_path: Path) -> None:
    _copy(modules_dir, tmp_path).unlink()
    assert _opening(tmp_path).code == TEEC_ERROR_ITEM_NOT_FOUND


def test_a_ta_is_no_library(modules_dir: Path, tmp_path: Path, built: Path) -> None:
    """Of the other word size even, when the modules are Arm32: refused as upstream does, either way."""
    library = _copy(modules_dir, tmp_path)
    elf = (built / f"{PROBE_UUID}.ta").read_bytes()
    library.write_bytes(_sign(LIB_LINKED_UUID, elf[elf.index(b"\x7fELF") :]))
    assert _opening(tmp_path).code in (TEEC_ERROR_ITEM_NOT_FOUND, 0xFFFF0005)


def test_a_library_that_changes_makes_another_image(modules_dir: Path, tmp_path: Path) -> None:
    library = _copy(modules_dir, tmp_path)
    raw = library.read_bytes()
    elf = bytearray(raw[raw.index(b"\x7fELF") :])
    at = elf.index((200).to_bytes(4, "little"))
    with Machine(ta_dirs=[tmp_path]) as m, m.connect() as c:
        for first in (200, 700, 200):
            elf[at : at + 4] = first.to_bytes(4, "little")
            library.write_bytes(_sign(LIB_LINKED_UUID, bytes(elf)))
            with c.OpenSession(TA) as session:
                mine, theirs = Value.output(), Value.output()
                session.invoke(MODULES["MODULES_CMD_TLS"], mine, theirs)
                assert mine.b == first
        assert len(m.tee.user_tas._images) == 2


def test_ta_info_of_parts(modules_dir: Path) -> None:
    ta = describe((modules_dir / f"{MODULES_UUID}.ta").read_bytes(), Config())
    assert (ta["library"], ta["needed"]) == (False, [LIB_LINKED_UUID])
    library = describe((modules_dir / f"{LIB_LINKED_UUID}.ta").read_bytes(), Config())
    assert (library["library"], library["signature"]["uuid"]) == (True, LIB_LINKED_UUID)
    assert {s["rights"] for s in library["segments"]} == {"r--", "r-x", "rw-"}
