"""The formats of the vectors: NIST's response files and the JSON of Wycheproof."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Record = dict[str, str]
_HEADING = re.compile(r"\[(.*)\]$")


def records(file: Path, begins: str) -> Iterator[Record]:
    """Each record, with all that was said above it. Names of fields are in upper case.

    ``begins`` is the field that a record starts with; it ends where the next one starts, or where what was said above
    is said anew. A heading ``[A = 1, B = 2]`` gives fields, any other the field ``[]``.
    """
    shared: Record = {}
    record: Record = {}
    for line in file.read_text(errors="replace").splitlines():
        text = line.split("#")[0].strip()
        heading = _HEADING.match(text)
        if heading:
            if record:
                yield {**shared, **record}
            record = {}
            shared.update(_heading(heading[1]))
        elif "=" in text:
            name, _, value = text.partition("=")
            name = name.strip().upper()
            if record and (name == begins or name in shared):
                yield {**shared, **record}
                record = {}
            (record if record or name == begins else shared)[name] = value.strip()
    if record:
        yield {**shared, **record}


def _heading(text: str) -> Record:
    fields = dict(part.strip().split("=", 1) for part in text.split(",") if "=" in part)
    return {"[]": text, **{name.strip().upper(): value.strip() for name, value in fields.items()}}


def commented(file: Path, ends: str) -> Iterator[Record]:
    """RSA Laboratories' format: ``# Name:``, then octets. A record is all fields so far, and ``ends`` with one."""
    record: Record = {}
    name = ""
    for line in [*file.read_text().splitlines(), "#"]:
        if line.startswith("#"):
            if name == ends and record.get(name):
                yield dict(record)
            name = line.strip("# :").upper()
            record[name] = ""
        elif name:
            record[name] += line.strip()


def wycheproof(file: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(group, test) of each test."""
    for group in json.loads(file.read_text())["testGroups"]:
        for test in group["tests"]:
            yield group, test
