"""One kill of one operator, with every tenant at a point of its own; one restart; and what must be so in the end."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tests.kills.scenario import Tenant
from tests.kills.seam import Point
from tests.kills.world import HOSTS, World

QUIET = 60.0
"""Seconds without a further tenant at its point after which those that are on their way are killed where they are."""


class Operator(Protocol):
    @property
    def held(self) -> set[str]: ...

    def start(self) -> None: ...

    def kill(self) -> None: ...

    def stop(self) -> None: ...


@dataclass(frozen=True)
class Report:
    """`failures` in words, each with its point; `missed` are points to which a run never came: which calls are made
    depends a little on what is quicker."""

    killed: int
    missed: tuple[Point, ...]
    failures: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        return f"{self.killed} points killed in {self.seconds:.0f} s, {len(self.missed)} missed, {len(self.failures)} failed"


async def kill_at(
    world: World, operator: Callable[[Mapping[str, Point]], Operator], points: Sequence[Point], *, deadline: float
) -> Report:
    """`deadline`: seconds that a step of a tenant may take after the restart."""
    begun = time.monotonic()
    world.mirror.patience_from = float("inf")
    tenants = [Tenant(world, number, deadline=deadline) for number in range(len(points))]
    plan = {tenant.namespace: point for tenant, point in zip(tenants, points, strict=True)}
    first = operator(plan)
    await asyncio.to_thread(first.start)
    await world.settled()
    runs = {tenant.namespace: asyncio.create_task(tenant.run()) for tenant in tenants}
    await all_there(first, runs)
    await asyncio.to_thread(first.kill)
    await world.mirror.looked_anew()
    held = first.held
    await world.api.free_lease()  # As if its time had run out: the one that held it is dead.
    for tenant in tenants:
        tenant.note()
    second = operator({})
    await asyncio.to_thread(second.start)
    world.mirror.patience_from = time.monotonic()
    try:
        await asyncio.wait(runs.values())
        failures = [f"{plan[name]}: {error}" for name, run in runs.items() if (error := run.exception()) is not None]
        failures += await world_is_clean(world)
    finally:
        await asyncio.to_thread(second.stop)
    missed = tuple(point for name, point in plan.items() if name not in held)
    return Report(len(held), missed, tuple(failures), time.monotonic() - begun)


async def all_there(operator: Operator, runs: Mapping[str, "asyncio.Task[None]"], quiet: float = QUIET) -> None:
    """Wait until every tenant is held at its point or has ended, or none came there for so long."""
    last, count = time.monotonic(), -1
    while time.monotonic() - last < quiet:
        there = operator.held | {name for name, run in runs.items() if run.done()}
        if there == set(runs):
            return
        if len(there) != count:
            last, count = time.monotonic(), len(there)
        await asyncio.sleep(0.1)


async def world_is_clean(world: World) -> list[str]:
    """Nothing ran or was written twice, and nothing that we made is left unknown."""
    found = list(world.faults.violations())
    looked = [("Host", host) for host in HOSTS] + [("StoragePool", "pool-1"), ("ImageStore", "images-1")]
    for kind, name in looked:
        orphans = ((await world.api.get(kind, name)) or {})["status"].get("orphans", [])
        found += [f"{kind} {name} has an orphan: {orphan}" for orphan in orphans]
    return found
