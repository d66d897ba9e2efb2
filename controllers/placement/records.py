"""From objects to what the engine is fed with: one host, one pool, what one instance takes. Pure look-ups in the cache.

Called by `feed` for what changed, and by `dump` for a whole API at once.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from controllers.engine.base import Cache, Obj
from controllers.fleet.base import HostView, Link
from controllers.logic.capacity import Taken, counts, host_capacity
from controllers.logic.host import frees
from controllers.logic.inheritance import effective_allocation, in_scope, lineage, own_allocation
from controllers.logic.references import some
from controllers.placement.core.asks import Claim, HostWish, TermKey, TermWant
from controllers.placement.core.hosts import Audience, HostRecord
from controllers.placement.core.pools import PoolRecord
from crds.base import NamespaceSet
from crds.hostcluster import Uplink
from crds.instance import InstanceSpec
from crds.instancestatus import InstanceStatus
from drivers.base import HostFacts

InstanceObj = Obj[InstanceSpec, InstanceStatus]
ANYBODY = Audience()
TAGGED: Mapping[str, tuple[bool, ...]] = {"Bridge": (False,), "Simulated": (False, True)}
"""By uplink type: whether it carries untagged networks, VLANs, or both."""
PREFERRED = 50
"""Weight of preferred hosts, or of a preferred term, that give none."""


def host_record(
    cache: Cache, host: Obj[Any, Any], facts: HostFacts | None, down: str, pools: frozenset[str]
) -> HostRecord:
    """`pools`: those that are connected there. Without what our instances take."""
    above = lineage(cache, host)
    cluster = above.cluster if above.cluster is not None and not above.cluster.problem else None
    pod = above.pod if above.pod is not None and not above.pod.problem else None
    disabled = effective_allocation(cache, host).source
    record = HostRecord(
        name=host.name,
        zone=pod.spec.zone_ref.name if pod else "",
        pod=pod.name if pod else "",
        cluster=cluster.name if cluster else "",
        labels=dict(host.labels),
        down=down or ("" if facts else "has not been looked at yet"),
        closed="is being deleted" if host.deleting else "is in maintenance" if host.spec.maintenance else "",
        disabled=f"disabled: {disabled}" if disabled else "",
        dedicated=_dedicated(host, above.above),
        pools=pools,
        networks=reached(host.spec.uplinks, cluster.spec.uplinks if cluster else ()),
    )
    if facts is None or cluster is None:
        return record
    capacity = host_capacity(facts, host.spec, cluster.spec.overcommit, cluster.spec.limits, Taken())
    return replace(
        record,
        hypervisor=facts.hypervisor,
        architecture=facts.architecture,
        firmware=frozenset(facts.firmware),
        machine_types=frozenset(facts.machine_types),
        cpu=why_other_cpu(facts, cluster),
        cpus=capacity.cpu_limit,
        memory=capacity.memory_limit,
        foreign_cpus=capacity.foreign_cpus + host.status.orphan_cpus,
        foreign_memory=capacity.foreign_memory + host.status.orphan_memory,
        max_guest_cpus=facts.max_instance_cpus,
        max_instances=cluster.spec.limits.instances or 0,
        policy=cluster.spec.placement.policy,
    )


def reached(own: Iterable[Uplink], above: Iterable[Uplink]) -> frozenset[tuple[str, bool]]:
    """(physical network, whether by VLAN) by uplinks that are honoured (logic/uplinks.py); a Host's entry of
    a name wins over its cluster's."""
    by_name = {uplink.name: uplink for uplink in (*above, *own)}
    return frozenset((name, tagged) for name, uplink in by_name.items() for tagged in TAGGED.get(uplink.type, ()))


def why_other_cpu(facts: HostFacts, cluster: Obj[Any, Any]) -> str:
    """Why the host cannot give guests the CPU of its HostCluster; "" when it can, or when that is not known. What an
    instance had before does not matter: its CPU is chosen anew at each cold start."""
    spec, known = cluster.spec.cpu, cluster.status.cpu
    if spec.mode == "Named" and spec.model and facts.cpu_models and spec.model not in facts.cpu_models:
        return f"cannot give the CPU model {spec.model} (spec.cpu of HostCluster {cluster.name})"
    if spec.mode != "Baseline" or known is None or known.mode != "Baseline":
        return ""
    if known.model and facts.cpu_models and known.model not in facts.cpu_models:
        return f"cannot give the CPU model {known.model} of HostCluster {cluster.name} (status.cpu)"
    if facts.cpu.features:
        lacking = sorted(set(known.features) - set(facts.cpu.features))
        if lacking:
            return f"lacks CPU features {some(lacking)} of HostCluster {cluster.name} (status.cpu)"
    return ""


def why_down(host: Obj[Any, Any], view: HostView | None) -> str:
    """Why nothing can be started there now, in words that fit after the host's name; "" for a Ready host."""
    if view is None:
        return "is not connected yet"
    if view.link is Link.DOWN:
        return f"not reachable since {view.since:%H:%M}"
    if view.link is not Link.UP:
        return f"is {view.link.lower()}: {view.error}" if view.error else f"is {view.link.lower()}"
    return not_ready(host)


def not_ready(host: Obj[Any, Any]) -> str:
    ready = host.condition("Ready") or {}
    return "" if ready.get("status") == "True" else f"is not Ready ({ready.get('reason', 'Pending')})"


def disks_of(volume: Obj[Any, Any]) -> dict[str, int]:
    """Pool → bytes that the volume takes or will take there, made or to be made; two while it is copied."""
    if volume.problem:
        return {}
    status, ref = volume.status, volume.spec.storage_pool_ref
    size = max(status.size or 0, volume.spec.size or 0)
    pools = {copy.pool for copy in (status.disk, status.pending) if copy is not None}
    return dict.fromkeys(pools or ({ref.name} if ref else set()), size)


def pool_record(pool: Obj[Any, Any], given: int, templates: frozenset[str]) -> PoolRecord:
    """`given`: bytes of all volumes there, made or to be made. The sum in the pool's status lags behind it."""
    own = own_allocation(pool)
    capacity = pool.status.capacity.storage if pool.status.capacity else None
    closed = "" if own.enabled else f"is closed: {own.source}"
    if not closed and capacity is None:
        closed = "has not been reached yet"
    free = most = 0
    if capacity:
        most = capacity.allocatable * pool.spec.limits.allocated_percent // 100
        full = capacity.used * 100 >= capacity.total * pool.spec.limits.used_percent
        free = 0 if full else max(most - given, 0)
    return PoolRecord(
        name=pool.name,
        type=pool.spec.type,
        tags=frozenset(pool.spec.tags),
        free=free,
        capacity=most,
        closed=closed,
        templates=templates,
    )


def hosts_of_pool(cache: Cache, pool: Obj[Any, Any]) -> frozenset[str]:
    """Hosts on which it is connected. The status names at most 256, those that do not reach it first: where it has
    room for all of these, the hosts in scope that it does not name reach it."""
    listed = {h.name: h.state == "Ready" for h in pool.status.hosts}
    ready = {name for name, is_ready in listed.items() if is_ready}
    count = pool.status.host_count
    if count is not None and count.total > len(listed) and ready:
        ready |= {h.name for h in cache.all("Host") if h.name not in listed and in_scope(cache, pool.spec.scope, h)}
    return frozenset(ready)


def declared_off(host: Obj[Any, Any]) -> datetime | None:
    """H1: the moment at which it was powered off, where its status says that this is valid. For who has no fleet."""
    word = host.spec.out_of_service
    return word.declared_at if word is not None and host.is_true("OutOfService") else None


def claim_of(instance: InstanceObj, declared: Callable[[str], datetime | None]) -> Claim | None:
    """What the instance holds by its status; None while it is placed nowhere, or only where it was before that host
    went out of service (H1: `declared` says when). A stopped one holds its place against anti-affinity alone (W7)."""
    placed = instance.status.placement
    if instance.problem or placed is None or frees(declared(placed.host or ""), placed.decided_at):
        return None
    hosts = {placed.host, placed.target.host if placed.target else None}
    resources, run = instance.status.resources, instance.status.last_run
    running = resources is not None and counts(instance)
    if not any(hosts):
        return None
    return Claim(
        namespace=instance.namespace,
        name=instance.name,
        labels=frozenset(instance.labels.items()),
        hosts=tuple(sorted(h for h in hosts if h)),
        cpus=resources.cpus if running and resources else 0,
        memory=resources.memory + resources.overhead if running and resources else 0,
        starting=running and (run is None or run.ended_at is not None),
        carried=tuple(w.key for w in terms_of(instance) if w.anti and not w.weight),
    )


def terms_of(instance: InstanceObj) -> tuple[TermWant, ...]:
    placement = instance.spec.placement
    if placement is None:
        return ()
    return tuple(
        TermWant(
            TermKey(instance.namespace, frozenset(term.instance_selector.match_labels.items()), term.topology),
            anti,
            0 if term.required else term.weight or PREFERRED,
        )
        for anti, terms in ((False, placement.affinity or ()), (True, placement.anti_affinity or ()))
        for term in terms
    )


def wishes_of(instance: InstanceObj) -> tuple[HostWish, ...]:
    placement = instance.spec.placement
    return tuple(
        HostWish(frozenset(wish.host_selector.match_labels.items()), wish.weight or PREFERRED)
        for wish in (placement.preferred_hosts if placement else ())
    )


def _dedicated(host: Obj[Any, Any], above: Iterable[Obj[Any, Any]]) -> tuple[Audience, ...]:
    found = (audience(obj.spec.dedicated_to) for obj in (host, *above) if not obj.problem)
    return tuple(a for a in found if a != ANYBODY)


def audience(allowed: NamespaceSet) -> Audience:
    """A NamespaceSet of a cluster-scoped object by value."""
    selector = allowed.selector.match_labels if allowed.selector else {}
    return Audience(allowed.type, frozenset(allowed.names or ()), frozenset(selector.items()))
