"""Control planes of the tests of faults: one for the API's, with a world behind a bad road for each file of tests, and one
for those of hypervisors and storage, with a simulated cloud for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.controlplane import ControlPlane
from tests.faults.apiworld import World, fresh_plane, world
from tests.soak.budget import pytest_runtest_setup

__all__ = ["pytest_runtest_setup"]


@pytest.fixture(scope="session")
def api_plane(lab_name: str) -> Iterator[ControlPlane]:
    """Tests kill it, and delete kinds and namespaces on it, so no other tests share it."""
    plane = fresh_plane(f"{lab_name}-api")
    yield plane
    plane.down()


@pytest.fixture(scope="session")
def api_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One platform for all that is declared on that control plane."""
    return tmp_path_factory.mktemp("platform") / "cloud.db"


@pytest.fixture(scope="module")
def shared_world(api_plane: ControlPlane, api_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(api_plane, api_state, tmp_path_factory.mktemp("world")) as found:
        yield found


@pytest.fixture
def api(shared_world: World) -> Iterator[World]:
    """The world, well at the test's beginning, and as declared at its end whatever the test did."""
    shared_world.pod.until_ready()
    yield shared_world
    shared_world.proxy.clear()
    shared_world.proxy.go_on()
    shared_world.settle()
