"""The one place where a host and pools are decided. Reads cache and fleet, keeps assumed reservations.

Called by the Instance and Volume kinds, in the engine's loop: decisions are serial because nothing here awaits.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from controllers.engine.base import Cache, Obj, Services
from controllers.fleet.base import Fleet, HostView, Link
from controllers.logic.capacity import host_capacity, taken
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
from controllers.placement.reservations import Reservation, Reservations
from crds.base import shorten_quantity


class FirstFitScheduler:
    """See `controllers.placement.base.Scheduler`."""

    def __init__(self, services: Services, fleet: Fleet) -> None:
        self._services, self._fleet = services, fleet
        self._reserved = Reservations()

    @property
    def _cache(self) -> Cache:
        return self._services.cache

    @property
    def _now(self) -> float:
        return self._services.now().timestamp()

    def decide(self, instance: Obj[Any, Any], *, avoid: frozenset[str] = frozenset()) -> Decision | Refusal:
        """Raises Refused when something that the instance names is not there."""
        self.forget(instance.uid)
        request = self._request(instance, avoid)
        hosts = hosts_of_zone(self._cache, request.zone)
        result = first_fit(request, self._rows(hosts, request), self._pools())
        explanation = explain(result, len(hosts))
        if isinstance(result, NoFit):
            return Refusal(reason="NoHostFits", message=message(result.misses, len(hosts)), explanation=explanation)
        self._reserve(instance, request, result)
        return Decision(host=result.host, pools=result.pools, explanation=explanation)

    def fits(self, instance: Obj[Any, Any], host: str) -> Refusal | None:
        """Whether a stopped instance may start again where it was; its host is asked alone. An allocation state
        that was Disabled meanwhile does not hold it: it is not new there."""
        self.forget(instance.uid)
        request = self._request(instance, frozenset())
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
        self._reserved.drop(uid)

    def _request(self, instance: Obj[Any, Any], avoid: frozenset[str]) -> Request:
        return requests.build(self._cache, instance, avoid, self._reserved.hosts(self._cache, self._now))

    def choose_pool(self, volume: Obj[Any, Any], size: int) -> Obj[Any, Any] | str:
        """A shared pool of the zone for a volume that nobody placed; else why there is none."""
        self.forget(volume.uid)
        zone, ref = volume.spec.zone_ref.name, volume.spec.volume_type_ref
        vtype = self._cache.get("VolumeType", "", ref.name) if ref else None
        tags = frozenset(vtype.spec.storage_tags) if vtype else frozenset[str]()
        misses, rows = [], self._pools()
        for pool in sorted(self._cache.all("StoragePool"), key=lambda p: p.name):
            if pool.problem or zone not in self._zones_of(pool):
                continue
            row = rows[pool.name]
            if pool.spec.scope.type == "Host":
                misses.append(f"{pool.name} is local to one host: name it in spec.storagePoolRef to use it")
            elif row.closed:
                misses.append(f"{pool.name} {row.closed}")
            elif not tags <= row.tags:
                misses.append(f"{pool.name} lacks tags {', '.join(sorted(tags - row.tags))}")
            elif size > row.free:
                misses.append(f"{pool.name} has {shorten_quantity(row.free)} of the {shorten_quantity(size)} needed")
            else:
                self._reserved.put(volume.uid, Reservation(at=self._now, volumes={pool.name: size}))
                return pool
        told = "; ".join(misses[:5]) or f"zone {zone} has none yet"
        return f"No storage pool takes this volume: {told}."

    def _zones_of(self, pool: Obj[Any, Any]) -> set[str | None]:
        named = pool.spec.scope.zone_ref
        inside = {zone_of(self._cache, host) for host in hosts_in_scope(self._cache, pool.spec.scope)}
        return inside | ({named.name} if named else set())

    # ------------------------------------------------------------ rows

    def _rows(self, hosts: list[Obj[Any, Any]], request: Request) -> Iterator[HostRow]:
        """In the order in which they are asked, each built only when it is."""
        for host in sorted(hosts, key=lambda h: (h.name != request.prefer, h.name)):
            if not host.problem:
                yield self._row(host, request)

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
            closed="is being deleted" if host.deleting else "is in maintenance" if host.spec.maintenance else "",
            disabled=_disabled(effective_allocation(self._cache, host).source),
            dedicated={request.namespace: not refuses(self._cache, host, request.namespace)},
            pools=frozenset(p.name for p in self._cache.all("StoragePool") if _connected(p, host.name)),
            networks=frozenset(u.name for u in (*host.spec.uplinks, *(cluster.spec.uplinks if cluster else ()))),
        )
        if facts is None or cluster is None:
            return row
        given = taken(i for i in placed_on(self._cache, host.name) if i.uid != request.uid)
        capacity = host_capacity(facts, host.spec, cluster.spec.overcommit, cluster.spec.limits, given)
        more_cpus, more_memory = self._reserved.on(host.name, self._cache, self._now)
        return replace(
            row,
            hypervisor=facts.hypervisor,
            architecture=facts.architecture,
            firmware=frozenset(facts.firmware),
            machine_types=frozenset(facts.machine_types),
            cpus=capacity.cpu_limit,
            memory=capacity.memory_limit,
            cpus_used=capacity.cpus_taken + more_cpus,
            memory_used=capacity.memory_taken + more_memory,
            max_guest_cpus=facts.max_instance_cpus,
        )

    def _pools(self) -> Pools:
        promised = self._reserved.promised(self._cache, self._now)
        pools = (p for p in self._cache.all("StoragePool") if not p.problem)
        return {p.name: _pool_row(p, promised.get(p.name, 0)) for p in pools}

    def _reserve(self, instance: Obj[Any, Any], request: Request, result: Fit) -> None:
        sizes: dict[str, int] = {}
        for want in request.volumes:
            pool = result.pools[want.entry]
            sizes[pool] = sizes.get(pool, 0) + want.size
        reservation = Reservation(
            at=self._now, host=result.host, cpus=request.cpus, memory=request.memory, volumes=sizes
        )
        self._reserved.put(instance.uid, reservation)


def _down(host: Obj[Any, Any], view: HostView | None) -> str:
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


def _disabled(source: str) -> str:
    """`Zone zone-1 is Disabled`, in words that fit after the host's name."""
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
