"""Ten minutes of hosts that come and go at random while a hundred instances are made, halted and deleted."""

from pathlib import Path

import pytest

from lab.controlplane import ControlPlane
from tests.faults import drvworld
from tests.faults.test_hosts_random import storm
from tests.kills.recording import seed
from tests.soak.budget import seconds

SECONDS = seconds(600.0)


@pytest.mark.takes(SECONDS + 40)
@pytest.mark.timeout(SECONDS + 600)
async def test_a_hundred_instances_in_ten_minutes_of_bad_weather(wiped_plane: ControlPlane, tmp_path: Path) -> None:
    """STRATIFORM_SEED, which is printed, does the deeds of a run again."""
    async with drvworld.cloud_of(wiped_plane, tmp_path / "cloud.db", hosts=5) as cloud:
        await storm(cloud, 100, SECONDS, seed())
