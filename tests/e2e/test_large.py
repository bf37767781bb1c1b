"""A TA far larger than a board's memory: it loads, runs, begins afresh, and costs what it touches."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from tas.constants import HERE, LARGE, LARGE_UUID

from optemu.machine import Machine
from optemu.normal_world.libteec import Session, Value
from optemu.sdk import build as sdk
from optemu.sdk.toolchain import TARGETS


def touch(session: Session) -> tuple[int, int, int, int]:
    words, heap = Value.output(), Value.output()
    session.invoke(LARGE["LARGE_CMD_TOUCH"], words, heap)
    return words.a, words.b, heap.a, heap.b


@pytest.fixture(params=["aarch64", "arm"])
def directory(request: pytest.FixtureRequest) -> Iterator[Path]:
    """With the TA; gone after the test, for pytest's own would keep hundreds of megabytes of each run."""
    with tempfile.TemporaryDirectory() as name:
        sdk.build(HERE / "large", sdk.Options(out=Path(name), host=False, target=TARGETS[request.param]))
        yield Path(name)


def test_128_megabytes(directory: Path) -> None:
    assert (directory / f"{LARGE_UUID}.ta").stat().st_size > LARGE["LARGE_SIZE"]
    with Machine(ta_dirs=[directory]) as m, m.connect() as c:
        for _ in range(2):
            with c.OpenSession(UUID(LARGE_UUID)) as session, c.OpenSession(UUID(LARGE_UUID)) as other:
                assert touch(session) == (11, 22, 1, 0)
                assert touch(session)[:2] == (12, 23)
                assert touch(other) == (11, 22, 1, 0)
        assert m.board.memory.usage(secure=True).peak < 2 * 3 * LARGE["LARGE_SIZE"]
