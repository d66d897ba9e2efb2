"""What `kubectl describe` says of an object that is stuck: what it waits for, since when, what comes next, what to do.

One test for each fault that lasts. Since when is the condition's own lastTransitionTime.
"""

from typing import Any

import pytest

from drivers.base import Power
from drivers.errors import AuthenticationFailed
from tests.model.manifests import declared
from tests.model.world import HOSTS, TEAM, World, condition


def _runs(world: World) -> str:
    """Instance a runs; its host."""
    world.make("a", declared())
    world.runs("a")
    world.rest()
    return world.domains("a")[0].host


def _says(world: World, kind: str, name: str, reason: str, *words: str, type_: str = "Ready") -> str:
    """The message, once the condition has that reason: each of the words is in it, in that order."""
    namespace = TEAM if kind in ("Instance", "Volume", "Template", "Network") else ""

    def now() -> dict[str, Any]:
        return condition(world.store.get(kind, name, namespace), type_)

    world.run_until(lambda: now().get("reason") == reason, 120.0, f"{kind} {name}: {reason}")
    world.rest()
    said, at = str(now()["message"]), 0
    assert now()["reason"] == reason and now()["lastTransitionTime"] > "2026"
    for word in words:
        found = said.find(word, at)
        assert found >= 0, f"{word!r} is not in its place in: {said}"
        at = found + len(word)
    return said


def test_a_host_that_is_gone(world: World) -> None:
    host = _runs(world)
    world.lose_host(host, power_loss=False)
    _says(
        world, "Instance", "a", "HostUnreachable", f"Host {host} has not answered since 00:", "no route to host",
        "may run there, so it is not started elsewhere", f"goes on when {host} answers again", "outOfService",
    )  # fmt: skip
    _says(
        world, "Host", host, "Unreachable", "no route to host", "not reachable since 2026-", "tried again by itself",
        "1 instance may run there and wait", "powered off for good, say so by spec.outOfService",
    )  # fmt: skip


def test_a_host_that_is_frozen(world: World) -> None:
    host = _runs(world)
    world.freeze(host)
    _says(world, "Instance", "a", "HostUnreachable", "has not answered since 00:", f"goes on when {host} answers again")
    _says(world, "Host", host, "Unreachable", "not reachable since 2026-", "tried again by itself")


def test_credentials_that_are_refused(world: World) -> None:
    host = _runs(world)
    text = "the certificate of the client has expired"
    world.faults.fail(None, host=host, call="open", error=AuthenticationFailed, text=text)
    world.faults.cut_connections(host)
    _says(
        world, "Host", host, "AuthenticationFailed", text, "not reachable since 2026-", "tried again by itself",
        "its 1 instance may run there and wait for it",
    )  # fmt: skip
    _says(world, "Instance", "a", "HostUnreachable", text)


def test_a_pool_that_nobody_reaches(world: World) -> None:
    _runs(world)
    world.faults.storage_down(world.pool)
    _says(
        world, "StoragePool", "pool-1", "Unreachable", "node-1", "does not answer", "tried again by itself",
        "guests that have disks there are left as they are", "nothing new is placed there",
    )  # fmt: skip
    world.make("b", declared())
    _says(world, "Instance", "b", "NoHostFits", "has no pool for volumes[root] (it reaches no storage pool)")


def test_no_capacity(world: World) -> None:
    world.make("a", declared(size=(64, "1Gi")))
    _says(world, "Instance", "a", "NoHostFits", "0 of 3 hosts fit", "at most 4 CPUs, 64 asked")
    for number in range(10):
        world.make(f"b{number}", declared(size=(1, "512Mi")))
    world.run(60.0)
    short = next(i for i in world.store.all("Instance") if "Nearest" in condition(i, "Ready").get("message", ""))
    _says(world, "Instance", short["metadata"]["name"], "NoHostFits", "0 free", "Nearest: ", "short of 1 CPU")


def test_a_volume_that_another_instance_has(world: World) -> None:
    world.store.create("Volume", "v1", {"zoneRef": {"name": "zone-1"}, "size": "1Gi"}, TEAM)
    world.make("a", declared(entries=("v1",)))
    world.runs("a")
    world.make("b", declared(entries=("v1",)))
    _says(
        world, "Instance", "b", "WaitingForVolume", "spec.volumes[v1]: Volume v1 waits until Instance a has let go of it",
        "delete that, or remove it from its spec.volumes",
    )  # fmt: skip
    _says(world, "Volume", "v1", "InUse", "Instance b waits until a has let go of it")


def test_a_template_that_cannot_be_fetched(world: World) -> None:
    http = {"type": "HTTP", "http": {"url": "http://127.0.0.1:9/x", "checksum": f"sha256:{'0' * 64}"}}
    world.store.create("Template", "t", {"format": "QCOW2", "source": http}, TEAM)
    spec = declared()
    spec["volumes"][0]["managed"]["templateRef"] = {"name": "t"}
    world.make("a", spec)
    told = "On images-1: http://127.0.0.1:9/x: no connection"
    _says(world, "Template", "t", "Unreachable", told)
    _says(world, "Volume", "a-root", "TemplateNotReady", "Template team-a/t is not Ready", told)
    world.run_until(
        lambda: told in str(condition(world.instance("a"), "Ready").get("message")), 60.0, "the whole chain"
    )
    _says(world, "Instance", "a", "WaitingForVolume", "spec.volumes[root] waits for Volume a-root", told)


def test_a_call_that_hangs(world: World) -> None:
    host = _runs(world)
    world.faults.hang(None, host=host, call="Shutdown")
    world.hanging = True
    world.edit("a", runStrategy="Halted")
    world.run(20.0)
    ready = condition(world.instance("a"), "Ready")
    assert ready["reason"] == "HostUnreachable"
    assert f"({host}: Shutdown: no answer in 3 s)" in ready["message"]
    assert f"goes on when {host} answers again" in ready["message"]


@pytest.mark.parametrize("kind", ["Network", "Volume", "Host", "StoragePool"])
def test_a_deletion_that_waits_for_others(world: World, kind: str) -> None:
    host = _runs(world)
    name = {"Network": "lan", "Volume": "a-root", "Host": host, "StoragePool": "pool-1"}[kind]
    world.delete(kind, name, TEAM if kind in ("Network", "Volume") else "")
    who = "1 Volume (team-a/a-root)" if kind == "StoragePool" else "1 Instance (team-a/a)"
    _says(world, kind, name, "InUse", who, "it goes when nothing does any more", type_="Deleting")


def test_a_deletion_that_waits_for_its_host(world: World) -> None:
    host = _runs(world)
    world.lose_host(host, power_loss=True)
    world.delete("Instance", "a")
    _says(
        world, "Instance", "a", "HostUnreachable", f"Host {host} has not answered since", "so it is not deleted yet",
        f"goes on when {host} answers again", "spec.outOfService: then it is deleted", type_="Deleting",
    )  # fmt: skip
    world.declare_off(host)
    world.run_until(lambda: world.instance("a") is None, 60.0, "it goes, as it says")


def test_a_deletion_that_waits_for_its_guest(world: World) -> None:
    _runs(world)
    world.faults.guest(shutdown=None)
    world.edit("a", shutdown={"gracePeriodSeconds": 600})
    world.delete("Instance", "a")
    _says(world, "Instance", "a", "Stopping", "asked to shut down", "its power is cut at 00:10", type_="Deleting")


def test_a_paused_object_and_its_deletion(world: World) -> None:
    _runs(world)
    world.annotate("Instance", "a", "paused", "true")
    _says(
        world, "Instance", "a", "Paused", "annotated stratiform.dev/paused", "before the annotation is removed",
        type_="ReconciliationPaused",
    )  # fmt: skip
    world.delete("Instance", "a")
    _says(world, "Instance", "a", "Paused", "once the annotation stratiform.dev/paused is removed", type_="Deleting")
    world.annotate("Instance", "a", "paused", None)
    world.run_until(lambda: world.instance("a") is None, 60.0, "it goes, as it says")


def test_an_orphan_that_has_its_name(world: World) -> None:
    host = _runs(world)
    uuid = world.uuid("a")
    world.tear("Instance", "a")
    world.make("a", declared())
    _says(
        world, "Instance", "a", "OrphanExists", f"A machine of this name is on {host}", "nothing was made",
        f"stratiform.dev/adopt: {uuid}", f"stratiform.dev/ignore-orphan: {uuid}",
    )  # fmt: skip


def test_a_location_that_is_not_known(world: World) -> None:
    host = _runs(world)
    silent = next(other for other in HOSTS if other != host)
    world.lose_host(host, power_loss=True)
    world.run(5.0)
    world.lose_host(silent, power_loss=False)
    world.run(2.0)
    world.return_host(host)
    _says(
        world, "Instance", "a", "LocationUnknown", "once it is certain that it runs nowhere else",
        f"waiting for {silent} to answer twice", "powered off for good", "outOfService",
    )  # fmt: skip


def test_two_copies(world: World) -> None:
    host = _runs(world)
    other = next(name for name in HOSTS if name != host)
    world.double("a", other)
    _says(
        world, "Instance", "a", "RunsTwice", f"It runs on {min(host, other)} and {max(host, other)} at once",
        "neither is touched", "Shut one of them down by hand",
    )  # fmt: skip
    assert sum(d.power is Power.RUNNING for d in world.domains("a")) == 2


def test_an_api_server_that_does_not_answer(world: World) -> None:
    """Nobody can read anything then; afterwards everything is as before, and nothing was done twice."""
    _runs(world)
    world.api_fails()
    world.run(120.0)
    world.api_returns()
    world.rest()
    assert world.ready("Instance", "a", TEAM) and len(world.domains("a")) == 1
