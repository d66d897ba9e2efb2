"""What clusters, racks, zones and regions sum up from the Hosts and pools below them. Pure look-ups in the cache.

Everything is summed from the leaves, so that one change needs one turn of each parent and no parent waits for another.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from controllers.engine.base import Cache, Key, Obj
from controllers.logic.capacity import add_up, summarise
from controllers.logic.inheritance import HostObj, Lineage, above_cluster, lineage, own_allocation
from crds.capacity import Capacity, Children, Summary

EVERY = 5.0
"""A parent is summed up at most once in so many seconds."""


@dataclass(frozen=True, slots=True)
class Sum:
    """Of some Hosts, with the pools beside them."""

    hosts: Children
    instances: int
    capacity: Capacity | None
    summary: Summary | None


def sum_of(hosts: Iterable[HostObj], pools: Iterable[Obj[Any, Any]] = ()) -> Sum:
    listed = list(hosts)
    parts = [h.status.capacity for h in listed if not h.problem]
    parts += [p.status.capacity for p in pools if not p.problem]
    capacity = add_up(parts)
    return Sum(children(listed), sum(h.status.instances or 0 for h in listed), capacity, summarise(capacity))


def children(objects: Iterable[Obj[Any, Any]]) -> Children:
    listed = list(objects)
    return Children(
        total=len(listed),
        ready=sum(1 for o in listed if o.is_true("Ready")),
        disabled=sum(1 for o in listed if not own_allocation(o).enabled),
    )


def ancestors(cache: Cache, host: HostObj) -> list[Key]:
    """Everything that sums up this Host."""
    found = lineage(cache, host)
    return [o.key for o in (found.cluster, found.pod, found.zone, found.region) if o is not None]


def places_of_pool(cache: Cache, pool: Obj[Any, Any]) -> Lineage:
    """Where a StoragePool stands: for scope Zone the zone alone, else with rack and cluster. Its bytes are counted in
    each of these, so never twice in one."""
    scope = pool.spec.scope
    match scope.type:
        case "Host":
            host = cache.get("Host", "", scope.host_ref.name) if scope.host_ref else None
            return lineage(cache, host) if host else Lineage(None, None, None, None)
        case "HostCluster":
            name = scope.host_cluster_ref.name if scope.host_cluster_ref else ""
            return above_cluster(cache, cache.get("HostCluster", "", name))
    zone = cache.get("Zone", "", scope.zone_ref.name) if scope.zone_ref else None
    region = cache.get("Region", "", zone.spec.region_ref.name) if zone and not zone.problem else None
    return Lineage(None, None, zone, region)


def pools_below(cache: Cache, parent: Key) -> list[Obj[Any, Any]]:
    """StoragePools that stand in that Region, Zone, HostPod or HostCluster."""
    found = []
    for pool in cache.all("StoragePool"):
        if not pool.problem:
            place = places_of_pool(cache, pool)
            if any(o is not None and o.key == parent for o in (place.cluster, place.pod, place.zone, place.region)):
                found.append(pool)
    return found


def hosts_below(cache: Cache, parent: Key) -> list[HostObj]:
    """Hosts in that Region, Zone, HostPod or HostCluster."""
    return [host for host in cache.all("Host") if parent in ancestors(cache, host)]
