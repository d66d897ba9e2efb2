"""kube-scheduler against Stratiform's placement: the same requests over as many nodes and hosts, on one API server.

For each number of hosts: a fresh control plane, nodes and hosts that say they are Ready, then for each case the
requests of both sides are made first, and kube-scheduler and Stratiform (with its actuation off: `tests.bench.placer`)
take turns; each from the start of its process to the last binding, or the last placement in a status, in a watch.
After Stratiform's turn a bare client writes statuses as large, which is what the API server can take.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from lab.controlplane import ControlPlane
from lab.controlplane.scheduler import KubeScheduler
from tests.bench.api import Bare, Times, Watched, bare, seconds_of, spread, watching
from tests.bench.cloud import INSTANCES, NAMESPACE, OURS, REFERENCE_GROUP, REFERENCES, Bench, infrastructure, instance
from tests.bench.placer import Placer
from tests.bench.results import record

HOSTS = [int(n) for n in os.environ.get("STRATIFORM_BENCH_NODES", "1000,5000").split(",")]
REQUESTS = int(os.environ.get("STRATIFORM_BENCH_REQUESTS", "6000"))
GROUP = 30
CPUS, MEMORY, PODS = 96, "256Gi", 110
NODES = "/api/v1/nodes"
BODIES = f"/api/v1/namespaces/{NAMESPACE}/pods"
REFERENCE_OBJECTS = 250
DEADLINE = 400.0
WRITES = (
    "the API server: a status write of a custom resource costs it two to three times the CPU of a pod's binding, so that "
    "the bare client does not reach kube-scheduler's rate either"
)
CORES = (
    "the operator's own CPU beside the API server's on the same two cores: its start, 2 s of imports and lists, which few "
    "requests have to bear, and its one Python thread"
)
Body = dict[str, Any]
pytestmark = pytest.mark.timeout(900)


@dataclass
class Placements(Watched):
    """Counts those of which the watch has shown where they go: `mark` is how the body says so."""

    mark: bytes = b'"host":"'
    placed: int = 0

    def take(self, line: bytes, now: float) -> None:
        if self.mark not in line:
            return
        name = line.partition(b'"name":"')[2].partition(b'"')[0].decode()
        if name not in self.times:
            self.times[name] = Times(placed=now)
            self.placed += 1
            self.changed.set()


@dataclass(frozen=True)
class Turn:
    """One side's way through all requests; seconds after the start of its process."""

    first: float
    last: float
    cpu: float
    server_cpu: float

    @property
    def rate(self) -> float:
        return REQUESTS / self.last

    @property
    def each(self) -> float:
        """Milliseconds of CPU a request."""
        return 1e3 * (self.cpu + self.server_cpu) / REQUESTS

    def __str__(self) -> str:
        steady = (REQUESTS - 1) / (self.last - self.first)
        each = 1e3 / REQUESTS
        return (
            f"{self.rate:.0f}/s (first after {self.first:.1f} s, last {self.last:.1f} s, {steady:.0f}/s between; CPU "
            f"of its own {self.cpu * each:.1f} ms, of the API server {self.server_cpu * each:.1f} ms a request)"
        )


def node(name: str) -> Body:
    size = {"cpu": str(CPUS), "memory": MEMORY, "pods": str(PODS)}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "fake"}
    return {
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"capacity": size, "allocatable": size, "conditions": [ready]},
    }  # fmt: skip


def pod(name: str, group: str) -> Body:
    spec: Body = {
        "containers": [{
            "name": "c", "image": "none", "resources": {"requests": {"cpu": "1", "memory": "512Mi"}},
        }],
        "automountServiceAccountToken": False,
    }  # fmt: skip
    if group:
        term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"group": group}}}
        spec["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"group": group}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def request(name: str, group: str) -> Body:
    """The same of an Instance."""
    body = instance(name)
    body["metadata"]["labels"] = {"group": group}
    if group:
        term = {"topology": "Host", "required": True, "instanceSelector": {"matchLabels": {"group": group}}}
        body["spec"]["placement"] = {"antiAffinity": [term]}
    return body


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    plane = ControlPlane(os.environ.get("STRATIFORM_LAB", "bench"))
    scheduler = KubeScheduler(plane)
    scheduler.build()
    bench = Bench(plane, tmp_path_factory.mktemp("bench"), 0)
    yield bench
    scheduler.end()
    bench.end()


@pytest.mark.parametrize("case", ["plain", f"anti-affinity {GROUP}"])
@pytest.mark.parametrize("hosts", HOSTS)
async def test_placement_is_ahead_of_kube_scheduler(bench: Bench, hosts: int, case: str) -> None:
    KubeScheduler(bench.plane).end()
    bench.prepare()
    async with bare(bench.plane.kubeconfig) as api:
        await _account(api)
        # It would taint the nodes, of which nobody renews a Lease. Neither side needs it.
        bench.plane.kill_controller_manager()
        await _make_hosts(api, hosts)
        await _compare(bench, api, hosts, case)


async def _compare(bench: Bench, api: Bare, hosts: int, case: str) -> None:
    short = case.partition(" ")[0]
    names = [f"{short}-{n}" for n in range(REQUESTS)]
    groups = [f"{short}-{n // GROUP}" if short != "plain" else "" for n in range(REQUESTS)]
    bodies = list(zip(names, groups, strict=True))
    await spread([lambda b=b: api.ask("POST", BODIES, pod(*b)) for b in bodies])  # type: ignore[misc]
    await spread([lambda b=b: api.ask("POST", INSTANCES, request(*b)) for b in bodies])  # type: ignore[misc]
    theirs = await _kube_scheduler(bench, api)
    ours = await _stratiform(bench, api, short)
    sample = await api.ask("GET", f"{INSTANCES}/{names[0]}")
    writes, each = await _status_writes(bench, api, sample, f"{short}-after")
    name = f"through the API, {hosts} hosts, {case}"
    record(
        f"{name}: placements", round(ours.rate, 1), "placements/s", goal=round(theirs.rate, 1), limits=WRITES,
        reference="kube-scheduler, bindings/s", reference_value=round(theirs.rate, 1),
    )  # fmt: skip
    record(
        f"{name}: against the API server's rate", round(100 * ours.rate / writes), "%", goal=60, limits=CORES,
        reference="bare asyncio client, status writes as large/s", reference_value=round(writes, 1),
    )  # fmt: skip
    record(
        f"{name}: against the API server's rate, as CPU bounds it", round(100 * each / ours.each), "%", goal=60,
        limits=CORES, reference="bare client and API server, ms of CPU a status write", reference_value=round(each, 1),
    )  # fmt: skip
    record(
        f"{name}: CPU of the scheduler and of the API server", round(ours.each, 1), "ms a placement",
        reference="kube-scheduler, ms a binding", reference_value=round(theirs.each, 1),
    )  # fmt: skip
    print(f"\n{name}:\n  kube-scheduler {theirs}\n  Stratiform     {ours}")
    print(f"  bare client    {writes:.0f} status writes/s, {each:.1f} ms of CPU a write")
    await _all_apart(api, names, groups)


async def _kube_scheduler(bench: Bench, api: Bare) -> Turn:
    scheduler = KubeScheduler(bench.plane)
    async with _watch(api, BODIES, b'"nodeName":"') as seen:
        try:
            return await _turn(bench, seen, scheduler.start, scheduler.process.pid)
        finally:
            scheduler.process.kill()


async def _stratiform(bench: Bench, api: Bare, short: str) -> Turn:
    arguments = ("--leader-election=false", "--log-level=WARNING")
    placer = Placer(bench.plane.layout, bench.plane.operator_kubeconfig, arguments)
    async with _watch(api, INSTANCES, b'"host":"') as seen:
        try:
            return await _turn(bench, seen, placer.begin, placer.process.pid)
        finally:
            placer.kill()


async def _turn(bench: Bench, seen: Placements, begin: Callable[[], None], pid: Callable[[], int | None]) -> Turn:
    server = bench.plane.apiserver.pid()
    assert server is not None
    spent, begun = seconds_of(server), time.monotonic()
    begin()
    await seen.until(lambda: seen.placed >= REQUESTS, DEADLINE)
    own = pid()
    assert own is not None, "it ended by itself"
    at = sorted(times.placed - begun for times in seen.times.values())
    return Turn(at[0], at[-1], seconds_of(own), seconds_of(server) - spent)


@asynccontextmanager
async def _watch(api: Bare, collection: str, mark: bytes) -> AsyncIterator[Placements]:
    async with watching(api, collection, Placements(mark=mark)) as seen:
        assert isinstance(seen, Placements)
        yield seen


async def _account(api: Bare) -> None:
    """Admission wants the namespace's service account, which the controller manager makes."""
    async with asyncio.timeout(60):
        while not await api.there(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default"):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def _make_hosts(api: Bare, count: int) -> None:
    bodies = infrastructure(count, CPUS)
    ready = {
        "type": "Ready", "status": "True", "reason": "Ready", "message": "", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }  # fmt: skip

    async def host(body: Body) -> None:
        made = await api.ask("POST", f"{OURS}/hosts", body)
        made["status"] = {"observedGeneration": 1, "conditions": [ready]}
        await api.ask("PUT", f"{OURS}/hosts/{made['metadata']['name']}/status", made)

    async def fake(name: str) -> None:
        made = await api.ask("POST", NODES, node(name))
        made["spec"] = {}  # Admission taints every new node until somebody has looked at it.
        await api.ask("PUT", f"{NODES}/{name}", made)

    for body in (b for b in bodies if b["kind"] != "Host"):
        namespace = body["metadata"].get("namespace")
        place = f"namespaces/{namespace}/" if namespace else ""
        await api.ask("POST", f"{OURS}/{place}{body['kind'].lower()}s", body)
    hosts = [b for b in bodies if b["kind"] == "Host"]
    await spread([lambda b=b: host(b) for b in hosts])  # type: ignore[misc]
    await spread([lambda b=b: fake(b["metadata"]["name"]) for b in hosts])  # type: ignore[misc]


async def _status_writes(bench: Bench, api: Bare, sample: Body, prefix: str) -> tuple[float, float]:
    """How many statuses like the sample's the API server takes a second of a bare client, and milliseconds of CPU that
    both spend on one."""
    made: list[Body] = []

    async def make(name: str) -> None:
        made.append(await api.ask("POST", REFERENCES, instance(name, group=REFERENCE_GROUP)))

    async def write(at: int) -> None:
        """Each object has one writer at a time: its rounds follow one another."""
        for turn in range(REQUESTS // REFERENCE_OBJECTS):
            obj, status = made[at], sample["status"]
            placement = {**status["placement"], "sequence": status["placement"]["sequence"] + turn}
            kept = {k: obj["metadata"][k] for k in ("name", "namespace", "uid", "resourceVersion")}
            body = {**obj, "metadata": kept, "status": {**status, "placement": placement}}
            made[at] = await api.ask("PUT", f"{REFERENCES}/{kept['name']}/status", body)

    await spread([lambda n=n: make(f"{prefix}-{n}") for n in range(REFERENCE_OBJECTS)])  # type: ignore[misc]
    server, count = bench.plane.apiserver.pid(), REQUESTS // REFERENCE_OBJECTS * REFERENCE_OBJECTS
    assert server is not None
    begun, spent = time.monotonic(), seconds_of(server) + time.process_time()
    await spread([lambda n=n: write(n) for n in range(REFERENCE_OBJECTS)])  # type: ignore[misc]
    spent = seconds_of(server) + time.process_time() - spent
    return count / (time.monotonic() - begun), 1e3 * spent / count


async def _all_apart(api: Bare, names: list[str], groups: list[str]) -> None:
    """No two of a group share a host, on neither side."""
    group_of = dict(zip(names, groups, strict=True))
    for collection, where in (
        (BODIES, lambda o: o["spec"]["nodeName"]), (INSTANCES, lambda o: o["status"]["placement"]["host"]),
    ):  # fmt: skip
        found = (await api.ask("GET", collection))["items"]
        taken = [(group_of[n], where(o)) for o in found if group_of.get(n := o["metadata"]["name"])]
        assert len(taken) == len(set(taken)) == sum(map(bool, groups))
