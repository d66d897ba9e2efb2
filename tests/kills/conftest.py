"""The control plane of the operators that are killed, and a simulated cloud on it for each test."""

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from lab.controlplane import ControlPlane
from tests.engine.harness import Cluster
from tests.kills.recording import Recorded, record
from tests.kills.world import World


@pytest.fixture(scope="session", autouse=True)
def quiet_logs() -> Iterator[None]:
    """Hundreds of objects at once: nobody reads their lines, and writing them takes a third of the time."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session")
def plane(wiped_plane: ControlPlane) -> ControlPlane:
    return wiped_plane


@pytest.fixture
async def world(plane: ControlPlane, tmp_path: Path) -> AsyncIterator[World]:
    api = Cluster(plane.kubeconfig)
    world = World(api, tmp_path / "cloud.db")
    await world.begin()
    yield world
    await world.end()
    await api.close()


@pytest.fixture(scope="session")
def recorded(plane: ControlPlane) -> Recorded:
    """What may be killed."""
    return record(plane.kubeconfig)
