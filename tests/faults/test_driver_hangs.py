"""Calls that never come back: only the end-point in question waits, a metric and conditions say so, and it goes on after."""

from pathlib import Path

import pytest

from lab.controlplane import ControlPlane
from tests.engine.harness import until
from tests.faults.drvworld import DriverCloud, Stubborn, cloud_of
from tests.instances.cloud import managed


async def pinned(cloud: DriverCloud, name: str, host: str) -> str:
    return await cloud.make(name, placement={"hostRef": {"name": host}}, volumes=[managed("root")])


async def test_a_call_that_hangs_for_ever_makes_only_its_end_point_wait(
    wiped_plane: ControlPlane, tmp_path: Path
) -> None:
    stuck = Stubborn("node-1", "apply")
    async with cloud_of(wiped_plane, tmp_path / "cloud.db", open_endpoint=stuck.open) as cloud:
        stuck.armed = True
        await pinned(cloud, "stuck", "node-1")
        await until(lambda: stuck.caught, 10.0, what="the call is out")
        uuid = await pinned(cloud, "free", "node-2")
        await cloud.until_runs(uuid)
        await until(lambda: cloud.hung() >= 1, 10.0, what="the metric counts it")
        await cloud.says("Instance", "stuck", "no answer", type_="Synced")
        await cloud.settle(4.0)
        assert cloud.hung() >= 1, "it is counted until it comes back, whatever became of its connection"
        await cloud.says("Host", "node-1", "Define", "not come back", reason="CallHangs")
        await cloud.describe("host", "node-1")
        await cloud.describe("instance", "stuck")
        stuck.armed = False
        stuck.free.set()
        await cloud.up("node-1")
        await cloud.ready(name="stuck")
        await until(lambda: cloud.hung() == 0, 10.0, what="and not any longer")


async def test_a_connection_that_opens_and_never_answers_is_given_up_and_costs_few_threads(
    wiped_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controllers.fleet.session.MOST_HUNG", 1)
    stuck = Stubborn("node-1", "observe_host")
    async with cloud_of(wiped_plane, tmp_path / "cloud.db", open_endpoint=stuck.open) as cloud:
        await pinned(cloud, "web-1", "node-1")
        await cloud.ready(name="web-1")
        stuck.armed = True
        cloud.faults.cut_connections("node-1")
        await cloud.says("Host", "node-1", "observe_host", "no new connection", reason="Unreachable", deadline=30.0)
        await cloud.says("Instance", "web-1", "node-1", reason="HostUnreachable")
        await cloud.describe("host", "node-1")
        uuid = await pinned(cloud, "free", "node-2")
        await cloud.until_runs(uuid)
        await cloud.settle(4.0)
        assert stuck.caught == 1, "nothing more is spent on it"
        assert cloud.hung() == 1
        stuck.armed = False
        stuck.free.set()
        await cloud.up("node-1")
        await cloud.ready(name="web-1")
