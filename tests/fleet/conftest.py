"""A control plane of the fleet's own tests with all of our kinds, and an engine with the infrastructure kinds on it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from drivers.simulated.faults import Faults
from lab.controlplane import ControlPlane
from tests.engine.harness import Cluster
from tests.fleet.world import World


@pytest.fixture(scope="session")
def plane(wiped_plane: ControlPlane) -> ControlPlane:
    return wiped_plane


@pytest.fixture
async def world(plane: ControlPlane, tmp_path: Path) -> AsyncIterator[World]:
    """An empty API and a simulated cloud of the test's own."""
    cluster = Cluster(plane.kubeconfig)
    await cluster.namespace("stratiform-system")
    await cluster.namespace("team-a")
    await cluster.wipe()
    state = tmp_path / "cloud.db"
    faults = Faults(str(state))
    yield World(cluster, state, faults)
    faults.close()
    await cluster.wipe()
    await cluster.close()
