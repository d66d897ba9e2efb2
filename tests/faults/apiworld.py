"""One control plane, one simulated cloud and one operator behind a bad road, shared by the tests of the API's faults."""

import contextlib
import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from drivers.simulated.faults import Faults
from lab import install
from lab.controlplane import ControlPlane
from lab.kubectl import Kubectl
from tests.cluster import Cluster, manifest, until
from tests.drivers.images import ImageServer
from tests.faults.bystanders import Bystanders, beside
from tests.faults.declared import assert_as_declared
from tests.faults.pod import Pod
from tests.faults.proxy import FaultProxy
from tests.kinds.simcloud import SimCloud, managed

#: Everything scaled down, so that every time-out is met within seconds; small pages, so that lists have several.
QUICK = (
    "--listing-interval=1", "--lease-duration=6", "--lease-renew=0.5", "--lease-margin=1.5", "--backoff-first=0.3",
    "--backoff-most=2", "--relist=6", "--relist-delay=0.5", "--request-timeout=3", "--watch-backoff-most=2",
    "--roll-up=1", "--page=5", "--log-level=INFO",
)  # fmt: skip


@dataclass
class World:
    """`cloud` is of the namespace of all tests; `tenant` gives one of the test's own on the same hosts."""

    plane: ControlPlane
    kubectl: Kubectl
    proxy: FaultProxy
    pod: Pod
    faults: Faults
    cloud: SimCloud
    bystanders: Bystanders
    state: Path
    folder: Path
    turns: Iterator[int] = field(default_factory=itertools.count)
    tags: Iterator[int] = field(default_factory=lambda: itertools.count(100))

    def tenant(self, *, first: int = 50, last: int = 250) -> SimCloud:
        """A fresh namespace with a Network `lan` of its own."""
        cloud = beside(self.cloud, f"t-{uuid.uuid4().hex[:6]}")
        cloud.network(first=first, last=last, vlan=next(self.tags))
        return cloud

    def second(self, name: str, *arguments: str, module: str = "controllers") -> Pod:
        """Another operator, not started, on a road without faults, with the same rights and platform."""
        log = self.folder / f"{name}.log"
        common = (f"--kubeconfig={self.plane.operator_kubeconfig}", f"--simulated-state={self.state}", *QUICK)
        return Pod(self.pod.port + 1, log, (*common, *arguments), module)

    def traffic(self) -> None:
        """A person goes on meanwhile: one more instance, the one before is halted, the one before that deleted."""
        turn = next(self.turns)
        self.cloud.instance(
            f"web-{turn}", volumes=[managed("root"), managed("data")],
            networks=[{"name": "lan", "networkRef": {"name": "lan"}}],
        )  # fmt: skip
        if turn >= 1:
            self.cloud.api.patch("Instance", f"web-{turn - 1}", {"runStrategy": "Halted"})
        if turn >= 2:
            self.cloud.api.delete("Instance", f"web-{turn - 2}")

    def settle(self, deadline: float = 60.0) -> None:
        """Everything is as declared, nothing else changed, and the operator is well."""
        assert_as_declared(self.cloud, deadline)
        until(lambda: not self.bystanders.changed(), deadline, every=0.3, why=self.bystanders.changed)
        self.pod.until_ready()


@contextlib.contextmanager
def world(
    plane: ControlPlane, state: Path, folder: Path, *arguments: str, module: str = "controllers", hosts: int = 3
) -> Iterator[World]:
    """A cloud with bystanders and two instances that run, an operator behind the proxy. `arguments` win over QUICK."""
    kubectl = Kubectl(plane.kubectl, plane.kubeconfig)
    proxy = FaultProxy(plane.operator_kubeconfig, folder).start()
    common = (f"--kubeconfig={proxy.kubeconfig}", f"--simulated-state={state}", *QUICK, *arguments)
    pod = Pod(plane.layout.operator_port, folder / "operator.log", common, module)
    faults = Faults(str(state))
    images = ImageServer()
    suffix = uuid.uuid4().hex[:6]
    cluster = Cluster(kubectl, suffix, f"t-{suffix}")
    kubectl.run("create", "namespace", cluster.namespace)
    try:
        pod.start()
        cloud = SimCloud(cluster, faults, images).build(hosts)
        cloud.network()
        bystanders = Bystanders(cloud, beside(cloud, f"n-{suffix}"))
        bystanders.plant()
        found = World(plane, kubectl, proxy, pod, faults, cloud, bystanders, state, folder)
        found.traffic()
        found.traffic()
        found.settle()
        yield found
        # The next world on this control plane shall not work for this one's instances.
        kubectl.run("delete", "instances.stratiform.dev", "--all", "--all-namespaces", "--timeout=60s")
    finally:
        pod.stop()
        proxy.close()
        faults.close()
        images.close()


def fresh_plane(name: str) -> ControlPlane:
    """With our kinds, policies and rights."""
    plane = ControlPlane(name)
    plane.down()
    plane.up()
    kubectl = Kubectl(plane.kubectl, plane.kubeconfig)
    install.kinds(kubectl)
    install.rights(kubectl)
    region = manifest("Region", "default", {"description": "Headquarters"})
    kubectl.run("apply", "-f", "-", text=str(region).replace("'", '"'))
    return plane
