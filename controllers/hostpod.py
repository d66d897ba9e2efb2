"""The HostPod kind: a rack, summed up. Called by the engine."""

from collections.abc import Iterable

from controllers.engine.base import Again, Key, Obj, Reconciler, Services, Turn
from controllers.logic.rollup import children
from controllers.parents import enter, ready, require, sum_up
from crds.hostpod import HostPodSpec, HostPodStatus


class HostPodReconciler(Reconciler[HostPodSpec, HostPodStatus]):
    """Ready when its Zone is there."""

    kind = "HostPod"
    roll_up = True

    def __init__(self, services: Services) -> None:
        self._services = services

    def references(self, obj: Obj[HostPodSpec, HostPodStatus]) -> Iterable[Key]:
        yield Key("Zone", "", obj.spec.zone_ref.name)

    async def reconcile(self, turn: Turn[HostPodSpec, HostPodStatus]) -> Again | None:
        again = await enter(turn, self._services)
        cache, obj = self._services.cache, turn.obj
        above = [Key("Zone", "", obj.spec.zone_ref.name)]
        zone = cache.get("Zone", "", obj.spec.zone_ref.name)
        if zone is not None and not zone.problem:
            above.append(Key("Region", "", zone.spec.region_ref.name))
        clusters = children(cache.referrers(obj.key, "HostCluster"))
        found = sum_up(turn, self._services, above, clusters=clusters)
        require(self._services, above[0], "spec.zoneRef")
        ready(turn, (clusters.total, "cluster"), (found.hosts.total, "host"))
        return again
