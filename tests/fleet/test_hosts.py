"""Hosts from the API to a simulated platform and back: connected, judged, lost, found again."""

from tests.engine.harness import until
from tests.fleet.world import World


async def test_a_cloud_applied_in_reverse_order_converges(world: World) -> None:
    async with world.operator():
        await world.host("node-1")
        assert "HostCluster sim-1 does not exist" in await world.not_ready("Host", "node-1", "HostClusterNotFound")
        spec = {"hostPodRef": {"name": "rack-1"}, "hypervisor": "Simulated"}
        await world.api.create("HostCluster", "sim-1", spec)
        await world.not_ready("HostCluster", "sim-1", "HostPodNotFound")
        await world.api.create("HostPod", "rack-1", {"zoneRef": {"name": "zone-1"}})
        await world.api.create("Zone", "zone-1", {"regionRef": {"name": "default"}})
        await world.not_ready("Zone", "zone-1", "RegionNotFound")
        await world.api.create("Region", "default", {})
        for kind, name in (("Host", "node-1"), ("HostCluster", "sim-1"), ("HostPod", "rack-1"), ("Zone", "zone-1")):
            await world.ready(kind, name)
        status = await world.status("Host", "node-1")
        assert status["state"] == "Up"
        assert status["machineID"]
        assert status["summary"] == {"cpus": "0/8", "memory": "0/15Gi"}


async def test_capacity_is_rolled_up_to_the_region(world: World) -> None:
    async with world.operator():
        await world.parents()
        await world.host("node-1")
        await world.host("node-2", cpus=4)
        await world.pool("disk-1")

        async def summed() -> bool:
            status = await world.status("Region", "default")
            return status.get("summary") == {"cpus": "0/12", "memory": "0/30Gi", "storage": "0/1Ti"}

        async def counted() -> bool:
            status = await world.status("Zone", "zone-1")
            return status.get("hosts") == {"total": 2, "ready": 2, "disabled": 0}

        await until(summed, 40.0, what="the region's sum")
        await until(counted, 20.0, what="the zone's hosts")
