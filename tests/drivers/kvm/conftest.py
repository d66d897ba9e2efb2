"""The lab's two hosts for tests that are about KVM alone."""

from collections.abc import Iterator

import pytest

from drivers.base import EndPoint, PoolDefinition
from tests.drivers.builders import new_uuid
from tests.drivers.kvm_backend import KVMBackend, open_backend


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KVMBackend]:
    opened = open_backend(tmp_path_factory.mktemp("kvm"))
    assert isinstance(opened, KVMBackend)
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
