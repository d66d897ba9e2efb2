"""Long runs: see tests/soak/budget.py for how long. And the cloud of real hosts that those on KVM want."""

from collections.abc import AsyncIterator

import pytest

from lab.controlplane import ControlPlane
from lab.kubectl import Kubectl
from lab.machines import Machines, render
from lab.operator import CHECKOUT
from tests.engine.harness import Cluster
from tests.soak.budget import pytest_runtest_setup

__all__ = ["pytest_runtest_setup"]


@pytest.fixture
async def api(plane: ControlPlane, machines: Machines, kubectl_program: Kubectl) -> AsyncIterator[Cluster]:
    """The examples' hosts and storage, without their tenants."""
    folder = render(CHECKOUT / "examples", plane.layout.state / "examples", machines.plan, machines.template_checksum)
    for path in sorted(folder.glob("0[0-7]-*.yaml")):
        kubectl_program.run("apply", "-f", str(path))
    api = Cluster(plane.kubeconfig)
    yield api
    await api.close()
