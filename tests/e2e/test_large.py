"""A TA far larger than a board's memory: it loads, runs, begins afresh, and costs what it touches."""

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


@pytest.mark.parametrize("arch", ["aarch64", "arm"])
def test_128_megabytes(tmp_path: Path, arch: str) -> None:
    sdk.build(HERE / "large", sdk.Options(out=tmp_path, host=False, target=TARGETS[arch]))
    assert (tmp_path / f"{LARGE_UUID}.ta").stat().st_size > LARGE["LARGE_SIZE"]
    with Machine(ta_dirs=[tmp_path]) as m, m.connect() as c:
        for _ in range(2):
            with c.OpenSession(UUID(LARGE_UUID)) as session, c.OpenSession(UUID(LARGE_UUID)) as other:
                assert touch(session) == (11, 22, 1, 0)
                assert touch(session)[:2] == (12, 23)
                assert touch(other) == (11, 22, 1, 0)
        assert m.board.memory.usage(secure=True).used < 2 * 3 * LARGE["LARGE_SIZE"]
