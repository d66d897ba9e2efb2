"""Credentials that are replaced while the host is connected: wrong ones are told with the Secret's name, right ones taken."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from drivers import registry
from drivers.base import Connection, EndPoint, HostFacts, LibvirtConnection, SimulatedConnection
from drivers.errors import AuthenticationFailed
from lab.controlplane import ControlPlane
from tests.engine.harness import until
from tests.faults.drvworld import QUICK, DriverCloud, cloud_of

SECRETS = "/api/v1/namespaces/stratiform-system/secrets"


class _AsKVM:
    """A simulated host that says that it is a KVM one."""

    def __init__(self, inner: EndPoint) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def observe_host(self, host: str) -> HostFacts:
        return replace(self._inner.observe_host(host), hypervisor="KVM")


@dataclass
class Door:
    """Lets in whoever shows the right key."""

    state: Path
    key: str = "first"
    opened: int = 0

    def __call__(self, connection: Connection, timeout: float) -> EndPoint:
        if not isinstance(connection, LibvirtConnection):
            return registry.open_endpoint(connection, timeout)
        if connection.tls is None or connection.tls.key != self.key:
            raise AuthenticationFailed(f"{connection.uri}: the host refused our certificate (TLS alert: unknown CA)")
        inside = SimulatedConnection(
            host=connection.host, cpus=4, memory=2**33, state=str(self.state), installations=connection.installations
        )
        self.opened += 1
        return _AsKVM(registry.open_endpoint(inside, timeout))


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path / "cloud.db")


@pytest.fixture
async def cloud(
    wiped_plane: ControlPlane, tmp_path: Path, door: Door, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[DriverCloud]:
    for name, seconds in QUICK.items():
        monkeypatch.setattr(name, seconds)
    async with cloud_of(wiped_plane, tmp_path / "cloud.db", hosts=1, open_endpoint=door) as found:
        await secret(found, "first")
        cluster = {"hostPodRef": {"name": "rack-1"}, "hypervisor": "KVM"}
        await found.api.create("HostCluster", "kvm-1", cluster)
        libvirt = {"uri": "qemu+tls://kvm-1.example/system", "tlsSecretRef": {"name": "libvirt-client"}}
        connection = {"type": "Libvirt", "libvirt": libvirt}
        await found.api.create("Host", "kvm-1", {"hostClusterRef": {"name": "kvm-1"}, "connection": connection})
        yield found
        await found.api.client.delete(f"{SECRETS}/libvirt-client", {}, kind="Secret")


async def secret(cloud: DriverCloud, key: str) -> None:
    """Made, or replaced."""
    body = {
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {
            "name": "libvirt-client", "namespace": "stratiform-system",
            "labels": {"stratiform.dev/credential": "true"},
        },
        "stringData": {"ca.crt": "ca", "tls.crt": "certificate", "tls.key": key},
    }  # fmt: skip
    if key == "first":
        await cloud.api.client.post(SECRETS, body, kind="Secret")
    else:
        await cloud.api.client.patch(f"{SECRETS}/libvirt-client", {"stringData": {"tls.key": key}}, kind="Secret")


async def test_a_secret_that_is_replaced_live(cloud: DriverCloud, door: Door) -> None:
    await cloud.up("kvm-1")
    door.key = "second"
    cloud.faults.cut_connections("kvm-1")
    await cloud.says("Host", "kvm-1", "refused our certificate", "libvirt-client", reason="AuthenticationFailed")
    await cloud.describe("host", "kvm-1")
    await secret(cloud, "wrong too")
    await cloud.settle(2.0)
    await secret(cloud, "second")
    await cloud.up("kvm-1", deadline=60.0)
    door.key, opened = "third", door.opened
    await secret(cloud, "third")
    cloud.faults.cut_connections("kvm-1")
    await until(lambda: door.opened > opened, 60.0, what="connected with the new one")
    await cloud.up("kvm-1")
