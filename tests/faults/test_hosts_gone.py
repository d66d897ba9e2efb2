"""Hosts that die, return, return as another, and flap: instances wait or run elsewhere once, and people are told why."""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lab.controlplane import ControlPlane
from tests.faults.drvworld import DriverCloud, cloud_of
from tests.instances.cloud import managed


@pytest.fixture
async def cloud(wiped_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[DriverCloud]:
    async with cloud_of(wiped_plane, tmp_path / "cloud.db") as found:
        yield found


async def on(cloud: DriverCloud, host: str, *names: str) -> dict[str, str]:
    """Instances that run on that host and might run on others; name → UUID."""
    for other in cloud.hosts:
        await cloud.api.patch("Host", other, {"spec": {"allocationState": "Enabled" if other == host else "Disabled"}})
    made = {name: await cloud.make(name, volumes=[managed("root")]) for name in names}
    for name in names:
        await cloud.ready(name=name, deadline=30.0)
        assert await cloud.host_of(name) == host
    for other in cloud.hosts:
        await cloud.api.patch("Host", other, {"spec": {"allocationState": "Enabled"}})
    return made


async def test_w5_h1_a_host_dead_for_good_its_declaration_its_return_and_its_next_outage(cloud: DriverCloud) -> None:
    made = await on(cloud, "node-1", "web-1", "web-2")
    cloud.cut_power("node-1")
    await cloud.says("Host", "node-1", "no route to host", "not reachable since", "outOfService", reason="Unreachable")
    for name in made:
        await cloud.says("Instance", name, "node-1", "since", "outOfService", reason="HostUnreachable")
    for kind, name in (("host", "node-1"), ("instance", "web-1"), ("volume", "web-1-root"), ("storagepool", "pool-1")):
        await cloud.describe(kind, name)
    assert not any(cloud.faults.running(uuid) for uuid in made.values()), "W5: they wait"
    await cloud.declare_off("node-1")
    for name, uuid in made.items():
        await cloud.ready(name=name, deadline=30.0)
        assert cloud.faults.running(uuid) == ("node-2",), "elsewhere, once"
    await cloud.describe("host", "node-1")
    cloud.faults.return_host("node-1")
    await cloud.up("node-1")
    assert cloud.guests("node-1") == [], "cleaned before it is Ready"
    void = await cloud.says("Host", "node-1", type_="OutOfServiceVoid", status="True", reason="HostAnswers")
    assert "Remove the field" in void
    await cloud.describe("host", "node-1")
    await on(cloud, "node-1", "web-3")
    cloud.cut_power("node-1")
    await cloud.says("Instance", "web-3", "node-1", "declare it again", reason="HostUnreachable")
    await cloud.settle(3.0)
    assert await cloud.host_of("web-3") == "node-1", "the old declaration is void at the next outage"
    assert [e for e in cloud.faults.violations() if e] == []
    await cloud.describe("host", "node-1")
    cloud.faults.return_host("node-1")
    await cloud.up("node-1")
    await cloud.ready(name="web-3")
    cloud.view.started_again |= {*made, "web-3"}


async def test_h2_a_host_that_returns_with_the_uuid_of_another(cloud: DriverCloud) -> None:
    made = await on(cloud, "node-1", "web-1")
    mine = (await cloud.api.get("Host", "node-1") or {})["status"]["machineID"]
    theirs = (await cloud.api.get("Host", "node-2") or {})["status"]["machineID"]
    cloud.faults.lose_host("node-1")
    await cloud.says("Host", "node-1", reason="Unreachable")
    cloud.faults.set_host("node-1", machine_id=theirs)
    cloud.faults.return_host("node-1")
    said = await cloud.says("Host", "node-1", mine, theirs, "Host node-2", reason="HostIdentityChanged", deadline=40.0)
    assert "accept-machine" not in said, "what is node-2's cannot be accepted as node-1"
    await cloud.says("Instance", "web-1", theirs, reason="HostUnreachable")
    await cloud.describe("host", "node-1")
    await cloud.describe("instance", "web-1")
    assert cloud.faults.running(made["web-1"]) == ("node-1",), "nothing is touched on the stranger"
    cloud.faults.set_host("node-1", machine_id=mine)
    await cloud.up("node-1", deadline=40.0)
    await cloud.ready()


async def test_a_flapping_host_holds_up_nobody_else_and_is_told_without_a_storm(cloud: DriverCloud) -> None:
    made = await on(cloud, "node-1", "web-1")
    for turn in range(5):
        cloud.faults.lose_host("node-1")
        await cloud.says("Host", "node-1", reason="Unreachable")
        uuid = await cloud.make(f"other-{turn}")
        assert await cloud.until_runs(uuid, 5.0) == "node-2"
        cloud.faults.return_host("node-1")
        await cloud.up("node-1")
    await cloud.ready()
    assert cloud.faults.running(made["web-1"]) == ("node-1",)
    assert (await cloud.status())["runCount"] == 1, "its guest runs on through all of it"
    for name in ("node-1", "web-1"):
        said = Counter(reason for reason, _ in await cloud.told(name))
        assert all(times <= 6 for times in said.values()), said
    await cloud.describe("host", "node-1")
    await cloud.describe("instance", "web-1")


async def test_a_host_with_fifty_guests_dies_and_returns(wiped_plane: ControlPlane, tmp_path: Path) -> None:
    async with cloud_of(wiped_plane, tmp_path / "cloud.db", hosts=1) as cloud:
        await cloud.api.patch(
            "Host", "node-1", {"spec": {"connection": {"simulated": {"cpus": 128, "memory": "512Gi"}}}}
        )
        made = {f"web-{n}": await cloud.make(f"web-{n}") for n in range(50)}
        for name in made:
            await cloud.ready(name=name, deadline=60.0)
        before = {name: int(await cloud.version("Instance", name)) for name in made}
        cloud.cut_power("node-1")
        for name in made:
            await cloud.says("Instance", name, reason="HostUnreachable")
        await cloud.settle(3.0)
        waiting = {name: int(await cloud.version("Instance", name)) for name in made}
        assert all(waiting[name] > before[name] for name in made)
        await cloud.settle(4.0)
        assert {name: int(await cloud.version("Instance", name)) for name in made} == waiting, "silence while they wait"
        cloud.faults.return_host("node-1")
        for name, uuid in made.items():
            await cloud.ready(name=name, deadline=60.0)
            assert cloud.faults.running(uuid) == ("node-1",)
        assert {(await cloud.status(name))["runCount"] for name in made} == {2}
        cloud.view.started_again |= made.keys()
