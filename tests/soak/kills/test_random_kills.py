"""Twenty tenants live their lives again and again while the operator is killed with SIGKILL at forty random moments.

The seed is printed; STRATIFORM_SEED=… makes the same moments again.
"""

import asyncio
import random

import pytest

from lab.controlplane import ControlPlane
from lab.operator import Operator
from tests.kills.killing import world_is_clean
from tests.kills.recording import seed
from tests.kills.scenario import Tenant
from tests.kills.world import World

TENANTS = 20
KILLS = 40
LONGEST = 7.0
"""Seconds between a start and the next kill, at most: a life takes about as long."""
LEASE_RUNS_OUT = 0.25
"""How often the dead operator's Lease is left to run out by itself; else it is taken away to save the time."""


class Lives:
    """One tenant after the other in the same namespace, until `last`."""

    def __init__(self, world: World, number: int) -> None:
        self._world, self._number = world, number
        self.tenant = Tenant(world, number, deadline=300.0)
        self.lived = 0
        self.last = False

    async def run(self) -> None:
        while True:
            await self.tenant.run()
            self.lived += 1
            if self.last:
                return
            self.tenant = Tenant(self._world, self._number, deadline=300.0)


@pytest.mark.takes(260)
@pytest.mark.timeout(1200)
async def test_killed_at_random_moments_the_declared_state_comes_and_nothing_is_left(
    plane: ControlPlane, world: World
) -> None:
    number = seed()
    print(f"STRATIFORM_SEED={number}")
    chance = random.Random(number)
    arguments = (
        f"--simulated-state={world.state}", "--listing-interval=1", "--lease-duration=6", "--lease-renew=1",
        "--lease-margin=1.5", "--roll-up=1", "--backoff-first=0.2", "--backoff-most=2", "--log-level=WARNING",
    )  # fmt: skip
    operator = Operator(plane.layout, plane.kubeconfig, arguments)
    await asyncio.to_thread(operator.start)
    try:
        await world.settled()
        lives = [Lives(world, n) for n in range(TENANTS)]
        runs = [asyncio.create_task(life.run()) for life in lives]
        for _ in range(KILLS):
            await asyncio.wait(runs, timeout=chance.uniform(0.2, LONGEST), return_when=asyncio.FIRST_EXCEPTION)
            await asyncio.to_thread(operator.kill)
            await world.mirror.looked_anew()
            for life in lives:
                life.tenant.note()
            if chance.random() > LEASE_RUNS_OUT:
                await world.api.free_lease()
            await asyncio.to_thread(operator.start)
        for life in lives:
            life.last = True
        await asyncio.wait(runs)
        failures = [str(error) for run in runs if (error := run.exception()) is not None]
        failures += await world_is_clean(world)
        print(f"{KILLS} kills, {sum(life.lived for life in lives)} lives")
        assert not failures, "\n".join(failures)
    finally:
        await asyncio.to_thread(operator.stop)
