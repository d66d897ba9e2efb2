"""One kill of one operator, with every tenant at a point of its own; one restart; and what must be so in the end. And
again for the points to which no tenant came, until each was met.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tests.kills.scenario import Tenant
from tests.kills.seam import Point
from tests.kills.world import Place

QUIET = 60.0
"""Seconds without a further tenant at its point after which those that are on their way are killed where they are."""
ROUNDS = 6
"""How often a point is tried before it counts as one that cannot be met."""
AT_ONCE = 45
"""Points of one kill: each is a tenant, and the machine has to carry them all."""


class Operator(Protocol):
    @property
    def held(self) -> set[str]: ...

    def start(self) -> None: ...

    def kill(self) -> None: ...

    def stop(self) -> None: ...


@dataclass(frozen=True)
class Report:
    """`failures` in words, each with its point; `missed` are points to which no tenant came: which calls are made
    depends a little on what is quicker."""

    killed: int
    missed: tuple[Point, ...]
    failures: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        return f"{self.killed} points killed in {self.seconds:.0f} s, {len(self.missed)} missed, {len(self.failures)} failed"


Make = Callable[[Mapping[str, Point]], Operator]


async def kill_at_every(
    world: Place, operator: Make, points: Sequence[Point], *, chance: Collection[Point], deadline: float
) -> None:
    """Every point is met, each by a tenant of its own; those of `chance` (see Recorded) are tried, and listed when they
    were not. Raises AssertionError with what failed, or was never met.

    A point that was missed is tried again by few tenants at once, as those were whose calls were recorded, and by more
    of them each time.
    """
    left, failures = sorted(points), list[str]()
    for number in range(1, ROUNDS + 1):
        missed: list[Point] = []
        planned = left * number
        batches = -(-len(planned) // AT_ONCE)
        # Of calls from everywhere in a life, so that no batch waits for the end alone.
        for first in range(batches):
            report = await kill_at(world, operator, planned[first::batches], deadline=deadline)
            print(f"round {number}: {report}")
            failures += report.failures
            missed += report.missed
        assert not failures, "\n".join(failures)
        left = sorted(point for point in set(left) if missed.count(point) == planned.count(point))
        if not left:
            return
        print("missed:", *(f"  {point}" for point in left), sep="\n")
    never = [str(point) for point in left if point not in chance]
    assert not never, f"never met in {ROUNDS} rounds: {', '.join(never)}"


async def kill_at(world: Place, operator: Make, points: Sequence[Point], *, deadline: float) -> Report:
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
        failures += await world.found_wrong()
    finally:
        await asyncio.to_thread(second.stop)
    missed = tuple(point for name, point in plan.items() if name not in held)
    return Report(len(held), missed, tuple(failures), time.monotonic() - begun)


async def all_there(operator: Operator, runs: Mapping[str, "asyncio.Task[None]"]) -> None:
    """Wait until every tenant is held at its point or has ended, or none came there for so long."""
    last, count = time.monotonic(), -1
    while time.monotonic() - last < QUIET:
        there = operator.held | {name for name, run in runs.items() if run.done()}
        if there == set(runs):
            return
        if len(there) != count:
            last, count = time.monotonic(), len(there)
        await asyncio.sleep(0.1)
