"""N4: what becomes of everything when the CRDs themselves are deleted with the word `orphan`."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from lab import install
from lab.kubectl import Kubectl
from lab.operator import Operator
from tests.cluster import manifest, until
from tests.kinds.simcloud import SimCloud, attached, managed

CRD = "customresourcedefinitions"


def ours(kubectl: Kubectl) -> list[str]:
    """Names of our CRDs."""
    names = kubectl.run("get", CRD, "-o", "name").split()
    return [name.partition("/")[2] for name in names if name.endswith(".stratiform.dev")]


@pytest.fixture
def installed_again(operator: Operator, kubectl_program: Kubectl) -> Iterator[None]:
    """For the tests that come after this one."""
    yield
    operator.stop()
    for kind in ours(kubectl_program):
        listed = json.loads(kubectl_program.run("get", kind, "-A", "-o", "json"))["items"]
        for item in listed:
            meta: dict[str, Any] = item["metadata"]
            place = ("-n", meta["namespace"]) if "namespace" in meta else ()
            patch = '{"metadata":{"finalizers":null}}'
            kubectl_program.attempt("patch", kind, meta["name"], *place, "--type=merge", "-p", patch)
    going = ours(kubectl_program)
    until(lambda: not any(_going(kubectl_program, name) for name in going))
    install.kinds(kubectl_program)
    region = manifest("Region", "default", {"description": "Headquarters"})
    kubectl_program.run("apply", "-f", "-", text=yaml.safe_dump(region))


def _going(kubectl: Kubectl, name: str) -> bool:
    found = kubectl.run("get", CRD, name, "-o", "jsonpath={.metadata.deletionTimestamp}", "--ignore-not-found")
    return bool(found.strip())


def everything(cloud: SimCloud) -> None:
    """Objects of every kind, a guest that runs with its own and another's volume, and one that is paused."""
    cloud.build(store=True)
    cloud.api.apply(
        manifest("InstanceType", cloud.name("small"), {"cpus": 1, "memory": "512Mi"}),
        manifest("VolumeType", cloud.name("fast")),
    )
    cloud.template("tiny")
    cloud.network()
    cloud.reserve("10.91.0.70")
    cloud.volume("data", volumeTypeRef={"name": cloud.name("fast")})
    source = {"type": "Volume", "volumeRef": {"name": "data"}}
    snapshot = {"source": source, "imageStoreRef": {"name": cloud.store}}
    cloud.api.apply(manifest("Snapshot", "before", snapshot, cloud.namespace))
    volumes = [managed("root"), attached("data", "data")]
    nic = {"name": "lan", "networkRef": {"name": "lan"}}
    kind = {"instanceTypeRef": {"name": cloud.name("small")}, "resources": None}
    cloud.instance("web", wait=True, volumes=volumes, networks=[nic], deletionProtection=True, **kind)
    cloud.instance("still", wait=True)
    cloud.api.annotate("Instance", "still", "stratiform.dev/paused=true")
    cloud.api.await_condition("Template", "tiny")


def test_n4_crds_deleted_with_the_word_orphan_go_at_once_and_the_guests_run_on(
    cloud: SimCloud, kubectl_program: Kubectl, installed_again: None
) -> None:
    everything(cloud)
    uuids = [cloud.status("Instance", name)["uuid"] for name in ("web", "still")]
    storage = cloud.storage()
    disks = {d.disk for d in cloud.faults.disks(storage)}
    names = ours(kubectl_program)
    kubectl_program.run("annotate", CRD, *names, "--overwrite", "stratiform.dev/allow-deletion=orphan")
    kubectl_program.run("delete", CRD, *names, "--timeout=40s")
    assert ours(kubectl_program) == []
    assert all(len(cloud.faults.running(uuid)) == 1 for uuid in uuids)
    assert {d.disk for d in cloud.faults.disks(storage)} == disks


def test_n4_one_kind_deleted_with_the_word_orphan_does_not_wait_for_those_that_use_it(
    cloud: SimCloud, kubectl_program: Kubectl, installed_again: None
) -> None:
    everything(cloud)
    uuid = cloud.status("Instance", "web")["uuid"]
    for kind in ("volumes.stratiform.dev", "hosts.stratiform.dev"):
        kubectl_program.run("annotate", CRD, kind, "--overwrite", "stratiform.dev/allow-deletion=orphan")
        kubectl_program.run("delete", CRD, kind, "--timeout=20s")
    assert len(cloud.faults.running(uuid)) == 1
