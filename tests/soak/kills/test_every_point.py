"""The operator is killed before and after every external call of an instance's life: by a BaseException in its calls,
and as a process by SIGKILL. See tests/kills/test_killed_at_every_point.py, which takes a sample."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kills.killing import Report, kill_at
from tests.kills.operators import ProcessOperator, ThreadOperator, settings
from tests.kills.recording import Recorded
from tests.kills.seam import Point
from tests.kills.world import World

AT_ONCE = 45
"""Points of one kill: each is a tenant, and the machine has to carry them all."""
DEADLINE = 200.0


def batches(points: tuple[Point, ...]) -> Iterator[tuple[Point, ...]]:
    """Of calls from everywhere in a life, so that no batch waits for the end alone."""
    count = -(-len(points) // AT_ONCE)
    return (points[first::count] for first in range(count))


def judge(reports: list[Report]) -> None:
    for report in reports:
        print(report)
    failures = [failure for report in reports for failure in report.failures]
    assert not failures, "\n".join(failures)
    missed = [str(point) for report in reports for point in report.missed]
    assert len(missed) <= sum(report.killed for report in reports) // 4, missed


@pytest.mark.takes(150)
@pytest.mark.timeout(1200)
async def test_killed_at_every_point(world: World, recorded: Recorded) -> None:
    config = settings(world.api.kubeconfig, world.state)
    reports = [
        await kill_at(world, lambda plan: ThreadOperator(config, plan), points, deadline=DEADLINE)
        for points in batches(recorded.points)
    ]
    judge(reports)


@pytest.mark.takes(150)
@pytest.mark.timeout(1200)
async def test_killed_by_sigkill_at_every_point(world: World, recorded: Recorded, tmp_path: Path) -> None:
    config = settings(world.api.kubeconfig, world.state)
    folders = (tmp_path / f"operator-{number}" for number in itertools.count(1))
    reports = [
        await kill_at(world, lambda plan: ProcessOperator(config, next(folders), plan), points, deadline=DEADLINE)
        for points in batches(recorded.points)
    ]
    judge(reports)
