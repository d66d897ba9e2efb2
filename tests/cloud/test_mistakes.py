"""What a new user gets wrong, and what is read then: which object, which field, what was found, what to do."""

from collections.abc import Iterator
from typing import Any

import pytest

from lab import install
from tests.cloud.cloud import TEAM, Cloud, blank, machine
from tests.cluster import Cluster, manifest

SCOPE = {"type": "HostCluster", "hostClusterRef": {"name": "kvm-1"}}


def said(cluster: Cluster, kind: str, name: str, reason: str, type_: str = "Ready") -> str:
    """The message of its condition, once that is False for this reason."""
    return str(cluster.await_condition(kind, name, type_, status="False", reason=reason)["message"])


def host(name: str, uri: str, secret: str = "libvirt-client") -> dict[str, Any]:
    libvirt = {"uri": uri, "tlsSecretRef": {"name": secret}}
    spec = {"hostClusterRef": {"name": "oops"}, "connection": {"type": "Libvirt", "libvirt": libvirt}}
    return manifest("Host", name, spec)


@pytest.fixture(scope="module", autouse=True)
def oops(cloud: Cloud) -> Iterator[None]:
    """A zone for hosts that never answer: no guest of the other zone waits for them."""
    cloud.cluster.apply(
        manifest("Zone", "oops", {"regionRef": {"name": "default"}}),
        manifest("HostPod", "oops", {"zoneRef": {"name": "oops"}}),
        manifest("HostCluster", "oops", {"hostPodRef": {"name": "oops"}, "hypervisor": "KVM"}),
    )
    yield
    cloud.cluster.remove("hostcluster/oops", "hostpod/oops", "zone/oops")


@pytest.fixture
def mistaken(cloud: Cloud) -> Iterator[list[str]]:
    """`kind/name` of what the test made, to be removed."""
    made: list[str] = []
    yield made
    cloud.cluster.remove(*made)


def test_an_nfs_path_that_does_not_exist(cloud: Cloud, mistaken: list[str]) -> None:
    mistaken.append("storagepool/oops")
    nfs = {"server": cloud.machines.nfs.address, "path": "/primry"}
    cloud.cluster.apply(manifest("StoragePool", "oops", {"scope": SCOPE, "type": "NFS", "nfs": nfs}))
    message = said(cloud.cluster, "storagepool", "oops", "Invalid")
    assert f": could not mount {nfs['server']}:/primry for oops: mount.nfs: " in message
    assert message.startswith("node-")
    assert "; check server and path, and that the export admits this host." in message


def test_an_export_that_another_pool_has_already(cloud: Cloud, mistaken: list[str]) -> None:
    mistaken.append("storagepool/oops")
    nfs = {"server": cloud.machines.nfs.address, "path": "/primary"}
    cloud.cluster.apply(manifest("StoragePool", "oops", {"scope": SCOPE, "type": "NFS", "nfs": nfs}))
    message = said(cloud.cluster, "storagepool", "oops", "PoolAddressTaken")  # H3
    assert "is the address of StoragePool nfs-1 too" in message


def test_a_host_whose_name_does_not_resolve(cloud: Cloud, mistaken: list[str]) -> None:
    mistaken.append("host/oops")
    cloud.cluster.apply(host("oops", "qemu+tls://no-such-host.invalid/system"))
    message = said(cloud.cluster, "host", "oops", "Unreachable")
    assert "spec.connection.libvirt.uri: 'no-such-host.invalid' does not resolve to an address" in message


def test_a_secret_that_does_not_exist(cloud: Cloud, mistaken: list[str]) -> None:
    mistaken.append("host/oops")
    cloud.cluster.apply(host("oops", f"qemu+tls://{cloud.machines.prefix}99/system", "libvirt-clint"))
    message = said(cloud.cluster, "host", "oops", "SecretNotFound")
    assert "libvirt-clint" in message
    assert "stratiform-system" in message


def test_two_hosts_with_one_end_point(cloud: Cloud, mistaken: list[str]) -> None:
    mistaken.append("host/oops")
    cloud.cluster.apply(host("oops", cloud.machines.host("node-1").uri))
    message = said(cloud.cluster, "host", "oops", "EndpointTaken")
    assert "Host oops is the end-point of Host node-1" in message
    assert cloud.cluster.condition("host", "node-1", "Ready")["status"] == "True"  # The older keeps it.


def test_a_certificate_of_an_authority_that_the_host_does_not_know(cloud: Cloud) -> None:
    """Exchanged on a host that works, as a renewal that went wrong."""
    kubectl = cloud.cluster.kubectl
    install.client_certificate(kubectl, cloud.machines.foreign_pki_dir, "foreign-client")
    connection = {"type": "Libvirt", "libvirt": {"uri": cloud.machines.host("node-3").uri}}

    def use(secret: str) -> None:
        connection["libvirt"]["tlsSecretRef"] = {"name": secret}  # type: ignore[index]
        cloud.cluster.patch("host", "node-3", {"connection": connection})

    use("foreign-client")
    try:
        message = said(cloud.cluster, "host", "node-3", "AuthenticationFailed")
        assert "certificate" in message
        assert "The Secret's ca.crt must be the one that signed the host's certificate" in message
    finally:
        use("libvirt-client")
    cloud.cluster.await_condition("host", "node-3")


def test_more_memory_than_any_host_has(cloud: Cloud, mistaken: list[str]) -> None:
    mistaken.append("instance/oops")
    cloud.cluster.apply(machine("oops", resources={"cpus": 1, "memory": "900Gi"}))
    message = said(cloud.cluster, "instance", "oops", "NoHostFits", "Scheduled")
    assert message.startswith("0 of 3 hosts fit: node-1 needs 90")
    assert "Nearest: node-" in message
    assert "short of" in message


def test_a_template_that_does_not_exist(cloud: Cloud, mistaken: list[str]) -> None:
    mistaken.append("instance/oops")
    managed = {"templateRef": {"name": "debian-13", "namespace": "images"}}
    cloud.cluster.apply(machine("oops", volumes=[{"name": "root", "type": "Managed", "managed": managed}]))
    assert said(cloud.cluster, "instance", "oops", "TemplateNotFound") == (
        "spec.volumes[root].managed.templateRef: Template images/debian-13 does not exist or is not visible to "
        f"namespace {TEAM}."
    )


def test_an_instance_that_waits_for_its_volume_goes_on_when_that_comes(cloud: Cloud, mistaken: list[str]) -> None:
    mistaken += ["instance/oops", "volume/oops-later"]
    later = {"name": "data", "type": "Volume", "volume": {"volumeRef": {"name": "oops-later"}}}
    wanted = machine("oops")
    wanted["spec"]["volumes"][0]["bootOrder"] = 1
    wanted["spec"]["volumes"].append(later)
    cloud.cluster.apply(wanted)
    message = said(cloud.cluster, "instance", "oops", "VolumeNotFound")
    assert message == f"spec.volumes[data].volume.volumeRef: Volume {TEAM}/oops-later does not exist."
    cloud.cluster.apply(blank("oops-later"))
    cloud.await_instance("oops")


def test_a_zone_in_use_is_not_deleted_until_nothing_refers_to_it(cloud: Cloud) -> None:
    cluster = cloud.cluster
    cluster.delete("zone", "oops")
    deleting = cluster.await_condition("zone", "oops", "Deleting", reason="InUse")
    assert deleting["message"] == "1 HostPod (oops) refers to Zone oops: it goes when nothing does any more."
    cluster.remove("hostcluster/oops", "hostpod/oops")
    cluster.await_gone("zone", "oops")
