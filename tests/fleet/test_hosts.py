"""Hosts from the API to a simulated platform and back: connected, judged, lost, found again."""

import time
import uuid as uuids
from datetime import UTC, datetime, timedelta

from controllers.fleet.base import Link
from drivers.marks import InstanceMark
from tests.engine.harness import until
from tests.fleet.world import Operator, World


def guest(operator: Operator, *, uid: str, uuid: str, name: str = "web-1", sequence: int = 1) -> InstanceMark:
    installation = operator.fleet.services.installation
    return InstanceMark(installation=installation, namespace="team-a", name=name, uid=uid, uuid=uuid, sequence=sequence)


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


async def test_w7_running_instances_are_allocated_with_their_overhead_and_stopped_ones_are_not(world: World) -> None:
    async with world.operator():
        await world.parents()
        await world.host("node-1")
        await world.ready("Host", "node-1")
        await world.instance("web-1", str(uuids.uuid4()), "node-1")
        await world.instance("web-2", str(uuids.uuid4()), "node-1")
        await world.api.patch("Instance", "web-2", {"spec": {"runStrategy": "Halted"}}, namespace="team-a")
        await world.instance("web-3", str(uuids.uuid4()), "node-1", running=False)
        await world.api.patch("Instance", "web-3", {"spec": {"runStrategy": "Halted"}}, namespace="team-a")

        async def allocated() -> bool:
            status = await world.status("Host", "node-1")
            memory = status.get("capacity", {}).get("memory", {}).get("allocated")
            return (status.get("instances"), status.get("running"), memory) == (3, 2, "2304Mi")

        await until(allocated, 15.0, what="allocation")
        assert (await world.status("Host", "node-1"))["summary"] == {"cpus": "4/8", "memory": "2.2Gi/15Gi"}


async def test_a_host_that_goes_is_not_ready_within_15_seconds_and_comes_back_by_itself(world: World) -> None:
    async with world.operator() as operator:
        await world.parents()
        await world.host("node-1")
        await world.ready("Host", "node-1")
        await world.instance("web-1", str(uuids.uuid4()), "node-1")
        await until(lambda: operator.placed.seen, what="instance seen")
        operator.placed.seen.clear()
        world.faults.lose_host("node-1")
        lost = time.monotonic()
        await world.not_ready("Host", "node-1", "Unreachable")
        assert time.monotonic() - lost < 15

        async def told() -> bool:
            message = str((await world.api.condition("Host", "node-1", "Ready")).get("message"))
            return "no route to host" in message and "not reachable since" in message

        await until(told, what="what was tried, and what came of it")
        assert operator.placed.seen, "the instances of a lost host are told"
        status = await world.status("Host", "node-1")
        assert status["state"] == "Down"
        assert status["capacity"]["cpus"]["total"] == 8
        world.faults.return_host("node-1")
        await world.ready("Host", "node-1", "Connected", deadline=30.0)
        assert "unreachableSince" not in await world.status("Host", "node-1")


async def test_a_frozen_host_is_not_ready_and_does_not_hold_up_another(world: World) -> None:
    async with world.operator() as operator:
        await world.parents()
        await world.host("node-1")
        await world.host("node-2")
        await world.ready("Host", "node-1")
        await world.ready("Host", "node-2")
        world.faults.freeze("node-1", keepalive=60.0)
        frozen = time.monotonic()
        await world.not_ready("Host", "node-1", deadline=20.0)
        assert time.monotonic() - frozen < 15
        view = operator.fleet.view("node-2")
        assert view is not None
        assert view.link is Link.UP
        world.faults.thaw("node-1")
        await world.ready("Host", "node-1", deadline=30.0)


async def test_two_hosts_with_one_end_point_are_told_and_the_older_keeps_it(world: World) -> None:
    async with world.operator():
        await world.parents(hypervisor="KVM")
        spec = {"hostClusterRef": {"name": "sim-1"}}
        for name, uri in (
            ("node-1", "qemu+tcp://127.0.0.1:1/system"),
            ("node-2", "qemu+tcp://root@127.0.0.1:1/system"),
        ):
            libvirt = {"uri": uri, "allowPlaintext": True}
            await world.api.create("Host", name, {**spec, "connection": {"type": "Libvirt", "libvirt": libvirt}})
            await until(lambda name=name: world.status("Host", name), what="seen")
        message = await world.not_ready("Host", "node-2", "EndpointTaken")
        assert "Host node-1" in message
        assert "Host node-2" in message
        await world.api.delete("Host", "node-1")
        await world.not_ready("Host", "node-2", "Unreachable", deadline=30.0)


async def test_h2_another_machine_at_its_address_is_refused_until_the_administrator_accepts_it(world: World) -> None:
    async with world.operator() as operator:
        await world.parents()
        await world.host("node-1")
        await world.ready("Host", "node-1")
        old = (await world.status("Host", "node-1"))["machineID"]
        new = world.faults.change_machine("node-1")
        message = await world.not_ready("Host", "node-1", "HostIdentityChanged")
        assert old in message
        assert new in message
        view = operator.fleet.view("node-1")
        assert view is not None
        assert view.instances is None, "H2: its listings count as no answer"
        await world.api.patch("Host", "node-1", {"metadata": {"annotations": {"stratiform.dev/accept-machine": new}}})

        async def told() -> bool:
            return "not enough" in (await world.api.condition("Host", "node-1", "Ready")).get("message", "")

        await until(told, what="the annotation alone is not enough")
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        await world.api.patch("Host", "node-1", {"spec": {"outOfService": {"declaredAt": now}}})
        await world.ready("Host", "node-1", deadline=30.0)
        assert (await world.status("Host", "node-1"))["machineID"] == new


async def test_two_hosts_that_are_one_machine_are_told(world: World) -> None:
    async with world.operator():
        await world.parents()
        await world.host("node-1")
        await world.ready("Host", "node-1")
        machine = (await world.status("Host", "node-1"))["machineID"]
        await world.host("node-2")
        await world.ready("Host", "node-2")
        await world.api.delete("Host", "node-2")
        await until(lambda: _gone(world, "Host", "node-2"), what="node-2 gone")
        world.faults.set_host("node-2", machine_id=machine)
        await world.host("node-2")
        assert "Host node-1" in await world.not_ready("Host", "node-2", "MachineTaken")


async def _gone(world: World, kind: str, name: str, namespace: str = "") -> bool:
    return await world.api.get(kind, name, namespace=namespace) is None


async def test_a_host_of_another_architecture_or_hypervisor_is_told_with_its_cluster(world: World) -> None:
    async with world.operator():
        await world.parents()
        await world.host("node-1")
        await world.ready("Host", "node-1")
        world.faults.set_host("node-1", architecture="aarch64")
        world.faults.cut_connections("node-1")
        message = await world.not_ready("Host", "node-1", "ArchitectureMismatch")
        assert "aarch64" in message
        assert "HostCluster sim-1" in message
        connection = {"type": "Libvirt", "libvirt": {"uri": "qemu+tcp://127.0.0.1:1/system", "allowPlaintext": True}}
        await world.api.create("Host", "node-2", {"hostClusterRef": {"name": "sim-1"}, "connection": connection})
        assert "Simulated" in await world.not_ready("Host", "node-2", "ConnectionMismatch")


async def test_a_host_below_the_baseline_is_refused_until_it_is_computed_anew(world: World) -> None:
    async with world.operator():
        await world.parents()
        await world.host("node-1")
        await world.ready("Host", "node-1")

        async def computed() -> bool:
            return "avx2" in (await world.status("HostCluster", "sim-1")).get("cpu", {}).get("features", [])

        await until(computed, what="baseline")
        await world.host("node-2")
        await world.ready("Host", "node-2")
        world.faults.set_host("node-2", features=("aes", "sse4.2"))
        world.faults.cut_connections("node-2")
        message = await world.not_ready("Host", "node-2", "CPUBelowBaseline")
        assert "lacks avx, avx2" in message
        note = {"metadata": {"annotations": {"stratiform.dev/recompute-cpu": "1"}}}
        await world.api.patch("HostCluster", "sim-1", note)
        await world.ready("Host", "node-2")
        assert (await world.status("HostCluster", "sim-1"))["cpu"]["features"] == ["aes", "sse4.2"]


async def test_n1_n2_foreign_machines_are_counted_and_orphans_listed_and_neither_is_touched(world: World) -> None:
    async with world.operator() as operator:
        await world.parents()
        await world.host("node-1")
        await world.ready("Host", "node-1")
        world.faults.make_unmarked("node-1", "somebodys", cpus=3)
        lost = world.faults.make_unmarked("node-1", "lost")
        mark = guest(operator, uid=str(uuids.uuid4()), uuid=lost, name="forgotten")
        world.faults.write_mark("node-1", lost, mark)

        async def told() -> bool:
            status = await world.status("Host", "node-1")
            return bool(status.get("orphans")) and status.get("foreign", {}).get("instances") == 1

        await until(told, what="orphan and foreign machine")
        status = await world.status("Host", "node-1")
        assert status["orphans"][0]["name"] == "forgotten"
        assert status["orphanCount"] == 1
        assert status["foreign"]["names"] == ["somebodys"]
        assert len(world.faults.running(lost)) == 1


async def test_h1_a_declaration_is_valid_while_the_host_is_silent_and_void_once_it_answers(world: World) -> None:
    async with world.operator() as operator:
        await world.parents()
        await world.host("node-1")
        await world.host("node-2")
        await world.ready("Host", "node-1")
        await world.ready("Host", "node-2")
        uuid = str(uuids.uuid4())
        uid = await world.instance("web-1", uuid, "node-1", sequence=5)
        world.faults.make_unmarked("node-1", "web-1", uuid=uuid)
        world.faults.write_mark("node-1", uuid, guest(operator, uid=uid, uuid=uuid, sequence=5))
        world.faults.lose_host("node-1", power_loss=True)
        await world.not_ready("Host", "node-1", "Unreachable")
        ahead = (datetime.now(UTC) + timedelta(minutes=2)).isoformat(timespec="seconds").replace("+00:00", "Z")
        await world.api.patch("Host", "node-1", {"spec": {"outOfService": {"declaredAt": ahead}}})
        await world.not_ready("Host", "node-1", "OutOfService")
        await world.api.until_condition("Host", "node-1", "OutOfService", "True", "Declared")
        assert operator.fleet.out_of_service("node-1") is not None
        placement = {"host": "node-2", "sequence": 9, "decidedAt": ahead}
        await world.api.patch(
            "Instance", "web-1", {"status": {"placement": placement}}, namespace="team-a", sub="status"
        )
        world.faults.return_host("node-1")
        await world.ready("Host", "node-1", deadline=30.0)
        await world.api.until_condition("Host", "node-1", "OutOfServiceVoid", "True", "HostAnswers")
        assert operator.fleet.out_of_service("node-1") is None
        assert world.faults.domains("node-1") == (), "H1: what belongs elsewhere went before the host was Ready"
        assert world.faults.violations() == ()
    async with world.operator() as operator:  # A new leader holds it void too, though the host is away again.
        await world.ready("Host", "node-1", deadline=30.0)
        world.faults.lose_host("node-1")
        await world.not_ready("Host", "node-1", "Unreachable")
        assert operator.fleet.out_of_service("node-1") is None


async def test_a_host_in_use_waits_and_names_what_uses_it(world: World) -> None:
    async with world.operator():
        await world.parents()
        await world.host("node-1")
        await world.ready("Host", "node-1")
        await world.instance("web-1", str(uuids.uuid4()), "node-1")
        await world.api.delete("Host", "node-1")
        found = await world.api.until_condition("Host", "node-1", "Deleting", "True", "InUse")
        assert "1 Instance (team-a/web-1) refers to Host node-1" in found["message"]
        await world.api.delete("Zone", "zone-1")
        found = await world.api.until_condition("Zone", "zone-1", "Deleting", "True", "InUse")
        assert "1 HostPod (rack-1)" in found["message"]
        await world.api.delete("Instance", "web-1", namespace="team-a")
        await until(lambda: _gone(world, "Host", "node-1"), what="host gone")
        for kind, name in (("HostCluster", "sim-1"), ("HostPod", "rack-1")):
            await world.api.delete(kind, name)
        await until(lambda: _gone(world, "Zone", "zone-1"), what="zone gone")


async def test_maintenance_takes_nothing_new_and_says_what_stays(world: World) -> None:
    async with world.operator():
        await world.parents()
        await world.host("node-1", maintenance=True)
        await world.ready("Host", "node-1")
        await world.api.until_condition("Host", "node-1", "Maintenance", "True", "Empty")
        await world.instance("web-1", str(uuids.uuid4()), "node-1")
        found = await world.api.until_condition("Host", "node-1", "Maintenance", "True", "DrainUnsupported")
        assert "1 instance left" in found["message"]


async def test_a_cloud_at_rest_is_not_written_to(world: World) -> None:
    async with world.operator():
        await world.parents()
        await world.host("node-1")
        await world.pool("disk-1")
        await world.ready("Host", "node-1")
        await world.ready("StoragePool", "disk-1")
        before, since = "", time.monotonic()

        async def quiet() -> bool:
            nonlocal before, since
            version = str([(await world.api.get(k, n) or {})["metadata"]["resourceVersion"] for k, n in OBJECTS])
            if version != before:
                before, since = version, time.monotonic()
            return time.monotonic() - since > 8.0

        await until(quiet, 40.0, what="8 seconds without a write")


OBJECTS = (
    ("Host", "node-1"),
    ("StoragePool", "disk-1"),
    ("HostCluster", "sim-1"),
    ("Zone", "zone-1"),
    ("Region", "default"),
)
