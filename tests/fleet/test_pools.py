"""Pools and image stores from the API to a simulated platform: reached, counted, claimed, lost, let go."""

import uuid as uuids
from typing import Any

from drivers.marks import DiskMark, DiskState
from tests.engine.harness import until
from tests.fleet.world import World


async def test_a_pool_is_connected_on_every_host_in_scope_and_again_on_one_that_returns(world: World) -> None:
    async with world.operator():
        await world.parents()
        await world.pool("disk-1")
        assert "HostCluster sim-1" in await world.not_ready("StoragePool", "disk-1", "NoHosts")
        await world.host("node-1")
        await world.host("node-2")

        async def connected() -> bool:
            hosts = (await world.status("StoragePool", "disk-1")).get("hosts", [])
            return [(h["name"], h["state"]) for h in hosts] == [("node-1", "Ready"), ("node-2", "Ready")]

        await until(connected, 20.0, what="both hosts")
        await world.ready("StoragePool", "disk-1", "Connected")
        status = await world.status("StoragePool", "disk-1")
        assert status["capacity"]["storage"]["total"] == "1Ti"
        assert status["claim"]["uuid"] == status["uuid"]
        world.faults.lose_host("node-1")

        async def away() -> bool:
            hosts = (await world.status("StoragePool", "disk-1"))["hosts"]
            return hosts[0]["state"] == "Unreachable" and "Host node-1" in hosts[0]["message"]

        await until(away, 20.0, what="node-1 unreachable")
        await world.ready("StoragePool", "disk-1")
        assert not await world.api.condition("StoragePool", "disk-1", "Degraded"), (
            "a host that is down is no fault of it"
        )
        world.faults.return_host("node-1")
        await until(connected, 30.0, what="both hosts again")


async def test_a_pool_that_a_host_dropped_is_connected_there_again_at_once(world: World) -> None:
    async with world.operator(pool_interval=600.0):
        await world.parents()
        await world.host("node-1")
        await world.pool("disk-1")
        await world.ready("StoragePool", "disk-1", "Connected")
        uuid = (await world.status("StoragePool", "disk-1"))["uuid"]
        world.faults.drop_pool("node-1", uuid)
        await until(lambda: uuid in world.faults.connected("node-1"), 10.0, what="connected again")


async def test_a_pool_that_one_host_does_not_reach_is_ready_and_degraded(world: World) -> None:
    async with world.operator():
        await world.parents()
        await world.host("node-1")
        await world.host("node-2")
        await world.ready("Host", "node-1")
        await world.ready("Host", "node-2")
        order = world.faults.fail(None, host="node-2", call="connect_pool", text="mount.nfs: access denied")
        await world.pool("disk-1")
        found = await world.api.until_condition("StoragePool", "disk-1", "Degraded", "True", "HostsUnreachable")
        assert "node-2: " in found["message"]
        assert "access denied" in found["message"]
        await world.ready("StoragePool", "disk-1", "PartlyConnected")
        world.faults.release(order)
        await world.ready("StoragePool", "disk-1", "Connected", deadline=30.0)


async def test_a_pool_that_nobody_reaches_is_not_ready_and_says_why(world: World) -> None:
    async with world.operator():
        await world.parents()
        await world.host("node-1")
        await world.ready("Host", "node-1")
        world.faults.fail(None, call="connect_pool", text="no such export")
        await world.pool("disk-1")
        assert "no such export" in await world.not_ready("StoragePool", "disk-1", "Unreachable")


async def test_h3_a_pool_whose_claim_names_another_is_refused(world: World) -> None:
    async with world.operator():
        await world.parents()
        await world.host("node-1")
        await world.pool("disk-1")
        await world.ready("StoragePool", "disk-1")
        uuid = (await world.status("StoragePool", "disk-1"))["uuid"]
        world.faults.claim(uuid, str(uuids.uuid4()))
        world.faults.reboot_host("node-1")
        message = await world.not_ready("StoragePool", "disk-1", "WrongPool", deadline=40.0)
        assert "spec.uuid" in message


async def test_h3_one_export_is_one_pool_and_the_older_keeps_it(world: World) -> None:
    async with world.operator():
        await world.parents()
        nfs: dict[str, Any] = {"type": "NFS", "simulated": None}
        await world.pool("nfs-1", **nfs, nfs={"server": "10.0.0.2", "path": "/primary"})
        await world.pool("nfs-2", **nfs, nfs={"server": "10.0.0.2", "path": "/primary/"})
        message = await world.not_ready("StoragePool", "nfs-2", "PoolAddressTaken")
        assert "StoragePool nfs-1" in message
        assert "nfs://10.0.0.2/primary is the address of" in message
        scope = {"type": "Zone", "zoneRef": {"name": "zone-1"}}
        await world.pool("photos", "ImageStore", scope=scope, **nfs, nfs={"server": "10.0.0.2", "path": "/primary"})
        await world.not_ready("ImageStore", "photos", "PoolAddressTaken")


async def test_n2_a_disk_with_our_mark_that_the_api_does_not_know_is_listed_and_left(world: World) -> None:
    async with world.operator() as operator:
        await world.parents()
        await world.host("node-1")
        await world.pool("disk-1")
        await world.ready("StoragePool", "disk-1")
        uuid = (await world.status("StoragePool", "disk-1"))["uuid"]
        volume = str(uuids.uuid4())
        mark = DiskMark(
            installation=operator.fleet.services.installation,
            kind="Volume",
            namespace="team-a",
            name="lost",
            uid=str(uuids.uuid4()),
            uuid=volume,
            n=1,
            state=DiskState.READY,
        )
        world.faults.write_disk_mark(uuid, f"{volume}-1", mark)
    async with world.operator():

        async def listed() -> bool:
            return (await world.status("StoragePool", "disk-1")).get("orphanCount") == 1

        await until(listed, 30.0, what="the orphan")
        found = (await world.status("StoragePool", "disk-1"))["orphans"][0]
        assert (found["namespace"], found["name"], found["uuid"]) == ("team-a", "lost", volume)
        assert len(world.faults.disks(uuid)) == 1


async def test_a_pool_in_use_waits_for_its_volumes_and_is_then_disconnected(world: World) -> None:
    async with world.operator():
        await world.parents()
        await world.host("node-1")
        await world.pool("disk-1")
        await world.ready("StoragePool", "disk-1")
        spec = {"zoneRef": {"name": "zone-1"}, "size": "20Gi"}
        await world.api.create("Volume", "data", spec, namespace="team-a")
        status = {"uuid": str(uuids.uuid4()), "disk": {"pool": "disk-1", "n": 1}, "size": "20Gi"}
        await world.api.patch("Volume", "data", {"status": status}, namespace="team-a", sub="status")

        async def allocated() -> bool:
            found = await world.status("StoragePool", "disk-1")
            return found.get("volumes") == 1 and found["summary"]["storage"] == "20Gi/1Ti"

        await until(allocated, 15.0, what="allocation")
        await world.api.delete("StoragePool", "disk-1")
        found = await world.api.until_condition("StoragePool", "disk-1", "Deleting", "True", "InUse")
        assert "1 Volume (team-a/data)" in found["message"]
        await world.ready("StoragePool", "disk-1")
        await world.api.delete("Volume", "data", namespace="team-a")

        async def gone() -> bool:
            return await world.api.get("StoragePool", "disk-1") is None

        await until(gone, 15.0, what="pool gone")


async def test_an_image_store_of_a_region_is_reached_from_all_its_hosts(world: World) -> None:
    async with world.operator():
        await world.parents()
        await world.host("node-1")
        await world.host("node-2")
        await world.pool("images", "ImageStore", scope={"type": "Region", "regionRef": {"name": "default"}})
        await world.ready("ImageStore", "images", "Connected")

        async def both() -> bool:
            return bool((await world.status("ImageStore", "images")).get("hostCount", {}).get("ready") == 2)

        await until(both, 20.0, what="both hosts")


async def test_storage_that_stops_answering_makes_its_pool_not_ready_and_comes_back(world: World) -> None:
    async with world.operator():
        await world.parents()
        await world.host("node-1")
        await world.host("node-2")
        await world.pool("disk-1")
        await world.ready("StoragePool", "disk-1")
        uuid = (await world.status("StoragePool", "disk-1"))["uuid"]
        world.faults.storage_down(uuid)
        await world.not_ready("StoragePool", "disk-1", "Unreachable", deadline=70.0)
        await world.ready("Host", "node-1")
        world.faults.storage_down(uuid, down=False)
        await world.ready("StoragePool", "disk-1", deadline=70.0)


async def test_a_new_leader_says_nothing_of_a_pool_before_it_has_looked(world: World) -> None:
    async with world.operator():
        await world.parents()
        await world.host("node-1")
        await world.pool("disk-1")
        await world.ready("StoragePool", "disk-1")
        before = await world.api.condition("StoragePool", "disk-1", "Ready")
    async with world.operator() as operator:
        await until(lambda: operator.fleet.view("node-1"), what="connecting")
        view = operator.fleet.view
        await until(lambda: (found := view("node-1")) is not None and found.link.value == "Up", what="up")
        await world.ready("StoragePool", "disk-1")
        assert await world.api.condition("StoragePool", "disk-1", "Ready") == before
        assert (await world.api.condition("Host", "node-1", "Ready"))["reason"] == "Connected"
