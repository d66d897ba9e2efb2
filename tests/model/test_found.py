"""What the machine found, each as the shortest story that shows it."""

from drivers.base import Power
from tests.model.machine import declared
from tests.model.world import TEAM, World, condition


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
    copy = next(host for host in ("node-1", "node-2", "node-3") if host != world.domains("a")[0].host)
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
