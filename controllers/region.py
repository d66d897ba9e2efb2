"""The Region kind: everything one control plane manages, summed up. Called by the engine."""

from controllers.engine.base import Again, Reconciler, Services, Turn
from controllers.logic.rollup import children
from controllers.parents import enter, ready, sum_up
from crds.region import RegionSpec, RegionStatus


class RegionReconciler(Reconciler[RegionSpec, RegionStatus]):
    """Ready as soon as it is seen."""

    kind = "Region"
    roll_up = True

    def __init__(self, services: Services) -> None:
        self._services = services

    async def reconcile(self, turn: Turn[RegionSpec, RegionStatus]) -> Again | None:
        again = await enter(turn, self._services)
        zones = children(self._services.cache.referrers(turn.obj.key, "Zone"))
        found = sum_up(turn, self._services, [], zones=zones)
        ready(turn, (zones.total, "zone"), (found.hosts.total, "host"))
        return again
