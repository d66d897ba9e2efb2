"""A simulated cloud with an operator in this process: what the tests of the Instance kind build on and look at."""

import asyncio
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from controllers.engine.client import path_of
from controllers.engine.engine import Engine
from controllers.kinds import Wiring
from controllers.logic.identity import object_uuid
from drivers import registry
from drivers.base import Connection, EndPoint
from drivers.simulated.domains import Domain
from drivers.simulated.faults import Faults
from tests.engine.harness import FAST, Cluster, running, until

Spec = dict[str, Any]
NAMESPACE = "team-a"


class Cloud:
    """`operator_stops` and `operator_starts` are what a killed and restarted operator is: its memory is gone."""

    def __init__(self, api: Cluster, state: Path, hosts: tuple[str, ...] = ("node-1", "node-2")) -> None:
        self.api, self.state, self.hosts = api, state, hosts
        self.faults: Faults
        self.engine: Engine
        self.open_endpoint: Callable[[Connection, float], EndPoint] = registry.open_endpoint
        self.settings = replace(FAST, listing_interval=0.5)
        self._stack = AsyncExitStack()

    # ------------------------------------------------------------ the cloud

    async def begin(self) -> None:
        self.faults = Faults(str(self.state))
        for namespace in ("stratiform-system", NAMESPACE):
            await self.api.namespace(namespace)
        await self.api.wipe()
        create = self.api.create
        await create("Region", "default", {})
        physical = [{"name": "lan", "untagged": True, "vlans": ["100-199"], "namespaces": {"type": "All"}}]
        dns = {"servers": ["10.90.0.1"], "searchDomains": ["zone-1.example"]}
        zone = {"regionRef": {"name": "default"}, "physicalNetworks": physical, "dns": dns}
        await create("Zone", "zone-1", zone)
        await create("HostPod", "rack-1", {"zoneRef": {"name": "zone-1"}})
        cluster = {"hostPodRef": {"name": "rack-1"}, "hypervisor": "Simulated"}
        await create("HostCluster", "sim-1", {**cluster, "uplinks": [{"name": "lan", "type": "Simulated"}]})
        for host in self.hosts:
            simulated = {"type": "Simulated", "simulated": {"cpus": 16, "memory": "64Gi"}}
            await create("Host", host, {"hostClusterRef": {"name": "sim-1"}, "connection": simulated})
        scope = {"type": "HostCluster", "hostClusterRef": {"name": "sim-1"}}
        pool = {"scope": scope, "type": "Simulated", "simulated": {"capacity": "1Ti"}}
        await create("StoragePool", "pool-1", pool)
        await create("InstanceType", "small", {"cpus": 1, "memory": "512Mi"})
        subnet = {
            "cidr": "10.91.0.0/24", "gateway": "10.91.0.1", "ranges": [{"start": "10.91.0.50", "end": "10.91.0.250"}],
        }  # fmt: skip
        network = {"zoneRef": {"name": "zone-1"}, "type": "Physical", "physical": {"network": "lan"}}
        await create("Network", "lan", {**network, "ipam": {"subnets": [subnet]}}, namespace=NAMESPACE)
        await self.operator_starts()
        for kind, name in (*(("Host", h) for h in self.hosts), ("StoragePool", "pool-1")):
            await self.api.until_condition(kind, name, "Ready", "True", deadline=20.0)

    async def end(self) -> None:
        await self.operator_stops()
        assert self.faults.violations() == ()
        self.faults.close()

    async def operator_starts(self, **changes: Any) -> None:
        settings = replace(self.settings, simulated_state=self.state, **changes)
        wiring = Wiring(settings, self.open_endpoint)
        self._stack = AsyncExitStack()
        self.engine = await self._stack.enter_async_context(
            running(self.api, wiring.reconcilers, components=wiring.components, settings=settings)
        )

    async def operator_stops(self) -> None:
        await self._stack.aclose()

    async def operator_restarts(self) -> None:
        await self.operator_stops()
        await self.operator_starts()

    # ------------------------------------------------------------ instances

    async def make(self, name: str = "web-1", *, annotations: dict[str, str] | None = None, **spec: Any) -> str:
        """An Instance; its UUID."""
        body: Spec = {"zoneRef": {"name": "zone-1"}, "runStrategy": "Always"}
        if "resources" not in spec:
            body["instanceTypeRef"] = {"name": "small"}
        made = await self.api.create(
            "Instance", name, {**body, **spec}, namespace=NAMESPACE, annotations=annotations or {}
        )
        return str(spec.get("uuid") or object_uuid(None, made["metadata"]["uid"]))

    async def change(self, name: str = "web-1", **spec: Any) -> None:
        await self.api.patch("Instance", name, {"spec": spec}, namespace=NAMESPACE)

    async def annotate(self, name: str = "web-1", **annotations: str | None) -> None:
        marks = {f"stratiform.dev/{k.replace('_', '-')}": v for k, v in annotations.items()}
        await self.api.patch("Instance", name, {"metadata": {"annotations": marks}}, namespace=NAMESPACE)

    async def request(self, action: str, name: str = "web-1", at: datetime | None = None) -> str:
        moment = (at or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        await self.change(name, power={"action": action, "requestedAt": moment})
        return moment

    async def get(self, name: str = "web-1", kind: str = "Instance") -> dict[str, Any]:
        return await self.api.get(kind, name, namespace=NAMESPACE) or {}

    async def status(self, name: str = "web-1") -> dict[str, Any]:
        return dict((await self.get(name)).get("status", {}))

    async def ready(
        self, reason: str = "Running", status: str = "True", name: str = "web-1", **kw: Any
    ) -> dict[str, Any]:
        return await self.condition("Ready", reason, status, name, **kw)

    async def condition(
        self, type_: str, reason: str = "", status: str = "True", name: str = "web-1", *, kind: str = "Instance",
        deadline: float = 15.0,
    ) -> dict[str, Any]:  # fmt: skip
        """Wait until the condition is so, for the present generation."""
        last: dict[str, Any] = {}

        async def holds() -> dict[str, Any]:
            obj = await self.get(name, kind)
            last.clear()
            last.update(obj.get("status", {}))
            for found in last.get("conditions", ()):
                fresh = found.get("observedGeneration", 0) >= obj["metadata"]["generation"]
                if found["type"] == type_ and found["status"] == status and reason in ("", found["reason"]) and fresh:
                    return dict(found)
            return {}

        try:
            return dict(await until(holds, deadline, what=f"{type_}={status} {reason}"))
        except AssertionError as error:
            told = [f"{c['type']}={c['status']} {c['reason']}: {c['message']}" for c in last.get("conditions", ())]
            raise AssertionError(f"{error}; state {last.get('state')}; " + " | ".join(told)) from None

    async def no_condition(self, type_: str, name: str = "web-1", deadline: float = 15.0) -> None:
        async def gone() -> bool:
            conditions = (await self.status(name)).get("conditions", ())
            return all(c["type"] != type_ for c in conditions)

        await until(gone, deadline, what=f"no condition {type_}")

    async def gone(self, name: str = "web-1", kind: str = "Instance", deadline: float = 15.0) -> None:
        async def is_gone() -> bool:
            return not await self.get(name, kind)

        await until(is_gone, deadline, what=f"{kind} {name} gone")

    async def delete(self, name: str = "web-1", kind: str = "Instance") -> None:
        await self.api.delete(kind, name, namespace=NAMESPACE)

    async def wipe_status(self, name: str = "web-1") -> None:
        """As a restore without status leaves it."""
        obj = await self.get(name)
        obj["status"] = {}
        path = path_of(self.api.kinds["Instance"], NAMESPACE, name, "status")
        await self.api.client.put(path, obj, kind="Instance")

    async def volume(self, name: str, size: str = "1Gi", **spec: Any) -> None:
        body = {"zoneRef": {"name": "zone-1"}, "size": size, "storagePoolRef": {"name": "pool-1"}}
        await self.api.create("Volume", name, {**body, **spec}, namespace=NAMESPACE)

    # ------------------------------------------------------------ what is really there

    def domains(self, uuid_: str) -> list[Domain]:
        return [d for d in self.faults.domains() if d.uuid == uuid_]

    def domain(self, uuid_: str) -> Domain:
        found = self.domains(uuid_)
        assert len(found) == 1, found
        return found[0]

    async def host_of(self, name: str = "web-1") -> str:
        return str((await self.status(name))["placement"]["host"])

    async def until_runs(self, uuid_: str, deadline: float = 15.0) -> str:
        """The one host on which it runs."""
        hosts = await until(lambda: self.faults.running(uuid_), deadline, what=f"{uuid_} running")
        assert len(hosts) == 1
        return str(hosts[0])

    async def until_off(self, uuid_: str, deadline: float = 15.0) -> None:
        await until(lambda: not self.faults.running(uuid_), deadline, what=f"{uuid_} off")

    async def settle(self, seconds: float = 1.5) -> None:
        """Time in which a wrong step would have been taken: for what must not happen, there is no event to wait for."""
        await asyncio.sleep(seconds)


def other(host: str) -> str:
    return "node-2" if host == "node-1" else "node-1"


def new_uuid() -> str:
    return str(uuid.uuid4())


def managed(name: str, size: str = "1Gi", **more: Any) -> Spec:
    return {"name": name, "type": "Managed", "managed": {"size": size, **more}}


def attached(name: str, volume: str) -> Spec:
    return {"name": name, "type": "Volume", "volume": {"volumeRef": {"name": volume}}}


def nic(name: str = "lan", network: str = "lan", **more: Any) -> Spec:
    return {"name": name, "networkRef": {"name": network}, **more}
