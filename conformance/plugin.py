"""xtest's plugin of the supplicant: the packaged one is for arm64, while the supplicant runs on this host."""

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "tests" / "plugins" / "test.c"
NAME = "f07bfc66-958c-4a15-99c0-260e4e7375dd.plugin"


def plugin_dir(place: Path) -> Path:
    """A directory in ``place`` with the plugin, compiled now if need be."""
    directory = place / "plugins"
    directory.mkdir(exist_ok=True)
    plugin = directory / NAME
    if not plugin.exists() or plugin.stat().st_mtime < SOURCE.stat().st_mtime:
        command = [sys.executable, "-m", "ziglang", "cc", "-shared", "-fPIC", "-nostdlib", "-fno-sanitize=all"]
        subprocess.run([*command, "-o", str(plugin), str(SOURCE)], check=True)
    return directory
