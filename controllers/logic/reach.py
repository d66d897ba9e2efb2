"""What a pool's hosts say about it, as one condition and one list. Pure; used by StoragePool and ImageStore.

A pool is Ready when at least one host that is up reaches it: what lies on it can be used there, and placement looks at
each host's own state. Hosts that are up and do not reach it are told of by `Degraded`. A host that is down is no fault
of the pool: it shows in the list alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controllers.engine.base import Cache, Obj
from controllers.logic.pool import address
from controllers.logic.references import some
from crds.base import Orphan
from crds.capacity import Children
from crds.storagepool import PoolHost
from drivers.base import DiskFacts, PoolDefinition, PoolFacts
from drivers.errors import WrongPool

MOST_HOSTS = 256
MOST_ORPHANS = 32
NAMED = 3
MOST_TEXT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How one host reaches one pool. `state`: Ready, Pending, Unreachable (the host, or storage from it), Failed."""

    host: str
    state: str
    reason: str = ""
    message: str = ""
    facts: PoolFacts | None = None
    definition: PoolDefinition | None = None
    """In use there; differs from the wanted one until no running guest uses the pool."""
    host_up: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """`ready` None: not known yet, say nothing new."""

    ready: bool | None
    reason: str
    message: str
    degraded: str = ""
    settled: bool = True
    """False while some host is still being connected."""


NEXT = (
    "It is tried again by itself; guests that have disks there are left as they are, and nothing new is placed there."
)


def judge(reaches: Sequence[Reach], scope: str) -> Verdict:
    """`scope` in words: "HostCluster kvm-1"."""
    if not reaches:
        return Verdict(False, "NoHosts", f"No Host is in its scope ({scope}) yet.")
    up = [r for r in reaches if r.host_up]
    if not up:
        if len(reaches) == 1:
            return Verdict(False, "HostsNotReady", f"Host {reaches[0].host}, alone in its scope ({scope}), is not up.")
        return Verdict(False, "HostsNotReady", f"None of the {len(reaches)} hosts in its scope ({scope}) is up.")
    reached = [r for r in up if r.state == "Ready"]
    wrong = [r for r in up if r.reason == WrongPool.reason]
    missed = [r for r in up if r.state not in ("Ready", "Pending")]
    if wrong:
        return Verdict(False, WrongPool.reason, f"{_told(wrong)}.")
    if not reached and missed:
        return Verdict(False, missed[0].reason, f"{_told(missed)}. {NEXT}")
    if not reached:
        return Verdict(None, "Connecting", "It is being connected.")
    settled = not any(r.state == "Pending" for r in up)
    on = f"on {len(reached)} of {len(reaches)} host{'s' if len(reaches) > 1 else ''}"
    if missed:
        return Verdict(True, "PartlyConnected", f"Connected {on}.", f"{_told(missed)}.")
    return Verdict(True, "Connected", f"Connected {on}.", settled=settled)


def _told(reaches: Sequence[Reach]) -> str:
    """Each host with its words; hosts that say the same are named together."""
    by_text: dict[str, list[str]] = {}
    for reach in reaches:
        by_text.setdefault(reach.message.rstrip("."), []).append(reach.host)
    parts = []
    for text, hosts in by_text.items():
        parts.append(f"{some(hosts, NAMED)}: {text}")
    return "; ".join(parts)[:MOST_TEXT]


def listed(pool: Obj[Any, Any], reaches: Sequence[Reach]) -> tuple[PoolHost, ...]:
    """For status.hosts: those that do not reach it first where there are more than fit. A host that is being looked at
    for the first time since we began keeps the Ready that is on record."""
    old = {h.name: h for h in pool.status.hosts}
    found = []
    for reach in reaches:
        if reach.state == "Pending" and reach.host in old and old[reach.host].state == "Ready":
            found.append(old[reach.host])
            continue
        other = reach.definition is not None and _address_of(reach) not in ("", address(pool))
        found.append(
            PoolHost(
                name=reach.host,
                state=reach.state,
                message=reach.message[:MOST_TEXT] or None,
                address=_address_of(reach) if other else None,
            )
        )
    if len(found) > MOST_HOSTS:
        found = sorted(found, key=lambda h: h.state == "Ready")[:MOST_HOSTS]
    return tuple(sorted(found, key=lambda h: h.name))


def counted(pool: Obj[Any, Any], reaches: Sequence[Reach]) -> Children:
    """As `listed`: the Ready that is on record counts until its host was looked at."""
    ready = {r.host for r in reaches if r.state == "Ready"}
    pending = {r.host for r in reaches if r.state == "Pending"}
    on_record = {h.name for h in pool.status.hosts if h.state == "Ready"}
    return Children(total=len(reaches), ready=len(ready | (pending & on_record)))


def _address_of(reach: Reach) -> str:
    source = reach.definition.source if reach.definition else None
    server, path = getattr(source, "server", None), getattr(source, "path", "")
    return f"nfs://{server.lower()}{path}" if server else ""


def orphans(disks: Iterable[DiskFacts], installations: tuple[str, ...], cache: Cache) -> tuple[tuple[Orphan, ...], int]:
    """N2: disks with our mark whose object the API does not know, the first of them by name, and how many there are."""
    found: dict[str, Orphan] = {}
    for disk in disks:
        mark = disk.mark
        if mark is None or mark.installation not in installations or cache.by_uid(mark.uid) is not None:
            continue
        found[mark.uuid] = Orphan(
            uuid=mark.uuid,
            kind=mark.kind,
            namespace=mark.namespace,
            name=mark.name,
            uid=mark.uid,
            state=mark.state.value,
            disk=disk.disk,
        )
    ordered = sorted(found.values(), key=lambda o: (o.namespace, o.name, o.uuid))
    return tuple(ordered[:MOST_ORPHANS]), len(ordered)


def needed_bases(disks: Iterable[DiskFacts]) -> frozenset[str]:
    """D4: cached images that clones of the listing need: their Template may be gone, and they are no orphans."""
    return frozenset(disk.mark.base for disk in disks if disk.mark is not None and disk.mark.base)


def owners(pool: Obj[Any, Any], cache: Cache) -> frozenset[str]:
    """uids of all that may have a disk on the pool and are not through with it: what the API knows, and the Templates
    whose cached image goes with a Volume that is on the pool still, after the clone (D4)."""
    found = {obj.uid for kind in ("Volume", "Template", "Snapshot") for obj in cache.all(kind)}
    found.update(uid for volume in cache.all("Volume") if (uid := origin_on(pool, volume)))
    return frozenset(found)


def origin_on(pool: Obj[Any, Any], volume: Obj[Any, Any]) -> str | None:
    """uid of what a Volume whose disk is on the pool was made from; None of one that is not, or was made of nothing."""
    origin, disk = volume.status.made_from, volume.status.disk
    uid: str | None = origin.uid if origin and disk and disk.pool == pool.name else None
    return uid


def guests_disks(instances: Mapping[str, Any], disks: frozenset[str]) -> bool:
    """Whether a running or paused machine of a host's listing has one of these disks."""
    return any(
        facts.power.value in ("Running", "Paused") and any(d.disk in disks for d in facts.disks)
        for facts in instances.values()
    )
