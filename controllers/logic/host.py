"""What follows from what a host shows: declarations, orphans, strangers, copies that belong elsewhere. Pure.

Called by the Host kind.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from controllers.engine.base import Cache, Obj
from crds.base import Orphan, format_time
from crds.host import Foreign
from drivers.base import InstanceFacts, Power, Why

AHEAD = timedelta(minutes=5)
MAX_ORPHANS = 32
MAX_NAMES = 16
ACTIVE = (Power.RUNNING, Power.PAUSED)


# ---------------------------------------------------------------- out of service (H1)


@dataclass(frozen=True, slots=True)
class Declaration:
    """`valid` is the moment it speaks of; None for one that is void, or that is not there (reason "")."""

    valid: datetime | None = None
    reason: str = ""
    message: str = ""


def judge_declaration(
    declared_at: datetime | None, last_contact: datetime | None, now: datetime, *, was_ahead: bool = False
) -> Declaration:
    """H1. `was_ahead`: this very declaration was found to be too far ahead before, and stays void."""
    if declared_at is None:
        return Declaration()
    said = f"spec.outOfService.declaredAt: {format_time(declared_at)}"
    advice = "Remove the field; if the host is off, declare it again with the present time."
    if was_ahead or declared_at > now + AHEAD:
        return Declaration(
            reason="DeclaredAhead",
            message=f"{said} lies ahead, so it says nothing about what has happened, and is void. {advice}",
        )
    if last_contact is not None and declared_at <= last_contact:
        return Declaration(
            reason="HostAnswers",
            message=f"{said} is void: the host answered at {format_time(last_contact)}. {advice}",
        )
    return Declaration(
        declared_at,
        "Declared",
        f"{said}: what was placed here before is freed, and disks local to it are Lost. Once the host answers again "
        "this is void, and it is Ready when copies that were started elsewhere meanwhile have been removed from it.",
    )


def frees(declared: datetime | None, decided: datetime | None) -> bool:
    """H1: whether a valid declaration frees the placement that was decided at that moment: one decided before it."""
    return declared is not None and (decided is None or decided < declared)


def advice_for_maintenance(left: int) -> tuple[str, str]:
    """Reason and message for a host with spec.maintenance on which `left` instances are."""
    if left == 0:
        return "Empty", "It takes nothing new and is empty."
    return "DrainUnsupported", (
        f"It takes nothing new; {left} instance{'s' if left > 1 else ''} left: moving running guests away is not "
        "supported by this version. Ask each of them for a Restart (spec.power), and it starts elsewhere; one that is "
        "stopped is taken away by itself."
    )


def tell_unreached(text: str, since: datetime | None, instances: int, declaration: Declaration, *, silent: bool) -> str:
    """Of a host that does not answer (`silent`), or says no: since when, what happens next, what a person can do."""
    told = f" (not reachable since {format_time(since)})" if since else ""
    who = f"its {instances} instance{'s' if instances > 1 else ''} may run there and wait for it"
    waits = who if instances else "no instance waits for it"
    then = _if_off(instances, declaration) if silent else ""
    return f"{text.rstrip('.')}{told}. It is tried again by itself; {waits}.{then}"


def _if_off(instances: int, declaration: Declaration) -> str:
    if declaration.reason:
        what = "spec.outOfService is void (see the condition OutOfServiceVoid): declare it again with the present time"
    else:
        what = "say so by spec.outOfService {declaredAt: the present time}"
    then = ", and they are started elsewhere" if instances else ""
    return f" If it is powered off for good, {what}{then}."


def advice_for_hung_call(call: str, since: datetime) -> str:
    """Of a host that answers while an earlier change was never answered (W6)."""
    return (
        f"{call} has not come back since {since:%H:%M:%S} UTC, although its connection was closed and the host answers "
        "over another: guests here run and are watched, nothing new is placed here, and nothing is changed before that "
        "call comes back. If it stays so, restart the hypervisor's daemon on the host, which guests outlive, and then "
        "the operator, whose process the call holds."
    )


# ---------------------------------------------------------------- what is on it


def is_ours(facts: InstanceFacts, installations: Iterable[str]) -> bool:
    """N1: marked by this installation, or by one that was taken over."""
    return facts.mark is not None and facts.mark.installation in tuple(installations)


@dataclass(frozen=True, slots=True)
class Found:
    """The domains of one host, sorted by whose they are."""

    orphans: tuple[Orphan, ...]
    orphan_count: int
    orphan_cpus: int
    orphan_memory: int
    foreign: Foreign | None


def sort_out(instances: Mapping[str, InstanceFacts], installations: tuple[str, ...], cache: Cache) -> Found:
    """N1, N2: what is ours but unknown to the API, and what is not ours."""
    foreign = [f for f in instances.values() if not is_ours(f, installations) and not f.unreadable]
    lost = [f for f in instances.values() if f.mark and is_ours(f, installations) and cache.by_uid(f.mark.uid) is None]
    running = [f for f in foreign if f.power in ACTIVE]
    alive = [f for f in lost if f.power in ACTIVE]
    orphans = sorted((_orphan(f) for f in lost), key=lambda o: (o.namespace, o.name, o.uuid))
    return Found(
        orphans=tuple(orphans[:MAX_ORPHANS]),
        orphan_count=len(orphans),
        orphan_cpus=sum(f.cpus for f in alive),
        orphan_memory=sum(f.memory + f.overhead for f in alive),
        foreign=Foreign(
            instances=len(foreign),
            running=len(running),
            cpus=sum(f.cpus for f in running),
            memory=sum(f.memory + f.overhead for f in running),
            names=tuple(sorted(f.name[:253] for f in foreign)[:MAX_NAMES]),
        )
        if foreign
        else None,
    )


def _orphan(facts: InstanceFacts) -> Orphan:
    mark = facts.mark
    assert mark is not None
    return Orphan(
        uuid=facts.uuid,
        kind="Instance",
        namespace=mark.namespace,
        name=mark.name,
        uid=mark.uid,
        state="Running" if facts.power in ACTIVE else "Off",
    )


@dataclass(frozen=True, slots=True)
class Stale:
    """A copy on a host that its instance was taken from. `waits`: it runs, and the current one is not seen yet."""

    uuid: str
    uid: str
    sequence: int
    instance: str
    waits: bool


def stale_copies(
    host: str,
    instances: Mapping[str, InstanceFacts],
    installations: tuple[str, ...],
    by_uid: Mapping[str, Obj[Any, Any]],
    seen_elsewhere: Mapping[str, Mapping[str, InstanceFacts]],
) -> list[Stale]:
    """H1, W4: our domains here whose placement, by a later decision, is another host. `by_uid`: the Instances that the
    marks name; `seen_elsewhere`: uuid → host → facts. A source or incoming end of a migration is none."""
    found = []
    for facts in instances.values():
        mark = facts.mark
        instance = by_uid.get(mark.uid) if mark and is_ours(facts, installations) else None
        placement = instance.status.placement if instance else None
        if mark is None or instance is None or placement is None or not placement.host:
            continue
        target = placement.target.host if placement.target else None
        if host in (placement.host, target) or mark.sequence >= placement.sequence or facts.why is Why.MIGRATING:
            continue
        current = seen_elsewhere.get(facts.uuid, {}).get(placement.host)
        is_seen = current is not None and current.mark is not None and current.mark.sequence == placement.sequence
        found.append(
            Stale(facts.uuid, mark.uid, mark.sequence, str(instance.key), facts.power is Power.RUNNING and not is_seen)
        )
    return found
