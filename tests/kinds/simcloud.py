"""A simulated cloud in few lines: zone, rack, hosts, pool and store of one test, and the objects that it makes on them.

Names of cluster-scoped objects carry the test's suffix. Used by the tests of every kind that runs on hosts.
"""

import json
from typing import Any

from drivers.simulated.disks import Disk
from drivers.simulated.faults import Faults
from tests.cluster import Cluster, manifest, until
from tests.drivers.images import ImageServer, qcow2

MI = 2**20
GI = 2**30
Spec = dict[str, Any]


class SimCloud:
    """`build` first; then everything else. Every method that makes something returns its name."""

    def __init__(self, cluster: Cluster, faults: Faults, images: ImageServer) -> None:
        self.api, self.faults, self.images = cluster, faults, images
        self.namespace = cluster.namespace
        self.zone, self.rack, self.hosts_of = (self.name(part) for part in ("zone", "rack", "sim"))
        self.pool, self.store = self.name("pool"), self.name("images")
        self.hosts: list[str] = []
        self.started_again: set[str] = set()
        """Instances that a test has had started more than once (tests/faults/declared.py)."""
        self.written: dict[str, str] = {}
        """Disk → what its guest wrote on it (tests/faults/declared.py)."""

    def name(self, part: str) -> str:
        """Of a cluster-scoped object."""
        return f"{part}-{self.api.suffix}"

    # ------------------------------------------------------------ the cloud

    def build(
        self, hosts: int = 2, *, cpus: int = 16, memory: str = "64Gi", store: bool = False, wait: bool = True,
        pool: Spec | None = None, **cluster: Any,
    ) -> "SimCloud":  # fmt: skip
        """Hosts of one cluster with a shared pool, which `pool` says more of; `cluster` are further fields of the
        HostCluster's spec."""
        wires = [{"name": "lan", "untagged": True, "vlans": ["100-199"], "namespaces": {"type": "All"}}]
        spec = {"hostPodRef": {"name": self.rack}, "hypervisor": "Simulated"}
        self.api.apply(
            manifest("Zone", self.zone, {"regionRef": {"name": "default"}, "physicalNetworks": wires}),
            manifest("HostPod", self.rack, {"zoneRef": {"name": self.zone}}),
            manifest(
                "HostCluster", self.hosts_of, {**spec, "uplinks": [{"name": "lan", "type": "Simulated"}], **cluster}
            ),
            *(self.host_manifest(f"node-{n + 1}", cpus=cpus, memory=memory) for n in range(hosts)),
            self.pool_manifest(self.pool, **(pool or {})),
            *([self.store_manifest(self.store)] if store else []),
        )
        self.hosts = [self.name(f"node-{n + 1}") for n in range(hosts)]
        if wait:
            for kind, name in (*(("Host", h) for h in self.hosts), ("StoragePool", self.pool)):
                self.api.await_condition(kind, name)
            self.until_reached("StoragePool", self.pool)
            if store:
                self.until_reached("ImageStore", self.store)
        return self

    def host_manifest(self, part: str, *, cpus: int = 16, memory: str = "64Gi", **spec: Any) -> Spec:
        metadata = {"labels": spec.pop("labels")} if "labels" in spec else {}
        connection = {"type": "Simulated", "simulated": {"cpus": cpus, "memory": memory}}
        body = {"hostClusterRef": {"name": self.hosts_of}, "connection": connection, "reserved": {"memory": "0"}}
        return manifest("Host", self.name(part), {**body, **spec}, **metadata)

    def pool_manifest(self, name: str, capacity: str = "1Ti", **spec: Any) -> Spec:
        scope = {"type": "HostCluster", "hostClusterRef": {"name": self.hosts_of}}
        return manifest(
            "StoragePool", name, {"scope": scope, "type": "Simulated", "simulated": {"capacity": capacity}, **spec}
        )

    def store_manifest(self, name: str, *, cidrs: tuple[str, ...] = ("127.0.0.0/8",), **spec: Any) -> Spec:
        """Images come from the loopback, which has to be allowed explicitly."""
        scope = {"type": "Zone", "zoneRef": {"name": self.zone}}
        body = {"scope": scope, "type": "Simulated", "simulated": {"capacity": "1Ti"}}
        return manifest("ImageStore", name, {**body, "allowedSources": {"cidrs": list(cidrs)}, **spec})

    def until_reached(self, kind: str, name: str, hosts: int | None = None) -> None:
        """Wait until so many hosts (all of ours) reach the pool or store."""
        wanted = len(self.hosts) if hosts is None else hosts

        def reached() -> bool:
            listed = (self.api.get(kind, name) or {}).get("status", {}).get("hosts", ())
            return sum(1 for h in listed if h["state"] == "Ready") >= wanted

        until(reached, why=lambda: self.api.story(kind, name))

    def end(self) -> None:
        """Withdraw what was ordered of the platform; guests and disks stay for whoever looks at a failure."""
        self.faults.release()
        for host in self.hosts:
            self.faults.return_host(host)
            self.faults.thaw(host)

    # ------------------------------------------------------------ objects

    def volume(
        self, name: str, size: str | None = "1Gi", *, annotations: dict[str, str] | None = None, **spec: Any
    ) -> str:
        """On the cloud's pool unless `storagePoolRef=None` leaves it to placement."""
        body = {"zoneRef": {"name": self.zone}, "storagePoolRef": {"name": self.pool}, "size": size, **spec}
        body = {key: value for key, value in body.items() if value is not None}
        self.api.apply(manifest("Volume", name, body, self.namespace, annotations=annotations or {}))
        return name

    def template(
        self, name: str = "tiny", image: bytes | None = None, *, declared: str = "QCOW2", checksum: str = "",
        url: str = "", namespace: str = "", **spec: Any,
    ) -> str:  # fmt: skip
        """Fetched from this process; of 8 MiB inside unless `image` says otherwise."""
        source = self.images.put(qcow2() if image is None else image, checksum=checksum)
        http = {"url": url or source.url, "checksum": source.checksum}
        body = {"format": declared, "source": {"type": "HTTP", "http": http}, "zones": [self.zone], **spec}
        self.api.apply(manifest("Template", name, body, namespace or self.namespace))
        return name

    def instance(self, name: str, *, labels: dict[str, str] | None = None, wait: bool = False, **spec: Any) -> str:
        """Of 1 CPU and 1 GiB, with the boot disk `root` of 1 GiB, unless told otherwise."""
        body = {
            "zoneRef": {"name": self.zone}, "runStrategy": "Always", "resources": {"cpus": 1, "memory": "1Gi"},
            "volumes": [managed("root")], **spec,
        }  # fmt: skip
        body = {key: value for key, value in body.items() if value is not None}
        self.api.apply(manifest("Instance", name, body, self.namespace, labels=labels or {}))
        if wait:
            self.api.await_condition("Instance", name)
        return name

    def network(
        self, name: str = "lan", *, first: int = 50, last: int = 250, vlan: int | None = None, **spec: Any
    ) -> str:
        """10.91.0.0/24 on the zone's wire `lan`, of which `first` to `last` are given out."""
        physical = {"network": "lan", **({"vlan": vlan} if vlan else {})}
        ranges = [{"start": f"10.91.0.{first}", "end": f"10.91.0.{last}"}]
        ipam = {"subnets": [{"cidr": "10.91.0.0/24", "gateway": "10.91.0.1", "ranges": ranges}]}
        body = {"zoneRef": {"name": self.zone}, "type": "Physical", "physical": physical, "ipam": ipam, **spec}
        self.api.apply(manifest("Network", name, body, self.namespace))
        return name

    def reserve(self, address: str, network: str = "lan", **whom: str) -> str:
        """A NetworkAddress that keeps the address, for this namespace unless told otherwise."""
        name = f"{network}.{address.replace('.', '-')}"
        claim = {"type": "Reserved", "reserved": {"namespace": self.namespace, **whom}}
        spec = {"networkRef": {"name": network}, "address": address, "claim": claim}
        self.api.apply(manifest("NetworkAddress", name, spec, self.namespace))
        return name

    def wipe_status(self, kind: str, name: str) -> None:
        """As a restore without status leaves it."""
        place = () if kind in CLUSTER_SCOPED else ("-n", self.namespace)
        patch = json.dumps([{"op": "replace", "path": "/status", "value": {}}])
        self.api.kubectl.run("patch", kind, name, *place, "--subresource=status", "--type=json", "-p", patch)

    # ------------------------------------------------------------ looking

    def status(self, kind: str, name: str) -> dict[str, Any]:
        return dict((self.api.get(kind, name) or {}).get("status", {}))

    def message(self, kind: str, name: str, reason: str, type_: str = "Ready", status: str = "False") -> str:
        """Wait for the condition; what it says."""
        return str(self.api.await_condition(kind, name, type_, status=status, reason=reason)["message"])

    def holders(self, volume: str) -> list[str]:
        return [a["instance"] for a in self.status("Volume", volume).get("attachments", ())]

    def disk(self, volume: str) -> str:
        """Name of the Volume's disk on its pool."""
        status = self.status("Volume", volume)
        return f"{status['uuid']}-{status['disk']['n']}"

    def storage(self, name: str = "", kind: str = "StoragePool") -> str:
        """Address of the simulated storage behind a pool or store: its UUID."""
        return str(self.status(kind, name or self.pool)["uuid"])

    def disks(self, name: str = "", kind: str = "StoragePool") -> dict[str, Disk]:
        """What really lies there."""
        return {d.disk: d for d in self.faults.disks(self.storage(name, kind))}

    def host_of(self, instance: str) -> str:
        return str(self.status("Instance", instance)["placement"]["host"])


CLUSTER_SCOPED = frozenset(
    {"Region", "Zone", "HostPod", "HostCluster", "Host", "StoragePool", "ImageStore", "InstanceType", "VolumeType"}
)


def managed(name: str, size: str = "1Gi", **more: Any) -> Spec:
    """An entry of Instance.spec.volumes that makes a Volume; `root` is the one that boots."""
    boots = {"bootOrder": 1} if name == "root" else {}
    return {"name": name, **boots, "type": "Managed", "managed": {"size": size, **more}}


def attached(name: str, volume: str) -> Spec:
    """An entry that names a Volume."""
    return {"name": name, "type": "Volume", "volume": {"volumeRef": {"name": volume}}}


def from_template(name: str, namespace: str = "") -> Spec:
    """A Volume's source."""
    ref = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"type": "Template", "template": {"templateRef": ref}}
