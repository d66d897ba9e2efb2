"""The Zone kind: one data centre, summed up, and what it grants to tenants checked. Called by the engine."""

from collections.abc import Iterable

from controllers.engine.base import Again, Key, Obj, Reconciler, Refused, Services, Turn
from controllers.logic.rollup import children, pools_below
from controllers.logic.zone import vlan_problems
from controllers.parents import enter, ready, require, sum_up
from controllers.placement.room import Rooms
from crds.zone import ZoneSpec, ZoneStatus


class ZoneReconciler(Reconciler[ZoneSpec, ZoneStatus]):
    """Ready when its Region is there and its grants make sense."""

    kind = "Zone"
    roll_up = True

    def __init__(self, services: Services, rooms: Rooms | None = None) -> None:
        """`rooms`: who counts what more would fit; None: nobody does."""
        self._services, self._rooms = services, rooms

    def references(self, obj: Obj[ZoneSpec, ZoneStatus]) -> Iterable[Key]:
        yield Key("Region", "", obj.spec.region_ref.name)

    async def reconcile(self, turn: Turn[ZoneSpec, ZoneStatus]) -> Again | None:
        again = await enter(turn, self._services)
        cache, obj = self._services.cache, turn.obj
        region = Key("Region", "", obj.spec.region_ref.name)
        pods = list(cache.referrers(obj.key, "HostPod"))
        found = sum_up(
            turn,
            self._services,
            [region],
            pods=children(pods),
            clusters=children(c for pod in pods for c in cache.referrers(pod.key, "HostCluster")),
            room=self._rooms.room(obj.key, obj.status.room, obj.name) if self._rooms else (),
            room_left_out=self._rooms.left_out if self._rooms else None,
            storage_pools=children(pools_below(cache, obj.key)),
        )
        require(self._services, region, "spec.regionRef")
        problems = vlan_problems(obj.spec.physical_networks)
        if problems:
            raise Refused("BadVLANRange", f"{'; '.join(problems)}.", stalled=True)
        ready(turn, (len(pods), "rack"), (found.hosts.total, "host"))
        return again
