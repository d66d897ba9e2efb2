"""The largest object that each kind's schema allows: taken, told of in a status that is bounded, and deleted."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controllers.logic.addresses import object_name
from crds.kinds import KINDS
from lab.controlplane import ControlPlane
from tests.cluster import OUR_KINDS, manifest, until
from tests.faults.apiworld import World, world
from tests.faults.declared import assert_as_declared
from tests.faults.largest import LEFT_OUT, largest
from tests.kinds.simcloud import SimCloud

NAMES = {"Instance": 40, "Volume": 63, "Network": 63}
"""Characters of a name, where they are fewer than Kubernetes allows."""
MOST_OF_A_STATUS = 100_000
"""Bytes; the largest of an Instance is about half of that."""
METADATA: dict[str, Any] = {
    "labels": {f"k.example/{'k' * 59}{n:04d}": "v" * 63 for n in range(64)},
    "annotations": {"note": "n" * 200_000},
}
"""An object may have annotations of 256 KiB together."""


def ranges(number: int) -> list[dict[str, str]]:
    return [
        {"start": f"2001:db8:{number + 4096:x}::{n}0", "end": f"2001:db8:{number + 4096:x}::{n}9"} for n in range(1, 9)
    ]


#: What a schema does not say: fields that exclude each other, addresses that lie in their subnet.
VALID: dict[str, dict[str, Any]] = {
    "HostCluster": {"connection": LEFT_OUT},
    "Host": {"connection.libvirt.sshSecretRef": LEFT_OUT},
    "NetworkAddress": {"networkRef": {"name": "n" * 63}, "claim.type": "Reserved"},
    "Network": {
        "ipam.subnets[].gateway": lambda n: f"2001:db8:{n + 4096:x}::1",
        "ipam.subnets[].ranges": ranges,
    },
    "Instance": {
        "resources": LEFT_OUT, "networks[].primary": lambda n: n == 0, "volumes[].bootOrder": lambda n: n + 1,
        "firmware.type": "UEFI", "cloudInit.userDataSecretRef": LEFT_OUT,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def shared_world(api_plane: ControlPlane, api_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(api_plane, api_state, tmp_path_factory.mktemp("world"), "--page=500") as found:
        yield found


@pytest.fixture
def cloud(api: World) -> Iterator[SimCloud]:
    """An empty namespace that goes at the end."""
    cloud = api.tenant()
    yield cloud
    # A namespace with a protected instance is protected itself, until the operator has seen that it is gone.
    until(lambda: not api.kubectl.attempt("delete", "namespace", cloud.namespace, "--wait=false").returncode, 20.0)


def leads_somewhere(kind: str, cloud: SimCloud) -> dict[str, Any]:
    """References that are followed, so that more is made of the object than a refusal."""
    zone, cluster = {"name": cloud.zone}, {"name": cloud.hosts_of}
    simulated = {"type": "Simulated", "simulated": {"cpus": 16, "memory": "64Gi"}}
    scope = {"type": "HostCluster", "hostClusterRef": cluster}
    found: dict[str, dict[str, Any]] = {
        "Zone": {"regionRef": {"name": "default"}},
        "HostPod": {"zoneRef": zone},
        "HostCluster": {"hostPodRef": {"name": cloud.rack}, "hypervisor": "Simulated"},
        "Host": {"hostClusterRef": cluster, "connection": simulated, "outOfService": LEFT_OUT},
        "StoragePool": {"scope": scope, "type": "Simulated", "simulated": {"capacity": "1Ti"}},
        "ImageStore": {
            "scope": {"type": "Zone", "zoneRef": zone},
            "type": "Simulated",
            "simulated": {"capacity": "1Ti"},
        },
        "Volume": {"zoneRef": zone, "storagePoolRef": {"name": cloud.pool}, "source": LEFT_OUT},
        "Network": {"zoneRef": zone, "physical": {"network": "lan", "vlan": 190}},
        "NetworkAddress": {"networkRef": {"name": "lan"}, "address": "10.91.0.77"},
        "Instance": {"zoneRef": zone},
    }
    return found.get(kind, {})


@pytest.mark.parametrize("somewhere", [False, True], ids=["references lead nowhere", "references lead somewhere"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_of_each_kind_is_taken_told_of_and_deleted(
    api: World, cloud: SimCloud, kind: str, somewhere: bool
) -> None:
    bugs = api.pod.metric("stratiform_bugs_total")
    spec = largest(KINDS[kind], {**VALID.get(kind, {}), **(leads_somewhere(kind, cloud) if somewhere else {})})
    name = "n" * NAMES.get(kind, 253)
    if kind == "NetworkAddress":
        name = object_name(spec["networkRef"]["name"], spec["address"])
    status = made(cloud, kind, name, spec)
    ready = next(c for c in status["conditions"] if c["type"] == "Ready")
    assert ready["status"] == "True" or (ready["reason"] != "Pending" and ready["message"]), ready
    told = [c for c in status["conditions"] if c["reason"] in ("InternalError", "Rejected")]
    assert not told and api.pod.metric("stratiform_bugs_total") == bugs, told
    gone(cloud, kind, name)


def test_the_largest_instance_that_can_run_does_and_is_found_again_and_deleted(api: World, cloud: SimCloud) -> None:
    """With every disk, NIC, address, key and affinity that it may have, and half a MiB of user data."""
    wide = largest(KINDS["Network"], VALID["Network"] | leads_somewhere("Network", cloud))
    cloud.api.apply(manifest("Network", "wide", wide, cloud.namespace))
    user_data = {"userData": "#cloud-config\n" + "# n\n" * 2**17}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "n" * 253, "namespace": cloud.namespace}}
    cloud.api.kubectl.run("create", "-f", "-", text=json.dumps({**secret, "stringData": user_data}))
    spec = largest(KINDS["Instance"], {**VALID["Instance"], **leads_somewhere("Instance", cloud), **runs(cloud)})
    labels = spec["placement"]["hostSelector"]["matchLabels"]
    api.kubectl.run("label", "hosts.stratiform.dev", *cloud.hosts, *(f"{k}={v}" for k, v in labels.items()))
    name = "n" * NAMES["Instance"]
    made(cloud, "Instance", name, spec)
    cloud.api.await_condition("Instance", name, deadline=90.0)
    assert_as_declared(cloud)
    before = cloud.status("Instance", name)
    assert len(before["volumes"]) == 32 and len(before["networks"]) == 16
    assert all(len(n["addresses"]) == len(wide["ipam"]["subnets"]) for n in before["networks"])
    cloud.wipe_status("Instance", name)
    assert_as_declared(cloud)
    after = cloud.status("Instance", name)
    assert len(json.dumps(after)) < MOST_OF_A_STATUS
    assert _addresses(after) == _addresses(before) and after["uuid"] == before["uuid"]
    gone(cloud, "Instance", name)
    assert_as_declared(cloud)


def runs(cloud: SimCloud) -> dict[str, Any]:
    """What a host of this cloud can do."""
    return {
        "instanceTypeRef": LEFT_OUT, "resources": {"cpus": 8, "memory": "8Gi"},
        "volumes[].managed": {"size": "64Mi", "storagePoolRef": {"name": cloud.pool}},
        "networks[].networkRef": {"name": "wide"}, "firmware.secureBoot": LEFT_OUT,
        "networks[].addresses": lambda nic: [f"2001:db8:{n + 4096:x}::1{nic:02x}" for n in range(8)],
        "placement.hostRef": {"name": cloud.hosts[0]}, "cloudInit.userDataSecretRef": {"name": "n" * 253},
        "placement.affinity[].required": False, "placement.antiAffinity[].required": False,
    }  # fmt: skip


def _addresses(status: dict[str, Any]) -> list[tuple[str, str, list[str]]]:
    return sorted((n["name"], n["macAddress"], n["addresses"]) for n in status["networks"])


def made(cloud: SimCloud, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """The status once the operator has looked at the object as it is."""
    namespace = cloud.namespace if KINDS[kind].namespaced else ""
    body = manifest(kind, name, spec, namespace, **METADATA)
    cloud.api.kubectl.run("create", "-f", "-", text=json.dumps(body))

    def seen() -> dict[str, Any]:
        obj = cloud.api.get(kind, name) or {}
        status: dict[str, Any] = obj.get("status", {})
        return status if status.get("observedGeneration") == obj["metadata"]["generation"] else {}

    status = dict(until(seen, 30.0, why=lambda: cloud.api.story(kind, name)))
    assert len(json.dumps(status)) < MOST_OF_A_STATUS
    return status


def gone(cloud: SimCloud, kind: str, name: str) -> None:
    """Deleted within 30 s."""
    if kind == "Instance":
        cloud.api.patch("Instance", name, {"deletionProtection": False})
    place = ("-n", cloud.namespace) if KINDS[kind].namespaced else ()
    cloud.api.kubectl.run("delete", OUR_KINDS[kind].plural + ".stratiform.dev", name, *place, "--timeout=30s")
