"""The one place where a host and pools are decided. Reads cache and fleet, keeps assumed reservations.

Called by the Instance and Volume kinds, in the engine's loop: decisions are serial because nothing here awaits.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from controllers.engine.base import Cache, Obj, Services
from controllers.fleet.base import Fleet, Link
from controllers.logic.capacity import counts, host_capacity, taken
from controllers.logic.inheritance import (
    effective_allocation,
    hosts_in_scope,
    hosts_of_zone,
    lineage,
    own_allocation,
    placed_on,
    refuses,
    zone_of,
)
from controllers.placement import requests
from controllers.placement.base import Decision, Refusal
from controllers.placement.cloud import HostRow, PoolRow, Request
from controllers.placement.explain import explain, message
from controllers.placement.filters import Pools
from controllers.placement.firstfit import Fit, NoFit, first_fit

RESERVED_FOR = 120.0
"""Seconds after which a reservation that never became visible is dropped: its writer died or was refused."""


@dataclass(frozen=True, slots=True)
class Assumed:
    """Decided and not yet visible in the cache."""

    host: str
    cpus: int
    memory: int
    volumes: Mapping[str, int] = field(default_factory=dict)
    """Pool → bytes of volumes to be made there."""
    until: float = 0.0
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    """For (anti-)affinity against what is not visible yet."""


class FirstFitScheduler:
    """See `controllers.placement.base.Scheduler`."""

    def __init__(self, services: Services, fleet: Fleet) -> None:
        self._services, self._fleet = services, fleet
        self._assumed: dict[str, Assumed] = {}

    @property
    def _cache(self) -> Cache:
        return self._services.cache

    def decide(self, instance: Obj[Any, Any], *, avoid: frozenset[str] = frozenset()) -> Decision | Refusal:
        """Raises Refused when something that the instance names is not there."""
        self.forget(instance.uid)
        request = self._with_assumed_peers(requests.build(self._cache, instance, avoid), instance)
        hosts = [self._row(h, request) for h in hosts_of_zone(self._cache, request.zone)]
        pools = self._pools()
        result = first_fit(request, hosts, pools)
        explanation = explain(result, len(hosts))
        if isinstance(result, NoFit):
            return Refusal(reason="NoHostFits", message=message(result.misses, len(hosts)), explanation=explanation)
        self._reserve(instance, request, result)
        return Decision(host=result.host, pools=result.pools, explanation=explanation)

    def fits(self, instance: Obj[Any, Any], host: str) -> Refusal | None:
        """Whether a stopped instance may start again where it was; its host is asked alone. An allocation state
        that was Disabled meanwhile does not hold it: it is not new there."""
        self.forget(instance.uid)
        request = self._with_assumed_peers(requests.build(self._cache, instance, frozenset()), instance)
        request = replace(request, pinned=request.pinned or host, ignore_disabled=True)
        obj = self._cache.get("Host", "", host)
        rows = [self._row(obj, request)] if obj else []
        result = first_fit(request, rows, self._pools())
        if isinstance(result, NoFit):
            text = message(result.misses, len(rows)) if rows else f"Host {host} does not exist."
            return Refusal(reason="NoHostFits", message=text, explanation=explain(result, len(rows)))
        self._reserve(instance, request, result)
        return None

    def forget(self, uid: str) -> None:
        self._assumed.pop(uid, None)

    def choose_pool(self, volume: Obj[Any, Any]) -> Obj[Any, Any] | str:
        """A shared pool of the zone for a volume that nobody placed; else why there is none."""
        vtype = volume.spec.volume_type_ref and self._cache.get("VolumeType", "", volume.spec.volume_type_ref.name)
        tags = frozenset(vtype.spec.storage_tags) if vtype else frozenset[str]()
        misses = []
        rows = self._pools()
        for pool in sorted(self._cache.all("StoragePool"), key=lambda p: p.name):
            zones = {zone_of(self._cache, h) for h in hosts_in_scope(self._cache, pool.spec.scope)}
            if volume.spec.zone_ref.name not in zones:
                continue
            row = rows[pool.name]
            if pool.spec.scope.type == "Host":
                misses.append(f"{pool.name} is local to one host: name it in spec.storagePoolRef to use it")
            elif row.closed:
                misses.append(f"{pool.name} {row.closed}")
            elif not tags <= row.tags:
                misses.append(f"{pool.name} lacks tags {', '.join(sorted(tags - row.tags))}")
            elif (volume.spec.size or 0) > row.free:
                misses.append(f"{pool.name} has too little room")
            else:
                return pool
        told = "; ".join(misses[:5]) or f"zone {volume.spec.zone_ref.name} has none yet"
        return f"No storage pool takes this volume: {told}."

    # ------------------------------------------------------------ rows

    def _row(self, host: Obj[Any, Any], request: Request) -> HostRow:
        above = lineage(self._cache, host)
        view = self._fleet.view(host.name)
        facts = view.facts if view else None
        down = _down(host, view)
        cluster = above.cluster
        row = HostRow(
            name=host.name,
            zone=above.pod.spec.zone_ref.name if above.pod else "",
            pod=above.pod.name if above.pod else "",
            cluster=cluster.name if cluster else "",
            labels=host.labels,
            down=down or ("" if facts else "has not been looked at yet"),
            closed="is in maintenance" if host.spec.maintenance else "",
            disabled=_decapitalise(effective_allocation(self._cache, host).source),
            dedicated={request.namespace: not refuses(self._cache, host, request.namespace)},
            pools=frozenset(p.name for p in self._cache.all("StoragePool") if _connected(p, host.name)),
            networks=frozenset(u.name for u in (*host.spec.uplinks, *(cluster.spec.uplinks if cluster else ()))),
        )
        if facts is None or cluster is None:
            return row
        given = taken(i for i in placed_on(self._cache, host.name) if i.uid != request.uid)
        capacity = host_capacity(facts, host.spec, cluster.spec.overcommit, cluster.spec.limits, given)
        assumed = [a for uid, a in self._pending() if a.host == host.name and uid != request.uid]
        return replace(
            row,
            hypervisor=facts.hypervisor,
            architecture=facts.architecture,
            firmware=frozenset(facts.firmware),
            machine_types=frozenset(facts.machine_types),
            cpus=capacity.cpu_limit,
            memory=capacity.memory_limit,
            cpus_used=capacity.cpus_taken + sum(a.cpus for a in assumed),
            memory_used=capacity.memory_taken + sum(a.memory for a in assumed),
            max_guest_cpus=facts.max_instance_cpus,
        )

    def _pools(self) -> Pools:
        promised: dict[str, int] = {}
        for _, assumed in self._pending(volumes=True):
            for pool, size in assumed.volumes.items():
                promised[pool] = promised.get(pool, 0) + size
        return {p.name: _pool_row(p, promised.get(p.name, 0)) for p in self._cache.all("StoragePool")}

    # ------------------------------------------------------------ reservations

    def _reserve(self, instance: Obj[Any, Any], request: Request, result: Fit) -> None:
        sizes: dict[str, int] = {}
        for want in request.volumes:
            pool = result.pools[want.entry]
            sizes[pool] = sizes.get(pool, 0) + want.size
        until = self._services.now().timestamp() + RESERVED_FOR
        self._assumed[instance.uid] = Assumed(
            result.host, request.cpus, request.memory, sizes, until, instance.namespace, instance.labels
        )

    def _pending(self, *, volumes: bool = False) -> Iterable[tuple[str, Assumed]]:
        """Reservations that the cache does not show yet. Those for volumes last until the Volume objects are there."""
        now = self._services.now().timestamp()
        for uid, assumed in list(self._assumed.items()):
            instance = self._cache.by_uid(uid)
            if instance is None or assumed.until < now:
                del self._assumed[uid]
            elif not _visible(instance, assumed) or (volumes and not self._has_volumes(instance)):
                yield uid, assumed

    def _has_volumes(self, instance: Obj[Any, Any]) -> bool:
        names = [f"{instance.name}-{e.name}" for e in instance.spec.volumes if e.type == "Managed"]
        return all(self._cache.get("Volume", instance.namespace, name) for name in names)

    def _with_assumed_peers(self, request: Request, instance: Obj[Any, Any]) -> Request:
        """Members of an (anti-)affinity term that were decided a moment ago count too."""
        placement = instance.spec.placement
        selectors = [
            term.instance_selector.match_labels
            for terms in ((placement.affinity or (), placement.anti_affinity or ()) if placement else ())
            for term in terms
            if term.required
        ]
        terms = list(request.terms)
        for index, wanted in enumerate(selectors):
            more = {
                requests.domain_of(self._cache, a.host, terms[index].topology)
                for uid, a in self._pending()
                if uid != instance.uid and a.namespace == instance.namespace
                and all(a.labels.get(k) == v for k, v in wanted.items())
            }  # fmt: skip
            terms[index] = replace(terms[index], domains=terms[index].domains | more)
        return replace(request, terms=tuple(terms))


def _visible(instance: Obj[Any, Any], assumed: Assumed) -> bool:
    """Whether the cache counts the instance on that host by itself."""
    placed = instance.status.placement
    return bool(placed and placed.host == assumed.host and counts(instance))


def _down(host: Obj[Any, Any], view: Any) -> str:
    """Why nothing can be started there now, in words that fit after the host's name."""
    if view is None:
        return "is not connected yet"
    if view.link is Link.DOWN:
        return f"not reachable since {view.since:%H:%M}"
    if view.link is not Link.UP:
        return f"is {view.link.lower()}: {view.error}" if view.error else f"is {view.link.lower()}"
    ready = host.condition("Ready") or {}
    if ready.get("status") != "True":
        return f"is not Ready ({ready.get('reason', 'Pending')})"
    return ""


def _connected(pool: Obj[Any, Any], host: str) -> bool:
    return any(h.name == host and h.state == "Ready" for h in pool.status.hosts)


def _decapitalise(source: str) -> str:
    """`Zone zone-1 is Disabled` reads well after a host's name as `disabled: …`."""
    return f"disabled: {source}" if source else ""


def _pool_row(pool: Obj[Any, Any], promised: int) -> PoolRow:
    own = own_allocation(pool)
    capacity = pool.status.capacity.storage if pool.status.capacity else None
    closed = "" if own.enabled else f"is closed: {own.source}"
    if not closed and capacity is None:
        closed = "has not been reached yet"
    free = 0
    if capacity:
        room = capacity.allocatable * pool.spec.limits.allocated_percent // 100 - capacity.allocated - promised
        full = capacity.used * 100 >= capacity.total * pool.spec.limits.used_percent
        free = 0 if full else max(room, 0)
    return PoolRow(name=pool.name, type=pool.spec.type, tags=frozenset(pool.spec.tags), free=free, closed=closed)
