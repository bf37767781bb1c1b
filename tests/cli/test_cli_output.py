"""What each command prints, as golden transcripts (golden/, written anew by pytest --regenerate)."""

import json
import sys
from collections.abc import Callable

import pytest
from cli_shell import HELLO_UUID, Shell

from optemu.cli.syscalls import crypto_page
from optemu.secure_world.crypto.algorithms import ALGORITHMS

Golden = Callable[[str, str], None]
DEMO = "e3a1d2c0-5b0f-4f0c-9d3e-6f7074656d75"
UNKNOWN = "00000000-0000-0000-0000-00000000beef"


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="argparse writes options differently since Python 3.13")
@pytest.mark.parametrize(
    "verb",
    [
        "",
        "demo",
        "run",
        "invoke",
        "build",
        "ta",
        "ta info",
        "ta install",
        "ta remove",
        "syscalls",
        "trace",
        "trace convert",
    ],
)
def test_help(shell: Shell, golden: Golden, verb: str) -> None:
    command = " ".join(["optemu", *verb.split(), "--help"])
    golden(f"help{'-' if verb else ''}{verb.replace(' ', '-')}.txt", shell.transcript([command]))


def test_syscalls(shell: Shell, golden: Golden) -> None:
    golden("syscalls.txt", shell.transcript(["optemu syscalls"]))


def test_algorithms(shell: Shell, golden: Golden) -> None:
    golden("syscalls-crypto.txt", shell.transcript(["optemu syscalls --crypto"]))
    golden("../../../docs/crypto.md", crypto_page())
    status, out, _ = shell("optemu syscalls --crypto --json")
    assert status == 0
    assert {row["name"] for row in json.loads(out)} == {row.name for row in ALGORITHMS.values()}


TA_INFO = [
    f"optemu ta info {HELLO_UUID}.ta",
    "optemu ta info hello.elf",
    "optemu ta info nowhere.ta",
    "optemu ta info empty",
    "optemu ta info text",
]
INVOKE = [
    f"optemu invoke {HELLO_UUID} 0 valueio:41",
    f"optemu invoke --log-level none {HELLO_UUID} 1 valueio:0x10,3",
    f"optemu invoke {DEMO} 2 in:hello out:8",
    f"optemu invoke {DEMO} 2 in:@file out:0x20",
    f"optemu invoke {DEMO} 2 inout:hello inout:12345",
    f"optemu invoke {DEMO} 3 valueout none",
    f"optemu invoke {DEMO} 0",
]
INVOKE_ERRORS = [
    f"optemu invoke {DEMO} 2 in:hello out:3",
    f"optemu invoke {DEMO} 99",
    f"optemu invoke {DEMO} 4 value:0xffff000c",
    f"optemu invoke --log-level error {UNKNOWN} 0",
    "optemu invoke hello 0",
    f"optemu invoke {DEMO} first",
    f"optemu invoke {DEMO} 0x100000000",
    f"optemu invoke {DEMO} 0 value:x",
    f"optemu invoke {DEMO} 0 value:1,2,3",
    f"optemu invoke {DEMO} 0 valueio:-1",
    f"optemu invoke {DEMO} 0 out:-1",
    f"optemu invoke {DEMO} 0 out:9999999999999",
    f"optemu invoke {DEMO} 0 in:@nowhere",
    f"optemu invoke {DEMO} 0 number:5",
    f"optemu invoke {DEMO} 0 none none none none none",
    f"optemu invoke --log nowhere/log {DEMO} 0",
    f"optemu invoke -o nowhere/trace {DEMO} 0",
]
RUN = [
    "optemu run -- ./client 7",
    "optemu run --log-level none -- ./client",
]
RUN_ERRORS = [
    "optemu run",
    "optemu run -- ./nowhere",
    "optemu run -- ./text",
    "optemu run --ta-dir nowhere -- ./client",
    "optemu run --ta-dir text -- ./client",
    "optemu run --plugin-dir nowhere -- ./client",
    "optemu run --ta-dir empty -- ./client",
    "optemu run --ta-dir hollow -- ./client",
    "optemu run --colour -- ./client",
]
CONFIGURATION_ERRORS = [
    "optemu run --config wrong.toml -- ./client",
    f"optemu invoke --config nowhere.toml {DEMO} 0",
    f"optemu invoke --config empty {DEMO} 0",
    f"optemu invoke --config text.toml {DEMO} 0",
    f"optemu invoke --config keys.toml {DEMO} 0",
    f"optemu invoke --config nokeys.toml {DEMO} 0",
    "optemu run --config nokeys.toml -- true",
    f"optemu ta info --config nokeys.toml {HELLO_UUID}.ta",
    f"optemu ta info --config elliptic.toml {HELLO_UUID}.ta",
    "optemu serve --config nolog.toml --socket nowhere/socket",
]
CONVERT = [
    "optemu trace convert trace.jsonl",
    "optemu trace convert trace.jsonl -o again.jsonl",
    "optemu trace convert again.jsonl -f text -o again.txt",
]
CONVERT_ERRORS = [
    "optemu trace convert nowhere.jsonl",
    "optemu trace convert text",
    "optemu trace convert text.pftrace",
    "optemu trace convert trace.jsonl -o trace.jsonl",
    "optemu trace convert trace.jsonl -o nowhere/trace.txt",
]
BUILD_ERRORS = [
    "optemu build nowhere",
    "optemu build empty",
    "optemu build hello --key nowhere.pem",
    "optemu build hello --key text",
    "optemu demo nowhere",
]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("ta-info", TA_INFO),
        ("invoke", INVOKE),
        ("invoke-errors", INVOKE_ERRORS),
        ("run", RUN),
        ("run-errors", RUN_ERRORS),
        ("configuration-errors", CONFIGURATION_ERRORS),
        ("trace-convert", CONVERT),
        ("trace-convert-errors", CONVERT_ERRORS),
        ("build-errors", BUILD_ERRORS),
    ],
)
def test_transcript(shell: Shell, golden: Golden, name: str, lines: list[str]) -> None:
    golden(f"{name}.txt", shell.transcript(lines))
