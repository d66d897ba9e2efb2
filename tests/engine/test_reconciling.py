"""From an object to its status: what is written, how often, and what is not."""

from typing import Any

import pytest

from controllers import metrics
from controllers.engine.base import Again, Key, Turn
from crds.base import FINALIZER
from tests.engine.harness import Cluster, running, until
from tests.engine.recorders import Racks, Widgets, only

WRITES = ("POST", "PUT", "PATCH", "DELETE")


def writes(kind: str) -> dict[str, float]:
    """Successful writes so far, by verb."""
    found: dict[str, float] = {}
    for sample in next(iter(metrics.API_REQUESTS.collect())).samples:
        labels = sample.labels
        if sample.name.endswith("_total") and labels["kind"] == kind and labels["verb"] in WRITES:
            found[labels["verb"]] = found.get(labels["verb"], 0.0) + sample.value
    return found


async def made(cluster: Cluster, name: str) -> dict[str, Any]:
    return await cluster.until_condition("Widget", name, "Ready", "True", "Made", namespace="team-a")


async def test_a_new_object_is_pending_from_its_first_moment(cluster: Cluster) -> None:
    body = await cluster.create("Widget", "one", {}, namespace="team-a")
    ready = body["status"]["conditions"][0]
    assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "Unknown", "Pending")


async def test_a_new_object_costs_one_finalizer_and_one_status_and_then_nothing(cluster: Cluster) -> None:
    widgets = Widgets(finalizer=True)
    async with running(cluster, only(widgets), resync=0.5):
        before = writes("Widget")
        await cluster.create("Widget", "one", {"size": 3}, namespace="team-a")  # Counted too: the POST.
        await made(cluster, "one")
        await until(lambda: widgets.seen["one"] >= 4, what="resyncs")
        after = writes("Widget")
    assert {verb: after[verb] - before.get(verb, 0.0) for verb in after} == {
        verb: 1.0 if verb in ("POST", "PATCH", "PUT") else 0.0 for verb in after
    }


async def test_the_status_speaks_of_the_generation_that_was_looked_at(cluster: Cluster) -> None:
    async with running(cluster, only(Widgets())):
        await cluster.create("Widget", "one", {"size": 3}, namespace="team-a")
        await made(cluster, "one")
        await cluster.patch("Widget", "one", {"spec": {"size": 4}}, namespace="team-a")

        async def speaks() -> bool:
            status = (await cluster.get("Widget", "one", namespace="team-a") or {})["status"]
            return bool(status.get("observedGeneration") == 2 and status.get("made") == 4)

        await until(speaks)
        ready = await cluster.condition("Widget", "one", "Ready", namespace="team-a")
        assert ready["observedGeneration"] == 2


async def test_a_restarted_engine_only_reads(cluster: Cluster) -> None:
    first, second = Widgets(finalizer=True), Widgets(finalizer=True)
    async with running(cluster, only(first)):
        await cluster.create("Widget", "one", {}, namespace="team-a")
        await made(cluster, "one")
    before = writes("Widget")
    async with running(cluster, only(second)):
        await until(lambda: second.seen["one"])
        await until(lambda: writes("Widget") == before)
    assert writes("Widget") == before


async def test_fields_that_another_hand_wrote_into_the_status_do_not_stay(cluster: Cluster) -> None:
    async with running(cluster, only(Widgets())):
        await cluster.create("Widget", "one", {"size": 3}, namespace="team-a")
        await made(cluster, "one")
        await cluster.patch("Widget", "one", {"status": {"made": 99}}, namespace="team-a", sub="status")

        async def repaired() -> bool:
            return bool((await cluster.get("Widget", "one", namespace="team-a") or {})["status"]["made"] == 3)

        await until(repaired)


async def test_a_wiped_status_is_written_again(cluster: Cluster) -> None:
    async with running(cluster, only(Widgets())):
        await cluster.create("Widget", "one", {"size": 3}, namespace="team-a")
        await made(cluster, "one")
        await cluster.patch("Widget", "one", {"status": None}, namespace="team-a", sub="status")
        await made(cluster, "one")


async def test_w1_what_is_decided_is_saved_and_the_finalizer_is_there_before_the_first_call(cluster: Cluster) -> None:
    seen: list[tuple[Any, Any]] = []

    async def decide_then_act(turn: Turn[Any, Any]) -> None:
        if turn.status.made is None:
            turn.status = turn.status.model_copy(update={"made": 7})
            await turn.save()
            await turn.ensure_finalizer()
            live = await cluster.get("Widget", "one", namespace="team-a") or {}
            seen.append((live["status"].get("made"), live["metadata"].get("finalizers")))

    async with running(cluster, only(Widgets(decide_then_act))):
        await cluster.create("Widget", "one", {}, namespace="team-a")
        await made(cluster, "one")
    assert seen == [(7, [FINALIZER])]


async def test_a_save_in_the_middle_keeps_conditions_that_the_turn_has_not_come_to_yet(cluster: Cluster) -> None:
    seen: list[Any] = []

    async def drifted(turn: Turn[Any, Any]) -> None:
        turn.status = turn.status.model_copy(update={"made": turn.obj.spec.size + 500})
        await turn.save()
        seen.append(turn.obj.condition("Drifted"))
        turn.conditions.set("Drifted", "True", "Memory", "2Gi instead of 1Gi.")

    async with running(cluster, only(Widgets(drifted))):
        await cluster.create("Widget", "one", {}, namespace="team-a")
        await made(cluster, "one")
        await cluster.patch("Widget", "one", {"spec": {"size": 2}}, namespace="team-a")
        await until(lambda: len(seen) >= 2)
    assert seen[0] is None
    assert seen[1]["reason"] == "Memory"


async def test_a_change_under_the_turn_is_a_conflict_and_decided_anew(cluster: Cluster) -> None:
    looked_at: list[int] = []

    async def disturbed(turn: Turn[Any, Any]) -> None:
        looked_at.append(turn.obj.spec.size)
        if len(looked_at) == 1:
            await cluster.patch("Widget", "one", {"spec": {"size": 8}}, namespace="team-a")

    async with running(cluster, only(Widgets(disturbed))):
        await cluster.create("Widget", "one", {"size": 1}, namespace="team-a")
        await made(cluster, "one")
        live = await cluster.get("Widget", "one", namespace="team-a") or {}
    assert (looked_at[0], looked_at[-1]) == (1, 8)
    assert live["status"]["made"] == 8


async def test_a_namesake_made_meanwhile_never_gets_the_status_of_the_one_before(cluster: Cluster) -> None:
    uids: list[str] = []

    async def replaced(turn: Turn[Any, Any]) -> None:
        uids.append(turn.obj.uid)
        if len(uids) == 1:
            await cluster.delete("Widget", "one", namespace="team-a")
            await cluster.create("Widget", "one", {"size": 9}, namespace="team-a")

    async with running(cluster, only(Widgets(replaced))):
        await cluster.create("Widget", "one", {"size": 1}, namespace="team-a")
        await made(cluster, "one")
        live = await cluster.get("Widget", "one", namespace="team-a") or {}
    assert uids[0] != live["metadata"]["uid"]
    assert live["status"]["made"] == 9


async def test_again_comes_back_without_anything_having_happened(cluster: Cluster) -> None:
    async def twice(turn: Turn[Any, Any]) -> Again | None:
        return Again(0.1) if widgets.seen["one"] < 3 else None

    widgets = Widgets(twice)
    async with running(cluster, only(widgets)):
        await cluster.create("Widget", "one", {}, namespace="team-a")
        await made(cluster, "one")
    assert widgets.seen["one"] == 3


async def test_a_parent_sums_up_its_children_whatever_comes_first(cluster: Cluster) -> None:
    async def total(expected: int) -> bool:
        return bool(((await cluster.get("Rack", "r") or {}).get("status") or {}).get("total") == expected)

    racks = Racks()
    async with running(cluster, only(Widgets(), racks)):
        await cluster.create("Widget", "one", {"size": 3, "rackRef": {"name": "r"}}, namespace="team-a")
        await cluster.create("Rack", "r", {})
        await until(lambda: total(3))
        for number in range(20):
            await cluster.create("Widget", f"w{number}", {"rackRef": {"name": "r"}}, namespace="team-a")
        await until(lambda: total(23))
        assert racks.seen["r"] < 15, "children's news are coalesced"
        await cluster.delete("Widget", "one", namespace="team-a")
        await until(lambda: total(20))


async def test_a_parent_that_is_deleted_waits_for_its_children_and_then_goes_at_once(cluster: Cluster) -> None:
    async def gone() -> bool:
        return await cluster.get("Rack", "r") is None

    async with running(cluster, only(Widgets(), Racks()), roll_up=60.0):
        await cluster.create("Rack", "r", {})
        await cluster.create("Widget", "one", {"rackRef": {"name": "r"}}, namespace="team-a")
        await made(cluster, "one")
        await cluster.until_condition("Rack", "r", "Ready", "True")
        await cluster.delete("Rack", "r")
        await cluster.until_condition("Rack", "r", "Deleting", "True", "InUse")
        await cluster.delete("Widget", "one", namespace="team-a")
        await until(gone, 5.0)


@pytest.mark.parametrize("finalizer", [True, False])
async def test_a_deleted_object_is_released_and_forgotten(cluster: Cluster, finalizer: bool) -> None:
    widgets = Widgets(finalizer=finalizer)
    async with running(cluster, only(widgets)) as engine:
        await cluster.create("Widget", "one", {}, namespace="team-a")
        await made(cluster, "one")
        await cluster.delete("Widget", "one", namespace="team-a")
        await until(lambda: engine.cache.get("Widget", "team-a", "one") is None)
        assert await cluster.get("Widget", "one", namespace="team-a") is None
    assert widgets.released == (["one"] if finalizer else [])


async def test_who_is_woken_by_a_turn_sees_what_it_wrote(cluster: Cluster) -> None:
    """Found: who was asked before the write could be reconciled before it, and not again. Nobody else wakes the reader."""
    seen: list[object] = []

    async def step(turn: Turn[Any, Any]) -> Again | None:
        if turn.obj.name == "reader":
            one = widgets.services.cache.get("Widget", "team-a", "one")
            seen.append(one.status.made if one else None)
        elif turn.obj.status.made != turn.obj.spec.size:
            turn.wake(Key("Widget", "team-a", "reader"))
        return None

    widgets = Widgets(step)
    async with running(cluster, only(widgets), resync=600.0):
        await cluster.create("Widget", "reader", {}, namespace="team-a")
        await made(cluster, "reader")
        await cluster.create("Widget", "one", {"size": 3}, namespace="team-a")
        await made(cluster, "one")
        await until(lambda: 3 in seen, what="the reader sees it")
