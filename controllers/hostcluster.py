"""The HostCluster kind: its hosts summed up, and the CPU that its guests see computed once. Called by the engine."""

from collections.abc import Iterable

from controllers.engine.base import Again, Key, Obj, Reconciler, Services, Turn
from controllers.fleet.base import Fleet, Link
from controllers.logic.cpu import baseline
from controllers.logic.inheritance import above_cluster
from controllers.parents import enter, ready, require, sum_up
from controllers.placement.room import Rooms
from crds.base import RECOMPUTE_CPU
from crds.capacity import Room
from crds.hostcluster import BaselineCPU, HostClusterSpec, HostClusterStatus
from drivers.base import CPUFacts

ClusterObj = Obj[HostClusterSpec, HostClusterStatus]


class HostClusterReconciler(Reconciler[HostClusterSpec, HostClusterStatus]):
    """Ready when its HostPod is there; a cluster without hosts is Ready too."""

    kind = "HostCluster"
    roll_up = True

    def __init__(self, services: Services, fleet: Fleet, rooms: Rooms | None = None) -> None:
        """`rooms`: who counts what more would fit; None: nobody does."""
        self._services = services
        self._fleet = fleet
        self._rooms = rooms

    def references(self, obj: ClusterObj) -> Iterable[Key]:
        yield Key("HostPod", "", obj.spec.host_pod_ref.name)

    def signal(self, obj: ClusterObj) -> object:
        """With the baseline: hosts are judged by it."""
        ready_now = obj.condition("Ready") or {}
        cpu = obj.status.cpu
        return (
            obj.generation,
            obj.deleting,
            tuple(sorted(obj.labels.items())),
            (ready_now.get("status"), ready_now.get("reason")),
            (cpu.mode, cpu.model, cpu.features) if cpu else None,
        )

    async def reconcile(self, turn: Turn[HostClusterSpec, HostClusterStatus]) -> Again | None:
        again = await enter(turn, self._services)
        obj = turn.obj
        pod = Key("HostPod", "", obj.spec.host_pod_ref.name)
        found = above_cluster(self._services.cache, obj)
        above = [o.key for o in (found.pod, found.zone, found.region) if o is not None]
        room: tuple[Room, ...] = ()
        if self._rooms and found.zone:
            room = self._rooms.room(obj.key, obj.status.room, found.zone.name, obj.name)
        left_out = self._rooms.left_out if self._rooms else None
        summed = sum_up(turn, self._services, above, cpu=self._cpu(obj), room=room, room_left_out=left_out)
        require(self._services, pod, "spec.hostPodRef")
        ready(turn, (summed.hosts.total, "host"))
        return again

    def _cpu(self, obj: ClusterObj) -> BaselineCPU | None:
        """As kept, or computed anew: for a new mode, and at an administrator's word."""
        wanted, kept, mode = obj.annotations.get(RECOMPUTE_CPU), obj.status.cpu, obj.spec.cpu.mode
        asked_anew = wanted is not None and (kept is None or kept.recompute_request != wanted)
        same = kept is not None and kept.mode == mode and (mode != "Named" or kept.model == obj.spec.cpu.model)
        if same and not asked_anew:
            return kept
        now = self._services.now().replace(microsecond=0)
        if mode != "Baseline":
            model = obj.spec.cpu.model if mode == "Named" else None
            return BaselineCPU(mode=mode, model=model, computed_at=now, recompute_request=wanted)
        cpus = self._cpus(obj)
        if not cpus:
            return kept if same else None
        lowest = baseline(cpus)
        return BaselineCPU(
            mode=mode,
            model=lowest.model,
            vendor=lowest.vendor or None,
            features=lowest.features[:512],
            disabled_features=lowest.disabled[:512],
            computed_at=now,
            recompute_request=wanted,
        )

    def _cpus(self, obj: ClusterObj) -> list[CPUFacts]:
        """Of the hosts that answer; none while one is still being connected for the first time."""
        hosts = list(self._services.cache.referrers(obj.key, "Host"))
        views = [self._fleet.view(host.name) for host in hosts]
        if any(view is None or view.link is Link.CONNECTING for view in views):
            return []
        return [
            view.facts.cpu
            for view in views
            if view is not None
            and view.link is Link.UP
            and view.facts is not None
            and view.facts.architecture == obj.spec.architecture
        ]
