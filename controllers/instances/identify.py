"""Before anything else: which UUID is this instance's, does another object have it, and is a machine of it there
already that has to be taken, or that somebody must decide about (safety.md I1, N2, N3)."""

from typing import Any

from controllers.engine.base import Paused, Refused
from controllers.fleet.base import Fleet
from controllers.instances.work import InstanceObj, Work
from controllers.logic import ownership, records
from controllers.logic.identity import object_uuid
from controllers.logic.inheritance import allows, lineage
from crds.base import ADOPT, IGNORE_ORPHAN, format_time
from drivers.base import Adopt, InstanceFacts

RIVALS = 30.0
"""Seconds until it is looked again whether another object holds the UUID."""
REFUSED_REASONS = frozenset({"UUIDTaken", "ImportNotAllowed", "OrphanExists", "NotOurs"})


def uuid_of(obj: InstanceObj) -> str:
    """I1, and N2 for an adopted machine, whose UUID the status keeps. Pure; the index is built with it."""
    return obj.spec.uuid or obj.status.uuid or object_uuid(None, obj.uid)


def find_uuid(obj: InstanceObj, fleet: Fleet) -> str:
    """As `uuid_of`; where the status was lost, the mark with our uid tells the UUID of an adopted machine."""
    if obj.spec.uuid or obj.status.uuid:
        return uuid_of(obj)
    derived = object_uuid(None, obj.uid)
    found = [f.uuid for f in fleet.owned(obj.uid)]
    return derived if derived in found or not found else found[0]


def check_holder(work: Work) -> None:
    """N3: two objects of one UUID. Raises Refused UUIDTaken for all but the one that keeps it."""
    rivals: list[InstanceObj] = [o for o in work.cache.indexed("uuid", work.uuid) if o.uid != work.obj.uid]
    if not rivals:
        return
    mine = _claim(work.obj)
    keeper = ownership.holder([mine, *map(_claim, rivals)])
    if keeper is not None and keeper.uid != mine.uid:
        raise Refused(
            "UUIDTaken",
            f"spec.uuid: {work.uuid} is held by Instance {keeper.name}; choose another, or leave it unset.",
            after=RIVALS,
        )


def _claim(obj: InstanceObj) -> ownership.Claim:
    ready = obj.condition("Ready") or {}
    return ownership.Claim(
        refused=ready.get("reason") in REFUSED_REASONS and not obj.finalizers,
        held=bool(obj.status.placement and obj.status.placement.host),
        created_at=format_time(obj.created_at),
        uid=obj.uid,
        name=f"{obj.namespace}/{obj.name}",
    )


async def take_or_refuse(work: Work) -> bool:
    """Of an instance that is not placed: take the machine that is meant, or say what it waits for. True if one was
    taken (the placement is in the status and saved). Raises Refused."""
    obj, services = work.obj, work.tools.services
    wish = ownership.Wish(
        namespace=obj.namespace, name=obj.name, uid=obj.uid, uuid=work.uuid, by_uuid=bool(obj.spec.uuid),
        adopt=obj.annotations.get(ADOPT, ""), ignore=obj.annotations.get(IGNORE_ORPHAN, ""),
        installations=services.installations,
    )  # fmt: skip
    fleet = work.tools.fleet
    found, named = fleet.sightings(work.uuid), fleet.marked(obj.namespace, obj.name)
    known = _existing(work, [*found.values(), *named])
    verdict = ownership.judge_found(wish, found, known, imports={h: _imports(work, h) for h in found})
    if verdict is None:
        candidates = list(named)
        if wish.adopt:
            candidates += fleet.sightings(ownership.asked_uuid(wish.adopt)).values()
        verdict = ownership.judge_namesake(wish, candidates, known)
    if verdict is None:
        return False
    if isinstance(verdict, ownership.Must):
        raise Refused(verdict.reason, verdict.message, after=10.0)
    await _take(work, verdict)
    return True


def half_taken(work: Work) -> bool:
    """Whether an adoption ended between its placement and its mark: the machine on our host bears what it bore."""
    placement, found = work.status.placement, work.tools.fleet.sightings(work.uuid)
    facts = found.get(placement.host or "") if placement else None
    if placement is None or facts is None or facts.unreadable:
        return False
    if any(f.mark is not None and f.mark.uid == work.obj.uid for f in found.values()):
        return False
    return facts.mark.sequence == placement.sequence if facts.mark else bool(work.status.imported)


def _existing(work: Work, facts: list[InstanceFacts]) -> set[str]:
    uids = {f.mark.uid for f in facts if f.mark}
    found: set[str] = set()
    for uid in uids:
        other: Any = work.cache.by_uid(uid)
        if other is not None and other.uid != work.obj.uid:
            found.add(uid)
    return found


def _imports(work: Work, host: str) -> bool:
    obj = work.cache.get("Host", "", host)
    cluster = lineage(work.cache, obj).cluster if obj else None
    labels = work.cache.namespace_labels(work.obj.namespace)
    return bool(cluster and allows(cluster.spec.allow_imports, "", work.obj.namespace, labels))


async def _take(work: Work, take: ownership.Take) -> None:
    """W1 for an adoption: placement, finalizer, then the mark. Its sequence stays: nothing was decided anew."""
    if work.turn.paused:
        raise Paused
    facts = take.facts
    sequence = facts.mark.sequence if facts.mark else int(work.now.timestamp())
    work.uuid = facts.uuid
    work.facts, work.seen = facts, True
    work.update(uuid=facts.uuid, imported=take.imported)
    work.turn.status = records.recover(work.status, facts)
    work.place(facts.host, sequence)
    where = "imported" if take.imported and not facts.mark else "adopted"
    work.turn.conditions.set("Scheduled", "True", "Adopted", f"The machine was found on {facts.host} and {where}.")
    await work.turn.save()
    await work.turn.ensure_finalizer()
    mark = records.compose(
        identity_of(work), work.status, sequence=sequence, disks=facts.mark.volumes if facts.mark else (),
        starting=None, runs=work.status.run_count or (1 if facts.power.value in ("Running", "Paused") else 0),
        restart=work.status.last_restart, started=facts.mark.started if facts.mark else (),
    )  # fmt: skip
    await work.act(Adopt(mark, take.previous_uid))
    work.turn.event("Adopted", f"Took over machine {facts.uuid} on {facts.host}.")


def identity_of(work: Work) -> records.Identity:
    obj = work.obj
    return records.Identity(
        installation=work.tools.services.installation,
        namespace=obj.namespace,
        name=obj.name,
        uid=obj.uid,
        uuid=work.uuid,
    )
