"""The lab's two hosts for tests that are about KVM alone."""

from collections.abc import Iterator

import pytest

from drivers.base import EndPoint, PoolDefinition
from lab.machines import Machines
from tests.drivers.builders import new_uuid
from tests.drivers.kvm_backend import KVMBackend


@pytest.fixture(scope="session")
def hosts(bare_hosts: Machines) -> Iterator[KVMBackend]:
    opened = KVMBackend(bare_hosts)
    yield opened
    opened.close()


@pytest.fixture
def kvm(hosts: KVMBackend) -> Iterator[KVMBackend]:
    yield hosts
    hosts.close_opened()
    hosts.clean()


@pytest.fixture
def node(kvm: KVMBackend) -> EndPoint:
    return kvm.open("node-1")


@pytest.fixture
def nfs(kvm: KVMBackend, node: EndPoint) -> PoolDefinition:
    """Connected on node-1."""
    wanted = kvm.pool(new_uuid())
    node.storage.connect_pool(wanted)
    return wanted
