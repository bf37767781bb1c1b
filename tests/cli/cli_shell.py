"""A shell for ``optemu`` commands."""

import contextlib
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

from optemu.cli import main

ROOT = Path(__file__).parents[2]
HELLO_UUID = "8da74583-f878-42c1-b664-0cdca277e348"
NOISE = [
    (r"Python 3\.\d+", "Python 3"),
    (r"\d+ bytes$", "N bytes"),
    (r"(stack|entry) +\S+.*", r"\1 ..."),
    (r"(segment +)0x\w+ 0x\w+", r"\g<1>0x... 0x..."),
]
"""What a compiler's version changes."""


class Shell:
    """Runs command lines in ``cwd``; what they print is made independent of where that is."""

    def __init__(self, cwd: Path) -> None:
        self.cwd = cwd

    def __call__(self, line: str) -> tuple[int, str, str]:
        """(status, stdout, stderr) of ``optemu ...``. ``run`` replaces its process, the others are called."""
        words = shlex.split(line)
        assert words.pop(0) == "optemu"
        status, out, err = (self._spawn if words[:1] == ["run"] else self._call)(words)
        return status, self._plain(out), self._plain(err)

    def _spawn(self, words: list[str]) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "optemu", *words]
        done = subprocess.run(command, cwd=self.cwd, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    def _call(self, words: list[str]) -> tuple[int, str, str]:
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
        with contextlib.chdir(self.cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = main(words)
            except SystemExit as e:
                status = int(e.code or 0)
        out.flush()
        return status, out.buffer.getvalue().decode(), err.getvalue()  # type: ignore[attr-defined]

    def _plain(self, text: str) -> str:
        return text.replace(str(self.cwd.resolve()), "/workshop").replace(str(ROOT), "/source")

    def transcript(self, lines: list[str]) -> str:
        """What a terminal would show: each command, stdout, stderr marked with ``!``, a status that is not 0."""
        shown = []
        for line in lines:
            status, out, err = self(line)
            for pattern, plain in NOISE:
                out = re.sub(pattern, plain, out, flags=re.MULTILINE)
            shown += [f"$ {line}", *out.splitlines(), *[f"! {text}" for text in err.splitlines()]]
            shown += [f"[{status}]"] if status else []
            shown.append("")
        return "\n".join(text.rstrip() for text in shown)
