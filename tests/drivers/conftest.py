"""One back-end after another for the contract suite; fresh pools and connections for each test."""

from collections.abc import Iterator

import pytest

from drivers.base import EndPoint, PoolDefinition
from tests.drivers.backend import Backend
from tests.drivers.builders import new_uuid
from tests.drivers.kvm_backend import KVMBackend
from tests.drivers.simulated_backend import SimulatedBackend


@pytest.fixture(scope="session", params=["simulated", pytest.param("kvm", marks=pytest.mark.cloud)])
def platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    opened: Backend
    if request.param == "kvm":
        opened = KVMBackend(request.getfixturevalue("bare_hosts"))
    else:
        opened = SimulatedBackend(tmp_path_factory.mktemp("simulated") / "cloud.db")
    yield opened
    opened.close()


@pytest.fixture
def backend(platform: Backend) -> Iterator[Backend]:
    yield platform
    platform.close_opened()
    platform.clean()


@pytest.fixture
def host(backend: Backend) -> str:
    return backend.hosts[0]


@pytest.fixture
def endpoint(backend: Backend) -> EndPoint:
    return backend.open(backend.hosts[0])


@pytest.fixture
def pool(backend: Backend, endpoint: EndPoint) -> PoolDefinition:
    """Connected on the first host."""
    wanted = backend.pool(new_uuid())
    endpoint.storage.connect_pool(wanted)
    return wanted
