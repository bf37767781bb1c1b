"""All campaigns, and the TAs they need."""

from pathlib import Path

from campaigns.campaign import Campaign
from campaigns.images import Elfs, Headers
from campaigns.normal_world import Ioctls, Messages, PageLists, Races, Registers
from campaigns.supplicant import Supplicant
from campaigns.syscalls import Syscalls
from optemu.sdk import build as sdk

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
)


def build_tas(out: Path) -> None:
    for project in ("probe", "quiet"):
        sdk.build(TAS / project, sdk.Options(out=out, host=False))
