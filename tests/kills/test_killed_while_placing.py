"""Of more requests at once than there is room for, exactly as many run as fit; no host ever goes over its limit; no address
or volume is claimed twice, whenever an operator dies. One seed and a small cloud here; `make soak` takes fifty requests with
room for twenty, five dead operators and more seeds (tests/soak/placement)."""

from pathlib import Path

import pytest

from lab.controlplane import ControlPlane
from tests.kills.rush import rush


@pytest.mark.timeout(300)
async def test_of_many_at_once_exactly_as_many_run_as_fit(plane: ControlPlane, tmp_path: Path) -> None:
    async with rush(plane.kubeconfig, tmp_path / "cloud.db", seed=1, asked=14, cpus_of_host=3) as made:
        await made.run(kills=1, deadline=120.0)
