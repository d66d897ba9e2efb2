"""From an object to a running guest and back, and what a reader of the object sees."""

from tests.engine.harness import until
from tests.instances.cloud import Cloud, attached, managed, nic


async def test_an_instance_without_anything_runs_and_goes(cloud: Cloud) -> None:
    uuid = await cloud.make()
    await cloud.ready()
    host = await cloud.until_runs(uuid)
    status = await cloud.status()
    assert status["placement"]["host"] == status["hostRef"]["name"] == host
    assert status["state"] == "Running" and status["runCount"] == 1 and status["uuid"] == uuid
    await cloud.delete()
    await cloud.gone()
    assert cloud.domains(uuid) == []


async def test_a_first_start_sees_the_cpu_of_its_cluster_and_so_does_the_next(cloud: Cloud) -> None:
    await cloud.make()
    await cloud.ready()
    seen = (await cloud.status())["hardware"]["cpu"]
    known = (await cloud.api.get("HostCluster", "sim-1") or {})["status"]["cpu"]
    assert (seen["mode"], seen["features"]) == ("Baseline", known["features"])
    await cloud.request("Restart")
    await until(lambda: _ran(cloud, 2), 30.0)
    assert (await cloud.status())["hardware"]["cpu"] == seen


async def _ran(cloud: Cloud, times: int) -> bool:
    status = await cloud.status()
    return bool(status["runCount"] == times and status["state"] == "Running")


async def test_w1_a_new_instance_costs_three_writes(cloud: Cloud) -> None:
    await cloud.make()
    await cloud.ready()
    before = int((await cloud.get())["metadata"]["resourceVersion"])
    await cloud.settle(2.0)
    assert int((await cloud.get())["metadata"]["resourceVersion"]) == before


async def test_an_instance_with_volumes_and_a_nic_has_them_when_it_runs(cloud: Cloud) -> None:
    await cloud.volume("data")
    uuid = await cloud.make(
        volumes=[{**managed("root"), "bootOrder": 1}, attached("data", "data")], networks=[nic()],
        cloudInit={"hostname": "web"},
    )  # fmt: skip
    await cloud.ready(deadline=20.0)
    domain = cloud.domain(uuid)
    assert domain.live is not None
    assert {d.name for d in domain.live.disks} == {"root", "data", "_seed"}
    status = await cloud.status()
    [shown] = status["networks"]
    assert shown["addresses"] and shown["macAddress"] == domain.live.nics[0].mac
    assert status["primaryAddress"] == shown["addresses"][0]
    assert [s["name"] for s in status["steps"]][:3] == ["Scheduled", "VolumesReady", "AddressesReady"]
    await cloud.delete()
    await cloud.gone()
    await cloud.gone("web-1-root", "Volume")
    assert await cloud.get("data", "Volume")
