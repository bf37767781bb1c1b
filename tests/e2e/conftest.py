"""The example and the test TAs, compiled from source once per run, and machines to call them on."""

import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from optemu.machine import Machine
from optemu.normal_world.libteec import Context, Session
from optemu.sdk import build as sdk
from optemu.sdk.toolchain import ARM

ROOT = Path(__file__).parents[2]
HELLO = ROOT / "examples" / "hello_world"
TAS = Path(__file__).parent / "tas"
sys.path[:0] = [str(TAS.parent), str(ROOT)]

from crypt_client import Tee  # noqa: E402
from tas.constants import (  # noqa: E402
    ARITH_ARM_UUID,
    CRYPT_ARM_UUID,
    CRYPT_UUID,
    PROBE_ARM_UUID,
    PROBE_UUID,
    SOCK_ARM_UUID,
    TRACED_ARM_UUID,
)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with every TA, and the client of hello_world."""
    out = tmp_path_factory.mktemp("tas")
    sdk.build(HELLO, sdk.Options(out=out, libc=sdk.default_libc()))
    for project in ("probe", "quiet", "relay", "single", "guard", "crypt", "arith", "traced", "sock"):
        sdk.build(TAS / project, sdk.Options(out=out, host=False))
    arm = {
        "probe": PROBE_ARM_UUID,
        "crypt": CRYPT_ARM_UUID,
        "arith": ARITH_ARM_UUID,
        "traced": TRACED_ARM_UUID,
        "sock": SOCK_ARM_UUID,
    }
    for project, uuid in arm.items():
        sdk.build(TAS / project, sdk.Options(out=out / "arm", host=False, target=ARM))
        (out / "arm" / f"{uuid}.ta").rename(out / f"{uuid}.ta")
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


@pytest.fixture(params=[PROBE_UUID, PROBE_ARM_UUID], ids=["aarch64", "arm"])
def probe_uuid(request: pytest.FixtureRequest) -> UUID:
    """The probe, built for AArch64 and for Arm32: what holds for one holds for the other."""
    return UUID(request.param)


@pytest.fixture
def probe(context: Context, probe_uuid: UUID) -> Iterator[Session]:
    with context.OpenSession(probe_uuid) as session:
        yield session


@pytest.fixture(params=[CRYPT_UUID, CRYPT_ARM_UUID], ids=["aarch64", "arm"])
def crypt_uuid(request: pytest.FixtureRequest) -> UUID:
    return UUID(request.param)


@pytest.fixture
def tee(context: Context, crypt_uuid: UUID) -> Iterator[Tee]:
    """The Internal Core API, called in a TA built for AArch64 and for Arm32."""
    with context.OpenSession(crypt_uuid) as session:
        yield Tee(session)
