"""A lost status, machines without an object, machines without a mark (safety.md W2, N1 to N3, M3, M4)."""

from typing import Any

from tests.engine.harness import until
from tests.instances.cloud import Cloud, managed, nic


async def test_w2_m4_a_lost_status_is_rebuilt_from_the_machine(cloud: Cloud) -> None:
    uuid = await cloud.make(networks=[nic()])
    await cloud.ready()
    before = await cloud.status()
    await cloud.operator_stops()
    await cloud.wipe_status()
    await cloud.operator_starts()
    await cloud.ready()
    after = await cloud.status()
    for field in ("placement", "networks", "runCount", "uuid", "hardware"):
        expected = before[field]
        found = after[field]
        if field == "placement":
            expected, found = (expected["host"], expected["sequence"]), (found["host"], found["sequence"])
        assert found == expected, field
    assert cloud.faults.running(uuid) == (before["hostRef"]["name"],)


async def test_w2_a_lost_status_and_a_silent_host_wait(cloud: Cloud) -> None:
    uuid = await cloud.make()
    await cloud.ready()
    host = await cloud.host_of()
    cloud.faults.lose_host(host)
    await cloud.operator_stops()
    await cloud.wipe_status()
    await cloud.operator_starts()
    waits = await cloud.condition("Scheduled", "LocationUnknown", "Unknown", deadline=20.0)
    assert host in waits["message"]
    cloud.faults.return_host(host)
    await cloud.ready(deadline=20.0)
    assert cloud.faults.running(uuid) == (host,) and (await cloud.status())["runCount"] == 1


async def _make_orphan(cloud: Cloud) -> tuple[str, str]:
    """A machine whose object is gone: finalizers removed by hand while nobody looked. Its UUID and host."""
    uuid = await cloud.make(networks=[nic()])
    await cloud.ready()
    host = await cloud.host_of()
    await cloud.operator_stops()
    await cloud.api.patch("Instance", "web-1", {"metadata": {"finalizers": None}}, namespace="team-a")
    await cloud.delete()
    await cloud.gone()
    await cloud.operator_starts()
    return uuid, host


async def test_n2_an_orphan_of_its_name_is_waited_for_and_adopted(cloud: Cloud) -> None:
    uuid, host = await _make_orphan(cloud)
    await cloud.make(networks=[nic()])
    waits = await cloud.ready("OrphanExists", "False")
    assert uuid in waits["message"]
    assert cloud.faults.running(uuid) == (host,) and len(cloud.faults.domains()) == 1
    [claim] = await cloud.api.all("NetworkAddress")
    held = await cloud.condition("Ready", "HeldByOrphan", name=claim["metadata"]["name"], kind="NetworkAddress")
    assert f"used by a machine on Host {host}" in held["message"] and f"adopt={uuid}" in held["message"]
    await cloud.annotate(adopt=uuid)
    await cloud.ready()
    status = await cloud.status()
    assert status["uuid"] == uuid and status["runCount"] == 1
    assert status["primaryAddress"] == claim["spec"]["address"]
    await until(lambda: _claimed_anew(cloud, claim), 20.0, what="claimed by the one that adopted")
    assert len(cloud.faults.domains()) == 1 and cloud.faults.running(uuid) == (host,)
    await cloud.delete()
    await cloud.gone()
    assert cloud.faults.domains() == ()


async def _claimed_anew(cloud: Cloud, before: dict[str, Any]) -> bool:
    now = await cloud.get(before["metadata"]["name"], "NetworkAddress")
    return bool(now) and now["spec"]["claim"]["instance"]["uid"] == (await cloud.get())["metadata"]["uid"]


async def test_n2_an_adopting_instance_has_the_volume_objects_that_are_there_still(cloud: Cloud) -> None:
    uuid = await cloud.make(volumes=[managed("root")])
    await cloud.ready()
    volume = (await cloud.get("web-1-root", "Volume"))["metadata"]["uid"]
    await cloud.operator_stops()
    await cloud.api.patch("Instance", "web-1", {"metadata": {"finalizers": None}}, namespace="team-a")
    await cloud.delete()
    await cloud.gone()
    await cloud.operator_starts()
    await cloud.make(volumes=[managed("root")], annotations={"stratiform.dev/adopt": uuid})
    await cloud.ready()
    assert (await cloud.get("web-1-root", "Volume"))["metadata"]["uid"] == volume
    made = await cloud.get()

    async def holds() -> bool:
        held = (await cloud.get("web-1-root", "Volume"))["status"].get("attachments", ())
        return [a["uid"] for a in held] == [made["metadata"]["uid"]]

    await until(holds, 10.0, what="held by the one that adopted")
    await cloud.change(volumes=[managed("root", "2Gi")])
    await until(lambda: _grown(cloud), 10.0, what="grown with its entry")
    await cloud.delete()
    await cloud.gone()
    await cloud.gone("web-1-root", "Volume")
    assert cloud.faults.domains() == ()


async def _grown(cloud: Cloud) -> bool:
    return bool((await cloud.get("web-1-root", "Volume"))["status"].get("size") == "2Gi")


async def test_n2_m4_an_adopted_machine_is_known_again_after_the_status_was_lost(cloud: Cloud) -> None:
    uuid, _ = await _make_orphan(cloud)
    await cloud.make(annotations={"stratiform.dev/adopt": uuid})
    await cloud.ready()
    await cloud.operator_stops()
    await cloud.wipe_status()
    await cloud.annotate(adopt=None)
    await cloud.operator_starts()
    await cloud.ready()
    assert (await cloud.status())["uuid"] == uuid and len(cloud.faults.domains()) == 1


async def test_n2_an_ignored_orphan_runs_on_beside_the_new_one(cloud: Cloud) -> None:
    orphan, _ = await _make_orphan(cloud)
    uuid = await cloud.make(annotations={"stratiform.dev/ignore-orphan": orphan})
    await cloud.ready()
    assert uuid != orphan and cloud.faults.running(uuid) and cloud.faults.running(orphan)


async def test_n3_spec_uuid_takes_over_the_orphan_of_its_name(cloud: Cloud) -> None:
    uuid, host = await _make_orphan(cloud)
    await cloud.make(uuid=uuid)
    await cloud.ready()
    status = await cloud.status()
    assert status["uuid"] == uuid and status["hostRef"]["name"] == host and status["runCount"] == 1
    assert not status.get("imported")


async def test_n3_of_two_objects_with_one_uuid_the_older_keeps_it(cloud: Cloud) -> None:
    uuid = await cloud.make(uuid="3b0f1d2c-0000-4000-8000-000000000001")
    await cloud.ready()
    await cloud.make("web-2", uuid=uuid)
    refused = await cloud.ready("UUIDTaken", "False", "web-2")
    assert "team-a/web-1" in refused["message"]
    assert len(cloud.faults.running(uuid)) == 1


async def test_n3_an_unmarked_machine_is_imported_only_where_that_is_allowed_and_released_at_the_end(
    cloud: Cloud,
) -> None:
    uuid = cloud.faults.make_unmarked("node-1", "by-hand")
    await cloud.settle(1.0)
    await cloud.make(uuid=uuid, resources={"cpus": 1, "memory": "1Gi"})
    refused = await cloud.ready("ImportNotAllowed", "False")
    assert "allowImports" in refused["message"] and cloud.domain(uuid).mark == ""
    await cloud.api.patch("HostCluster", "sim-1", {"spec": {"allowImports": {"type": "All"}}})
    await cloud.ready(deadline=40.0)
    status = await cloud.status()
    assert status["imported"] and status["runCount"] == 1
    await cloud.delete()
    await cloud.gone()
    assert cloud.faults.running(uuid) == ("node-1",) and cloud.domain(uuid).mark == ""


async def test_n1_a_foreign_machine_of_another_uuid_is_nothing_to_us(cloud: Cloud) -> None:
    foreign = cloud.faults.make_unmarked("node-1", "team-a.web-1.foreign")
    uuid = await cloud.make()
    await cloud.ready()
    await cloud.delete()
    await cloud.gone()
    assert cloud.faults.running(foreign) == ("node-1",) and cloud.domains(uuid) == []
