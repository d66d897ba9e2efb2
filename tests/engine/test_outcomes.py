"""What becomes of a reconcile that ends in a "no", an error or a bug: conditions, events, the next try, the others."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from controllers import metrics
from controllers.engine.base import ApiError, NotLeader, Refused, Turn
from crds.base import PAUSED
from drivers.errors import BadImage, Busy, Unreachable
from tests.engine.harness import Cluster, running, until
from tests.engine.recorders import Widgets, only

Step = Callable[[Turn[Any, Any]], Awaitable[None]]


def failing(error: Exception, times: int = 10**9) -> Step:
    count = 0

    async def step(turn: Turn[Any, Any]) -> None:
        nonlocal count
        count += 1
        if turn.obj.name == "bad" and count <= times:
            raise error

    return step


async def conditions_after(cluster: Cluster, error: Exception) -> dict[str, tuple[str, str, str]]:
    """Type → (status, reason, message) once a first reconcile has ended with that error."""
    async with running(cluster, only(Widgets(failing(error)))):
        await cluster.create("Widget", "bad", {}, namespace="team-a")
        await until(lambda: has_synced(cluster))
    found = (await cluster.get("Widget", "bad", namespace="team-a") or {})["status"]["conditions"]
    return {entry["type"]: (entry["status"], entry["reason"], entry["message"]) for entry in found}


async def has_synced(cluster: Cluster) -> bool:
    return bool(await cluster.condition("Widget", "bad", "Synced", namespace="team-a"))


TABLE: list[tuple[str, Exception, dict[str, tuple[str, str]]]] = [
    (
        "a refusal is no failed attempt",
        Refused("NoRack", "no rack"),
        {"Ready": ("False", "NoRack"), "Synced": ("True", "Reconciled")},
    ),
    (
        "a refusal may say that the attempt failed",
        Refused("NotEmpty", "not empty", synced=False),
        {"Ready": ("False", "NotEmpty"), "Synced": ("False", "NotEmpty")},
    ),
    (
        "a refusal of another condition holds back readiness",
        Refused("NoHostFits", "0 of 3", type_="Scheduled"),
        {"Ready": ("False", "NoHostFits"), "Scheduled": ("False", "NoHostFits"), "Synced": ("True", "Reconciled")},
    ),
    (
        "what nobody else can help is stalled",
        Refused("RunsTwice", "both", stalled=True),
        {"Ready": ("False", "RunsTwice"), "Stalled": ("True", "RunsTwice"), "Synced": ("True", "Reconciled")},
    ),
    (
        "a thing never looked at, whose platform is silent, is unknown",
        Unreachable("node-1: timed out"),
        {"Ready": ("Unknown", "Unreachable"), "Synced": ("False", "Unreachable")},
    ),
    (
        "a platform's no makes it not ready",
        BadImage("checksum differs"),
        {"Ready": ("False", "BadImage"), "Synced": ("False", "BadImage")},
    ),
    (
        "the API server's no is told",
        ApiError(403, "Forbidden", "may not"),
        {"Ready": ("Unknown", "Pending"), "Synced": ("False", "APIRefused")},
    ),
    (
        "a bug is told without its text",
        ValueError("hunter2"),
        {"Ready": ("Unknown", "Pending"), "Synced": ("False", "InternalError")},
    ),
]


@pytest.mark.parametrize(("error", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
async def test_conditions(cluster: Cluster, error: Exception, expected: dict[str, tuple[str, str]]) -> None:
    found = await conditions_after(cluster, error)
    assert {type_: entry[:2] for type_, entry in found.items()} == expected
    assert "hunter2" not in str(found)


async def test_what_was_seen_stays_while_the_platform_is_silent(cluster: Cluster) -> None:
    silent = False

    async def step(turn: Turn[Any, Any]) -> None:
        if silent:
            raise Unreachable("node-1: timed out")
        turn.conditions.set("Drifted", "True", "Memory")

    async with running(cluster, only(Widgets(step)), resync=0.3):
        await cluster.create("Widget", "bad", {}, namespace="team-a")
        await cluster.until_condition("Widget", "bad", "Ready", "True", namespace="team-a")
        silent = True
        await cluster.until_condition("Widget", "bad", "Synced", "False", "Unreachable", namespace="team-a")
        assert (await cluster.condition("Widget", "bad", "Ready", namespace="team-a"))["status"] == "True"
        assert (await cluster.condition("Widget", "bad", "Drifted", namespace="team-a"))["status"] == "True"
        silent = False
        await cluster.until_condition("Widget", "bad", "Synced", "True", namespace="team-a")


async def test_a_bug_in_one_object_is_contained(cluster: Cluster) -> None:
    before = metrics.BUGS.labels("Widget")._value.get()
    async with running(cluster, only(Widgets(failing(KeyError("oops"), times=3)))):
        for name in ("bad", "good", "better"):
            await cluster.create("Widget", name, {}, namespace="team-a")
        for name in ("good", "better"):
            await cluster.until_condition("Widget", name, "Ready", "True", namespace="team-a")
        await cluster.until_condition("Widget", "bad", "Ready", "True", namespace="team-a")
    assert metrics.BUGS.labels("Widget")._value.get() > before


async def test_a_busy_platform_is_asked_again_until_it_is_free(cluster: Cluster) -> None:
    widgets = Widgets(failing(Busy("a job runs"), times=4))
    async with running(cluster, only(widgets)):
        await cluster.create("Widget", "bad", {}, namespace="team-a")
        await cluster.until_condition("Widget", "bad", "Ready", "True", namespace="team-a")
    assert widgets.seen["bad"] == 5


async def test_w6_without_the_lease_nothing_is_written(cluster: Cluster) -> None:
    widgets = Widgets(failing(NotLeader()))
    async with running(cluster, only(widgets)):
        await cluster.create("Widget", "bad", {}, namespace="team-a")
        await until(lambda: widgets.seen["bad"] >= 2)
    assert not await has_synced(cluster)


async def test_each_transition_makes_one_event(cluster: Cluster) -> None:
    async def step(turn: Turn[Any, Any]) -> None:
        turn.event("Polished", "It shines.")
        if turn.obj.spec.size > 100:
            raise Refused("TooBig", f"spec.size is {turn.obj.spec.size}: at most 100 fit.")

    widgets = Widgets(step)
    async with running(cluster, only(widgets), resync=0.2):
        await cluster.create("Widget", "eventful", {"size": 101}, namespace="team-a")
        await cluster.until_condition("Widget", "eventful", "Ready", "False", "TooBig", namespace="team-a")
        await until(lambda: widgets.seen["eventful"] > 3)
        await cluster.patch("Widget", "eventful", {"spec": {"size": 1}}, namespace="team-a")
        await cluster.until_condition("Widget", "eventful", "Ready", "True", namespace="team-a")

        async def told() -> bool:
            return len(await cluster.events("eventful")) >= 3

        await until(told)
        await until(lambda: widgets.seen["eventful"] > 8)
        found = await cluster.events("eventful")
    assert [(event["type"], event["reason"]) for event in found] == [
        ("Warning", "TooBig"),
        ("Normal", "Polished"),
        ("Normal", "Made"),
    ]
    assert found[0]["note"] == "spec.size is 101: at most 100 fit."


async def test_a_paused_object_is_observed_and_never_acted_on(cluster: Cluster) -> None:
    acted: list[str] = []

    async def step(turn: Turn[Any, Any]) -> None:
        turn.conditions.set("Drifted", "True", "Seen", "Looked at.")
        await widgets.services.lanes.run("l", lambda: None, changes=False, backend="test", name="look")
        await widgets.services.lanes.run("l", lambda: acted.append("x"), changes=True, backend="test", name="act")

    widgets = Widgets(step)
    async with running(cluster, only(widgets)):
        await cluster.create("Widget", "bad", {}, namespace="team-a", annotations={PAUSED: ""})
        await cluster.until_condition("Widget", "bad", "ReconciliationPaused", "True", "Paused", namespace="team-a")
        assert (await cluster.condition("Widget", "bad", "Drifted", namespace="team-a"))["reason"] == "Seen"
        assert acted == []
        await cluster.patch("Widget", "bad", {"metadata": {"annotations": {PAUSED: None}}}, namespace="team-a")
        await cluster.until_condition("Widget", "bad", "Ready", "True", namespace="team-a")
        assert acted == ["x"]
        assert not await cluster.condition("Widget", "bad", "ReconciliationPaused", namespace="team-a")


async def test_a_paused_object_is_not_let_go_either(cluster: Cluster) -> None:
    widgets = Widgets(finalizer=True)
    async with running(cluster, only(widgets), resync=0.3):
        await cluster.create("Widget", "bad", {}, namespace="team-a")
        await cluster.until_condition("Widget", "bad", "Ready", "True", namespace="team-a")
        await cluster.patch("Widget", "bad", {"metadata": {"annotations": {PAUSED: "true"}}}, namespace="team-a")
        await cluster.until_condition("Widget", "bad", "ReconciliationPaused", "True", namespace="team-a")
        await cluster.delete("Widget", "bad", namespace="team-a")
        await until(lambda: widgets.released)
        assert await cluster.get("Widget", "bad", namespace="team-a") is not None
