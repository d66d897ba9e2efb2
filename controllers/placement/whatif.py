"""What would be, asked of a snapshot: would this fit, how many of it, what if a host were gone, what blocks.

Pure: works on the snapshot's own tables and leaves them as they were. Called by `python -m controllers.placement`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from controllers.engine.base import Obj, Refused
from controllers.logic.attempts import avoided
from controllers.placement import requests
from controllers.placement.core.asks import Ask, Claim, Shape
from controllers.placement.core.filters import FILTERS, REASONS
from controllers.placement.core.hosts import HostRecord
from controllers.placement.core.planner import Planner
from controllers.placement.core.story import Placed
from controllers.placement.dump import Snapshot
from controllers.placement.explain import message
from controllers.placement.room import shape_of

MOST = 100_000
"""Copies after which counting stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """For one instance. `host` "": nowhere, and `why` says why."""

    instance: str
    host: str = ""
    pools: Mapping[str, str] | None = None
    why: str = ""
    was: str = ""
    """The host that it is on now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Without:
    """If these hosts were gone."""

    hosts: tuple[str, ...]
    moved: tuple[Answer, ...]
    homeless: tuple[Answer, ...]

    @property
    def holds(self) -> bool:
        return not self.homeless


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """A host that takes nothing new, or hardly."""

    host: str
    why: str


def fit(snapshot: Snapshot, instances: Iterable[Obj[Any, Any]]) -> list[Answer]:
    """Each as if those before it were there already; what is claimed is given back at the end."""
    claimed: list[tuple[str, Claim | None]] = []
    found = []
    try:
        for instance in instances:
            ask = _ask(snapshot, instance)
            if isinstance(ask, Answer):
                found.append(ask)
            else:
                found.append(_try(snapshot, ask, _name(instance), claimed))
    finally:
        _give_back(snapshot, claimed)
    return found


def how_many(snapshot: Snapshot, instance: Obj[Any, Any]) -> tuple[int, Mapping[str, int], str]:
    """(copies that fit beside all that is there, of them on each host, why no more)."""
    ask = _ask(snapshot, instance)
    if isinstance(ask, Answer):
        return 0, {}, ask.why
    claimed: list[tuple[str, Claim | None]] = []
    hosts: dict[str, int] = {}
    try:
        for number in range(MOST):
            answer = _try(snapshot, replace(ask, uid=f"{ask.uid}/{number}", prefer=""), _name(instance), claimed)
            if not answer.host:
                return number, hosts, answer.why
            hosts[answer.host] = hosts.get(answer.host, 0) + 1
    finally:
        _give_back(snapshot, claimed)
    return MOST, hosts, "not counted further"


def room(snapshot: Snapshot) -> Mapping[str, Mapping[str, int]]:
    """InstanceType → HostCluster → how many more fit now."""
    shapes = {
        (offer.name, zone.name): shape_of(offer, zone.name)
        for offer in snapshot.cache.all("InstanceType")
        for zone in snapshot.cache.all("Zone")
        if not offer.problem
    }
    found: dict[str, dict[str, int]] = {}
    for (name, _), shape in sorted(shapes.items()):
        found.setdefault(name, {}).update(snapshot.planner.room(shape))
    return found


def without(
    snapshot: Snapshot, hosts: Iterable[str], look: Callable[[Planner], None] = lambda planner: None
) -> Without:
    """Everything that runs on these hosts is placed again elsewhere, by priority, the biggest first. `look` is shown
    how it would be."""
    gone = tuple(dict.fromkeys(hosts))
    planner, cache = snapshot.planner, snapshot.cache
    records: list[HostRecord] = []
    claimed: list[tuple[str, Claim | None]] = []
    moved: list[Answer] = []
    homeless: list[Answer] = []
    try:
        for host in gone:
            row = planner.hosts.row(host)
            if row >= 0 and planner.hosts.alive[row]:
                records.append(planner.hosts.records[row])
                planner.remove_host(host)
        for instance in sorted(_running_on(snapshot, gone), key=_urgency):
            ask = _ask(snapshot, instance)
            answer = (
                ask if isinstance(ask, Answer) else _try(snapshot, replace(ask, prefer=""), _name(instance), claimed)
            )
            was = cache.by_uid(instance.uid)
            placed = was.status.placement if was is not None else None
            answer = replace(answer, was=placed.host or "" if placed else "")
            (moved if answer.host else homeless).append(answer)
        look(planner)
    finally:
        for record in records:
            planner.put_host(record)
        _give_back(snapshot, claimed)
    return Without(hosts=gone, moved=tuple(moved), homeless=tuple(homeless))


def each_without(snapshot: Snapshot) -> list[Without]:
    """N+1: one host after the other."""
    return [without(snapshot, [record.name]) for record in snapshot.planner.hosts.live()]


def blocks(snapshot: Snapshot) -> list[Blocked]:
    """Hosts that take not even the smallest InstanceType (or 1 CPU and 256Mi), each with the first thing in its way."""
    planner = snapshot.planner
    found: dict[str, str] = {}
    for zone in sorted({record.zone for record in planner.hosts.live()}):
        offers = [shape_of(o, zone) for o in snapshot.cache.all("InstanceType") if not o.problem]
        smallest = Shape(namespace="", zone=zone, cpus=1, memory=2**28)
        shape = min(offers, key=lambda s: (s.memory, s.cpus), default=smallest)
        view = planner.evaluation(replace(shape, selector=frozenset()))
        for row in range(planner.hosts.size):
            code = int(view.code[row])
            if planner.hosts.alive[row] and planner.hosts.records[row].zone == zone and code:
                found[planner.hosts.name(row)] = f"{REASONS[code]}: {FILTERS[code - 1].tells(view, row)}"
    return [Blocked(host=host, why=why) for host, why in sorted(found.items())]


def waiting(snapshot: Snapshot) -> list[Answer]:
    """Instances that have no host, or may not start on theirs, with what stands in their way now."""
    return fit(snapshot, sorted((i for i in snapshot.cache.all("Instance") if _waits(i)), key=_urgency))


# ---------------------------------------------------------------- inside


def _waits(instance: Obj[Any, Any]) -> bool:
    placed, scheduled = instance.status.placement, instance.condition("Scheduled") or {}
    if instance.problem or instance.deleting:
        return False
    if instance.spec.run_strategy == "Halted" or scheduled.get("reason") == "NotStarted":
        return False
    return scheduled.get("status") == "False" or placed is None or not placed.host


def _ask(snapshot: Snapshot, instance: Obj[Any, Any]) -> Ask | Answer:
    if instance.problem:
        return Answer(instance=_name(instance), why=f"cannot be read: {instance.problem}")
    try:
        return requests.build(snapshot.cache, instance, avoided(instance.status.failed_starts, snapshot.now))
    except Refused as refused:
        return Answer(instance=_name(instance), why=f"{refused.reason}: {refused.message}")


def _try(snapshot: Snapshot, ask: Ask, name: str, claimed: list[tuple[str, Claim | None]]) -> Answer:
    planner = snapshot.planner
    result = planner.decide(ask)
    if not isinstance(result, Placed):
        return Answer(instance=name, why=message(result.story))
    claimed.append((ask.uid, planner.claims.get(ask.uid)))
    planner.claim(ask.uid, planner.claim_of(ask, result, starting=False))
    return Answer(instance=name, host=result.host, pools=result.pools)


def _give_back(snapshot: Snapshot, claimed: list[tuple[str, Claim | None]]) -> None:
    for uid, before in reversed(claimed):
        if before is None:
            snapshot.planner.release(uid)
        else:
            snapshot.planner.claim(uid, before)


def _running_on(snapshot: Snapshot, hosts: tuple[str, ...]) -> list[Obj[Any, Any]]:
    found = []
    for uid, claim in snapshot.planner.claims.items():
        instance = snapshot.cache.by_uid(uid)
        if claim.counts and instance is not None and set(claim.hosts) & set(hosts):
            found.append(instance)
    return found


def _urgency(instance: Obj[Any, Any]) -> tuple[int, int, str]:
    placement, resources = instance.spec.placement, instance.status.resources
    size = resources.memory if resources else 0
    return -(placement.priority if placement else 0), -size, instance.uid


def _name(instance: Obj[Any, Any]) -> str:
    return f"{instance.namespace}/{instance.name}"
