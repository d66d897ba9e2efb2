"""What waits for a host is placed within two seconds of what lets it in, long before it would ask again by itself.

Seconds are those of the model's clock: how fast the machine is does not matter.
"""

import pytest

from controllers import metrics
from drivers.base import Power
from drivers.errors import Busy
from tests.model.manifests import declared, resources
from tests.model.store import Obj
from tests.model.world import HOSTS, MEMORY, TEAM, World, condition

SOON = 2.0
LONG = 300.0
"""After so long it asks by itself only every few minutes."""


def full(world: World) -> Obj:
    """One big instance on each host; the spec of another, for which there is no room."""
    most = declared(size=(1, f"{MEMORY * 6 // 10}Gi"))
    for number, _ in enumerate(HOSTS):
        world.make(f"big-{number}", most)
        world.runs(f"big-{number}")
    return most


def free(world: World) -> None:
    """One of them goes."""
    world.delete("Instance", "big-0")
    world.run_until(lambda: world.instance("big-0") is None, 60.0, "it is gone")


def waits(world: World, name: str) -> None:
    world.run_until(lambda: _scheduled(world, name) == ("False", "NoHostFits"), 60.0, f"{name} waits")
    world.run(LONG)
    assert _scheduled(world, name) == ("False", "NoHostFits")


def placed_soon(world: World, name: str) -> None:
    world.run_until(lambda: _scheduled(world, name)[0] == "True", SOON, f"{name} is placed")


def _scheduled(world: World, name: str) -> tuple[str, str]:
    found = condition(world.instance(name), "Scheduled")
    return found.get("status", ""), found.get("reason", "")


def test_when_room_was_freed(world: World) -> None:
    most = full(world)
    world.make("late", most)
    waits(world, "late")
    free(world)
    placed_soon(world, "late")


def test_when_an_orphan_that_took_the_room_was_removed(world: World) -> None:
    """Found: a machine whose object is gone ran on, and its room was given away."""
    most = full(world)
    world.tear("Instance", "big-0")
    world.rest()
    world.make("late", most)
    waits(world, "late")
    world.remove_orphans()
    placed_soon(world, "late")


def test_when_room_that_was_kept_for_another_is_kept_no_longer(world: World) -> None:
    """Found: it was told of some 15 s later."""
    small = declared(size=(1, f"{MEMORY * 3 // 10}Gi"))
    for number, _ in enumerate(HOSTS):
        world.make(f"small-{number}", {**small, "placement": {"hostRef": {"name": HOSTS[number]}}})
        world.runs(f"small-{number}")
    there = {"hostRef": {"name": HOSTS[0]}}
    world.make("big", {**declared(size=(1, f"{MEMORY * 8 // 10}Gi")), "placement": {**there, "priority": 5}})
    waits(world, "big")
    world.make("late", {**small, "placement": there})
    waits(world, "late")
    world.edit("big", runStrategy="Halted")
    placed_soon(world, "late")


def test_when_a_start_that_took_the_room_is_not_wanted_any_more(world: World) -> None:
    """Found: the room of one that waited for its volume was given back two minutes later."""
    there = {"placement": {"hostRef": {"name": HOSTS[0]}}, "runStrategy": "Manual"}
    most = {**declared(size=(1, f"{MEMORY * 6 // 10}Gi")), **there}
    world.faults.fail(None, call="clone_disk", error=Busy)
    world.make("first", most)
    world.edit("first", power={"action": "Start", "requestedAt": world.moment()})
    world.run_until(lambda: _scheduled(world, "first")[0] == "True", 60.0, "it has its host and waits")
    world.make("late", {**most, "runStrategy": "Always"})
    waits(world, "late")
    world.edit("first", power={"action": "Stop", "requestedAt": world.moment()})
    placed_soon(world, "late")


def test_when_another_whose_company_it_needs_comes_where_there_is_room(world: World) -> None:
    most = declared(size=(1, f"{MEMORY * 6 // 10}Gi"))

    def make_db(name: str, spec: Obj, host: str) -> None:
        spec = {**spec, "zoneRef": {"name": "zone-1"}, "placement": {"hostRef": {"name": host}}}
        world.store.create("Instance", name, spec, TEAM, labels={"app": "db"})
        world.runs(name)

    make_db("first", most, HOSTS[0])
    near = [{"instanceSelector": {"matchLabels": {"app": "db"}}, "topology": "Host", "required": True}]
    world.make("late", {**most, "placement": {"affinity": near}})
    waits(world, "late")
    make_db("second", declared(), HOSTS[1])
    placed_soon(world, "late")


@pytest.mark.parametrize("own", [True, False])
def test_when_room_was_freed_for_one_that_was_stopped(world: World, own: bool) -> None:
    """On the host where it was, or on another one."""
    most = declared(size=(1, f"{MEMORY * 6 // 10}Gi"))
    world.make("late", most)
    world.runs("late")
    home = world.domains("late")[0].host
    world.edit("late", runStrategy="Halted")
    world.run_until(lambda: not world.faults.running(world.uuid("late")), 60.0, "off")
    full(world)
    world.edit("late", runStrategy="Always")
    waits(world, "late")
    explanation = (world.instance("late") or {})["status"]["placement"]["explanation"]
    assert "winner" not in explanation and explanation["nearest"]
    there = {world.domains(f"big-{n}")[0].host: f"big-{n}" for n, _ in enumerate(HOSTS)}
    gone = there[home] if own else next(name for host, name in there.items() if host != home)
    world.delete("Instance", gone)
    world.run_until(lambda: world.instance(gone) is None, 60.0, "it is gone")
    placed_soon(world, "late")


def test_when_a_host_takes_instances_again(world: World) -> None:
    for host in HOSTS:
        world.store.patch("Host", host, {"spec": {"allocationState": "Disabled"}})
    world.make("late", declared())
    waits(world, "late")
    world.store.patch("Host", HOSTS[0], {"spec": {"allocationState": "Enabled"}})
    placed_soon(world, "late")


def test_when_a_host_answers_again(world: World) -> None:
    world.make("late", {**declared(), "placement": {"hostRef": {"name": HOSTS[0]}}})
    world.runs("late")
    world.edit("late", runStrategy="Halted")
    world.lose_host(HOSTS[0], power_loss=False)
    world.run_until(lambda: not world.ready("Host", HOSTS[0]), 60.0, "it is seen to be away")
    world.make("later", {**declared(), "placement": {"hostRef": {"name": HOSTS[0]}}})
    waits(world, "later")
    world.return_host(HOSTS[0])
    world.run_until(lambda: world.ready("Host", HOSTS[0]), 120.0, "the host is back")
    placed_soon(world, "later")


def test_when_a_host_gets_the_label_that_it_needs(world: World) -> None:
    world.make("late", {**declared(), "placement": {"hostSelector": {"matchLabels": {"disk": "ssd"}}}})
    waits(world, "late")
    world.store.patch("Host", HOSTS[1], {"metadata": {"labels": {"disk": "ssd"}}})
    placed_soon(world, "late")


def _of_type(offer: str) -> Obj:
    managed = {"size": "1Gi", "volumeTypeRef": {"name": offer}}
    volumes = [{"name": "root", "type": "Managed", "managed": managed}]
    return {"runStrategy": "Always", "resources": resources((1, "1Gi")), "volumes": volumes}


def test_when_a_pool_gets_the_tag_that_its_volume_needs(world: World) -> None:
    world.store.create("VolumeType", "fast", {"storageTags": ["nvme"]})
    world.make("late", _of_type("fast"))
    waits(world, "late")
    world.store.patch("StoragePool", "pool-1", {"spec": {"tags": ["nvme"]}})
    placed_soon(world, "late")


def test_when_its_volume_type_asks_for_less_or_comes_at_last(world: World) -> None:
    world.store.create("VolumeType", "fast", {"storageTags": ["nvme"]})
    world.make("late", _of_type("fast"))
    waits(world, "late")
    world.store.patch("VolumeType", "fast", {"spec": {"storageTags": []}})
    placed_soon(world, "late")
    world.make("early", _of_type("slow"))
    world.run_until(lambda: condition(world.instance("early"), "Ready")["reason"] == "VolumeTypeNotFound", 60.0, "told")
    world.run(LONG)
    world.store.create("VolumeType", "slow", {})
    placed_soon(world, "early")


@pytest.mark.parametrize("priority", [0, 100])
def test_who_waits_with_more_priority_comes_first(world: World, priority: int) -> None:
    most = full(world)
    world.make("first", most)
    waits(world, "first")
    world.make("second", {**most, "placement": {"priority": priority}})
    waits(world, "second")
    free(world)
    placed_soon(world, "second" if priority else "first")
    assert _scheduled(world, "first" if priority else "second")[0] == "False"


@pytest.mark.parametrize("end", ["deleted", "halted"])
def test_nothing_is_kept_for_one_that_does_not_want_to_run_any_more(world: World, end: str) -> None:
    most = full(world)
    world.make("first", {**most, "placement": {"priority": 100}})
    waits(world, "first")
    if end == "deleted":
        world.delete("Instance", "first")
    else:
        world.edit("first", runStrategy="Halted")
    world.run(30.0)
    world.make("second", most)
    waits(world, "second")
    free(world)
    placed_soon(world, "second")


def test_what_it_is_refused_for_is_told_by_explanation_condition_and_metric_alike(world: World) -> None:
    def counted(reason: str) -> float:
        found = metrics.REGISTRY.get_sample_value("stratiform_placement_rejections_total", {"filter": reason})
        return found or 0.0

    world.store.patch("Host", HOSTS[0], {"spec": {"allocationState": "Disabled"}})
    world.rest()
    before = {reason: counted(reason) for reason in ("Disabled", "HostSelector")}
    world.make("late", {**declared(), "placement": {"hostSelector": {"matchLabels": {"disk": "ssd"}}}})
    waits(world, "late")
    status = (world.instance("late") or {})["status"]
    explanation = status["placement"]["explanation"]
    told = {lost["reason"]: lost["count"] for lost in explanation["rejected"]}
    assert condition(world.instance("late"), "Scheduled")["message"].startswith(explanation["summary"])
    assert told == {"Disabled": 1, "HostSelector": 2}
    assert all(counted(reason) > before[reason] for reason in told)


def test_the_story_of_a_refusal_is_written_when_it_changes_and_not_for_being_looked_at_again(world: World) -> None:
    world.make("late", {**declared(), "placement": {"hostSelector": {"matchLabels": {"disk": "ssd"}}}})
    waits(world, "late")
    before = world.instance("late")
    world.run(2 * LONG)
    assert world.instance("late") == before
    world.store.patch("Host", HOSTS[0], {"metadata": {"labels": {"rack": "left"}}})
    world.run(2 * LONG)
    assert world.instance("late") == before


def test_an_event_tells_when_it_is_refused_for_another_reason(world: World) -> None:
    def events() -> list[str]:
        return [e["note"] for e in world.store.events if e["regarding"]["name"] == "late" and e["type"] == "Warning"]

    world.make("late", {**declared(), "placement": {"hostSelector": {"matchLabels": {"disk": "ssd"}}}})
    waits(world, "late")
    (first,) = events()
    assert "needs label disk=ssd" in first
    world.store.patch("Host", HOSTS[0], {"spec": {"maintenance": True}})
    world.run_until(lambda: any("is in maintenance" in note for note in events()), 60.0, "the event tells")
    told = condition(world.instance("late"), "Scheduled")
    assert (told["reason"], told["message"]) == ("NoHostFits", events()[-1])


def test_h1_a_group_that_keeps_together_is_started_elsewhere_when_its_host_is_declared_off(world: World) -> None:
    """Each of them waited to be where the others were."""
    together = [{"instanceSelector": {"matchLabels": {"group": "g"}}, "topology": "Host", "required": True}]
    for name in ("a", "b"):
        spec = {**declared(), "zoneRef": {"name": "zone-1"}, "placement": {"affinity": together}}
        world.store.create("Instance", name, spec, TEAM, labels={"group": "g"})
        world.runs(name)
    home = world.domains("a")[0].host
    assert world.domains("b")[0].host == home
    world.lose_host(home, power_loss=True)
    world.declare_off(home)

    def hosts() -> set[str]:
        return {d.host for name in ("a", "b") for d in world.domains(name) if d.power is Power.RUNNING}

    world.run_until(lambda: len(hosts()) == 1 and home not in hosts(), 60.0, "both run elsewhere")
