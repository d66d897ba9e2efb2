"""Which place in the queue a wake gets, and how often a parent is woken for its children."""

from typing import Any

import pytest

from controllers.engine.base import Key, Obj, Reconciler
from controllers.engine.cache import ObjectCache, Why
from controllers.engine.queue import Priority, WorkQueue
from controllers.engine.wakes import Wakes
from tests.engine.recorders import Racks, Widgets
from tests.engine.test_queue import StoppedClock
from tests.engine.widgets import KINDS, WidgetSpec, WidgetStatus


class Placed(Widgets):
    """Like an Instance: not placed until it was made."""

    def comes_first(self, obj: Obj[WidgetSpec, WidgetStatus]) -> bool:
        return obj.status.made is None


def raw(name: str, version: int, **parts: object) -> dict[str, object]:
    metadata = {"name": name, "namespace": "team-a", "uid": name, "resourceVersion": str(version), "generation": 1}
    return {"metadata": {**metadata, **parts.pop("metadata", {})}, "spec": {}, **parts}  # type: ignore[dict-item]


def key(name: str) -> Key:
    return Key("Widget", "team-a", name)


@pytest.fixture
def queue() -> WorkQueue:
    return WorkQueue(backoff_first=1.0, backoff_most=60.0, clock=StoppedClock(), dice=lambda: 1.0)


@pytest.fixture
def wakes(queue: WorkQueue) -> Wakes:
    reconcilers: dict[str, Reconciler[Any, Any]] = {"Widget": Placed(), "Rack": Racks()}
    wakes = Wakes(queue, reconcilers, roll_up=5.0)
    wakes.cache = ObjectCache(KINDS, reconcilers, wakes.wake)
    return wakes


def test_what_waits_to_be_placed_comes_before_all_other_work(queue: WorkQueue, wakes: Wakes) -> None:
    wakes.open()
    wakes.cache.apply("Widget", raw("changed", 1, status={"made": 1}))
    wakes.cache.apply(
        "Widget", raw("going", 2, status={"made": 1}, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    )
    wakes.cache.apply("Widget", raw("new", 3))
    assert [queue.pop() for _ in range(3)] == [key("new"), key("going"), key("changed")]


def test_a_new_object_that_fails_waits_for_its_back_off_like_any_other(queue: WorkQueue, wakes: Wakes) -> None:
    wakes.open()
    wakes.cache.apply("Widget", raw("new", 3))
    assert queue.pop() == key("new")
    queue.failed(key("new"))
    wakes.wake(key("new"), Why.REFERRED)
    assert queue.pop() is None
    wakes.wake(key("new"), Why.CHANGED)
    assert queue.pop() == key("new")


def test_nothing_is_passed_on_before_the_cache_is_whole_and_then_everything(queue: WorkQueue, wakes: Wakes) -> None:
    wakes.cache.apply("Widget", raw("one", 1))
    wakes.enqueue(key("one"), 0.0, Priority.CHANGE)
    assert queue.idle()
    wakes.open()
    assert queue.pop() == key("one")


def test_a_kind_without_reconciler_is_never_queued(queue: WorkQueue, wakes: Wakes) -> None:
    wakes.open()
    wakes.enqueue(Key("Namespace", "", "team-a"), 0.0, Priority.CHANGE)
    assert queue.idle()


@pytest.mark.parametrize(("racks", "again_after"), [(10, 5.0), (200, 20.0)])
def test_many_parents_are_summed_up_as_often_together_as_fifty_would(racks: int, again_after: float) -> None:
    clock = StoppedClock()
    queue = WorkQueue(backoff_first=1.0, backoff_most=60.0, clock=clock, dice=lambda: 1.0)
    wakes = Wakes(queue, {"Rack": Racks()}, roll_up=5.0, clock=clock.now)
    wakes.cache = ObjectCache(KINDS, {"Rack": Racks()}, wakes.wake)
    wakes.open()
    keys = [Key("Rack", "", f"rack-{n}") for n in range(racks)]
    for moment in (0.0, 1.0):
        clock.advance(moment)
        for rack in keys:
            wakes.wake(rack, Why.CHILD)
        clock.advance(0.2)
        for rack in iter(queue.pop, None):
            queue.done(rack, None)
    clock.advance(again_after - 2.0)
    assert queue.pop() is None
    clock.advance(1.0)
    assert len(list(iter(queue.pop, None))) == racks
