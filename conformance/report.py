"""The list of cases, the reference's figures, and what is made of a run: a table, a verdict, a page of the docs."""

import csv
from pathlib import Path
from typing import NamedTuple

from conformance.suite import ABSENT, EMPTY, OK, SKIPPED, Outcome

HERE = Path(__file__).parent
CASES = HERE / "cases.tsv"
PAGE = HERE.parent / "docs" / "conformance.md"
FROM_SOURCE = HERE / "from_source.md"
"""What a run by hand showed, at the end of the page."""


VECTORS = HERE / "vectors.md"
"""What ``python -m conformance.vectors`` showed, in front of it."""


class Case(NamedTuple):
    """``claim``: yes, it passes and must go on passing; no, ``note`` says what it waits for.

    ``skips`` is why it may skip itself or check nothing, if it does so on the reference too.
    """

    name: str
    claim: str
    skips: str
    note: str


def cases() -> list[Case]:
    with CASES.open() as rows:
        return [Case(*row) for row in list(csv.reader(rows, delimiter="\t"))[1:]]


def reference() -> dict[str, tuple[str, float]]:
    """What the real thing does with each case: result and seconds."""
    with (HERE / "reference.tsv").open() as rows:
        return {name: (result, float(s)) for name, result, s in list(csv.reader(rows, delimiter="\t"))[1:]}


def passes(case: Case, outcome: Outcome) -> bool:
    return outcome.result == OK or (outcome.result in (SKIPPED, EMPTY) and bool(case.skips))


def line(case: Case, outcome: Outcome, theirs: tuple[str, float] | None) -> str:
    """One row of the table printed as the run goes on."""
    suite, _, name = case.name.partition("_")
    beside = f"{theirs[0]:>6}{theirs[1]:8.2f}" if theirs else f"{'-':>6}{'':8}"
    if passes(case, outcome):
        remark = "claimed" if case.claim == "yes" else "passes: claim it"
    else:
        remark = "CLAIMED, and does not pass" if case.claim == "yes" else case.note or outcome.why
    return f"{suite:<11}{name:<16}{outcome.result:<8}{outcome.seconds:8.2f}{outcome.subtests:7}  {beside}  {remark}"


HEAD = f"{'suite':<11}{'case':<16}{'result':<8}{'seconds':>8}{'tests':>7}  {'real':>6}{'seconds':>8}"


def add_claims(outcomes: dict[str, Outcome]) -> int:
    """Cases that pass are claimed from now on; how many are new. None is ever taken back here."""
    before = cases()
    after = [
        case._replace(claim="yes", note="") if case.name in outcomes and passes(case, outcomes[case.name]) else case
        for case in before
    ]
    CASES.write_text("".join("\t".join(row) + "\n" for row in (("case", "claim", "skips", "note"), *after)))
    return sum(a.claim != b.claim for a, b in zip(before, after, strict=True))


def write_page(outcomes: dict[str, Outcome], wall: float) -> None:
    """docs/conformance.md, from a run of every case."""
    known, theirs = cases(), reference()
    claimed = [case for case in known if case.claim == "yes"]
    passed = [case for case in known if case.name in outcomes and passes(case, outcomes[case.name])]
    text = _INTRODUCTION.format(
        claimed=len(claimed),
        total=len(known),
        passed=len(passed),
        wall=wall,
        theirs=sum(seconds for _, seconds in theirs.values()),
    )
    text += "| case | result | seconds | tests | real, seconds | |\n|---|---|---|---|---|---|\n"
    for case in known:
        outcome = outcomes[case.name]
        real = theirs.get(case.name)
        remark = case.skips if passes(case, outcome) else case.note or outcome.why
        seconds = "" if outcome.result == ABSENT else f"{outcome.seconds:.2f}"
        text += f"| {case.name} | {outcome.result} | {seconds} | {outcome.subtests or ''} | "
        text += f"{real[1] if real else ''} | {remark.replace('|', '/')} |\n"
    PAGE.write_text(text + VECTORS.read_text() + FROM_SOURCE.read_text())


def replace_vectors(text: str) -> None:
    """Another section of vectors for docs/conformance.md; the rest of it stays."""
    source = FROM_SOURCE.read_text()
    head = PAGE.read_text().removesuffix(source).removesuffix(VECTORS.read_text())
    VECTORS.write_text(text)
    PAGE.write_text(head + text + source)


_INTRODUCTION = """\
# OP-TEE's own test suite

`make conformance` fetches xtest as Debian 13 packages it for arm64, with its signed trusted applications, and runs
every case by itself under qemu-user with the preload library: a machine of its own each, empty storage, a time limit.
It fails when a case of the claimed list (`conformance/cases.tsv`) does not pass; that list only grows. A case that
skips a part of itself has not passed, unless the real thing skips it too.

    make conformance                                   # all cases; the table as it goes, logs in the cache
    python -m conformance regression_1004 pkcs11_1000  # some
    python -m conformance --claim --page               # claim what passes now, write this page

Claimed: {claimed} of {total}. Passing in the run below: {passed}, in {wall:.0f} s; the reference (OP-TEE 4.10 under
qemu-system-aarch64 on the same machine, in one run of xtest 4.10) took {theirs:.0f} s. A second of each case here is
the start of qemu-user, of Python and of the machine. Cases of the reference that xtest 4.5.0 does not have are absent.

"""
