"""The operator with its actuation off: `python -m tests.bench.placer` places Instances and does nothing else.

Engine, cache, watch, queue, status writer and placement are production's, and so is all that the Instance kind does up
to its placement's write. Left out are the kinds but Instance, the finalizer and all that follows it, and the fleet's
connections: every Host counts as one that has answered, with the size that its spec says, as a Node counts for
kube-scheduler by what its object says. Started by tests/bench/test_kube_scheduler.py.
"""

import asyncio
import os
import sys
from collections.abc import Iterable
from typing import Any

from controllers import config
from controllers.__main__ import finish
from controllers.engine.base import NotYet, Services
from controllers.engine.engine import Component, Engine
from controllers.engine.log import configure
from controllers.engine.memory import look_seldom
from controllers.fleet.base import HostView, Link
from controllers.fleet.fleet import LiveFleet
from controllers.instances import placing
from controllers.instances.reconciler import InstanceReconciler
from controllers.instances.work import Work
from controllers.placement.scheduler import PlacementScheduler
from drivers.facts import CPUFacts, HostFacts
from lab.operator import CHECKOUT, Operator

DONE = 3600.0
"""Seconds until a placed one is looked at again."""


class StandingFleet(LiveFleet):
    """Hosts that were asked once and hold still; it opens no connection."""

    def __init__(self, services: Services) -> None:
        super().__init__(services, simulated_state="", listing_interval=DONE, pool_interval=DONE)
        self._standing: dict[str, HostView] = {}

    def link(self, host: str) -> Link | None:
        return Link.UP

    def view(self, host: str) -> HostView | None:
        if host not in self._standing:
            obj = self.services.cache.get("Host", "", host)
            if obj is None:
                return None
            size, now = obj.spec.connection.simulated, self.services.now()
            facts = HostFacts(
                host=host, machine_id=obj.uid, hostname=host, architecture="x86_64", hypervisor="Simulated",
                version="1.0", cpus=size.cpus, memory=size.memory, cpu=CPUFacts(model="Simulated"),
                max_instance_cpus=size.cpus,
            )  # fmt: skip
            self._standing[host] = HostView(
                host=host, link=Link.UP, since=now, last_contact=now, facts=facts, instances={}
            )
        return self._standing[host]


class PlacingOnly(InstanceReconciler):
    """Ends where the placement was written."""

    async def _reconcile(self, work: Work) -> None:
        self._check(work)
        work.update(uuid=work.uuid)
        await placing.find(work)
        if not placing.placed(work):
            await placing.choose(work)
        raise NotYet(DONE)


async def run(settings: config.Settings) -> int:
    made: list[Any] = []

    def components(services: Services) -> Iterable[Component]:
        fleet = StandingFleet(services)
        made.extend((fleet, PlacementScheduler(services, fleet)))
        return made[1:]

    def reconcilers(services: Services) -> Iterable[PlacingOnly]:
        return [PlacingOnly(services, *made)]

    return await finish(Engine(settings, reconcilers=reconcilers, components=components))


class Placer(Operator):
    """As a process of a lab, in the operator's place."""

    def begin(self) -> None:
        """Does not wait until it is ready: being that is part of what is measured."""
        self.process.start(self._command(), {**os.environ, "PYTHONPATH": str(CHECKOUT)})

    def _command(self) -> list[str]:
        command = super()._command()
        return [command[0], "-m", "tests.bench.placer", *command[3:]]


if __name__ == "__main__":
    look_seldom()
    given = config.read(sys.argv[1:])
    configure(given.log_format, given.log_level)
    sys.exit(asyncio.run(run(given)))
