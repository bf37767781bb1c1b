"""Function tracing of TAs: what the TA's runtime notes, the core sends, and the supplicant keeps in a file."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from tas.constants import QUIET_UUID, TRACED, TRACED_ARM_UUID, TRACED_UUID

from optemu.abi import elf
from optemu.abi.ftrace import FTRACE_MAGIC
from optemu.board.config import Config
from optemu.machine import Machine
from optemu.normal_world.libteec import TEEC_ERROR_TARGET_DEAD, Session, TeecError, Value

Event = tuple[int, str]
"""Depth and name of a function that is entered; (0, "") for a return."""
RETURN: Event = (0, "")
SHT_SYMTAB, STT_FUNC = 2, 2
MOST_NESTED = 50


@pytest.fixture(params=[TRACED_UUID, TRACED_ARM_UUID], ids=["aarch64", "arm"])
def traced_uuid(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def functions(image: bytes) -> dict[int, str]:
    """Addresses, counted from the image's beginning, and names of the functions in an ELF file with symbols."""
    layout = elf.ELF64 if image[4] == 2 else elf.ELF32
    ehdr = layout.ehdr.unpack_from(image)
    sections = [layout.shdr.unpack_from(image, ehdr[6] + n * layout.shdr.size) for n in range(ehdr[12])]
    _, _, _, _, at, size, link, *_ = next(s for s in sections if s[1] == SHT_SYMTAB)
    strings = sections[link][4]
    found = {}
    for row in layout.sym.iter_unpack(image[at : at + size]):
        symbol = layout.sym_type(*row)
        if symbol.st_info & 0xF == STT_FUNC:
            start = strings + symbol.st_name
            found[symbol.st_value & ~1] = image[start : image.index(0, start)].decode()
    return found


@dataclass
class Trace:
    """What is in the supplicant's file."""

    directory: Path
    uuid: str
    functions: dict[int, str]

    @property
    def content(self) -> bytes:
        return (self.directory / f"ftrace-{self.uuid}.out").read_bytes()

    @property
    def head(self) -> str:
        return self.content.partition(FTRACE_MAGIC)[0].rstrip(b"\0").decode()

    def events(self) -> list[Event]:
        raw = self.content.partition(FTRACE_MAGIC)[2]
        assert len(raw) % 8 == 0
        words = (int.from_bytes(raw[n : n + 8], "little") for n in range(0, len(raw), 8))
        return [(w >> 56, self.name(w & (1 << 56) - 1)) if w >> 56 else RETURN for w in words]

    def name(self, address: int) -> str:
        base = re.search(r"^Function graph for TA: \S+ @ ([0-9a-f]+)$", self.head, re.M)
        assert base is not None
        starts = sorted(self.functions)
        start = starts[bisect_right(starts, address - int(base[1], 16)) - 1]
        return self.functions[start].partition(".")[0].removesuffix("_c")


@pytest.fixture
def machine(built: Path, tmp_path: Path) -> Iterator[Machine]:
    with Machine(Config(state=tmp_path), ta_dirs=[built]) as m:
        yield m


@pytest.fixture
def trace(built: Path, tmp_path: Path, traced_uuid: str) -> Trace:
    out = built / "arm" if traced_uuid == TRACED_ARM_UUID else built
    return Trace(tmp_path / "tmp", traced_uuid, functions((out / f"{traced_uuid}.elf").read_bytes()))


@pytest.fixture
def session(machine: Machine, traced_uuid: str) -> Iterator[Session]:
    with machine.connect() as context, context.OpenSession(UUID(traced_uuid)) as s:
        yield s


def command(session: Session, cmd: str, a: int, b: int = 0) -> tuple[int, int]:
    value = Value(a, b)
    session.invoke(TRACED[f"TRACED_CMD_{cmd}"], value)
    return value.a, value.b


def calls(*inner: Event) -> list[Event]:
    """The events of a command."""
    return [(1, "__ta_entry"), (2, "TA_InvokeCommandEntryPoint"), *inner, RETURN, RETURN]


MIDDLE = [(4, "middle"), (5, "leaf"), RETURN, RETURN]


def test_functions_in_their_order_and_depth(session: Session, trace: Trace) -> None:
    before = trace.events()
    assert before[:2] == [(1, "__ta_entry"), (2, "TA_CreateEntryPoint")]
    assert command(session, "CALLS", 10) == (10, 2 * 11 + 2 * 12)
    assert trace.events() == before + calls((3, "outer"), *MIDDLE, *MIDDLE, RETURN)
    session.CloseSession()
    assert trace.events()[-1] == RETURN
    assert (1, "__ta_entry") in trace.events()[len(before) + 14 :]
    assert len(list(trace.directory.iterdir())) == 1


def test_the_head_is_what_symbolize_reads(session: Session, trace: Trace) -> None:
    lines = trace.head.splitlines()
    assert lines[0] == "TEE load address @ 0x0"
    region = r"region +%d: va 0x\w{8} pa 0x\w{8,} size 0x\w{6} flags %ss \[0\]"
    assert re.fullmatch(region % (0, "r-x"), lines[1])
    assert re.fullmatch(region % (1, "rw-"), lines[2])
    base = int(lines[-1].rpartition(" ")[2], 16)
    assert lines[-2:] == [f" [0] {trace.uuid} @ 0x{base:x}", f"Function graph for TA: {trace.uuid} @ {base:x}"]
    assert trace.head.count("Function graph") == 1


def test_calls_nested_too_deeply_work_and_are_left_out(session: Session, trace: Trace) -> None:
    before = trace.events()
    assert command(session, "NESTED", 60, 1) == (60, 60 * 61 // 2)
    seen = trace.events()[len(before) :]
    entered = [(3 + n, "nested") for n in range(MOST_NESTED - 2)]
    assert seen == calls(*entered, *[RETURN] * len(entered))


def test_a_full_ring_keeps_what_came_last(session: Session, trace: Trace) -> None:
    before = trace.events()
    assert command(session, "NESTED", 3, 100)[1] == 6
    seen = trace.events()[len(before) :]
    once = [(3 + n, "nested") for n in range(4)] + [RETURN] * 4
    everything = calls(*once * 100)
    assert 300 < len(seen) < len(everything)
    assert seen == everything[-len(seen) :]


def test_floating_point_results_survive(session: Session) -> None:
    assert command(session, "FLOATING", 10) == (10, 750)


def test_a_panic_is_dumped_with_its_call_stack(
    session: Session, trace: Trace, traced_uuid: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(TeecError) as e:
        command(session, "PANIC", 10)
    assert e.value.code == TEEC_ERROR_TARGET_DEAD
    assert trace.events()[-6:] == [(3, "outer"), *MIDDLE, (4, "middle"), (5, "leaf")][-6:]
    if traced_uuid == TRACED_UUID:  # by its frames, which have other return addresses; upstream neither for Arm32
        stack = [r.message for r in caplog.records if re.fullmatch(" 0x[0-9a-f]{16}", r.message)]
        names = [trace.name(int(line, 16)) for line in stack]
        called = ["leaf", "middle", "outer", "TA_InvokeCommandEntryPoint", "__ta_entry"]
        assert [n for n in names if n in called] == called


@pytest.mark.parametrize("claim", [1 << 20, (1 << 32) - 1, 512])
def test_a_ta_that_lies_about_its_ring(
    session: Session, trace: Trace, claim: int, caplog: pytest.LogCaptureFixture
) -> None:
    before = trace.content
    command(session, "LIE", claim)
    assert trace.content == before
    assert f"{8 * claim} bytes in a ring of" in caplog.text


def test_others_are_not_traced(machine: Machine, tmp_path: Path) -> None:
    with machine.connect() as context, context.OpenSession(UUID(QUIET_UUID)) as s:
        s.invoke(1)
    assert not (tmp_path / "tmp").exists()


def test_two_instances_have_files_of_their_own(machine: Machine, trace: Trace, traced_uuid: str) -> None:
    with machine.connect() as context, context.OpenSession(UUID(traced_uuid)) as one:
        with context.OpenSession(UUID(traced_uuid)) as other:
            command(other, "CALLS", 1)
        command(one, "CALLS", 1)
    files = sorted(p.name for p in trace.directory.iterdir())
    assert files == [f"ftrace-{trace.uuid}.1.out", f"ftrace-{trace.uuid}.out"]
