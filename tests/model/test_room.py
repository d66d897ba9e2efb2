"""How many more of each InstanceType fit, as clusters and zones tell it in their status."""

from tests.model.world import World

TYPES = 34


def told(world: World, kind: str, name: str) -> tuple[dict[str, int], int | None]:
    status = (world.store.get(kind, name) or {}).get("status", {})
    return {room["type"]: room["more"] for room in status.get("room", ())}, status.get("roomLeftOut")


def test_hosts_that_are_dedicated_to_somebody_are_room_and_those_for_nobody_are_not(world: World) -> None:
    world.store.create("InstanceType", "small", {"cpus": 1, "memory": "1Gi"})
    world.run_until(lambda: told(world, "HostCluster", "sim-1")[0].get("small"), 60.0, "counted")
    before = told(world, "HostCluster", "sim-1")[0]["small"]
    only = {"dedicatedTo": {"type": "Names", "names": ["somebody"]}}
    world.store.patch("HostCluster", "sim-1", {"spec": only})
    world.run(60.0)
    assert told(world, "HostCluster", "sim-1")[0]["small"] == before > 0
    assert told(world, "Zone", "zone-1")[0]["small"] == before
    world.store.patch("HostCluster", "sim-1", {"spec": {"dedicatedTo": {"type": "None", "names": None}}})
    world.run_until(lambda: told(world, "HostCluster", "sim-1")[0]["small"] == 0, 60.0, "no room for anybody")


def test_types_that_are_not_counted_are_counted_out(world: World) -> None:
    for number in range(TYPES):
        world.store.create("InstanceType", f"type-{number:02}", {"cpus": 1, "memory": "1Gi"})
    for kind, name in (("HostCluster", "sim-1"), ("Zone", "zone-1")):
        world.run_until(lambda: told(world, kind, name)[1] == 2, 60.0, "two are left out")  # noqa: B023
        assert len(told(world, kind, name)[0]) == 32
    world.store.delete("InstanceType", "type-00")
    world.store.delete("InstanceType", "type-01")
    world.run_until(lambda: told(world, "Zone", "zone-1")[1] is None, 120.0, "none is left out")
