"""Of more requests at once than there is room for, exactly as many run as fit; no host ever goes over its limit; no address
or volume is claimed twice, whenever an operator dies. One seed and a small cloud here; `make soak` takes fifty requests with
room for twenty, five dead operators and more seeds (tests/soak/placement)."""

from pathlib import Path

import pytest

from lab.controlplane import ControlPlane
from tests.engine.harness import Cluster
from tests.kills.rush import Rush


@pytest.mark.timeout(300)
async def test_of_many_at_once_exactly_as_many_run_as_fit(plane: ControlPlane, tmp_path: Path) -> None:
    api = Cluster(plane.kubeconfig)
    rush = Rush(api, tmp_path / "cloud.db", seed=1, asked=14, cpus_of_host=3)
    try:
        await rush.begin()
        await rush.run(kills=1, deadline=120.0)
    finally:
        await rush.end()
        await api.close()
