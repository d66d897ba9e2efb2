"""A simulated cloud of each test's own with an operator in this process, and what a person reads of it.

Used by the tests of the faults of hypervisors, drivers and storage (tests/faults/test_driver_*, test_hosts_*, tests/soak).
"""

import asyncio
import contextlib
import os
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from controllers import metrics
from controllers.config import Settings
from drivers import registry
from drivers.base import Connection, EndPoint
from drivers.simulated.disks import Disk
from drivers.simulated.domains import Domain
from lab.controlplane import ControlPlane
from lab.kubectl import Kubectl
from tests import cluster as person
from tests.drivers.images import ImageServer
from tests.engine.harness import FAST, Cluster, until
from tests.faults.bystanders import Bystanders, beside
from tests.faults.declared import differences, guests_write, instance_mark, volume_mark
from tests.instances.cloud import NAMESPACE, Cloud
from tests.kinds.simcloud import SimCloud

Open = Callable[[Connection, float], EndPoint]
SETTINGS: Settings = replace(
    FAST, listing_interval=0.5, pool_interval=2.0, lease_duration=20.0, lease_renew=1.0, lease_margin=3.0
)
"""With a Lease that outlasts a busy machine: no test here takes it away."""


class DriverCloud(Cloud):
    """`open_endpoint` may be set before `begin`, or before the operator starts again, to put a double between."""

    def __init__(self, plane: ControlPlane, state: Path, hosts: tuple[str, ...]) -> None:
        super().__init__(Cluster(plane.kubeconfig), state, hosts)
        self.kubectl = Kubectl(plane.kubectl, plane.kubeconfig)
        self.settings = SETTINGS
        self.images = ImageServer()
        self.view: SimCloud
        self.bystanders: Bystanders

    @property
    def pool(self) -> str:
        """The address of the storage behind pool-1."""
        return self._pool

    async def learn_pool(self) -> None:
        self._pool = str((await self.api.get("StoragePool", "pool-1") or {})["status"]["uuid"])

    async def plant(self) -> None:
        """What no test touches; see tests/faults/bystanders.py."""
        self.view = SimCloud(person.Cluster(self.kubectl, "1", NAMESPACE), self.faults, self.images)
        self.view.hosts = list(self.hosts)
        neighbour = await asyncio.to_thread(beside, self.view, f"neighbour-{uuid.uuid4().hex[:6]}")
        self.bystanders = Bystanders(self.view, neighbour)
        await asyncio.to_thread(self.bystanders.plant)

    def guests(self, host: str = "") -> list[Domain]:
        """Of the tested tenant."""
        return [d for d in self.faults.domains(host) if instance_mark(d, NAMESPACE)]

    def disks(self) -> list[Disk]:
        """Of the tested tenant."""
        return [d for d in self.faults.disks(self.pool) if volume_mark(d.mark, NAMESPACE)]

    def cut_power(self, host: str) -> None:
        """It is lost, and what runs there ends; the bystanders too."""
        self.faults.lose_host(host, power_loss=True)
        self.bystanders.power_lost(host)

    async def ready(
        self, reason: str = "Running", status: str = "True", name: str = "web-1", **kw: Any
    ) -> dict[str, Any]:
        found = await super().ready(reason, status, name, **kw)
        await asyncio.to_thread(guests_write, self.view)
        return found

    # ------------------------------------------------------------ what a person does and reads

    async def describe(self, kind: str, name: str) -> str:
        """`kubectl describe`, in lines that are not indented."""
        where = ("-n", NAMESPACE)
        answer = await asyncio.to_thread(self.kubectl.attempt, "describe", kind, name, *where)
        if os.environ.get("SHOW"):
            print(f"\n$ kubectl describe {kind} {name}\n{answer.stdout[answer.stdout.find('Status:') :]}")
        return answer.stdout

    async def says(
        self, kind: str, name: str, *texts: str, type_: str = "Ready", status: str = "False", reason: str = "",
        deadline: float = 20.0,
    ) -> str:  # fmt: skip
        """Wait until the condition is so and its message has all of the texts; the message."""
        last: dict[str, Any] = {}

        async def said() -> str:
            found = await self.seen(kind, name, type_)
            last.clear()
            last.update(found)
            fits = found.get("status") == status and reason in ("", found.get("reason"))
            return str(found["message"]) if fits and all(t in found.get("message", "") for t in texts) else ""

        try:
            return str(await until(said, deadline, what=f"{kind} {name} {type_}={status} {reason} with {texts}"))
        except AssertionError as error:
            raise AssertionError(f"{error}; {last}\n{await self.describe(kind, name)}") from None

    async def seen(self, kind: str, name: str, type_: str) -> dict[str, Any]:
        namespace = NAMESPACE if self.api.kinds[kind].namespaced else ""
        return await self.api.condition(kind, name, type_, namespace=namespace)

    async def up(self, host: str, deadline: float = 30.0) -> None:
        await self.says("Host", host, status="True", deadline=deadline)

    async def declare_off(self, host: str) -> str:
        """spec.outOfService, with the present moment."""
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        await self.api.patch("Host", host, {"spec": {"outOfService": {"declaredAt": moment}}})
        return moment

    async def version(self, kind: str, name: str) -> str:
        """Differs after any write to the object."""
        namespace = NAMESPACE if self.api.kinds[kind].namespaced else ""
        return str((await self.api.get(kind, name, namespace=namespace) or {})["metadata"]["resourceVersion"])

    async def told(self, name: str) -> list[tuple[str, int]]:
        """The reasons of the events about an object, each with how often it was said."""
        uids = set()
        for kind in ("Host", "Instance"):
            namespace = NAMESPACE if self.api.kinds[kind].namespaced else ""
            uids.add((await self.api.get(kind, name, namespace=namespace) or {}).get("metadata", {}).get("uid"))
        found = []
        for event in await self.api.events(name):
            if event["regarding"].get("uid") not in uids:
                continue
            series = event.get("series") or {}
            found.append((str(event["reason"]), int(series.get("count", event.get("deprecatedCount") or 1))))
        return found

    async def as_declared(self, deadline: float = 30.0) -> None:
        """What was declared is what runs, and nothing else changed."""
        last: list[str] = []

        async def same() -> bool:
            try:
                last[:] = await asyncio.to_thread(lambda: differences(self.view) + self.bystanders.changed())
            except (OSError, KeyError) as error:
                last[:] = [repr(error)]
            return not last

        try:
            await until(same, deadline, what="everything as declared")
        except AssertionError:
            stories = [await self.describe("instance", line.split()[1]) for line in last if "Instance" in line][:2]
            raise AssertionError("\n".join([*last, *stories])) from None
        assert self.faults.violations() == ()

    def hung(self) -> float:
        """What /metrics says of calls that do not come back."""
        self.engine.lanes.measure()
        return float(metrics.HUNG_CALLS._value.get())


class Stubborn:
    """Calls of one name over one host's connections never come back, whatever becomes of the connection, until `let_go`:
    a thread that is stuck in a library or in the kernel."""

    def __init__(self, host: str, call: str) -> None:
        self.host, self.call, self.free = host, call, threading.Event()
        self.armed = False
        self.caught = 0

    def open(self, connection: Connection, timeout: float) -> EndPoint:
        endpoint = registry.open_endpoint(connection, timeout)
        return _Held(endpoint, self) if connection.host == self.host else endpoint

    def hold(self) -> None:
        if self.armed:
            self.caught += 1
            self.free.wait()


class _Held:
    def __init__(self, inner: EndPoint, by: Stubborn) -> None:
        self._inner, self._by = inner, by

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name != self._by.call:
            return found

        def held(*arguments: Any) -> Any:
            self._by.hold()
            return found(*arguments)

        return held


QUICK = {
    "controllers.engine.outcome.SLOW": 2.0,
    "controllers.fleet.pools.PATIENCE": 2.0,
    "controllers.fleet.pools.RETRY_MOST": 2.0,
    "controllers.poolwork.LISTING": 2.0,
    "controllers.poolwork.SILENT": 1.0,
    "controllers.host.REFUSED_AGAIN": 1.0,
}
"""Times scaled down, for `monkeypatch.setattr`."""


@contextlib.asynccontextmanager
async def cloud_of(
    plane: ControlPlane, state: Path, hosts: int = 2, open_endpoint: Open = registry.open_endpoint
) -> AsyncIterator[DriverCloud]:
    """In the end everything is as declared, and nothing ever ran twice."""
    cloud = DriverCloud(plane, state, tuple(f"node-{n + 1}" for n in range(hosts)))
    cloud.open_endpoint = open_endpoint
    await cloud.begin()
    await cloud.learn_pool()
    await cloud.plant()
    try:
        yield cloud
        await cloud.as_declared()
    finally:
        cloud.faults.release()
        await cloud.end()
        cloud.images.close()
        await cloud.api.close()
