"""Every command README shows is run, every file it shows is read."""

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_shell import HELLO_UUID, ROOT, Shell

from optemu.board.config import load

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line.split("#")[0].strip() for line in re.findall(r"^    (optemu .*)$", README, re.MULTILINE)]
DEMO = "e3a1d2c0-5b0f-4f0c-9d3e-6f7074656d75"


def filled_in(line: str) -> str:
    """README's command with something in the place of each word in capitals."""
    words = {"ARGS": "7", "CMD": "0", "FILE": f"{HELLO_UUID}.ta", "UUID": DEMO, "ELF": "client"}
    words["KEY"] = str(ROOT / "src/optemu/sign/keys/optemu_dev_ta.pem")
    words["DIR"] = "hello" if line.startswith("optemu build") else "."
    return " ".join(words.get(word, word) for word in line.split())


@pytest.mark.parametrize("line", [line for line in COMMANDS if not line.startswith("optemu serve")])
def test_commands(shell: Shell, line: str) -> None:
    command = filled_in(line)
    assert not re.search(r"\b[A-Z]{2,}\b", command.replace(HELLO_UUID, "")), "a placeholder this test does not know"
    status, out, err = shell(command)
    assert status == 0, err
    assert (
        line.startswith("optemu sign") or out or err or (shell.cwd / command.split("-o ")[1].split()[0]).stat().st_size
    )


def test_the_commands_are_found() -> None:
    verbs = {line.split()[1] for line in COMMANDS}
    assert {"run", "trace", "invoke", "build", "ta", "syscalls"} <= verbs


def test_serve(shell: Shell) -> None:
    """The one command that goes on until it is interrupted; another program uses its TEE meanwhile."""
    [line] = [line for line in COMMANDS if line.startswith("optemu serve")]
    command = [sys.executable, "-m", *filled_in(line).split(), "--socket", "tee.sock"]
    with subprocess.Popen(command, cwd=shell.cwd, stderr=subprocess.PIPE, text=True) as serving:
        assert serving.stderr is not None
        assert "tee.sock" in serving.stderr.readline()
        status, out, err = shell("optemu run --attach tee.sock -- ./client 7")
        serving.send_signal(signal.SIGINT)
        assert serving.wait(20) == 0
    assert (status, err) == (0, ""), err
    assert "one more is" in out


def test_the_demo(shell: Shell) -> None:
    """What make demo does."""
    makefile = (ROOT / "Makefile").read_text()
    assert "\t$(BIN)/optemu demo\n" in makefile
    status, out, err = shell("optemu demo hello")
    assert status == 0, err
    titles = re.findall(r"^== (\w+) ", out, re.MULTILINE)
    assert titles == ["building", "running", "tracing"]
    assert "┌ TEE_IOC_OPEN_SESSION" in out


def test_the_configuration_file(shell: Shell, tmp_path: Path) -> None:
    [text] = re.findall(r"^((?:    \S.*\n)*    \[board\]\n(?:    \S.*\n)*)", README, re.MULTILINE)
    path = tmp_path / "optemu.toml"
    path.write_text(re.sub("^    ", "", text, flags=re.MULTILINE))
    config = load(path)
    assert (config.huk, config.seed, config.threads, config.monitor) == (bytes(16), 1, 4, "armv8")
    assert config.ta_keys == [tmp_path / "my-key.pub.pem"]
    shutil.copy(ROOT / "src/optemu/board/keys/optemu-dev-ta.pub.pem", config.ta_keys[0])
    (tmp_path / "build").mkdir()
    shell.cwd = tmp_path
    assert shell(f"optemu invoke {DEMO} 1 valueio:1,2")[:2] == (0, "param 0: value 3 2 (0x3 0x2)\n")
