"""Ten minutes of hosts that come and go at random while a hundred instances are made, halted and deleted."""

import os
import random
from pathlib import Path

import pytest

from lab.controlplane import ControlPlane
from tests.faults import drvworld
from tests.faults.test_hosts_random import storm
from tests.soak.budget import seconds

SECONDS = seconds(600.0)


@pytest.mark.takes(SECONDS + 40)
@pytest.mark.timeout(SECONDS + 600)
async def test_a_hundred_instances_in_ten_minutes_of_bad_weather(wiped_plane: ControlPlane, tmp_path: Path) -> None:
    """$SEED replays the deeds of a run that failed."""
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(10**6)))
    async with drvworld.cloud_of(wiped_plane, tmp_path / "cloud.db", hosts=5) as cloud:
        await storm(cloud, 100, SECONDS, seed)
