"""More instances made at once than there is room for, under operators that are killed at random.

Whatever moment an operator dies at, what is given out stays within what there is: watched while it happens, and counted
in the end. Called by the tests of kills and, with more seeds, by the long runs.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from controllers.engine.base import ApiError
from drivers.simulated.faults import Faults
from tests.engine.harness import Cluster, until
from tests.kills.operators import ThreadOperator, settings

TENANT = "kill-rush"
HOSTS = ("node-1", "node-2")
CALLS_OF_ONE = 40
"""About as many points (before and after a call) as one instance comes past on its way to running."""
QUIET = 5.0
"""Seconds after which an operator that has nothing more to do is killed all the same."""


@asynccontextmanager
async def rush(
    kubeconfig: Path, state: Path, seed: int, *, asked: int = 50, cpus_of_host: int = 10
) -> "AsyncIterator[Rush]":
    """One that has begun; nothing of it is left in the end."""
    api = Cluster(kubeconfig)
    made = Rush(api, state, seed, asked=asked, cpus_of_host=cpus_of_host)
    try:
        await made.begin()
        yield made
    finally:
        await made.end()
        await api.close()


class Rush:
    """One cloud of two hosts, and instances of one CPU each. `begin` first, `end` last."""

    def __init__(self, api: Cluster, state: Path, seed: int, *, asked: int, cpus_of_host: int) -> None:
        self._asked, self._cpus = asked, cpus_of_host
        self._room = len(HOSTS) * cpus_of_host
        self._api = api
        self._state = state
        self._dice = random.Random(seed)
        self._faults = Faults(str(state))
        self._over: list[str] = []

    async def begin(self) -> None:
        await self._api.namespace("stratiform-system")
        await self._api.namespace(TENANT)
        await self._api.wipe()
        create = self._api.create
        physical = [{"name": "lan", "untagged": True, "namespaces": {"type": "All"}}]
        await create("Region", "default", {})
        await create("Zone", "zone-1", {"regionRef": {"name": "default"}, "physicalNetworks": physical})
        await create("HostPod", "rack-1", {"zoneRef": {"name": "zone-1"}})
        whole = {"cpuPercent": 100, "memoryPercent": 100}
        cluster = {"hostPodRef": {"name": "rack-1"}, "hypervisor": "Simulated", "limits": whole}
        await create("HostCluster", "sim-1", {**cluster, "uplinks": [{"name": "lan", "type": "Simulated"}]})
        for host in HOSTS:
            simulated = {"type": "Simulated", "simulated": {"cpus": self._cpus, "memory": "1Ti"}}
            await create("Host", host, {"hostClusterRef": {"name": "sim-1"}, "connection": simulated})
        scope = {"type": "HostCluster", "hostClusterRef": {"name": "sim-1"}}
        kind = {"type": "Simulated", "simulated": {"capacity": "1Ti"}}
        await create("StoragePool", "pool-1", {"scope": scope, **kind})
        ranges = [{"start": "10.7.0.10", "end": "10.7.0.200"}]
        network = {"type": "Physical", "physical": {"network": "lan"}, "zoneRef": {"name": "zone-1"}}
        ipam = {"subnets": [{"name": "a", "cidr": "10.7.0.0/24", "gateway": "10.7.0.1", "ranges": ranges}]}
        await create("Network", "lan", {**network, "ipam": ipam}, namespace=TENANT)

    async def end(self) -> None:
        await self._api.wipe()
        self._faults.close()

    async def run(self, kills: int, deadline: float) -> None:
        """Kill as many operators, each at a moment of its work, let one live, and look at the end. Raises
        AssertionError."""
        watching = asyncio.create_task(self._watch())
        asking = asyncio.create_task(self._ask())
        try:
            for _ in range(kills):
                await self._live_and_die(self._dice.randint(1, self._room * CALLS_OF_ONE // 2))
            last = ThreadOperator(settings(self._api.kubeconfig, self._state))
            await asyncio.to_thread(last.start)
            try:
                await asking
                await until(self._come_to_rest, deadline, what=f"{self._room} run, {self._asked - self._room} wait")
                await self._judge()
            finally:
                await asyncio.to_thread(last.stop)
        finally:
            asking.cancel()
            watching.cancel()
            await asyncio.gather(asking, watching, return_exceptions=True)
        assert not self._over, self._over[:5]
        assert not self._faults.violations()

    # ------------------------------------------------------------ on the way

    async def _ask(self) -> None:
        root = {
            "name": "root",
            "bootOrder": 1,
            "type": "Managed",
            "managed": {"size": "16Mi", "deletionPolicy": "Delete"},
        }
        spec = {
            "zoneRef": {"name": "zone-1"}, "runStrategy": "Always", "resources": {"cpus": 1, "memory": "64Mi"},
            "volumes": [root], "networks": [{"name": "lan", "networkRef": {"name": "lan"}}],
        }  # fmt: skip
        await asyncio.gather(*(self._make(f"web-{n:02}", spec) for n in range(self._asked)))

    async def _make(self, name: str, spec: dict[str, Any]) -> None:
        """The API server is busy with the operator's own calls: asked again until it has answered."""
        while True:
            try:
                await self._api.create("Instance", name, spec, namespace=TENANT)
            except ApiError as error:
                if error.reason == "AlreadyExists":
                    return
                if not error.retryable:
                    raise
                await asyncio.sleep(0.5)
            else:
                return

    async def _live_and_die(self, enough: int) -> None:
        """Killed when it has come past so many calls, or does nothing more."""
        operator = ThreadOperator(settings(self._api.kubeconfig, self._state))
        await asyncio.to_thread(operator.start)
        last, count = time.monotonic(), -1
        while count < enough and time.monotonic() - last < QUIET:
            passed = len(operator.seam.points.get(TENANT, ()))
            if passed != count:
                last, count = time.monotonic(), passed
            await asyncio.sleep(0.02)
        await asyncio.to_thread(operator.kill)
        await self._api.free_lease()

    async def _watch(self) -> None:
        """What really is on the hosts, many times a second."""
        while True:
            taken = Counter[str]()
            for domain in await asyncio.to_thread(self._faults.domains):
                if domain.active:
                    taken[domain.host] += domain.shape.cpus
            self._over += [f"{host} runs {cpus} CPUs" for host, cpus in taken.items() if cpus > self._cpus]
            await asyncio.sleep(0.05)

    # ------------------------------------------------------------ in the end

    async def _come_to_rest(self) -> bool:
        await asyncio.sleep(0.3)
        reasons = Counter[str]()
        try:
            instances = await self._api.all("Instance")
        except ApiError:
            return False
        for instance in instances:
            conditions = (instance.get("status") or {}).get("conditions") or ()
            reasons[next((c["reason"] for c in conditions if c["type"] == "Ready"), "")] += 1
        return reasons == Counter({"Running": self._room, "NoHostFits": self._asked - self._room})

    async def _judge(self) -> None:
        domains = self._faults.domains()
        assert Counter(d.host for d in domains if d.active) == dict.fromkeys(HOSTS, self._cpus)
        assert len(domains) == len({d.uuid for d in domains}) == self._room, (
            "one machine for each that runs, and no other"
        )
        claims = [a["spec"] for a in await self._api.all("NetworkAddress")]
        assert len({c["address"] for c in claims}) == len(claims), "no address is claimed twice"
        assert len({_owner(c) for c in claims}) == len(claims) >= self._room, "no instance has two"
        volumes = [v for v in await self._api.all("Volume") if v["status"].get("disk")]
        assert len(volumes) == self._room
        assert all(len(v["status"]["attachments"]) == 1 for v in volumes)
        (pool,) = await self._api.all("StoragePool")
        disks = [d for d in self._faults.disks(pool["status"]["uuid"]) if d.present]
        assert len(disks) == self._room, "no disk is made twice"


def _owner(claim: dict[str, Any]) -> str:
    return str(claim["claim"]["instance"]["uid"])
