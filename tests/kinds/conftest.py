"""A simulated cloud of each test's own, on the control plane and the operator that all tests of a session share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.simulated.faults import Faults
from lab.operator import Operator
from tests.cluster import Cluster
from tests.drivers.images import ImageServer
from tests.kinds.simcloud import SimCloud


@pytest.fixture(scope="session")
def faults(simulated_state: Path) -> Iterator[Faults]:
    """The hands of an administrator, and what is really there."""
    faults = Faults(str(simulated_state))
    yield faults
    faults.close()


@pytest.fixture
def cloud(cluster: Cluster, operator: Operator, faults: Faults, images: ImageServer) -> Iterator[SimCloud]:
    """Nothing of it is there before `build`. In the end nothing may ever have had two writers or run twice."""
    cloud = SimCloud(cluster, faults, images)
    yield cloud
    cloud.end()
    assert faults.violations() == ()
