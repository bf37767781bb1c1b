"""The example and the test TAs, compiled from source once per run, and machines to call them on."""

import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from optemu.machine import Machine
from optemu.normal_world.libteec import Context, Session
from optemu.sdk import build as sdk

ROOT = Path(__file__).parents[2]
HELLO = ROOT / "examples" / "hello_world"
TAS = Path(__file__).parent / "tas"
sys.path.insert(0, str(TAS.parent))

from tas.constants import PROBE_UUID  # noqa: E402


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with every TA, and the client of hello_world."""
    out = tmp_path_factory.mktemp("tas")
    sdk.build(HELLO, sdk.Options(out=out, libc=sdk.default_libc()))
    for project in ("probe", "quiet", "relay", "single"):
        sdk.build(TAS / project, sdk.Options(out=out, host=False))
    return out


@pytest.fixture(scope="session")
def client(built: Path) -> Path:
    """The compiled hello_world client."""
    return built / "hello_world"


@pytest.fixture
def machine(built: Path) -> Iterator[Machine]:
    with Machine(ta_dirs=[built]) as m:
        yield m


@pytest.fixture
def context(machine: Machine) -> Iterator[Context]:
    with machine.connect() as c:
        yield c


@pytest.fixture
def probe(context: Context) -> Iterator[Session]:
    with context.OpenSession(UUID(PROBE_UUID)) as session:
        yield session
