"""The recording run: three tenants live their lives undisturbed, and every external call of theirs is written down."""

import asyncio
import os
import random
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from drivers.base import Action, Storage
from tests.engine.harness import Cluster
from tests.kills.operators import ThreadOperator, settings
from tests.kills.scenario import Tenant
from tests.kills.seam import Point
from tests.kills.world import Place, World

TENANTS = 3
_API = ("POST", "PUT", "PATCH", "DELETE")
_LOOKS = {"observe_pool", "list_disks", "observe_disk"}


@dataclass(frozen=True)
class Recorded:
    """Every point to which one of the tenants came, sorted by call."""

    points: tuple[Point, ...]
    chance: frozenset[Point] = frozenset()
    """A further write of an object's status: changes that come together are written as one, so whether there is a
    seventh write depends on what is quicker. Other calls, and the first write of each status, have no such excuse."""

    @property
    def calls(self) -> frozenset[str]:
        """`Define web`, `PUT instances/web status`, …"""
        return frozenset(point.call for point in self.points)

    @property
    def verbs(self) -> frozenset[str]:
        """Of drivers: `Define`, `create_disk`, …"""
        return frozenset(verb for point in self.points if (verb := verb_of(point)))


def verb_of(point: Point) -> str:
    """The driver's; "" for a write of the API."""
    verb = point.call.split()[0]
    return "" if verb in _API else verb


def verbs_of_drivers() -> set[str]:
    """Whatever changes the outside world."""
    return {action.__name__ for action in get_args(Action)} | {v for v in vars(Storage) if v[0] != "_"} - _LOOKS


def sample(recorded: Recorded, count: int) -> tuple[Point, ...]:
    """So many of its points by STRATIFORM_SEED (printed), or those that STRATIFORM_KILL_AT names."""
    if named := named_points():
        return named
    number = seed()
    chosen = random.Random(number).sample(recorded.points, min(count, len(recorded.points)))
    print(f"{len(chosen)} of {len(recorded.points)} points, STRATIFORM_SEED={number}")
    return tuple(sorted(chosen))


def named_points() -> tuple[Point, ...]:
    """Those of STRATIFORM_KILL_AT, to kill there again."""
    named = os.environ.get("STRATIFORM_KILL_AT", "")
    return tuple(Point.parse(text.strip()) for text in named.split(",") if text)


def seed() -> int:
    """Of this run: given by STRATIFORM_SEED, else any. Whoever uses it prints it."""
    return int(os.environ.get("STRATIFORM_SEED") or random.SystemRandom().randrange(2**32))


def record(kubeconfig: Path, place: Callable[[Cluster, Path], Place] = World) -> Recorded:
    """Blocks for about 10 s. `place` is made with the API and a file for a simulated cloud. Raises AssertionError when the lives do not end as they should."""
    answer: list[Recorded] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            answer.append(asyncio.run(_record(kubeconfig, place)))
        except BaseException as error:
            failure.append(error)

    # In a thread, because the loop of this one is pytest's.
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return answer[0]


async def _record(kubeconfig: Path, place: Callable[[Cluster, Path], Place]) -> Recorded:
    api = Cluster(kubeconfig)
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "cloud.db"
        world = place(api, state)
        await world.begin()
        operator: Any = ThreadOperator(settings(kubeconfig, state))
        await asyncio.to_thread(operator.start)
        try:
            await world.settled()
            await asyncio.gather(*(Tenant(world, number, deadline=60.0).run() for number in range(TENANTS)))
            found = {point for seen in operator.seam.points.values() for point in seen}
            chance = {point for point in found if point.call.endswith(" status") and point.number > 1}
            return Recorded(tuple(sorted(found)), frozenset(chance))
        finally:
            await asyncio.to_thread(operator.stop)
            await world.end()
            await api.close()
