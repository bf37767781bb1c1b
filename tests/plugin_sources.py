"""Plugins of the supplicant, good and bad, compiled for this host from tests/plugins."""

import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parent / "plugins"
UUID = "f07bfc66-958c-4a15-99c0-260e4e7375dd"
"""Of the good one, ``test``."""


def compile_plugin(name: str, path: Path) -> None:
    """A shared library without a C library, from tests/plugins/NAME.c."""
    command = [sys.executable, "-m", "ziglang", "cc", "-shared", "-fPIC", "-nostdlib", "-fno-sanitize=all"]
    subprocess.run([*command, "-o", str(path), str(SOURCES / f"{name}.c")], check=True, capture_output=True)
