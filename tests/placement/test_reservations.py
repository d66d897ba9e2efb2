"""What is decided counts before the API shows it, until it does, or until its writer is given up for dead."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controllers.engine.base import Key, Obj
from controllers.engine.cache import ObjectCache
from controllers.fleet.base import HostView, Link
from controllers.placement import dump
from controllers.placement.base import Decision, Refusal
from controllers.placement.feed import ASSUMED_FOR
from controllers.placement.scheduler import GRANTED_FOR, PlacementScheduler
from crds.kinds import KINDS
from tests.placement.test_whatif import cloud, instance

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)
Raw = dict[str, Any]


class ByHost(ObjectCache):
    """With the one index that the scheduler asks, and no reconciler behind it."""

    def indexed(self, index: str, value: str) -> Iterable[Obj[Any, Any]]:
        return [o for o in self.all("Instance") if o.status.placement and o.status.placement.host == value]


class Desk:
    """The scheduler with a cache that the test fills, hosts that are as their status says, and a clock of its own. Two
    hosts of 8 CPUs. It is its own Services and Fleet, as far as the scheduler uses them."""

    def __init__(self) -> None:
        self.cache = ByHost(KINDS, {}, lambda key, why: None)
        self.seconds = 0.0
        self.woken: list[str] = []
        self.off: dict[str, datetime] = {}
        self._numbers = 0
        self._told: Any = None
        self.show(*cloud())
        self.scheduler = PlacementScheduler(self, self)  # type: ignore[arg-type]

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def enqueue(self, key: Key, *, after: float = 0.0, urgent: bool = False) -> None:
        if urgent:
            self.woken.append(key.name)

    def subscribe(self, told: Any) -> None:
        self._told = told

    def out_of_service(self, host: str) -> datetime | None:
        return self.off.get(host)

    def view(self, host: str) -> HostView | None:
        found = self.cache.get("Host", "", host)
        facts = dump.facts_of(found) if found else None
        return HostView(host=host, link=Link.UP, since=NOW, last_contact=NOW, facts=facts, instances={})

    # ------------------------------------------------------------ what happens

    def show(self, *objects: Raw) -> None:
        for raw in objects:
            self._numbers += 1
            assert dump.put(self.cache, raw, self._numbers) == ""

    def get(self, name: str) -> Obj[Any, Any]:
        found = self.cache.get("Instance", "team-a", name)
        assert found is not None
        return found

    def asks(self, name: str, cpus: int = 8) -> str:
        """Its host; "" when it is refused."""
        if self.cache.get("Instance", "team-a", name) is None:
            self.show(named(name, cpus=cpus))
        result = self.scheduler.decide(self.get(name))
        assert isinstance(result, Decision | Refusal)
        return result.host if isinstance(result, Decision) else ""

    def declare_off(self, host: str) -> None:
        self.off[host] = self.now()
        self._told(host)


def named(name: str, on: str = "", cpus: int = 8) -> Raw:
    return instance(name, on, cpus=cpus)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_what_is_decided_counts_before_the_api_shows_it(desk: Desk) -> None:
    assert {desk.asks("a"), desk.asks("b")} == {"node-1", "node-2"}
    assert desk.asks("c") == ""


def test_a_decision_that_is_never_written_is_given_up_after_a_time(desk: Desk) -> None:
    desk.asks("a"), desk.asks("b"), desk.asks("c")
    desk.seconds = ASSUMED_FOR - 1
    desk.scheduler.retry()
    assert desk.woken == []
    desk.seconds = ASSUMED_FOR + 1
    desk.scheduler.retry()
    assert desk.woken == ["c"]
    assert desk.asks("c") != ""


def test_a_decision_that_the_api_shows_counts_for_as_long_as_it_shows_it(desk: Desk) -> None:
    host = desk.asks("a")
    desk.asks("b")
    assert desk.asks("c") == ""
    desk.show(named("a", on=host))
    desk.seconds = ASSUMED_FOR * 3
    desk.asks("b")
    desk.scheduler.retry()
    assert desk.woken == [] and desk.asks("c") == ""
    desk.cache.remove(Key("Instance", "team-a", "a"), desk.get("a").uid)
    desk.scheduler.retry()
    assert desk.woken == ["c"] and desk.asks("c") == host


def test_a_decision_whose_writer_says_that_it_failed_is_free_at_once(desk: Desk) -> None:
    desk.asks("a"), desk.asks("b"), desk.asks("c")
    desk.scheduler.forget(desk.get("a").uid)
    desk.scheduler.retry()
    assert desk.woken == ["c"]


def test_room_that_was_granted_is_held_for_a_moment_and_then_goes_to_the_next(desk: Desk) -> None:
    desk.asks("a"), desk.asks("b"), desk.asks("c"), desk.asks("d")
    desk.scheduler.forget(desk.get("a").uid)
    desk.scheduler.retry()
    assert desk.woken == ["c"]
    desk.seconds = GRANTED_FOR - 1
    assert desk.asks("d") == ""
    desk.seconds = GRANTED_FOR + 1
    desk.scheduler.retry()
    assert desk.woken == ["c", "d"]
    assert desk.asks("d") != "" and desk.asks("c") == ""


def test_a_start_that_failed_and_fits_nowhere_else_gives_its_room_back(desk: Desk) -> None:
    host = desk.asks("a")
    desk.show(named("a", on=host))
    desk.asks("b"), desk.asks("c")
    failed = named("a", on=host)
    failed["status"] = {"placement": failed["status"]["placement"]}
    desk.show(failed)
    desk.scheduler.retry()
    assert desk.woken == ["c"] and desk.asks("c") == host


def test_h1_what_was_on_a_host_that_is_declared_off_is_wanted_no_more(desk: Desk) -> None:
    away = {"topology": "Host", "required": True, "instanceSelector": {"matchLabels": {"app": "web"}}}
    placed = named("a", on="node-1", cpus=1)
    placed["status"]["placement"]["decidedAt"] = "2026-11-23T10:00:00Z"
    late = instance("late", cpus=1, antiAffinity=[{**away, "topology": "HostCluster"}])
    desk.show(placed, late)
    assert desk.asks("late") == ""
    desk.declare_off("node-1")
    assert desk.asks("late") != ""
