"""Every command of docs/storage.md does what it says there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_storage_page(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "secure_storage", tmp_path / "examples" / "secure_storage")
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    page = (ROOT / "docs" / "storage.md").read_text()
    blocks = re.findall(r"^```console\n(.*?)^```", page, re.M | re.S)
    shown = "".join(blocks)
    said = ""
    for line in re.findall(r"^\$ (.*)$", shown, re.M):
        run = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        said += f"$ {line}\n{run.stdout}"
    assert _any_size(said) == _any_size(shown)


def _any_size(text: str) -> str:
    """How large a TA is depends on the compiler."""
    return re.sub(r"\b\d+ bytes", "N bytes", text)
