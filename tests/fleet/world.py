"""What tests of the infrastructure kinds do: apply a cloud, run an operator on it, look at its objects."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controllers.engine.base import Key, Obj, Reconciler, Services, default_signal
from controllers.engine.engine import Engine
from controllers.fleet.fleet import LiveFleet
from controllers.host import HostReconciler
from controllers.hostcluster import HostClusterReconciler
from controllers.hostpod import HostPodReconciler
from controllers.imagestore import ImageStoreReconciler
from controllers.poolwork import PoolWork
from controllers.region import RegionReconciler
from controllers.storagepool import StoragePoolReconciler
from controllers.zone import ZoneReconciler
from drivers.simulated.faults import Faults
from tests.engine.harness import Cluster, running

GI = 2**30


class Placed(Reconciler[Any, Any]):
    """Instances that only stand where their status says: what the fleet and the Host kind know of them."""

    kind = "Instance"
    indexes = {"uuid": lambda obj: [obj.status.uuid] if obj.status.uuid else []}

    def __init__(self) -> None:
        self.seen: list[Key] = []

    def references(self, obj: Obj[Any, Any]) -> Iterable[Key]:
        if obj.status.placement and obj.status.placement.host:
            yield Key("Host", "", obj.status.placement.host)

    def signal(self, obj: Obj[Any, Any]) -> object:
        return (default_signal(obj), obj.status)

    async def reconcile(self, turn: Any) -> None:
        self.seen.append(turn.obj.key)


class Stands(Reconciler[Any, Any]):
    """Any other kind: objects that nobody reconciles."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def references(self, obj: Obj[Any, Any]) -> Iterable[Key]:
        disk = getattr(obj.status, "disk", None)
        if disk:
            yield Key("StoragePool", "", disk.pool)

    async def reconcile(self, turn: Any) -> None:
        return None


@dataclass
class Operator:
    engine: Engine
    fleet: LiveFleet
    placed: Placed


@dataclass
class World:
    api: Cluster
    state: Path
    faults: Faults

    @asynccontextmanager
    async def operator(self, **settings: Any) -> AsyncIterator[Operator]:
        """The infrastructure kinds at work until the block ends. `settings` are the engine's and the intervals."""
        made: list[LiveFleet] = []
        placed = Placed()
        intervals = {"listing_interval": settings.pop("listing_interval", 0.3)}
        intervals["pool_interval"] = settings.pop("pool_interval", 2.0)

        def fleet(services: Services) -> list[LiveFleet]:
            made.append(LiveFleet(services, simulated_state=str(self.state), **intervals))
            return made

        def kinds(services: Services) -> list[Reconciler[Any, Any]]:
            own = made[0]
            return [
                RegionReconciler(services),
                ZoneReconciler(services),
                HostPodReconciler(services),
                HostClusterReconciler(services, own),
                HostReconciler(services, own),
                StoragePoolReconciler(services, PoolWork(services, own)),
                ImageStoreReconciler(services, own),
                placed,
                *(Stands(kind) for kind in ("Volume", "Template")),
            ]

        async with running(self.api, kinds, components=fleet, **settings) as engine:
            yield Operator(engine, made[0], placed)

    async def parents(self, **cluster: Any) -> None:
        """Region default, Zone zone-1, HostPod rack-1, HostCluster sim-1."""
        await self.api.create("Region", "default", {})
        await self.api.create("Zone", "zone-1", {"regionRef": {"name": "default"}})
        await self.api.create("HostPod", "rack-1", {"zoneRef": {"name": "zone-1"}})
        spec = {"hostPodRef": {"name": "rack-1"}, "hypervisor": "Simulated", **cluster}
        await self.api.create("HostCluster", "sim-1", spec)

    async def host(self, name: str, *, cpus: int = 8, memory: str = "16Gi", **spec: Any) -> None:
        connection = {"type": "Simulated", "simulated": {"cpus": cpus, "memory": memory}}
        body = {"hostClusterRef": {"name": "sim-1"}, "connection": connection, **spec}
        await self.api.create("Host", name, body)

    async def pool(
        self, name: str, kind: str = "StoragePool", *, scope: dict[str, Any] | None = None, **spec: Any
    ) -> None:
        scope = scope or {"type": "HostCluster", "hostClusterRef": {"name": "sim-1"}}
        body = {"scope": scope, "type": "Simulated", "simulated": {"capacity": "1Ti"}, **spec}
        await self.api.create(kind, name, body)

    async def instance(self, name: str, uuid: str, host: str, *, sequence: int = 1, running: bool = True) -> str:
        """An Instance whose status says that it was placed; its uid."""
        spec = {"zoneRef": {"name": "zone-1"}, "resources": {"cpus": 2, "memory": "1Gi"}, "uuid": uuid}
        made = await self.api.create("Instance", name, spec, namespace="team-a")
        run = {"startedAt": "2026-01-01T00:00:00Z", **({} if running else {"endedAt": "2026-01-01T00:01:00Z"})}
        status = {
            "uuid": uuid,
            "placement": {"host": host, "sequence": sequence, "decidedAt": "2026-01-01T00:00:00Z"},
            "resources": {"cpus": 2, "memory": "1Gi", "overhead": "128Mi"},
            "lastRun": {**run, **({} if running else {"reason": "Stopped"})},
        }
        await self.api.patch("Instance", name, {"status": status}, namespace="team-a", sub="status")
        return str(made["metadata"]["uid"])

    async def ready(self, kind: str, name: str, reason: str = "", deadline: float = 15.0) -> dict[str, Any]:
        return await self.api.until_condition(kind, name, "Ready", "True", reason, deadline=deadline)

    async def not_ready(self, kind: str, name: str, reason: str = "", deadline: float = 15.0) -> str:
        """The message of Ready=False."""
        found = await self.api.until_condition(kind, name, "Ready", "False", reason, deadline=deadline)
        return str(found["message"])

    async def status(self, kind: str, name: str) -> dict[str, Any]:
        return dict((await self.api.get(kind, name) or {}).get("status") or {})
