"""The control plane of the counts, and a simulated cloud with an operator in this process for each of them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lab import install
from lab.controlplane import ControlPlane
from lab.kubectl import Kubectl
from tests.engine.harness import Cluster
from tests.instances.cloud import Cloud


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    plane = ControlPlane("t-counts")
    plane.down()
    plane.up()
    install.kinds(Kubectl(plane.kubectl, plane.kubeconfig))
    yield plane
    plane.down()


@pytest.fixture
async def cloud(plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Cloud]:
    cluster = Cluster(plane.kubeconfig)
    cloud = Cloud(cluster, tmp_path / "cloud.db")
    await cloud.begin()
    yield cloud
    await cloud.end()
    await cluster.close()
