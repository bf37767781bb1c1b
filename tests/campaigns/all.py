"""All campaigns, and the TAs they need."""

from pathlib import Path

from campaigns.campaign import Campaign
from campaigns.images import Elfs, Headers
from campaigns.normal_world import Ioctls, Messages, PageLists, Races, Registers
from campaigns.objects import Objects
from campaigns.storage import Storage
from campaigns.supplicant import Supplicant
from campaigns.syscalls import Syscalls
from optemu.sdk import build as sdk
from optemu.sdk.toolchain import ARM

TAS = Path(__file__).parents[1] / "e2e" / "tas"
CAMPAIGNS: tuple[type[Campaign], ...] = (
    Registers,
    Messages,
    Races,
    PageLists,
    Ioctls,
    Supplicant,
    Headers,
    Elfs,
    Syscalls,
    Objects,
    Storage,
)


def build_tas(out: Path) -> None:
    for project in ("probe", "quiet", "crypt"):
        sdk.build(TAS / project, sdk.Options(out=out, host=False))
    built = sdk.build(TAS / "probe", sdk.Options(out=out / "arm", host=False, target=ARM))
    assert built.ta
    built.ta.rename(out / built.ta.name)
