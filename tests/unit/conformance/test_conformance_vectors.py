"""What is read of the vectors' files, and what is made of the TEE's answers."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3]))

from conformance.vectors.__main__ import GROUPS
from conformance.vectors.case import Calls, Case, Group, Refused, Wrong, judged, refused, same
from conformance.vectors.readers import commented, records
from conformance.vectors.run import Row, run_group

RESPONSES = """\
# CAVS 11.0
[mod = 1024, L=20]
n = 11

Msg = 00
S = 01
Msg = 02
S = 03
n = 12
Msg = 04
[P-256,SHA-1]
Msg = 05
"""


def test_fields_said_above_belong_to_every_record(tmp_path: Path) -> None:
    file = tmp_path / "a.rsp"
    file.write_text(RESPONSES)
    found = [(r["N"], r["MSG"], r.get("S"), r["[]"]) for r in records(file, "MSG")]
    first, last = "mod = 1024, L=20", "P-256,SHA-1"
    assert found == [
        ("11", "00", "01", first),
        ("11", "02", "03", first),
        ("12", "04", None, first),
        ("12", "05", None, last),
    ]
    assert next(records(file, "MSG"))["L"] == "20"


def test_fields_in_comments(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("intro\n# Key: \n0a 0b\n0c\n\n# Message:\n01\n# Encryption:\n02\n# Message:\n\n# Encryption:\n03\n")
    found = [(r["KEY"], r["MESSAGE"], r["ENCRYPTION"]) for r in commented(file, "ENCRYPTION")]
    assert found == [("0a 0b0c", "01", "02"), ("0a 0b0c", "", "03")]


def _refuse() -> object:
    raise Refused(0xFFFF3072)


@pytest.mark.parametrize(
    ("result", "call", "agrees"),
    [
        ("valid", lambda: b"x", True),
        ("valid", lambda: b"y", False),
        ("valid", _refuse, False),
        ("acceptable", lambda: b"x", True),
        ("acceptable", lambda: b"y", False),
        ("acceptable", _refuse, True),
        ("invalid", lambda: b"x", False),
        ("invalid", lambda: b"y", False),
        ("invalid", _refuse, True),
    ],
)
def test_what_agrees(result: str, call: Callable[[], object], agrees: bool) -> None:
    try:
        judged(result, call, b"x")
    except Wrong:
        assert not agrees
    else:
        assert agrees


def test_a_refusal_is_asked_for() -> None:
    refused(_refuse)
    with pytest.raises(Wrong):
        refused(lambda: b"x")


def _run(*cases: Case, stride: int = 1) -> Row:
    return run_group(Group("a", "b", (), lambda _: iter(cases)), Path(), object(), stride)  # type: ignore[arg-type]


def test_a_run_counts() -> None:
    def agrees(calls: Calls) -> None:
        same(1, 1)

    def disagrees(calls: Calls) -> None:
        same(1, 2)

    row = _run(Case("1", agrees), Case("2", disagrees), Case("3", None), Case("4", disagrees, "as OP-TEE"))
    assert (row.run, row.agreed, row.differ, row.absent, row.wrong) == (3, 1, 1, 1, ["b 2: 1 instead of 2"])
    assert _run(Case("1", agrees, "as OP-TEE")).wrong == ["b 1: agrees, but as OP-TEE"]
    assert _run(Case("1", lambda _: _refuse())).wrong == ["b 1: refused with 0xffff3072"]  # type: ignore[arg-type, return-value]
    assert _run(*[Case(f"{n}", agrees) for n in range(10)], stride=4).run == 3


def test_no_two_rows_have_the_same_files() -> None:
    names = [(group.name, group.source, tuple(group.files)) for group in GROUPS]
    assert len(set(names)) == len(names)
