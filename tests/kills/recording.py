"""The recording run: three tenants live their lives undisturbed, and every external call of theirs is written down."""

import asyncio
import os
import random
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.engine.harness import Cluster
from tests.kills.operators import ThreadOperator, settings
from tests.kills.scenario import Tenant
from tests.kills.seam import Point
from tests.kills.world import World

TENANTS = 3


@dataclass(frozen=True)
class Recorded:
    """Every point to which one of the tenants came, sorted by call."""

    points: tuple[Point, ...]

    @property
    def calls(self) -> frozenset[str]:
        """`Define web`, `PUT instances/web status`, …"""
        return frozenset(point.call for point in self.points)


def sample(recorded: Recorded, count: int) -> tuple[Point, ...]:
    """So many of its points by STRATIFORM_SEED (printed), or those that STRATIFORM_KILL_AT names."""
    named = os.environ.get("STRATIFORM_KILL_AT")
    if named:
        return tuple(Point.parse(text.strip()) for text in named.split(","))
    number = seed()
    chosen = random.Random(number).sample(recorded.points, min(count, len(recorded.points)))
    print(f"{len(chosen)} of {len(recorded.points)} points, STRATIFORM_SEED={number}")
    return tuple(sorted(chosen))


def seed() -> int:
    """Of this run: given by STRATIFORM_SEED, else any. Whoever uses it prints it."""
    return int(os.environ.get("STRATIFORM_SEED") or random.SystemRandom().randrange(2**32))


def record(kubeconfig: Path) -> Recorded:
    """Blocks for about 10 s. Raises AssertionError when the lives do not end as they should."""
    answer: list[Recorded] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            answer.append(asyncio.run(_record(kubeconfig)))
        except BaseException as error:
            failure.append(error)

    # In a thread, because the loop of this one is pytest's.
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return answer[0]


async def _record(kubeconfig: Path) -> Recorded:
    api = Cluster(kubeconfig)
    with tempfile.TemporaryDirectory() as folder:
        world = World(api, Path(folder) / "cloud.db")
        await world.begin()
        operator: Any = ThreadOperator(settings(kubeconfig, world.state))
        await asyncio.to_thread(operator.start)
        try:
            await world.settled()
            await asyncio.gather(*(Tenant(world, number, deadline=30.0).run() for number in range(TENANTS)))
            return Recorded(tuple(sorted({point for seen in operator.seam.points.values() for point in seen})))
        finally:
            await asyncio.to_thread(operator.stop)
            await world.end()
            await api.close()
