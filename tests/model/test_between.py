"""What comes between two steps of one object: another one's going, a failed write, a restart (found by reading)."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from controllers.engine.base import ApiError
from drivers.base import DiskFacts, PoolDefinition, Power
from drivers.simulated.storage import SimulatedStorage
from tests.model.manifests import declared
from tests.model.store import Obj
from tests.model.world import HOSTS, TEAM, World, condition

BLANK: Obj = {"zoneRef": {"name": "zone-1"}, "size": "1Gi", "storagePoolRef": {"name": "pool-1"}}
CLONE: Obj = {**BLANK, "source": {"type": "Template", "template": {"templateRef": {"name": "tiny"}}}}


def refuse_once(
    world: World, monkeypatch: pytest.MonkeyPatch, verb: str, end: str, which: Callable[[Obj], Any] = lambda _: True
) -> list[Obj]:
    """The first such request is answered by a conflict; its body."""
    serve, refused = world.store.request, list[Obj]()

    def request(asked: str, path: str, body: Mapping[str, Any] | None, accept: str = "") -> Obj:
        if not refused and asked == verb and path.endswith(end) and body is not None and which(dict(body)):
            refused.append(dict(body))
            raise ApiError(409, "Conflict", "somebody changed it")
        return serve(asked, path, body, accept)

    monkeypatch.setattr(world.store, "request", request)
    return refused


def _until_orphan(world: World, volume: str) -> None:
    def reason() -> object:
        return condition(world.store.get("Volume", volume, TEAM), "Ready").get("reason")

    world.run_until(lambda: reason() == "OrphanExists", 120.0, "it waits for the orphan")


def test_n2_the_orphan_of_its_name_is_found_among_more_than_a_status_can_list(world: World) -> None:
    names = [f"v{n:02d}" for n in range(40)]
    for name in names:
        world.store.create("Volume", name, BLANK, TEAM)
    world.run_until(lambda: all(world.ready("Volume", n, TEAM) for n in names), 120.0, "all made")
    world.stop()
    for name in names:
        world.tear("Volume", name)
    world.start()
    world.rest()
    world.store.create("Volume", names[-1], BLANK, TEAM)
    _until_orphan(world, names[-1])


def test_n2_what_became_an_orphan_while_no_operator_ran_is_found_before_a_blank_disk_is_made(world: World) -> None:
    world.store.create("Volume", "v1", BLANK, TEAM)
    world.rest()
    world.kill()
    world.tear("Volume", "v1")
    world.store.create("Volume", "v1", BLANK, TEAM)
    world.start()
    _until_orphan(world, "v1")
    assert len(world.disks()) == 1


def test_d4_the_last_clone_leaves_the_image_to_one_that_is_being_made_from_it(world: World) -> None:
    world.store.create("Volume", "v1", CLONE, TEAM)
    world.rest()
    for host in HOSTS:
        world.hang(host, "clone_disk")
    world.store.create("Volume", "v2", CLONE, TEAM)
    world.run(2.0)
    world.delete("Template", "tiny")
    world.run(1.0)
    world.delete("Volume", "v1")
    world.run_until(lambda: world.store.get("Volume", "v1", TEAM) is None, 60.0, "v1 goes")
    assert any('"Template"' in disk.mark for disk in world.disks())
    world.release()
    world.run_until(lambda: world.ready("Volume", "v2", TEAM), 60.0, "v2 is made")
    world.delete("Volume", "v2")
    world.run_until(lambda: not world.disks(), 120.0, "nothing is left")


def test_d4_a_thick_disk_that_is_retained_keeps_no_image(world: World) -> None:
    world.store.create("VolumeType", "thick", {"provisioning": "Thick"})
    spec = {**CLONE, "volumeTypeRef": {"name": "thick"}, "deletionPolicy": "Retain"}
    world.store.create("Volume", "v1", spec, TEAM)
    world.rest()
    world.delete("Template", "tiny")
    world.run_until(lambda: world.store.get("Template", "tiny", TEAM) is None, 60.0, "the template goes")
    world.delete("Volume", "v1")
    world.run_until(lambda: world.store.get("Volume", "v1", TEAM) is None, 120.0, "v1 goes")
    assert ['"retained"' in disk.mark for disk in world.disks()] == [True]


def test_a_pool_that_is_deleted_goes_after_the_volume_that_was_to_be_made_there(world: World) -> None:
    for host in HOSTS:
        world.hang(host, "copy_image")
    world.store.create("Volume", "v1", CLONE, TEAM)
    world.run(3.0)
    world.store.delete("StoragePool", "pool-1")
    world.run(3.0)
    world.release()
    world.run_until(lambda: world.ready("Volume", "v1", TEAM), 120.0, "the volume is made")
    world.delete("Volume", "v1")
    world.run_until(lambda: world.store.get("StoragePool", "pool-1") is None, 300.0, "the pool goes")


def _orphan(world: World) -> str:
    """The UUID of a running machine whose Instance `a` is gone."""
    world.make("a", declared())
    world.runs("a")
    uuid = world.uuid("a")
    world.tear("Instance", "a")
    return uuid


def _adopt(world: World, uuid: str, **annotations: str) -> None:
    marks = {f"stratiform.dev/{name}": value for name, value in {"adopt": uuid, **annotations}.items()}
    world.store.create("Instance", "a", {"zoneRef": {"name": "zone-1"}, **declared()}, TEAM, annotations=marks)


def test_n2_an_adoption_that_was_paused_goes_on(world: World) -> None:
    uuid = _orphan(world)
    _adopt(world, uuid, paused="true")
    world.rest()
    world.annotate("Instance", "a", "paused", None)
    world.runs("a")
    assert [(d.uuid, d.power) for d in world.faults.domains()] == [(uuid, Power.RUNNING)]


def test_n2_an_adoption_whose_turn_ended_before_the_mark_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    uuid = _orphan(world)
    refuse_once(world, monkeypatch, "PATCH", "/instances/a")
    _adopt(world, uuid)
    world.runs("a")
    assert [(d.uuid, d.power) for d in world.faults.domains()] == [(uuid, Power.RUNNING)]
    world.delete("Instance", "a")
    world.run_until(lambda: world.instance("a") is None, 60.0, "it goes")
    assert not world.faults.domains()


def test_a_machine_about_which_a_call_ended_nobody_knows_how_is_looked_at_before_it_is_let_go(world: World) -> None:
    world.make("a", declared())
    world.runs("a")
    host, uuid = world.domains("a")[0].host, world.uuid("a")
    assert world.life is not None
    book = world.life.wiring._fleet.book
    book.begin(host, uuid)
    book.end(host, uuid, world.clock.monotonic(), known=False)
    world.delete("Instance", "a")
    world.run_until(lambda: world.instance("a") is None, 60.0, "it goes")
    assert not world.faults.domains()


def test_the_address_of_a_machine_on_a_silent_host_is_kept_when_its_instance_is_torn_away(world: World) -> None:
    world.make("a", declared())
    world.runs("a")
    host = world.domains("a")[0].host
    world.lose_host(host, power_loss=False)
    world.run(30.0)
    world.tear("Instance", "a")
    [claim] = world.store.all("NetworkAddress")
    name = claim["metadata"]["name"]

    def told() -> Obj:
        return condition(world.store.get("NetworkAddress", name, TEAM), "Ready")

    world.run_until(lambda: told().get("reason") == "HeldByOrphan", 120.0, "it is held")
    assert f"Host {host}, which does not answer" in told()["message"]


def test_n3_who_waits_for_a_uuid_has_it_soon_after_its_holder_went(world: World) -> None:
    uuid = "1b671a64-40d5-491e-99b0-da01ff1f3341"
    world.make("a", {**declared(nics=0), "uuid": uuid})
    world.runs("a")
    world.make("b", {**declared(nics=0), "uuid": uuid})
    world.run_until(lambda: condition(world.instance("b"), "Ready").get("reason") == "UUIDTaken", 10.0, "b waits")
    world.delete("Instance", "a")
    world.run_until(lambda: world.instance("a") is None, 60.0, "a goes")
    world.run_until(lambda: condition(world.instance("b"), "Ready").get("reason") == "Running", 15.0, "b runs")


def test_what_one_host_has_just_made_and_another_does_not_show_yet_is_taken_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with NFS, whose clients believe their copy of a folder for up to a minute."""
    look, remove = SimulatedStorage.observe_disk, SimulatedStorage.delete_disk
    last = HOSTS[-1]

    def observe_disk(storage: SimulatedStorage, pool: PoolDefinition, disk: str) -> DiskFacts | None:
        return look(storage, pool, disk) if storage._gate.host == last else None

    def delete_disk(storage: SimulatedStorage, pool: PoolDefinition, disk: str, uid: str) -> None:
        if storage._gate.host == last:
            remove(storage, pool, disk, uid)

    world.store.create("Volume", "v1", CLONE, TEAM)
    world.run_until(lambda: world.ready("Volume", "v1", TEAM), 30.0, "v1 is made")
    assert len(world.disks()) == 2
    monkeypatch.setattr(SimulatedStorage, "observe_disk", observe_disk)
    monkeypatch.setattr(SimulatedStorage, "delete_disk", delete_disk)
    world.delete("Volume", "v1")
    world.delete("Template", "tiny")
    world.run_until(lambda: world.store.get("Volume", "v1", TEAM) is None, 60.0, "v1 goes")
    world.run_until(lambda: world.store.get("Template", "tiny", TEAM) is None, 60.0, "the template goes")
    assert not world.disks()


def test_d1_a_volume_whose_first_attachment_could_not_be_written_waits_for_no_silent_host(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.lose_host(HOSTS[-1], power_loss=False)
    world.run(30.0)
    refused = refuse_once(
        world, monkeypatch, "PUT", "/volumes/a-root/status", lambda body: body["status"].get("attachments")
    )
    world.make("a", declared())
    world.runs("a")
    assert refused


def test_a_reserved_address_is_taken_by_one_of_two_that_start_together(world: World) -> None:
    claim = {"type": "Reserved", "reserved": {"namespace": TEAM}}
    spec = {"networkRef": {"name": "lan"}, "address": "10.91.0.55", "claim": claim}
    world.store.create("NetworkAddress", "lan.10-91-0-55", spec, TEAM)
    nic = {"name": "lan", "networkRef": {"name": "lan"}, "addresses": ["10.91.0.55"]}
    for name in ("a", "b"):
        world.make(name, {**declared(), "networks": [nic]})

    def reasons() -> list[str]:
        return sorted(str(condition(world.instance(name), "Ready").get("reason")) for name in ("a", "b"))

    world.run_until(lambda: reasons() == ["AddressTaken", "Running"], 120.0, "one has it")


def test_a_host_whose_object_was_torn_away_holds_its_machine_no_more(world: World) -> None:
    old, new = world.store.get("Host", HOSTS[0]), world.store.get("Host", HOSTS[1])
    assert old is not None and new is not None
    world.store.delete("Host", HOSTS[1])
    world.run_until(lambda: world.store.get("Host", HOSTS[1]) is None, 60.0, "its name is free")
    world.faults.set_host(HOSTS[1], machine_id=old["status"]["machineID"])
    world.store.delete("Host", HOSTS[0])
    world.store.patch("Host", HOSTS[0], {"metadata": {"finalizers": None}})
    world.store.create("Host", HOSTS[1], new["spec"])
    world.run_until(lambda: world.ready("Host", HOSTS[1]), 60.0, "it is the machine's host")


def test_after_a_start_the_address_of_one_that_was_torn_away_waits_for_hosts_that_are_silent(world: World) -> None:
    world.make("a", declared())
    world.runs("a")
    host = world.domains("a")[0].host
    world.kill()
    world.lose_host(host, power_loss=False)
    world.tear("Instance", "a")
    world.start()

    def told() -> str:
        [claim] = world.store.all("NetworkAddress")
        return str(condition(claim, "Ready").get("message"))

    world.run_until(lambda: f"on Host {host}, not heard of now" in told(), 120.0, "it waits for the host")
    world.return_host(host)
    world.run_until(lambda: "remove the machine there" in told(), 120.0, "the machine is seen")
    world.remove_orphans()
    world.run_until(lambda: not world.store.all("NetworkAddress"), 120.0, "it is free")
