"""Volumes and NICs that come and go, drift, what waits for a restart, and the seed (safety.md D1, D3, I2, M2)."""

import json

from drivers import registry
from drivers.base import Connection, InstanceFacts
from drivers.marks import DiskMark, InstanceMark, decode
from drivers.recording import Call, RecordingEndPoint
from tests.engine.harness import until
from tests.instances.cloud import Cloud, attached, managed, nic

ROOT = {**managed("root"), "bootOrder": 1}


def _disks(cloud: Cloud, uuid: str) -> set[str]:
    live = cloud.domain(uuid).live
    return {d.name for d in live.disks if not d.name.startswith("_")} if live else set()


async def test_d3_a_volume_is_attached_and_detached_while_the_guest_runs(cloud: Cloud) -> None:
    await cloud.volume("data")
    uuid = await cloud.make(volumes=[ROOT])
    await cloud.ready(deadline=20.0)
    await cloud.change(volumes=[ROOT, attached("data", "data")])
    await until(lambda: _disks(cloud, uuid) == {"root", "data"}, 15.0, what="attached")
    await cloud.ready()
    assert [a["instance"] for a in (await cloud.get("data", "Volume"))["status"]["attachments"]] == ["web-1"]
    await cloud.change(volumes=[ROOT])
    await until(lambda: _disks(cloud, uuid) == {"root"}, 15.0, what="detached")
    await until(lambda: _free(cloud, "data"), 15.0, what="released")
    assert (await cloud.status())["runCount"] == 1


async def _free(cloud: Cloud, volume: str) -> bool:
    return not (await cloud.get(volume, "Volume"))["status"].get("attachments")


async def test_d1_two_instances_never_have_one_volume(cloud: Cloud) -> None:
    await cloud.volume("data")
    first = await cloud.make(volumes=[ROOT, attached("data", "data")])
    await cloud.ready(deadline=20.0)
    second = await cloud.make("web-2", volumes=[attached("data", "data")])
    waits = await cloud.ready("WaitingForVolume", "False", "web-2")
    assert "web-1" in waits["message"]
    await cloud.change(volumes=[ROOT])
    await cloud.ready(name="web-2", deadline=20.0)
    assert _disks(cloud, first) == {"root"} and _disks(cloud, second) == {"data"}


async def test_a_managed_volume_can_be_added_to_a_running_guest(cloud: Cloud) -> None:
    uuid = await cloud.make(volumes=[ROOT])
    await cloud.ready(deadline=20.0)
    await cloud.change(volumes=[ROOT, managed("more", "2Gi")])
    await until(lambda: _disks(cloud, uuid) == {"root", "more"}, 20.0, what="attached")


async def test_d3_a_managed_entry_that_is_removed_keeps_its_volume_also_after_the_end(cloud: Cloud) -> None:
    uuid = await cloud.make(volumes=[ROOT, managed("data")])
    await cloud.ready(deadline=20.0)
    await cloud.change(volumes=[ROOT])
    await until(lambda: _disks(cloud, uuid) == {"root"}, 15.0, what="detached")
    await until(lambda: _detached(cloud), 10.0, what="listed")
    await cloud.delete()
    await cloud.gone()
    await cloud.gone("web-1-root", "Volume")
    assert (await cloud.get("web-1-data", "Volume"))["status"]["disk"]


async def _detached(cloud: Cloud) -> bool:
    listed = (await cloud.status()).get("detachedVolumes", [])
    return [d["volumeRef"]["name"] for d in listed] == ["web-1-data"]


async def test_a_retained_managed_volume_stays_with_its_object(cloud: Cloud) -> None:
    await cloud.make(volumes=[{**managed("root", deletionPolicy="Retain"), "bootOrder": 1}])
    await cloud.ready(deadline=20.0)
    await cloud.delete()
    await cloud.gone()
    await cloud.settle(1.0)
    volume = await cloud.get("web-1-root", "Volume")
    assert volume and "deletionTimestamp" not in volume["metadata"]


async def test_a_volume_of_that_name_that_it_did_not_make_is_never_used(cloud: Cloud) -> None:
    await cloud.volume("web-1-root")
    await cloud.make(volumes=[ROOT])
    refused = await cloud.ready("VolumeNameTaken", "False")
    assert "web-1-root" in refused["message"]


async def test_a_volume_that_is_not_there_is_named(cloud: Cloud) -> None:
    await cloud.make(volumes=[attached("data", "missing")])
    refused = await cloud.ready("VolumeNotFound", "False")
    assert "spec.volumes[data].volume.volumeRef" in refused["message"]


async def test_a_disk_that_grows_grows_under_the_running_guest(cloud: Cloud) -> None:
    await cloud.make(volumes=[ROOT])
    await cloud.ready(deadline=20.0)
    await cloud.change(volumes=[{**managed("root", "3Gi"), "bootOrder": 1}])
    await until(lambda: _size(cloud, "web-1-root", "3Gi"), 15.0, what="grown")
    await cloud.no_condition("RestartRequired")


async def _size(cloud: Cloud, volume: str, size: str) -> bool:
    return bool((await cloud.get(volume, "Volume"))["status"].get("size") == size)


async def test_two_disks_that_could_boot_need_an_order(cloud: Cloud) -> None:
    await cloud.make(volumes=[managed("a"), managed("b")])
    refused = await cloud.ready("BootOrderNeeded", "False")
    assert "bootOrder" in refused["message"]


# ---------------------------------------------------------------- networks


async def test_i2_addresses_are_given_without_duplicates_and_given_back(cloud: Cloud) -> None:
    names = [f"web-{n}" for n in range(1, 7)]
    for name in names:
        await cloud.make(name, networks=[nic()])
    for name in names:
        await cloud.ready(name=name, deadline=20.0)
    given = [(await cloud.status(name))["networks"][0]["addresses"][0] for name in names]
    macs = [(await cloud.status(name))["networks"][0]["macAddress"] for name in names]
    assert len(set(given)) == len(set(macs)) == 6
    for name in names:
        await cloud.delete(name)
    for name in names:
        await cloud.gone(name)
    await until(lambda: _no_addresses(cloud), 15.0, what="addresses given back")


async def _no_addresses(cloud: Cloud) -> bool:
    return await cloud.api.all("NetworkAddress") == []


async def test_an_address_asked_for_is_given_or_refused_with_who_has_it(cloud: Cloud) -> None:
    await cloud.make(networks=[nic(addresses=["10.91.0.60"])])
    await cloud.ready()
    assert (await cloud.status())["primaryAddress"] == "10.91.0.60"
    await cloud.make("web-2", networks=[nic(addresses=["10.91.0.60"])])
    refused = await cloud.ready("AddressTaken", "False", "web-2")
    assert "team-a/web-1" in refused["message"]
    await cloud.make("web-3", networks=[nic(addresses=["10.99.0.60"])])
    await cloud.ready("AddressOutsideNetwork", "False", "web-3")
    await cloud.make("web-4", networks=[nic(addresses=["10.91.0.1"])])
    await cloud.ready("AddressNotUsable", "False", "web-4")


async def test_nics_come_and_go_while_the_guest_runs(cloud: Cloud) -> None:
    uuid = await cloud.make(networks=[nic()])
    await cloud.ready()
    await cloud.change(networks=[nic(primary=True), nic("second")])
    await until(lambda: {n.name for n in cloud.domain(uuid).live.nics} == {"lan", "second"}, 15.0)  # type: ignore[union-attr]
    await cloud.ready()
    assert len(await cloud.api.all("NetworkAddress")) == 2
    await cloud.change(networks=[nic(primary=True)])
    await until(lambda: {n.name for n in cloud.domain(uuid).live.nics} == {"lan"}, 15.0)  # type: ignore[union-attr]
    await until(lambda: _claims(cloud, 1), 15.0, what="address given back")


async def _claims(cloud: Cloud, count: int) -> bool:
    return len(await cloud.api.all("NetworkAddress")) == count


async def test_an_address_changed_in_the_spec_takes_effect_at_the_restart(cloud: Cloud) -> None:
    await cloud.make(networks=[nic(addresses=["10.91.0.60"])])
    await cloud.ready()
    await cloud.change(networks=[nic(addresses=["10.91.0.61"])])
    waits = await cloud.condition("RestartRequired")
    assert "spec.networks[lan]" in waits["message"]
    assert (await cloud.status())["primaryAddress"] == "10.91.0.60"
    await cloud.request("Restart")
    await until(lambda: _address(cloud, "10.91.0.61"), 15.0, what="new address")
    await cloud.no_condition("RestartRequired")
    await until(lambda: _claims(cloud, 1), 15.0, what="old address given back")


async def _address(cloud: Cloud, address: str) -> bool:
    return (await cloud.status()).get("primaryAddress") == address


async def test_a_network_that_is_not_there_is_named(cloud: Cloud) -> None:
    await cloud.make(networks=[nic(network="nowhere")])
    refused = await cloud.condition("Ready", "", "False")
    assert "nowhere" in refused["message"]


# ---------------------------------------------------------------- restart, drift, seed


async def test_resize_waits_for_a_restart_and_is_done_by_it(cloud: Cloud) -> None:
    uuid = await cloud.make()
    await cloud.ready()
    await cloud.change(instanceTypeRef=None, resources={"cpus": 2, "memory": "1Gi"})
    waits = await cloud.condition("RestartRequired")
    assert "1 CPUs, declared 2" in waits["message"]
    await cloud.request("Restart")
    await cloud.no_condition("RestartRequired")
    await cloud.ready()
    live = cloud.domain(uuid).live
    assert live is not None and (live.cpus, live.memory) == (2, 1 << 30)
    assert (await cloud.status())["resources"]["cpus"] == 2


async def test_a_definition_changed_by_hand_is_changed_back(cloud: Cloud) -> None:
    uuid = await cloud.make()
    await cloud.ready()
    cloud.faults.edit(await cloud.host_of(), uuid, cpus=7)
    await until(lambda: cloud.domain(uuid).shape.cpus == 1, 15.0, what="changed back")
    await cloud.no_condition("Drifted")


class EndsAfterDefine(RecordingEndPoint):
    """The guest ends after the first Define, just before our look."""

    def __init__(self, cloud: Cloud, connection: Connection, timeout: float) -> None:
        super().__init__(registry.open_endpoint(connection, timeout), connection.host, self._note)
        self._cloud, self._ends = cloud, False

    def observe_instance(self, host: str, uuid: str) -> InstanceFacts | None:
        if self._ends and self._cloud.faults.running(uuid):
            self._ends = False
            self._cloud.faults.stop(host, uuid)
        return super().observe_instance(host, uuid)

    def _note(self, call: Call) -> None:
        self._ends = self._ends or (
            call.name == "Define" and call.done and bool(self._cloud.faults.running(call.subject))
        )


async def test_a_guest_that_ends_while_its_definition_is_changed_back_is_started_again(cloud: Cloud) -> None:
    """Only the look after our own call sees it off: that look wakes nobody."""
    uuid = await cloud.make()
    await cloud.ready()
    await cloud.operator_stops()

    cloud.open_endpoint = lambda connection, timeout: EndsAfterDefine(cloud, connection, timeout)
    await cloud.operator_starts()
    cloud.faults.edit(await cloud.host_of(), uuid, cpus=7)
    await until(lambda: cloud.domain(uuid).shape.cpus == 1, 15.0, what="changed back")

    async def runs_again() -> bool:
        status = await cloud.status()
        return bool(cloud.faults.running(uuid)) and status["runCount"] == 2 and status["state"] == "Running"

    await until(runs_again, 15.0, what="run 2")


async def test_a_definition_changed_by_hand_is_only_shown_with_report(cloud: Cloud) -> None:
    uuid = await cloud.make(driftPolicy="Report")
    await cloud.ready()
    cloud.faults.edit(await cloud.host_of(), uuid, cpus=7)
    await cloud.condition("Drifted", "ChangedByHand")
    await cloud.operator_restarts()
    await cloud.settle()
    await cloud.condition("Drifted", "ChangedByHand")
    assert cloud.domain(uuid).shape.cpus == 7


async def test_a_paused_object_is_observed_and_never_acted_on_its_deletion_included(cloud: Cloud) -> None:
    uuid = await cloud.make()
    await cloud.ready()
    await cloud.annotate(paused="true")
    await cloud.change(runStrategy="Halted")
    await cloud.condition("ReconciliationPaused", "Paused")
    await cloud.delete()
    await cloud.settle()
    assert cloud.faults.running(uuid)
    await cloud.annotate(paused=None)
    await cloud.gone()
    assert cloud.domains(uuid) == []


async def test_m2_the_boot_disk_carries_the_seed_and_a_copy_of_the_mark(cloud: Cloud) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "user-data"},
        "stringData": {"userData": "#!/bin/sh\n"},
    }
    await cloud.api.client.post("/api/v1/namespaces/team-a/secrets", secret, kind="Secret")
    uuid = await cloud.make(
        volumes=[ROOT], networks=[nic(addresses=["10.91.0.60"])],
        cloudInit={"hostname": "web", "userDataSecretRef": {"name": "user-data"}},
    )  # fmt: skip
    await cloud.ready(deadline=20.0)
    pool = cloud.domain(uuid).shape.disks[0].pool
    [disk] = [d for d in cloud.faults.disks(pool) if not d.disk.endswith(".seed")]
    mark = decode(disk.mark)
    assert isinstance(mark, DiskMark) and isinstance(mark.owner, InstanceMark) and mark.owner.uuid == uuid
    content = cloud.faults.companion(pool, f"{disk.disk}.seed")
    seed = json.loads(content or "{}")
    text = json.dumps(seed)
    assert uuid in text and "10.91.0.60/24" in text and "#!/bin/sh" in text and "10.90.0.1" in text
    shown = json.dumps(await cloud.get()) + cloud.domain(uuid).mark
    assert "#!/bin/sh" not in shown
    await cloud.api.client.delete("/api/v1/namespaces/team-a/secrets/user-data", {}, kind="Secret")


async def test_user_data_that_is_not_there_is_named(cloud: Cloud) -> None:
    await cloud.make(volumes=[ROOT], cloudInit={"userDataSecretRef": {"name": "missing"}})
    refused = await cloud.ready("UserDataNotFound", "False", deadline=20.0)
    assert "spec.cloudInit.userDataSecretRef" in refused["message"] and "team-a/missing" in refused["message"]


# ---------------------------------------------------------------- the end


async def test_deletion_gives_the_guest_its_grace_and_waits_for_a_silent_host(cloud: Cloud) -> None:
    uuid = await cloud.make(shutdown={"gracePeriodSeconds": 2})
    await cloud.ready()
    cloud.faults.guest(uuid, shutdown=None)
    host = await cloud.host_of()
    cloud.faults.lose_host(host)
    await cloud.ready("HostUnreachable", "False")
    await cloud.delete()
    told = await cloud.condition("Ready", "HostUnreachable", "False")
    assert host in told["message"]
    await cloud.settle()
    assert cloud.faults.running(uuid)
    cloud.faults.return_host(host)
    await cloud.condition("Deleting", "Stopping", deadline=20.0)
    await cloud.gone()
    assert cloud.domains(uuid) == []


async def test_an_instance_that_never_found_a_place_is_deleted_at_once(cloud: Cloud) -> None:
    await cloud.make(resources={"cpus": 400, "memory": "1Gi"})
    refused = await cloud.condition("Scheduled", "NoHostFits", "False")
    assert "0 of 2 hosts fit" in refused["message"]
    assert (await cloud.status())["placement"]["explanation"]["rejected"]
    await cloud.delete()
    await cloud.gone()
