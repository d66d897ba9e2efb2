"""From an object to a running guest and back, and what a reader of the object sees."""

from typing import Any

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


async def test_a_first_start_waits_until_it_is_known_which_cpu_guests_see(cloud: Cloud) -> None:
    await cloud.api.patch("HostCluster", "sim-1", {"spec": {"cpu": {"mode": "HostPassthrough"}}})

    async def cpu() -> Any:
        return (await cloud.api.get("HostCluster", "sim-1") or {})["status"].get("cpu", {})

    async def is_mode(mode: str) -> bool:
        return bool((await cpu()).get("mode") == mode)

    await until(lambda: is_mode("HostPassthrough"), 30.0)
    cloud.faults.hang(host="node-9", call="open")
    simulated = {"type": "Simulated", "simulated": {"cpus": 16, "memory": "64Gi"}}
    await cloud.api.create("Host", "node-9", {"hostClusterRef": {"name": "sim-1"}, "connection": simulated})
    await until(lambda: cloud.engine.services.cache.get("Host", "", "node-9"))
    await cloud.api.patch("HostCluster", "sim-1", {"spec": {"cpu": {"mode": "Baseline"}}})
    await cloud.make()
    told = await cloud.ready("WaitingForBaseline", "False")
    assert "HostCluster sim-1 has not computed yet" in told["message"]
    cloud.faults.release()
    await cloud.ready(deadline=30.0)
    assert (await cpu())["mode"] == "Baseline"
    seen = (await cloud.status())["hardware"]["cpu"]
    assert (seen["mode"], seen["features"]) == ("Baseline", (await cpu())["features"])


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
