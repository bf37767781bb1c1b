"""What the conformance run makes of xtest's output, and the files it goes by."""

import hashlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3]))

from conformance import packages, report, suite
from conformance.report import Case
from conformance.suite import ABSENT, CRASHED, EMPTY, FAILED, OK, SKIPPED, TIMEOUT, Outcome, judge

TAIL = """\
+-----------------------------------------------------
Result of testsuite regression filtered by "regression_1004":
regression_1004 {verdict}
+-----------------------------------------------------
{subtests} subtests of which 0 failed
1 test case of which 0 failed
107 test cases were skipped
TEE test application done!
"""


def verdict(text: str, status: int | None = 0) -> str:
    return judge("regression_1004", text, status, 1.0).result


def test_what_counts_as_passed() -> None:
    assert verdict(TAIL.format(verdict="OK", subtests=10)) == OK
    assert verdict(TAIL.format(verdict="OK", subtests=0)) == EMPTY
    assert verdict(" - 1004 -   skip test, pseudo TA not found\n" + TAIL.format(verdict="OK", subtests=3)) == SKIPPED
    assert verdict("SM3 not supported: skip subcase\n" + TAIL.format(verdict="OK", subtests=3)) == SKIPPED
    assert verdict(TAIL.format(verdict="FAILED first error at x.c:1", subtests=3), 1) == FAILED
    assert verdict(TAIL.format(verdict="OK", subtests=3), 1) == FAILED
    assert verdict("* regression_1004 Test User Crypt TA\n", 139) == CRASHED
    assert verdict("", 0) == CRASHED
    assert verdict("0 subtests of which 0 failed\n0 test cases of which 0 failed\n", 0) == ABSENT
    assert verdict(TAIL.format(verdict="OK", subtests=3), None) == TIMEOUT


def test_the_verdict_is_the_cases_own() -> None:
    assert judge("regression_100", TAIL.format(verdict="OK", subtests=1), 0, 1.0).result == CRASHED


def test_why_it_failed() -> None:
    text = "I/TA: hello\nE/TA: mine\nW/TC: TA x called y: not supported yet\nx.c:1: z has an unexpected value: 1\n"
    text += TAIL.format(verdict="FAILED first error at x.c:1", subtests=3)
    assert judge("regression_1004", text, 1, 1.0).why == "W/TC: TA x called y: not supported yet"


def test_passing_with_a_reason_to_skip() -> None:
    skipped = Outcome("a", SKIPPED, 1.0, 0)
    assert not report.passes(Case("a", "yes", "", ""), skipped)
    assert report.passes(Case("a", "yes", "no such TA on the reference", ""), skipped)
    assert not report.passes(Case("a", "yes", "no such TA on the reference", ""), Outcome("a", FAILED, 1.0, 1))


def test_the_claimed_list_only_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = tmp_path / "cases.tsv"
    listed.write_text("case\tclaim\tskips\tnote\na\tyes\t\t\nb\tno\t\twaits for x\nc\tno\t\twaits for y\n")
    monkeypatch.setattr(report, "CASES", listed)
    outcomes = {"a": Outcome("a", FAILED, 1.0, 1), "b": Outcome("b", OK, 1.0, 1), "c": Outcome("c", FAILED, 1.0, 1)}
    assert report.add_claims(outcomes) == 1
    assert report.cases() == [Case("a", "yes", "", ""), Case("b", "yes", "", ""), Case("c", "no", "", "waits for y")]


def test_the_files_of_the_tree() -> None:
    cases = report.cases()
    names = [case.name for case in cases]
    assert len(set(names)) == len(names)
    assert set(report.reference()) <= set(names)
    assert all(case.claim in ("yes", "no") for case in cases)
    assert all(case.claim == "yes" or case.note for case in cases), "every other case says what it waits for"
    assert all(len(package.sha256) == 64 and package.kind in ("suite", "library") for package in packages.listed())


def test_a_case_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all it started; the rest of the run goes on."""
    program = tmp_path / "hang"
    program.write_text("#!/bin/sh\necho started\nsleep 60 &\nwait\n")
    program.chmod(0o755)
    monkeypatch.setattr(suite, "_command", lambda case, sysroot, state, name: [str(program)])
    outcome = suite.run_case("regression_1004", tmp_path, 0.5, tmp_path)
    assert outcome.result == TIMEOUT
    assert (tmp_path / "regression_1004.log").read_text() == "started\n"


def test_a_package_that_is_not_the_pinned_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(argv: list[str], env: dict[str, str], cwd: Path) -> str:
        if "=" in argv[-1] and "gone" in argv[-1]:
            raise packages.FetchError("no such version")
        (cwd / f"{argv[-1].partition('=')[0]}_2_arm64.deb").write_bytes(b"deb")
        return ""

    monkeypatch.setattr(packages, "_run", download)
    right = hashlib.sha256(b"deb").hexdigest()
    fetch = packages._download
    assert fetch(packages.Package("x", "2", "suite", right), {}, tmp_path).name == "x_2_arm64.deb"
    with pytest.raises(packages.FetchError, match="not the file"):
        fetch(packages.Package("x", "2", "suite", "0" * 64), {}, tmp_path)
    with pytest.raises(packages.FetchError, match="no such version"):
        fetch(packages.Package("x", "gone", "suite", right), {}, tmp_path)
    assert fetch(packages.Package("libx", "gone", "library", "0" * 64), {}, tmp_path).exists()


def test_the_mirror_is_the_machines_own(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = "'http://a.example/debian-security/dists/x-security/InRelease' a 0 \n"
    monkeypatch.delenv("OPTEMU_DEBIAN_MIRROR", raising=False)
    monkeypatch.setattr(packages, "_run", lambda argv, env, cwd: listed)
    with pytest.raises(packages.FetchError, match="OPTEMU_DEBIAN_MIRROR=URL"):
        packages._mirror()
    listed += "'http://b.example/debian/dists/x/InRelease' b 0 \n"
    assert packages._mirror() == "http://b.example/debian"
    monkeypatch.setenv("OPTEMU_DEBIAN_MIRROR", "file:///mine")
    assert packages._mirror() == "file:///mine"
