import argparse
import subprocess
import sys
from pathlib import Path

import pytest
from trace_sample import invoke

from optemu.cli import trace as verb
from optemu.trace.output import format_of, open_sink


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "call.jsonl"
    with open_sink(str(path)) as sink:
        invoke().feed(sink)
    return path


def convert(*argv: str | Path) -> int:
    parser = argparse.ArgumentParser()
    verb.add_parser(parser.add_subparsers())
    args = parser.parse_args(["trace", "convert", *map(str, argv)])
    return int(args.run(args))


def test_text_on_stdout(recorded: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert convert(recorded) == 0
    golden = Path(__file__).parent / "golden" / "invoke-100.txt"
    assert capsys.readouterr().out == golden.read_text(encoding="utf-8")


def test_the_name_of_the_output_says_its_format(recorded: Path, tmp_path: Path) -> None:
    assert convert(recorded, "-o", tmp_path / "out.pftrace") == 0
    assert (tmp_path / "out.pftrace").read_bytes()[:1] == b"\x0a"
    assert convert(recorded, "-o", tmp_path / "again.jsonl") == 0
    assert (tmp_path / "again.jsonl").read_bytes() == recorded.read_bytes()
    assert convert(recorded, "-f", "text", "-o", tmp_path / "x.pftrace") == 0
    assert "TEE_IOC_INVOKE" in (tmp_path / "x.pftrace").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "fmt"), [
    (None, "text"), ("a.txt", "text"), ("a.jsonl", "jsonl"), ("a.perfetto-trace", "perfetto"), ("a.pftrace", "perfetto"),
])  # fmt: skip
def test_format_of(name: str | None, fmt: str) -> None:
    assert format_of(name) == fmt


def test_a_bad_line_is_named_and_what_came_before_is_kept(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = recorded.read_text(encoding="utf-8").splitlines()
    recorded.write_text("\n".join([*lines[:4], '{"ts": "soon"}', *lines[4:]]), encoding="utf-8")
    assert convert(recorded) == 2
    out, err = capsys.readouterr()
    assert "optee_do_call_with_arg" in out
    assert f"{recorded}, line 5: " in err


def test_no_trace_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").write_text('{"traceEvents": []}\n')
    assert convert(tmp_path / "x") == 2
    assert "line 1: not an optemu trace" in capsys.readouterr().err


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(tmp_path / "none.jsonl") == 1
    assert "none.jsonl" in capsys.readouterr().err


def test_the_input_is_not_overwritten(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = recorded.read_bytes()
    assert convert(recorded, "-o", recorded) == 1
    assert recorded.read_bytes() == before
    assert "choose another name" in capsys.readouterr().err


def test_through_pipes(recorded: Path) -> None:
    """Standard input to a reader that goes away after one line: no traceback."""
    header, *events = recorded.read_bytes().splitlines(keepends=True)
    recorded.write_bytes(header + b"".join(events) * 50)
    with recorded.open("rb") as data:
        argv = [sys.executable, "-m", "optemu", "trace", "convert", "-"]
        child = subprocess.Popen(argv, stdin=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout
    assert child.stderr
    assert child.stdout.readline()
    child.stdout.close()
    errors = child.stderr.read()
    assert child.wait(30) == 141
    assert errors == b""
