"""A simulated cloud of 200 hosts, the operator that works on it as a process of its own, and the bare reference.

One lab (`bench`, or $STRATIFORM_LAB) for all of tests/bench that needs no machine. Everything is production's default
but the simulated state's place and a longer Lease.
"""

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lab import install
from lab.controlplane import ControlPlane
from lab.kubectl import Kubectl
from lab.operator import CHECKOUT, Operator
from tests.bench.api import Bare, memory_of, seconds_of, spread
from tests.cluster import manifest

HOSTS = int(os.environ.get("STRATIFORM_BENCH_HOSTS", "200"))
NAMESPACE = "bench"
REFERENCE_GROUP = "reference.bench"
ZONE = "zone-1"
OURS = "/apis/stratiform.dev/v1alpha1"
INSTANCES = f"{OURS}/namespaces/{NAMESPACE}/instances"
REFERENCES = f"/apis/{REFERENCE_GROUP}/v1alpha1/namespaces/{NAMESPACE}/instances"
FINALIZER = "stratiform.dev/finalizer"
WRITES = ("POST", "PUT", "PATCH", "DELETE")
SETTLED = 90.0
"""Seconds after the last start until used amounts were told and summed up: hosts are observed once a minute."""
LOOKS = frozenset({"list_instances", "observe_host", "observe_pool", "connect_pool", "list_disks"})
"""Driver calls of an operator that has nothing to do. A pool is looked at by connecting it: where it is connected that
changes nothing."""
Spec = dict[str, Any]


def infrastructure(hosts: int, cpus: int = 96) -> list[Spec]:
    """The cloud's objects; hosts have room for twice their share of 10,000 instances of one CPU."""
    wires = [{"name": "lan", "untagged": True, "namespaces": {"type": "All"}}]
    cluster = {
        "hostPodRef": {"name": "rack-1"}, "hypervisor": "Simulated", "uplinks": [{"name": "lan", "type": "Simulated"}],
    }  # fmt: skip
    subnet = {"cidr": "10.64.0.0/16", "ranges": [{"start": "10.64.0.10", "end": "10.64.255.200"}]}
    return [
        manifest("Region", "default", {}),
        manifest("Zone", ZONE, {"regionRef": {"name": "default"}, "physicalNetworks": wires}),
        manifest("HostPod", "rack-1", {"zoneRef": {"name": ZONE}}),
        manifest("HostCluster", "sim-1", cluster),
        *(
            manifest(
                "Host",
                f"node-{n:03}",
                {
                    "hostClusterRef": {"name": "sim-1"},
                    "connection": {"type": "Simulated", "simulated": {"cpus": cpus, "memory": "256Gi"}},
                },
            )
            for n in range(hosts)
        ),
        manifest(
            "StoragePool",
            "pool-1",
            {
                "scope": {"type": "HostCluster", "hostClusterRef": {"name": "sim-1"}},
                "type": "Simulated",
                "simulated": {"capacity": "900Ti"},
            },
        ),
        manifest("InstanceType", "small", {"cpus": 1, "memory": "512Mi"}),
        manifest(
            "Network",
            "lan",
            {
                "zoneRef": {"name": ZONE}, "type": "Physical", "physical": {"network": "lan"},
                "ipam": {"subnets": [subnet]},
            },
            NAMESPACE,
        ),
    ]  # fmt: skip


def instance(name: str, *, group: str = "stratiform.dev", **spec: Any) -> Spec:
    """An Instance without volumes and NICs."""
    body = {"zoneRef": {"name": ZONE}, "runStrategy": "Always", "instanceTypeRef": {"name": "small"}, **spec}
    return {
        "apiVersion": f"{group}/v1alpha1",
        "kind": "Instance",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": body,
    }


@dataclass(frozen=True)
class Reading:
    """The operator's counters and what the machine has spent, at one moment."""

    writes: Counter[tuple[str, str]]
    """By verb and kind, the Lease's and the hosts' contact Leases' among them."""
    reads: int
    calls: Counter[str]
    """Driver calls by name."""
    reconciled: Counter[str]
    operator_cpu: float
    apiserver_cpu: float
    memory: int

    def since(self, before: "Reading") -> "Reading":
        return Reading(
            self.writes - before.writes, self.reads - before.reads, self.calls - before.calls,
            self.reconciled - before.reconciled, self.operator_cpu - before.operator_cpu,
            self.apiserver_cpu - before.apiserver_cpu, self.memory - before.memory,
        )  # fmt: skip

    def written(self, *kinds: str) -> int:
        """Writes, of these kinds only if any is named."""
        return sum(n for (_, kind), n in self.writes.items() if not kinds or kind in kinds)


@dataclass
class Bench:
    """A control plane and an operator; `hosts` simulated hosts once `build` was awaited."""

    plane: ControlPlane
    folder: Path
    hosts: int
    arguments: tuple[str, ...] = ()
    operator: Operator = field(init=False)

    def __post_init__(self) -> None:
        # A machine that other work starves for 15 s shall not end the run.
        lease = ("--lease-duration=90", "--lease-margin=10")
        arguments = (f"--simulated-state={self.state}", "--log-level=WARNING", *lease, *self.arguments)
        self.operator = Operator(self.plane.layout, self.plane.operator_kubeconfig, arguments)

    @property
    def state(self) -> Path:
        return self.folder / "cloud.db"

    def prepare(self) -> None:
        """A fresh control plane with our kinds, the reference's copy of Instance, and rights."""
        self.operator.kill()
        self.plane.down()
        self.plane.up()
        kubectl = Kubectl(self.plane.kubectl, self.plane.kubeconfig)
        kubectl.run("apply", "--server-side", "-f", "-", text=json.dumps(_reference_crd()))
        install.kinds(kubectl)
        install.rights(kubectl)
        kubectl.run("create", "namespace", NAMESPACE)
        crd = f"crd/instances.{REFERENCE_GROUP}"
        kubectl.run("wait", "--for=condition=Established", "--timeout=60s", crd)
        # The first request makes the kind's storage, and is answered 429 until that is there: kubectl waits, the bare
        # client does not.
        kubectl.run("get", f"instances.{REFERENCE_GROUP}", "-n", NAMESPACE)

    def end(self) -> None:
        self.operator.stop()
        self.plane.down()

    async def build(self, api: Bare) -> None:
        for body in infrastructure(self.hosts):
            kind, namespace = body["kind"].lower() + "s", body["metadata"].get("namespace")
            place = f"namespaces/{namespace}/" if namespace else ""
            await api.ask("POST", f"{OURS}/{place}{kind}", body)

    async def until_hosts_ready(self, api: Bare) -> None:
        """TimeoutError after five minutes."""
        async with asyncio.timeout(300):
            while await _hosts_ready(api) < self.hosts:  # noqa: ASYNC110 (what is waited for is in another process)
                await asyncio.sleep(0.5)

    def pid(self) -> int:
        found = self.operator.process.pid()
        assert found is not None, f"the operator ended: {self.operator.process.log}"
        return found

    def metrics(self) -> dict[tuple[str, Mapping[str, str]], float]:
        return {(n, d): v for n, d, v in _samples(self.operator.metrics_url)}  # type: ignore[misc]

    def read(self) -> Reading:
        """Now. Blocks for some milliseconds."""
        writes: Counter[tuple[str, str]] = Counter()
        calls: Counter[str] = Counter()
        reconciled: Counter[str] = Counter()
        reads = 0
        for name, labels, value in _samples(self.operator.metrics_url):
            if name == "stratiform_api_requests_total" and labels["verb"] in WRITES:
                writes[labels["verb"], labels["kind"]] += int(value)
            elif name == "stratiform_api_requests_total":
                reads += int(value)
            elif name == "stratiform_driver_calls_total":
                calls[labels["call"]] += int(value)
            elif name == "stratiform_reconciles_total":
                reconciled[labels["kind"]] += int(value)
        apiserver = self.plane.apiserver.pid()
        return Reading(
            writes, reads, calls, reconciled, seconds_of(self.pid()), seconds_of(apiserver) if apiserver else 0.0,
            memory_of(self.pid()),
        )  # fmt: skip


async def _hosts_ready(api: Bare) -> int:
    found = await api.ask("GET", f"{OURS}/hosts")
    return sum(
        any(c["type"] == "Ready" and c["status"] == "True" for c in h["status"]["conditions"]) for h in found["items"]
    )


def _samples(url: str) -> list[tuple[str, dict[str, str], float]]:
    from prometheus_client.parser import text_string_to_metric_families as families

    with urllib.request.urlopen(url, timeout=20) as answer:
        text = answer.read().decode()
    return [(sample.name, dict(sample.labels), sample.value) for family in families(text) for sample in family.samples]


def _reference_crd() -> Spec:
    """Instance's own definition under another group, which no operator watches."""
    done = subprocess.run([sys.executable, "-m", "crds"], capture_output=True, text=True, cwd=CHECKOUT, check=True)
    found = [d for d in yaml.safe_load_all(done.stdout) if d and d["metadata"]["name"] == "instances.stratiform.dev"]
    crd: Spec = found[0]
    crd["metadata"] = {"name": f"instances.{REFERENCE_GROUP}"}
    crd["spec"]["group"] = REFERENCE_GROUP
    names = crd["spec"]["names"]
    names.pop("shortNames", None)
    names.pop("categories", None)
    return crd


class Script:
    """The writes of one Instance, taken from one that the operator made, to be made again by the bare client."""

    def __init__(self, sample: Spec) -> None:
        status = sample["status"]
        scheduled = [c for c in status["conditions"] if c["type"] in ("Ready", "Scheduled", "Synced")]
        kept = ("uuid", "placement", "resources", "steps", "state", "observedGeneration")
        self.placed = {**{k: status[k] for k in kept if k in status}, "conditions": scheduled}
        self.ready = status

    async def make(self, api: Bare, name: str) -> None:
        """Create, placement, finalizer, Ready."""
        path = f"{REFERENCES}/{name}"
        obj = await api.ask("POST", REFERENCES, instance(name, group=REFERENCE_GROUP))
        obj = await api.ask("PUT", f"{path}/status", self._with(obj, self.placed))
        patch = {"metadata": {"resourceVersion": obj["metadata"]["resourceVersion"], "finalizers": [FINALIZER]}}
        obj = await api.ask("PATCH", path, patch, {"Content-Type": "application/merge-patch+json"})
        await api.ask("PUT", f"{path}/status", self._with(obj, self.ready))

    async def delete(self, api: Bare, name: str) -> None:
        """Delete, as many status writes as the operator needs (none), finalizer."""
        path = f"{REFERENCES}/{name}"
        obj = await api.ask("DELETE", path, {})
        patch = {"metadata": {"resourceVersion": obj["metadata"]["resourceVersion"], "finalizers": []}}
        await api.ask("PATCH", path, patch, {"Content-Type": "application/merge-patch+json"})

    @staticmethod
    def _with(obj: Spec, status: Spec) -> Spec:
        """As the operator's status writer sends it."""
        kept = {k: obj["metadata"][k] for k in ("name", "namespace", "uid", "resourceVersion")}
        return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": kept, "status": status}


async def create(api: Bare, names: list[str], **spec: Any) -> None:
    """Instances, as fast as the API server takes them."""
    await spread([lambda n=n: api.ask("POST", INSTANCES, instance(n, **spec)) for n in names])  # type: ignore[misc]
