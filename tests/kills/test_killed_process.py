"""The same with the real process and SIGKILL, at a few points: see test_killed_at_every_point.py."""

import itertools
from pathlib import Path

import pytest

from tests.kills.killing import kill_at_every
from tests.kills.operators import ProcessOperator, settings
from tests.kills.recording import Recorded, sample
from tests.kills.world import World

SAMPLE = 8


@pytest.mark.timeout(600)
async def test_killed_by_sigkill_the_declared_state_comes_and_nothing_is_left(
    world: World, recorded: Recorded, tmp_path: Path
) -> None:
    points = sample(recorded, SAMPLE)
    config = settings(world.api.kubeconfig, world.state)
    numbers = itertools.count(1)
    await kill_at_every(
        world,
        lambda plan: ProcessOperator(config, tmp_path / f"operator-{next(numbers)}", plan),
        points,
        chance=recorded.chance,
        deadline=120.0,
    )
