"""The cache: what it takes for newer, who is woken by what, and that nothing in an object can break it."""

from typing import Any

import pytest

from controllers.engine.base import Key, Obj
from controllers.engine.cache import ObjectCache, Why
from tests.engine.recorders import Racks, Widgets
from tests.engine.widgets import KINDS

RACK, WIDGET = Key("Rack", "", "r"), Key("Widget", "team-a", "one")


def raw(kind: str, name: str, version: int, *, uid: str = "", spec: Any = None, status: Any = None, **meta: Any) -> Any:
    metadata = {"name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version), "generation": 1, **meta}
    if KINDS[kind].namespaced:
        metadata["namespace"] = "team-a"
    return {"metadata": metadata, "spec": spec or {}, "status": status or {}}


class Woken(list[tuple[Key, Why]]):
    def take(self) -> set[tuple[Key, Why]]:
        found = set(self)
        self.clear()
        return found


@pytest.fixture
def woken() -> Woken:
    return Woken()


@pytest.fixture
def cache(woken: Woken) -> ObjectCache:
    return ObjectCache(KINDS, {"Widget": Widgets(), "Rack": Racks()}, lambda key, why: woken.append((key, why)))


def in_rack(version: int, **changes: Any) -> Any:
    return raw("Widget", "one", version, spec={"rackRef": {"name": "r"}}, **changes)


def test_versions_are_compared_as_numbers(cache: ObjectCache) -> None:
    cache.apply("Widget", raw("Widget", "one", 1000, spec={"size": 2}))
    assert not cache.apply("Widget", raw("Widget", "one", 999, spec={"size": 3}, generation=2))
    assert not cache.apply("Widget", raw("Widget", "one", 1000))
    found = cache.at(WIDGET)
    assert found is not None
    assert found.spec.size == 2
    assert cache.apply("Widget", raw("Widget", "one", 10000))


def test_another_uid_is_another_object(cache: ObjectCache, woken: Woken) -> None:
    cache.apply("Rack", raw("Rack", "r", 5, uid="first"))
    cache.apply("Widget", in_rack(6))
    woken.take()
    cache.apply("Rack", raw("Rack", "r", 7, uid="second"))
    assert woken.take() == {(RACK, Why.CHANGED), (WIDGET, Why.REFERRED)}
    assert cache.by_uid("first") is None
    assert cache.by_uid("second") is not None
    assert not cache.remove(RACK, "first"), "a late word of the first does not remove the second"
    assert cache.at(RACK) is not None


def test_what_is_gone_stays_gone(cache: ObjectCache) -> None:
    cache.apply("Widget", raw("Widget", "one", 5))
    assert cache.remove(WIDGET, "uid-one")
    assert not cache.apply("Widget", raw("Widget", "one", 9)), "a late answer does not bring it back"
    assert cache.at(WIDGET) is None


def test_who_refers_to_whom(cache: ObjectCache) -> None:
    cache.apply("Widget", in_rack(5))
    assert [obj.name for obj in cache.referrers(RACK)] == ["one"]
    assert list(cache.referrers(RACK, "Rack")) == []
    cache.apply("Widget", raw("Widget", "one", 6, generation=2))
    assert list(cache.referrers(RACK)) == []


def test_indexes_follow_the_objects(cache: ObjectCache) -> None:
    cache.apply("Widget", raw("Widget", "one", 5, spec={"size": 7}))
    assert [obj.name for obj in cache.indexed("size", "7")] == ["one"]
    cache.apply("Widget", raw("Widget", "one", 6, spec={"size": 8}, generation=2))
    assert list(cache.indexed("size", "7")) == []
    cache.remove(WIDGET, "uid-one")
    assert list(cache.indexed("size", "8")) == []


def test_referrers_are_woken_when_the_signal_changes_and_only_then(cache: ObjectCache, woken: Woken) -> None:
    cache.apply("Widget", in_rack(5))
    woken.take()
    cache.apply("Rack", raw("Rack", "r", 6))
    assert (WIDGET, Why.REFERRED) in woken.take()
    cache.apply("Rack", raw("Rack", "r", 7, status={"total": 3}))
    assert woken.take() == {(RACK, Why.STATUS)}
    ready = {"conditions": [{"type": "Ready", "status": "True", "reason": "Counted"}]}
    cache.apply("Rack", raw("Rack", "r", 8, status=ready))
    assert woken.take() == {(RACK, Why.STATUS), (WIDGET, Why.REFERRED)}
    cache.remove(RACK, "uid-r")
    assert woken.take() == {(WIDGET, Why.REFERRED)}


def test_an_own_write_wakes_others_but_not_the_object(cache: ObjectCache, woken: Woken) -> None:
    cache.apply("Rack", raw("Rack", "r", 5))
    cache.apply("Widget", in_rack(6))
    woken.take()
    ready = {"conditions": [{"type": "Ready", "status": "True", "reason": "Made"}]}
    cache.apply("Widget", in_rack(7, status=ready), own=True)
    assert woken.take() == {(RACK, Why.CHILD)}
    cache.apply("Widget", in_rack(7, status=ready))
    assert woken.take() == set(), "the watch's word of it is no news"


def test_a_parent_hears_of_children_that_come_and_go(cache: ObjectCache, woken: Woken) -> None:
    cache.apply("Rack", raw("Rack", "r", 5))
    woken.take()
    cache.apply("Widget", in_rack(6))
    assert (RACK, Why.CHILD) in woken.take()
    cache.apply("Rack", raw("Rack", "r", 7, deletionTimestamp="2026-01-01T00:00:00Z"))
    woken.take()
    cache.remove(WIDGET, "uid-one")
    assert woken.take() == {(RACK, Why.LAST_CHILD)}


def test_a_spec_is_parsed_once_a_generation_and_a_status_once_a_version(cache: ObjectCache) -> None:
    cache.apply("Widget", raw("Widget", "one", 5, status={"made": 1}))
    first = cache.at(WIDGET)
    cache.apply("Widget", raw("Widget", "one", 6, status={"made": 2}))
    second = cache.at(WIDGET)
    assert first is not None
    assert second is not None
    assert second.spec is first.spec
    assert second.status.made == 2


def test_a_spec_that_cannot_be_read_keeps_the_last_one_that_could(cache: ObjectCache) -> None:
    cache.apply("Widget", raw("Widget", "one", 5, spec={"size": 7}))
    cache.apply("Widget", raw("Widget", "one", 6, spec={"size": "vast"}, generation=2))
    found = cache.at(WIDGET)
    assert found is not None
    assert found.spec.size == 7
    assert "size" in found.problem


def test_an_unreadable_object_is_there_all_the_same(cache: ObjectCache) -> None:
    cache.apply("Widget", raw("Widget", "one", 5, spec={"size": "vast"}, status={"made": "much", "state": "Odd"}))
    found = cache.at(WIDGET)
    assert found is not None
    assert found.problem
    assert (found.status.made, found.status.state) == (None, "Odd")


def test_a_bug_in_a_kinds_functions_loses_no_object() -> None:
    class Broken(Widgets):
        def references(self, obj: Obj[Any, Any]) -> list[Key]:
            raise RuntimeError("bug")

    cache = ObjectCache(KINDS, {"Widget": Broken()}, lambda key, why: None)
    assert cache.apply("Widget", raw("Widget", "one", 5))
    assert cache.at(WIDGET) is not None
