"""The control plane of the counts, and a simulated cloud with an operator in this process for each of them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lab.controlplane import ControlPlane
from tests.engine.harness import Cluster
from tests.instances.cloud import Cloud
from tests.soak.budget import pytest_runtest_setup

__all__ = ["pytest_runtest_setup"]


@pytest.fixture(scope="session")
def plane(wiped_plane: ControlPlane) -> ControlPlane:
    return wiped_plane


@pytest.fixture
async def cloud(plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Cloud]:
    cluster = Cluster(plane.kubeconfig)
    cloud = Cloud(cluster, tmp_path / "cloud.db")
    await cloud.begin()
    yield cloud
    await cloud.end()
    await cluster.close()
