"""Fifty at once with room for twenty, under operators that are killed at random, seed after seed."""

from pathlib import Path

import pytest

from lab.controlplane import ControlPlane
from tests.kills.rush import rush


@pytest.mark.takes(60)
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(100, 108))
async def test_exactly_as_many_run_as_fit_whenever_operators_die(
    plane: ControlPlane, tmp_path: Path, seed: int
) -> None:
    async with rush(plane.kubeconfig, tmp_path / "cloud.db", seed) as made:
        await made.run(kills=5, deadline=180.0)
