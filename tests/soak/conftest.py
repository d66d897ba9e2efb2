"""Long runs: see tests/soak/budget.py for how long. And the cloud of real hosts that those on KVM want.

The modules run in the order below, so that what a bound leaves out is what other tests have samples of (`tests/kills`,
`tests/model`).
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lab import install
from lab.controlplane import ControlPlane
from lab.kubectl import Kubectl
from lab.machines import Machines
from tests.engine.harness import Cluster
from tests.soak.budget import pytest_runtest_setup
from tests.soak.kvm_world import KvmWorld

__all__ = ["pytest_runtest_setup"]

ORDER = (
    "test_kvm_kills", "test_kvm_restarts", "test_driver_weather", "test_api_faults", "test_random_kills",
    "test_every_point", "test_model_long",
)  # fmt: skip
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = [n for n, item in enumerate(items) if HERE in item.path.parents]
    last = len(ORDER)
    mine = sorted(
        (items[n] for n in places), key=lambda item: ORDER.index(item.path.stem) if item.path.stem in ORDER else last
    )
    for place, item in zip(places, mine, strict=True):
        items[place] = item


@pytest.fixture
def new_hosts(plane: ControlPlane, libvirt_hosts: Machines, kubectl_program: Kubectl, quiet: None) -> Machines:
    """Hosts and storage anew, which no cloud has claimed, and the Secret of the client's certificate; no operator."""
    libvirt_hosts.down()
    libvirt_hosts.up()
    install.client_certificate(kubectl_program, libvirt_hosts.pki_dir)
    return libvirt_hosts


@pytest.fixture
async def kvm(plane: ControlPlane, new_hosts: Machines) -> AsyncIterator[KvmWorld]:
    api = Cluster(plane.kubeconfig)
    await api.free_lease()
    world = KvmWorld(api, new_hosts)
    await world.begin()
    yield world
    await world.end()
    await api.close()
