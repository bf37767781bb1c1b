"""Ten thousand hostile inputs of all kinds, the same ones every time. ``make fuzz`` makes a million others."""

from pathlib import Path

import pytest
from campaigns.all import CAMPAIGNS
from campaigns.campaign import Campaign

INPUTS = 10_000
SHARES = sum(kind.share for kind in CAMPAIGNS)


@pytest.mark.parametrize("kind", CAMPAIGNS, ids=lambda kind: kind.name)
def test_campaign(built: Path, tmp_path: Path, kind: type[Campaign]) -> None:
    for image in built.glob("*.ta"):
        (tmp_path / image.name).symlink_to(image)
    hung: list[int] = []
    campaign = kind(tmp_path)
    try:
        campaign.run(2026, 0, INPUTS * kind.share // SHARES + 1, hung.append)
    finally:
        campaign.close()
    assert not hung, f"{kind.name}: input {hung[0]} took longer than a second"
