"""The operator is killed before and after every external call of an instance's life: by a BaseException in its calls,
and as a process by SIGKILL. See tests/kills/test_killed_at_every_point.py, which takes a sample."""

import itertools
from pathlib import Path

import pytest

from tests.kills.killing import kill_at_every
from tests.kills.operators import ProcessOperator, ThreadOperator, settings
from tests.kills.recording import Recorded
from tests.kills.world import World

DEADLINE = 200.0


@pytest.mark.takes(200)
@pytest.mark.timeout(1200)
async def test_killed_at_every_point(world: World, recorded: Recorded) -> None:
    config = settings(world.api.kubeconfig, world.state)
    await kill_at_every(
        world, lambda plan: ThreadOperator(config, plan), recorded.points, chance=recorded.chance, deadline=DEADLINE
    )


@pytest.mark.takes(200)
@pytest.mark.timeout(1200)
async def test_killed_by_sigkill_at_every_point(world: World, recorded: Recorded, tmp_path: Path) -> None:
    config = settings(world.api.kubeconfig, world.state)
    folders = (tmp_path / f"operator-{number}" for number in itertools.count(1))
    await kill_at_every(
        world,
        lambda plan: ProcessOperator(config, next(folders), plan),
        recorded.points,
        chance=recorded.chance,
        deadline=DEADLINE,
    )
