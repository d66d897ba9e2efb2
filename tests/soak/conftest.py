"""Long runs: see tests/soak/budget.py for how long. And the cloud of real hosts that those on KVM want.

The modules run in the order below, so that what a bound leaves out is what other tests have samples of (`tests/kills`,
`tests/model`).
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lab.controlplane import ControlPlane
from lab.kubectl import Kubectl
from lab.machines import Machines, render
from lab.operator import CHECKOUT
from tests.engine.harness import Cluster
from tests.soak.budget import pytest_runtest_setup

__all__ = ["pytest_runtest_setup"]

ORDER = (
    "test_kvm_kills", "test_kvm_restarts", "test_driver_weather", "test_api_faults", "test_every_point",
    "test_random_kills", "test_model_long",
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
async def api(plane: ControlPlane, machines: Machines, kubectl_program: Kubectl) -> AsyncIterator[Cluster]:
    """The examples' hosts and storage, without their tenants."""
    folder = render(CHECKOUT / "examples", plane.layout.state / "examples", machines.plan, machines.template_checksum)
    for path in sorted(folder.glob("0[0-7]-*.yaml")):
        kubectl_program.run("apply", "-f", str(path))
    api = Cluster(plane.kubeconfig)
    yield api
    await api.close()
