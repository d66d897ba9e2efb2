"""How many more of each InstanceType fit, for the status of clusters and zones: cheap, and still while nothing moves.

Called by the HostCluster and Zone kinds when they sum up; counted for a whole zone at once, at most once a second.
"""

from collections.abc import Callable, Mapping
from typing import Any

from controllers.engine.base import Key, Obj, Services
from controllers.fleet.base import Fleet
from controllers.placement.core.asks import Shape
from controllers.placement.core.planner import Planner
from controllers.placement.requests import overhead
from crds.capacity import Room

MOST_TYPES = 32
AT_MOST_EVERY = 1.0
"""Seconds between two counts of one zone."""
LOOK_AGAIN = 2.0


def shape_of(offer: Obj[Any, Any], zone: str) -> Shape:
    """An InstanceType alone: no volumes, no networks, of whichever namespace is admitted."""
    cpus, memory = offer.spec.cpus, offer.spec.memory
    return Shape(
        namespace="", zone=zone, cpus=cpus, memory=memory + overhead(cpus, memory),
        selector=frozenset(offer.spec.host_selector.match_labels.items()),
    )  # fmt: skip


def rounded(number: int) -> int:
    """Down to two digits."""
    step: int = 10 ** max(len(str(number)) - 2, 0)
    return number // step * step


class Rooms:
    """Of all zones, as last counted."""

    def __init__(self, services: Services, fleet: Fleet, planner: Planner, sync: Callable[[], None]) -> None:
        self._services, self._fleet, self._planner, self._sync = services, fleet, planner, sync
        self._counted: dict[str, tuple[float, object, Mapping[str, Mapping[str, int]]]] = {}

    def room(self, asker: Key, before: tuple[Room, ...], zone: str, cluster: str = "") -> tuple[Room, ...]:
        """For a cluster, or a whole zone. What was counted a moment ago is good enough: then `asker` is woken once
        more, a little later; `before`, too, until every host was asked once."""
        if self._fleet.unasked(zone):
            self._services.enqueue(asker, after=LOOK_AGAIN)
            return before
        counted, fresh = self._count(zone)
        if not fresh:
            self._services.enqueue(asker, after=LOOK_AGAIN)
        return tuple(
            Room(type=name, more=rounded(inside.get(cluster, 0) if cluster else sum(inside.values())))
            for name, inside in counted.items()
        )

    @property
    def left_out(self) -> int | None:
        """InstanceTypes that are not counted; None when all are."""
        return max(len(self._offers()) - MOST_TYPES, 0) or None

    def _offers(self) -> list[Obj[Any, Any]]:
        return sorted((o for o in self._services.cache.all("InstanceType") if not o.problem), key=lambda o: o.name)

    def _count(self, zone: str) -> tuple[Mapping[str, Mapping[str, int]], bool]:
        self._sync()
        now = self._services.now().timestamp()
        offers = self._offers()[:MOST_TYPES]
        hosts = self._planner.hosts
        state = (hosts.moved.end, hosts.changed.end, tuple((o.name, o.generation) for o in offers))
        at, seen, counted = self._counted.get(zone, (0.0, None, {}))
        if seen == state or now - at < AT_MOST_EVERY:
            return counted, seen == state
        counted = {o.name: self._planner.room(shape_of(o, zone)) for o in offers}
        self._counted[zone] = (now, state, counted)
        return counted, True
