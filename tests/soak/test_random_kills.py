"""Thirty tenants, twenty on simulated hosts and ten on the lab's real ones, live their lives again and again while the one
operator is killed with SIGKILL at forty random moments.

The seed is printed; STRATIFORM_SEED=… makes the same moments again.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lab.controlplane import ControlPlane
from lab.machines import Machines
from lab.operator import Operator
from tests.engine.harness import Cluster
from tests.kills.recording import seed
from tests.kills.scenario import Tenant
from tests.kills.world import Place, World
from tests.soak.kvm_world import KvmWorld

SIMULATED, KVM = 20, 10
KILLS = 40
LONGEST = 7.0
"""Seconds between a start and the next kill, at most: a simulated life takes about as long."""
LEASE_RUNS_OUT = 0.25
"""How often the dead operator's Lease is left to run out by itself; else it is taken away to save the time."""
DEADLINE = 240.0
"""Seconds of each step after the last kill."""


class Lives:
    """One tenant after the other in the same namespace, until `last`."""

    def __init__(self, world: Place, number: int) -> None:
        self._world, self._number = world, number
        self.tenant = Tenant(world, number, deadline=DEADLINE)
        self.lived = 0
        self.last = False

    async def run(self) -> None:
        while True:
            await self.tenant.run()
            self.lived += 1
            if self.last:
                return
            self.tenant = Tenant(self._world, self._number, deadline=DEADLINE)


@pytest.fixture
async def worlds(plane: ControlPlane, new_hosts: Machines, tmp_path: Path) -> AsyncIterator[tuple[World, KvmWorld]]:
    """Two zones of one control plane."""
    api = Cluster(plane.kubeconfig)
    await api.free_lease()
    world = World(api, tmp_path / "cloud.db")
    await world.begin()
    kvm = KvmWorld(api, new_hosts, world.mirror)
    await kvm.begin()
    kvm.revive()
    yield world, kvm
    await kvm.end()
    await world.end()
    await api.close()


@pytest.mark.cloud
@pytest.mark.takes(300)
@pytest.mark.timeout(1200)
async def test_killed_at_random_moments_the_declared_state_comes_and_nothing_is_left(
    plane: ControlPlane, worlds: tuple[World, KvmWorld]
) -> None:
    number = seed()
    print(f"STRATIFORM_SEED={number}")
    chance = random.Random(number)
    world, kvm = worlds
    arguments = (
        f"--simulated-state={world.state}", "--listing-interval=1", "--lease-duration=6", "--lease-renew=1",
        "--lease-margin=1.5", "--roll-up=1", "--backoff-first=0.2", "--backoff-most=2", "--log-level=WARNING",
    )  # fmt: skip
    operator = Operator(plane.layout, plane.operator_kubeconfig, arguments)
    await asyncio.to_thread(operator.start)
    try:
        await world.settled()
        await kvm.settled()
        simulated = [Lives(world, n) for n in range(SIMULATED)]
        real = [Lives(kvm, n) for n in range(SIMULATED, SIMULATED + KVM)]
        world.mirror.patience_from = float("inf")
        runs = [asyncio.create_task(life.run()) for life in (*simulated, *real)]
        for _ in range(KILLS):
            await asyncio.wait(runs, timeout=chance.uniform(0.2, LONGEST), return_when=asyncio.FIRST_EXCEPTION)
            await asyncio.to_thread(operator.kill)
            await world.mirror.looked_anew()
            for life in (*simulated, *real):
                life.tenant.note()
            if chance.random() > LEASE_RUNS_OUT:
                await world.api.free_lease()
            await asyncio.to_thread(operator.start)
        world.mirror.patience_from = time.monotonic()
        for life in (*simulated, *real):
            life.last = True
        await asyncio.wait(runs)
        failures = [str(error) for run in runs if (error := run.exception()) is not None]
        failures += [*await world.found_wrong(), *await kvm.found_wrong()]
        lived = [sum(life.lived for life in lives) for lives in (simulated, real)]
        print(
            f"{KILLS} kills, {kvm.revived} dead libvirtds, {lived[0]} lives on simulated hosts and {lived[1]} on real ones"
        )
        assert not failures, "\n".join(failures)
    finally:
        await asyncio.to_thread(operator.stop)
