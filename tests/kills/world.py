"""A cloud for many tenants at once, and what is in the API of it, read for all of them together.

`Place` is what a tenant wants of its cloud: the simulated one is here, that of real hosts in tests/soak/kvm_world.py.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from controllers.engine.base import ApiError
from drivers.simulated.disks import Disk, read_mark
from drivers.simulated.domains import Domain
from drivers.simulated.faults import Faults
from tests.drivers.images import ImageServer, qcow2
from tests.engine.harness import Cluster

FIRST = asyncio.FIRST_COMPLETED
HOSTS = ("node-1", "node-2", "node-3")
FIRST_VLAN = 100
LOOKED_AT = ("Instance", "Volume", "Template", "Network", "NetworkAddress")
Obj = dict[str, Any]


class Mirror:
    """All tenants' objects, listed a few times a second. Everybody who waits for something waits here."""

    def __init__(self, api: Cluster) -> None:
        self._api = api
        self.patience_from = 0.0
        """Deadlines count from here at the earliest: while tenants are held, and after a kill, time is no failure."""
        self._objects: dict[tuple[str, str, str], Obj] = {}
        self._looked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._look())

    def get(self, kind: str, namespace: str, name: str) -> Obj | None:
        return self._objects.get((kind, namespace, name))

    def of(self, namespace: str) -> list[tuple[str, str]]:
        """(kind, name) of everything that the tenant has."""
        return sorted((kind, name) for kind, place, name in self._objects if place == namespace)

    async def until(self, what: Callable[[], Any], deadline: float, why: Callable[[], str]) -> Any:
        """The first truthy answer. Raises AssertionError with `why`."""
        begun = time.monotonic()
        while True:
            end = max(begun, self.patience_from) + deadline
            looked = self._looked
            await asyncio.wait(
                [looked, self._task], timeout=min(60.0, max(0.1, end - time.monotonic())), return_when=FIRST
            )
            if self._task.done():
                self._task.result()
            if answer := what():
                return answer
            if time.monotonic() > end:
                raise AssertionError(f"not within {deadline:.0f} s: {why()}")

    async def looked_anew(self) -> None:
        """Wait for a look that began after this."""
        for _ in range(2):
            await self.until(lambda: True, 30.0, lambda: "no look at the API")

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            begun = time.monotonic()
            found: dict[tuple[str, str, str], Obj] = {}
            try:
                for kind in LOOKED_AT:
                    for obj in await self._api.all(kind):
                        found[kind, obj["metadata"]["namespace"], obj["metadata"]["name"]] = obj
            except ApiError as error:
                if not error.retryable:
                    raise
                continue
            self._objects = found
            looked, self._looked = self._looked, asyncio.get_running_loop().create_future()
            looked.set_result(None)
            # A third of the time at most, so that the operator has the API server.
            await asyncio.sleep(max(0.15, 2 * (time.monotonic() - begun)))


@dataclass(frozen=True)
class Terms:
    """What is declared otherwise in one cloud than in another."""

    zone: str = "zone-1"
    pool: str = "pool-1"
    size: str = "1Gi"
    """Of each disk."""
    grown: str = "2Gi"
    grown_bytes: int = 2 << 30
    memory: str = "512Mi"
    more_memory: str = "1Gi"
    unplugs: bool = True
    """Whether guests let go of a disk while they run."""
    spec: Mapping[str, Any] = field(default_factory=dict)
    """What else the Instance's spec has."""


class Place(Protocol):
    """The cloud of a tenant. What is on its hosts and storage is not read through the operator."""

    api: Cluster
    mirror: Mirror
    terms: Terms

    async def begin(self) -> None: ...

    async def settled(self) -> None: ...

    async def end(self) -> None: ...

    def image(self) -> Obj: ...

    def physical(self, number: int) -> Obj: ...

    def domains(self, namespace: str) -> list[Domain]: ...

    def disks(self, namespace: str) -> list[Disk]: ...

    def volumes_disks(self, namespace: str) -> list[Disk]: ...

    def write(self, disk: Disk, content: str) -> None: ...

    def companion(self, name: str) -> bool: ...

    async def found_wrong(self) -> list[str]: ...


class World:
    """`begin` before the first operator starts."""

    terms = Terms()

    def __init__(self, api: Cluster, state: Path) -> None:
        self.api, self.state = api, state
        self.faults = Faults(str(state))
        self.images = ImageServer()
        self.mirror: Mirror
        self.pool = ""
        """Where the simulated storage is: the pool's UUID."""
        self.store = ""

    async def begin(self) -> None:
        """Everything that is no tenant's."""
        await self.api.namespace("stratiform-system")
        await self.api.wipe()
        create = self.api.create
        await create("Region", "default", {})
        physical = [{"name": "lan", "vlans": [f"{FIRST_VLAN}-4000"], "namespaces": {"type": "All"}}]
        await create("Zone", "zone-1", {"regionRef": {"name": "default"}, "physicalNetworks": physical})
        await create("HostPod", "rack-1", {"zoneRef": {"name": "zone-1"}})
        hosts = {"hostPodRef": {"name": "rack-1"}, "hypervisor": "Simulated"}
        await create("HostCluster", "sim-1", {**hosts, "uplinks": [{"name": "lan", "type": "Simulated"}]})
        for host in HOSTS:
            simulated = {"type": "Simulated", "simulated": {"cpus": 512, "memory": "1Ti"}}
            await create("Host", host, {"hostClusterRef": {"name": "sim-1"}, "connection": simulated})
        scope = {"type": "HostCluster", "hostClusterRef": {"name": "sim-1"}}
        kind = {"type": "Simulated", "simulated": {"capacity": "100Ti"}}
        pool = await create("StoragePool", "pool-1", {"scope": scope, **kind})
        zone = {"type": "Zone", "zoneRef": {"name": "zone-1"}}
        store = await create(
            "ImageStore", "images-1", {"scope": zone, **kind, "allowedSources": {"cidrs": ["127.0.0.0/8"]}}
        )
        self._places = (pool["metadata"]["name"], store["metadata"]["name"])
        self.mirror = Mirror(self.api)

    async def settled(self) -> None:
        """Wait until an operator has connected hosts, pool and store."""
        for kind, name in (*(("Host", host) for host in HOSTS), ("StoragePool", "pool-1"), ("ImageStore", "images-1")):
            await self.api.until_condition(kind, name, "Ready", "True", deadline=30.0)
        self.pool = (await self.api.get("StoragePool", "pool-1") or {})["status"]["uuid"]
        self.store = (await self.api.get("ImageStore", "images-1") or {})["status"]["uuid"]

    async def end(self) -> None:
        await self.mirror.close()
        self.images.close()
        self.faults.close()

    async def found_wrong(self) -> list[str]:
        """Whatever ran or was written twice, and what we made and do not know."""
        pool_and_store = [("StoragePool", "pool-1"), ("ImageStore", "images-1")]
        looked = [("Host", host) for host in HOSTS] + pool_and_store
        return [*self.faults.violations(), *await orphans(self.api, looked)]

    def image(self) -> Obj:
        """source.http of a small image."""
        source = self.images.put(qcow2())
        return {"url": source.url, "checksum": source.checksum}

    def physical(self, number: int) -> Obj:
        """spec.physical of a tenant's Network."""
        return {"network": "lan", "vlan": FIRST_VLAN + number}

    def domains(self, namespace: str) -> list[Domain]:
        """What the tenant really has on the hosts."""
        return [d for d in self.faults.domains() if d.title.startswith(f"{namespace}.")]

    def disks(self, namespace: str) -> list[Disk]:
        """And on pool and store, half made ones and cached images too."""
        return [d for place in (self.pool, self.store) for d in self.faults.disks(place) if owner(d) == namespace]

    def volumes_disks(self, namespace: str) -> list[Disk]:
        """Those of Volumes on the pool."""
        return [d for d in self.disks(namespace) if d.address == self.pool and '"Template"' not in d.mark]

    def write(self, disk: Disk, content: str) -> None:
        """As the guest does, on its disk."""
        self.faults.write_data(disk.address, disk.disk, content)

    def companion(self, name: str) -> bool:
        """Whether the file is beside a disk of the pool."""
        return self.faults.companion(self.pool, name) is not None


async def orphans(api: Cluster, looked: Sequence[tuple[str, str]]) -> list[str]:
    """What these (kind, name) say they have and nobody knows."""
    found = []
    for kind, name in looked:
        seen = ((await api.get(kind, name)) or {})["status"].get("orphans", [])
        found += [f"{kind} {name} has an orphan: {orphan}" for orphan in seen]
    return found


def owner(disk: Disk) -> str:
    """Its tenant, "" if nobody can tell."""
    mark, _ = read_mark(disk.mark)
    return mark.namespace if mark else ""
