"""What a host inherits from the cluster, rack, zone and region above it. Pure look-ups in the cache.

Used by placement (may something new go there, and whose may it be?), by the fleet (which hosts are in a zone?) and by
the kinds above Host. A missing link is not an error: objects are applied in any order.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from controllers.engine.base import Cache, Key, Obj
from crds.base import NamespaceSet
from crds.host import HostSpec, HostStatus
from crds.hostcluster import HostClusterSpec, HostClusterStatus
from crds.hostpod import HostPodSpec, HostPodStatus
from crds.imagestore import StoreScope
from crds.region import RegionSpec, RegionStatus
from crds.storagepool import PoolScope
from crds.zone import ZoneSpec, ZoneStatus

HostObj = Obj[HostSpec, HostStatus]


@dataclass(frozen=True, slots=True)
class Lineage:
    """The objects above a host or cluster, as far as they are there."""

    cluster: Obj[HostClusterSpec, HostClusterStatus] | None
    pod: Obj[HostPodSpec, HostPodStatus] | None
    zone: Obj[ZoneSpec, ZoneStatus] | None
    region: Obj[RegionSpec, RegionStatus] | None

    @property
    def above(self) -> tuple[Obj[Any, Any], ...]:
        """Those with an allocation state, nearest first."""
        return tuple(o for o in (self.cluster, self.pod, self.zone) if o is not None)


@dataclass(frozen=True, slots=True)
class Allocation:
    """Whether anything new may be placed. `source` says in words what forbids it ("Zone zone-1 is Disabled")."""

    state: str
    source: str = ""

    @property
    def enabled(self) -> bool:
        return self.state == "Enabled"


ENABLED = Allocation("Enabled")


def above_cluster(cache: Cache, cluster: Obj[HostClusterSpec, HostClusterStatus] | None) -> Lineage:
    """A cluster with what it is in."""
    pod = cache.get("HostPod", "", cluster.spec.host_pod_ref.name) if _readable(cluster) else None
    zone = cache.get("Zone", "", pod.spec.zone_ref.name) if _readable(pod) else None
    region = cache.get("Region", "", zone.spec.region_ref.name) if _readable(zone) else None
    return Lineage(cluster, pod, zone, region)


def lineage(cache: Cache, host: HostObj) -> Lineage:
    """What `host` is in."""
    if not _readable(host):
        return Lineage(None, None, None, None)
    return above_cluster(cache, cache.get("HostCluster", "", host.spec.host_cluster_ref.name))


def zone_of(cache: Cache, host: HostObj) -> str | None:
    """Name of the host's zone; None while a link to it is missing."""
    pod = lineage(cache, host).pod
    return pod.spec.zone_ref.name if _readable(pod) else None


def own_allocation(obj: Obj[Any, Any]) -> Allocation:
    """Of one object by itself: one that is being deleted counts as Disabled (design.md §3)."""
    if obj.deleting:
        return Allocation("Disabled", f"{obj.key} is being deleted")
    if _readable(obj) and obj.spec.allocation_state == "Disabled":
        return Allocation("Disabled", f"{obj.key} is Disabled")
    return ENABLED


def effective_allocation(cache: Cache, host: HostObj) -> Allocation:
    """Of a host with all that it inherits; the nearest reason is named first."""
    found = lineage(cache, host)
    for obj in (host, *found.above):
        allocation = own_allocation(obj)
        if not allocation.enabled:
            return allocation
    if found.region is not None and found.region.deleting:
        return Allocation("Disabled", f"{found.region.key} is being deleted")
    return ENABLED


def allows(allowed: NamespaceSet, own: str, namespace: str, labels: Mapping[str, str] | None) -> bool:
    """Whether a NamespaceSet holds `namespace` with these labels (None: unknown, no selector matches).

    `own` is the namespace of the object that carries the set, always in it; "" for cluster-scoped kinds.
    """
    if own and namespace == own:
        return True
    match allowed.type:
        case "All":
            return True
        case "Names":
            return namespace in (allowed.names or ())
        case "Selector":
            wanted = allowed.selector.match_labels if allowed.selector else {}
            return labels is not None and all(labels.get(k) == v for k, v in wanted.items())
    return False


def refuses(cache: Cache, host: HostObj, namespace: str) -> str:
    """ "" if instances of `namespace` may be placed on the host, else who is dedicated to others ("HostPod rack-1")."""
    labels = cache.namespace_labels(namespace)
    for obj in (host, *lineage(cache, host).above):
        if _readable(obj) and not allows(obj.spec.dedicated_to, "", namespace, labels):
            return str(obj.key)
    return ""


def hosts_of_zone(cache: Cache, zone: str) -> list[HostObj]:
    """All Hosts of a zone, being deleted or not, by name."""
    return sorted((h for h in cache.all("Host") if zone_of(cache, h) == zone), key=lambda h: h.name)


def hosts_in_scope(cache: Cache, scope: PoolScope | StoreScope) -> list[HostObj]:
    """The Hosts that a pool or an image store is to be reached from, by name."""
    found: Iterable[HostObj]
    match scope.type:
        case "Host":
            name = scope.host_ref.name if scope.host_ref else ""
            host = cache.get("Host", "", name)
            found = [host] if host else []
        case "HostCluster":
            name = scope.host_cluster_ref.name if scope.host_cluster_ref else ""
            found = (h for h in cache.all("Host") if _readable(h) and h.spec.host_cluster_ref.name == name)
        case "Zone":
            found = hosts_of_zone(cache, scope.zone_ref.name if scope.zone_ref else "")
        case _:
            region = scope.region_ref.name if scope.region_ref else ""
            zones = (lineage(cache, h).zone for h in cache.all("Host"))
            pairs = zip(cache.all("Host"), zones, strict=False)
            found = (h for h, z in pairs if _readable(z) and z.spec.region_ref.name == region)
    return sorted(found, key=lambda h: h.name)


def _readable(obj: Obj[Any, Any] | None) -> TypeGuard[Obj[Any, Any]]:
    return obj is not None and not obj.problem


def in_scope(cache: Cache, scope: PoolScope | StoreScope, host: HostObj) -> bool:
    """Whether a pool or image store of that scope is to be reached from `host`."""
    found = lineage(cache, host)
    match scope.type:
        case "Host":
            return scope.host_ref is not None and scope.host_ref.name == host.name
        case "HostCluster":
            return scope.host_cluster_ref is not None and _named(found.cluster, scope.host_cluster_ref.name)
        case "Zone":
            return scope.zone_ref is not None and _named(found.zone, scope.zone_ref.name)
    return scope.region_ref is not None and _named(found.region, scope.region_ref.name)


def _named(obj: Obj[Any, Any] | None, name: str) -> bool:
    return obj is not None and obj.name == name


def placed_on(cache: Cache, host: str) -> list[Obj[Any, Any]]:
    """The Instances whose placement, or whose migration's target, is that host, by namespace and name."""
    found = []
    for instance in cache.referrers(Key("Host", "", host), "Instance"):
        placement = instance.status.placement
        if placement is not None and (placement.host == host or (placement.target and placement.target.host == host)):
            found.append(instance)
    return found
