"""What the machine found, each as the shortest story that shows it."""

from drivers.base import Power
from tests.model.manifests import declared
from tests.model.world import HOSTS, TEAM, World, condition


def test_a_reset_asked_for_while_it_starts_does_not_keep_it_from_starting(world: World) -> None:
    """Found: the reset was the aim, nobody asked the hosts whether it runs elsewhere, and it stayed paused for ever."""
    world.make("a", declared())
    world.runs("a")
    host = world.domains("a")[0].host
    world.stop()
    world.lose_host(host, power_loss=True)
    world.return_host(host)
    world.edit("a", power={"action": "ForceStop", "requestedAt": world.moment()})
    world.start()
    world.runs("a")
    world.rest()
    assert [d.power for d in world.domains("a")] == [Power.RUNNING]
    assert world.instance("a")["status"]["lastPowerRequest"]["action"] == "ForceStop"


def test_d1_a_volume_whose_instance_is_gone_says_which_machine_still_has_its_disk(world: World) -> None:
    """Found: it named an Instance that did not exist any more."""
    world.make("a", declared())
    world.runs("a")
    copy = next(host for host in HOSTS if host != world.domains("a")[0].host)
    world.faults.power_off_guest(world.domains("a")[0].host, world.uuid("a"))
    world.stop()
    world.double("a", copy)
    world.tear("Instance", "a")
    world.delete("Volume", "a-root")
    world.start()
    world.rest()
    told = condition(world.store.get("Volume", "a-root", TEAM), "Deleting")
    assert told["reason"] == "InUse"
    assert told["message"].startswith("Instance team-a/a is gone, and its machine team-a.a.")
    assert "remove it there, or adopt it" in told["message"]
    world.remove_orphans()
    world.run_until(lambda: world.store.get("Volume", "a-root", TEAM) is None, 120.0, "the volume goes")


def test_a_guest_that_cannot_be_started_again_is_not_said_to_run(world: World) -> None:
    """Found: Ready stood as it was before the guest ended, for as long as its storage did not answer."""
    world.make("a", declared())
    world.runs("a")
    world.faults.storage_down(world.pool)
    world.faults.stop(world.domains("a")[0].host, world.uuid("a"))
    world.rest()
    ready = condition(world.instance("a"), "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Unreachable")
    assert ready["message"].startswith("It does not run, and could not be started: storage of pool")
    world.faults.storage_down(world.pool, False)
    world.runs("a")


def test_d2_an_instance_whose_disk_is_lost_waits_for_its_volume_instead_of_being_tried_for_ever(world: World) -> None:
    """Found: its host was asked every half minute to start it without the disk."""
    world.make("a", declared())
    world.runs("a")
    world.rest()
    world.faults.power_off_guest(world.domains("a")[0].host, world.uuid("a"))
    world.faults.lose_disk(world.pool, _disk(world, "a-root"))
    world.run(400.0)
    assert condition(world.store.get("Volume", "a-root", TEAM), "Ready")["reason"] == "Lost"
    ready = condition(world.instance("a"), "Ready")
    assert ready["reason"] == "WaitingForVolume" and "Volume a-root: Lost: Disk" in ready["message"]
    world.rest(healed=True)


def test_n2_a_copy_of_a_deleted_instance_is_shown_as_an_orphan_at_once(world: World) -> None:
    """Found: its host showed it at its next resync only."""
    world.make("a", declared())
    world.runs("a")
    uuid, host = world.uuid("a"), world.domains("a")[0].host
    copy = next(other for other in HOSTS if other != host)
    world.edit("a", runStrategy="Halted")
    world.run_until(lambda: not world.faults.running(uuid), 60.0, "off")
    world.rest()
    world.double("a", copy)
    world.run(3.0)
    world.delete("Instance", "a")
    world.run_until(lambda: world.instance("a") is None, 60.0, "gone")
    world.run(5.0)
    left = {d.host for d in world.faults.domains() if d.uuid == uuid}
    shown = {
        h for h in HOSTS if any(o["uuid"] == uuid for o in world.store.get("Host", h)["status"].get("orphans", ()))
    }
    assert len(left) == 1 and shown == left


def _disk(world: World, volume: str) -> str:
    status = world.store.get("Volume", volume, TEAM)["status"]
    return f"{status['uuid']}-{status['disk']['n']}"


def test_a_volume_that_cannot_grow_yet_is_ready_all_the_same(world: World) -> None:
    """Found: it stayed PoolNotReachable, and its instance waited, for as long as an orphan ran on the disk."""
    world.store.create("Volume", "v1", {"zoneRef": {"name": "zone-1"}, "size": "1Gi"}, TEAM)
    world.make("a", declared(entries=("v1",)))
    world.runs("a")
    world.rest()
    world.tear("Instance", "a")
    world.kill()
    world.wipe("Volume", "v1")
    world.store.patch("Volume", "v1", {"spec": {"size": "2Gi"}}, TEAM)
    world.start()
    world.rest()
    volume = world.store.get("Volume", "v1", TEAM)
    assert condition(volume, "Ready")["status"] == "True"
    assert condition(volume, "Synced")["reason"] == "Busy"


def test_d3_what_was_removed_is_let_go_also_while_a_start_waits_for_something_else(world: World) -> None:
    """Found: a stopped machine that waited for a new volume kept the one it had before, whose deletion waited for ever."""
    world.store.create("Volume", "v1", {"zoneRef": {"name": "zone-1"}, "size": "1Gi"}, TEAM)
    world.make("a", declared(entries={"v1"}))
    world.runs("a")
    world.faults.remove(world.domains("a")[0].host, world.uuid("a"))
    world.edit("a", volumes=declared(entries={"v2"})["volumes"])
    world.delete("Volume", "v1")
    world.run_until(lambda: world.store.get("Volume", "v1", TEAM) is None, 120.0, "the volume goes")
    assert condition(world.instance("a"), "Ready")["reason"] == "VolumeNotFound"
    world.edit("a", volumes=declared()["volumes"])
    world.runs("a")


def _halted_with_v1(world: World) -> None:
    """Off and defined, with a volume of somebody's."""
    world.store.create("Volume", "v1", {"zoneRef": {"name": "zone-1"}, "size": "1Gi"}, TEAM)
    world.make("a", declared(entries={"v1"}))
    world.runs("a")
    world.edit("a", runStrategy="Halted")
    world.run_until(lambda: not world.faults.running(world.uuid("a")), 60.0, "off")


def test_d3_a_definition_lets_go_of_what_was_removed_while_its_start_waits(world: World) -> None:
    """As above, of one that is off and still defined."""
    _halted_with_v1(world)
    world.stop()
    world.edit("a", runStrategy="Always", volumes=declared(entries={"v2"})["volumes"])
    world.delete("Volume", "v1")
    world.start()
    world.run_until(lambda: world.store.get("Volume", "v1", TEAM) is None, 120.0, "the volume goes")
    assert condition(world.instance("a"), "Ready")["reason"] == "VolumeNotFound"


def test_d3_a_copy_of_the_definition_on_another_host_lets_go_too(world: World) -> None:
    """Found: an administrator had copied the definition of one that was off, and nobody took the removed disk off it."""
    _halted_with_v1(world)
    world.double("a", next(h for h in HOSTS if h != world.domains("a")[0].host))
    world.edit("a", runStrategy="Always", volumes=declared(entries={"v2"})["volumes"])
    world.delete("Volume", "v1")
    world.run_until(lambda: world.store.get("Volume", "v1", TEAM) is None, 120.0, "the volume goes")
    assert condition(world.instance("a"), "Ready")["reason"] == "VolumeNotFound"
    assert len(world.domains("a")) == 2, "where it starts is not decided yet"


def test_n2_nothing_is_made_before_the_disks_of_the_pool_were_listed(world: World) -> None:
    """Found: of a pool that had just been applied again no orphan was known, and a blank disk was made beside one."""
    spec = {"zoneRef": {"name": "zone-1"}, "size": "1Gi", "storagePoolRef": {"name": "pool-1"}}
    world.store.create("Volume", "v1", spec, TEAM)
    world.rest()
    world.stop()
    world.tear("Volume", "v1")
    world.store.wipe_status("StoragePool", "pool-1")
    world.store.create("Volume", "v1", spec, TEAM)
    for host in HOSTS:
        world.hang(host, "list_disks")
    world.start()
    world.run(5.0)
    world.release()
    world.rest()
    assert condition(world.store.get("Volume", "v1", TEAM), "Ready")["reason"] == "OrphanExists"


def test_n2_the_disk_of_one_that_has_just_gone_is_found_before_the_pool_lists_it(world: World) -> None:
    """Found: made again within half a minute, the Volume got a blank disk beside the old one."""
    spec = {"zoneRef": {"name": "zone-1"}, "size": "1Gi"}
    world.store.create("Volume", "v1", spec, TEAM)
    world.rest()
    world.store.create("Volume", "v2", spec, TEAM)
    world.run(2.0)
    disks = {d.disk for d in world.disks()}
    world.tear("Volume", "v1")
    world.run(1.0)
    world.store.create("Volume", "v1", spec, TEAM)
    world.run(10.0)
    ready = condition(world.store.get("Volume", "v1", TEAM), "Ready")
    assert ready["reason"] == "OrphanExists"
    assert {d.disk for d in world.disks()} == disks
    world.annotate("Volume", "v1", "adopt", ready["message"].partition("adopt: ")[2].partition(" ")[0])
    world.run_until(lambda: world.ready("Volume", "v1", TEAM), 60.0, "it is adopted")
    assert {d.disk for d in world.disks()} == disks


def test_a_volume_that_was_deleted_and_is_made_again_waits_for_nothing(world: World) -> None:
    spec = {"zoneRef": {"name": "zone-1"}, "size": "1Gi"}
    world.store.create("Volume", "v1", spec, TEAM)
    world.rest()
    world.delete("Volume", "v1")
    world.run_until(lambda: world.store.get("Volume", "v1", TEAM) is None, 60.0, "it goes")
    world.store.create("Volume", "v1", spec, TEAM)
    world.run_until(lambda: world.ready("Volume", "v1", TEAM), 2.0, "it is there again")


def test_an_address_that_an_instance_shows_is_given_to_no_other_though_nobody_claims_it(world: World) -> None:
    """Found: one that was just adopted has no claim until that of the object before it is gone."""
    world.make("a", declared(nics=1))
    world.runs("a")
    world.annotate("Instance", "a", "paused", "true")
    world.rest()
    address = world.instance("a")["status"]["primaryAddress"]
    world.tear("NetworkAddress", f"lan.{address.replace('.', '-')}")
    spec = declared(nics=1)
    spec["networks"][0]["addresses"] = [address]
    world.make("b", spec)
    world.rest()
    ready = condition(world.instance("b"), "Ready")
    assert ready["reason"] == "AddressTaken" and "Instance team-a/a has it" in ready["message"]
    world.annotate("Instance", "a", "paused", None)
    world.rest()
    assert (
        world.store.get("NetworkAddress", f"lan.{address.replace('.', '-')}", TEAM)["spec"]["claim"]["instance"]["name"]
        == "a"
    )
